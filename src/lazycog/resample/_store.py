"""Round means in float32 or float64 into the dtype of the level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lazycog.resample._types import Array


def store(mean: Array, out: Array, nodata: float | None) -> None:
    """
    Write means as GDAL writes them: halves away from zero, clamped to the type.

    GDAL gdal_priv_templates.hpp, GDALCopyWord. Beyond 2**53 a 64-bit nodata has no
    double of its own; the targets without data still get it exactly.
    """
    if out.dtype.kind == "f":
        with np.errstate(over="ignore"):
            out[:] = mean
        return
    info = np.iinfo(out.dtype)
    rounded = np.trunc(mean + np.copysign(mean.dtype.type(0.5), mean))
    low, high = float(info.min), float(info.max)
    with np.errstate(invalid="ignore"):
        out[:] = rounded
    out[rounded <= low] = info.min
    out[rounded >= high] = info.max
    if nodata is not None:
        out[mean == mean.dtype.type(nodata)] = nodata
