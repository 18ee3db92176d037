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


def reduce(
    pixels: Array, out: Array, rows: Axis, cols: Axis, valid: Array | None
) -> None:
    """
    Average the valid pixels of every rounded window that are not NaN.

    GDAL looks at no mask here; without one the result is the same.
    """
    there = np.empty((0, 0), np.uint8) if valid is None else valid
    _windows(pixels, there, out, rows.rounded_windows(), cols.rounded_windows())


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _windows(pixels: Array, valid: Array, out: Array, rows: Array, cols: Array) -> None:
    masked = valid.shape[0] > 0
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            for col in range(out.shape[2]):
                real = 0.0
                imag = 0.0
                count = 0
                for y in range(rows[row, 0], rows[row, 1]):
                    for x in range(cols[col, 0], cols[col, 1]):
                        value = pixels[band, y, x]
                        there = not masked or valid[y, x]
                        if there and value == value:  # noqa: PLR0124 (not NaN)
                            real += np.float64(np.float32(value.real))
                            imag += np.float64(np.float32(value.imag))
                            count += 1
                # Without a valid pixel 0 / 0 makes the NaN, or 0 behind a mask.
                count += masked and count == 0
                out[band, row, col] = complex(
                    np.float32(real / count), np.float32(imag / count)
                )
