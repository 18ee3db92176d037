"""A raster made small: the mean of the valid pixels of every cell of a coarse grid.

Every block is read once and leaves sums and counts of the cells that it meets; these
are added up. So memory does not grow with the raster, and chunks change nothing but the
last digits of a mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Mask = Callable[[tuple[int, int], tuple[int, int]], NDArray[np.bool_]]
    """Rows and columns of a window -> True where a pixel is valid."""


@dataclass(frozen=True)
class Coarse:
    """A coarse grid: pixel y of the source belongs to row ``y * rows // height``."""

    height: int
    width: int
    """Of the source."""
    rows: int
    cols: int
    """Of the coarse grid."""

    @classmethod
    def fitting(cls, height: int, width: int, size: int) -> Coarse:
        """Shrink the longest side to `size`; nothing is enlarged.

        Parameters
        ----------
        height, width : int
            Of the source.
        size : int
            Longest side of the result.

        Returns
        -------
        Coarse
            With the shape of the source kept as well as whole pixels can.

        Examples
        --------
        >>> Coarse.fitting(1000, 4000, 100)
        Coarse(height=1000, width=4000, rows=25, cols=100)
        """
        factor = max(1.0, max(height, width) / size)
        rows = max(1, round(height / factor))
        return cls(height, width, rows, max(1, round(width / factor)))


@dataclass(frozen=True)
class Piece:
    """Sums and counts of the cells that a block meets."""

    band: int
    row: int
    col: int
    """Position of the first one."""
    sums: NDArray[np.float64]
    """Shape (band, row, col)."""
    counts: NDArray[np.int64]
    """Number of valid pixels, of the same shape."""


def reduce_block(
    pixels: NDArray[Any],
    origin: tuple[int, int, int],
    coarse: Coarse,
    nodata: float | None,
    mask: Mask | None = None,
) -> Piece:
    """Add up the valid pixels of a block, cell by cell.

    Parameters
    ----------
    pixels : ndarray, shape (band, height, width)
        The block; of complex pixels the magnitude counts.
    origin : (band, row, col)
        Position of its first pixel in the source.
    coarse : Coarse
        The grid of cells.
    nodata : int, float or None
        Value of pixels without data; NaN and infinity always are without.
    mask : callable, optional
        Tells the valid pixels of a window, all bands alike.

    Returns
    -------
    Piece
        Small.
    """
    band, row, col = origin
    count, height, width = pixels.shape
    row_starts = _starts(row, height, coarse.height, coarse.rows)
    col_starts = _starts(col, width, coarse.width, coarse.cols)
    shape = (count, len(row_starts), len(col_starts))
    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    known = None if mask is None else mask((row, row + height), (col, col + width))
    for index, start in enumerate(row_starts):
        stop = row_starts[index + 1] if index + 1 < len(row_starts) else height
        strip = _real(pixels[:, start:stop])
        valid = _valid(strip, nodata)
        if known is not None:
            valid = known[start:stop] if valid is None else valid & known[start:stop]
        if valid is None:
            number = np.full((count, width), stop - start, np.int64)
        else:
            strip = np.where(valid, strip, 0)
            number = np.broadcast_to(valid, strip.shape).sum(axis=1, dtype=np.int64)
        total = strip.sum(axis=1, dtype=np.float64)
        np.add.reduceat(total, col_starts, axis=1, out=sums[:, index])
        np.add.reduceat(number, col_starts, axis=1, out=counts[:, index])
    first = row * coarse.rows // coarse.height, col * coarse.cols // coarse.width
    return Piece(band, *first, sums, counts)


def _starts(first: int, size: int, source: int, target: int) -> NDArray[np.intp]:
    """Give where in a block the cells begin that it meets."""
    low = first * target // source
    high = (first + size - 1) * target // source
    cells = np.arange(low, high + 1)
    starts = -(-cells * source // target) - first
    return np.maximum(starts, 0).astype(np.intp)


def _real(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.abs(pixels) if pixels.dtype.kind == "c" else pixels


def _valid(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Tell valid pixels; None where all are."""
    finite = np.isfinite(pixels) if pixels.dtype.kind == "f" else None
    if nodata is None or math.isnan(nodata):
        return finite
    other: NDArray[np.bool_] = pixels != np.asarray(nodata).astype(pixels.dtype)
    return other if finite is None else other & finite


def add_up(
    pieces: Iterable[Piece], count: int, coarse: Coarse
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give the means of all cells from all pieces.

    Parameters
    ----------
    pieces : iterable of Piece
        Of every block, in any order.
    count : int
        Number of bands.
    coarse : Coarse
        The grid of cells.

    Returns
    -------
    means : ndarray, shape (band, row, col)
        0 where there is none.
    valid : ndarray of bool, of the same shape
        True where a valid pixel was.
    """
    total = merge(pieces, count, coarse)
    valid = total.counts > 0
    means = np.divide(
        total.sums, total.counts, out=np.zeros(total.sums.shape), where=valid
    )
    return means, valid


def merge(pieces: Iterable[Piece], count: int, coarse: Coarse) -> Piece:
    """Add pieces, one at least, up to one of the rows that they meet."""
    pieces = list(pieces)
    top = min(piece.row for piece in pieces)
    bottom = max(piece.row + piece.sums.shape[1] for piece in pieces)
    shape = (count, bottom - top, coarse.cols)
    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    for piece in pieces:
        bands, rows, cols = piece.sums.shape
        place = (
            slice(piece.band, piece.band + bands),
            slice(piece.row - top, piece.row - top + rows),
            slice(piece.col, piece.col + cols),
        )
        sums[place] += piece.sums
        counts[place] += piece.counts
    return Piece(0, top, 0, sums, counts)
