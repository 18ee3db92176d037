"""The plan of a write: every decision taken, nothing computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lazycog._georef import (
    Description,
    DescriptiveEntries,
    describe,
    nodata_fits,
)
from lazycog._grid import (
    Level,
    Stage,
    ceil_div,
    is_stalled,
    legal_tile_size,
    overview_sizes,
    plan_stages,
)
from lazycog._park import HELD_BYTES
from lazycog._parts import plan_parts
from lazycog._tiff import MAX_CLASSIC_BYTES
from lazycog.codecs import Codec, codec
from lazycog.errors import CapacityError, InputError, OptionError

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
MAX_PIXEL_BANDS = 4
"""Up to this count ``interleave="auto"`` takes pixel (grey, RGB, RGBA)."""
MAX_TILE_BYTES = 2**31 - 1
"""Tiles from 2 GiB on are refused by libtiff."""
BASE_BYTES = 300 * 2**20
"""A process with NumPy, Dask, GDAL, Numba and imagecodecs loaded, as measured."""
FULL_RESOLUTION_ALIGNMENT = 4096
"""Level 0 starts at a multiple of it, so that a file system can put the header in
front of it without rewriting it (FALLOC_FL_INSERT_RANGE wants whole blocks)."""
LEADER_BYTES = 4
"""SIZE_AS_UINT4 (GDAL COG driver, "Header ghost area")."""
TRAILER_BYTES = 4
"""LAST_4_BYTES_REPEATED (GDAL COG driver, "Header ghost area")."""

DTYPES = frozenset(
    {
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    }
)
"""Types that GeoTIFF readers know."""
CASTS = {
    "float128": "float64",
    "longdouble": "float64",
    "complex256": "complex128",
    "datetime64": "int64",
    "timedelta64": "int64",
}
"""What to cast other types to."""


@dataclass(frozen=True)
class Encoding:
    """What a task needs to know to encode tiles: small, plain and picklable."""

    dtype: str
    """Stored type."""
    codec: Codec
    level: int | None
    predictor: int
    interleave: str
    """"pixel", "band" or "tile"."""
    resampling: str
    nodata: float | int | None
    fill_nan: bool
    """Write NaN as the nodata value: the caller chose a finite one."""
    statistics: bool
    valid_size: tuple[int, int]
    """Height and width of the full resolution."""

    @property
    def planes(self) -> bool:
        """Whether each band is a plane of its own in the file."""
        return self.interleave == "band"

    @property
    def samples_are_tiles(self) -> bool:
        """Whether each band of a tile position is a tile of its own."""
        return self.interleave != "pixel"


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

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.description.count

    @property
    def itemsize(self) -> int:
        """Bytes per pixel and band in the file."""
        return np.dtype(self.encoding.dtype).itemsize

    def tile_bytes(self, level: Level) -> int:
        """Raw bytes of one tile of a level in the file."""
        samples = 1 if self.encoding.samples_are_tiles else self.count
        return level.tile_size**2 * self.itemsize * samples

    def entry_shape(self, level: Level) -> tuple[int, int, int, int]:
        """Give (planes, tile rows, tile cols, tiles per position) of a level."""
        planes = self.count if self.encoding.planes else 1
        per_position = self.count if self.encoding.interleave == "tile" else 1
        return planes, level.tile_rows, level.tile_cols, per_position

    def tile_count(self, level: Level) -> int:
        """Count the tiles of a level, over all bands."""
        return math.prod(self.entry_shape(level))

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

    @property
    def task_bytes(self) -> int:
        """Expected peak bytes of one encode task.

        The source's chunk and what it is read from (a compressed copy, at most), the
        regrouped chunk, the overviews (1/3), the encoded tiles (4/3 of the codec's
        bound) and the buffers of one tile.
        """
        encoded = self.chunk_bytes * 4 / 3 * self.encoding.codec.expansion
        return int(
            self.chunk_bytes * (3 + 1 / 3)
            + encoded
            + 2 * self.tile_bytes(self.levels[0])
        )

    @property
    def waiting_bytes(self) -> int:
        """Raw bytes that wait: handed-up pixels, and neighbours at odd sizes."""
        waiting = 0
        for stage in self.stages[1:]:
            level = stage.levels[0]
            # one row of the next chunks gathers while another one comes in
            rows = min(level.height, 2 * stage.chunk_size)
            waiting += rows * level.width * self.count * self.itemsize
        if self.has_halo:
            waiting += self.stages[0].chunk_cols * self.chunk_bytes
        return waiting

    def sent_behind(self, threads: int) -> int:
        """Give how many more chunks are encoded while parts of a row are sent."""
        return min(self.stages[0].chunk_cols, 2 * threads) if self.parts else 0

    @property
    def part_bytes(self) -> int:
        """Encoded bytes that wait to become parts, beside those of whole chunks.

        Of each section in progress a head and less than a part; of each level that is
        done a head and less than two parts.
        """
        if self.parts is None:
            return 0
        stage = self.stages[0]
        planes = stage.band_group if self.encoding.planes else 1
        together = self.source_chunk[0] > stage.band_group
        at_once = planes * len(stage.levels) * (stage.groups if together else 1)
        bounds = min(self.max_bytes, (at_once + 2 * len(self.levels)) * self.parts.size)
        return bounds + self.parts.head * (at_once + len(self.levels))

    def peak_bytes(self, threads: int = 1) -> int:
        """Give the expected peak memory of a process.

        Parameters
        ----------
        threads : int
            Worker threads of the process.

        Returns
        -------
        int
            Bytes, the interpreter and its libraries included.
        """
        stage = self.stages[0]
        rows = min(stage.chunk_rows, 2) * stage.chunk_cols * stage.groups
        held = min(HELD_BYTES, int(1.4 * rows * self.chunk_bytes))
        if self.parts:
            # nothing is parked on disk; and a part that is sent is a copy
            chunks = rows + self.sent_behind(threads)
            held = int(1.4 * chunks * self.chunk_bytes) + self.part_bytes
            held += 2 * threads * self.parts.size
        waiting = self.waiting_bytes + self.regroup_bytes
        return BASE_BYTES + threads * self.task_bytes + held + waiting

    @property
    def regroup_bytes(self) -> int:
        """Raw bytes of source chunks that are in memory beyond the chunk they make.

        Whole chunks of the source meet in a chunk of the plan; where their rows do not
        end together, a row of the source waits for the next row of chunks.
        """
        stage = self.stages[0]
        itemsize = np.dtype(self.source_dtype).itemsize
        sides = (
            (stage.band_group, self.count),
            (stage.chunk_size, self.height),
            (stage.chunk_size, self.width),
        )
        met = [
            min(whole, ceil_div(min(side, whole), own) * own)
            for own, (side, whole) in zip(self.source_chunk, sides, strict=True)
        ]
        extra = max(0, math.prod(met) * itemsize - self.chunk_bytes)
        rows = self.source_chunk[1]
        if stage.chunk_rows > 1 and stage.chunk_size % rows:
            extra += met[0] * min(rows, self.height) * self.width * itemsize
        return extra

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
        codec = self.encoding.codec
        frame = LEADER_BYTES + TRAILER_BYTES
        payload = sum(
            self.tile_count(level) * (codec.bound(self.tile_bytes(level)) + frame)
            for level in self.levels
        )
        return self.header_bytes + self.alignment + payload

    @property
    def min_bytes(self) -> int:
        """Lower bound of the file size: its tiles if uncompressed, else the index."""
        plain = self.encoding.codec.function is None
        index = LEADER_BYTES + TRAILER_BYTES + 8
        return sum(
            self.tile_count(level) * (plain * self.tile_bytes(level) + index)
            for level in self.levels
        )

    def with_parts(self, limits: PartLimits, part_size: int | None) -> CogPlan:
        """Plan the parts of an object, too."""
        frame = LEADER_BYTES + TRAILER_BYTES
        bounds = [
            (
                (level.index, plane),
                self.tile_count(level)
                // self.entry_shape(level)[0]
                * (self.encoding.codec.bound(self.tile_bytes(level)) + frame),
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
            overview_resampling=self.encoding.resampling if self.levels[1:] else None,
            tile_interleave=self.encoding.interleave == "tile",
        )

    def __str__(self) -> str:
        """Levels, chunks, tasks, memory and size."""
        from lazycog import _views  # noqa: PLC0415 - only when shown

        return _views.plan_text(self)

    def _repr_html_(self) -> str:
        """Say the same for a notebook, with a picture of the pyramid."""
        from lazycog import _views  # noqa: PLC0415 - only when shown

        return _views.plan_html(self)


SUMMARY_GROUP = 32
"""Chunks whose sizes one task gathers, so that no task sees a whole wide row."""


def plan_cog(
    description: Description,
    size: tuple[int, int],
    options: CogOptions,
    source_chunk: tuple[int, int, int] | None = None,
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
    encoding = _encoding(description, size, options)
    tile_size = options.blocksize
    levels = tuple(
        Level(index, *level_size, legal_tile_size(*level_size, tile_size))
        for index, level_size in enumerate(
            overview_sizes(height, width, tile_size, options.overview_count)
        )
    )
    depth, band_group = _chunking(encoding, description.count, levels)
    plan = CogPlan(
        description=replace(
            description, dtype=encoding.dtype, nodata=_nodata(description, options)
        ),
        height=height,
        width=width,
        source_dtype=description.dtype,
        encoding=encoding,
        tile_size=tile_size,
        levels=levels,
        stages=plan_stages(
            levels,
            count=description.count,
            band_group=band_group,
            chunk_size=tile_size << depth,
            depth=depth,
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


def stored_dtype(dtype: str) -> str:
    """Give the type in the file for a type of the source.

    Parameters
    ----------
    dtype : str
        NumPy name.

    Returns
    -------
    str
        The same, but uint8 for bool.

    Raises
    ------
    InputError
        GeoTIFF has no such type.
    """
    if dtype not in DTYPES:
        stem = dtype.split("[", maxsplit=1)[0]
        remedy = CASTS.get(stem, "float64")
        raise InputError(
            f"dtype {dtype!r} cannot be stored in a GeoTIFF; cast it first, for "
            f"example .astype({remedy!r})"
        )
    return "uint8" if dtype == "bool" else dtype


def _encoding(
    description: Description, size: tuple[int, int], options: CogOptions
) -> Encoding:
    dtype = stored_dtype(description.dtype)
    kind = np.dtype(dtype).kind
    chosen = codec(options.compress)
    interleave = options.interleave
    if interleave == "auto":
        interleave = "pixel" if description.count <= MAX_PIXEL_BANDS else "band"
    if description.count == 1:
        # with one band all three are the same bytes
        interleave = "pixel"
    nodata = _pixel_nodata(_nodata(description, options), dtype)
    return Encoding(
        dtype=dtype,
        codec=chosen,
        level=options.level,
        predictor=_predictor(options, chosen, dtype, interleave),
        interleave=interleave,
        resampling=_resampling(options, description.dtype),
        nodata=nodata,
        fill_nan=kind == "f"
        and nodata is not None
        and math.isfinite(nodata)
        and options.nodata != "auto",
        statistics=options.statistics and kind != "c",
        valid_size=size,
    )


def _predictor(options: CogOptions, chosen: Codec, dtype: str, interleave: str) -> int:
    kind = np.dtype(dtype).kind
    if options.predictor == "auto":
        if not chosen.has_predictor or kind == "c":
            return 1
        if interleave != "pixel":
            # async-geotiff 0.5 undoes it with a stride of all bands: wrong pixels
            return 1
        return 3 if kind == "f" else 2
    if options.predictor == 3 and kind != "f":  # noqa: PLR2004 - the tag's own number
        raise OptionError(
            f"predictor=3 is for floating point and cannot work with dtype {dtype}; "
            "use predictor=2 or 'auto'"
        )
    if options.predictor == 2 and kind == "c":  # noqa: PLR2004
        raise OptionError(f"predictor=2 cannot work with dtype {dtype}; use 1")
    return options.predictor


def _resampling(options: CogOptions, dtype: str) -> str:
    kind = np.dtype(dtype).kind
    if options.overview_resampling == "auto":
        return "nearest" if kind in "bc" else "average"
    if kind == "c" and options.overview_resampling in {"mode", "rms"}:
        raise OptionError(
            f"overview_resampling={options.overview_resampling!r} cannot work with "
            f"dtype {dtype}; use 'nearest' or 'average'"
        )
    return options.overview_resampling


def _nodata(description: Description, options: CogOptions) -> float | int | None:
    """Settle the nodata value and check that the file's type can hold it."""
    dtype = stored_dtype(description.dtype)
    nodata = description.nodata if options.nodata == "auto" else options.nodata
    kind = np.dtype(dtype).kind
    if nodata is None:
        return math.nan if kind == "f" and options.nodata == "auto" else None
    if not isinstance(nodata, int | float | np.number):
        raise OptionError(f"nodata={nodata!r}: give a number or None")
    if not nodata_fits(nodata, dtype):
        raise OptionError(
            f"nodata={nodata!r} does not fit dtype {dtype}; choose a value of that "
            "type, or nodata=None for none"
        )
    return int(nodata) if kind in "ui" else float(nodata)


