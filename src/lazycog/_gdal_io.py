"""GDAL as a reader: local files by itself, remote ones through obstore.

One set of credentials serves both readers, and GDAL asks for the tiles of a window in
one go, not one after the other.
"""

from __future__ import annotations

import atexit
import bisect
import contextvars
import functools
import io
import os
import threading
import warnings
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rasterio
import rasterio.windows
from rasterio.abc import FileContainer
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from lazycog._location import open_store
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lazycog._image import Image, Version, Window
    from lazycog._location import Location

BLOCK_BYTES = 64 * 1024
"""Headers are read in blocks of this size, which are kept."""
KEPT_BLOCKS = 256
GAP_BYTES = 128 * 1024
"""Ranges farther apart are separate requests: one costs about as much as that."""
KEPT_DATASETS = 4
"""Open datasets per thread."""


# --- a remote file as GDAL sees it --------------------------------------------------


class Preloaded:
    """Byte ranges that are in memory already, one set per thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def put(self, starts: Sequence[int], buffers: Sequence[bytes]) -> None:
        """Replace the ranges of this thread; `starts` are ascending."""
        self._local.starts, self._local.buffers = list(starts), list(buffers)

    def get(self, start: int, length: int) -> bytes | None:
        """Give a range that lies in one of them."""
        starts: list[int] = getattr(self._local, "starts", [])
        index = bisect.bisect_right(starts, start) - 1
        if index < 0:
            return None
        skipped = start - starts[index]
        buffer: bytes = self._local.buffers[index]
        if skipped + length > len(buffer):
            return None
        return bytes(memoryview(buffer)[skipped : skipped + length])


class RemoteFile(io.RawIOBase):
    """A remote file, seekable."""

    def __init__(
        self, location: Location, version: Version, preloaded: Preloaded
    ) -> None:
        self._location = location
        self._version = version
        self._preloaded = preloaded
        self._position = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        bases = {os.SEEK_CUR: self._position, os.SEEK_END: self._version.size}
        self._position = max(0, bases.get(whence, 0) + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, all that are left without a size."""
        left = max(0, self._version.size - self._position)
        length = left if size is None or size < 0 else min(size, left)
        start, self._position = self._position, self._position + length
        if not length:
            return b""
        known = self._preloaded.get(start, length)
        if known is not None:
            return known
        if length > BLOCK_BYTES:
            return read_range(self._location, start, length)
        first, last = start // BLOCK_BYTES, (start + length - 1) // BLOCK_BYTES
        parts = [
            _block(self._location, self._version, index)
            for index in range(first, last + 1)
        ]
        skipped = start - first * BLOCK_BYTES
        return b"".join(parts)[skipped : skipped + length]


@functools.lru_cache(maxsize=KEPT_BLOCKS)
def _block(location: Location, version: Version, index: int) -> bytes:
    start = index * BLOCK_BYTES
    return read_range(location, start, min(BLOCK_BYTES, version.size - start))


def read_range(location: Location, start: int, length: int) -> bytes:
    """Read bytes of a remote file."""
    import obstore

    store = open_store(location)
    return bytes(obstore.get_range(store, location.path, start=start, length=length))


class Opener(FileContainer):  # type: ignore[misc] # rasterio is untyped
    """What rasterio asks about remote files: there is one, and no side files."""

    def __init__(self, location: Location, version: Version) -> None:
        self._location = location
        self._version = version
        self.preloaded = Preloaded()

    def _is_it(self, path: str) -> bool:
        return path == str(self._location)

    def open(self, path: str, mode: str = "rb", **_: object) -> RemoteFile:
        """Open the file.

        Raises
        ------
        FileNotFoundError
            It is another path, or it is to be written.
        """
        if not self._is_it(path) or mode.strip("b") != "r":
            raise FileNotFoundError(path)
        return RemoteFile(self._location, self._version, self.preloaded)

    def isfile(self, path: str) -> bool:
        """Whether it is the file."""
        return self._is_it(path)

    def isdir(self, path: str) -> bool:
        """Say no: there are no folders."""
        del path
        return False

    def ls(self, path: str) -> list[str]:
        """List the file alone, so that GDAL looks for no side files."""
        del path
        return [str(self._location)]

    def mtime(self, path: str) -> int:
        """Say nothing about time."""
        del path
        return 0

    def rm(self, path: str) -> None:
        """Refuse: this reads.

        Raises
        ------
        PermissionError
            Always.
        """
        raise PermissionError(path)

    def size(self, path: str) -> int:
        """Give the bytes of the file.

        Raises
        ------
        FileNotFoundError
            It is another path.
        """
        if not self._is_it(path):
            raise FileNotFoundError(path)
        return self._version.size


