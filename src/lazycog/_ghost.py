"""The ghost area between the header of a TIFF file and its first IFD.

References are to the GDAL COG driver documentation, "Header ghost area".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lazycog._tiff import GHOST_FIRST_LINE

if TYPE_CHECKING:
    from lazycog._structure import RangeReader


@dataclass(frozen=True)
class Ghost:
    """The ghost area: what the writer claims about the order of bytes."""

    offset: int
    """Where it stands or would stand: right behind the file header."""
    first_line: str = ""
    """Empty when the file has no ghost area."""
    length: int | None = None
    """Declared bytes behind the first line; None when that line is malformed."""
    lines: tuple[str, ...] = ()
    """The lines behind the first one, without surrounding blanks."""

    @property
    def present(self) -> bool:
        """A well-formed ghost area is there."""
        return self.length is not None

    @property
    def end(self) -> int:
        """Even position behind the ghost area, where the first IFD should be."""
        if self.length is None:
            return self.offset
        end = self.offset + len(self.first_line) + self.length
        return end + end % 2

    @cached_property
    def claims(self) -> dict[str, str]:
        """Key and value of every line that has both."""
        pairs = [line.partition("=") for line in self.lines]
        return {key: value for key, separator, value in pairs if separator}

    @property
    def ifds_first(self) -> bool:
        """All IFDs and their arrays come before the data."""
        return self.claims.get("LAYOUT") == "IFDS_BEFORE_DATA"

    @property
    def row_major(self) -> bool:
        """Tiles of a level are stored in row-major order."""
        return self.claims.get("BLOCK_ORDER") == "ROW_MAJOR"

    @property
    def leader_bytes(self) -> int:
        """Bytes before each tile that hold its size."""
        return 4 * (self.claims.get("BLOCK_LEADER") == "SIZE_AS_UINT4")

    @property
    def trailer_bytes(self) -> int:
        """Bytes behind each tile that repeat its last ones."""
        return 4 * (self.claims.get("BLOCK_TRAILER") == "LAST_4_BYTES_REPEATED")

    @property
    def mask_interleaved(self) -> bool:
        """Each mask tile follows its image tile."""
        return self.claims.get("MASK_INTERLEAVED_WITH_IMAGERY") == "YES"


def read_ghost(read: RangeReader, *, big: bool) -> Ghost:
    """Read the ghost area behind the file header, if there is one."""
    offset = 16 if big else 8
    zero_line = GHOST_FIRST_LINE.format(0)
    prefix = zero_line.partition("=")[0]
    line = read(offset, len(zero_line)).decode("latin-1")
    if not line.startswith(prefix):
        return Ghost(offset)
    shape = re.fullmatch(prefix + r"=(\d{6}) bytes\n", line, re.ASCII)
    if shape is None:
        return Ghost(offset, line)
    length = int(shape[1])
    available = min(length, max(0, read.size - offset - len(line)))
    text = read(offset + len(line), available).decode("latin-1")
    lines = tuple(filter(None, (part.strip() for part in text.split("\n"))))
    return Ghost(offset, line, length, lines)
