"""From the sizes of all tiles to the file: its header, and where every section goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from lazycog._encode import HASH_BYTES
from lazycog._header import HeaderDraft, ifd_order
from lazycog._plan import LEADER_BYTES
from lazycog._share import SharedFile, framed, share_file
from lazycog._statistics import BandStatistics, merge
from lazycog._tiff import MAX_CLASSIC_BYTES, Format
from lazycog.errors import CapacityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from lazycog._georef import BandInfo, DescriptiveEntries
    from lazycog._layout import RowPlacement
    from lazycog._parts import Section
    from lazycog._plan import CogPlan
    from lazycog._share import SharedRow


@dataclass(frozen=True)
class Extent:
    """A section's place in the file."""

    section: Section
    offset: int
    length: int
    start: int = 0
    """Where it starts in what was written of the section."""
    section_length: int = 0
    """How much was written of the section."""


@dataclass(frozen=True)
class FileLayout:
    """The header and where every section goes."""

    header: bytes
    extents: tuple[Extent, ...]
    """In the order of the file: smallest overview first, full resolution last."""
    size: int
    """Length of the file in bytes."""
    bigtiff: bool
    statistics: tuple[BandStatistics | None, ...]
    level_bytes: tuple[int, ...]
    """Encoded bytes of each level, full resolution first."""


def assemble(plan: CogPlan, placements: Sequence[RowPlacement]) -> FileLayout:
    """Compute the header of the file from the sizes of all tiles.

    Parameters
    ----------
    plan : CogPlan
        The plan.
    placements : sequence of RowPlacement
        Every row of chunks: stage by stage, group by group, top to bottom.

    Returns
    -------
    FileLayout
        The same for any order of tasks, chunking and destination.

    Raises
    ------
    CapacityError
        ``bigtiff=False``, and the file is too large for a classic TIFF.
    """
    sizes = _tile_sizes(plan, placements)
    shared = _shared_tiles(plan, placements, sizes)
    statistics = _statistics(plan, placements)
    entries = _with_statistics(plan, statistics).entries()
    layout = None
    if plan.bigtiff is not True:
        layout = _assemble(plan, sizes, shared, entries, Format(big=False))
        if layout is None and plan.bigtiff is False:
            raise CapacityError(
                "bigtiff=False: the encoded file is larger than the "
                f"{MAX_CLASSIC_BYTES} bytes of a classic TIFF; use bigtiff='auto' or "
                "a stronger compress="
            )
    if layout is None:
        layout = _assemble(plan, sizes, shared, entries, Format(big=True))
    # 64-bit offsets hold every file, so there is one
    return replace(cast("FileLayout", layout), statistics=statistics)


def _tile_sizes(
    plan: CogPlan, placements: Sequence[RowPlacement]
) -> list[NDArray[np.uint32]]:
    """Put the byte counts of all rows of chunks into one array per level."""
    sizes = [np.zeros(plan.entry_shape(level), np.uint32) for level in plan.levels]
    for level, where, placement in _rows_of_tiles(plan, placements):
        sizes[level][where] = placement.sizes[level]
    return sizes


def _shared_tiles(
    plan: CogPlan,
    placements: Sequence[RowPlacement],
    sizes: Sequence[NDArray[np.uint32]],
) -> SharedFile | None:
    """Find the tiles that stand elsewhere in the file, None unless they may."""
    if not plan.encoding.deduplicate:
        return None
    written = [np.zeros(each.shape, np.bool_) for each in sizes]
    hashes = [np.zeros((*each.shape, HASH_BYTES), np.uint8) for each in sizes]
    for level, where, placement in _rows_of_tiles(plan, placements):
        row = cast("SharedRow", placement.shared)  # deduplicate makes it
        written[level][where] = row.kept[level]
        hashes[level][where] = row.hashes[level]
    return share_file(sizes, written, hashes)


def _rows_of_tiles(
    plan: CogPlan, placements: Sequence[RowPlacement]
) -> Iterator[tuple[int, tuple[slice, slice], RowPlacement]]:
    """Give level, planes and tile rows of each row of chunks."""
    remaining = iter(placements)
    for stage in plan.stages:
        for group, row in np.ndindex(stage.groups, stage.chunk_rows):
            first_plane = stage.bands(group).start if plan.encoding.planes else 0
            placement = next(remaining)
            for step, level in enumerate(stage.levels):
                planes, rows = placement.sizes[level.index].shape[:2]
                top = stage.axis_chunk(0, row).own[step].start // level.tile_size
                where = (
                    slice(first_plane, first_plane + planes),
                    slice(top, top + rows),
                )
                yield level.index, where, placement


