"""Mode: the most frequent pixel (GDAL overview.cpp, GDALResampleChunk_ModeT).

Every pixel that a window touches counts once. The value whose count is the first to
exceed all others wins, in row-major order.

One deviation: a window without valid pixels gives nodata. GDAL 3.10 writes 0 there when
nodata is NaN or a negative int16, int32 or int64, since it tests nodata against the
range of the unsigned type of that size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from lazycog.resample._missing import describe_missing, widened

if TYPE_CHECKING:
    from lazycog.resample._types import Array, Missing
    from lazycog.resample._windows import Axis

_LARGEST = 255
"""Pixels of a window that ``_lines`` can count in one byte."""


def reduce(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    valid: Array | None,
) -> None:
    """Take the most frequent valid pixel of every window."""
    masked = valid is not None
    missing = describe_missing(pixels.dtype, nodata, out.dtype, masked=masked)
    if pixels.dtype == np.float16:  # numba has no float16; float32 holds all of it
        single = np.empty(out.shape, np.float32)
        single_missing = widened(missing)
        _run(pixels.astype(np.float32), single, rows, cols, valid, single_missing)
        out[:] = single
    else:
        _run(pixels, out, rows, cols, valid, missing)


def _run(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    valid: Array | None,
    missing: Missing,
) -> None:
    row_windows, col_windows = rows.windows(), cols.windows()
    size = int(np.ptp(row_windows, axis=1).max() * np.ptp(col_windows, axis=1).max())
    if valid is not None:
        _valid_windows(pixels, valid, out, row_windows, col_windows, size, missing)
        return
    kernel = _lines if cols.regular_width and size <= _LARGEST else _windows
    kernel(pixels, out, row_windows, col_windows, size, missing)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lines(
    pixels: Array, out: Array, rows: Array, cols: Array, size: int, missing: Missing
) -> None:
    """Choose in windows two columns apart: all targets of a line step by step."""
    length = out.shape[2]
    places = np.empty((size, length), pixels.dtype)
    counts = np.empty((2, length), np.uint8)
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            place = 0
            for y in range(rows[row, 0], rows[row, 1]):
                for x in range(cols[0, 0], cols[0, 1]):
                    line = pixels[band, y, x:]
                    for col in range(length):
                        places[place, col] = line[2 * col]
                    place += 1
            _choose(places[:place], out[band, row], counts, missing)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _choose(places: Array, result: Array, counts: Array, missing: Missing) -> None:
    """Take of every column the value that is first to lead, as it is first spelt."""
    count, best = counts
    best[:] = 0
    result[:] = missing.fill
    for place in range(places.shape[0]):
        count[:] = 1
        for before in range(place):
            _count_equal(places[place], places[before], count)
        _take_lead(places[place], count, best, result, missing)
    for place in range(places.shape[0] - 1, -1, -1):
        _spell(places[place], best, result)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count_equal(value: Array, other: Array, count: Array) -> None:
    for col in range(count.shape[0]):
        count[col] += np.uint8(other[col] == value[col])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _take_lead(
    value: Array, count: Array, best: Array, result: Array, missing: Missing
) -> None:
    for col in range(count.shape[0]):
        valid = (value[col] < missing.low) | (value[col] > missing.high)
        lead = valid & (count[col] > best[col])
        best[col] = count[col] if lead else best[col]
        result[col] = value[col] if lead else result[col]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _spell(value: Array, best: Array, result: Array) -> None:
    """Take over the value's bits where it won: 0.0 equals -0.0."""
    for col in range(result.shape[0]):
        won = (best[col] > 0) & (value[col] == result[col])
        result[col] = value[col] if won else result[col]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _windows(
    pixels: Array, out: Array, rows: Array, cols: Array, size: int, missing: Missing
) -> None:
    """Choose in windows of any size, one by one."""
    values = np.empty(size, pixels.dtype)
    counts = np.empty(size, np.int64)
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            for col in range(out.shape[2]):
                window = pixels[
                    band, rows[row, 0] : rows[row, 1], cols[col, 0] : cols[col, 1]
                ]
                out[band, row, col] = most_frequent(window, values, counts, missing)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def most_frequent(
    window: Array, values: Array, counts: Array, missing: Missing
) -> float:
    """Count the distinct valid values of a window, in ``values`` and ``counts``."""
    found = 0
    best = 0
    for value in window.flat:
        if value < missing.low or value > missing.high:
            place = 0
            while place < found and values[place] != value:
                place += 1
            if place == found:
                values[found] = value
                counts[found] = 0
                found += 1
            counts[place] += 1
            if counts[place] > counts[best]:
                best = place
    return values[best] if found else missing.fill


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _valid_windows(
    pixels: Array,
    valid: Array,
    out: Array,
    rows: Array,
    cols: Array,
    size: int,
    missing: Missing,
) -> None:
    """Fill ``out`` with the most frequent valid pixel of every window."""
    seen = np.empty(size, pixels.dtype)
    values = np.empty(size, pixels.dtype)
    counts = np.empty(size, np.int64)
    for band, row, col in np.ndindex(out.shape):
        found = 0
        for y in range(rows[row, 0], rows[row, 1]):
            for x in range(cols[col, 0], cols[col, 1]):
                if valid[y, x]:
                    seen[found] = pixels[band, y, x]
                    found += 1
        out[band, row, col] = most_frequent(seen[:found], values, counts, missing)
