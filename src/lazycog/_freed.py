"""Freed memory that the C library keeps: it goes back to the system in time."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_BYTES = 64 * 2**20
"""Growth of the process from which on freed memory goes back.

Memory that went back is cleared page by page when it is used again: 4 % of the time
of a write, where it went back after each chunk.
"""
RESIDENT = Path("/proc/self/statm")
"""Its second number is the pages in memory (man 5 proc_pid_statm)."""


class Freed:
    """Watches how the process grows.

    glibc keeps up to 64 MiB per thread that has ever allocated, and a store that reads
    with its own threads has many: half of the peak on 2 threads, as measured.

    Parameters
    ----------
    trim : callable, optional
        Gives freed pages back to the system; without it nothing is done.
    resident : callable
        Gives the bytes of the process that are in memory.
    """

    def __init__(
        self, trim: Callable[[], object] | None, resident: Callable[[], int]
    ) -> None:
        self._trim = trim
        self._resident = resident
        self._least = 0

    def give_back(self) -> None:
        """Give freed pages back when the process has grown since it was least."""
        if self._trim is None:
            return
        size = self._resident()
        if size > self._least + KEPT_BYTES:
            self._trim()
            self._least = self._resident()
        else:
            self._least = min(self._least, size)


def _trim() -> Callable[[], object] | None:
    """Find the C library's function for it, which glibc has."""
    if not RESIDENT.exists():  # macOS, or a jail
        return None
    try:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows
        return None
    return None if trim is None else lambda: trim(0)


def _resident() -> int:
    return int(RESIDENT.read_bytes().split()[1]) * mmap.PAGESIZE


FREED = Freed(_trim(), _resident)
