"""Gauss: a small binomial filter around every target (GDALResampleChunk_Gauss)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from lazycog.resample._missing import describe_missing, widened
from lazycog.resample._store import store

if TYPE_CHECKING:
    from lazycog.resample._types import Array, Missing
    from lazycog.resample._windows import Axis

_BINOMIAL = {3: (1, 2, 1), 5: (1, 4, 6, 4, 1), 7: (1, 6, 15, 20, 15, 6, 1)}
"""Weights along one axis; a pixel's weight is the product of both."""


SUPPORT = 2
"""Source pixels beyond a target's window, at ratios up to 3."""


def spans(rows: Axis, cols: Axis) -> tuple[Array, Array]:
    """Return the spans of rows and columns."""
    return span(rows, side(rows)), span(cols, side(rows))


def side(rows: Axis) -> int:
    """Return the side of the filter, which the ratio of the heights alone decides."""
    factor = int(0.5 + rows.ratio)
    return 3 if factor <= 2 else 5 if factor <= 4 else 7  # noqa: PLR2004 - as in GDAL


def span(axis: Axis, side: int) -> Array:
    """Return ``[start, stop)`` of every target's filter, which may leave the level."""
    lower, upper = axis.ends
    first = (0.5 + lower).astype(np.int64)
    last = (0.5 + upper).astype(np.int64) + 1
    start = first + (last - first) // 2 - side // 2
    return np.stack([start, start + side], axis=1) - axis.source_origin


def reduce(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    valid: Array | None,
) -> None:
    """Filter the valid pixels around every target."""
    double = np.dtype("d")
    missing = describe_missing(pixels.dtype, nodata, double, masked=valid is not None)
    if pixels.dtype == np.float16:  # numba has no float16; float32 holds all of it
        pixels, missing = pixels.astype(np.float32), widened(missing)
    mean = out if out.dtype == double else np.empty(out.shape, double)
    weight = np.array(_BINOMIAL[side(rows)], np.float64)
    wanted = (_clipped(axis, weight.size) for axis in (rows, cols))
    there = np.empty((0, 0), np.uint8) if valid is None else valid
    _windows(pixels, there, mean, *wanted, weight, missing)
    if mean is not out:
        store(mean, out, nodata)


def _clipped(axis: Axis, side: int) -> Array:
    """Return start and stop within the level, and where the filter starts."""
    ends = span(axis, side)
    start, stop = axis.level
    return np.concatenate([np.clip(ends, start, stop), ends[:, :1]], axis=1)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _windows(
    pixels: Array,
    valid: Array,
    mean: Array,
    rows: Array,
    cols: Array,
    weight: Array,
    missing: Missing,
) -> None:
    for band in range(mean.shape[0]):
        for row in range(mean.shape[1]):
            for col in range(mean.shape[2]):
                total, shares = 0.0, 0.0
                for y in range(rows[row, 0], rows[row, 1]):
                    for x in range(cols[col, 0], cols[col, 1]):
                        value = pixels[band, y, x]
                        there = valid.shape[0] == 0 or valid[y, x]
                        if there and (value < missing.low or value > missing.high):
                            share = weight[y - rows[row, 2]] * weight[x - cols[col, 2]]
                            total += value * share
                            shares += share
                mean[band, row, col] = total / shares if shares else missing.fill
