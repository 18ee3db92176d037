"""Pixels of a level of a GeoTIFF: by async-geotiff's engine where it is right, or GDAL.

The header decides which reader is safe. Both give the same pixels; async-tiff keeps
many tiles in flight.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog import _gdal_io
from lazycog._gdal_io import Version, current_version, first_line
from lazycog._location import READ_EXTRA, Location, open_store
from lazycog._loop import loop_thread
from lazycog.errors import CogError, InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    Tiles = Sequence[tuple[int, int]]

BATCH_BYTES = 8 * 2**20
"""Decoded bytes of the tiles that are asked for together, unless one has more."""
AHEAD_BYTES = 48 * 2**20
"""Decoded bytes of the batches under way, while one is copied to its place."""
GAP_BYTES = 128 * 1024
"""Tiles farther apart in the file are asked for apart: a request costs about as much as
these bytes."""
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


@dataclass(frozen=True)
class Pixels:
    """One level of one file, as it was when it was opened; travels to workers."""

    location: Location
    version: Version
    level: int
    """0 for full resolution, then the overviews."""
    shape: tuple[int, int, int]
    """(band, row, col)."""
    dtype: np.dtype[Any]
    tile: tuple[int, int]
    """Height and width of what is decoded together."""
    together: bool
    """All bands of a tile are decoded together."""
    ifd: int | None
    """Position of the image among the headers; None when GDAL alone finds it."""
    by_tiles: bool
    """async-tiff reads it right."""

    @property
    def ndim(self) -> int:
        """Number of dims, for Dask."""
        return len(self.shape)

    @property
    def tile_bytes(self) -> int:
        """Decoded bytes of a tile, all bands."""
        height, width = self.tile
        return height * width * self.shape[0] * self.dtype.itemsize

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[np.generic]:
        """Read what a chunk of a Dask array asks for."""
        key = key if isinstance(key, tuple) else (key,)
        key += (slice(None),) * (self.ndim - len(key))
        spans, rest = zip(*map(_span, key, self.shape), strict=True)
        (start, stop), rows, cols = spans
        pixels: NDArray[Any] = read(self, range(start, stop), rows, cols)[rest]
        return pixels


def _span(key: Any, size: int) -> tuple[tuple[int, int], Any]:  # noqa: ANN401 - an index
    """Split an index into a range to read, and what to take from it."""
    if not isinstance(key, slice):
        index = range(size)[key]
        return (index, index + 1), 0
    wanted = range(size)[key]
    if not wanted:
        return (0, 0), slice(0, 0)
    low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
    step = slice(None, None, wanted.step)
    return (low, high + 1), step


# --- which reader -------------------------------------------------------------------


def is_safe(ifd: Any, dtype: np.dtype[Any]) -> bool:  # noqa: ANN401 - async-tiff's
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
    tiff: Any,  # noqa: ANN401 - async-tiff's
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

_headers: OrderedDict[tuple[Location, Version], asyncio.Task[Any]] = OrderedDict()
"""Used in the thread of the loop alone."""


def start_headers(location: Location, version: Version) -> Future[Any]:
    """Read the headers of a remote file, once per process and version.

    Parameters
    ----------
    location : Location
        Where the file is.
    version : Version
        What is there.

    Returns
    -------
    concurrent.futures.Future
        Of an async_tiff.TIFF, or of None for what async-tiff cannot read.

    Raises
    ------
    MissingExtraError
        async-geotiff or obstore is not installed.
    """
    try:
        import async_tiff  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(READ_EXTRA) from error
    open_store(location)  # its errors are told here
    return loop_thread().submit(_kept_headers(location, version))


async def _kept_headers(location: Location, version: Version) -> Any:  # noqa: ANN401
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


async def _read_headers(location: Location) -> Any:  # noqa: ANN401 - async-tiff's
    from async_tiff import TIFF  # noqa: PLC0415 - an extra

    store = open_store(location)
    try:
        return await TIFF.open(location.path, store=store, prefetch=PREFETCH_BYTES)
    except Exception as error:
        if not _is_readers(error):
            raise
        return None  # GDAL decides whether it is a TIFF


# --- reading ------------------------------------------------------------------------


def read(
    pixels: Pixels,
    bands: Sequence[int],
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> NDArray[np.generic]:
    """Read a window.

    Parameters
    ----------
    pixels : Pixels
        Which level of which file.
    bands : sequence of int
        From 0.
    rows, cols : (start, stop)
        The window, inside the level.

    Returns
    -------
    ndarray, shape (band, height, width)
        The pixels, writable.

    Raises
    ------
    InputError
        The file has changed, or cannot be read.
    """
    shape = (len(bands), rows[1] - rows[0], cols[1] - cols[0])
    if not all(shape):
        return np.empty(shape, pixels.dtype)
    if pixels.location.kind == "file":
        check_version(pixels.location, pixels.version)
    tiff = None
    if pixels.ifd is not None:
        tiff = start_headers(pixels.location, pixels.version).result()
    window = _window(pixels, tiff, bands, rows, cols)
    if window.ifd is None:
        return _by_gdal(window)
    return _by_tiles(window)


async def read_async(
    pixels: Pixels,
    bands: Sequence[int],
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> NDArray[np.generic]:
    """Read a window of at least one pixel without blocking the caller's event loop.

    Parameters
    ----------
    pixels : Pixels
        Which level of which file.
    bands : sequence of int
        From 0.
    rows, cols : (start, stop)
        The window, inside the level.

    Returns
    -------
    ndarray, shape (band, height, width)
        As in :func:`read`.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    loop = loop_thread()
    tiff = None
    if pixels.ifd is not None:
        headers = start_headers(pixels.location, pixels.version)
        tiff = await asyncio.wrap_future(headers)
    window = _window(pixels, tiff, bands, rows, cols)
    if window.ifd is None:
        return await asyncio.to_thread(_by_gdal, window)
    batches = list(window.batches())
    try:
        fetched = await asyncio.gather(
            *(
                asyncio.wrap_future(loop.submit(_fetch(window.ifd, batch)))
                for batch in batches
            )
        )
    except Exception as error:
        if not _is_readers(error):
            raise
        message = _unreadable(pixels.location, error)
        raise InputError(message) from error
    result = window.empty()
    for batch, decoded in zip(batches, fetched, strict=True):
        window.place(result, batch, decoded)
    return result