def _pixel_nodata(nodata: float | int | None, dtype: str) -> float | int | None:
    """Round a nodata value to the type of the pixels, so that it equals them."""
    if nodata is None or np.dtype(dtype).kind != "f":
        return nodata
    return float(np.dtype(dtype).type(nodata))


def _chunking(
    encoding: Encoding, count: int, levels: tuple[Level, ...]
) -> tuple[int, int]:
    """Choose the chunk: how many tiles a side (as a power of 2) and how many bands."""
    itemsize = np.dtype(encoding.dtype).itemsize
    tile_size = max(level.tile_size for level in levels)
    band_group = count
    if encoding.planes:
        # each band is encoded on its own: as many as fill a chunk
        fitting = CHUNK_BYTES // (GROUP_CHUNK_SIZE**2 * itemsize)
        band_group = max(1, min(count, fitting))
    stalled = any(map(is_stalled, levels, levels[1:]))
    whole = max(levels[0].size)
    depth = 0
    while True:
        side = tile_size << (depth + 1)
        width = min(side, levels[0].width) if stalled else side
        if band_group * itemsize * side * width > CHUNK_BYTES:
            break
        if side > MAX_CHUNK_SIZE and not (stalled and side // 2 < whole):
            break
        depth += 1
    return depth, band_group
