"""Mode: the most frequent pixel (GDAL overview.cpp, GDALResampleChunk_ModeT).

Every pixel that a window touches counts once. The value whose count is the first to
exceed all others wins, in row-major order.

One deviation: a window without valid pixels gives nodata. GDAL 3.10 writes 0 there when
nodata is NaN or a negative int16, int32 or int64, since it tests nodata against the
range of the unsigned type of that size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from lazycog.resample._missing import Missing
    from lazycog.resample._windows import Axis

    Array = np.ndarray[Any, np.dtype[Any]]

_LARGEST = 255
"""Pixels of a window that ``_lines`` can count in one byte."""


def reduce(pixels: Array, out: Array, rows: Axis, cols: Axis, missing: Missing) -> None:
    """Take the most frequent valid pixel of every window."""
    limits = (missing.low, missing.high, missing.fill)
    if pixels.dtype == np.float16:  # numba has no float16; float32 holds all of it
        wide = tuple(np.float32(value) for value in limits)
        single = np.empty(out.shape, np.float32)
        _run(pixels.astype(np.float32), single, rows, cols, wide)
        out[:] = single
    else:
        _run(pixels, out, rows, cols, limits)


def _run(
    pixels: Array, out: Array, rows: Axis, cols: Axis, limits: tuple[Any, ...]
) -> None:
    windows = (rows.windows(), cols.windows())
    width = cols.regular_width
    height = int(np.ptp(windows[0], axis=1).max())
    if width and height * width <= _LARGEST:
        _lines(pixels, out, *windows, height, width, *limits)
    else:
        _windows(pixels, out, *windows, *limits)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lines(
    pixels: Array,
    out: Array,
    rows: Array,
    cols: Array,
    height: int,
    width: int,
    low: Any,
    high: Any,
    fill: Any,
) -> None:
    """Choose in windows two columns apart: all targets of a line step by step."""
    length = out.shape[2]
    places = np.empty((height * width, length), pixels.dtype)
    best = np.empty(length, np.uint8)
    count = np.empty(length, np.uint8)
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            size = 0
            for y in range(rows[row, 0], rows[row, 1]):
                for x in range(cols[0, 0], cols[0, 0] + width):
                    line = pixels[band, y, x:]
                    place = places[size]
                    for col in range(length):
                        place[col] = line[2 * col]
                    size += 1
            _choose(places[:size], out[band, row], best, count, low, high, fill)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _choose(
    places: Array,
    result: Array,
    best: Array,
    count: Array,
    low: Any,
    high: Any,
    fill: Any,
) -> None:
    """Take of every column the value that is first to lead, as it is first spelt."""
    best[:] = 0
    result[:] = fill
    for place in range(places.shape[0]):
        count[:] = 1
        for before in range(place):
            _count_equal(places[place], places[before], count)
        _take_lead(places[place], count, best, result, low, high)
    for place in range(places.shape[0] - 1, -1, -1):
        _spell(places[place], best, result)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count_equal(value: Array, other: Array, count: Array) -> None:
    for col in range(count.shape[0]):
        count[col] += np.uint8(other[col] == value[col])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _take_lead(
    value: Array, count: Array, best: Array, result: Array, low: Any, high: Any
) -> None:
    for col in range(count.shape[0]):
        valid = (value[col] < low) | (value[col] > high)
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
    pixels: Array, out: Array, rows: Array, cols: Array, low: Any, high: Any, fill: Any
) -> None:
    """Choose in windows of any size, one by one."""
    largest = np.max(rows[:, 1] - rows[:, 0]) * np.max(cols[:, 1] - cols[:, 0])
    values = np.empty(largest, pixels.dtype)
    counts = np.empty(largest, np.int64)
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            for col in range(out.shape[2]):
                found = 0
                best = 0
                for y in range(rows[row, 0], rows[row, 1]):
                    for x in range(cols[col, 0], cols[col, 1]):
                        value = pixels[band, y, x]
                        if not (value < low or value > high):
                            continue
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
                out[band, row, col] = values[best] if found else fill
