"""Where the tiles of each row of chunks go, relative to their level and plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lazycog._share import SharedRow, framed, kept_pieces, share_row
from lazycog._statistics import merge
from lazycog.errors import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._encode import Run, Summary
    from lazycog._grid import Stage
    from lazycog._parts import Section
    from lazycog._plan import CogPlan
    from lazycog._share import Known


@dataclass(frozen=True)
class RowSummary:
    """Summaries of neighbouring chunks of a row, joined."""

    sizes: Mapping[int, NDArray[np.uint32]]
    """Level -> byte counts, shape (plane, tile row, tile col, tile of position)."""
    chunk_starts: Mapping[int, tuple[int, ...]]
    """Level -> first tile column of each chunk."""
    hashes: Mapping[int, NDArray[np.uint8]] | None
    checksums: tuple[int, ...]
    partials: NDArray[np.float64] | None
    """Statistics, shape (band, tile row, tile col, 5)."""
    firsts: tuple[Mapping[Section, int], ...] = ()
    """Per chunk, where its first rows of tiles were written, if ahead."""


@dataclass(frozen=True)
class RowPlacement:
    """Positions of all runs of a row of chunks, relative to their sections."""

    ends: Mapping[Section, int]
    """Section -> position behind this row's last tile."""
    starts: Mapping[int, NDArray[np.int64]]
    """Level -> position of each run, shape (plane, tile row, chunk)."""
    lengths: Mapping[int, NDArray[np.int64]]
    """Level -> bytes of each run, same shape."""
    sizes: Mapping[int, NDArray[np.uint32]]
    shared: SharedRow | None
    """Which tiles stand elsewhere, None unless tiles are shared."""
    checksums: tuple[int, ...]
    partials: NDArray[np.float64] | None
    """Statistics merged along each row of tiles, shape (band, tile row, 5)."""
    chunk_starts: Mapping[int, tuple[int, ...]]
    """Level -> first tile column of each chunk."""

    def tile_cols(self, level: int, col: int) -> slice:
        """Give the tile columns of a chunk."""
        starts = (*self.chunk_starts[level], self.sizes[level].shape[2])
        return slice(starts[col], starts[col + 1])


def join_summaries(summaries: Sequence[Summary]) -> RowSummary:
    """Join the summaries of neighbouring chunks, left to right."""
    starts = {}
    for level in summaries[0].sizes:
        widths = [summary.sizes[level].shape[2] for summary in summaries]
        starts[level] = tuple(int(each) for each in np.cumsum([0, *widths[:-1]]))
    checksums = tuple(summary.checksum for summary in summaries)
    firsts = tuple(summary.starts for summary in summaries)
    return _joined(summaries, starts, checksums, firsts)


def join_rows(parts: Sequence[RowSummary]) -> RowSummary:
    """Join the summaries of the groups of a row, left to right."""
    starts: dict[int, tuple[int, ...]] = {}
    for level in parts[0].sizes:
        shift, joined = 0, []
        for part in parts:
            joined += [shift + start for start in part.chunk_starts[level]]
            shift += part.sizes[level].shape[2]
        starts[level] = tuple(joined)
    checksums = tuple(each for part in parts for each in part.checksums)
    firsts = tuple(each for part in parts for each in part.firsts)
    return _joined(parts, starts, checksums, firsts)


def _joined(
    parts: Sequence[Summary] | Sequence[RowSummary],
    starts: Mapping[int, tuple[int, ...]],
    checksums: tuple[int, ...],
    firsts: tuple[Mapping[Section, int], ...],
) -> RowSummary:
    """Join what both kinds of summary have, along the tile columns."""
    levels = list(parts[0].sizes)
    hashes = [part.hashes for part in parts if part.hashes is not None]
    return RowSummary(
        sizes={
            level: np.concatenate([part.sizes[level] for part in parts], axis=2)
            for level in levels
        },
        chunk_starts=starts,
        hashes={
            level: np.concatenate([each[level] for each in hashes], axis=2)
            for level in levels
        }
        if hashes
        else None,
        checksums=checksums,
        partials=_concatenate([part.partials for part in parts]),
        firsts=firsts,
    )


def _concatenate(
    partials: Sequence[NDArray[np.float64] | None],
) -> NDArray[np.float64] | None:
    present = [each for each in partials if each is not None]
    return np.concatenate(present, axis=2) if present else None


def first_starts(
    above: Mapping[Section, int], left: Summary | None, first_plane: int, own: Summary
) -> dict[Section, int]:
    """Give where the first rows of a chunk's tiles go, as soon as that is known.

    Parameters
    ----------
    above : mapping of (level, plane) to int
        Where the rows above end; a missing section starts at 0.
    left : Summary or None
        Of the chunk to the left, None for the first of a row.
    first_plane : int
        Plane of the first band of this group of bands.
    own : Summary
        Of the chunk.

    Returns
    -------
    dict of (level, plane) to int
        Relative to the sections; none for a level that has no tiles here.
    """
    found = {}
    for level, sizes in own.sizes.items():
        for plane in range(sizes.shape[0] if sizes.shape[1] else 0):
            section = level, first_plane + plane
            if left is None:
                found[section] = above.get(section, 0)
            else:
                run = framed(left.sizes[level][plane, 0])
                found[section] = left.starts[section] + int(run.sum())
    return found


