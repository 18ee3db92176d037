"""Where every byte goes: positions of runs, then the header with all offsets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from lazycog._encode import HASH_BYTES
from lazycog._encoding import MASK_BITS
from lazycog._plan import LEADER_BYTES
from lazycog._share import (
    SharedFile,
    SharedRow,
    framed,
    kept_pieces,
    share_file,
    share_row,
)
from lazycog._statistics import BandStatistics, merge
from lazycog._tiff import (
    MAX_CLASSIC_BYTES,
    REDUCED_RESOLUTION,
    TRANSPARENCY_MASK,
    Entry,
    FieldType,
    Format,
    Tag,
    ghost_area,
)
from lazycog.errors import CapacityError, SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._encode import Run, Summary
    from lazycog._georef import BandInfo, DescriptiveEntries
    from lazycog._grid import Level, Stage
    from lazycog._plan import CogPlan
    from lazycog._share import Known

Section = tuple[int, int]
"""(level, plane): tiles that follow each other in the file, row-major."""


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
    return _joined(summaries, starts, checksums)


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
    return _joined(parts, starts, checksums)


def _joined(
    parts: Sequence[Summary] | Sequence[RowSummary],
    starts: Mapping[int, tuple[int, ...]],
    checksums: tuple[int, ...],
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
    )


def _concatenate(
    partials: Sequence[NDArray[np.float64] | None],
) -> NDArray[np.float64] | None:
    present = [each for each in partials if each is not None]
    return np.concatenate(present, axis=2) if present else None


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
                        f"a chunk in row {row} of stage {stage.index} was computed "
                        "twice and gave different pixels, so nothing was written; make "
                        "the source deterministic (seed it), or persist it first"
                    )
                above = placement.ends


def _merge_tile_rows(
    partials: NDArray[np.float64] | None,
) -> NDArray[np.float64] | None:
    if partials is None:
        return None
    rows = [merge(partials[:, row]) for row in range(partials.shape[1])]
    return np.stack(rows, axis=1)


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
    shared = _shared_tiles(plan, placements)
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
    plan: CogPlan, placements: Sequence[RowPlacement]
) -> SharedFile | None:
    """Find the tiles that stand elsewhere in the file, None unless they may."""
    if not plan.encoding.deduplicate:
        return None
    shapes = [plan.entry_shape(level) for level in plan.levels]
    sizes = _tile_sizes(plan, placements)
    written = [np.zeros(shape, np.bool_) for shape in shapes]
    hashes = [np.zeros((*shape, HASH_BYTES), np.uint8) for shape in shapes]
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
    header = _HeaderDraft.of(plan, descriptive, form)
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


def ifd_order(plan: CogPlan) -> list[tuple[int, bool]]:
    """Give (level, whether it is the mask) of each directory, as GDAL chains them."""
    first, *overviews = range(len(plan.levels))
    if not plan.encoding.masked:
        return [(each, False) for each in (first, *overviews)]
    return [
        (first, False),
        (first, True),
        *((each, False) for each in overviews),
        *((each, True) for each in overviews),
    ]


def _aligned(plan: CogPlan, position: int, length: int) -> int:
    """Give where a level or section starts: equal parts may want a gap before it."""
    return plan.parts.start(position, length) if plan.parts else position


def _file_order(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Order tile values as the tags want them: plane by plane, row-major."""
    planes, rows, cols, per_position = values.shape
    if per_position > 1:
        values = values.transpose(0, 3, 1, 2)
    return values.reshape(planes * per_position * rows * cols)


SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}
"""SampleFormat by NumPy's kind (TIFF 6.0 §19; 6 is libtiff's complex IEEE)."""
SHORT_COUNT_LIMIT = 0xFFFF
LONG_COUNT_LIMIT = 0xFFFFFFFF
WORST_EXPANSION = 10
"""libtiff assumes that a codec expands a tile tenfold at worst (tif_dirwrite.c,
_WriteAsType)."""


@dataclass(frozen=True)
class _IfdDraft:
    """A directory with the values that do not depend on tile sizes."""

    entries: tuple[Entry, ...]
    """Without TileOffsets and TileByteCounts, in the order of out-of-line values."""
    tile_count: int
    offset: int
    value_offsets: Mapping[int, int]
    offsets_type: FieldType
    counts_type: FieldType


