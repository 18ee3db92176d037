"""Values that cross into compiled code: named tuples, which numba takes as they are."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""Pixels or positions, of the shape and type that the function says."""


class Missing(NamedTuple):
    """
    The missing pixels: ``low <= value <= high``, and every NaN.

    Kernels test ``value < low or value > high`` for a valid pixel, which is False for
    NaN. Nothing but NaN is missing where ``low > high``. The fields are NumPy scalars.
    """

    low: float
    """Lowest missing value, in the dtype of the pixels."""

    high: float
    """Highest missing value, in the dtype of the pixels."""

    fill: float
    """What a window without valid pixels gives, in the dtype of the result."""

    replacement: float
    """What a valid mean equal to ``fill`` becomes, in the dtype of the result."""


class Windows(NamedTuple):
    """The source windows of a piece, positions counted from its first pixel."""

    rows: Array
    """``[start, stop)`` of every target row."""

    row_weights: Array
    """Weight of the first and of the last row, and of the whole window."""

    cols: Array
    """``[start, stop)`` of every target column."""

    col_weights: Array
    """Weight of the first and of the last column, and of the whole window."""


class Rule(NamedTuple):
    """How a mean is taken."""

    quadratic: bool
    """Mean of the squares and its root."""

    integer: bool
    """Rounded to an integer at once."""

    masked: bool
    """There is a nodata value, so GDAL adds up the weights of the valid pixels."""
