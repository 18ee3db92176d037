"""The first rows of a chunk's tiles, which go to their place ahead of the others.

Positions are prefix sums. Those of a chunk's first row of tiles are known as soon as
the chunks to the left are encoded; the other rows wait for the whole row of chunks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lazycog.errors import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lazycog._encode import Run
    from lazycog._park import EncodedBytes
    from lazycog._parts import Section
    from lazycog.sinks.local import LocalSink


class FirstRows:
    """Encoded tiles of the first row of each level and plane, until they are written.

    Parameters
    ----------
    data : EncodedBytes or None
        The tiles; None once they are in the file.
    size : int
        Their bytes.
    starts : mapping of (level, plane) to int or None
        Where they were written, relative to their sections.
    """

    def __init__(
        self,
        data: EncodedBytes | None,
        size: int,
        starts: Mapping[Section, int] | None = None,
    ) -> None:
        self._data = data
        self._size = size
        self._starts = starts

    def __len__(self) -> int:
        return self._size

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return 128 + (0 if self._data is None else sys.getsizeof(self._data))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return FirstRows, (self._data, self._size, self._starts)

    def write(
        self, sink: LocalSink, runs: Sequence[Run], starts: Mapping[Section, int]
    ) -> None:
        """Write the tiles to their places and let go of them.

        A cluster may ask again, after it lost what came of it: they are there then.

        Raises
        ------
        SourceChangedError
            They were written elsewhere: the tiles to the left have other sizes now.
        """
        if self._data is None:
            if starts != self._starts:
                raise SourceChangedError("a chunk to the left of another")
            return
        for run in runs:
            if not run.tile_row:
                section = run.level, run.plane
                piece = self._data.read(run.start, run.stop)
                sink.write(section, [(starts[section], piece)])
        self._data, self._starts = None, starts
