"""Bilinear, cubic, cubicspline and lanczos (GDAL overview.cpp).

GDALResampleChunk_Convolution filters along the rows, then down the columns, in double,
and rounds to the work type at the end. Its loops add in an order of their own, which
decides where a sum falls halfway between two integers, so the loops here keep it.

A row is filtered once, into a ring of as many rows as a target needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from lazycog.resample._missing import describe_missing, work_dtype
from lazycog.resample._store import store
from lazycog.resample._taps import RADIUS, taps

if TYPE_CHECKING:
    from lazycog.resample._taps import Taps
    from lazycog.resample._types import Array, Missing
    from lazycog.resample._windows import Axis

OPAQUE = 255.0
"""Opacity of a valid pixel; GDAL multiplies the weights along a row by it."""
_LANES_REACH = 4
"""GDAL takes eight pixels at a time where a filter reaches this far."""


class Order(NamedTuple):
    """In which order GDAL adds up."""

    step: int
    """Pixels of a row taken at once in four sums, 0 for two sums without SSE2."""

    pairs: bool
    """Two sums down a column, where the work type is double."""

    ringing: bool
    """The filter has negative weights, so half its pixels must be valid in a row."""


class Finish(NamedTuple):
    """How a result that equals the nodata value is told and moved away."""

    masked: bool
    """There is a nodata value."""

    integer: bool
    """Results are rounded before they are compared."""

    low: float
    """Lowest value of the type."""

    high: float
    """Highest value of the type."""


def reduce(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    valid: Array | None,
    *,
    resampling: str,
) -> None:
    """Filter the valid pixels around every target."""
    work = work_dtype(pixels.dtype)
    work = np.dtype("f") if work.kind == "u" else work
    mean = out if out.dtype == work else np.empty(out.shape, work)
    order = _order(pixels.dtype, work, cols, resampling)
    source = pixels.astype(work) if pixels.dtype == np.float16 else pixels
    if nodata is None and valid is None:
        across = taps(cols, resampling, vertical=False, normal=True)
        down = taps(rows, resampling, vertical=True, normal=True)
        _plain(source, mean, down, across, order)
        if source.dtype.kind == "f" and np.isnan(mean.max()):
            skipped = np.empty_like(mean)
            _skip(source, skipped, rows, cols, nodata, valid, resampling, order)
            np.copyto(mean, skipped, where=np.isnan(mean))
    else:
        _skip(source, mean, rows, cols, nodata, valid, resampling, order)
    if mean is not out:
        store(mean, out, nodata)


def _order(
    dtype: np.dtype[np.generic], work: np.dtype[np.generic], cols: Axis, resampling: str
) -> Order:
    step = 8 if RADIUS[resampling] * max(cols.ratio, 1.0) >= _LANES_REACH else 4
    return Order(
        step=step if dtype.char in "BH" else 0,
        pairs=work.char == "d",
        ringing=resampling in {"cubic", "lanczos"},
    )


def _skip(
    pixels: Array,
    mean: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    valid: Array | None,
    resampling: str,
    order: Order,
) -> None:
    """Filter what is neither nodata nor NaN, or what ``valid`` says."""
    masked = valid is not None
    missing = describe_missing(pixels.dtype, nodata, mean.dtype, masked=masked)
    there = np.empty((0, 0), np.uint8) if valid is None else valid
    integer = pixels.dtype.kind in "iu"
    limits = np.iinfo(pixels.dtype) if integer else np.finfo(mean.dtype)
    finish = Finish(nodata is not None, integer, float(limits.min), float(limits.max))
    across = taps(cols, resampling, vertical=False, normal=False)
    down = taps(rows, resampling, vertical=True, normal=False)
    _masked(pixels, there, mean, down, across, order, missing, finish)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _plain(pixels: Array, mean: Array, down: Taps, across: Taps, order: Order) -> None:
    size, length = down.weight.shape[1], across.start.shape[0]
    ring = np.empty((size, length))
    line = np.empty(pixels.shape[2])
    sums = np.empty((2, length))
    for band in range(mean.shape[0]):
        done = 0
        for row in range(mean.shape[1]):
            start, stop = down.start[row], down.start[row] + down.length[row]
            for y in range(max(done, start), stop):
                line[:] = pixels[band, y]
                _along(line, across, order.step, ring[y % size])
            done = stop
            _down(ring, start, stop, down.weight[row], order.pairs, sums)
            mean[band, row] = sums[0]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _along(line: Array, taps: Taps, step: int, result: Array) -> None:
    """Filter a row: four sums side by side, or two by two pixels in turn."""
    for col in range(result.shape[0]):
        start, count = taps.start[col], taps.length[col]
        weight = taps.weight[col]
        apart = step if step > 0 and count > 4 else 4  # noqa: PLR2004 - four sums
        grouped = count - count % apart
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        if step > 0:
            for k in range(0, grouped, 4):
                a += line[start + k] * weight[k]
                b += line[start + k + 1] * weight[k + 1]
                c += line[start + k + 2] * weight[k + 2]
                d += line[start + k + 3] * weight[k + 3]
            a, c = (a + c) + (b + d), 0.0
        else:
            for k in range(0, grouped, 4):
                a += line[start + k] * weight[k]
                a += line[start + k + 1] * weight[k + 1]
                c += line[start + k + 2] * weight[k + 2]
                c += line[start + k + 3] * weight[k + 3]
        for k in range(grouped, count):
            a += line[start + k] * weight[k]
        result[col] = a + c


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _down(
    ring: Array, start: int, stop: int, weight: Array, pairs: int, sums: Array
) -> None:
    """Filter down the columns into ``sums[0]``, in order or by pairs of rows."""
    sums[:] = 0.0
    grouped = start + (stop - start) // 4 * 4
    for y in range(start, stop):
        second = pairs and y < grouped and (y - start) % 4 >= 2  # noqa: PLR2004
        total = sums[1] if second else sums[0]
        line, share = ring[y % ring.shape[0]], weight[y - start]
        for col in range(total.shape[0]):
            total[col] += line[col] * share
    if pairs:
        sums[0] += sums[1]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _masked(
    pixels: Array,
    valid: Array,
    mean: Array,
    down: Taps,
    across: Taps,
    order: Order,
    missing: Missing,
    finish: Finish,
) -> None:
    size, length = down.weight.shape[1], across.start.shape[0]
    ring = np.zeros((2, size, length))
    line = np.zeros((2, pixels.shape[2]))
    sums = np.empty((4, length))
    for band in range(mean.shape[0]):
        done = 0
        for row in range(mean.shape[1]):
            start, stop = down.start[row], down.start[row] + down.length[row]
            for y in range(max(done, start), stop):
                if valid.shape[0] > 0:
                    line[1] = valid[y]
                else:
                    line[1] = OPAQUE
                _load(pixels[band, y], line, missing)
                _along_valid(line, across, order, ring[:, y % size])
            done = stop
            _down_valid(ring, start, stop, down.weight[row], sums)
            half = (stop - start) // 2 if order.ringing else 0
            _finish(sums, half, mean[band, row], missing, finish)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _load(pixels: Array, line: Array, missing: Missing) -> None:
    """Take a row of pixels into ``line[0]``, 0 with no opacity for the missing ones."""
    for x in range(pixels.shape[0]):
        value = pixels[x]
        there = (value < missing.low) | (value > missing.high)
        line[0, x] = value if there else 0.0
        line[1, x] = line[1, x] if there else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _along_valid(line: Array, taps: Taps, order: Order, result: Array) -> None:
    """Filter the valid pixels of a row, and tell which targets have any."""
    value, opacity = line
    for col in range(result.shape[1]):
        start, count = taps.start[col], taps.length[col]
        near, there = value[start : start + count], opacity[start : start + count]
        result[:, col] = 0.0
        if order.ringing and _longest(there) < count // 2:
            continue
        if order.step > 0:
            total, share = _four_sums(near, there, taps.weight[col])
        else:
            total, share = _one_sum(near, there, taps.weight[col])
        if share > 0.0:
            result[0, col] = total / share
            result[1, col] = 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _longest(there: Array) -> int:
    """Return the length of the longest run of valid pixels."""
    run, longest = 0, 0
    for k in range(there.shape[0]):
        run = run + 1 if there[k] > 0.0 else 0
        longest = max(longest, run)
    return longest


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _four_sums(near: Array, there: Array, weight: Array) -> tuple[float, float]:
    count = near.shape[0]
    grouped = count - count % 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    p, q, r, s = 0.0, 0.0, 0.0, 0.0
    for k in range(0, grouped, 4):
        share = weight[k] * there[k]
        a, p = a + near[k] * share, p + share
        share = weight[k + 1] * there[k + 1]
        b, q = b + near[k + 1] * share, q + share
        share = weight[k + 2] * there[k + 2]
        c, r = c + near[k + 2] * share, r + share
        share = weight[k + 3] * there[k + 3]
        d, s = d + near[k + 3] * share, s + share
    total, shares = (a + c) + (b + d), (p + r) + (q + s)
    for k in range(grouped, count):
        share = weight[k] * there[k]
        total += near[k] * share
        shares += share
    return total, shares


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _one_sum(near: Array, there: Array, weight: Array) -> tuple[float, float]:
    count = near.shape[0]
    grouped = count - count % 4
    total, shares = 0.0, 0.0
    for first in range(0, grouped, 4):
        four = 0.0
        for k in range(first, first + 4):
            share = weight[k] * there[k]
            total += near[k] * share
            four += share
        shares += four
    for k in range(grouped, count):
        share = weight[k] * there[k]
        total += near[k] * share
        shares += share
    return total, shares


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _down_valid(ring: Array, start: int, stop: int, weight: Array, sums: Array) -> None:
    """Filter down the columns: total, weight, and the longest run of valid rows."""
    sums[:] = 0.0
    total, shares, run, longest = sums
    for y in range(start, stop):
        value, there = ring[0, y % ring.shape[1]], ring[1, y % ring.shape[1]]
        for col in range(total.shape[0]):
            share = weight[y - start] * there[col]
            total[col] += value[col] * share
            shares[col] += share
            run[col] = (run[col] + 1.0) * there[col]
            longest[col] = max(longest[col], run[col])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _finish(
    sums: Array, half: int, result: Array, missing: Missing, finish: Finish
) -> None:
    """Divide by the weight; a valid result never equals the nodata value."""
    total, shares, _, longest = sums
    for col in range(result.shape[0]):
        if shares[col] > 0.0 and longest[col] >= half:
            result[col] = total[col] / shares[col]
            if finish.masked:
                clamped = min(max(result[col], finish.low), finish.high)
                whole = np.copysign(np.floor(abs(clamped) + 0.5), clamped)
                same = (whole if finish.integer else clamped) == missing.fill
                result[col] = missing.replacement if same else clamped
        else:
            result[col] = missing.fill
