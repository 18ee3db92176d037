"""DEFLATE: whichever encoder a tile gets, the stream is sound and no larger."""

from __future__ import annotations

import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from lazycog import _deflate


def noise(size=2**20):
    """Bytes as a predictor leaves them: near zero, without matches."""
    steps = np.random.default_rng(3).laplace(0, 9, size)
    return np.rint(steps).astype(np.int8).view(np.uint8)


def classes(size=2**20):
    """Few values in long, irregular runs."""
    rng = np.random.default_rng(4)
    values = np.repeat(rng.integers(0, 9, size), rng.integers(1, 60, size))
    return values[:size].astype(np.uint8)


def encoded(tile, level=6):
    """Encode into a buffer of the reserved size."""
    out = bytearray(tile.nbytes * 1001 // 1000 + 4096)
    return bytes(out[: _deflate.encode(tile, memoryview(out), level)])


@pytest.mark.parametrize("level", range(2, 10))
def test_noise_takes_the_quick_encoder(level):
    """Its stream is the smaller one there, and it is read by zlib itself."""
    tile = noise()

    stream = encoded(tile, level)

    assert stream == isal_zlib.compress(tile, _deflate.ISAL_LEVEL)
    assert len(stream) <= len(imagecodecs.deflate_encode(tile, level=level))
    assert zlib.decompress(stream) == tile.tobytes()


@pytest.mark.parametrize("level", range(1, 13))
@pytest.mark.parametrize("make", [classes, lambda: np.zeros(2**20, np.uint8)])
def test_what_repeats_takes_the_thorough_encoder(make, level):
    """A level is never weaker than libdeflate's own."""
    tile = make()

    assert encoded(tile, level) == imagecodecs.deflate_encode(tile, level=level)


def test_a_part_that_repeats_counts():
    """The sample is taken from all over the tile."""
    tile = np.concatenate([noise(2**19), *[classes(2**19)] * 3])

    assert encoded(tile) == imagecodecs.deflate_encode(tile, level=6)


def test_small_tiles_are_not_sampled():
    """They would take longer for it."""
    tile = noise(_deflate.LEAST_TILE - 1)

    assert encoded(tile) == imagecodecs.deflate_encode(tile, level=6)


@given(
    spread=st.integers(0, 80),
    size=st.integers(1, 2**18),
    level=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_every_tile_comes_back(spread, size, level, seed):
    """Of any length and noise; the same bytes wherever the tile lies in memory."""
    steps = np.random.default_rng(seed).normal(0, spread, size)
    tile = np.rint(steps).astype(np.int64).astype(np.uint8)
    elsewhere = np.empty(size + 1, np.uint8)[1:]
    elsewhere[:] = tile

    stream = encoded(tile, level)

    assert zlib.decompress(stream) == tile.tobytes()
    assert encoded(elsewhere, level) == stream
