"""Exact statistics of bands, gathered tile by tile and merged in a fixed order.

The partition is the tile grid, never the chunks, so that floating-point sums come out
the same for any chunking and any order of tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

COUNT, MINIMUM, MAXIMUM, MEAN, SQUARES = range(5)
"""Columns of a partial: SQUARES is the sum of squared differences from the mean."""
EMPTY = (0.0, math.inf, -math.inf, 0.0, 0.0)
"""The partial of no pixels."""


def tile_partials(
    pixels: NDArray[np.generic],
    tile_size: int,
    nodata: float | int | None,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Summarise every tile of a piece of the full resolution.

    Parameters
    ----------
    pixels : ndarray, shape (band, height, width)
        Pixels that start at a tile corner.
    tile_size : int
        Side of a tile.
    nodata : number or None
        Left out, as NaN is.
    valid : ndarray of bool, shape (height, width), or None
        What it denies is left out as well.

    Returns
    -------
    ndarray, shape (band, tile row, tile col, 5)
        One partial per tile.
    """
    count, height, width = pixels.shape
    rows, cols = -(-height // tile_size), -(-width // tile_size)
    partials = np.empty((count, rows, cols, 5))
    if pixels.dtype.kind in "ui" and pixels.dtype.itemsize <= EXACT_BYTES:
        sums = np.empty((count, rows, cols, 5), np.int64)
        missing = NO_INTEGER if nodata is None else int(nodata)
        if valid is not None:
            kept = valid if nodata is None else valid & (pixels != nodata)
            pixels = np.where(kept, pixels.astype(np.int32), np.int32(NO_INTEGER))
            missing = NO_INTEGER
        _fill_sums(pixels, tile_size, np.int32(missing), sums)
        for index in np.ndindex(count, rows, cols):
            partials[index] = _finished(*sums[index].tolist())
        return partials
    values = pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels
    if valid is not None:
        kept = valid if nodata is None else valid & (values != nodata)
        # the kernel sums doubles anyway
        values, nodata = np.where(kept, values.astype(np.float64), math.nan), None
    value = values.dtype.type(0 if nodata is None else nodata)
    _fill_partials(values, tile_size, value, nodata is not None, partials)
    return partials


EXACT_BYTES = 2
"""Sums of squares of up to 16-bit integers fit 64 bits for any tile."""
LARGEST, SMALLEST = np.int32(2**31 - 1), np.int32(-(2**31))
NO_INTEGER = -(2**31)
"""Stands for "no nodata" among 16-bit integers."""


def _finished(
    number: int, low: int, high: int, total: int, squares: int
) -> tuple[float, ...]:
    """Turn exact sums into a partial, each figure correctly rounded."""
    if not number:
        return EMPTY
    between = (number * squares - total * total) / number
    return number, low, high, total / number, between


@numba.njit(nogil=True, cache=True)
def _fill_sums(
    pixels: NDArray[np.generic],
    tile_size: int,
    nodata: np.int32,
    sums: NDArray[np.int64],
) -> None:
    """Fill count, minimum, maximum, sum and sum of squares per band and tile.

    Along whole rows of pixels, which a processor reads ahead.
    """
    count, height, width = pixels.shape
    sums[:] = 0
    sums[..., 1], sums[..., 2] = LARGEST, SMALLEST
    for band in range(count):
        for y in range(height):
            for tile_col in range(sums.shape[2]):
                left = tile_col * tile_size
                row = pixels[band, y, left : min(left + tile_size, width)]
                _add_row(row, nodata, sums[band, y // tile_size, tile_col])


@numba.njit(nogil=True, cache=True)
def _add_row(
    row: NDArray[np.generic], nodata: np.int32, tile: NDArray[np.int64]
) -> None:
    """Add a row of a tile to its sums, faster when all of it is valid.

    Plain loops over numbers of one width: of those the compiler makes vector code.
    """
    low = high = row[0]
    for x in range(row.size):
        low = min(low, row[x])
        high = max(high, row[x])
    if low <= nodata <= high:
        _add_valid(row, nodata, tile)
        return
    total, squares = np.int64(0), np.int64(0)
    for x in range(row.size):
        wide = np.int64(row[x])
        total += wide
        squares += wide * wide
    tile[0] += row.size
    tile[1] = min(tile[1], np.int64(low))
    tile[2] = max(tile[2], np.int64(high))
    tile[3] += total
    tile[4] += squares


@numba.njit(nogil=True, cache=True)
def _add_valid(
    row: NDArray[np.generic], nodata: np.int32, tile: NDArray[np.int64]
) -> None:
    """Add what is valid in a row."""
    number = np.int32(0)
    low, high = LARGEST, SMALLEST
    for x in range(row.size):
        value = np.int32(row[x])
        valid = value != nodata
        number += np.int32(1) if valid else np.int32(0)
        lower = value if valid else LARGEST
        higher = value if valid else SMALLEST
        low = min(lower, low)
        high = max(higher, high)
    total, squares = np.int64(0), np.int64(0)
    for x in range(row.size):
        value = np.int32(row[x])
        wide = np.int64(value if value != nodata else np.int32(0))
        total += wide
        squares += wide * wide
    tile[0] += number
    tile[1] = min(tile[1], low)
    tile[2] = max(tile[2], high)
    tile[3] += total
    tile[4] += squares


@numba.njit(nogil=True, cache=True)
def _fill_partials(
    pixels: NDArray[np.generic],
    tile_size: int,
    nodata: float,
    has_nodata: bool,  # noqa: FBT001 - numba compiles positional arguments
    partials: NDArray[np.float64],
) -> None:
    """Fill one partial per band and tile, in two sweeps over the tile's rows."""
    count, height, width = pixels.shape
    for band in range(count):
        for tile_row in range(partials.shape[1]):
            for tile_col in range(partials.shape[2]):
                top, left = tile_row * tile_size, tile_col * tile_size
                tile = pixels[
                    band,
                    top : min(top + tile_size, height),
                    left : min(left + tile_size, width),
                ]
                partial = partials[band, tile_row, tile_col]
                _fill_partial(tile, nodata, has_nodata, partial)


@numba.njit(nogil=True, cache=True)
def _fill_partial(
    tile: NDArray[np.generic],
    nodata: float,
    has_nodata: bool,  # noqa: FBT001 - numba compiles positional arguments
    partial: NDArray[np.float64],
) -> None:
    """Count, minimum, maximum, mean, and squared differences from the mean."""
    height, width = tile.shape
    number = 0
    low, high = np.inf, -np.inf
    total = 0.0
    for y in range(height):
        # one sum per row keeps the rounding error small
        row_total = 0.0
        for x in range(width):
            value = tile[y, x]
            if value != value or (has_nodata and value == nodata):  # noqa: PLR0124 - NaN
                continue
            number += 1
            real = float(value)
            low = min(low, real)
            high = max(high, real)
            row_total += real
        total += row_total
    mean = total / number if number else 0.0
    squares = 0.0
    for y in range(height):
        row_squares = 0.0
        for x in range(width):
            value = tile[y, x]
            if value != value or (has_nodata and value == nodata):  # noqa: PLR0124 - NaN
                continue
            difference = float(value) - mean
            row_squares += difference * difference
        squares += row_squares
    partial[0], partial[1], partial[2] = number, low, high
    partial[3], partial[4] = mean, squares


def merge(partials: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge partials of each band.

    Parameters
    ----------
    partials : ndarray, shape (band, n, 5)
        Partials of disjoint sets of pixels, in a fixed order.

    Returns
    -------
    ndarray, shape (band, 5)
        Their union. The sums are exactly rounded (math.fsum).
    """
    merged = np.empty((partials.shape[0], 5))
    for band, rows in enumerate(partials):
        filled = rows[rows[:, COUNT] > 0]
        if not len(filled):
            merged[band] = EMPTY
            continue
        number = math.fsum(filled[:, COUNT])
        mean = math.fsum(filled[:, COUNT] * filled[:, MEAN]) / number
        between = filled[:, COUNT] * (filled[:, MEAN] - mean) ** 2
        merged[band] = (
            number,
            filled[:, MINIMUM].min(),
            filled[:, MAXIMUM].max(),
            mean,
            math.fsum(filled[:, SQUARES]) + math.fsum(between),
        )
    return merged


@dataclass(frozen=True)
class BandStatistics:
    """Statistics of one band over its valid pixels."""

    minimum: float
    maximum: float
    mean: float
    stddev: float
    """Population standard deviation, as GDAL computes it."""
    valid_percent: float

    @classmethod
    def from_partial(
        cls, partial: NDArray[np.float64], pixel_count: int
    ) -> BandStatistics | None:
        """Finish a merged partial; None when no pixel is valid."""
        number = float(partial[COUNT])
        if not number:
            return None
        return cls(
            minimum=float(partial[MINIMUM]),
            maximum=float(partial[MAXIMUM]),
            mean=float(partial[MEAN]),
            stddev=math.sqrt(float(partial[SQUARES]) / number),
            valid_percent=100.0 * number / pixel_count,
        )

    @property
    def tags(self) -> Mapping[str, str]:
        """GDAL's metadata items (GDALRasterBand::SetStatistics, ``%.14g``)."""
        return {
            "STATISTICS_MAXIMUM": f"{self.maximum:.14g}",
            "STATISTICS_MEAN": f"{self.mean:.14g}",
            "STATISTICS_MINIMUM": f"{self.minimum:.14g}",
            "STATISTICS_STDDEV": f"{self.stddev:.14g}",
            "STATISTICS_VALID_PERCENT": f"{self.valid_percent:.4g}",
        }
