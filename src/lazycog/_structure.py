"""The structure of a TIFF file as plain values: levels and stored tiles.

References are to TIFF 6.0 and libtiff's ``tiff.h``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING

import numpy as np

from lazycog._ghost import Ghost, read_ghost
from lazycog._tiff import (
    REDUCED_RESOLUTION,
    TRANSPARENCY_MASK,
    ParsedIfd,
    ParsedTiff,
    Tag,
    parse,
)
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

COMPRESSION_NAMES: Mapping[int, str] = {
    1: "none",
    2: "ccitt_rle",
    3: "ccitt_fax3",
    4: "ccitt_fax4",
    5: "lzw",
    6: "old_jpeg",
    7: "jpeg",
    8: "deflate",
    32773: "packbits",
    32946: "deflate",
    34887: "lerc",
    34925: "lzma",
    50000: "zstd",
    50001: "webp",
    50002: "jxl",
    52546: "jxl",
}
"""Values of the Compression tag (libtiff ``tiff.h``; 52546 is DNG 1.7)."""

SAMPLE_FORMAT_NAMES: Mapping[int, str] = {
    1: "uint",
    2: "int",
    3: "float",
    4: "void",
    5: "complex_int",
    6: "complex",
}
"""Values of the SampleFormat tag (TIFF 6.0 §19; 5 and 6 are libtiff's)."""

PLANAR_SEPARATE = 2
"""PlanarConfiguration: one set of tiles per band (TIFF 6.0 §8)."""

MAX_POSITION = 2**61
"""Greater offsets are cut to this, so that sums of positions stay in 64 bits."""


class RangeReader:
    """Ranged reads of an open binary file; a `Reader` for `_tiff.parse`.

    Parameters
    ----------
    file : IO[bytes]
        Seekable; stays open and belongs to the caller.
    gap_bytes : int
        Up to this distance two wanted ranges are cheaper to read as one.
    """

    def __init__(self, file: IO[bytes], *, gap_bytes: int) -> None:
        self._file = file
        self.gap_bytes = gap_bytes
        self.size = file.seek(0, os.SEEK_END)

    def __call__(self, offset: int, length: int) -> bytes:
        """Return `length` bytes at `offset`; a few of them when not all exist."""
        if offset + length > self.size:
            # the caller will refuse a short answer: do not read gigabytes for it
            length = min(16, max(0, self.size - offset))
        if length == 0:
            return b""
        self._file.seek(offset)
        return self._file.read(length)


@dataclass(frozen=True)
class Level:
    """One IFD: the image, an overview, or a mask."""

    index: int
    """Position in the chain of IFDs, from 0."""
    kind: str
    """image, overview, mask, or page (an image that is no part of a COG)."""
    number: int | None
    """Pyramid level, 0 for full resolution; None for a mask without its image."""
    ifd: ParsedIfd
    width: int
    height: int
    tiled: bool
    """False for strips, which count as tiles of the image's width."""
    tile_width: int
    tile_height: int
    planes: int
    """Sets of tiles: the band count when bands are stored separately, else 1."""
    array_counts: tuple[int, int]
    """Number of offsets and of byte counts that the file holds."""
    offsets: NDArray[np.int64]
    byte_counts: NDArray[np.int64]

    @property
    def name(self) -> str:
        """How messages call it."""
        size = f"({self.width}x{self.height})"
        if self.kind == "page" or self.number is None:
            return f"{self.kind} in IFD {self.index} {size}"
        base = f"overview {self.number}" if self.number else "main image"
        return f"mask of {base} {size}" if self.kind == "mask" else f"{base} {size}"

    @property
    def columns(self) -> int:
        """Tiles per row."""
        return -(-self.width // self.tile_width)

    @property
    def tile_count(self) -> int:
        """Tiles that the raster size asks for (TIFF 6.0 §15, TilesPerImage)."""
        return self.planes * self.columns * -(-self.height // self.tile_height)

    @cached_property
    def stored(self) -> NDArray[np.bool_]:
        """True for tiles that have bytes in the file, False for sparse ones."""
        return (self.offsets > 0) & (self.byte_counts > 0)

    @cached_property
    def first_tile_offset(self) -> int:
        """Offset of the first tile that is not sparse, 0 when all are."""
        return int(self.offsets[self.stored.argmax()]) if self.stored.any() else 0

    def tile_name(self, tile: int) -> str:
        """How messages call a tile."""
        per_plane = max(1, self.tile_count // self.planes)
        plane, position = divmod(tile, per_plane)
        row, col = divmod(position, self.columns)
        band = f", band {plane + 1}" if self.planes > 1 else ""
        return f"tile (row {row}, col {col}{band}) of {self.name}"


REQUIRED_TAGS = (Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH)


def _read_level(index: int, ifd: ParsedIfd) -> Level:
    tiled = Tag.TILE_OFFSETS in ifd.entries
    tile_tags = (Tag.TILE_WIDTH, Tag.TILE_LENGTH) if tiled else (Tag.STRIP_OFFSETS,)
    for tag in (*REQUIRED_TAGS, *tile_tags):
        if ifd.value(tag) <= 0:
            raise InputError(f"IFD {index} has no valid {tag.name} (tag {tag:d})")
    width, height = ifd.value(Tag.IMAGE_WIDTH), ifd.value(Tag.IMAGE_LENGTH)
    rows_per_strip = min(height, ifd.value(Tag.ROWS_PER_STRIP, height)) or height
    offsets = _positions(ifd, Tag.TILE_OFFSETS if tiled else Tag.STRIP_OFFSETS)
    byte_counts = _positions(
        ifd, Tag.TILE_BYTE_COUNTS if tiled else Tag.STRIP_BYTE_COUNTS
    )
    both = min(offsets.size, byte_counts.size)
    separate = ifd.value(Tag.PLANAR_CONFIG, 1) == PLANAR_SEPARATE
    return Level(
        index=index,
        kind=_kind(index, ifd),
        number=None,
        ifd=ifd,
        width=width,
        height=height,
        tiled=tiled,
        tile_width=ifd.value(Tag.TILE_WIDTH) if tiled else width,
        tile_height=ifd.value(Tag.TILE_LENGTH) if tiled else rows_per_strip,
        planes=max(1, ifd.value(Tag.SAMPLES_PER_PIXEL, 1)) if separate else 1,
        array_counts=(offsets.size, byte_counts.size),
        offsets=offsets[:both],
        byte_counts=byte_counts[:both],
    )


def _positions(ifd: ParsedIfd, tag: Tag) -> NDArray[np.int64]:
    values = ifd.array(tag)
    if values.dtype.kind not in "ui":
        raise InputError(f"tag {tag:d} ({tag.name}) holds no integers")
    limit = np.uint64(MAX_POSITION)
    positions: NDArray[np.int64] = np.minimum(values.astype(np.uint64), limit).astype(
        np.int64
    )
    return positions


def _kind(index: int, ifd: ParsedIfd) -> str:
    subfile_type = ifd.value(Tag.NEW_SUBFILE_TYPE)
    if index == 0:
        return "image"
    if subfile_type & TRANSPARENCY_MASK:
        return "mask"
    return "overview" if subfile_type & REDUCED_RESOLUTION else "page"


def read_levels(tiff: ParsedTiff) -> tuple[Level, ...]:
    """Classify the IFDs and pair each mask with the image of its size.

    Parameters
    ----------
    tiff : ParsedTiff
        Directories with all values.

    Returns
    -------
    tuple of Level
        In the order of the chain.

    Raises
    ------
    InputError
        The file has no IFD, or one without the tags of an image.
    """
    if not tiff.ifds:
        raise InputError("the TIFF file holds no image: it has no IFD")
    plain = [_read_level(index, ifd) for index, ifd in enumerate(tiff.ifds)]
    images = [level for level in plain if level.kind in {"image", "overview"}]
    numbers = {level.index: number for number, level in enumerate(images)}
    by_size = {
        (level.width, level.height): number
        for number, level in reversed(list(enumerate(images)))
    }
    return tuple(
        replace(
            level,
            number=by_size.get((level.width, level.height))
            if level.kind == "mask"
            else numbers.get(level.index),
        )
        for level in plain
    )


@dataclass(frozen=True)
class Tiles:
    """Every tile that has bytes in the file, sorted by position.

    Costs about 25 bytes of memory per tile.
    """

    level: NDArray[np.uint16]
    """Index into the levels."""
    number: NDArray[np.int64]
    """Index into the arrays of that level."""
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @classmethod
    def of(cls, levels: Sequence[Level]) -> Tiles:
        """Collect the stored tiles of all levels."""
        numbers = [np.flatnonzero(level.stored) for level in levels]
        pairs = list(zip(levels, numbers, strict=True))
        start = np.concatenate([level.offsets[n] for level, n in pairs])
        stop = start + np.concatenate([level.byte_counts[n] for level, n in pairs])
        index = np.repeat(
            np.arange(len(levels), dtype=np.uint16), [n.size for n in numbers]
        )
        order = np.lexsort((stop, start))
        number = np.concatenate(numbers)
        return cls(index[order], number[order], start[order], stop[order])


@dataclass(frozen=True)
class Structure:
    """Everything about a file that its validation needs, except its pixels."""

    path: str
    size: int
    tiff: ParsedTiff
    ghost: Ghost
    levels: tuple[Level, ...]
    external_overviews: bool
    """A file of the same name with ``.ovr`` behind it exists."""

    @classmethod
    def read(
        cls, path: str, read: RangeReader, *, external_overviews: bool
    ) -> Structure:
        """Read header, ghost area and IFDs with their arrays."""
        tiff = parse(read)
        ghost = read_ghost(read, big=tiff.big)
        levels = read_levels(tiff)
        return cls(path, read.size, tiff, ghost, levels, external_overviews)

    @cached_property
    def images(self) -> tuple[Level, ...]:
        """Full resolution and overviews, in the order of the chain."""
        return tuple(level for level in self.levels if level.kind in IMAGE_KINDS)

    @cached_property
    def masks(self) -> tuple[Level, ...]:
        """Masks in the order of the chain."""
        return tuple(level for level in self.levels if level.kind == "mask")

    @cached_property
    def tiles(self) -> Tiles:
        """All stored tiles."""
        return Tiles.of(self.levels)

    @cached_property
    def interleave(self) -> str:
        """Order of the bands: pixel, band, or tile (GDAL 3.11 tells it in XML)."""
        ifd = self.levels[0].ifd
        if ifd.value(Tag.PLANAR_CONFIG, 1) != PLANAR_SEPARATE:
            return "pixel"
        metadata = ifd.entries.get(Tag.GDAL_METADATA)
        item = r'<Item\b[^>]*\bname="INTERLEAVE"[^>]*>TILE<'
        by_tile = metadata is not None and re.search(item, metadata.text)
        return "tile" if by_tile else "band"

    def mask_pairs(self) -> Iterator[tuple[Level, Level]]:
        """Each image that has a mask, with that mask."""
        for mask in self.masks:
            if mask.number is not None:
                yield self.images[mask.number], mask

    def details(self) -> dict[str, Any]:
        """Describe the file in plain values that go through JSON."""
        return {
            "path": self.path,
            "size": self.size,
            "bigtiff": self.tiff.big,
            "byte_order": "little" if self.tiff.byte_order == "<" else "big",
            "ghost": dict(self.ghost.claims),
            "band_count": self.levels[0].ifd.value(Tag.SAMPLES_PER_PIXEL, 1),
            "interleave": self.interleave,
            "levels": [_level_details(level) for level in self.levels],
        }


IMAGE_KINDS = frozenset({"image", "overview"})


def _level_details(level: Level) -> dict[str, Any]:
    ifd = level.ifd
    compression = ifd.value(Tag.COMPRESSION, 1)
    bits = ifd.value(Tag.BITS_PER_SAMPLE, 1)
    sample_format = SAMPLE_FORMAT_NAMES.get(ifd.value(Tag.SAMPLE_FORMAT, 1), "unknown")
    return {
        "index": level.index,
        "kind": level.kind,
        "width": level.width,
        "height": level.height,
        "tiled": level.tiled,
        "tile_width": level.tile_width,
        "tile_height": level.tile_height,
        "tiles": level.tile_count,
        "sparse_tiles": int(level.stored.size - np.count_nonzero(level.stored)),
        "ifd_offset": ifd.offset,
        "first_tile_offset": level.first_tile_offset,
        "data_bytes": int(level.byte_counts[level.stored].sum()),
        "compression": COMPRESSION_NAMES.get(compression, str(compression)),
        "predictor": ifd.value(Tag.PREDICTOR, 1),
        "dtype": f"{sample_format}{bits}",
    }
