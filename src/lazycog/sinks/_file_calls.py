"""System calls on open files, with what stands in where a file system lacks one."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COPY_BYTES = 64 * 2**20
"""Bytes per kernel-side copy, so that Ctrl-C is noticed between two of them."""
WRITE_RANGE = 0x2
"""SYNC_FILE_RANGE_WRITE (linux/fs.h): begin, but wait for nothing."""
INSERT_RANGE = 0x20
"""FALLOC_FL_INSERT_RANGE (linux/falloc.h)."""
UNSUPPORTED = frozenset(
    {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ETXTBSY}
)
"""What the kernel answers where a file system lacks an operation."""


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    """Open without creating: what is missing was lost or aborted."""
    file = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    try:
        yield file
    finally:
        os.close(file)


def write_all(file: int, data: bytes | memoryview, position: int) -> None:
    """Write all bytes: a system call may take fewer."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, position)
        view = view[written:]
        position += written


def start_writing_back(file: int, position: int, length: int) -> None:
    """Let the kernel begin to put bytes on disk, for which the commit would wait.

    Raises
    ------
    OSError
        The kernel can, and refused.
    """
    hint = _hint()
    if hint is None or hint(file, position, length, WRITE_RANGE) == 0:
        return
    code = ctypes.get_errno()
    if code not in UNSUPPORTED:
        raise OSError(code, os.strerror(code))


@functools.cache
def _hint() -> Callable[[int, int, int, int], int] | None:
    """Find sync_file_range, which Linux alone has."""
    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    found: Callable[[int, int, int, int], int] = function
    return found


def insert_range(file: int, length: int) -> bool:
    """Shift a file's content by `length` without rewriting it, where possible.

    Raises
    ------
    OSError
        The kernel can, and refused.
    """
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    except (AttributeError, OSError):  # not Linux
        return False
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if fallocate(file, INSERT_RANGE, 0, length) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code))


def copy(source: int, target: int, start: int, length: int, position: int) -> None:
    """Copy a range of a file to a position, inside the kernel where it can."""
    end = start + length
    while start < end:
        step = min(COPY_BYTES, end - start)
        try:
            copied = os.copy_file_range(source, target, step, start, position)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in UNSUPPORTED:
                raise
            data = os.pread(source, step, start)
            write_all(target, data, position)
            copied = len(data)
        if not copied:
            raise OSError(errno.EIO, "a temporary file ended early")
        start += copied
        position += copied