@dataclass(frozen=True)
class _HeaderDraft:
    """The header but for the numbers in TileOffsets and TileByteCounts."""

    form: Format
    ghost: bytes
    ifds: tuple[_IfdDraft, ...]
    array_offsets: tuple[tuple[int, int], ...]
    """Positions of TileOffsets and TileByteCounts of each IFD."""
    length: int

    @classmethod
    def of(
        cls, plan: CogPlan, descriptive: DescriptiveEntries, form: Format
    ) -> _HeaderDraft:
        """Fix the position of every directory and array."""
        encoding = plan.encoding
        ghost = ghost_area(
            interleave=encoding.interleave,
            # where tiles are shared, none need follow another
            block_order=not encoding.deduplicate,
            mask_interleaved=encoding.masked
            and encoding.interleave == "pixel"
            and not encoding.deduplicate,
        )
        position = _even(form.ghost_offset + len(ghost))
        ifds = []
        order = ifd_order(plan)
        for index, is_mask in order:
            level = plan.levels[index]
            entries = _mask_entries(level)
            if not is_mask:
                described = descriptive.overview if index else descriptive.image
                entries = [*_structural(plan, level), *described]
            ifd, position = _draft_ifd(
                plan, level, entries, form, position, is_mask=is_mask
            )
            ifds.append(ifd)
        pairs: dict[int, tuple[int, int]] = {}
        # GDAL puts the arrays of a level next to those of its mask
        for number in sorted(range(len(order)), key=lambda each: order[each]):
            ifd = ifds[number]
            pair = []
            for kind in (ifd.offsets_type, ifd.counts_type):
                pair.append(position)
                length = ifd.tile_count * _width(kind)
                if length > form.inline_bytes:
                    # libtiff appends the arrays as they come, unaligned
                    position += length
            pairs[number] = (pair[0], pair[1])
        arrays = tuple(pairs[number] for number in range(len(ifds)))
        return cls(form, ghost, tuple(ifds), arrays, position)

    def encode(
        self,
        offsets: Sequence[NDArray[np.integer]],
        byte_counts: Sequence[NDArray[np.integer]],
    ) -> bytes:
        """Write the header with the tile arrays of each level."""
        header = bytearray(self.length)
        first = self.form.file_header(self.ifds[0].offset) + self.ghost
        header[: len(first)] = first
        for index, ifd in enumerate(self.ifds):
            arrays = []
            for tag, kind, values in (
                (Tag.TILE_OFFSETS, ifd.offsets_type, offsets[index]),
                (Tag.TILE_BYTE_COUNTS, ifd.counts_type, byte_counts[index]),
            ):
                payload = values.astype(_DTYPES[kind]).tobytes()
                arrays.append(Entry(tag, kind, ifd.tile_count, payload))
            following = self.ifds[index + 1].offset if index + 1 < len(self.ifds) else 0
            where = {
                **ifd.value_offsets,
                Tag.TILE_OFFSETS: self.array_offsets[index][0],
                Tag.TILE_BYTE_COUNTS: self.array_offsets[index][1],
            }
            _write_ifd(header, self.form, ifd, arrays, where, following)
        return bytes(header)


_DTYPES = {FieldType.SHORT: "<u2", FieldType.LONG: "<u4", FieldType.LONG8: "<u8"}


def _width(kind: FieldType) -> int:
    return np.dtype(_DTYPES[kind]).itemsize


def _even(position: int) -> int:
    """Round up to a word boundary (TIFF 6.0 §2)."""
    return position + position % 2


def _write_ifd(
    header: bytearray,
    form: Format,
    ifd: _IfdDraft,
    arrays: Sequence[Entry],
    where: Mapping[int, int],
    following: int,
) -> None:
    """Write a directory, its values and its tile arrays into the header."""
    entries = sorted([*ifd.entries, *arrays], key=lambda entry: entry.tag)
    outside = {
        entry.tag: where[entry.tag]
        for entry in entries
        if len(entry.payload) > form.inline_bytes
    }
    directory = form.encode_directory(entries, outside, following)
    header[ifd.offset : ifd.offset + len(directory)] = directory
    for entry in entries:
        if entry.tag in outside:
            start = outside[entry.tag]
            header[start : start + len(entry.payload)] = entry.payload


