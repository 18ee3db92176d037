"""Bilinear, cubic, cubicspline and lanczos (GDAL overview.cpp).

GDALResampleChunk_Convolution filters along the rows, then down the columns, in double,
and rounds to the work type at the end. Its loops add in an order of their own, which
decides where a sum falls halfway between two integers, so the loops here keep it.

A row is filtered once, into a ring of as many rows as a target needs: its even and its
odd pixels are set apart, so that all targets take a step of their sums together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lazycog.resample._filter import filter_all
from lazycog.resample._filter_valid import Finish, filter_valid
from lazycog.resample._missing import describe_missing, work_dtype
from lazycog.resample._store import store
from lazycog.resample._taps import RADIUS, Across, Order, taps

if TYPE_CHECKING:
    from lazycog.resample._types import Array
    from lazycog.resample._windows import Axis

_APART = 2
"""Source pixels from one target to the next, but for a drift at odd sizes."""
_RUN = 128
"""Longest run of targets: short enough to be all valid, or all missing, most times."""
_LANES_REACH = 4
"""GDAL takes eight pixels at a time where a filter reaches this far."""


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
        filter_all(source, mean, down, across, order)
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
    filter_valid(pixels, there, mean, down, across, order, missing, finish)
