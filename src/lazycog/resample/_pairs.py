"""Average and rms over windows of exactly two by two pixels: the hot path.

GDAL overview.cpp adds in another order, and in another type, where nothing is missing
(AverageFloatSSE2, QuadraticMeanFloatSSE2 and the loops after them); the sums below keep
that order. Its integer variants all compute the exact rounded value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from lazycog.resample._weighted import finish, mend, term

if TYPE_CHECKING:
    from lazycog.resample._windows import Axis

    Array = np.ndarray[Any, np.dtype[Any]]

SIMD_WIDTH = 4
"""Targets that GDAL's float32 loops take at once; the columns left over go scalar."""


def reduce(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    limits: tuple[Any, ...],
    masked: bool,
    quadratic: bool,
) -> None:
    """Fill ``out`` with the mean, or quadratic mean, of every two by two pixels."""
    origin = (rows.pair_origin, cols.pair_origin)
    if masked:
        integer = out.dtype.kind == "u"
        _valid(pixels, out, *origin, *limits, quadratic, integer)
    elif out.dtype.kind == "u":
        (_integer_rms if quadratic else _integer_average)(pixels, out, *origin)
    else:
        vector = cols.target_size - cols.target_size % SIMD_WIDTH
        if out.dtype == np.float64:
            vector = 0
        split = min(max(vector - cols.target_origin, 0), cols.count)
        (_float_rms if quadratic else _float_average)(pixels, out, *origin, split)
        windows = (rows.windows(), rows.weights(), cols.windows(), cols.weights())
        mend(pixels, out, windows, limits, quadratic)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _integer_average(pixels: Array, out: Array, top: int, left: int) -> None:
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first = pixels[band, top + 2 * row, left:]
            second = pixels[band, top + 2 * row + 1, left:]
            result = out[band, row]
            for col in range(result.shape[0]):
                upper = np.uint32(first[2 * col]) + np.uint32(first[2 * col + 1])
                lower = np.uint32(second[2 * col]) + np.uint32(second[2 * col + 1])
                result[col] = (upper + lower + np.uint32(2)) >> np.uint32(2)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _integer_rms(pixels: Array, out: Array, top: int, left: int) -> None:
    """Take the integer whose square is nearest (ComputeIntegerRMS_4values)."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first = pixels[band, top + 2 * row, left:]
            second = pixels[band, top + 2 * row + 1, left:]
            result = out[band, row]
            for col in range(result.shape[0]):
                a, b = np.float64(first[2 * col]), np.float64(first[2 * col + 1])
                c, d = np.float64(second[2 * col]), np.float64(second[2 * col + 1])
                total = (a * a + b * b) + (c * c + d * d)
                quarter = np.floor((total + 1.0) * 0.25)
                root = np.floor(np.sqrt(quarter))
                root += 1.0 if root * (root + 1.0) < quarter else 0.0
                result[col] = np.int32(root)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _float_average(pixels: Array, out: Array, top: int, left: int, split: int) -> None:
    """Add in the type of ``out``: by columns up to ``split``, in order after it."""
    kind = out.dtype.type
    quarter = kind(0.25)
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first = pixels[band, top + 2 * row, left:]
            second = pixels[band, top + 2 * row + 1, left:]
            result = out[band, row]
            for col in range(split):
                a, b = kind(first[2 * col]), kind(first[2 * col + 1])
                c, d = kind(second[2 * col]), kind(second[2 * col + 1])
                result[col] = ((a + c) + (b + d)) * quarter
            for col in range(split, result.shape[0]):
                a, b = kind(first[2 * col]), kind(first[2 * col + 1])
                c, d = kind(second[2 * col]), kind(second[2 * col + 1])
                result[col] = (((a + b) + c) + d) * quarter


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _float_rms(pixels: Array, out: Array, top: int, left: int, split: int) -> None:
    """Scale by the largest value up to ``split``, square in double after it."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first = pixels[band, top + 2 * row, left:]
            second = pixels[band, top + 2 * row + 1, left:]
            result = out[band, row]
            for col in range(split):
                result[col] = _scaled_rms(
                    abs(np.float32(first[2 * col])),
                    abs(np.float32(first[2 * col + 1])),
                    abs(np.float32(second[2 * col])),
                    abs(np.float32(second[2 * col + 1])),
                )
            for col in range(split, result.shape[0]):
                a, b = np.float64(first[2 * col]), np.float64(first[2 * col + 1])
                c, d = np.float64(second[2 * col]), np.float64(second[2 * col + 1])
                total = ((a * a + b * b) + c * c) + d * d
                result[col] = np.sqrt(0.25 * total)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _scaled_rms(a: Any, b: Any, c: Any, d: Any) -> Any:
    """
    Return the rms of four absolute float32, scaled by the largest of the first three.

    The fourth is left out of the maximum in GDAL as well (QuadraticMeanFloatSSE2), so
    it can overflow.
    """
    top = a if a > b else b
    top = top if top > c else c
    inverse = np.float32(0.0) if top == np.float32(0.0) else np.float32(1.0) / top
    a, b, c, d = a * inverse, b * inverse, c * inverse, d * inverse
    total = (a * a + b * b) + (c * c + d * d)
    root = top * np.sqrt(total * np.float32(0.25))
    return top if top == np.float32(np.inf) else root


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _valid(
    pixels: Array,
    out: Array,
    top: int,
    left: int,
    low: Any,
    high: Any,
    fill: Any,
    replacement: Any,
    quadratic: bool,
    integer: bool,
) -> None:
    """Average the valid pixels in double, as over windows of any size."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first = pixels[band, top + 2 * row, left:]
            second = pixels[band, top + 2 * row + 1, left:]
            result = out[band, row]
            for col in range(result.shape[0]):
                a, wa = term(first[2 * col], low, high, quadratic)
                b, wb = term(first[2 * col + 1], low, high, quadratic)
                c, wc = term(second[2 * col], low, high, quadratic)
                d, wd = term(second[2 * col + 1], low, high, quadratic)
                valid = (wa + wb) + (wc + wd)
                total = (0.0 + (a + b)) + (c + d)  # from zero: never -0.0
                quotient = total / max(valid, 1.0)
                result[col] = finish(quotient, quadratic, integer)
                if valid == 0.0:
                    result[col] = fill
                elif result[col] == fill:
                    result[col] = replacement
