"""Average and rms over windows of exactly two by two pixels: the hot path.

GDAL overview.cpp adds in another order, and in another type, where nothing is missing
(AverageFloatSSE2, QuadraticMeanFloatSSE2 and the loops after them); the sums below keep
that order. Its integer variants all compute the exact rounded value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from lazycog.resample._weighted import all_windows, finish, mend, term

if TYPE_CHECKING:
    from lazycog.resample._types import Array, Missing, Rule
    from lazycog.resample._windows import Axis

SIMD_WIDTH = 4
"""Targets that GDAL's float32 loops take at once; the columns left over go scalar."""


def reduce(
    pixels: Array, out: Array, rows: Axis, cols: Axis, missing: Missing, rule: Rule
) -> None:
    """Fill ``out`` with the mean, or quadratic mean, of every two by two pixels."""
    top, left = rows.pair_origin, cols.pair_origin
    pairs = pixels[:, top : top + 2 * rows.count, left : left + 2 * cols.count]
    if rule.masked:
        _valid(pairs, out, missing, rule)
    elif rule.integer:
        (_integer_rms if rule.quadratic else _integer_average)(pairs, out)
    else:
        split = _scalar_from(out, cols)
        (_float_rms if rule.quadratic else _float_average)(pairs, out, split)
        mend(pixels, out, all_windows(rows, cols), missing, rule)


def _scalar_from(out: Array, cols: Axis) -> int:
    """Return the first column that GDAL's float32 loops leave over."""
    vector = cols.target_size - cols.target_size % SIMD_WIDTH
    first = vector - cols.target_origin if out.dtype == np.float32 else 0
    return min(max(first, 0), cols.count)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _integer_average(pixels: Array, out: Array) -> None:
    two = np.uint32(2)
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first, second = pixels[band, 2 * row], pixels[band, 2 * row + 1]
            result = out[band, row]
            for col in range(result.shape[0]):
                upper = np.uint32(first[2 * col]) + np.uint32(first[2 * col + 1])
                lower = np.uint32(second[2 * col]) + np.uint32(second[2 * col + 1])
                result[col] = (upper + lower + two) >> two


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _integer_rms(pixels: Array, out: Array) -> None:
    """Take the integer whose square is nearest (ComputeIntegerRMS_4values)."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first, second = pixels[band, 2 * row], pixels[band, 2 * row + 1]
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
def _float_average(pixels: Array, out: Array, split: int) -> None:
    """Add in the type of ``out``: by columns up to ``split``, in order after it."""
    kind = out.dtype.type
    quarter = kind(0.25)
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first, second = pixels[band, 2 * row], pixels[band, 2 * row + 1]
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
def _float_rms(pixels: Array, out: Array, split: int) -> None:
    """Scale by the largest value up to ``split``, square in double after it."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first, second = pixels[band, 2 * row], pixels[band, 2 * row + 1]
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
def _scaled_rms(a: float, b: float, c: float, d: float) -> float:
    """Return the rms of four absolute float32, scaled against overflow."""
    # GDAL too leaves the fourth out of the maximum (QuadraticMeanFloatSSE2).
    top = max(a, b, c)
    zero, one = np.float32(0.0), np.float32(1.0)
    inverse = zero if top == zero else one / top
    e, f, g, h = a * inverse, b * inverse, c * inverse, d * inverse
    total = (e * e + f * f) + (g * g + h * h)
    root = top * np.sqrt(total * np.float32(0.25))
    return top if top == np.float32(np.inf) else root


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _valid(pixels: Array, out: Array, missing: Missing, rule: Rule) -> None:
    """Average the valid pixels in double, as over windows of any size."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            first, second = pixels[band, 2 * row], pixels[band, 2 * row + 1]
            result = out[band, row]
            for col in range(result.shape[0]):
                a, a_weight = term(first[2 * col], missing, rule)
                b, b_weight = term(first[2 * col + 1], missing, rule)
                c, c_weight = term(second[2 * col], missing, rule)
                d, d_weight = term(second[2 * col + 1], missing, rule)
                weight = (a_weight + b_weight) + (c_weight + d_weight)
                total = (0.0 + (a + b)) + (c + d)  # from zero: never -0.0
                result[col] = finish(total / max(weight, 1.0), rule)
                if weight == 0.0:
                    result[col] = missing.fill
                elif result[col] == missing.fill:
                    result[col] = missing.replacement
