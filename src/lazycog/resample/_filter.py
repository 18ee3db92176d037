"""Loops of the wide kernels where every pixel is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from lazycog.resample._taps import Across, Order, Taps
    from lazycog.resample._types import Array


@numba.njit(nogil=True, cache=True, error_model="numpy")
def filter_all(
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
                fold(sums[:, first:last])
            lane = k % 4 if k < grouped else 0
            lane = lane if step > 0 else lane // 2 * 2
            total, weight = sums[lane, first:last], across.weight[k, first:last]
            near = line[(start + k) % 2, 0, (start + k) // 2 :]
            for col in range(total.shape[0]):
                total[col] += near[col] * weight[col]
        if grouped == length or step == 0:
            fold(sums[:, first:last])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fold(lanes: Array) -> None:
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
