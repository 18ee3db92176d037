"""Loops of the wide kernels where pixels may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from lazycog.resample._filter import fold

if TYPE_CHECKING:
    from lazycog.resample._taps import Across, Order, Taps
    from lazycog.resample._types import Array, Missing

OPAQUE = 255.0
"""Opacity of a valid pixel; GDAL multiplies the weights along a row by it."""


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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def filter_valid(
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
                fold(sums[:4, first:last])
                fold(sums[4:8, first:last])
            elif in_group and k % 4 == 3:  # noqa: PLR2004 - the last of four
                fold(sums[4:8, first:last])


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
            fold(sums[:4, first:last])
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
