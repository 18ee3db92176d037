"""Which pixels are missing, and what stands for them in the result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_WORK = {"B": "B", "H": "H", "b": "f", "h": "f", "e": "f", "f": "f"}


def work_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """
    Return the type of a mean before it is stored.

    uint8 and uint16 are rounded at once, int8, int16 and float32 go through float32
    and the others through float64 (GDAL overview.cpp, GDALGetOvrWorkDataType).
    """
    return np.dtype(_WORK.get(dtype.char, "d"))


@dataclass(frozen=True)
class Missing:
    """
    The missing pixels: ``low <= value <= high``, and every NaN.

    Kernels test ``value < low or value > high`` for a valid pixel, which is False for
    NaN. Nothing but NaN is missing where ``low > high``.
    """

    low: np.generic
    """Lowest missing value, in the dtype of the pixels."""

    high: np.generic
    """Highest missing value, in the dtype of the pixels."""

    fill: np.generic
    """What a window without valid pixels gives, in the dtype asked for."""

    replacement: np.generic
    """What a valid mean equal to ``fill`` becomes, in the dtype asked for."""

    @classmethod
    def of(
        cls,
        dtype: np.dtype[Any],
        nodata: float | None,
        result: np.dtype[Any] | None = None,
    ) -> Missing:
        """
        Describe ``nodata`` for pixels of a dtype.

        Parameters
        ----------
        dtype : dtype
            Type of the pixels.
        nodata : int, float or None
            Value of the missing pixels.
        result : dtype, optional
            Type of ``fill`` and ``replacement``; ``dtype`` when not given.

        Returns
        -------
        Missing
            Scalars ready for a compiled kernel.

        Raises
        ------
        ValueError
            ``nodata`` is not a value of ``dtype``.
        """
        kind = (result or dtype).type
        if nodata is None or math.isnan(nodata):
            low, high = _limits(dtype)
            if nodata is not None and dtype.kind != "f":
                raise ValueError(f"nodata nan is not a value of {dtype.name}")
            fill = kind(math.nan if dtype.kind == "f" else 0)
            return cls(high, low, fill, fill)
        value = _exact(dtype, nodata)
        low, high = _equal_range(value) if dtype.kind == "f" else (value, value)
        return cls(low, high, kind(value), kind(_replacement(value)))


def _limits(dtype: np.dtype[Any]) -> tuple[np.generic, np.generic]:
    if dtype.kind == "f":
        return dtype.type(-math.inf), dtype.type(math.inf)
    info = np.iinfo(dtype)
    return dtype.type(info.min), dtype.type(info.max)


def _exact(dtype: np.dtype[Any], nodata: float) -> np.generic:
    """Return nodata as a scalar; floats are rounded to it, as a raster's would be."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(nodata)
        if math.isinf(value) and not math.isinf(nodata):
            raise ValueError(f"nodata {nodata} is not a value of {dtype.name}")
        return value
    info = np.iinfo(dtype)
    if math.isinf(nodata) or nodata != int(nodata):
        raise ValueError(f"nodata {nodata} is not a value of {dtype.name}")
    if not info.min <= int(nodata) <= info.max:
        raise ValueError(f"nodata {nodata} is not a value of {dtype.name}")
    return dtype.type(int(nodata))


def _replacement(nodata: np.generic) -> np.generic:
    """
    Return the neighbour of nodata that a valid mean takes in its place.

    One more, or one less at the top of the type; the next float towards the largest
    one. For 64-bit integers the step is taken in double, so beyond 2**53 it may be
    none (GDAL gdal_misc.cpp, GDALGetNoDataReplacementValue).
    """
    dtype = nodata.dtype
    if dtype.kind == "f":
        if np.isinf(nodata):
            return dtype.type(0)
        top = np.finfo(dtype).max
        return np.nextafter(nodata, dtype.type(0) if nodata == top else top)
    top = np.iinfo(dtype).max
    if dtype.itemsize < 8:
        return dtype.type(int(nodata) - 1 if nodata == top else int(nodata) + 1)
    double = np.float64(nodata)
    if double >= float(top):
        return np.nextafter(double, 0.0)
    return double + 1.0


def _equal_range(nodata: np.generic) -> tuple[np.generic, np.generic]:
    """
    Return the lowest and the highest float that GDAL takes for nodata.

    GDAL compares floats with a tolerance of about four units of float32, for float64
    too (gdal_priv.h, ARE_REAL_EQUAL). The values it takes for equal are neighbours, so
    their ends are found by bisection over the floats in order.
    """
    if np.isinf(nodata):
        return nodata, nodata
    top = nodata.dtype.type(np.finfo(nodata.dtype).max)

    def equal(value: np.generic) -> bool:
        return _real_equal(value, nodata)

    return _last(equal, nodata, -top), _last(equal, nodata, top)


def _real_equal(left: Any, right: Any) -> bool:
    kind = type(left)
    with np.errstate(over="ignore", under="ignore"):
        slack = kind(np.finfo(np.float32).eps) * abs(left + right) * kind(2)
        return bool(left == right or abs(left - right) < slack)


def _last(
    holds: Callable[[np.generic], bool], start: np.generic, end: np.generic
) -> np.generic:
    """Return the last float from start towards end for which the predicate holds."""
    inside, outside = _rank(start), _rank(end)
    if holds(end):
        return end
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        if holds(_unrank(middle, start.dtype)):
            inside = middle
        else:
            outside = middle
    return _unrank(inside, start.dtype)


def _rank(value: np.generic) -> int:
    """Return the position of a float among all floats in order, 0 for zero."""
    bits = int(np.abs(value).view(f"u{value.dtype.itemsize}"))
    return -bits if np.signbit(value) else bits


def _unrank(rank: int, dtype: np.dtype[Any]) -> np.generic:
    magnitude = np.array(abs(rank), f"u{dtype.itemsize}").view(dtype)[()]
    return -magnitude if rank < 0 else magnitude
