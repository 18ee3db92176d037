"""Average and rms over windows of any size, with fractional weights at their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from lazycog.resample._types import Windows

if TYPE_CHECKING:
    from lazycog.resample._types import Array, Missing, Rule
    from lazycog.resample._windows import Axis

_THREE = 3
"""Width of every window where the width of the level is odd."""


def reduce(
    pixels: Array, out: Array, rows: Axis, cols: Axis, missing: Missing, rule: Rule
) -> None:
    """Fill ``out`` with the weighted mean, or quadratic mean, of every window."""
    windows = all_windows(rows, cols)
    if cols.regular_width == 0:
        _all(pixels, out, windows, missing, rule)
    elif rule.masked:
        _valid_lines(pixels, out, windows, missing, rule)
    else:
        _lines(pixels, out, windows, rule)
        mend(pixels, out, windows, missing, rule)


def all_windows(rows: Axis, cols: Axis) -> Windows:
    """Return the windows of both axes."""
    return Windows(rows.windows(), rows.weights(), cols.windows(), cols.weights())


def mend(
    pixels: Array, out: Array, windows: Windows, missing: Missing, rule: Rule
) -> None:
    """Recompute without NaN the targets that one has spoilt."""
    if pixels.dtype.kind == "f" and np.isnan(out.max()):
        _spoilt(pixels, out, windows, missing, rule)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def finish(quotient: float, rule: Rule) -> float:
    """Turn a mean into the value to store, which truncates integers."""
    # The square of an integer rms is the nearest to the mean of the squares
    # (GDAL overview.cpp, ComputeIntegerRMS).
    if not rule.quadratic:
        return quotient + 0.5 if rule.integer else quotient
    root = np.sqrt(quotient)
    if rule.integer:
        root = np.floor(root)
        root += 1.0 if 2.0 * root * (root + 1.0) + 1.0 < 2.0 * quotient else 0.0
    return root  # type: ignore[no-any-return]


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def term(pixel: float, missing: Missing, rule: Rule) -> tuple[float, float]:
    """Return what a pixel adds to the total and to the weight."""
    if pixel < missing.low or pixel > missing.high:
        return _value(pixel, rule), 1.0
    return 0.0, 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _value(pixel: float, rule: Rule) -> float:
    value = np.float64(pixel)
    return value * value if rule.quadratic else value


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def share_of(position: int, window: Array, weights: Array) -> float:
    """Return the weight of a pixel along one axis."""
    if position == window[0]:
        return float(weights[0])
    return float(weights[1]) if position == window[1] - 1 else 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lines(pixels: Array, out: Array, windows: Windows, rule: Rule) -> None:
    """Average windows two columns apart and two or three wide, nothing missing."""
    rows, row_weights, cols, col_weights = windows
    total = np.empty(out.shape[2])
    sides = col_weights.T.copy()
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            total[:] = 0.0
            for y in range(rows[row, 0], rows[row, 1]):
                share = share_of(y, rows[row], row_weights[row])
                line = pixels[band, y, cols[0, 0] : cols[-1, 1]]
                if cols[0, 1] - cols[0, 0] == _THREE:
                    _add_three(line, total, sides, share, rule)
                else:
                    _add_two(line, total, sides, share, rule)
            result = out[band, row]
            for col in range(result.shape[0]):
                weight = sides[2, col] * row_weights[row, 2]
                result[col] = finish(total[col] / weight, rule)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_two(line: Array, total: Array, sides: Array, share: float, rule: Rule) -> None:
    for col in range(total.shape[0]):
        value = _value(line[2 * col], rule) * sides[0, col]
        value += _value(line[2 * col + 1], rule) * sides[1, col]
        total[col] += value * share


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_three(
    line: Array, total: Array, sides: Array, share: float, rule: Rule
) -> None:
    for col in range(total.shape[0]):
        value = _value(line[2 * col], rule) * sides[0, col]
        value += _value(line[2 * col + 1], rule)
        value += _value(line[2 * col + 2], rule) * sides[1, col]
        total[col] += value * share


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _valid_lines(
    pixels: Array, out: Array, windows: Windows, missing: Missing, rule: Rule
) -> None:
    """Average the valid pixels of windows two columns apart and two or three wide."""
    rows, row_weights, cols, col_weights = windows
    sums = np.empty((2, out.shape[2]))
    sides = col_weights.T.copy()
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            sums[:] = 0.0
            for y in range(rows[row, 0], rows[row, 1]):
                share = share_of(y, rows[row], row_weights[row])
                line = pixels[band, y, cols[0, 0] : cols[-1, 1]]
                if cols[0, 1] - cols[0, 0] == _THREE:
                    _add_valid_three(line, sums, sides, share, missing, rule)
                else:
                    _add_valid_two(line, sums, sides, share, missing, rule)
            _finish_valid(sums[0], sums[1], out[band, row], missing, rule)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_valid_two(
    line: Array, sums: Array, sides: Array, share: float, missing: Missing, rule: Rule
) -> None:
    for col in range(sums.shape[1]):
        left, right = sides[0, col], sides[1, col]
        a, a_weight = term(line[2 * col], missing, rule)
        b, b_weight = term(line[2 * col + 1], missing, rule)
        sums[0, col] += (a * left + b * right) * share
        sums[1, col] += (a_weight * left + b_weight * right) * share


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_valid_three(
    line: Array, sums: Array, sides: Array, share: float, missing: Missing, rule: Rule
) -> None:
    for col in range(sums.shape[1]):
        left, right = sides[0, col], sides[1, col]
        a, a_weight = term(line[2 * col], missing, rule)
        b, b_weight = term(line[2 * col + 1], missing, rule)
        c, c_weight = term(line[2 * col + 2], missing, rule)
        sums[0, col] += ((a * left + b) + c * right) * share
        sums[1, col] += ((a_weight * left + b_weight) + c_weight * right) * share


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _finish_valid(
    total: Array, weight: Array, result: Array, missing: Missing, rule: Rule
) -> None:
    for col in range(result.shape[0]):
        empty = weight[col] == 0.0
        quotient = total[col] / (1.0 if empty else weight[col])
        result[col] = finish(quotient, rule)
        if empty:
            result[col] = missing.fill
        elif result[col] == missing.fill:
            result[col] = missing.replacement


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _all(
    pixels: Array, out: Array, windows: Windows, missing: Missing, rule: Rule
) -> None:
    """Average windows of any size, one by one."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            for col in range(out.shape[2]):
                _one(pixels[band], out[band], row, col, windows, missing, rule)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _spoilt(
    pixels: Array, out: Array, windows: Windows, missing: Missing, rule: Rule
) -> None:
    """Average again the windows that hold a NaN and gave one."""
    rows, _, cols, _ = windows
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            for col in range(out.shape[2]):
                if np.isnan(out[band, row, col]):
                    window = pixels[
                        band, rows[row, 0] : rows[row, 1], cols[col, 0] : cols[col, 1]
                    ]
                    if np.isnan(window).any():
                        _one(pixels[band], out[band], row, col, windows, missing, rule)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _one(
    pixels: Array,
    out: Array,
    row: int,
    col: int,
    windows: Windows,
    missing: Missing,
    rule: Rule,
) -> None:
    rows, row_weights, cols, col_weights = windows
    total = 0.0
    weight = 0.0
    valid = 0.0
    for y in range(rows[row, 0], rows[row, 1]):
        line = 0.0
        line_weight = 0.0
        for x in range(cols[col, 0], cols[col, 1]):
            value, counts = term(pixels[y, x], missing, rule)
            share = share_of(x, cols[col], col_weights[col])
            line += value * share
            line_weight += counts * share
            valid += counts
        share = share_of(y, rows[row], row_weights[row])
        total += line * share
        weight += line_weight * share
    size = (rows[row, 1] - rows[row, 0]) * (cols[col, 1] - cols[col, 0])
    if not rule.masked and valid == size:
        weight = col_weights[col, 2] * row_weights[row, 2]
    out[row, col] = missing.fill if valid == 0.0 else finish(total / weight, rule)
    if rule.masked and valid > 0.0 and out[row, col] == missing.fill:
        out[row, col] = missing.replacement
