"""Pixels of a level of a GeoTIFF: by async-geotiff's engine where it is right, or GDAL.

The header decides which reader is safe. Both give the same pixels; async-tiff keeps
many tiles in flight.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog import codecs
from lazycog._gdal_io import read_by_gdal, read_mask
from lazycog._header_cache import is_readers, start_headers
from lazycog._image import Image, Version, Window, current_version, first_line
from lazycog._loop import loop_thread
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from async_tiff import TIFF, DecoderRegistry, ImageFileDirectory
    from numpy.typing import NDArray

    from lazycog._location import Location

    Tiles = Sequence[tuple[int, int]]

BATCH_BYTES = 8 * 2**20
"""Decoded bytes of the tiles that are asked for together, unless one has more."""
AHEAD_BYTES = 48 * 2**20
"""Decoded bytes of the batches under way, while one is copied to its place."""
GAP_BYTES = 128 * 1024
"""Tiles farther apart in the file are asked for apart: a request costs about as much as
these bytes."""
DECOMPRESSED_HERE = {8: "deflate", 32946: "deflate", 50000: "zstd"}
"""Compression that imagecodecs undoes: in less CPU time than async-tiff's own decoder,
half of it for Deflate."""


@dataclass(frozen=True)
class Pixels(Image):
    """An image and how to read it; travels to workers."""

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

    @property
    def stored_bytes(self) -> int:
        """Bytes of what is compressed by itself: a tile, or that of one band."""
        return self.tile_bytes if self.together else self.tile_bytes // self.shape[0]

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[np.generic]:
        """Read what a chunk of a Dask array asks for."""
        key = key if isinstance(key, tuple) else (key,)
        key += (slice(None),) * (self.ndim - len(key))
        spans, rest = zip(*map(_span, key, self.shape), strict=True)
        (start, stop), rows, cols = spans
        pixels = read(self, Window(range(start, stop), rows, cols))
        return _taken(pixels, rest)


@dataclass(frozen=True)
class Mask:
    """The mask of an image, as an array that Dask slices; travels to workers."""

    image: Image
    shape: tuple[int, int]
    dtype: np.dtype[np.bool_] = field(default_factory=lambda: np.dtype(np.bool_))
    ndim: int = 2

    def __getitem__(self, key: tuple[Any, Any]) -> NDArray[np.bool_]:
        """Read what a chunk of a Dask array asks for, True where valid."""
        image = self.image
        if image.location.kind == "file":
            check_version(image.location, image.version)
        spans, rest = zip(*map(_span, key, self.shape), strict=True)
        if any(start == stop for start, stop in spans):
            return np.zeros([stop - start for start, stop in spans], np.bool_)
        return _taken(read_mask(image, *spans), rest)


def _span(key: Any, size: int) -> tuple[tuple[int, int], Any]:  # noqa: ANN401 - an index
    """Split an index into a range to read, and what to take from it."""
    if isinstance(key, list | np.ndarray):
        listed = [range(size)[int(index)] for index in key]
        first = min(listed, default=0)
        return (first, max(listed, default=-1) + 1), [each - first for each in listed]
    if not isinstance(key, slice):
        index = range(size)[key]
        return (index, index + 1), 0
    wanted = range(size)[key]
    if not wanted:
        return (0, 0), slice(0, 0)
    low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
    step = slice(None, None, wanted.step)
    return (low, high + 1), step


def _taken(pixels: NDArray[Any], rest: tuple[Any, ...]) -> NDArray[Any]:
    """Index every axis by itself, as Dask does, the last one first."""
    for axis, index in reversed(list(enumerate(rest))):
        pixels = pixels[(slice(None),) * axis + (index,)]
    return pixels


# --- reading ------------------------------------------------------------------------


def read(pixels: Pixels, window: Window) -> NDArray[np.generic]:
    """Read a window.

    Parameters
    ----------
    pixels : Pixels
        Which level of which file.
    window : Window
        What of it.

    Returns
    -------
    ndarray, shape (band, height, width)
        The pixels, writable.

    Raises
    ------
    InputError
        The file has changed, or cannot be read.
    """
    if not all(window.shape):
        return np.empty(window.shape, pixels.dtype)
    if pixels.location.kind == "file":
        check_version(pixels.location, pixels.version)
    tiff = None
    if pixels.ifd is not None:
        tiff = start_headers(pixels.location, pixels.version).result()
    reading = _Reading.of(pixels, window, tiff)
    return _by_gdal(reading) if reading.ifd is None else _by_tiles(reading)


async def read_async(pixels: Pixels, window: Window) -> NDArray[np.generic]:
    """Read a window, of one pixel at least, as `read` does, in the caller's loop."""
    loop = loop_thread()
    tiff = None
    if pixels.ifd is not None:
        headers = start_headers(pixels.location, pixels.version)
        tiff = await asyncio.wrap_future(headers)
    reading = _Reading.of(pixels, window, tiff)
    if reading.ifd is None:
        return await asyncio.to_thread(_by_gdal, reading)
    batches = list(reading.batches())
    with _refused(pixels.location):
        fetched = await asyncio.gather(
            *(
                asyncio.wrap_future(loop.submit(_fetch(reading, batch)))
                for batch in batches
            )
        )
    result = reading.empty()
    for batch, decoded in zip(batches, fetched, strict=True):
        reading.place(result, batch, decoded)
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
class _Reading:
    """What is wanted of an image, and how to get it."""

    pixels: Pixels
    window: Window
    ifd: ImageFileDirectory | None
    """async-tiff's header of the image; None when GDAL reads."""
    tiles: Tiles = ()
    """(row, col) of the tiles it meets, row after row."""
    ranges: Sequence[tuple[int, int]] = ()
    """Where they are in the file, as far as it is known."""

    @classmethod
    def of(
        cls,
        pixels: Pixels,
        window: Window,
        tiff: TIFF | None,
    ) -> _Reading:
        """Choose the reader: sparse tiles and single planes are GDAL's.

        Raises
        ------
        InputError
            The headers are not those that were opened.
        """
        if pixels.ifd is None:
            return cls(pixels, window, None)
        if tiff is None:
            raise InputError(f"{pixels.location} has changed since it was opened")
        ifd = tiff.ifd(pixels.ifd)
        tiles = _tiles(pixels.tile, window)
        ranges = _byte_ranges(ifd, tiles, window.bands)
        stored = [(start, stop) for start, stop in ranges if stop > start > 0]
        partly = not pixels.together and len(set(window.bands)) < pixels.shape[0]
        if not pixels.by_tiles or len(stored) < len(ranges) or partly:
            ifd = None
        return cls(pixels, window, ifd, tiles, stored)

    def empty(self) -> NDArray[Any]:
        """Make room for the pixels."""
        return np.empty(self.window.shape, self.pixels.dtype)

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
        """Copy decoded tiles to where they belong.

        Raises
        ------
        InputError
            A tile has another dtype than the header says.
        """
        pixels, window = self.pixels, self.window
        height, width = pixels.tile
        every = list(window.bands) == list(range(pixels.shape[0]))
        for (row, col), buffer in zip(tiles, decoded, strict=True):
            array = np.asarray(buffer)
            if array.dtype != pixels.dtype:
                raise InputError(
                    f"{pixels.location}: its header says {pixels.dtype}, its tiles "
                    f"hold {array.dtype}"
                )
            if pixels.together:
                array = np.moveaxis(array, -1, 0)
            top, left = row * height - window.rows[0], col * width - window.cols[0]
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
            target[:] = source if every else source[list(window.bands)]


