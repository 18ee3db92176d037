"""Average and rms of real pixels (GDALResampleChunk_AverageOrRMS_T of GDAL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lazycog.resample import _masked, _pairs, _weighted
from lazycog.resample._missing import describe_missing, widened, work_dtype
from lazycog.resample._store import store
from lazycog.resample._types import Rule

if TYPE_CHECKING:
    from lazycog.resample._types import Array
    from lazycog.resample._windows import Axis


def reduce(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    valid: Array | None,
    *,
    quadratic: bool,
) -> None:
    """Average the valid pixels of every window, or their squares for the rms."""
    work = work_dtype(pixels.dtype)
    missing = describe_missing(pixels.dtype, nodata, work, masked=valid is not None)
    rule = Rule(quadratic, integer=work.kind == "u", masked=nodata is not None)
    if pixels.dtype == np.float16:  # numba has no float16; float32 holds all of it
        pixels, missing = pixels.astype(work), widened(missing)
    mean = out if out.dtype == work else np.empty(out.shape, work)
    if valid is not None:
        windows = _weighted.all_windows(rows, cols)
        _masked.mean(pixels, valid, mean, windows, missing, rule)
    else:
        kernel = _pairs if rows.halves and cols.halves else _weighted
        kernel.reduce(pixels, mean, rows, cols, missing, rule)
    if mean is not out:
        store(mean, out, nodata)
