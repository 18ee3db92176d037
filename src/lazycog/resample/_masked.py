"""Average and rms of the pixels that a mask says are valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from lazycog.resample._weighted import finish, share_of, term

if TYPE_CHECKING:
    from lazycog.resample._types import Array, Missing, Rule, Windows


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mean(
    pixels: Array,
    valid: Array,
    out: Array,
    windows: Windows,
    missing: Missing,
    rule: Rule,
) -> None:
    """Fill ``out`` with the weighted mean, or quadratic mean, of the valid pixels."""
    rows, row_weights, cols, col_weights = windows
    for band, row, col in np.ndindex(out.shape):
        total, weight = 0.0, 0.0
        for y in range(rows[row, 0], rows[row, 1]):
            line, line_weight = 0.0, 0.0
            for x in range(cols[col, 0], cols[col, 1]):
                if valid[y, x]:
                    value, counts = term(pixels[band, y, x], missing, rule)
                    share = share_of(x, cols[col], col_weights[col])
                    line += value * share
                    line_weight += counts * share
            share = share_of(y, rows[row], row_weights[row])
            total += line * share
            weight += line_weight * share
        if weight > 0.0:
            out[band, row, col] = finish(total / weight, rule)
            if out[band, row, col] == missing.fill:
                out[band, row, col] = missing.replacement
        else:
            out[band, row, col] = missing.fill
