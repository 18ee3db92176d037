"""Stages and chunks: every pixel made once, from pixels that are at hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazycog import _grid as grid
from lazycog import resample
from lazycog._grid import Level, Span
from lazycog._turns import _rows_ready

SUPPORTS = (0, 1, 2, 5, 8)


@st.composite
def pyramids(draw):
    """Draw a raster, its tiles and its chunks: odd, prime, one pixel high or wide."""
    side = st.integers(1, 700) | st.sampled_from([1, 2, 3, 16, 17, 257, 509, 512, 521])
    size = draw(st.tuples(side, side))
    tile = draw(st.sampled_from([16, 32, 48]))
    depth = draw(st.integers(0, 3))
    support = draw(st.sampled_from(SUPPORTS))
    levels = tuple(
        Level(index, *each, tile)
        for index, each in enumerate(grid.overview_sizes(*size, tile, None))
    )
    return levels, tile << depth, depth, support


def stages_of(levels, chunk_size, depth, support):
    return grid.plan_stages(
        levels,
        count=1,
        band_group=1,
        chunk_size=chunk_size,
        depth=depth,
        support=support,
    )


def chunks_of(stage, axis):
    chunks = stage.chunk_rows if axis == 0 else stage.chunk_cols
    return [stage.axis_chunk(axis, index) for index in range(chunks)]


def assert_partition(spans, size):
    """Every position from 0 to `size` belongs to one span, in order."""
    assert spans[0].start == 0
    assert spans[-1].stop == size
    assert all(before.stop == after.start for before, after in pairwise(spans))
    assert all(span.start <= span.stop for span in spans)


@settings(max_examples=200, deadline=None)
@given(pyramids())
def test_every_pixel_has_one_chunk(pyramid):
    stages = stages_of(*pyramid)

    assert [level for stage in stages for level in stage.levels] == list(pyramid[0])
    for stage in stages:
        for axis in (0, 1):
            chunks = chunks_of(stage, axis)
            for step, level in enumerate(stage.all_levels):
                assert_partition([each.own[step] for each in chunks], level.size[axis])


@settings(max_examples=200, deadline=None)
@given(pyramids())
def test_chunks_need_what_their_pixels_are_made_from(pyramid):
    *_, support = pyramid
    for stage in stages_of(*pyramid):
        for axis in (0, 1):
            for chunk in chunks_of(stage, axis):
                for step, (source, target) in enumerate(pairwise(stage.all_levels)):
                    sizes = source.size[axis], target.size[axis]
                    made = grid.source_span(chunk.need[step + 1], *sizes, support)
                    if len(made):
                        assert chunk.need[step].start <= made.start
                        assert made.stop <= chunk.need[step].stop


@settings(max_examples=200, deadline=None)
@given(pyramids())
def test_chunks_need_nothing_from_later_chunks(pyramid):
    for stage in stages_of(*pyramid):
        for axis in (0, 1):
            for chunk in chunks_of(stage, axis):
                assert chunk.need[0].stop == chunk.own[0].stop
                assert 0 <= chunk.need[0].start <= chunk.own[0].start
                for need, own in zip(chunk.need, chunk.own, strict=True):
                    assert need.start <= own.start
                    assert need.stop == own.stop


@settings(max_examples=200, deadline=None)
@given(pyramids())
def test_a_wide_kernel_makes_one_level_per_stage(pyramid):
    levels, chunk_size, _, support = pyramid

    stages = stages_of(*pyramid)

    for stage in stages:
        alone = max(stage.levels[0].size) <= chunk_size
        assert len(stage.levels) == 1 or support == 0 or alone
        assert stage.support == support
    assert stages[-1].handed_up is None
    assert stages[0].levels[0] == levels[0]


@settings(max_examples=200, deadline=None)
@given(pyramids())
def test_a_row_of_the_next_stage_is_ready_once_its_pixels_are(pyramid):
    """No row waits for ever, and none starts before its last pixel is handed up."""
    for stage, above in pairwise(stages_of(*pyramid)):
        ready = _rows_ready(stage, above)

        assert ready == sorted(ready)
        assert ready[-1] == above.chunk_rows - 1
        for row, last in enumerate(ready):
            handed_up = stage.axis_chunk(0, row).own[-1].stop
            needed = [each.need[0].stop for each in chunks_of(above, 0)]
            assert all(stop <= handed_up for stop in needed[: last + 1])


def test_a_wide_kernel_keeps_a_raster_of_one_chunk_in_one_stage():
    levels = tuple(Level(index, 200 >> index, 1, 16) for index in range(5))

    (stage,) = stages_of(levels, 256, 4, 8)

    assert stage.levels == levels


@pytest.mark.parametrize(
    ("support", "handed_up", "need"),
    [
        (0, (Span(0, 8), Span(8, 16), Span(16, 20)), (0, 16, 32)),
        (2, (Span(0, 7), Span(7, 15), Span(15, 20)), (0, 12, 28)),
        (8, (Span(0, 4), Span(4, 12), Span(12, 20)), (0, 0, 16)),
    ],
)
def test_targets_are_handed_up_once_their_support_is_there(support, handed_up, need):
    levels = (Level(0, 40, 40, 16), Level(1, 20, 20, 16))
    stage, _ = stages_of(levels, 16, 0, support)

    chunks = chunks_of(stage, 0)

    assert tuple(each.own[-1] for each in chunks) == handed_up
    assert tuple(each.need[0].start for each in chunks) == need
    assert stage.halo(0) == max(16 * i - start for i, start in enumerate(need))


def test_a_negative_support_is_refused():
    with pytest.raises(ValueError, match="support is -1"):
        stages_of((Level(0, 40, 40, 16), Level(1, 20, 20, 16)), 16, 0, -1)


@pytest.mark.parametrize(
    "resampling", ["bilinear", "cubic", "cubicspline", "lanczos", "gauss"]
)
def test_the_support_covers_what_the_kernel_reads(resampling):
    """A window widened by the support is enough at every size, and at some needed."""
    support = resample.support(resampling)

    for source in range(1, 120):
        target = max(1, source // 2)
        for index in {0, target // 3, target // 2, target - 1}:
            wanted = grid.source_span(Span(index, index + 1), source, target, support)
            resample.reduce(
                np.zeros((1, len(wanted), len(wanted)), np.uint8),
                resampling=resampling,
                nodata=None,
                source_size=(source, source),
                target_size=(target, target),
                source_origin=(wanted.start, wanted.start),
                target_origin=(index, index),
                target_shape=(1, 1),
            )


@pytest.mark.parametrize("resampling", ["nearest", "average", "mode", "rms"])
def test_other_kernels_read_their_window_alone(resampling):
    assert resample.support(resampling) == 0
