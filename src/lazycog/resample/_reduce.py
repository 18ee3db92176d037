"""The public door: check the call, choose the kernel, return the piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lazycog.resample import _complex, _convolution, _gauss, _mean, _mode, _nearest
from lazycog.resample._filter_valid import OPAQUE
from lazycog.resample._taps import RADIUS, span
from lazycog.resample._windows import Axis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from lazycog.resample._types import Array

    Kernel = Callable[[Array, Array, Axis, Axis, float | None, Array | None], None]
    Spans = tuple[Array, Array]

_REAL = frozenset("bBhHiIlLqQefd")
_COMPLEX = frozenset("FD")


def _average(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    valid: Array | None,
) -> None:
    if pixels.dtype.kind == "c":
        _complex.reduce(pixels, out, rows, cols, valid)
    else:
        _mean.reduce(pixels, out, rows, cols, nodata, valid, quadratic=False)


def _gather(
    pixels: Array,
    out: Array,
    rows: Axis,
    cols: Axis,
    nodata: float | None,
    valid: Array | None,
) -> None:
    del nodata, valid  # the nearest pixel is taken whatever it is
    _nearest.reduce(pixels, out, rows, cols)


def _touched(rows: Axis, cols: Axis) -> Spans:
    return rows.windows(), cols.windows()


def _filtered(resampling: str, rows: Axis, cols: Axis) -> Spans:
    return span(rows, RADIUS[resampling]), span(cols, RADIUS[resampling])


@dataclass(frozen=True)
class _Resampling:
    """A kernel and the dtypes it takes."""

    kernel: Kernel
    """Fills ``out`` from ``pixels``."""

    dtype_chars: frozenset[str]
    """``numpy.dtype.char`` of every dtype accepted."""

    spans: Callable[[Axis, Axis], Spans] = _touched
    """Gives ``[start, stop)`` of the source rows and columns of every target."""

    support: int = 0
    """Source pixels that a target may touch beyond its window, to either side."""


_RESAMPLINGS = {
    "nearest": _Resampling(_gather, _REAL | _COMPLEX),
    "average": _Resampling(_average, _REAL | _COMPLEX),
    "mode": _Resampling(_mode.reduce, _REAL),
    "rms": _Resampling(partial(_mean.reduce, quadratic=True), _REAL),
    "gauss": _Resampling(_gauss.reduce, _REAL, _gauss.spans, _gauss.SUPPORT),
} | {
    name: _Resampling(
        partial(_convolution.reduce, resampling=name),
        _REAL,
        partial(_filtered, name),
        # (radius - 1/2) windows of at most 3 pixels, rounded to whole pixels
        math.ceil((radius - 0.5) * 3),
    )
    for name, radius in RADIUS.items()
}


def support(resampling: str) -> int:
    """
    Tell how far beyond its own window a target reaches, in source pixels.

    Parameters
    ----------
    resampling : str
        GDAL's name of the kernel in lower case.

    Returns
    -------
    int
        Pixels beyond ``[i * r, (i + 1) * r)`` to either side, at most, for any ``r`` up
        to 3: that of an overview of half the size, rounded down.

    Raises
    ------
    ValueError
        There is no such kernel.
    """
    if resampling not in _RESAMPLINGS:
        raise ValueError(f"no {resampling!r} kernel; choose from {list(_RESAMPLINGS)}")
    return _RESAMPLINGS[resampling].support


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


def reduce(  # noqa: PLR0913 - the place of the piece takes five
    pixels: Array,
    *,
    resampling: str,
    nodata: float | None,
    source_size: tuple[int, int],
    target_size: tuple[int, int],
    source_origin: tuple[int, int],
    target_origin: tuple[int, int],
    target_shape: tuple[int, int],
    valid: NDArray[np.bool_] | NDArray[np.uint8] | None = None,
) -> Array:
    r"""
    Make a piece of level l+1 from a piece of level l, as GDAL makes overviews.

    Parameters
    ----------
    pixels : ndarray, shape (band, height, width)
        Piece of level l that holds every pixel the targets need.
    resampling : str
        Kernel: nearest, average, mode, rms, bilinear, cubic, cubicspline, lanczos or
        gauss.
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
    valid : ndarray of bool or uint8, shape (height, width), or None
        Mask of all bands, True for data; or their opacity, 255 for opaque (see
        ``opacity``). Pixels where it is False or 0 are skipped.

    Returns
    -------
    ndarray, shape (band, \*target_shape)
        Piece of level l+1, of the dtype of ``pixels``.

    Raises
    ------
    ValueError
        The dtype does not go with the resampling, ``nodata`` does not fit the dtype,
        ``pixels`` lacks a pixel that a target needs, or ``valid`` has another shape.

    Notes
    -----
    The source window of target pixel ``i`` is ``[i * r, (i + 1) * r)`` with ``r`` the
    source size over the target size (GDAL overview.cpp,
    GDALRegenerateOverviewsMultiBand). Pixels equal to ``nodata`` are skipped where GDAL
    skips them, a window without any valid pixel gives ``nodata``, and a valid mean that
    falls on ``nodata`` is moved to the next value, as in GDAL.

    Behind a mask ``nodata`` tells no pixel missing, as in GDAL; it is what a window
    without valid pixels gives, which is 0 where there is none, and what a valid result
    is moved away from.

    The wide kernels skip missing pixels along the rows, then down the columns. Cubic
    and lanczos give a value only where half of the filter's pixels are valid in a row,
    so that nothing rings around gaps, and gauss leaves a result that equals ``nodata``
    where it is. With ``nodata`` they clamp to the largest finite value. Their weights
    along a row are multiplied by the opacity; the other kernels skip what is fully
    transparent and take the rest alike.

    Deliberate differences from GDAL: NaN counts as missing whatever ``nodata`` is,
    where GDAL lets it spread unless ``nodata`` is NaN (in bilinear, cubic, cubicspline
    and lanczos even then). A window of NaN alone gives ``nodata``, or NaN without one.
    Mode skips what a mask hides in uint8 too. Nearest takes the pixel as it is.

    Complex pixels have no nodata and no mask in GDAL: ``nodata`` other than NaN is not
    skipped there, ``valid`` is.

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
    there = None if valid is None else _opacity(valid, pixels.shape[1:])
    out = np.empty((pixels.shape[0], rows.count, cols.count), native.dtype)
    if out.size:
        chosen = _RESAMPLINGS[resampling]
        _check_covered(native, (rows, cols), chosen.spans(rows, cols))
        chosen.kernel(native, out, rows, cols, nodata, there)
    return out


def _opacity(
    valid: NDArray[np.bool_] | NDArray[np.uint8], size: tuple[int, ...]
) -> Array:
    if valid.dtype.char not in "?B" or valid.shape != size:
        raise ValueError(
            f"valid is {valid.dtype} of shape {valid.shape}, "
            f"the pixels need bool or uint8 of shape {size}"
        )
    mask = np.ascontiguousarray(valid)
    if mask.dtype != np.bool_:
        return mask
    return mask.view(np.uint8) * np.uint8(OPAQUE)


def _check_covered(pixels: Array, axes: Sequence[Axis], spans: Spans) -> None:
    names = ("rows", "columns")
    for name, axis, ends, length in zip(
        names, axes, spans, pixels.shape[1:], strict=True
    ):
        first = axis.source_origin
        start = max(int(ends[:, 0].min()) + first, 0)
        stop = min(int(ends[:, 1].max()) + first, axis.source_size)
        if start < first or stop > first + length:
            raise ValueError(
                f"the targets need source {name} {start} to {stop}, "
                f"pixels holds {first} to {first + length}"
            )
