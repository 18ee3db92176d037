"""Store identical tiles once: which tile is written, and where the others point.

Within a section (level, plane) a tile is left out where an earlier one is its equal:
earlier in the file's order, so that the choice depends on nothing else. Across sections
the choice is made at the commit, where all sizes are known: then the full resolution
keeps its tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lazycog._plan import LEADER_BYTES, TRAILER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Section: TypeAlias = tuple[int, int]
"""(level, plane)."""
Known: TypeAlias = "Mapping[Section, frozenset[bytes]]"
"""Section -> hashes of the tiles that the rows above have written."""


def framed(sizes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Give what tiles take in the file, with leader and trailer.

    Nothing for a tile that is left out.

    Examples
    --------
    >>> framed(np.array([10, 0], np.uint32))
    array([18,  0])
    """
    return np.where(sizes > 0, sizes.astype(np.int64) + LEADER_BYTES + TRAILER_BYTES, 0)


@dataclass(frozen=True)
class SharedRow:
    """Which tiles of a row of chunks are written."""

    kept: Mapping[int, NDArray[np.bool_]]
    """Level -> whether each tile is written, of the shape of its sizes."""
    hashes: Mapping[int, NDArray[np.uint8]]
    """Level -> hash of each tile."""
    first_plane: int

    def join(self, known: Known) -> Known:
        """Add what this row writes to what the rows above have written."""
        joined = dict(known)
        for level, kept in self.kept.items():
            for plane in range(kept.shape[0]):
                section = (level, self.first_plane + plane)
                own = self.hashes[level][plane][kept[plane]]
                new = {each.tobytes() for each in own}
                joined[section] = joined.get(section, frozenset()) | new
        return joined


def share_row(
    sizes: Mapping[int, NDArray[np.uint32]],
    hashes: Mapping[int, NDArray[np.uint8]],
    first_plane: int,
    known: Known,
) -> SharedRow:
    """Decide which tiles of a row of chunks are written.

    Parameters
    ----------
    sizes, hashes : mapping of int to ndarray
        Level -> byte counts (plane, tile row, tile col, tile of position), and hashes.
    first_plane : int
        Plane of the first band of this group of bands.
    known : mapping
        What the rows above have written.

    Returns
    -------
    SharedRow
        A tile is written where no earlier one of its section is its equal.
    """
    kept = {}
    for level, counts in sizes.items():
        flags = np.zeros(counts.shape, np.bool_)
        for plane in range(counts.shape[0]):
            seen = set(known.get((level, first_plane + plane), ()))
            for index in zip(*np.nonzero(counts[plane]), strict=True):
                digest = hashes[level][(plane, *index)].tobytes()
                flags[(plane, *index)] = digest not in seen
                seen.add(digest)
        kept[level] = flags
    return SharedRow(kept, hashes, first_plane)


@dataclass(frozen=True)
class SharedFile:
    """Which tiles of a file are its own, and which point at another."""

    sizes: Sequence[NDArray[np.uint32]]
    written: Sequence[NDArray[np.bool_]]
    """Level -> whether a tile stands in what was written of its section."""
    hashes: Sequence[NDArray[np.uint8]]
    kept: Mapping[Section, NDArray[np.bool_]]
    """Section -> whether a tile stands in the file, in the order of the file."""

    @property
    def lengths(self) -> Mapping[Section, int]:
        """How much was written of each section."""
        return {section: int(self._widths(section).sum()) for section in self.kept}

    def _widths(self, section: Section) -> NDArray[np.int64]:
        level, plane = section
        widths = framed(self.sizes[level][plane])
        return np.where(self.written[level][plane], widths, 0).ravel()

    def pieces(self, section: Section) -> list[tuple[int, int]]:
        """Give (start, length) of what stays of a section, as it was written."""
        spans = kept_pieces(self._widths(section), self.kept[section])
        return [(start, stop - start) for start, stop in spans]

    def fill(self, offsets: Sequence[NDArray[np.int64]]) -> None:
        """Let tiles that are not in the file point at their equals."""
        place: dict[bytes, int] = {}
        for (level, plane), kept in self.kept.items():
            own = offsets[level][plane].ravel()[kept]
            for digest, offset in zip(
                self._digests(level, plane)[kept], own, strict=True
            ):
                place[digest.tobytes()] = int(offset)
        for (level, plane), kept in self.kept.items():
            flat = offsets[level][plane].reshape(-1)
            digests = self._digests(level, plane)
            missing = ~kept & (self.sizes[level][plane].ravel() > 0)
            for index in np.flatnonzero(missing):
                flat[index] = place[digests[index].tobytes()]

    def _digests(self, level: int, plane: int) -> NDArray[np.uint8]:
        digests: NDArray[np.uint8] = self.hashes[level][plane]
        return digests.reshape(-1, digests.shape[-1])


def share_file(
    sizes: Sequence[NDArray[np.uint32]],
    written: Sequence[NDArray[np.bool_]],
    hashes: Sequence[NDArray[np.uint8]],
) -> SharedFile:
    """Decide which tiles of a file stay, once all are known.

    Parameters
    ----------
    sizes, written, hashes : sequence of ndarray
        Per level: byte counts (plane, tile row, tile col, tile of position), whether a
        tile was written, and its hash.

    Returns
    -------
    SharedFile
        The last section of the file keeps all its tiles; an earlier one those that no
        later section has.
    """
    seen: set[bytes] = set()
    kept: dict[Section, NDArray[np.bool_]] = {}
    for level, counts in enumerate(sizes):
        for plane in reversed(range(counts.shape[0])):
            flags = written[level][plane].ravel().copy()
            digests = hashes[level][plane].reshape(-1, hashes[level].shape[-1])
            for index in np.flatnonzero(flags):
                digest = digests[index].tobytes()
                flags[index] = digest not in seen
                seen.add(digest)
            kept[level, plane] = flags
    return SharedFile(sizes, written, hashes, kept)


def kept_pieces(
    widths: NDArray[np.int64], kept: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Join neighbouring tiles that are kept.

    Examples
    --------
    >>> kept_pieces(np.array([5, 5, 7, 9]), np.array([True, True, False, True]))
    [(0, 10), (17, 26)]
    """
    ends = np.cumsum(widths)
    pieces: list[tuple[int, int]] = []
    for index in np.flatnonzero(kept & (widths > 0)):
        start, stop = int(ends[index] - widths[index]), int(ends[index])
        if pieces and pieces[-1][1] == start:
            pieces[-1] = (pieces[-1][0], stop)
        else:
            pieces.append((start, stop))
    return pieces
