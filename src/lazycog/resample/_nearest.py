"""Nearest: one source pixel per target (GDAL overview.cpp, GDALResampleChunk_Near)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lazycog.resample._types import Array
    from lazycog.resample._windows import Axis


def reduce(pixels: Array, out: Array, rows: Axis, cols: Axis) -> None:
    """Copy the pixel at ``int(0.5 + i * r)`` of both axes."""
    if rows.halves and cols.halves:
        height, width = out.shape[1:]
        row, col = rows.pair_origin, cols.pair_origin
        out[:] = pixels[:, row : row + 2 * height : 2, col : col + 2 * width : 2]
    else:
        chosen = pixels[:, rows.nearest()]
        np.take(chosen, cols.nearest(), axis=2, out=out, mode="clip")