def gdal_arguments(image: Image) -> tuple[str, dict[str, Any]]:
    """Give the name and the keywords that make rasterio open an image.

    Parameters
    ----------
    image : Image
        Which one.

    Returns
    -------
    name : str
        For ``rasterio.open`` or ``rioxarray.open_rasterio``.
    keywords : dict
        For the same.
    """
    location, level = image.location, image.level
    keywords: dict[str, Any] = {} if level == 0 else {"overview_level": level - 1}
    if location.by_gdal:
        return location.gdal_name, keywords
    return str(location), {**keywords, "opener": Opener(location, image.version)}


# --- pixels -------------------------------------------------------------------------


class _Dataset:
    """An open image; GDAL may call back into Python as long as it is open.

    rasterio keeps openers in a context variable, so that opening, reading and closing
    have to happen in one context, whatever the thread.
    """

    def __init__(self, image: Image) -> None:
        name, keywords = gdal_arguments(image)
        self.opener: Opener | None = keywords.get("opener")
        self._context = contextvars.Context()
        # the filters of warnings are those of all threads
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            self._dataset = self._context.run(rasterio.open, name, **keywords)
        _open_datasets.add(self)

    def read(self, **wanted: object) -> NDArray[Any]:
        """Read pixels."""
        pixels: NDArray[Any] = self._context.run(self._dataset.read, **wanted)
        return pixels

    def mask(self, **wanted: object) -> NDArray[np.uint8]:
        """Read the mask of the dataset."""
        mask: NDArray[np.uint8] = self._context.run(
            self._dataset.dataset_mask, **wanted
        )
        return mask

    def close(self) -> None:
        """Close it; more than once does no harm."""
        self._context.run(self._dataset.close)

    def __del__(self) -> None:
        """Close it where its thread has ended."""
        if "_dataset" in self.__dict__:
            self.close()


_opening = threading.Lock()
_local = threading.local()
_open_datasets: weakref.WeakSet[_Dataset] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what threads left open while Python still runs."""
    for dataset in list(_open_datasets):
        dataset.close()


def _dataset(image: Image) -> _Dataset:
    """Open an image once per thread."""
    kept: OrderedDict[Any, _Dataset]
    kept = _local.__dict__.setdefault("datasets", OrderedDict())
    key = (image.location, image.version, image.level)
    if key not in kept:
        kept[key] = _Dataset(image)
        while len(kept) > KEPT_DATASETS:
            _, oldest = kept.popitem(last=False)
            oldest.close()
    kept.move_to_end(key)
    return kept[key]


def read_by_gdal(
    image: Image, window: Window, ranges: Sequence[tuple[int, int]] = ()
) -> NDArray[np.generic]:
    """Read a window with GDAL.

    Parameters
    ----------
    image : Image
        Which level of which file.
    window : Window
        What of it.
    ranges : sequence of (start, stop)
        Bytes that GDAL will ask for; a remote file gives them all at once.

    Returns
    -------
    ndarray, shape (band, height, width)
        The pixels.

    Raises
    ------
    InputError
        GDAL cannot read them.
    """
    with _refused(image):
        dataset = _dataset(image)
        opener = dataset.opener
        if opener is not None:
            opener.preloaded.put(*_preload(image, ranges))
        pixels = dataset.read(
            indexes=[band + 1 for band in window.bands],
            window=_gdal_window(window.rows, window.cols),
        )
    if opener is not None:
        opener.preloaded.put((), ())
    return pixels


def _preload(
    image: Image, ranges: Sequence[tuple[int, int]]
) -> tuple[list[int], list[bytes]]:
    """Fetch ranges together, each with the 4 bytes that GDAL adds on both sides."""
    if not ranges:
        return [], []
    import obstore

    size = image.version.size
    wanted = sorted((max(0, start - 4), min(size, stop + 4)) for start, stop in ranges)
    starts, ends = [start for start, _ in wanted], [end for _, end in wanted]
    store = open_store(image.location)
    buffers = obstore.get_ranges(
        store, image.location.path, starts=starts, ends=ends, coalesce=GAP_BYTES
    )
    return starts, buffers


def read_mask(
    image: Image, rows: tuple[int, int], cols: tuple[int, int]
) -> NDArray[np.bool_]:
    """Read GDAL's mask of the whole dataset: True where any band has data.

    Parameters
    ----------
    image : Image
        Which level of which file.
    rows, cols : (start, stop)
        The window.

    Returns
    -------
    ndarray, shape (height, width)
        From the internal mask, the alpha band or the nodata value.

    Raises
    ------
    InputError
        GDAL cannot read it.
    """
    with _refused(image):
        mask: NDArray[np.bool_] = (
            _dataset(image).mask(window=_gdal_window(rows, cols)) > 0
        )
    return mask


def _gdal_window(
    rows: tuple[int, int], cols: tuple[int, int]
) -> rasterio.windows.Window:
    return rasterio.windows.Window.from_slices(rows, cols)


@contextmanager
def _refused(image: Image) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise InputError(f"{image.location}: GDAL cannot read it: {error}") from error
