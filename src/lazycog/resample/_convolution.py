"""Bilinear, cubic, cubicspline and lanczos (GDAL overview.cpp).

GDALResampleChunk_Convolution filters along the rows, then down the columns, in double,
and rounds to the work type at the end. Its loops add in an order of their own, which
decides where a sum falls halfway between two integers, so the loops here keep it.

A row is filtered once, into a ring of as many rows as a target needs: its even and its
odd pixels are set apart, so that all targets take a step of their sums together.
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
_APART = 2
"""Source pixels from one target to the next, but for a drift at odd sizes."""
_RUN = 128
"""Longest run of targets: short enough to be all valid, or all missing, most times."""
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


class Across(NamedTuple):
    """The taps of the columns, in runs of targets that are alike."""

    runs: Array
    """First target of each run and the one after its last: within a run the filters
    are equally long, and start two pixels apart."""

    start: Array
    """First source pixel of each target."""

    length: Array
    """Number of source pixels of each target."""

    weight: Array
    """Weights, one column per target."""


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
        across = _across(cols, resampling, normal=True)
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


def _across(cols: Axis, resampling: str, *, normal: bool) -> Across:
    start, length, weight = taps(cols, resampling, vertical=False, normal=normal)
    alike = (np.diff(start) == _APART) & (np.diff(length) == 0)
    breaks = np.flatnonzero(~alike) + 1
    edges = np.union1d(breaks, np.arange(0, cols.count, _RUN))
    edges = np.append(edges, cols.count).astype(np.int64)
    runs = np.stack([edges[:-1], edges[1:]], axis=1)
    return Across(runs, start, length, np.ascontiguousarray(weight.T))


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
    across = _across(cols, resampling, normal=False)
    down = taps(rows, resampling, vertical=True, normal=False)
    _masked(pixels, there, mean, down, across, order, missing, finish)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _plain(
    pixels: Array, mean: Array, down: Taps, across: Across, order: Order
) -> None:
    size, length = down.weight.shape[1], across.start.shape[0]
    ring = np.empty((size, length))
    line = np.zeros((2, 1, pixels.shape[2] // 2 + 1))
    sums = np.empty((4, length))
    for band in range(mean.shape[0]):
        done = 0
        for row in range(mean.shape[1]):
            start, stop = down.start[row], down.start[row] + down.length[row]
            for y in range(max(done, start), stop):
                _split(pixels[band, y], line[0, 0], line[1, 0])
                _along(line, across, order.step, sums)
                ring[y % size] = sums[0]
            done = stop
            _down(ring, start, stop, down.weight[row], order.pairs, sums)
            mean[band, row] = sums[0]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _split(pixels: Array, even: Array, odd: Array) -> None:
    half = pixels.shape[0] // 2
    for x in range(half):
        even[x] = pixels[2 * x]
        odd[x] = pixels[2 * x + 1]
    if pixels.shape[0] % 2:
        even[half] = pixels[2 * half]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _along(line: Array, across: Across, step: int, sums: Array) -> None:
    """Filter a row into ``sums[0]``: four sums side by side, or two by two pixels."""
    sums[:] = 0.0
    for first, last in across.runs:
        start, length = across.start[first], across.length[first]
        apart = step if step > 0 and length > 4 else 4  # noqa: PLR2004 - four sums
        grouped = length - length % apart
        for k in range(length):
            if k == grouped and step > 0:
                _fold(sums[:, first:last])
            lane = k % 4 if k < grouped else 0
            lane = lane if step > 0 else lane // 2 * 2
            total, weight = sums[lane, first:last], across.weight[k, first:last]
            near = line[(start + k) % 2, 0, (start + k) // 2 :]
            for col in range(total.shape[0]):
                total[col] += near[col] * weight[col]
        if grouped == length or step == 0:
            _fold(sums[:, first:last])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fold(lanes: Array) -> None:
    """Add four sums into the first, in the order of SSE2's horizontal sum."""
    a, b, c, d = lanes
    for col in range(a.shape[0]):
        a[col] = (a[col] + c[col]) + (b[col] + d[col])
        b[col] = c[col] = d[col] = 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _down(
    ring: Array, start: int, stop: int, weight: Array, pairs: int, sums: Array
) -> None:
    """Filter down the columns into ``sums[0]``, in order or by pairs of rows."""
    sums[:2] = 0.0
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
    across: Across,
    order: Order,
    missing: Missing,
    finish: Finish,
) -> None:
    size, length = down.weight.shape[1], across.start.shape[0]
    ring = np.zeros((2, size, length))
    line = np.zeros((2, 3, pixels.shape[2] // 2 + 1))
    sums = np.empty((10, length))
    seen = np.arange(pixels.shape[2] + 1) * 1.0  # neither all valid nor all missing
    line[:, 1:] = OPAQUE
    _along_valid(line, seen, sums[:0], across, order, sums)
    opaque = np.concatenate((across.weight * OPAQUE, sums[4:5]))
    for band in range(mean.shape[0]):
        done = 0
        for row in range(mean.shape[1]):
            start, stop = down.start[row], down.start[row] + down.length[row]
            for y in range(max(done, start), stop):
                opacity = valid[y] if valid.shape[0] > 0 else valid[:0].ravel()
                _split_valid(pixels[band, y], opacity, line, missing)
                _count_seen(line, seen)
                _along_valid(line, seen, opaque, across, order, sums)
                _divide(across, order, sums, ring[:, y % size])
            done = stop
            _down_valid(ring, start, stop, down.weight[row], order.ringing, sums)
            half = (stop - start) // 2 if order.ringing else 0
            _finish(sums, half, mean[band, row], missing, finish)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _split_valid(pixels: Array, opacity: Array, line: Array, missing: Missing) -> None:
    """Set even and odd pixels apart, 0 with no opacity for the missing ones."""
    masked = opacity.shape[0] > 0
    for parity in range(2):
        value, share, valid = line[parity]
        for x in range((pixels.shape[0] + 1 - parity) // 2):
            pixel = pixels[2 * x + parity]
            there = (pixel < missing.low) | (pixel > missing.high)
            value[x] = pixel if there else 0.0
            share[x] = OPAQUE if there else 0.0
            valid[x] = 1.0 if there else 0.0
        if masked:
            for x in range((pixels.shape[0] + 1 - parity) // 2):
                hidden = opacity[2 * x + parity]
                value[x] = value[x] if hidden else 0.0
                share[x] = hidden if share[x] > 0.0 else 0.0
                valid[x] = valid[x] if hidden else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count_seen(line: Array, seen: Array) -> None:
    """Sum the opacities before each pixel, which tells those of a run at once."""
    total = 0.0
    for x in range(seen.shape[0] - 1):
        seen[x] = total
        total += line[x % 2, 1, x // 2]
    seen[-1] = total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _along_valid(
    line: Array, seen: Array, opaque: Array, across: Across, order: Order, sums: Array
) -> None:
    """Filter the valid pixels of a row.

    The totals go to ``sums[0]``, their weights to ``sums[4]``, the longest runs of
    valid pixels to ``sums[9]``. ``opaque`` holds what is the same wherever all pixels
    are valid: the weights, and below them their sums.
    """
    sums[:] = 0.0
    lanes = order.step > 0
    for first, last in across.runs:
        start, length = across.start[first], across.length[first]
        grouped = length - length % 4
        stop = across.start[last - 1] + length
        there = seen[stop] - seen[start]
        if there == 0.0:
            continue
        if there == OPAQUE * (stop - start):
            _along_opaque(line, opaque, start, length, first, last, lanes, sums)
            continue
        run, longest = sums[8, first:last], sums[9, first:last]
        for k in range(length):
            in_group = k < grouped
            lane = k % 4 if lanes and in_group else 0
            other = 4 + lane if lanes or not in_group else 5
            parity, skipped = (start + k) % 2, (start + k) // 2
            value, opacity = line[parity, 0, skipped:], line[parity, 1, skipped:]
            weight = across.weight[k, first:last]
            total, shares = sums[lane, first:last], sums[other, first:last]
            _add_valid(value, opacity, weight, total, shares)
            if order.ringing:
                _count_valid(line[parity, 2, skipped:], run, longest)
            if lanes and k == grouped - 1:
                _fold(sums[:4, first:last])
                _fold(sums[4:8, first:last])
            elif in_group and k % 4 == 3:  # noqa: PLR2004 - the last of four
                _fold(sums[4:8, first:last])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _along_opaque(
    line: Array,
    opaque: Array,
    start: int,
    length: int,
    first: int,
    last: int,
    lanes: int,
    sums: Array,
) -> None:
    """Do the same for a run of targets whose pixels are all valid: to the last bit."""
    grouped = length - length % 4
    for k in range(length):
        lane = k % 4 if lanes and k < grouped else 0
        total, weight = sums[lane, first:last], opaque[k, first:last]
        near = line[(start + k) % 2, 0, (start + k) // 2 :]
        for col in range(total.shape[0]):
            total[col] += near[col] * weight[col]
        if lanes and k == grouped - 1:
            _fold(sums[:4, first:last])
    sums[4, first:last] = opaque[-1, first:last]
    sums[9, first:last] = length


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_valid(
    value: Array, opacity: Array, weight: Array, total: Array, shares: Array
) -> None:
    for col in range(total.shape[0]):
        share = weight[col] * opacity[col]
        total[col] += value[col] * share
        shares[col] += share


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count_valid(there: Array, run: Array, longest: Array) -> None:
    for col in range(run.shape[0]):
        length = (run[col] + 1.0) * there[col]
        run[col] = length
        longest[col] = length if length > longest[col] else longest[col]  # noqa: FURB136


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _divide(across: Across, order: Order, sums: Array, result: Array) -> None:
    """Divide the totals of a row by their weights, and tell which have any."""
    total, shares, longest = sums[0], sums[4], sums[9]
    value, there = result
    for col in range(total.shape[0]):
        half = across.length[col] // 2 if order.ringing else 0
        enough = (shares[col] > 0.0) & (longest[col] >= half)
        value[col] = total[col] / shares[col] if enough else 0.0
        there[col] = 1.0 if enough else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _down_valid(
    ring: Array, start: int, stop: int, weight: Array, ringing: int, sums: Array
) -> None:
    """Filter down the columns: total, weight, and the longest run of valid rows."""
    sums[:4] = 0.0
    total, shares, run, longest = sums[:4]
    for y in range(start, stop):
        value, there = ring[0, y % ring.shape[1]], ring[1, y % ring.shape[1]]
        share = weight[y - start]
        for col in range(total.shape[0]):
            weighted = share * there[col]
            total[col] += value[col] * weighted
            shares[col] += weighted
        if ringing:
            _count_valid(there, run, longest)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _finish(
    sums: Array, half: int, result: Array, missing: Missing, finish: Finish
) -> None:
    """Divide by the weight; a valid result never equals the nodata value."""
    total, shares, _, longest = sums[:4]
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
