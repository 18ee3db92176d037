"""Weights of the wide kernels: which source pixels a target adds up, and how much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

if TYPE_CHECKING:
    from lazycog.resample._types import Array
    from lazycog.resample._windows import Axis

RADIUS = {"bilinear": 1, "cubic": 2, "cubicspline": 2, "lanczos": 3}
"""Reach of a filter to either side, in targets (GDAL gdalwarpkernel.cpp)."""
_CODE = {name: code for code, name in enumerate(RADIUS)}
_BILINEAR, _CUBIC, _SPLINE, _LANCZOS = range(4)


class Taps(NamedTuple):
    """The source pixels of every target along one axis, and their weights."""

    start: Array
    """First source pixel of each target, counted from the first one at hand."""

    length: Array
    """Number of source pixels of each target."""

    weight: Array
    """Weights, one row per target; what is beyond ``length`` is unused."""


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


def span(axis: Axis, radius: int) -> Array:
    """Return ``[start, stop)`` of every target, counted from the first at hand."""
    reach = radius * max(axis.ratio, 1.0)
    center = axis.centers
    start = np.floor(center - reach + 0.5).astype(np.int64)
    stop = (center + reach + 0.5).astype(np.int64)
    ends = np.stack([np.maximum(start, 0), np.minimum(stop, axis.source_size)], axis=1)
    return ends - axis.source_origin


def taps(axis: Axis, resampling: str, *, vertical: bool, normal: bool) -> Taps:
    """
    Return the source pixels of all targets with their weights.

    Parameters
    ----------
    axis : Axis
        The targets.
    resampling : {"bilinear", "cubic", "cubicspline", "lanczos"}
        Filter, stretched to the ratio of the levels.
    vertical : bool
        GDAL steps along rows in another order than along columns, which shows in the
        last bit.
    normal : bool
        Scale the weights of a target to a sum of 1.

    Returns
    -------
    Taps
        Positions and weights.
    """
    start, stop = span(axis, RADIUS[resampling]).T
    length = stop - start
    weight = np.zeros((axis.count, int(length.max())))
    scale = 1.0 / axis.ratio
    scale = min(scale, 1.0)
    offset = scale * (start + axis.source_origin - axis.centers + 0.5)
    _fill(offset, length, scale, _CODE[resampling], vertical, normal, weight)
    return Taps(np.ascontiguousarray(start), length, weight)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fill(
    offset: Array,
    lengths: Array,
    scale: float,
    code: int,
    vertical: bool,  # noqa: FBT001 - numba knows no keyword-only arguments
    normal: bool,  # noqa: FBT001
    weight: Array,
) -> None:
    for target in range(lengths.shape[0]):
        row = weight[target]
        length = lengths[target]
        grouped = length - length % 4
        total = 0.0
        x = offset[target]
        for first in range(0, grouped, 4):
            for k in range(4):
                row[first + k] = _filter(x + k * scale if vertical else x, code)
                x += 0.0 if vertical else scale
            x += 4 * scale if vertical else 0.0
            four = row[first : first + 4]
            total += ((four[0] + four[1]) + four[2]) + four[3]
        for k in range(grouped, length):
            row[k] = _filter(x, code)
            total += row[k]
            x += scale
        if normal and total != 0.0:
            row[:length] *= 1.0 / total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _filter(x: float, code: int) -> float:
    """Return the weight at a distance in targets (GDAL gdalwarpkernel.cpp, GWK*)."""
    if code == _BILINEAR:
        weight = max(0.0, 1.0 - abs(x))
    elif code == _CUBIC:
        weight = _cubic(abs(x))
    else:
        weight = _spline(x) if code == _SPLINE else _lanczos(x)
    return weight


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _cubic(x: float) -> float:
    """Return Keys' cubic convolution with a = -0.5."""
    if x <= 1.0:
        return x * x * (1.5 * x - 2.5) + 1.0
    return x * x * (-0.5 * x + 2.5) - 4.0 * x + 2.0 if x <= 2.0 else 0.0  # noqa: PLR2004


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _spline(x: float) -> float:
    """Return six times the cubic B-spline, as a sum of truncated powers."""
    left, right, end = x + 1.0, x - 1.0, x + 2.0
    total = -4.0 * right * right * right if right > 0.0 else 0.0
    total = total + 6.0 * x * x * x if x > 0.0 else 0.0
    total = total - 4.0 * left * left * left if left > 0.0 else 0.0
    return total + end * end * end if end > 0.0 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lanczos(x: float) -> float:
    """Return sinc(x) sinc(x / 3), with sin(3a) = 3 sin(a) - 4 sin(a)**3."""
    if x == 0.0:
        return 1.0
    angle = math.pi * x
    third = angle / 3.0
    square = math.sin(third) ** 2
    return (3.0 - 4.0 * square) * square / (angle * third)
