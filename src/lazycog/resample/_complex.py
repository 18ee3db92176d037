"""Average of complex pixels (GDAL overview.cpp, GDALResampleChunkC32R).

Another rule than for real pixels: windows rounded to whole pixels, no weights, and
every value read and stored as a pair of float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from lazycog.resample._types import Array
    from lazycog.resample._windows import Axis


def reduce(pixels: Array, out: Array, rows: Axis, cols: Axis) -> None:
    """Average the pixels of every rounded window that are not NaN."""
    _windows(pixels, out, rows.rounded_windows(), cols.rounded_windows())


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _windows(pixels: Array, out: Array, rows: Array, cols: Array) -> None:
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            for col in range(out.shape[2]):
                real = 0.0
                imag = 0.0
                count = 0
                for y in range(rows[row, 0], rows[row, 1]):
                    for x in range(cols[col, 0], cols[col, 1]):
                        value = pixels[band, y, x]
                        if value == value:  # noqa: PLR0124 (not NaN)
                            real += np.float64(np.float32(value.real))
                            imag += np.float64(np.float32(value.imag))
                            count += 1
                # Without a valid pixel 0 / 0 makes the NaN.
                out[band, row, col] = complex(
                    np.float32(real / count), np.float32(imag / count)
                )
