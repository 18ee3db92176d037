"""Encoded bytes that wait for their place: in memory up to a budget, then on disk."""

from __future__ import annotations

import errno
import os
import sys
import threading
import uuid
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from lazycog._file_range import FileRange
from lazycog.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HELD_BYTES = 64 * 2**20
"""Encoded bytes that one process keeps in memory, over all its threads and writes."""


class _Ledger:
    """Counts the encoded bytes that this process holds in memory."""

    def __init__(self) -> None:
        # a finalizer may give back while the same thread takes
        self._lock = threading.RLock()
        self.held_bytes = 0
        self._share = 1.0

    def expected(self, bound: int) -> int:
        """Guess what a chunk encodes to, from those before it."""
        return int(bound * self._share)

    def settle(self, bound: int, taken: int, size: int) -> None:
        """Correct what was reserved by a guess."""
        with self._lock:
            self.held_bytes += size - taken
            # a chunk of nothing says little about the next one
            self._share = max(size / bound, self._share / 2)

    def take(self, size: int) -> bool:
        """Reserve memory; False when the budget is spent."""
        with self._lock:
            if self.held_bytes and self.held_bytes + size > HELD_BYTES:
                return False
            self.held_bytes += size
            return True

    def give_back(self, size: int) -> None:
        """Return what was reserved."""
        with self._lock:
            self.held_bytes -= size


LEDGER = _Ledger()
"""The account of this process."""


class Parking:
    """A file that is being parked; none is left unless it is finished."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / f"parked-{uuid.uuid4().hex}"
        self._size = 0
        self._is_finished = False
        with self._refused():
            self._file = self._path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_finished:
            with suppress(OSError):  # of bytes that nobody wants
                self._file.close()
            self._path.unlink(missing_ok=True)

    def add(self, data: NDArray[np.uint8]) -> None:
        """Write bytes behind those before."""
        with self._refused():
            self._file.write(data.data)
        self._size += len(data)

    def finish(self) -> EncodedBytes:
        """Give what was written; nothing can be added any more."""
        with self._refused():
            self._file.close()
        self._is_finished = True
        return EncodedBytes.parked(self._path, self._size)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SinkError(
                error.errno,
                f"could not park encoded tiles beside the destination: "
                f"{error.strerror}; free space or choose another destination",
                str(self._path.parent),
            ) from error


class EncodedBytes:
    """Bytes in memory or in a file; they travel to other processes as bytes.

    The file goes when the object does, so nothing else may name it.
    """

    def __init__(
        self, data: NDArray[np.uint8] | None, path: Path | None, size: int
    ) -> None:
        self._data = data
        self._path = path
        self._size = size

    @classmethod
    def keep(cls, data: NDArray[np.uint8], folder: str | None = None) -> EncodedBytes:
        """Take over bytes.

        Parameters
        ----------
        data : ndarray of uint8
            The bytes, never changed again.
        folder : str or None
            Where they are parked when the budget is spent; None keeps them in memory.

        Returns
        -------
        EncodedBytes
            Holds them.
        """
        if folder is None:
            return cls(data, None, len(data))
        if LEDGER.take(len(data)):
            return cls.held(data)
        with Parking(folder) as parking:
            parking.add(data)
            return parking.finish()

    @classmethod
    def held(cls, data: NDArray[np.uint8]) -> EncodedBytes:
        """Take over bytes in memory that were taken from the budget."""
        kept = cls(data, None, len(data))
        weakref.finalize(kept, LEDGER.give_back, len(data))
        return kept

    @classmethod
    def parked(cls, path: Path, size: int) -> EncodedBytes:
        """Take over a file."""
        kept = cls(None, path, size)
        weakref.finalize(kept, path.unlink, missing_ok=True)
        return kept

    def __len__(self) -> int:
        return self._size

    @property
    def is_parked(self) -> bool:
        """Whether the bytes are on disk."""
        return self._path is not None

    def read(self, start: int, stop: int) -> memoryview:
        """Give a range of the bytes.

        Raises
        ------
        SinkError
            The parked file was cut off.
        AssertionError
            Neither memory nor disk has the bytes, which cannot be.
        """
        if self._data is not None:
            return memoryview(self._data)[start:stop]
        if self._path is None:  # one of the two is always there
            raise AssertionError(self._size)
        file = os.open(self._path, os.O_RDONLY)
        try:
            found = os.pread(file, stop - start, start)
        finally:
            os.close(file)
        if len(found) != stop - start:
            raise SinkError(errno.EIO, "a parked file is too short", str(self._path))
        return memoryview(found)

    def piece(self, start: int, stop: int) -> memoryview | FileRange:
        """Give a range of the bytes, or say where it is on disk."""
        if self._path is None:
            return self.read(start, stop)
        return FileRange(str(self._path), start, stop)

    def __reduce__(self) -> tuple[object, tuple[NDArray[np.uint8]]]:
        return restored, (np.frombuffer(self.read(0, self._size), np.uint8),)

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return 128 + (0 if self.is_parked else self._size)


@dataclass(frozen=True)
class WaitingPixels:
    """Pixels that wait for their neighbours, on disk when the budget is spent."""

    data: EncodedBytes
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @classmethod
    def keep(
        cls, pixels: NDArray[np.generic], folder: str | None = None
    ) -> WaitingPixels:
        """Take over pixels; see :meth:`EncodedBytes.keep`."""
        flat = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
        return cls(EncodedBytes.keep(flat, folder), pixels.dtype, pixels.shape)

    def read(self) -> NDArray[np.generic]:
        """Give the pixels, read-only."""
        data = self.data.read(0, len(self.data))
        return np.ndarray(self.shape, self.dtype, data)

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return sys.getsizeof(self.data)


def restored(data: NDArray[np.uint8]) -> EncodedBytes:
    """Take over bytes that came from another process; they stay in memory."""
    return EncodedBytes.keep(data)
