"""The header: the chain of directories, with the numbers of tiles filled in last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lazycog._encoding import MASK_BITS
from lazycog._tiff import (
    REDUCED_RESOLUTION,
    TRANSPARENCY_MASK,
    Entry,
    FieldType,
    Format,
    Tag,
    ghost_area,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._georef import DescriptiveEntries
    from lazycog._grid import Level
    from lazycog._plan import CogPlan

SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}
"""SampleFormat by NumPy's kind (TIFF 6.0 §19; 6 is libtiff's complex IEEE)."""
SHORT_COUNT_LIMIT = 0xFFFF
LONG_COUNT_LIMIT = 0xFFFFFFFF
ADOBE_DEFLATE = 8
"""Compression of every mask that GDAL makes (TIFF Technical Note, Adobe)."""
PHOTOMETRIC_MASK = 4
"""PhotometricInterpretation of a transparency mask (TIFF 6.0 §8)."""
FIRST_PRIVATE_TAG = 32768
"""Private tags start here (TIFF 6.0 §8); libtiff keeps them in the order of setting."""
WORST_EXPANSION = 10
"""libtiff assumes that a codec expands a tile tenfold at worst (tif_dirwrite.c,
_WriteAsType)."""
_DTYPES = {FieldType.SHORT: "<u2", FieldType.LONG: "<u4", FieldType.LONG8: "<u8"}


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


@dataclass(frozen=True)
class HeaderDraft:
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
    ) -> HeaderDraft:
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
