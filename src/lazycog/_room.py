"""Room in which the tiles of a chunk are encoded one behind the other."""

from __future__ import annotations

import mmap
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import numpy as np

from lazycog._park import LEDGER, EncodedBytes, Parking

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Room:
    """Takes encoded tiles: in memory within the budget, else run after run to disk.

    Parameters
    ----------
    bound : int
        Most bytes that all runs of the chunk can have.
    run_bound : int
        Most bytes that one run can have.
    park_folder : str or None
        Where runs go when too many bytes wait in memory; None keeps them in memory.
    """

    def __init__(self, bound: int, run_bound: int, park_folder: str | None) -> None:
        self._bound = max(bound, 1)
        self._taken = 0
        self._parking: Parking | None = None
        self._counts = park_folder is not None
        if park_folder is not None:
            expected = LEDGER.expected(self._bound)
            if LEDGER.take(expected):
                self._taken = expected
            else:
                self._parking = Parking(park_folder)
        self._memory, self._buffer = _MEMORY.take(
            run_bound if self._parking else self._bound
        )
        self._position = 0
        self.length = 0
        """Bytes of all tiles so far."""
        self.checksum = 0
        """CRC-32 of all tiles so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        LEDGER.give_back(self._taken)
        self._taken = 0
        if self._parking is not None:
            self._parking.__exit__()

    @property
    def free(self) -> NDArray[np.uint8]:
        """Where the next tile goes."""
        return self._buffer[self._position :]

    def take(self, size: int) -> None:
        """Say how many of the free bytes the next tile has."""
        from imagecodecs import deflate_crc32  # noqa: PLC0415 - where tiles are made

        tile = self.free[:size]  # still in the processor's cache
        self.checksum = int(deflate_crc32(tile, self.checksum))
        self._position += size
        self.length += size

    def last(self, size: int) -> NDArray[np.uint8]:
        """Give the bytes that were taken last."""
        return self._buffer[self._position - size : self._position]

    def end_run(self) -> None:
        """Say that the tiles since the last call stand together in the file."""
        if self._parking is not None:
            self._parking.add(self._buffer[: self._position])
            self._position = 0

    def finish(self) -> EncodedBytes:
        """Give the bytes of all runs."""
        if self._parking is not None:
            return self._parking.finish()
        _return_unused(self._memory, self._position)
        data = self._buffer[: self._position]
        if not self._counts:
            return EncodedBytes.keep(data)
        LEDGER.settle(self._bound, self._taken, self.length)
        self._taken = 0
        return EncodedBytes.held(data)


class _Memory:
    """Memory of rooms, used again: fresh pages cost more than writing to them.

    No more pieces are kept free than are in use, since all rooms of a row of chunks
    come back together; the rest goes back to the system, and in the end all of it.
    """

    def __init__(self) -> None:
        # a finalizer may give back while the same thread takes
        self._lock = threading.RLock()
        self._free: list[mmap.mmap] = []
        self._used = 0

    def take(self, size: int) -> tuple[mmap.mmap, NDArray[np.uint8]]:
        """Give memory, and its arbitrary bytes; it comes back when they are let go."""
        with self._lock:
            fitting = (each for each in self._free if len(each) == size)
            memory = next(fitting, None)
            if memory is None:
                memory = _mapped(size)
            else:
                self._free = [each for each in self._free if each is not memory]
            self._used += 1
        array = np.frombuffer(memory, dtype=np.uint8)
        weakref.finalize(array, self._give_back, memory)
        return memory, array

    def _give_back(self, memory: mmap.mmap) -> None:
        with self._lock:
            self._used -= 1
            kept = [*self._free, memory]
            self._free = kept[max(0, len(kept) - self._used) :]


_MEMORY = _Memory()
"""Of this process."""


def _return_unused(memory: mmap.mmap, used: int) -> None:
    """Give the pages behind the used bytes back, also those of a huge page."""
    start = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED") and start < len(memory):
        with suppress(OSError):  # the process has locked its memory
            memory.madvise(mmap.MADV_DONTNEED, start)


def _mapped(size: int) -> mmap.mmap:
    """Map memory of this process alone, in huge pages where Linux has them.

    Pages that stay unused cost nothing. Python's default is memory shared with
    children: slower, and in small pages.
    """
    own = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
    memory = mmap.mmap(-1, size, **({"flags": own} if own else {}))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # the kernel is built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