def _statistics(
    plan: CogPlan, placements: Sequence[RowPlacement]
) -> tuple[BandStatistics | None, ...]:
    """Merge the partials of all rows of tiles, top to bottom."""
    if not plan.encoding.statistics:
        return (None,) * plan.count
    stage = plan.stages[0]
    result: list[BandStatistics | None] = []
    for group in range(stage.groups):
        rows = placements[group * stage.chunk_rows : (group + 1) * stage.chunk_rows]
        partials = [row.partials for row in rows if row.partials is not None]
        merged = merge(np.concatenate(partials, axis=1))
        result += [
            BandStatistics.from_partial(band, plan.height * plan.width)
            for band in merged
        ]
    return tuple(result)


def _with_statistics(
    plan: CogPlan, statistics: Sequence[BandStatistics | None]
) -> CogPlan:
    """Add statistics to the tags of the bands."""

    def tagged(band: BandInfo, found: BandStatistics | None) -> BandInfo:
        return replace(band, tags={**band.tags, **found.tags}) if found else band

    bands = tuple(map(tagged, plan.description.bands, statistics))
    return replace(plan, description=replace(plan.description, bands=bands))


def _assemble(
    plan: CogPlan,
    sizes: Sequence[NDArray[np.uint32]],
    shared: SharedFile | None,
    descriptive: DescriptiveEntries,
    form: Format,
) -> FileLayout | None:
    """Lay the file out; None when its offsets outgrow the format."""
    header = HeaderDraft.of(plan, descriptive, form)
    extents: list[Extent] = []
    offsets: list[NDArray[np.int64]] = []
    position = header.length
    for level in reversed(plan.levels):
        if level.index == 0:
            position += -position % plan.alignment
        level_bytes = int(framed(sizes[level.index]).sum())
        position = _aligned(plan, position, level_bytes)
        level_offsets = np.empty(sizes[level.index].shape, np.int64)
        for plane, plane_sizes in enumerate(sizes[level.index]):
            section = (level.index, plane)
            widths = framed(plane_sizes.ravel())
            if shared is not None:
                widths = np.where(shared.kept[section], widths, 0)
            position = _aligned(plan, position, int(widths.sum()))
            ends = position + np.cumsum(widths)
            starts = np.where(widths > 0, ends - widths + LEADER_BYTES, 0)
            level_offsets[plane] = starts.reshape(plane_sizes.shape)
            length = int(ends[-1]) - position
            if shared is None:
                extents.append(Extent(section, position, length, 0, length))
            else:
                extents += _pieces(section, position, shared)
            position = int(ends[-1])
        offsets.insert(0, level_offsets)
    if not form.big and position > MAX_CLASSIC_BYTES:
        return None
    if shared is not None:
        shared.fill(offsets)
    return FileLayout(
        header=header.encode(
            _ifd_values(plan, offsets),
            _ifd_values(plan, sizes),
        ),
        extents=tuple(extents),
        size=position,
        bigtiff=form.big,
        statistics=(),
        level_bytes=tuple(
            sum(each.length for each in extents if each.section[0] == level.index)
            for level in plan.levels
        ),
    )


def _pieces(section: Section, position: int, shared: SharedFile) -> list[Extent]:
    """Give the pieces of a section that stay in the file."""
    pieces = []
    total = shared.lengths[section]
    for start, length in shared.pieces(section):
        pieces.append(Extent(section, position, length, start, total))
        position += length
    return pieces or [Extent(section, position, 0, 0, total)]


def _ifd_values(
    plan: CogPlan, levels: Sequence[NDArray[np.integer]]
) -> list[NDArray[np.integer]]:
    """Give the tile values of each directory, in the order of the directories."""
    values = []
    for index, is_mask in ifd_order(plan):
        every = levels[index]
        if not plan.encoding.masked:
            own = every
        elif plan.encoding.planes:
            own = every[-1:] if is_mask else every[:-1]
        else:
            own = every[..., -1:] if is_mask else every[..., :-1]
        values.append(_file_order(own))
    return values


def _aligned(plan: CogPlan, position: int, length: int) -> int:
    """Give where a level or section starts: equal parts may want a gap before it."""
    return plan.parts.start(position, length) if plan.parts else position


def _file_order(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Order tile values as the tags want them: plane by plane, row-major."""
    planes, rows, cols, per_position = values.shape
    if per_position > 1:
        values = values.transpose(0, 3, 1, 2)
    return values.reshape(planes * per_position * rows * cols)
