"""Overviews of masks, and what alpha means for the bands beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lazycog.resample._reduce import reduce

if TYPE_CHECKING:
    from numpy.typing import NDArray


def reduce_mask(
    valid: NDArray[np.bool_],
    *,
    resampling: str,
    source_size: tuple[int, int],
    target_size: tuple[int, int],
    source_origin: tuple[int, int],
    target_origin: tuple[int, int],
    target_shape: tuple[int, int],
) -> NDArray[np.bool_]:
    r"""
    Make a piece of the mask of level l+1 from a piece of the mask of level l.

    Parameters
    ----------
    valid : ndarray of bool, shape (height, width)
        Piece of the mask of level l, True for data.
    resampling : str
        Kernel of the overviews.
    source_size, target_size : (height, width)
        Sizes of the whole levels.
    source_origin : (row, col)
        Position of ``valid[0, 0]`` in level l.
    target_origin : (row, col)
        Position of the first pixel wanted in level l+1.
    target_shape : (height, width)
        Shape of the piece wanted.

    Returns
    -------
    ndarray of bool, shape ``target_shape``
        Piece of the mask of level l+1.

    Raises
    ------
    ValueError
        As of ``reduce``.

    Notes
    -----
    GDAL makes the overview of an internal mask with the kernel of the image, from the
    mask itself and masked by itself: a target is valid exactly where the kernel gives
    it a value. So any valid pixel of the window makes a target valid with average and
    rms, and of the filter with gauss; bilinear and cubicspline leave out those of no
    weight; cubic and lanczos ask for half of the filter in a row. Nearest takes the
    nearest pixel of the mask, mode the more frequent of both (valid and not valid).
    """
    opacity = valid.astype(np.uint8)[np.newaxis]
    skips = resampling not in {"nearest", "mode"}
    reduced = reduce(
        opacity,
        resampling=resampling,
        nodata=None,
        source_size=source_size,
        target_size=target_size,
        source_origin=source_origin,
        target_origin=target_origin,
        target_shape=target_shape,
        valid=valid if skips else None,
    )
    above: NDArray[np.bool_] = np.greater(reduced[0], 0)
    return above


def opacity(alpha: NDArray[np.generic]) -> NDArray[np.uint8] | None:
    """
    Give the opacity that an alpha band lends to the bands beside it.

    Parameters
    ----------
    alpha : ndarray
        Alpha band, 0 for transparent.

    Returns
    -------
    ndarray of uint8, or None
        To be given to ``reduce`` as ``valid``: 0 where alpha is 0, else 1 to 255. None
        where alpha is neither uint8 nor uint16, which hides nothing in GDAL.

    Notes
    -----
    GDAL takes the alpha band for the mask of the other bands (GMF_ALPHA): average, rms,
    gauss and mode skip pixels of alpha 0 and take all others alike, whatever their
    alpha; bilinear, cubic, cubicspline and lanczos multiply the weights along a row by
    it, but not down the columns.
    """
    if alpha.dtype == np.uint8:
        return np.asarray(alpha, np.uint8)
    if alpha.dtype != np.uint16:
        return None
    # GDAL gdalrescaledalphaband.cpp: what is not 0 stays so
    scaled = alpha.astype(np.uint32) * 255 // 65535
    wide = np.maximum(scaled, np.not_equal(alpha, 0))
    return np.asarray(wide, np.uint8)


def own_opacity(
    alpha: NDArray[np.generic], resampling: str
) -> NDArray[np.uint8] | None:
    """
    Give the opacity by which the alpha band itself is reduced.

    Parameters
    ----------
    alpha : ndarray
        Alpha band, 0 for transparent.
    resampling : str
        Kernel of the overviews.

    Returns
    -------
    ndarray of uint8, or None
        To be given to ``reduce`` as ``valid``. None where GDAL masks nothing: in types
        other than uint8 and uint16, and with mode in uint8.

    Notes
    -----
    In GDAL the alpha band is its own mask, read as 8 bits: so a target is transparent
    only where the filter meets nothing but alpha 0, and edges grow more opaque.
    """
    if alpha.dtype.char not in "BH" or (
        alpha.dtype.char == "B" and resampling == "mode"
    ):
        return None
    return np.asarray(np.clip(alpha, 0, 255), np.uint8)
