"""DEFLATE by the faster of two encoders, where that costs no bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ISAL_LEVEL = 2
"""The strongest level of ISA-L whose bytes do not depend on the processor.

Level 3 gives other bytes with AVX-512, AVX2 and SSE; 2 gives the same with each.
"""
MOST_LEVEL = 9
"""From level 10 on libdeflate looks for the smallest stream; ISA-L never has it."""
PIECE_BYTES, PIECE_EVERY, LEAST_PIECES = 2**13, 2**18, 2
"""A sample is a piece of every so many bytes: 3 % of them."""
LEAST_TILE = 2**18
"""Smaller tiles are not sampled: the sample would be a good part of them."""
TOLERANCE = 200
"""One byte more in so many is no loss: as much as two of libdeflate's levels."""
NOISY = 0.6
"""ISA-L's share of the raw bytes below which longer matches of libdeflate pay."""


def encode(tile: NDArray[Any], out: memoryview, level: int) -> int:
    """Encode one tile as a zlib stream, about as large as libdeflate's or smaller.

    Pixels after a predictor are often nearly noise: a search for matches, which is
    what a level buys, finds none, and ISA-L's quick search ends with the same or fewer
    bytes in a third of the time. A sample decides which of the two encodes a tile, so
    it follows from the bytes of the tile alone.

    Parameters
    ----------
    tile : ndarray
        Contiguous bytes.
    out : memoryview
        Room for the worst case.
    level : int
        Of libdeflate, 1 to 12.

    Returns
    -------
    int
        Number of bytes written at the start of `out`.
    """
    # loaded where tiles are made
    from imagecodecs import deflate_encode  # noqa: PLC0415

    flat = tile.reshape(-1).view(np.uint8)
    if level <= MOST_LEVEL and flat.size >= LEAST_TILE:
        sample = _sample(flat)
        quick = len(_quickly(sample))
        is_noisy = quick > NOISY * sample.size
        if is_noisy and _is_no_loss(quick, len(deflate_encode(sample, level=level))):
            payload = _quickly(flat)
            out[: len(payload)] = payload
            return len(payload)
    return len(deflate_encode(flat, level=level, out=out))


def _quickly(data: NDArray[np.uint8]) -> bytes:
    """Encode with ISA-L.

    It returns without VZEROUPPER, and the SSE code of libdeflate is 15 % slower as long
    as the upper halves of vector registers are in use. NumPy's functions tidy up.
    """
    from isal.isal_zlib import compress  # noqa: PLC0415

    payload = compress(data, ISAL_LEVEL)
    data[:64].max()
    return payload


def _is_no_loss(quick: int, thorough: int) -> bool:
    return quick - thorough <= thorough // TOLERANCE


def _sample(flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Join pieces from the middle of equal parts of a tile."""
    count = max(LEAST_PIECES, flat.size // PIECE_EVERY)
    part = flat.size // count
    parts = flat[: count * part].reshape(count, part)
    start = (part - PIECE_BYTES) // 2
    return np.ascontiguousarray(parts[:, start : start + PIECE_BYTES]).reshape(-1)
