"""Average and rms of real pixels.

GDAL overview.cpp, GDALResampleChunk_AverageOrRMS_T. Windows of two by two pixels without
nodata have their own arithmetic there, reproduced in ``_pairs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog.resample import _pairs, _weighted
from lazycog.resample._missing import Missing, work_dtype
from lazycog.resample._store import store

if TYPE_CHECKING:
    from lazycog.resample._windows import Axis

    Array = np.ndarray[Any, np.dtype[Any]]


def reduce(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    *,
    quadratic: bool,
) -> None:
    """Average the valid pixels of every window, or their squares for the rms."""
    work = work_dtype(pixels.dtype)
    missing = Missing.of(pixels.dtype, nodata, work)
    if pixels.dtype == np.float16:  # numba has no float16; float32 holds all of it
        pixels = pixels.astype(np.float32)
    mean = out if out.dtype == work else np.empty(out.shape, work)
    masked = nodata is not None
    limits = (
        pixels.dtype.type(missing.low),
        pixels.dtype.type(missing.high),
        missing.fill,
        missing.replacement,
    )
    if rows.halves and cols.halves:
        _pairs.reduce(pixels, mean, rows, cols, limits, masked, quadratic)
    else:
        _weighted.reduce(pixels, mean, rows, cols, limits, masked, quadratic)
    if mean is not out:
        store(mean, out, nodata)
