"""Which pixels are missing, and what stands for them in the result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog.resample._types import Missing

if TYPE_CHECKING:
    from collections.abc import Callable

_WORK = {"B": "B", "H": "H", "b": "f", "h": "f", "e": "f", "f": "f"}
_DOUBLE_BYTES = 8


def work_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of a mean before it is stored (GDALGetOvrWorkDataType)."""
    return np.dtype(_WORK.get(dtype.char, "d"))


def describe_missing(
    dtype: np.dtype[Any],
    nodata: float | None,
    result: np.dtype[Any],
    *,
    masked: bool = False,
) -> Missing:
    """
    Describe the missing pixels of a dtype.

    Parameters
    ----------
    dtype : dtype
        Type of the pixels.
    nodata : int, float or None
        Value of the missing pixels.
    result : dtype
        Type of ``fill`` and ``replacement``.
    masked : bool
        A mask says which pixels are missing. Then nodata tells none, as in GDAL, and a
        window without valid pixels gives 0 where there is no nodata.

    Returns
    -------
    Missing
        Scalars ready for a compiled kernel.

    Raises
    ------
    ValueError
        ``nodata`` is not a value of ``dtype``.
    """
    if nodata is None or (math.isnan(nodata) and dtype.kind == "f"):
        low, high = _limits(dtype)
        zero = dtype.kind != "f" or (masked and nodata is None)
        fill = result.type(0 if zero else math.nan)
        return Missing(high, low, fill, fill)
    value = _exact(dtype, nodata)
    fill, replacement = result.type(value), result.type(_replacement(value))
    if masked:
        low, high = _limits(dtype)
        return Missing(high, low, fill, replacement)
    low, high = _equal_range(value) if dtype.kind == "f" else (value, value)
    return Missing(low, high, fill, replacement)


def widened(missing: Missing) -> Missing:
    """Return the same for float16 pixels that were cast to float32."""
    return Missing(*map(_widened, missing))


def _widened(value: Any) -> Any:  # noqa: ANN401 (a scalar)
    return np.float32(value) if isinstance(value, np.float16) else value


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return dtype.type(-math.inf), dtype.type(math.inf)
    info = np.iinfo(dtype)
    return dtype.type(info.min), dtype.type(info.max)


def _exact(dtype: np.dtype[Any], nodata: float) -> Any:  # noqa: ANN401 (a scalar)
    """Return nodata as a scalar of the dtype, where it is one."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(nodata)
        fits = math.isfinite(value) or math.isinf(nodata)
    else:
        info = np.iinfo(dtype)
        fits = math.isfinite(nodata) and nodata == int(nodata)
        fits = fits and info.min <= int(nodata) <= info.max
        value = dtype.type(int(nodata)) if fits else None
    if not fits:
        raise ValueError(f"nodata {nodata} is not a value of {dtype.name}")
    return value


def _replacement(nodata: Any) -> Any:  # noqa: ANN401 (a scalar)
    """Return the neighbour that a valid mean takes in the place of nodata."""
    # GDAL gdal_misc.cpp, GDALGetNoDataReplacementValue: one more, or one less at the
    # top of the type; the next float towards the largest one. For 64-bit integers the
    # step is taken in double, so beyond 2**53 it may be none.
    dtype = nodata.dtype
    if dtype.kind == "f":
        top = np.finfo(dtype).max
        step = np.nextafter(nodata, dtype.type(0) if nodata == top else top)
        return dtype.type(0) if np.isinf(nodata) else step
    highest = np.iinfo(dtype).max
    if dtype.itemsize == _DOUBLE_BYTES:
        double = np.float64(nodata)
        return np.nextafter(double, 0) if double >= float(highest) else double + 1
    return int(nodata) - 1 if nodata == highest else int(nodata) + 1


def _equal_range(nodata: Any) -> tuple[Any, Any]:  # noqa: ANN401 (a scalar)
    """Return the lowest and the highest float that GDAL takes for nodata."""
    # GDAL compares with a tolerance of about four units of float32, for float64 too
    # (gdal_priv.h, ARE_REAL_EQUAL). The values it takes for equal are neighbours, so
    # their ends are found by bisection over the floats in order.
    if np.isinf(nodata):
        return nodata, nodata
    kind = type(nodata)
    top = kind(np.finfo(kind).max)

    def equal(value: Any) -> bool:  # noqa: ANN401 (a scalar)
        with np.errstate(over="ignore", under="ignore"):
            slack = kind(np.finfo(np.float32).eps) * abs(value + nodata) * kind(2)
            return bool(value == nodata or abs(value - nodata) < slack)

    return _last(equal, nodata, -top), _last(equal, nodata, top)


def _last(holds: Callable[[Any], bool], start: Any, end: Any) -> Any:  # noqa: ANN401
    """Return the last float from start towards end for which the predicate holds."""
    if holds(end):
        return end
    inside, outside = _rank(start), _rank(end)
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        if holds(_unrank(middle, start.dtype)):
            inside = middle
        else:
            outside = middle
    return _unrank(inside, start.dtype)


def _rank(value: Any) -> int:  # noqa: ANN401 (a scalar)
    """Return the position of a float among all floats in order, 0 for zero."""
    bits = int(np.abs(value).view(f"u{value.dtype.itemsize}"))
    return -bits if np.signbit(value) else bits


def _unrank(rank: int, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401 (a scalar)
    magnitude = np.array(abs(rank), f"u{dtype.itemsize}").view(dtype)[()]
    return -magnitude if rank < 0 else magnitude
