"""A small picture of a raster file, from one of its overviews."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

MAX_SOURCE = 4096 * 4096
"""No picture when even the smallest level has more pixels: a repr must be quick."""
PERCENTILES = (2.0, 98.0)
"""What becomes black and white."""
COLOURED = frozenset({3, 4})
"""Rasters of so many bands are taken for colour pictures."""


def shown_bands(count: int) -> tuple[int, ...]:
    """Say which bands a picture shows.

    Parameters
    ----------
    count : int
        Bands of the raster.

    Returns
    -------
    tuple of int
        1-based: three as red, green and blue, or one.
    """
    return (1, 2, 3) if count in COLOURED else (1,)


def picture(path: str, *, max_side: int, min_side: int = 1) -> bytes | None:
    """Make a small picture of a raster file from one of its overviews.

    Parameters
    ----------
    path : str
        A local file.
    max_side : int
        Longest side of the picture in pixels.
    min_side : int
        The smallest level with this longest side at least is read.

    Returns
    -------
    bytes or None
        A PNG, 3 bands as colours, else the first one as grey; missing pixels are
        transparent. None when the file cannot be read.
    """
    if "://" in path:
        return None
    try:
        with quiet_gdal(), rasterio.open(path) as dataset:
            factors = dataset.overviews(1)
            longest = max(dataset.width, dataset.height)
        fitting = [n for n, each in enumerate(factors) if longest // each >= min_side]
        options = {"overview_level": fitting[-1]} if fitting else {}
        with quiet_gdal(), rasterio.open(path, **options) as dataset:
            if dataset.width * dataset.height > MAX_SOURCE:
                return None
            pixels, valid = _small(dataset, max_side)
    except (RasterioError, OSError, ValueError):
        return None
    return _png(_stretched(pixels, valid), valid)


def quiet_gdal() -> contextlib.ExitStack:
    """Keep GDAL from writing side files and Python from warning about a bare raster.

    Returns
    -------
    contextlib.ExitStack
        Around what GDAL is asked.
    """
    stack = contextlib.ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    stack.enter_context(rasterio.Env(GDAL_PAM_ENABLED="NO"))
    return stack


def _small(
    dataset: DatasetReader, max_side: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read pixels (band, y, x) and which of them are valid (y, x), decimated."""
    factor = max(1.0, max(dataset.width, dataset.height) / max_side)
    shape = (
        max(1, round(dataset.height / factor)),
        max(1, round(dataset.width / factor)),
    )
    bands = list(shown_bands(dataset.count))
    pixels = dataset.read(bands, out_shape=(len(bands), *shape))
    valid = dataset.dataset_mask(out_shape=shape) > 0
    if pixels.dtype.kind == "c":
        pixels = np.abs(pixels)
    pixels = pixels.astype(np.float64)
    return pixels, valid & np.isfinite(pixels).all(axis=0)


def _stretched(
    pixels: NDArray[np.float64], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Bring each band to 0..255 between two percentiles of its valid pixels."""
    result = np.zeros(pixels.shape, np.uint8)
    for band, target in zip(pixels, result, strict=True):
        if not valid.any():
            break
        low, high = np.percentile(band[valid], PERCENTILES)
        scaled = (band[valid] - low) / ((high - low) or 1.0)
        target[valid] = np.clip(scaled * 255, 0, 255).round()
    return result


def _png(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bytes:
    """Encode 8-bit bands and transparency."""
    bands = np.concatenate([pixels, np.where(valid, 255, 0).astype(np.uint8)[None]])
    count, height, width = bands.shape
    with quiet_gdal(), MemoryFile(ext=".png") as memory:
        with memory.open(
            driver="PNG", height=height, width=width, count=count, dtype="uint8"
        ) as dataset:
            dataset.write(bands)
        return bytes(memory.getbuffer())
