"""Overviews of masks."""

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
    return reduced[0] > 0
