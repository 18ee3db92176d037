"""Cut one tile out of a piece of a level: padded, interleaved, predictor applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from lazycog._compression import FLOATING_POINT, HORIZONTAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
"""Differences wrap around, so that they are taken on unsigned integers."""


def cut_tile(
    pixels: NDArray[np.generic],
    row: int,
    col: int,
    scratch: NDArray[np.generic],
    predictor: int,
    *,
    repeat_edge: bool = False,
) -> NDArray[np.uint8]:
    """Cut a tile and make it ready for the codec.

    Parameters
    ----------
    pixels : ndarray, shape (band, height, width)
        A piece of a level; what lies beyond it is padded with 0, as GDAL does.
    row, col : int
        Position of the tile's first pixel in `pixels`.
    scratch : ndarray, shape (row, col, band)
        A buffer for one tile of the pixels' dtype, written over.
    predictor : int
        1, 2 or 3, as in the Predictor tag.
    repeat_edge : bool
        Pad with the last row and column: a lossy codec would smear zeros into pixels.

    Returns
    -------
    ndarray of uint8
        The tile's bytes: pixel by pixel, bands together.
    """
    if predictor == HORIZONTAL:
        unsigned = UNSIGNED[pixels.dtype.itemsize]
        tile = scratch.view(unsigned)
        _interleave_differences(
            pixels.view(unsigned), row, col, tile, (0,) * len(pixels)
        )
        return tile.view(np.uint8).reshape(-1)
    if predictor == FLOATING_POINT:
        unsigned = UNSIGNED[pixels.dtype.itemsize]
        lines = scratch.view(np.uint8).reshape(scratch.shape[0], -1)
        _shuffle_differences(pixels.view(unsigned), row, col, lines, (0,) * len(pixels))
        return lines.reshape(-1)
    height, width, _ = scratch.shape
    inner = pixels[:, row : row + height, col : col + width].transpose(1, 2, 0)
    if inner.shape != scratch.shape:
        scratch[...] = 0
    scratch[: inner.shape[0], : inner.shape[1]] = inner
    if repeat_edge:
        scratch[:, inner.shape[1] :] = scratch[:, inner.shape[1] - 1, np.newaxis]
        scratch[inner.shape[0] :] = scratch[inner.shape[0] - 1]
    return scratch.view(np.uint8).reshape(-1)


def cut_mask_tile(pixels: NDArray[np.generic], tile_size: int) -> NDArray[np.uint8]:
    """Pack a tile of a mask: a bit per pixel, most significant first, 1 for valid.

    Parameters
    ----------
    pixels : ndarray, shape (height, width)
        Up to one tile; what lies beyond it is padded with 0, as GDAL does.
    tile_size : int
        A multiple of 16, so that rows end with a byte.

    Returns
    -------
    ndarray of uint8
        The tile's bytes, row by row.
    """
    height, width = pixels.shape
    tile = np.zeros((tile_size, tile_size), np.bool_)
    tile[:height, :width] = pixels != 0
    return np.packbits(tile, axis=1).reshape(-1)


@numba.njit(nogil=True, cache=True)
def _interleave_differences(
    pixels: NDArray[np.generic],
    row: int,
    col: int,
    tile: NDArray[np.generic],
    bands: tuple[int, ...],
) -> None:
    """Fill `tile` (row, col, band) with horizontal differences of `pixels`.

    `bands` has an item per band: the length of a tuple is part of its type, so the
    innermost loop is unrolled, which makes it two to five times as fast.
    """
    count = len(bands)
    height = min(tile.shape[0], pixels.shape[1] - row)
    width = min(tile.shape[1], pixels.shape[2] - col)
    zero = tile.dtype.type(0)
    for y in range(height):
        lines = pixels[:, row + y, col : col + width]
        flat = tile[y].reshape(-1)
        for band in range(count):
            flat[band] = lines[band, 0]
        for x in range(1, width):
            for band in range(count):
                flat[x * count + band] = lines[band, x] - lines[band, x - 1]
        if width < tile.shape[1]:
            for band in range(count):
                flat[width * count + band] = zero - lines[band, width - 1]
            flat[(width + 1) * count :] = zero
    tile[height:, :, :] = zero


@numba.njit(nogil=True, cache=True)
def _shuffle_differences(
    pixels: NDArray[np.generic],
    row: int,
    col: int,
    tile: NDArray[np.uint8],
    bands: tuple[int, ...],
) -> None:
    """Fill `tile` (row, byte) as predictor 3 has it (Adobe TIFF Technical Note 3).

    In each row the most significant bytes of all samples come first, then the next
    ones, and all are differences from the same band's byte before. `pixels` are
    unsigned integers of the floats' size; `bands` is as in _interleave_differences.
    """
    count = len(bands)
    size = pixels.itemsize
    samples = tile.shape[1] // size
    height = min(tile.shape[0], pixels.shape[1] - row)
    width = min(samples // count, pixels.shape[2] - col)
    shuffled = np.zeros(tile.shape[1], np.uint8)
    low = pixels.dtype.type(255)
    for y in range(height):
        lines = pixels[:, row + y, col : col + width]
        for byte in range(size):
            plane = shuffled[byte * samples : (byte + 1) * samples]
            shift = pixels.dtype.type(8 * (size - 1 - byte))
            if count == 1:  # the compiler makes vector code of this loop alone
                line = pixels[0, row + y, col : col + width]
                for x in range(line.size):
                    plane[x] = np.uint8((line[x] >> shift) & low)
            else:
                for x in range(width):
                    for band in range(count):
                        plane[x * count + band] = np.uint8(lines[band, x] >> shift)
        tile[y, :count] = shuffled[:count]
        differences = tile[y]
        for place in range(count, shuffled.size):
            differences[place] = shuffled[place] - shuffled[place - count]
    tile[height:] = 0
