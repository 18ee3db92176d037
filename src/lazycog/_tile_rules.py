"""Rules about single tiles: inside the file, in order, apart, framed as claimed.

Sources are cited as in `_structure_rules`. A message names the first wrong tile of a
level.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lazycog._report import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lazycog._report import Finding
    from lazycog._structure import Level, RangeReader, Structure, Tiles

FRAME_BYTES = 4
"""Length of a leader and of a trailer (GDAL COG driver, "Header ghost area")."""
BLOCK_BYTES = 2**23
"""Longest read when leaders and trailers are checked."""
BATCH_TILES = 2**16
"""Tiles whose leaders and trailers are held in memory together."""


def _total(count: int) -> str:
    return f" ({count} tiles are wrong)" if count > 1 else ""


def _per_level(
    file: Structure, wrong: NDArray[np.bool_]
) -> Iterator[tuple[Level, int, str]]:
    """Level, index into the stored tiles and total of its first wrong tile."""
    for index in np.unique(file.tiles.level[wrong]):
        tiles = np.flatnonzero(wrong & (file.tiles.level == index))
        first = int(tiles[file.tiles.number[tiles].argmin()])
        yield file.levels[index], first, _total(tiles.size)


def tiles_inside(file: Structure) -> Iterator[Finding]:
    """TIFF 6.0 §2: every tile, with its trailer, ends inside the file."""
    tiles, trailer = file.tiles, file.ghost.trailer_bytes
    for level, tile, total in _per_level(file, tiles.stop + trailer > file.size):
        yield error(
            f"the file is truncated: {level.tile_name(int(tiles.number[tile]))} ends "
            f"at byte {tiles.stop[tile] + trailer}, the file at {file.size}{total}"
        )


def half_sparse(file: Structure) -> Iterator[Finding]:
    """GDAL: a sparse tile has offset 0 and byte count 0, both."""
    for level in file.levels:
        lost = (level.offsets == 0) & (level.byte_counts > 0)
        empty = (level.offsets > 0) & (level.byte_counts == 0)
        for report, wrong in ((error, lost), (warning, empty)):
            if wrong.any():
                tile = int(wrong.argmax())
                yield report(
                    f"{level.tile_name(tile)} has offset {level.offsets[tile]} and "
                    f"byte count {level.byte_counts[tile]}, a sparse tile should have "
                    f"0 in both{_total(int(wrong.sum()))}"
                )


def overlaps(file: Structure) -> Iterator[Finding]:
    """Lazycog: no byte belongs to two tiles, unless they are one, deduplicated tile."""
    tiles = file.tiles
    if tiles.start.size < 2:  # noqa: PLR2004 - a pair is needed
        return
    begin = tiles.start - file.ghost.leader_bytes
    end = np.maximum.accumulate(tiles.stop + file.ghost.trailer_bytes)
    wrong = np.zeros(begin.size, dtype=np.bool_)
    wrong[1:] = begin[1:] < end[:-1]
    same = (np.diff(tiles.start) == 0) & (np.diff(tiles.stop) == 0)
    if not file.ghost.row_major:
        wrong[1:] &= ~same
    for level, tile, total in _per_level(file, wrong):
        other = file.levels[tiles.level[tile - 1]]
        hint = " (shared tiles exclude BLOCK_ORDER)" if same[tile - 1] else ""
        yield error(
            f"{level.tile_name(int(tiles.number[tile]))} begins at byte {begin[tile]}, "
            f"should be at {end[tile - 1]} or behind: it overlaps "
            f"{other.tile_name(int(tiles.number[tile - 1]))}{hint}{total}"
        )


def leaders_and_trailers(file: Structure, read: RangeReader) -> Iterator[Finding]:
    """Ghost area, GDAL full check: each tile's size before it, its end again behind."""
    leader, trailer = file.ghost.leader_bytes, file.ghost.trailer_bytes
    if not leader and not trailer:
        return
    tiles = file.tiles
    inside = np.flatnonzero(
        (tiles.stop + trailer <= file.size) & (tiles.start >= FRAME_BYTES)
    )
    wrong_leader = np.zeros(tiles.start.size, dtype=np.bool_)
    wrong_trailer = wrong_leader.copy()
    for first in range(0, inside.size, BATCH_TILES):
        batch = inside[first : first + BATCH_TILES]
        heads, tails = _read_ends(read, tiles, batch)
        sizes = tiles.stop[batch] - tiles.start[batch]
        wrong_leader[batch] = heads[:, :4].copy().view("<u4")[:, 0] != sizes
        wrong_trailer[batch] = (tails[:, 4:] != _trailers(tails[:, :4], sizes)).any(1)
    for level, tile, total in _per_level(file, wrong_leader) if leader else ():
        found = int.from_bytes(read(int(tiles.start[tile]) - 4, 4), "little")
        yield error(
            f"{level.tile_name(int(tiles.number[tile]))} has leader {found}, should be "
            f"its size {tiles.stop[tile] - tiles.start[tile]}: "
            f"BLOCK_LEADER=SIZE_AS_UINT4 is claimed{total}"
        )
    for level, tile, total in _per_level(file, wrong_trailer) if trailer else ():
        yield error(
            f"{level.tile_name(int(tiles.number[tile]))} has trailer "
            f"{read(int(tiles.stop[tile]), 4).hex()}, should be its last 4 bytes "
            f"again: BLOCK_TRAILER=LAST_4_BYTES_REPEATED is claimed{total}"
        )