def place_row(
    previous: Mapping[Section, int],
    parts: Sequence[RowSummary],
    first_plane: int,
    known: Known | None = None,
) -> RowPlacement:
    """Give every run of a row of chunks its position.

    Parameters
    ----------
    previous : mapping of (level, plane) to int
        Where the rows above end; a missing section starts at 0.
    parts : sequence of RowSummary
        The row's chunks, left to right.
    first_plane : int
        Plane of the first band of this group of bands.
    known : mapping or None
        Tiles of the rows above, None unless tiles are shared.

    Returns
    -------
    RowPlacement
        Positions are prefix sums of byte counts, so they depend on nothing else.

    Raises
    ------
    SourceChangedError
        First rows of tiles were written elsewhere.
    """
    row = join_rows(parts)
    shared = None
    if row.hashes is not None:
        shared = share_row(row.sizes, row.hashes, first_plane, known or {})
    ends: dict[Section, int] = {}
    starts: dict[int, NDArray[np.int64]] = {}
    lengths: dict[int, NDArray[np.int64]] = {}
    for level, sizes in row.sizes.items():
        planes, tile_rows, tile_cols, _ = sizes.shape
        widths = framed(sizes)
        if shared is not None:
            widths = np.where(shared.kept[level], widths, 0)
        widths = widths.sum(axis=3)
        edges = [*row.chunk_starts[level], tile_cols]
        sums = np.zeros((planes, tile_rows, tile_cols + 1), np.int64)
        np.cumsum(widths, axis=2, out=sums[:, :, 1:])
        chunk_bytes = np.diff(sums[:, :, edges], axis=2)
        flat = chunk_bytes.reshape(planes, -1)
        totals = np.cumsum(flat, axis=1)
        for plane in range(planes):
            begin = previous.get((level, first_plane + plane), 0)
            totals[plane] += begin
            last = int(totals[plane, -1]) if flat.shape[1] else begin
            ends[level, first_plane + plane] = last
        starts[level] = (totals - flat).reshape(chunk_bytes.shape)
        lengths[level] = chunk_bytes
    for col, first in enumerate(row.firsts):
        for (level, plane), start in first.items():
            if start != starts[level][plane - first_plane, 0, col]:
                raise SourceChangedError(f"a chunk to the left of chunk {col} of a row")
    return RowPlacement(
        ends,
        starts,
        lengths,
        row.sizes,
        shared,
        row.checksums,
        _merge_tile_rows(row.partials),
        row.chunk_starts,
    )


def check_one_run(
    plan: CogPlan,
    placements: Sequence[RowPlacement],
    written: Sequence[tuple[int, ...]],
) -> None:
    """Check that positions and written runs stem from the same pixels.

    A cluster computes again what a lost worker held, and only that: where the source
    gives other pixels then, rows would stand beside their positions.

    Parameters
    ----------
    plan : CogPlan
        The plan.
    placements : sequence of RowPlacement
        Every row of chunks: stage by stage, group by group, top to bottom.
    written : sequence of tuple of int
        Checksums of the runs that were written, in the same order.

    Raises
    ------
    SourceChangedError
        A chunk was computed twice and gave different pixels.
    """
    rows = zip(placements, written, strict=True)
    for stage in plan.stages:
        for group in range(stage.groups):
            first_plane = stage.bands(group).start if plan.encoding.planes else 0
            above: Mapping[Section, int] = {}
            for row in range(stage.chunk_rows):
                placement, checksums = next(rows)
                begins = {
                    (level, plane): end
                    - int(placement.lengths[level][plane - first_plane].sum())
                    for (level, plane), end in placement.ends.items()
                }
                follows = all(begins[each] == above.get(each, 0) for each in begins)
                if not follows or checksums != placement.checksums:
                    raise SourceChangedError(
                        f"a chunk in row {row} of stage {stage.index}"
                    )
                above = placement.ends


def _merge_tile_rows(
    partials: NDArray[np.float64] | None,
) -> NDArray[np.float64] | None:
    if partials is None:
        return None
    rows = [merge(partials[:, row]) for row in range(partials.shape[1])]
    return np.stack(rows, axis=1)


def run_pieces(
    placement: RowPlacement, run: Run, first_plane: int, cols: slice
) -> list[tuple[int, int]]:
    """Give (start, stop) of the pieces of a run that are written, within the run.

    All of it, unless some of its tiles stand elsewhere; `cols` are its tile columns.
    """
    where = (run.plane - first_plane, run.tile_row, cols)
    widths = framed(placement.sizes[run.level][where]).ravel()
    if placement.shared is None:
        return [(0, int(widths.sum()))]
    kept = placement.shared.kept[run.level][where].ravel()
    return kept_pieces(widths, kept)


def run_positions(
    placement: RowPlacement, stage: Stage, first_plane: int, col: int
) -> dict[tuple[int, int, int], tuple[int, int]]:
    """Give (position, length) of each run of a chunk, by (level, plane, tile row)."""
    positions = {}
    for level in stage.levels:
        starts = placement.starts[level.index][:, :, col]
        lengths = placement.lengths[level.index][:, :, col]
        for plane, tile_row in np.ndindex(*starts.shape):
            key = (level.index, first_plane + plane, tile_row)
            positions[key] = (
                int(starts[plane, tile_row]),
                int(lengths[plane, tile_row]),
            )
    return positions
