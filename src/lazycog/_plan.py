"""The plan of a write: every decision taken, nothing computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lazycog import _memory, _views, resample
from lazycog._encoding import (
    MASK_BITS,
    Encoding,
    settle_encoding,
    settle_nodata,
)
from lazycog._georef import Description, DescriptiveEntries, describe
from lazycog._grid import (
    Level,
    Stage,
    ceil_div,
    is_stalled,
    legal_tile_size,
    overview_sizes,
    plan_stages,
)
from lazycog._parts import plan_parts
from lazycog._tiff import MAX_CLASSIC_BYTES
from lazycog.errors import CapacityError, OptionError

if TYPE_CHECKING:
    from lazycog._options import CogOptions
    from lazycog._parts import PartLimits, PartPlan

CHUNK_BYTES = 32 * 2**20
"""Raw bytes that a chunk may hold: large enough that a task outweighs its scheduling
(about 1 ms), small enough that a few threads stay within a laptop's memory."""
MAX_CHUNK_SIZE = 4096
"""Side of a chunk in pixels, at most, so that small scenes still make many tasks."""
GROUP_CHUNK_SIZE = 2048
"""Side of the chunk that the bands of a group together fill to CHUNK_BYTES."""
MAX_TILE_BYTES = 2**31 - 1
"""Tiles from 2 GiB on are refused by libtiff."""
FULL_RESOLUTION_ALIGNMENT = 4096
"""Level 0 starts at a multiple of it, so that a file system can put the header in
front of it without rewriting it (FALLOC_FL_INSERT_RANGE wants whole blocks)."""
MASK_OVERHEAD = 256
"""Header of a deflate stream, and its first block."""
LEADER_BYTES = 4
"""SIZE_AS_UINT4 (GDAL COG driver, "Header ghost area")."""
TRAILER_BYTES = 4
"""LAST_4_BYTES_REPEATED (GDAL COG driver, "Header ghost area")."""