def _draft_ifd(
    plan: CogPlan,
    level: Level,
    entries: Sequence[Entry],
    form: Format,
    position: int,
    *,
    is_mask: bool,
) -> tuple[_IfdDraft, int]:
    """Place a directory and its out-of-line values behind `position`."""
    entries = _value_order(entries)
    position = _even(position)
    tile_count = plan.mask_tiles(level) if is_mask else plan.image_tiles(level)
    worst = WORST_EXPANSION * level.tile_size**2 // MASK_BITS
    if not is_mask:
        plain = plan.encoding.compression(level.index).codec.is_plain
        worst = plan.tile_bytes(level) * (1 if plain else WORST_EXPANSION)
    value_offsets = {}
    end = position + form.directory_bytes(len(entries) + 2)
    for entry in entries:
        if len(entry.payload) > form.inline_bytes:
            value_offsets[entry.tag] = _even(end)
            end = _even(end) + len(entry.payload)
    draft = _IfdDraft(
        entries=entries,
        tile_count=tile_count,
        offset=position,
        value_offsets=value_offsets,
        offsets_type=form.offset_type,
        counts_type=_counts_type(tile_count, worst, form),
    )
    return draft, end


ADOBE_DEFLATE = 8
"""Compression of every mask that GDAL makes (TIFF Technical Note, Adobe)."""
PHOTOMETRIC_MASK = 4
"""PhotometricInterpretation of a transparency mask (TIFF 6.0 §8)."""
FIRST_PRIVATE_TAG = 32768
"""Private tags start here (TIFF 6.0 §8); libtiff keeps them in the order of setting."""


def _value_order(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Order entries as libtiff writes their out-of-line values."""
    public = [entry for entry in entries if entry.tag < FIRST_PRIVATE_TAG]
    private = [entry for entry in entries if entry.tag >= FIRST_PRIVATE_TAG]
    return (*sorted(public, key=lambda entry: entry.tag), *private)


def _counts_type(tile_count: int, worst: int, form: Format) -> FieldType:
    """Choose the width of TileByteCounts as libtiff does (tif_dirwrite.c)."""
    if form.big and (tile_count == 1 or worst > LONG_COUNT_LIMIT):
        return FieldType.LONG8
    if tile_count == 1 or worst > SHORT_COUNT_LIMIT:
        return FieldType.LONG
    return FieldType.SHORT


def _structural(plan: CogPlan, level: Level) -> list[Entry]:
    """Give the entries that say how the pixels are stored."""
    encoding = plan.encoding
    chosen = encoding.compression(level.index)
    dtype = np.dtype(encoding.dtype)
    short = FieldType.SHORT
    planar = 2 if encoding.samples_are_tiles else 1
    entries = [
        Entry.short_or_long(Tag.IMAGE_WIDTH, level.width),
        Entry.short_or_long(Tag.IMAGE_LENGTH, level.height),
        Entry.of(Tag.BITS_PER_SAMPLE, short, [dtype.itemsize * 8] * plan.count),
        Entry.of(Tag.COMPRESSION, short, [chosen.codec.compression]),
        Entry.of(Tag.SAMPLES_PER_PIXEL, short, [plan.count]),
        Entry.of(Tag.PLANAR_CONFIG, short, [planar]),
        Entry.short_or_long(Tag.TILE_WIDTH, level.tile_size),
        Entry.short_or_long(Tag.TILE_LENGTH, level.tile_size),
        Entry.of(Tag.SAMPLE_FORMAT, short, [SAMPLE_FORMATS[dtype.kind]] * plan.count),
    ]
    if level.index:
        entries.insert(
            0, Entry.of(Tag.NEW_SUBFILE_TYPE, FieldType.LONG, [REDUCED_RESOLUTION])
        )
    if chosen.predictor != 1:
        entries.append(Entry.of(Tag.PREDICTOR, short, [chosen.predictor]))
    return entries


def _mask_entries(level: Level) -> list[Entry]:
    """Give the entries of a mask, as GDAL writes them: a deflated bit per pixel."""
    short = FieldType.SHORT
    kind = TRANSPARENCY_MASK | (REDUCED_RESOLUTION if level.index else 0)
    values = {
        Tag.BITS_PER_SAMPLE: 1,
        Tag.COMPRESSION: ADOBE_DEFLATE,
        Tag.PHOTOMETRIC: PHOTOMETRIC_MASK,
        Tag.SAMPLES_PER_PIXEL: 1,
        Tag.PLANAR_CONFIG: 1,
        Tag.PREDICTOR: 1,
        Tag.SAMPLE_FORMAT: SAMPLE_FORMATS["u"],
    }
    return [
        Entry.of(Tag.NEW_SUBFILE_TYPE, FieldType.LONG, [kind]),
        Entry.short_or_long(Tag.IMAGE_WIDTH, level.width),
        Entry.short_or_long(Tag.IMAGE_LENGTH, level.height),
        Entry.short_or_long(Tag.TILE_WIDTH, level.tile_size),
        Entry.short_or_long(Tag.TILE_LENGTH, level.tile_size),
        *(Entry.of(tag, short, [value]) for tag, value in values.items()),
    ]


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