def _by_gdal(reading: _Reading) -> NDArray[np.generic]:
    found = read_by_gdal(reading.pixels, reading.window, reading.ranges)
    return found.astype(reading.pixels.dtype, copy=False)


def _tiles(tile: tuple[int, int], window: Window) -> list[tuple[int, int]]:
    """List the tiles of a window as (row, col), row after row."""
    (height, width), rows, cols = tile, window.rows, window.cols
    return list(
        itertools.product(
            range(rows[0] // height, -(-rows[1] // height)),
            range(cols[0] // width, -(-cols[1] // width)),
        )
    )


def _byte_ranges(
    ifd: ImageFileDirectory,
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


def _by_tiles(reading: _Reading) -> NDArray[np.generic]:
    """Fetch and decode batches in the loop, and copy the pixels to their place here."""
    result = reading.empty()
    loop = loop_thread()
    waiting: deque[tuple[Tiles, Future[list[Any]]]] = deque()
    ahead = max(1, AHEAD_BYTES // reading.pixels.tile_bytes)
    try:
        with _refused(reading.pixels.location):
            for batch in reading.batches():
                waiting.append((batch, loop.submit(_fetch(reading, batch))))
                while sum(len(tiles) for tiles, _ in waiting) > ahead:
                    done, future = waiting.popleft()
                    reading.place(result, done, future.result())
            while waiting:
                done, future = waiting.popleft()
                reading.place(result, done, future.result())
    finally:
        for _, future in waiting:
            future.cancel()
    return result


@contextmanager
def _refused(location: Location) -> Iterator[None]:
    """Turn what async-tiff or obstore raises into one clear error."""
    try:
        yield
    except Exception as error:
        if not is_readers(error):
            raise
        raise InputError(f"{location} cannot be read: {first_line(error)}") from error


async def _fetch(reading: _Reading, tiles: Tiles) -> list[Any]:
    """Fetch tiles, and decode them in the threads of the loop."""
    ifd = reading.ifd
    if ifd is None:
        raise InputError(f"{reading.pixels.location} has no header to read tiles by")
    fetched = await ifd.fetch_tiles([(col, row) for row, col in tiles])
    loop = asyncio.get_running_loop()
    registry = _decoders(int(ifd.compression), reading.pixels.stored_bytes)
    return await asyncio.gather(
        *(
            loop.run_in_executor(
                None, functools.partial(tile.decode_sync, decoder_registry=registry)
            )
            for tile in fetched
        )
    )


@functools.lru_cache(maxsize=32)
def _decoders(compression: int, nbytes: int) -> DecoderRegistry | None:
    """Say who undoes the compression of a tile; None is async-tiff."""
    from async_tiff import DecoderRegistry

    name = DECOMPRESSED_HERE.get(compression)
    if name is None:
        return None
    return DecoderRegistry({compression: codecs.decompressor(name, nbytes)})
