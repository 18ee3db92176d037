"""Headers of remote GeoTIFFs, once per process, and which reader suits an image."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from lazycog._extras import require
from lazycog._location import READ_EXTRA, Location, open_store
from lazycog._loop import loop_thread
from lazycog.errors import CogError

if TYPE_CHECKING:
    from concurrent.futures import Future

    import numpy as np
    from async_tiff import TIFF, ImageFileDirectory

    from lazycog._image import Version

KEPT_HEADERS = 32
PREFETCH_BYTES = 64 * 1024
"""First bytes of a file that are read for its header."""

LOSSLESS = frozenset({1, 5, 8, 32946, 34925, 50000})
"""Compression: none, LZW, Deflate (both numbers), LZMA, Zstandard. Lossy codecs decode
a little differently in every library, and async-tiff lacks the others."""
NO_PREDICTOR, HORIZONTAL, FLOATING_POINT = 1, 2, 3
PHOTOMETRIC = frozenset({1, 2, 3})
"""Grey, RGB, palette: samples are pixels as they stand (TIFF 6.0 §3)."""
SAMPLE_KINDS = {1: "u", 2: "i", 3: "f"}
"""SampleFormat -> NumPy's kind of dtype (TIFF 6.0 §19)."""
FILL_ORDER = 266
PLANAR = 2
MASK = 4
"""Bit of NewSubfileType."""


# --- which reader -------------------------------------------------------------------


def is_safe(ifd: ImageFileDirectory, dtype: np.dtype[Any]) -> bool:
    """Say whether async-tiff gives the pixels of an image as GDAL does.

    Parameters
    ----------
    ifd : async_tiff.ImageFileDirectory
        Header of the image.
    dtype : dtype
        What GDAL takes the pixels for.

    Returns
    -------
    bool
        False where it is known to differ, to fail, or has not been compared.

    Notes
    -----
    async-tiff 0.7 undoes predictors of bands stored one by one as if they were stored
    together, and so gives wrong pixels.
    """
    if ifd.tile_width is None or ifd.tile_count is None:
        return False
    predictor = int(ifd.predictor or NO_PREDICTOR)
    apart = int(ifd.planar_configuration) == PLANAR and ifd.samples_per_pixel > 1
    wanted = (dtype.kind, 8 * dtype.itemsize)
    samples = {
        (SAMPLE_KINDS.get(int(kind)), bits)
        for kind, bits in zip(ifd.sample_format, ifd.bits_per_sample, strict=True)
    }
    return (
        int(ifd.compression) in LOSSLESS
        and predictor in {NO_PREDICTOR, HORIZONTAL, FLOATING_POINT}
        and not (apart and predictor != NO_PREDICTOR)
        and int(ifd.photometric_interpretation) in PHOTOMETRIC
        and ifd.orientation in {None, 1}
        and ifd.other_tags.get(FILL_ORDER, 1) == 1
        and samples == {wanted}
    )


def find_image(
    tiff: TIFF,
    level: int,
    size: tuple[int, int],
    tile: tuple[int, int],
) -> int | None:
    """Find the header of a level by its size.

    Parameters
    ----------
    tiff : async_tiff.TIFF
        All headers.
    level : int
        0 is the first image.
    size, tile : (height, width)
        As GDAL gives them.

    Returns
    -------
    int or None
        None when no image, or more than one, is like that.
    """
    found = []
    for index, ifd in enumerate(tiff.ifds):
        if (level == 0) != (index == 0) or (ifd.new_subfile_type or 0) & MASK:
            continue
        if (ifd.image_height, ifd.image_width) != size or ifd.tile_width is None:
            continue
        if (ifd.tile_height, ifd.tile_width) == tile:
            found.append(index)
    return found[0] if len(found) == 1 else None


# --- headers, once per process ------------------------------------------------------

_headers: OrderedDict[tuple[Location, Version], asyncio.Task[TIFF | None]] = (
    OrderedDict()
)
"""Used in the thread of the loop alone."""


def start_headers(location: Location, version: Version) -> Future[TIFF | None]:
    """Read the headers of a remote file, once per process and version.

    Returns
    -------
    concurrent.futures.Future
        Of an async_tiff.TIFF, or of None for what async-tiff cannot read.

    Raises
    ------
    MissingExtraError
        async-geotiff or obstore is not installed.
    """
    require("async_tiff", READ_EXTRA)
    open_store(location)  # its errors are told here
    return loop_thread().submit(_kept_headers(location, version))


async def _kept_headers(location: Location, version: Version) -> TIFF | None:
    key = (location, version)
    loop = asyncio.get_running_loop()
    task = _headers.get(key)
    if task is None or task.get_loop() is not loop:
        task = _headers[key] = loop.create_task(_read_headers(location))
        while len(_headers) > KEPT_HEADERS:
            _headers.popitem(last=False)
    _headers.move_to_end(key)
    try:
        return await asyncio.shield(task)
    except Exception:
        _headers.pop(key, None)  # the next one tries again
        raise


async def _read_headers(location: Location) -> TIFF | None:
    from async_tiff import TIFF

    store = open_store(location)
    try:
        return await TIFF.open(location.path, store=store, prefetch=PREFETCH_BYTES)
    except Exception as error:
        if not is_readers(error):
            raise
        return None  # GDAL decides whether it is a TIFF


def is_readers(error: Exception) -> bool:
    """Say whether async-tiff or obstore raised it: the former hides its class."""
    package = type(error).__module__.partition(".")[0]
    if package in {"async_tiff", "obstore"}:
        return True
    return isinstance(error, OSError | ValueError) and not isinstance(error, CogError)
