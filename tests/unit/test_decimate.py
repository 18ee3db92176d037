"""Means of the cells of a coarse grid, whatever the cutting."""

from __future__ import annotations

import itertools

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazycog._decimate import Coarse
from lazycog._quicklook import shrink


def reference(pixels, coarse, valid):
    """Give mean and validity of every cell, pixel by pixel."""
    count, height, width = pixels.shape
    sums = np.zeros((count, coarse.rows, coarse.cols))
    counts = np.zeros_like(sums)
    rows = np.arange(height) * coarse.rows // height
    cols = np.arange(width) * coarse.cols // width
    index = (slice(None), *np.ix_(rows, cols))
    for band in range(count):
        cells = np.broadcast_arrays(*index[1:])
        np.add.at(sums[band], tuple(cells), np.where(valid[band], pixels[band], 0))
        np.add.at(counts[band], tuple(cells), valid[band])
    return np.divide(
        sums, counts, out=np.zeros_like(sums), where=counts > 0
    ), counts > 0


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.integers(1, 80),
    chunks=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    nodata=st.sampled_from([None, 0, 7]),
    seed=st.integers(0, 99),
)
def test_cells_are_means_of_their_valid_pixels(
    height, width, size, chunks, nodata, seed
):
    pixels = np.random.default_rng(seed).integers(0, 9, (3, height, width), "uint8")
    coarse = Coarse.fitting(height, width, size)
    valid = np.ones(pixels.shape, bool) if nodata is None else pixels != nodata

    lazy = da.from_array(pixels, chunks=chunks)
    means, known = shrink(lazy, coarse, nodata=nodata)

    expected, expected_known = reference(pixels, coarse, valid)
    assert np.array_equal(known, expected_known)
    np.testing.assert_allclose(means, expected, rtol=1e-12)


def test_what_is_not_finite_is_not_valid():
    pixels = np.array([[[1.0, np.nan], [np.inf, -9.0]]], "float32")

    means, known = shrink(pixels, Coarse(2, 2, 1, 1), nodata=-9)

    assert (means.item(), known.item()) == (1.0, True)


def test_nodata_that_is_nan_is_nothing_more():
    pixels = np.array([[[1.0, np.nan, 3.0]]])

    means, _ = shrink(pixels, Coarse(1, 3, 1, 1), nodata=np.nan)

    assert means.item() == 2.0


def test_of_complex_pixels_the_magnitude_counts():
    means, _ = shrink(np.array([[[3 + 4j, 0]]]), Coarse(1, 2, 1, 1), nodata=None)

    assert means.item() == 2.5


@pytest.mark.parametrize(
    ("size", "expected"),
    [(100, (50, 100)), (1000, (300, 600)), (1, (1, 1)), (599, (300, 599))],
    ids=str,
)
def test_longest_side_is_the_size_and_nothing_grows(size, expected):
    coarse = Coarse.fitting(300, 600, size)

    rows, cols = expected
    assert coarse.cols == cols
    assert abs(coarse.rows - rows) <= 1


def test_every_chunk_is_read_once():
    seen = []

    def block(block_info=None):
        seen.append(tuple(block_info[None]["chunk-location"]))
        return np.ones((2, 50, 40), "uint8")

    lazy = da.map_blocks(
        block,
        chunks=((2, 2), (50,) * 4, (40,) * 3),
        dtype="uint8",
        meta=np.empty((0,) * 3),
    )

    shrink(lazy, Coarse.fitting(200, 120, 30), nodata=None)

    assert sorted(seen) == list(itertools.product(range(2), range(4), range(3)))
