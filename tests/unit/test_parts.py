"""Parts on paper: every byte in exactly one, sizes and numbers legal, or refused."""

from __future__ import annotations

from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import lazycog
from lazycog._gather import (
    Carry,
    Range,
    Slices,
    carry_task,
    put_task,
)
from lazycog._join import ends_task, finish
from lazycog._parts import MIB, PartLimits, plan_parts
from lazycog.errors import CapacityError, OptionError, SourceChangedError
from lazycog.sinks.recording import RecordingSink

S3 = PartLimits()
SWIFT = PartLimits(max_parts=1000)
R2 = PartLimits(equal_parts=True)


def stream(length, seed):
    """Give bytes that tell where they are from."""
    return np.random.default_rng(seed).integers(0, 256, length, dtype=np.uint8)


@st.composite
def files(draw):
    """Give lengths per level, group of bands, plane and row of chunks."""
    levels = draw(st.integers(1, 3))
    groups = draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))
    rows = draw(st.integers(1, 3))
    length = st.integers(0, 60) | st.integers(0, 300)
    cells = levels * sum(groups) * rows
    lengths = draw(st.lists(length, min_size=cells, max_size=cells))
    header = draw(st.integers(1, 50))
    slack = draw(st.integers(0, 100))
    return (
        levels,
        groups,
        rows,
        np.array(lengths).reshape(levels, -1, rows),
        header,
        slack,
    )


def laid_out(parts, levels, lengths, header):
    """Lay a file out as `assemble` does, from section lengths."""
    extents, position = [], len(header)
    for level in reversed(range(levels)):
        if level == 0:
            position += -position % 4
        position = parts.start(position, int(lengths[level].sum()))
        for plane, length in enumerate(lengths[level].sum(axis=1)):
            position = parts.start(position, int(length))
            extents.append(
                SimpleNamespace(section=(level, plane), offset=position, length=length)
            )
            position += int(length)
    content = np.zeros(position, np.uint8)
    content[: len(header)] = np.frombuffer(header, np.uint8)
    for each in extents:
        content[each.offset : each.offset + each.length] = stream(
            each.length, each.section
        )
    layout = SimpleNamespace(header=header, extents=tuple(extents), size=position)
    return layout, content.tobytes()


def send(sink, parts, levels, groups, lengths):
    """Send all rows of all groups, as the graph does; give ends and receipts."""
    upload = sink.begin()
    ends, receipts, first = None, [], 0
    for planes in groups:
        carry, group = None, []
        for row in range(lengths.shape[2]):
            units, runs, starts, sizes = [], {}, {}, {}
            for level in range(levels):
                own = lengths[level, first : first + planes]
                begins = own[:, :row].sum(axis=1)
                starts[level] = begins.reshape(-1, 1, 1)
                sizes[level] = own[:, row].reshape(-1, 1, 1)
                for plane in range(planes):
                    unit = (level, first + plane, 0)
                    whole = stream(int(own[plane].sum()), unit[:2])
                    begin = int(begins[plane])
                    units.append(unit)
                    runs[unit] = (whole[begin : begin + int(own[plane, row])],)
            bodies = {unit[:2]: parts.bodies[unit[:2]] for unit in units}
            own = Range(tuple(units), bodies, first, f"row {row}")
            placement = SimpleNamespace(checksums=(1,), starts=starts, lengths=sizes)
            piece = Slices((1,), runs)
            sent = put_task(sink, upload, own, carry, placement, piece)
            carry = carry_task(own, carry, placement, piece)
            group.append(sent)
            receipts += sent.receipts
        ends = ends_task(sink, upload, parts, ends, carry, *group)
        first += planes
    return upload, ends, receipts


@settings(max_examples=150, deadline=None)
@given(files(), st.integers(4, 40), st.booleans(), st.integers(0, 60))
def test_every_byte_is_in_exactly_one_legal_part(shape, least, equal, more):
    """The store that refuses every illegal part ends with the bytes of the file."""
    levels, groups, _, lengths, header_length, slack = shape
    least = 16 if equal else least
    limits = PartLimits(min_part=least, max_part=10**6, equal_parts=equal)
    sections = [
        ((level, plane), int(lengths[level, plane].sum()) + slack)
        for level in reversed(range(levels))
        for plane in range(lengths.shape[1])
    ]
    size = least + (0 if equal else more)
    parts = plan_tiny(sections, header_length, limits, size)
    tight = PartLimits(least, 10**6, parts.max_count, equal)
    sink = RecordingSink.new("object", tight)
    header = stream(header_length, 99).tobytes()
    layout, content = laid_out(parts, levels, lengths, header)

    upload, ends, receipts = send(sink, parts, levels, groups, lengths)
    finish(sink, upload, parts, layout, [ends], receipts)

    assert sink.content == content
    assert sink.uploads == ()
    sent = sum(call.size for call in sink.calls)
    assert sent == len(content)


def plan_tiny(sections, header_length, limits, size):
    """Plan parts of a few bytes, which the public check for equal parts refuses."""
    from lazycog._parts import _numbered

    return _numbered(sections, header_length, limits, size)


def test_a_repeated_task_sends_the_same_part():
    """Numbers and bytes depend on sizes alone."""
    lengths = np.array([[[120, 130]]])
    parts = plan_tiny([((0, 0), 400)], 20, PartLimits(10, 10**6), 30)
    one, two = RecordingSink.new("one"), RecordingSink.new("two")

    first = send(one, parts, 1, [1], lengths)
    second = send(two, parts, 1, [1], lengths)

    assert one.calls == two.calls
    assert [each.etag for each in first[2]] == [each.etag for each in second[2]]