@dataclass(frozen=True)
class CogPlan:
    """How a raster becomes a COG: levels, tiles, chunks, tasks, memory and size.

    Made by :func:`lazycog.plan`; cheap for any size, since no pixel is looked at.
    """

    description: Description
    height: int
    width: int
    source_dtype: str
    encoding: Encoding
    tile_size: int
    levels: tuple[Level, ...]
    stages: tuple[Stage, ...]
    bigtiff: bool | None
    """True or False when forced or certain, None when the real size decides."""
    source_chunk: tuple[int, int, int]
    """Largest chunk of the source (band, row, col)."""
    alignment: int
    """Start of the full resolution is a multiple of it."""
    parts: PartPlan | None = None
    """Parts of the object that a store takes, None on a file system."""
    reprojected_bytes: int = 0
    """Most bytes of source chunks that wait until all is reprojected from them: with
    ``tiling_scheme=``, it grows with the width of the raster."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.description.count

    @property
    def itemsize(self) -> int:
        """Bytes per pixel and band in the file."""
        return np.dtype(self.encoding.dtype).itemsize

    def tile_bytes(self, level: Level) -> int:
        """Raw bytes of one tile of a level's image in the file."""
        return self.encoding.tile_bytes(level.tile_size)

    def entry_shape(self, level: Level) -> tuple[int, int, int, int]:
        """Give (planes, tile rows, tile cols, tiles per position) of a level.

        A mask is the last plane, or the last tile of each position.
        """
        encoding = self.encoding
        planes = encoding.carried if encoding.planes else 1
        per_position = encoding.carried if encoding.interleave == "tile" else 1
        if encoding.interleave == "pixel":
            per_position += encoding.masked
        return planes, level.tile_rows, level.tile_cols, per_position

    def image_tiles(self, level: Level) -> int:
        """Count the tiles of a level's image, over all bands."""
        return self.mask_tiles(level) * self.count // self.encoding.samples

    def mask_tiles(self, level: Level) -> int:
        """Count the positions of tiles of a level: those of its mask, if any."""
        return level.tile_rows * level.tile_cols

    def planes(self, stage: Stage, group: int) -> range:
        """Give the planes of the file that a group of bands fills."""
        if not self.encoding.planes:
            return range(1)
        if self.encoding.masked:
            return range(self.encoding.carried)
        bands = stage.bands(group)
        return range(bands.start, bands.stop)

    def tile_count(self, level: Level) -> int:
        """Count the tiles of a level, over all bands, and those of its mask."""
        return math.prod(self.entry_shape(level))

    def level_bound(self, level: Level) -> int:
        """Give the most bytes that the tiles of a level can take."""
        frame = LEADER_BYTES + TRAILER_BYTES
        chosen = self.encoding.compression(level.index)
        image = chosen.bound(self.tile_bytes(level)) + frame
        mask = mask_bound(level.tile_size) + frame
        return self.image_tiles(level) * image + (
            self.mask_tiles(level) * mask if self.encoding.masked else 0
        )

    @property
    def sections(self) -> list[tuple[int, int]]:
        """Every (level, plane): tiles that follow each other in the file."""
        return [
            (level.index, plane)
            for level in self.levels
            for plane in range(self.entry_shape(level)[0])
        ]

    @property
    def total_tiles(self) -> int:
        """Number of tiles of the file."""
        return sum(self.tile_count(level) for level in self.levels)

    @property
    def raw_bytes(self) -> int:
        """Bytes of the source pixels, as stored."""
        return self.height * self.width * self.count * self.itemsize

    @property
    def chunk_count(self) -> int:
        """Number of chunks over all stages, one encode task each."""
        return sum(stage.chunk_count for stage in self.stages)

    @cached_property
    def has_halo(self) -> bool:
        """Whether chunks of the first stage need pixels of their neighbours."""
        return any(self.stages[0].halo(axis) for axis in (0, 1))

    @property
    def task_count(self) -> int:
        """Number of tasks that lazycog adds to the source's own, at most.

        A source whose chunks do not fit the plan's adds the tasks that regroup it.
        """
        tasks = 2
        for stage in self.stages:
            rows = stage.groups * stage.chunk_rows
            tasks += 3 * stage.chunk_count
            tasks += rows * (3 + ceil_div(stage.chunk_cols, SUMMARY_GROUP))
        if self.has_halo:
            tasks += self.stages[0].chunk_count
        return tasks

    @property
    def chunk_bytes(self) -> int:
        """Raw bytes of one chunk of the first stage."""
        stage = self.stages[0]
        height = min(stage.chunk_size, self.height)
        width = min(stage.chunk_size, self.width)
        source = np.dtype(self.source_dtype).itemsize
        return height * width * stage.band_group * max(source, self.itemsize)

    def sent_behind(self, threads: int) -> int:
        """Give how many more chunks are encoded while parts of a row are sent."""
        return min(self.stages[0].chunk_cols, 2 * threads) if self.parts else 0

    @property
    def task_bytes(self) -> int:
        """Expected peak bytes of one encode task."""
        return _memory.task_bytes(self)

    def peak_bytes(self, threads: int = 1) -> int:
        """Give the expected peak memory of a process.

        Parameters
        ----------
        threads : int
            Worker threads of the process.

        Returns
        -------
        int
            Bytes, the interpreter, its libraries and the graph included.
        """
        return _memory.peak_bytes(self, threads)

    @property
    def header_bytes(self) -> int:
        """Upper bound of everything before the first tile, in bytes."""
        entries = 24 * len(self.levels) * 20
        arrays = self.total_tiles * 12
        text = len(self.description.crs_wkt or "") + 512 * self.count
        tags = sum(len(k) + len(v) + 40 for k, v in self.description.tags.items())
        bits = 8 * self.count * len(self.levels)
        return 512 + entries + arrays + text + tags + bits

    @property
    def max_bytes(self) -> int:
        """Upper bound of the file size: nothing compresses."""
        payload = sum(map(self.level_bound, self.levels))
        return self.header_bytes + self.alignment + payload

    @property
    def min_bytes(self) -> int:
        """Lower bound of the file size: its tiles if uncompressed, else the index."""
        index = 8
        if not self.encoding.sparse:
            index += LEADER_BYTES + TRAILER_BYTES
        total = 0
        for level in self.levels:
            chosen = self.encoding.compression(level.index)
            plain = chosen.codec.is_plain and not self.may_omit
            total += self.image_tiles(level) * (plain * self.tile_bytes(level) + index)
        return total

    @property
    def may_omit(self) -> bool:
        """Whether tiles may be left out or shared, so that no size is certain."""
        return self.encoding.sparse or self.encoding.deduplicate

    def with_parts(self, limits: PartLimits, part_size: int | None) -> CogPlan:
        """Plan the parts of an object, too.

        Raises
        ------
        OptionError
            ``deduplicate=True``, or ``part_size=`` is outside of its rule.
        CapacityError
            The store takes no object as large as this one will be at least.
        """
        most = limits.max_object
        if most is not None and self.min_bytes > most:
            raise CapacityError(
                f"the file holds at least {self.min_bytes} bytes, and the store takes "
                f"objects of {most} at most; compress, or write several files"
            )
        if self.encoding.deduplicate:
            raise OptionError(
                "deduplicate=True cannot work with an object store, which takes tiles "
                "as they come; write to a path and upload the file, or use sparse=True"
            )
        bounds = [
            (
                (level.index, plane),
                self.level_bound(level) // self.entry_shape(level)[0],
            )
            for level in reversed(self.levels)
            for plane in range(self.entry_shape(level)[0])
        ]
        parts = plan_parts(bounds, self.header_bytes, limits, part_size)
        return replace(self, parts=parts)

    def entries(self) -> DescriptiveEntries:
        """Let GDAL encode what describes the raster."""
        description = self.description
        return describe(
            description,
            self.encoding,
            has_overviews=len(self.levels) > 1,
        )

    def __repr__(self) -> str:
        """CRS, levels, chunks, tasks, memory and size."""
        return _views.plan_text(self)

    def _repr_html_(self) -> str:
        """Say the same for a notebook, with a picture of the pyramid."""
        return _views.plan_html(self)


SUMMARY_GROUP = 32
"""Chunks whose sizes one task gathers, so that no task sees a whole wide row."""


