"""The public door: check the call, choose the kernel, return the piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lazycog.resample import _complex, _mean, _mode, _nearest
from lazycog.resample._windows import Axis

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from lazycog.resample._types import Array

    Kernel = Callable[[Array, Array, Axis, Axis, float | None], None]

_REAL = frozenset("bBhHiIlLqQefd")
_COMPLEX = frozenset("FD")


def _average(
    pixels: Array, out: Array, rows: Axis, cols: Axis, nodata: float | None
) -> None:
    if pixels.dtype.kind == "c":
        _complex.reduce(pixels, out, rows, cols)
    else:
        _mean.reduce(pixels, out, rows, cols, nodata, quadratic=False)


def _rms(
    pixels: Array, out: Array, rows: Axis, cols: Axis, nodata: float | None
) -> None:
    _mean.reduce(pixels, out, rows, cols, nodata, quadratic=True)


def _gather(
    pixels: Array, out: Array, rows: Axis, cols: Axis, nodata: float | None
) -> None:
    del nodata  # the nearest pixel is taken whatever it is
    _nearest.reduce(pixels, out, rows, cols)


@dataclass(frozen=True)
class _Resampling:
    """A kernel and the dtypes it takes."""

    kernel: Kernel
    """Fills ``out`` from ``pixels``."""

    dtype_chars: frozenset[str]
    """``numpy.dtype.char`` of every dtype accepted."""


_RESAMPLINGS = {
    "nearest": _Resampling(_gather, _REAL | _COMPLEX),
    "average": _Resampling(_average, _REAL | _COMPLEX),
    "mode": _Resampling(_mode.reduce, _REAL),
    "rms": _Resampling(_rms, _REAL),
}


def supports(dtype: DTypeLike, resampling: str) -> bool:
    """
    Tell whether ``reduce`` takes this dtype with this resampling.

    Parameters
    ----------
    dtype : dtype-like
        Type of the pixels.
    resampling : str
        GDAL's name of the kernel in lower case.

    Returns
    -------
    bool
        True where ``reduce`` works; False also for an unknown resampling.
    """
    known = _RESAMPLINGS.get(resampling)
    return known is not None and np.dtype(dtype).char in known.dtype_chars


def reduce(
    pixels: Array,
    *,
    resampling: str,
    nodata: float | None,
    source_size: tuple[int, int],
    target_size: tuple[int, int],
    source_origin: tuple[int, int],
    target_origin: tuple[int, int],
    target_shape: tuple[int, int],
) -> Array:
    r"""
    Make a piece of level l+1 from a piece of level l, as GDAL makes overviews.

    Parameters
    ----------
    pixels : ndarray, shape (band, height, width)
        Piece of level l that holds every pixel the targets need.
    resampling : {"nearest", "average", "mode", "rms"}
        Kernel.
    nodata : int, float or None
        Value of the pixels without data, representable in the dtype of ``pixels``.
    source_size : (height, width)
        Size of the whole level l.
    target_size : (height, width)
        Size of the whole level l+1.
    source_origin : (row, col)
        Position of ``pixels[:, 0, 0]`` in level l.
    target_origin : (row, col)
        Position of the first pixel wanted in level l+1.
    target_shape : (height, width)
        Shape of the piece wanted; zero along an axis gives an empty piece.

    Returns
    -------
    ndarray, shape (band, \*target_shape)
        Piece of level l+1, of the dtype of ``pixels``.

    Raises
    ------
    ValueError
        The dtype does not go with the resampling, ``nodata`` does not fit the dtype,
        or ``pixels`` lacks a pixel that a target needs.

    Notes
    -----
    The source window of target pixel ``i`` is ``[i * r, (i + 1) * r)`` with ``r`` the
    source size over the target size (GDAL overview.cpp,
    GDALRegenerateOverviewsMultiBand). Pixels equal to ``nodata`` are skipped where GDAL
    skips them, a window without any valid pixel gives ``nodata``, and a valid mean that
    falls on ``nodata`` is moved to the next value, as in GDAL.

    NaN is the one deliberate difference: it counts as missing whatever ``nodata`` is,
    where GDAL lets it spread unless ``nodata`` is NaN. A window of NaN alone gives
    ``nodata``, or NaN without one. Nearest takes the pixel as it is.

    Complex pixels have no nodata in GDAL, so ``nodata`` other than NaN is not skipped
    there.

    Where a level is no wider than the one after it (a raster one pixel wide), GDAL
    makes every overview from the full resolution; so does this function when it is
    given that as its source, whatever the ratio.

    Examples
    --------
    >>> import numpy as np
    >>> pixels = np.array([[[1, 2, 9, 0], [3, 4, 0, 0]]], "uint8")
    >>> reduce(
    ...     pixels,
    ...     resampling="average",
    ...     nodata=0,
    ...     source_size=(2, 4),
    ...     target_size=(1, 2),
    ...     source_origin=(0, 0),
    ...     target_origin=(0, 0),
    ...     target_shape=(1, 2),
    ... )
    array([[[3, 9]]], dtype=uint8)
    """
    if not supports(pixels.dtype, resampling):
        raise ValueError(f"no {resampling!r} kernel for dtype {pixels.dtype.name}")
    origins = zip(source_origin, target_origin, strict=True)
    sizes = zip(source_size, target_size, strict=True)
    rows, cols = (
        Axis(*size, *origin, count)
        for size, origin, count in zip(sizes, origins, target_shape, strict=True)
    )
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    out = np.empty((pixels.shape[0], rows.count, cols.count), native.dtype)
    if out.size:
        _check_covered(native, rows, cols)
        _RESAMPLINGS[resampling].kernel(native, out, rows, cols, nodata)
    return out


def _check_covered(pixels: Array, rows: Axis, cols: Axis) -> None:
    for name, axis, length in zip(
        ("rows", "columns"), (rows, cols), pixels.shape[1:], strict=True
    ):
        start, stop = axis.extent()
        if start < 0 or stop > length:
            first = axis.source_origin
            raise ValueError(
                f"the targets need source {name} {start + first} to {stop + first}, "
                f"pixels holds {first} to {first + length}"
            )