def test_rows_of_different_runs_are_noticed():
    """A row whose start is not where the row before ended is of another run."""
    parts = plan_tiny([((0, 0), 400)], 20, PartLimits(10, 10**6), 30)
    own = Range(((0, 0, 0),), parts.bodies, 0, "row 1")
    placement = SimpleNamespace(
        checksums=(1,),
        starts={0: np.array([[[7]]])},
        lengths={0: np.array([[[5]]])},
    )
    before = Carry({(0, 0): (0, b"123456")})

    with pytest.raises(SourceChangedError, match="computed twice"):
        carry_task(own, before, placement, Slices((1,), {(0, 0, 0): (stream(5, 1),)}))


def scene(height, width, count=1, dtype="uint16"):
    """Give a lazy raster of any size."""
    side = 4096
    pixels = da.zeros((count, height, width), dtype=dtype, chunks=(count, side, side))
    return xr.DataArray(pixels, dims=("band", "y", "x"))


ONE_TIB, FIVE_TIB = 741_455, 1_657_938
"""Side of a square of uint16 that holds 1 and 5 TiB."""


@pytest.mark.parametrize(
    ("side", "limits"),
    [
        pytest.param(3_000, S3, id="small on S3"),
        pytest.param(ONE_TIB, S3, id="1 TiB on S3"),
        pytest.param(FIVE_TIB, S3, id="5 TiB on S3"),
        pytest.param(3_000, SWIFT, id="small on Swift"),
        pytest.param(ONE_TIB, SWIFT, id="1 TiB on Swift"),
        pytest.param(3_000, R2, id="small on R2"),
        pytest.param(ONE_TIB, R2, id="1 TiB on R2"),
    ],
)
def test_large_scenes_have_a_plan(side, limits):
    """What fits the store is planned: fewer parts than it takes, none too large."""
    plan = lazycog.plan(
        scene(side, side),
        max_parts=limits.max_parts,
        equal_parts=limits.equal_parts,
    )

    parts = plan.parts

    assert parts.max_count <= limits.max_parts
    assert limits.min_part <= parts.size <= limits.max_part / 2
    assert limits.max_parts * parts.size > plan.raw_bytes
    firsts = [parts.bodies[section].base for section in reversed(plan.sections)]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("count", [1, 4, 285])
def test_many_bands_have_a_plan(count):
    """Each band of each level has its own numbers."""
    plan = lazycog.plan(scene(20_000, 20_000, count, "float32"), max_parts=10_000)

    assert plan.parts.max_count <= 10_000


def huge(side):
    pixels = da.zeros((side, side), dtype="uint8", chunks=2**16)
    return xr.DataArray(pixels, dims=("y", "x"))


def test_object_that_is_certainly_larger_than_the_store_takes_is_refused():
    """5 TiB of bytes that no codec makes fewer; what compresses may fit."""
    sink = RecordingSink.new("a.tif", PartLimits(max_object=5 * 2**40))
    message = r"at least \d{13} bytes, .* 5497558138880 at most; compress, or"

    with pytest.raises(CapacityError, match=message):
        lazycog.to_cog(huge(2_100_000), sink, compress="none")

    assert sink.calls == ()
    for side, compress in [(2_000_000, "none"), (2_100_000, "zstd")]:
        plan = lazycog.plan(huge(side), compress=compress)
        assert plan.with_parts(sink.limits, None).parts.max_count <= 10_000


@pytest.mark.parametrize("options", [{}, {"compress": "none"}, {"equal_parts": True}])
def test_more_than_all_parts_together_hold_is_refused(options):
    """10,000 parts of 5 GiB, two of which may be joined."""
    with pytest.raises(CapacityError, match="10000 parts of 2684354560 bytes hold"):
        lazycog.plan(huge(6_000_000), max_parts=10_000, **options)


def test_what_a_store_cannot_hold_is_refused_early():
    """Before any pixel."""
    with pytest.raises(CapacityError, match="1000 parts"):
        lazycog.plan(scene(FIVE_TIB, FIVE_TIB), max_parts=1000)


def test_a_part_size_that_gives_too_many_parts_is_refused():
    """The caller's size is kept or refused, never changed."""
    with pytest.raises(CapacityError, match="use larger parts"):
        lazycog.plan(scene(200_000, 200_000), part_size=5 * MIB)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part_size": 1000}, "takes 5242880 to"),
        ({"part_size": 3 * 2**30}, "two parts may be joined"),
        ({"part_size": 0}, "above 0"),
        ({"max_parts": -1}, "above 0"),
        ({"min_part": 6 * 2**30}, "lower it"),
        ({"part_size": 5 * MIB + 1, "equal_parts": True}, "multiple of 4096"),
    ],
)
def test_illegal_part_options_are_refused(options, message):
    """Rule, value and remedy."""
    with pytest.raises(OptionError, match=message):
        lazycog.plan(scene(5_000, 5_000), **options)


def test_part_options_without_parts_are_refused(tmp_path):
    """Nothing is accepted and ignored."""
    with pytest.raises(OptionError, match="is for object stores"):
        lazycog.to_cog(scene(600, 600), tmp_path / "a.tif", part_size=5 * MIB)


def test_the_smallest_size_that_fits_is_chosen():
    """16 MiB, and more only where numbers run out."""
    bounds = [((0, 0), 100 * 2**30)]

    assert plan_parts(bounds, 1000, S3).size == 16 * MIB
    assert 100 * MIB < plan_parts(bounds, 1000, SWIFT).size < 125 * MIB