def plan_cog(
    description: Description,
    size: tuple[int, int],
    options: CogOptions,
    source_chunk: tuple[int, int, int] | None = None,
    *,
    mask_given: bool = False,
) -> CogPlan:
    """Take every decision about a write.

    Parameters
    ----------
    description : Description
        The raster, its dtype as the source has it.
    size : (int, int)
        Height and width in pixels.
    options : CogOptions
        What the caller chose.
    source_chunk : (int, int, int) or None
        Largest chunk of the source (band, row, col), None when it is in memory.
    mask_given : bool
        The source has a mask as its last band, which `description` does not count.

    Returns
    -------
    CogPlan
        The plan.

    Raises
    ------
    CapacityError
        A tile or a classic TIFF would be too large.
    """
    height, width = size
    encoding = settle_encoding(description, size, options, mask_given=mask_given)
    tile_size = options.blocksize
    _check_overview_count(size, options)
    levels = tuple(
        Level(index, *level_size, legal_tile_size(*level_size, tile_size))
        for index, level_size in enumerate(
            overview_sizes(height, width, tile_size, options.overview_count)
        )
    )
    depth, band_group = _chunking(encoding, levels)
    nodata = (
        None
        if encoding.mask_nodata is not None
        else (settle_nodata(description, options))
    )
    plan = CogPlan(
        description=replace(description, dtype=encoding.dtype, nodata=nodata),
        height=height,
        width=width,
        source_dtype=description.dtype,
        encoding=encoding,
        tile_size=tile_size,
        levels=levels,
        stages=plan_stages(
            levels,
            count=encoding.carried,
            source_count=encoding.sourced,
            band_group=band_group,
            chunk_size=tile_size << depth,
            depth=depth,
            support=resample.support(encoding.resampling),
        ),
        bigtiff=None if options.bigtiff == "auto" else options.bigtiff,
        source_chunk=source_chunk
        or (band_group, tile_size << depth, tile_size << depth),
        alignment=FULL_RESOLUTION_ALIGNMENT,
    )
    largest = max(map(plan.tile_bytes, levels))
    if largest > MAX_TILE_BYTES:
        raise CapacityError(
            f"one tile would hold {largest} bytes, over the {MAX_TILE_BYTES} "
            "that TIFF readers take; lower blocksize= or use interleave='band'"
        )
    return _with_format(plan)


def _check_overview_count(size: tuple[int, int], options: CogOptions) -> None:
    """Refuse more overviews than there are down to a single pixel.

    Raises
    ------
    OptionError
        ``overview_count=`` is too large.
    """
    most = max(size).bit_length() - 1
    if options.overview_count is not None and options.overview_count > most:
        raise OptionError(
            f"overview_count={options.overview_count}: a raster of {size[1]} x "
            f"{size[0]} pixels has {most} overviews at most, the last of 1 x 1; give "
            f"0 to {most}, or None for as many as it takes to reach one tile"
        )


def _with_format(plan: CogPlan) -> CogPlan:
    """Settle classic or BigTIFF where the bounds already decide it."""
    if plan.bigtiff is False and plan.min_bytes > MAX_CLASSIC_BYTES:
        raise CapacityError(
            f"bigtiff=False: the file holds at least {plan.min_bytes} bytes, and a "
            f"classic TIFF ends at {MAX_CLASSIC_BYTES}; use bigtiff='auto' or compress"
        )
    if plan.bigtiff is None and plan.max_bytes <= MAX_CLASSIC_BYTES:
        return replace(plan, bigtiff=False)
    if plan.bigtiff is None and plan.min_bytes > MAX_CLASSIC_BYTES:
        return replace(plan, bigtiff=True)
    return plan


def mask_bound(tile_size: int) -> int:
    """Give the most bytes that a tile of a mask can take.

    Deflate stores what does not compress: 5 bytes per 65,535, and its header.
    """
    raw = tile_size**2 // MASK_BITS
    return raw + raw // 1000 + MASK_OVERHEAD


def _chunking(encoding: Encoding, levels: tuple[Level, ...]) -> tuple[int, int]:
    """Choose the chunk: how many tiles a side (as a power of 2) and how many bands."""
    itemsize = np.dtype(encoding.dtype).itemsize
    tile_size = max(level.tile_size for level in levels)
    count = band_group = encoding.carried
    if encoding.planes and not encoding.masked:
        # each band is encoded on its own: as many as fill a chunk
        fitting = CHUNK_BYTES // (GROUP_CHUNK_SIZE**2 * itemsize)
        band_group = max(1, min(count, fitting))
    stalled = any(map(is_stalled, levels, levels[1:]))
    whole = max(levels[0].size)
    depth = 0
    while True:
        side = tile_size << (depth + 1)
        width = min(side, levels[0].width) if stalled else side
        # a mask does not shrink the chunk, which would then no longer fit the source's
        if min(band_group, encoding.count) * itemsize * side * width > CHUNK_BYTES:
            break
        if side > MAX_CHUNK_SIZE and not (stalled and side // 2 < whole):
            break
        depth += 1
    return depth, band_group