def _trailers(tails: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Build the trailers for the last 4 bytes of tiles; short ones end in zeros."""
    expected = tails.copy()
    for size in range(1, 4):
        short = sizes == size
        expected[short, :size] = tails[short, 4 - size :]
        expected[short, size:] = 0
    return expected


def _read_ends(
    read: RangeReader, tiles: Tiles, batch: NDArray[np.intp]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the 8 bytes from 4 before each tile, and those from 4 before its end."""
    positions = np.concatenate([tiles.start[batch], tiles.stop[batch]]) - FRAME_BYTES
    found = np.zeros((positions.size, 8), dtype=np.uint8)
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    blocks: NDArray[np.int64] = ordered // BLOCK_BYTES
    apart = np.diff(ordered) > read.gap_bytes
    cuts = np.flatnonzero(apart | (np.diff(blocks) > 0)) + 1
    for first, last in pairwise([0, *cuts.tolist(), ordered.size]):
        begin = int(ordered[first])
        length = int(ordered[last - 1]) + 8 - begin
        data = read(begin, min(length, read.size - begin)).ljust(length, b"\0")
        index = (ordered[first:last] - begin)[:, None] + np.arange(8)
        found[order[first:last]] = np.frombuffer(data, dtype=np.uint8)[index]
    return found[: batch.size], found[batch.size :]


def row_major(file: Structure) -> Iterator[Finding]:
    """Ghost area, GDAL full check: offsets ascend; a sparse tile resets the memory."""
    if not file.ghost.row_major:
        return
    masks = {image.index: mask for image, mask in file.mask_pairs()}
    for level in file.levels:
        offsets = level.offsets
        mask = masks.get(level.index) if file.ghost.mask_interleaved else None
        if mask is not None and mask.offsets.size == offsets.size:
            offsets = np.where(offsets > 0, offsets, mask.offsets)
        visit = np.arange(offsets.size)
        if file.interleave == "tile" and offsets.size == level.tile_count:
            visit = visit.reshape(level.planes, -1).T.ravel()
        visited = offsets[visit]
        back = np.flatnonzero((visited[1:] > 0) & (visited[1:] < visited[:-1])) + 1
        if back.size:
            first = back[0]
            yield error(
                f"{level.tile_name(int(visit[first]))} is at byte {visited[first]}, "
                f"should be behind the tile before it at {visited[first - 1]}: "
                f"BLOCK_ORDER=ROW_MAJOR is claimed{_total(back.size)}"
            )


def mask_interleaved(file: Structure) -> Iterator[Finding]:
    """Ghost area, GDAL full check: a mask tile stands right behind its image tile."""
    if not file.ghost.mask_interleaved or "INTERLEAVE" in file.ghost.claims:
        return
    frame = file.ghost.leader_bytes + file.ghost.trailer_bytes
    for image, mask in file.mask_pairs():
        if image.offsets.size != mask.offsets.size:
            continue  # _masks or _tile_counts has told it
        expected = image.offsets + image.byte_counts + frame
        wrong = np.flatnonzero(image.stored & mask.stored & (mask.offsets != expected))
        if wrong.size:
            first = int(wrong[0])
            yield error(
                f"{mask.tile_name(first)} is at byte {mask.offsets[first]}, should be "
                f"at {expected[first]}, right behind its image tile: "
                f"MASK_INTERLEAVED_WITH_IMAGERY=YES is claimed{_total(wrong.size)}"
            )
