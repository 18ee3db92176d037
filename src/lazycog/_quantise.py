"""Round pixels within an error bound, so that a lossless codec finds less to keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def quantise(
    pixels: NDArray[Any], max_z_error: float, nodata: float | int | None
) -> NDArray[Any]:
    """Round pixels to a grid such that none moves by more than a bound.

    Parameters
    ----------
    pixels : ndarray
        Integers or floats, any shape; never changed.
    max_z_error : float
        Largest error, in units of the pixels, over 0.
    nodata : number or None
        Kept as it is, as NaN and infinities are; no other pixel becomes it.

    Returns
    -------
    ndarray
        Same shape and dtype.

    Raises
    ------
    ValueError
        A pixel moved further than the bound: never seen, but always checked.

    Notes
    -----
    Floats go to multiples of the largest power of two up to twice the bound: then the
    low bits of the mantissa are zeros, and the division and the product are exact, so
    that the error is at most half of it. Integers go to the middle of ranges of
    ``2 * floor(bound) + 1`` values.

    Examples
    --------
    >>> import numpy as np
    >>> quantise(np.array([1.03, 2.26, -9.0], "float32"), 0.25, -9.0)
    array([ 1. ,  2.5, -9. ], dtype=float32)
    >>> quantise(np.array([0, 1, 2, 3, 254, 255], "uint8"), 1, None)
    array([  1,   1,   1,   4, 253, 255], dtype=uint8)
    """
    flat = np.ascontiguousarray(pixels).reshape(-1)
    if flat.dtype.kind == "f":
        return _quantise_floats(flat, max_z_error, nodata).reshape(pixels.shape)
    half = math.floor(max_z_error)
    if not half:
        return pixels
    out = np.empty_like(flat)
    info = np.iinfo(flat.dtype)
    value = flat.dtype.type(0 if nodata is None else nodata)
    if flat.dtype.kind == "u":
        worst = _round_unsigned(
            flat, np.uint64(half), value, nodata is not None, out, np.uint64(info.max)
        )
    else:
        worst = _round_signed(flat, half, value, nodata is not None, out, info.max)
    return _checked(out, float(worst), max_z_error).reshape(pixels.shape)


def _quantise_floats(
    flat: NDArray[Any], max_z_error: float, nodata: float | int | None
) -> NDArray[Any]:
    quantum = 2.0 ** math.floor(math.log2(2.0 * max_z_error))
    # half floats have no kernel; every one of them is a float32
    wide = flat.astype(np.float32) if flat.dtype == np.float16 else flat
    out = np.empty_like(wide)
    value = math.nan if nodata is None else float(nodata)
    largest = float(np.finfo(flat.dtype).max)
    worst = _round_floats(wide, quantum, value, largest, out)
    return _checked(out, float(worst), max_z_error).astype(flat.dtype, copy=False)


def _checked(out: NDArray[Any], worst: float, max_z_error: float) -> NDArray[Any]:
    if not worst <= max_z_error:
        raise ValueError(f"an error of {worst} is over max_z_error={max_z_error}")
    return out


@numba.njit(nogil=True, cache=True)
def _round_floats(
    pixels: NDArray[Any],
    quantum: float,
    nodata: float,
    largest: float,
    out: NDArray[Any],
) -> float:
    """Round to multiples of a power of two; give the largest error."""
    worst = 0.0
    for index in range(pixels.size):
        value = float(pixels[index])
        rounded = np.rint(value / quantum) * quantum
        is_nodata = value == nodata
        becomes_nodata = rounded == nodata
        # what would leave the type, or turn into nodata, stays; so do NaN and infinity
        keep = (
            not np.isfinite(value)
            or is_nodata
            or becomes_nodata
            or abs(rounded) > largest
        )
        out[index] = pixels[index] if keep else rounded
        if not keep:
            worst = max(worst, abs(float(out[index]) - value))
    return worst


@numba.njit(nogil=True, cache=True)
def _round_unsigned(
    pixels: NDArray[Any],
    half: np.uint64,
    nodata: int,
    has_nodata: bool,  # noqa: FBT001 - numba compiles positional arguments
    out: NDArray[Any],
    largest: np.uint64,
) -> np.uint64:
    """Round to the middle of ranges that start at 0; give the largest error."""
    worst = np.uint64(0)
    width = np.uint64(2) * half + np.uint64(1)
    for index in range(pixels.size):
        value = np.uint64(pixels[index])
        start = value - value % width
        rounded = largest if start > largest - half else start + half
        stays = has_nodata and (pixels[index] == nodata or rounded == np.uint64(nodata))
        out[index] = pixels[index] if stays else rounded
        if not stays:
            error = rounded - value if rounded > value else value - rounded
            worst = max(worst, error)
    return worst


@numba.njit(nogil=True, cache=True)
def _round_signed(
    pixels: NDArray[Any],
    half: int,
    nodata: int,
    has_nodata: bool,  # noqa: FBT001 - numba compiles positional arguments
    out: NDArray[Any],
    largest: int,
) -> int:
    """Round to the middle of ranges around 0; give the largest error."""
    worst = 0
    width = 2 * half + 1
    lowest = -largest - 1
    for index in range(pixels.size):
        value = np.int64(pixels[index])
        beyond = value % width
        if beyond > half:
            rounded = (
                largest
                if value > largest - (width - beyond)
                else (value + (width - beyond))
            )
        else:
            rounded = lowest if value < lowest + beyond else value - beyond
        is_nodata = value == nodata
        becomes_nodata = rounded == nodata
        stays = has_nodata and (is_nodata or becomes_nodata)
        out[index] = value if stays else rounded
        if not stays:
            worst = max(worst, int(abs(rounded - value)))
    return worst