def check_version(location: Location, version: Version) -> None:
    """Refuse a file that was replaced after it was opened.

    Parameters
    ----------
    location : Location
        Where the file is.
    version : Version
        What was there.

    Raises
    ------
    InputError
        It is another file, or none.
    """
    if current_version(location) != version:
        raise InputError(
            f"{location} has changed since it was opened; open it again with "
            "lazycog.open_cog()"
        )


@dataclass(frozen=True)
class _Window:
    """What is wanted of a level, and how to get it."""

    pixels: Pixels
    bands: Sequence[int]
    rows: tuple[int, int]
    cols: tuple[int, int]
    ifd: Any
    """async-tiff's header of the image; None when GDAL reads."""
    tiles: Tiles
    """(row, col) of the tiles it meets, row after row."""
    ranges: Sequence[tuple[int, int]]
    """Where they are in the file, as far as it is known."""

    def empty(self) -> NDArray[Any]:
        """Make room for the pixels."""
        height, width = self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]
        return np.empty((len(self.bands), height, width), self.pixels.dtype)

    def batches(self) -> Iterator[Tiles]:
        """Cut the tiles into runs that lie close together in the file."""
        per_tile = len(self.ranges) // len(self.tiles)
        most = max(1, BATCH_BYTES // self.pixels.tile_bytes)
        batch: list[tuple[int, int]] = []
        end = 0
        for tile, (start, stop) in zip(
            self.tiles, self.ranges[::per_tile], strict=True
        ):
            far = not 0 <= start - end <= GAP_BYTES
            if batch and (far or len(batch) == most):
                yield batch
                batch = []
            batch.append(tile)
            end = stop
        yield batch

    def place(
        self,
        result: NDArray[Any],
        tiles: Tiles,
        decoded: Sequence[Any],
    ) -> None:
        """Copy decoded tiles to where they belong."""
        pixels = self.pixels
        height, width = pixels.tile
        every = list(self.bands) == list(range(pixels.shape[0]))
        for (row, col), buffer in zip(tiles, decoded, strict=True):
            array = np.asarray(buffer)
            if array.dtype != pixels.dtype:
                raise InputError(
                    f"{pixels.location}: its header says {pixels.dtype}, its tiles "
                    f"hold {array.dtype}"
                )
            if pixels.together:
                array = np.moveaxis(array, -1, 0)
            top, left = row * height - self.rows[0], col * width - self.cols[0]
            target = result[
                :,
                max(0, top) : max(0, top + height),
                max(0, left) : max(0, left + width),
            ]
            skipped = max(0, -top), max(0, -left)
            source = array[
                :,
                skipped[0] : skipped[0] + target.shape[1],
                skipped[1] : skipped[1] + target.shape[2],
            ]
            target[:] = source if every else source[list(self.bands)]


def _window(
    pixels: Pixels,
    tiff: Any,  # noqa: ANN401 - async-tiff's
    bands: Sequence[int],
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> _Window:
    """Choose the reader of a window: sparse tiles and single planes are GDAL's."""
    if pixels.ifd is None:
        return _Window(pixels, bands, rows, cols, None, (), ())
    if tiff is None:
        raise InputError(f"{pixels.location} has changed since it was opened")
    ifd = tiff.ifd(pixels.ifd)
    tiles = _tiles(pixels, rows, cols)
    ranges = _byte_ranges(ifd, tiles, bands)
    stored = [(start, stop) for start, stop in ranges if stop > start > 0]
    partly = not pixels.together and len(set(bands)) < pixels.shape[0]
    if not pixels.by_tiles or len(stored) < len(ranges) or partly:
        ifd = None
    return _Window(pixels, bands, rows, cols, ifd, tiles, stored)


def _by_gdal(window: _Window) -> NDArray[np.generic]:
    pixels = window.pixels
    found = _gdal_io.read_by_gdal(
        pixels.location,
        pixels.version,
        pixels.level,
        bands=window.bands,
        rows=window.rows,
        cols=window.cols,
        ranges=window.ranges,
    )
    return found.astype(pixels.dtype, copy=False)


def _tiles(
    pixels: Pixels, rows: tuple[int, int], cols: tuple[int, int]
) -> list[tuple[int, int]]:
    """List the tiles of a window as (row, col), row after row."""
    height, width = pixels.tile
    return list(
        itertools.product(
            range(rows[0] // height, -(-rows[1] // height)),
            range(cols[0] // width, -(-cols[1] // width)),
        )
    )


def _byte_ranges(
    ifd: Any,  # noqa: ANN401 - async-tiff's
    tiles: Tiles,
    bands: Sequence[int],
) -> list[tuple[int, int]]:
    """Give where the tiles are in the file; a sparse one is nowhere."""
    ranges: list[tuple[int, int]] = []
    for row, col in tiles:
        found = ifd.tile_byte_range(col, row)
        if isinstance(found, list):
            ranges += [found[band] for band in dict.fromkeys(bands)]
        else:
            ranges.append(found)
    return ranges


def _by_tiles(window: _Window) -> NDArray[np.generic]:
    """Fetch and decode batches in the loop, and copy the pixels to their place here."""
    result = window.empty()
    loop = loop_thread()
    waiting: deque[tuple[Tiles, Future[list[Any]]]] = deque()
    ahead = max(1, AHEAD_BYTES // window.pixels.tile_bytes)
    try:
        for batch in window.batches():
            waiting.append((batch, loop.submit(_fetch(window.ifd, batch))))
            while sum(len(tiles) for tiles, _ in waiting) > ahead:
                done, future = waiting.popleft()
                window.place(result, done, future.result())
        while waiting:
            done, future = waiting.popleft()
            window.place(result, done, future.result())
    except Exception as error:
        if not _is_readers(error):
            raise
        message = _unreadable(window.pixels.location, error)
        raise InputError(message) from error
    finally:
        for _, future in waiting:
            future.cancel()
    return result


def _unreadable(location: Location, error: Exception) -> str:
    return f"{location} cannot be read: {first_line(error)}"


def _is_readers(error: Exception) -> bool:
    """Whether async-tiff or obstore raised it; the former hides the class it raises."""
    package = type(error).__module__.partition(".")[0]
    if package in {"async_tiff", "obstore"}:
        return True
    return isinstance(error, OSError | ValueError) and not isinstance(error, CogError)


async def _fetch(ifd: Any, tiles: Tiles) -> list[Any]:  # noqa: ANN401
    fetched = await ifd.fetch_tiles([(col, row) for row, col in tiles])
    return await asyncio.gather(*(tile.decode() for tile in fetched))
