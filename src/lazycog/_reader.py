"""Read a Cloud-Optimized GeoTIFF back: lazily as xarray, or a window in a loop."""

from __future__ import annotations

import asyncio
import math
import os
import warnings
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import rioxarray
import xarray as xr
from dask.array.core import normalize_chunks
from dask.base import tokenize
from rasterio.errors import NotGeoreferencedWarning

from lazycog import _fetch
from lazycog._gdal_io import gdal_arguments
from lazycog._image import Image, Window, current_version
from lazycog._location import locate
from lazycog._opened import MASK, describe, known_source, new_source, remember
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._fetch import Pixels
    from lazycog._opened import Source

    Chunks = int | str | bool | tuple[Any, ...] | list[Any] | Mapping[Any, Any] | None

DIMS = ("band", "y", "x")
NAME_PREFIX = "open-cog-"
"""Dask names of arrays as :func:`open_cog` gives them."""


def open_cog(
    src: str | os.PathLike[str],
    level: int = 0,
    chunks: Chunks = "auto",
    storage_options: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Open a level of a GeoTIFF lazily, as rioxarray describes it.

    Parameters
    ----------
    src : path or URL
        A GeoTIFF on a file system, or under http(s)://, s3://, gs:// or az://.
    level : int
        0 is the full resolution, 1 the first overview; -1 is the smallest one.
    chunks : "auto", int, tuple, mapping or None
        Size of Dask's chunks along (band, y, x) or by dim. "auto" takes whole tiles up
        to Dask's ``array.chunk-size``; None is a single chunk.
    storage_options : mapping, optional
        For URLs, under the names of s3fs, gcsfs, adlfs and fsspec's HTTP file system.
        One that has no counterpart in obstore is an error.

    Returns
    -------
    DataArray
        Dims (band, y, x). Coordinates, attributes and encoding are those of
        ``rioxarray.open_rasterio``; stored values are kept as they are. Of a file with
        a mask, ``encoding["mask"]`` is a lazy DataArray (y, x), True where valid; of
        one with a colour table, ``encoding["colormap"]`` has it: :func:`to_cog` carries
        both over.

    Raises
    ------
    InputError
        There is no such file, or it is not a GeoTIFF with one raster.
    OptionError
        The file has no such level, or ``chunks`` or ``storage_options`` are illegal.
    MissingExtraError
        async-geotiff or obstore is not installed.

    Notes
    -----
    Tiles are read asynchronously, many at a time, by async-geotiff's engine. What it
    would decode differently from GDAL (see README "Read back") is read by GDAL; the
    pixels are the same. Side files (.aux.xml, .ovr) of remote files are not looked for.
    A task refuses a file that has changed since it was opened.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile, xarray as xr
    >>> import lazycog
    >>> raster = xr.DataArray(np.eye(600, dtype="uint8"), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "eye.tif"
    ...     result = lazycog.to_cog(raster, path, progress=False)
    ...     open_cog(path, level=-1).shape
    (1, 300, 300)
    """
    location = locate(src, storage_options)
    version = current_version(location)
    source = describe(location, version, level)
    array = _header(source.pixels)
    return with_pixels(array, source, chunks, name=os.fspath(src))


async def read_window(
    src: str | os.PathLike[str],
    rows: tuple[int, int],
    cols: tuple[int, int],
    *,
    level: int = 0,
    bands: Sequence[int] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> NDArray[Any]:
    """Read a window of a level inside an event loop, as a web server does.

    Parameters
    ----------
    src : path or URL
        As in :func:`open_cog`.
    rows : (start, stop)
        The window in pixels of that level, inside of it.
    cols : (start, stop)
        The same across.
    level : int
        As in :func:`open_cog`.
    bands : sequence of int, optional
        1-based band numbers, in this order; all by default.
    storage_options : mapping, optional
        As in :func:`open_cog`.

    Returns
    -------
    ndarray, shape (band, height, width)
        Stored values.

    Raises
    ------
    InputError
        The file cannot be read, or has no such band.
    OptionError
        The window or level is outside of the file, or an option is illegal.
    MissingExtraError
        async-geotiff or obstore is not installed.

    Notes
    -----
    A process keeps the headers of the files that it has read, so that a window costs
    the requests for its tiles alone. It looks at local files again, not at remote ones:
    those must not be replaced meanwhile.

    Examples
    --------
    >>> import asyncio, numpy as np, pathlib, tempfile, xarray as xr
    >>> import lazycog
    >>> raster = xr.DataArray(np.eye(600, dtype="uint8"), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "eye.tif"
    ...     result = lazycog.to_cog(raster, path, progress=False)
    ...     asyncio.run(read_window(path, (10, 12), (10, 13))).tolist()
    [[[1, 0, 0], [0, 1, 0]]]
    """
    location = locate(src, storage_options)
    source = known_source(location, level)
    if source is None:
        source = await asyncio.to_thread(new_source, location, level)
    pixels = source.pixels
    for name, (start, stop), size in zip(
        ("rows", "cols"), (rows, cols), pixels.shape[1:], strict=True
    ):
        if not 0 <= start < stop <= size:
            raise OptionError(
                f"{name}=({start}, {stop}) is no window of level {pixels.level} of "
                f"{location}: 0 <= start < stop <= {size} must hold"
            )
    wanted = _band_indexes(bands, pixels.shape[0])
    return await _fetch.read_async(pixels, Window(wanted, rows, cols))


def _band_indexes(bands: Sequence[int] | None, count: int) -> list[int]:
    if bands is None:
        return list(range(count))
    wrong = [band for band in bands if not 1 <= band <= count]
    if wrong or not bands:
        raise InputError(
            f"bands={list(bands)}: name at least one; they are numbered 1 to {count}"
        )
    return [band - 1 for band in bands]


def _header(image: Image) -> xr.DataArray:
    """Let rioxarray describe a level; no pixel is read."""
    name, keywords = gdal_arguments(image)
    with warnings.catch_warnings():
        # what it warns of stands in the result: no place, or scales per band
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        warnings.filterwarnings("ignore", message="(Scales|Offsets) differ")
        # rioxarray multiplies transforms with an operator that affine 3 retires
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        opened = rioxarray.open_rasterio(
            name, lock=False, cache=False, mask_and_scale=False, **keywords
        )
    if not isinstance(opened, xr.DataArray):
        raise InputError(
            f"{image.location} holds several rasters; rioxarray can open them"
        )
    opened.close()
    return opened


# --- a lazy array -------------------------------------------------------------------


_sources: dict[str, Source] = {}
"""Dask name of an opened array -> what it reads."""


def source_of(array: object) -> Source | None:
    """Tell what a Dask array reads, if it is one that :func:`open_cog` made.

    Parameters
    ----------
    array : object
        Anything; whatever was done to an array since gave it another name.

    Returns
    -------
    Source or None
        None where it is not known.
    """
    name = getattr(array, "name", None)
    return _sources.get(name) if isinstance(name, str) else None


def with_pixels(
    header: xr.DataArray, source: Source, chunks: Chunks, *, name: str
) -> xr.DataArray:
    """Put a lazy array into a description.

    Parameters
    ----------
    header : DataArray
        What rioxarray says about the level.
    source : Source
        What to read.
    chunks : "auto", int, tuple, mapping or None
        As in :func:`open_cog`.
    name : str
        Path or URL as it was given.

    Returns
    -------
    DataArray
        A new one.
    """
    pixels = lazy_pixels(source, chunks, tuple(map(str, header.dims)))
    array = header.copy(data=pixels)
    named = {"source": _source_name(source, name)}
    encoding = {**header.encoding, **named, **source.marks}
    encoding.pop("preferred_chunks", None)
    if source.has_mask:
        encoding[MASK] = lazy_mask(array, source.pixels)
    array.encoding = encoding
    return array


def _source_name(source: Source, name: str) -> str:
    location = source.pixels.location
    return name if not location.by_gdal or "://" in name else os.fspath(name)


def lazy_pixels(
    source: Source, chunks: Chunks, dims: tuple[str, ...] = DIMS
) -> dask.array.Array:
    """Make a Dask array of a level: one task per chunk.

    Parameters
    ----------
    source : Source
        What to read.
    chunks : "auto", int, tuple, mapping or None
        As in :func:`open_cog`.
    dims : tuple of str
        Names that a mapping may use.

    Returns
    -------
    dask.array.Array
        Of plain values alone.

    Raises
    ------
    OptionError
        The chunks do not go with the shape.
    """
    pixels = source.pixels
    sizes = _chunks(pixels, chunks, dims)
    # no storage options: a name must not tell a credential, not even as a hash
    token = tokenize(
        pixels.location.kind,
        pixels.location.root,
        pixels.location.path,
        pixels.version,
        pixels.level,
        sizes,
    )
    array = dask.array.from_array(
        pixels,
        chunks=sizes,
        name=NAME_PREFIX + token,
        asarray=False,
        inline_array=True,
        meta=np.empty((0, 0, 0), pixels.dtype),
    )
    remember(_sources, array.name, source)
    return array


def lazy_mask(array: xr.DataArray, image: Image) -> xr.DataArray:
    """Make a lazy array of the mask of an image, in chunks as those of its pixels.

    Parameters
    ----------
    array : DataArray
        The pixels, (band, y, x), with Dask's chunks.
    image : Image
        What they are read from.

    Returns
    -------
    DataArray
        True where valid, with the coordinates of the pixels.
    """
    _, rows, cols = array.chunks or ()
    where = image.location
    token = tokenize(
        *(where.kind, where.root, where.path, image.version, image.level, rows, cols)
    )
    lazy = dask.array.from_array(
        _fetch.Mask(image, (sum(rows), sum(cols))),
        chunks=(rows, cols),
        name=f"open-mask-{token}",
        asarray=False,
        inline_array=True,
        meta=np.empty((0, 0), np.bool_),
    )
    _, y_dim, x_dim = array.dims
    coords = {dim: array.coords[dim] for dim in (y_dim, x_dim) if dim in array.coords}
    return xr.DataArray(lazy, coords, (y_dim, x_dim), name=MASK)


def _chunks(
    pixels: Pixels, chunks: Chunks, dims: tuple[str, ...]
) -> tuple[tuple[int, ...], ...]:
    """Turn what the caller says about chunks into sizes."""
    if chunks is None:
        chunks = -1
    if chunks is True or chunks == "auto":
        return _auto_chunks(pixels)
    if isinstance(chunks, dict):
        unknown = sorted(map(str, set(chunks) - set(dims)))
        if unknown:
            raise OptionError(
                f"chunks: no dim {', '.join(unknown)}; there are {', '.join(dims)}"
            )
        wanted: Iterable[Any] = [chunks.get(dim, -1) for dim in dims]
    elif isinstance(chunks, list | tuple):
        wanted = chunks
    else:
        wanted = [chunks] * len(dims)
    previous = (pixels.shape[0] if pixels.together else 1, *pixels.tile)
    try:
        sizes: tuple[tuple[int, ...], ...] = normalize_chunks(
            tuple(wanted),
            shape=pixels.shape,
            dtype=pixels.dtype,
            previous_chunks=previous,
        )
    except (
        ValueError,
        TypeError,
        NotImplementedError,
        AttributeError,
        ZeroDivisionError,
    ) as error:
        raise OptionError(
            f"chunks={chunks!r} do not go with the shape {pixels.shape} (band, row, "
            f"col); give 'auto', a number above 0, or a mapping of dims: {error}"
        ) from error
    return sizes


def _auto_chunks(pixels: Pixels) -> tuple[tuple[int, ...], ...]:
    """Take squares of whole tiles, and all bands that are decoded with them."""
    count, height, width = pixels.shape
    together = pixels.together or (pixels.by_tiles and pixels.ifd is not None)
    bands = count if together else 1
    limit = dask.utils.parse_bytes(dask.config.get("array.chunk-size"))
    tile_height, tile_width = pixels.tile
    tiles = limit / (bands * pixels.dtype.itemsize * tile_height * tile_width)
    across = -(-width // tile_width)
    down = -(-height // tile_height)
    cols = min(across, max(1, math.isqrt(int(tiles))))
    rows = min(down, max(1, int(tiles // cols)))
    if rows == down and rows * cols < tiles:  # a low raster: longer chunks
        cols = min(across, max(1, int(tiles // rows)))
    chunk = (bands, rows * tile_height, cols * tile_width)
    sizes: tuple[tuple[int, ...], ...] = normalize_chunks(chunk, shape=pixels.shape)
    return sizes
