"""A range of a file, which the kernel can copy without showing it to anybody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileRange:
    """Bytes from `start` up to `stop` of a file."""

    path: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start
