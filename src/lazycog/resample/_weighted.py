"""Average and rms over windows of any size, with fractional weights at their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from lazycog.resample._windows import Axis

    Array = np.ndarray[Any, np.dtype[Any]]


def reduce(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    limits: tuple[Any, ...],
    masked: bool,
    quadratic: bool,
) -> None:
    """Fill ``out`` with the weighted mean, or quadratic mean, of every window."""
    windows = (rows.windows(), rows.weights(), cols.windows(), cols.weights())
    integer = out.dtype.kind == "u"
    width = cols.regular_width
    if width:
        lines = _valid_lines if masked else _lines
        mask = limits if masked else ()
        lines(pixels, out, *windows, *mask, width == 3, quadratic, integer)
        if not masked:
            mend(pixels, out, windows, limits, quadratic)
    else:
        _windows(pixels, out, *windows, *limits, masked, quadratic, integer, False)


def mend(
    pixels: Array,
    out: Array,
    windows: tuple[Array, ...],
    limits: tuple[Any, ...],
    quadratic: bool,
) -> None:
    """Recompute without NaN the targets that one has spoilt."""
    if pixels.dtype.kind == "f" and np.isnan(out.max()):
        _windows(pixels, out, *windows, *limits, False, quadratic, False, True)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def finish(quotient: float, quadratic: bool, integer: bool) -> float:
    """
    Turn a mean into the value to store, which truncates integers.

    The integer rms is the one whose square is nearest to the mean of the squares
    (GDAL overview.cpp, ComputeIntegerRMS).
    """
    if not quadratic:
        return quotient + 0.5 if integer else quotient
    root = np.sqrt(quotient)
    if integer:
        root = np.floor(root)
        root += 1.0 if 2.0 * root * (root + 1.0) + 1.0 < 2.0 * quotient else 0.0
    return root


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def term(pixel: Any, low: Any, high: Any, quadratic: bool) -> tuple[float, float]:
    """Return what a pixel adds to the total and to the weight."""
    value = np.float64(pixel)
    if quadratic:
        value *= value
    if pixel < low or pixel > high:
        return value, 1.0
    return 0.0, 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _share(position: int, window: Array, weights: Array) -> float:
    """Return the weight of a pixel along one axis."""
    if position == window[0]:
        return weights[0]
    return weights[1] if position == window[1] - 1 else 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _square(pixel: Any, quadratic: bool) -> float:
    value = np.float64(pixel)
    return value * value if quadratic else value


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lines(
    pixels: Array,
    out: Array,
    rows: Array,
    row_weights: Array,
    cols: Array,
    col_weights: Array,
    three: bool,
    quadratic: bool,
    integer: bool,
) -> None:
    """Average windows two columns apart and two or three wide, nothing missing."""
    width = out.shape[2]
    total = np.empty(width)
    left = col_weights[:, 0].copy()
    right = col_weights[:, 1].copy()
    full = col_weights[:, 2].copy()
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            total[:] = 0.0
            for y in range(rows[row, 0], rows[row, 1]):
                share = _share(y, rows[row], row_weights[row])
                line = pixels[band, y, cols[0, 0] :]
                if three:
                    for col in range(width):
                        value = _square(line[2 * col], quadratic) * left[col]
                        value += _square(line[2 * col + 1], quadratic)
                        value += _square(line[2 * col + 2], quadratic) * right[col]
                        total[col] += value * share
                else:
                    for col in range(width):
                        value = _square(line[2 * col], quadratic) * left[col]
                        value += _square(line[2 * col + 1], quadratic) * right[col]
                        total[col] += value * share
            result = out[band, row]
            for col in range(width):
                quotient = total[col] / (full[col] * row_weights[row, 2])
                result[col] = finish(quotient, quadratic, integer)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _valid_lines(
    pixels: Array,
    out: Array,
    rows: Array,
    row_weights: Array,
    cols: Array,
    col_weights: Array,
    low: Any,
    high: Any,
    fill: Any,
    replacement: Any,
    three: bool,
    quadratic: bool,
    integer: bool,
) -> None:
    """Average the valid pixels of windows two columns apart and two or three wide."""
    width = out.shape[2]
    total = np.empty(width)
    weight = np.empty(width)
    left = col_weights[:, 0].copy()
    right = col_weights[:, 1].copy()
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            total[:] = 0.0
            weight[:] = 0.0
            for y in range(rows[row, 0], rows[row, 1]):
                share = _share(y, rows[row], row_weights[row])
                line = pixels[band, y, cols[0, 0] :]
                if three:
                    for col in range(width):
                        a, wa = term(line[2 * col], low, high, quadratic)
                        b, wb = term(line[2 * col + 1], low, high, quadratic)
                        c, wc = term(line[2 * col + 2], low, high, quadratic)
                        value = (a * left[col] + b) + c * right[col]
                        total[col] += value * share
                        weight[col] += ((wa * left[col] + wb) + wc * right[col]) * share
                else:
                    for col in range(width):
                        a, wa = term(line[2 * col], low, high, quadratic)
                        b, wb = term(line[2 * col + 1], low, high, quadratic)
                        total[col] += (a * left[col] + b * right[col]) * share
                        weight[col] += (wa * left[col] + wb * right[col]) * share
            result = out[band, row]
            for col in range(width):
                empty = weight[col] == 0.0
                quotient = total[col] / (1.0 if empty else weight[col])
                result[col] = finish(quotient, quadratic, integer)
                if empty:
                    result[col] = fill
                elif result[col] == fill:
                    result[col] = replacement


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _windows(
    pixels: Array,
    out: Array,
    rows: Array,
    row_weights: Array,
    cols: Array,
    col_weights: Array,
    low: Any,
    high: Any,
    fill: Any,
    replacement: Any,
    masked: bool,
    quadratic: bool,
    integer: bool,
    spoilt: bool,
) -> None:
    """Average windows of any size; only those spoilt by a NaN, where asked for."""
    for band in range(out.shape[0]):
        for row in range(out.shape[1]):
            height = rows[row, 1] - rows[row, 0]
            for col in range(out.shape[2]):
                if spoilt and not np.isnan(out[band, row, col]):
                    continue
                size = height * (cols[col, 1] - cols[col, 0])
                total = 0.0
                weight = 0.0
                valid = 0.0
                for y in range(rows[row, 0], rows[row, 1]):
                    line = 0.0
                    line_weight = 0.0
                    for x in range(cols[col, 0], cols[col, 1]):
                        value, one = term(pixels[band, y, x], low, high, quadratic)
                        share = _share(x, cols[col], col_weights[col])
                        line += value * share
                        line_weight += one * share
                        valid += one
                    share = _share(y, rows[row], row_weights[row])
                    total += line * share
                    weight += line_weight * share
                if spoilt and valid == size:
                    continue
                if not masked and valid == size:
                    weight = col_weights[col, 2] * row_weights[row, 2]
                if valid == 0.0:
                    out[band, row, col] = fill
                    continue
                out[band, row, col] = finish(total / weight, quadratic, integer)
                if masked and out[band, row, col] == fill:
                    out[band, row, col] = replacement
