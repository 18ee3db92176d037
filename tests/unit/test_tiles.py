"""Tiles are cut, padded, interleaved and differenced as TIFF's predictors say."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazycog._tiles import cut_tile

SIDE = 32


def padded(pixels, row, col):
    """Give one tile, shape (row, col, band), with zeros beyond the pixels."""
    tile = np.zeros((SIDE, SIDE, len(pixels)), pixels.dtype)
    inner = pixels[:, row : row + SIDE, col : col + SIDE].transpose(1, 2, 0)
    tile[: inner.shape[0], : inner.shape[1]] = inner
    return tile


def noise(dtype, shape):
    """Every bit pattern, NaN and infinities among them."""
    dtype = np.dtype(dtype)
    raw = np.random.default_rng(1).bytes(int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(raw, dtype).reshape(shape)


PREDICTORS = {
    2: (
        ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"],
        lambda tile: imagecodecs.delta_encode(tile.view(f"u{tile.itemsize}"), axis=-2),
    ),
    3: (
        ["f2", "f4", "f8"],
        lambda tile: imagecodecs.floatpred_encode(tile, axis=-2),
    ),
    1: (["u1", "f8"], lambda tile: tile),
}


@pytest.mark.parametrize(
    ("predictor", "dtype"),
    [(each, dtype) for each, (dtypes, _) in PREDICTORS.items() for dtype in dtypes],
)
@given(
    bands=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    is_piece=st.booleans(),
)
def test_a_tile_is_what_the_reference_makes_of_it(
    predictor, dtype, bands, size, is_piece
):
    """Inside and over the edge, of an array of its own and of a part of one."""
    height, width = size
    whole = noise(dtype, (bands, height + 3, width + 5))
    pixels = whole[:, 1 : height + 1, 2 : width + 2]
    if not is_piece:
        pixels = np.ascontiguousarray(pixels)
    scratch = np.ones((SIDE, SIDE, bands), dtype)
    row, col = (height - 1) // SIDE * SIDE, (width - 1) // SIDE * SIDE

    found = cut_tile(pixels, row, col, scratch, predictor)

    reference = PREDICTORS[predictor][1](padded(pixels, row, col))
    assert found.tobytes() == np.ascontiguousarray(reference).tobytes()
