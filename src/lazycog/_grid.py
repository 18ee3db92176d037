"""Geometry of the pyramid: levels, tiles, stages of chunks, and the pixels they need.

Everything here is integer arithmetic on sizes; there are no pixels. Every pair is
(row, col) or (height, width). Axis functions work on one axis at a time, since rows and
columns are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

UNTILED_LIMIT = 512
"""Levels up to this size need not be tiled (GDAL's validate_cloud_optimized_geotiff
and rio-cogeo's cog_validate)."""
TILE_STEP = 16
"""TileWidth and TileLength are multiples of 16 (TIFF 6.0 §15)."""


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide and round up.

    Examples
    --------
    >>> ceil_div(7, 2)
    4
    """
    return -(-numerator // denominator)


@dataclass(frozen=True, order=True)
class Span:
    """A half-open range of pixels or tiles on one axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Level:
    """One resolution of the pyramid; 0 is the full resolution."""

    index: int
    height: int
    width: int
    tile_size: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def tile_rows(self) -> int:
        """Number of rows of tiles; edge tiles count as whole."""
        return ceil_div(self.height, self.tile_size)

    @property
    def tile_cols(self) -> int:
        """Number of columns of tiles; edge tiles count as whole."""
        return ceil_div(self.width, self.tile_size)


def overview_sizes(
    height: int, width: int, tile_size: int, overview_count: int | None
) -> list[tuple[int, int]]:
    """Give the sizes of all levels, full resolution first.

    Parameters
    ----------
    height, width : int
        Full resolution, in pixels.
    tile_size : int
        Levels are added until one fits a tile (GDAL COG driver, automatic overviews).
    overview_count : int or None
        Number of overviews instead of the automatic one.

    Returns
    -------
    list of (int, int)
        Each size is the floor half of the one before it, at least 1.

    Examples
    --------
    >>> overview_sizes(1031, 600, 256, None)
    [(1031, 600), (515, 300), (257, 150), (128, 75)]
    """
    sizes = [(height, width)]
    while True:
        height, width = sizes[-1]
        if overview_count is None:
            done = height <= tile_size and width <= tile_size
        else:
            done = len(sizes) > overview_count or (height, width) == (1, 1)
        if done:
            return sizes
        sizes.append((max(1, height // 2), max(1, width // 2)))


def legal_tile_size(height: int, width: int, blocksize: int) -> int:
    """Lower the tile side of a level that would not count as tiled.

    A level larger than 512 pixels whose tiles are as wide as the level is "not tiled"
    for rio-cogeo's cog_validate, whatever its height.

    Parameters
    ----------
    height, width : int
        Size of the level, in pixels.
    blocksize : int
        Tile side asked for.

    Returns
    -------
    int
        `blocksize`, or its largest divisor that is a multiple of 16 where needed: a
        divisor, so that chunks stay made of whole tiles.

    Examples
    --------
    >>> legal_tile_size(5000, 512, 512), legal_tile_size(5000, 600, 512)
    (256, 512)
    """
    if max(height, width) <= UNTILED_LIMIT or width != blocksize:
        return blocksize
    smaller = range(blocksize - TILE_STEP, 0, -TILE_STEP)
    return next((each for each in smaller if blocksize % each == 0), blocksize)


def is_stalled(source: Level, target: Level) -> bool:
    """Whether GDAL makes a level from the full resolution, not from the one before it.

    It takes the level before only where that one is wider (gcore/overview.cpp,
    GDALRegenerateOverviewsMultiBand), which a level of width 1 no longer is.
    """
    return source.width == target.width


def source_span(
    target: Span, source_size: int, target_size: int, support: int = 0
) -> Span:
    """Give the source pixels that a range of overview pixels is made from.

    Target pixel i covers [i*r, (i+1)*r) with r = source_size / target_size
    (GDAL overview.cpp: fractional windows at odd sizes), and reads `support` pixels
    more to either side.

    Examples
    --------
    >>> source_span(Span(0, 4), 9, 4)
    Span(start=0, stop=9)
    >>> source_span(Span(2, 3), 20, 10, support=2)
    Span(start=2, stop=8)
    """
    if not len(target):
        return Span(0, 0)
    start = target.start * source_size // target_size - support
    stop = ceil_div(target.stop * source_size, target_size) + support
    return Span(max(0, start), min(source_size, stop))


def finished_targets(
    stop: int, source_size: int, target_size: int, support: int = 0
) -> int:
    """Count the overview pixels that need no source pixel from `stop` on.

    Examples
    --------
    >>> finished_targets(8, 20, 10), finished_targets(8, 20, 10, support=2)
    (4, 3)
    >>> finished_targets(20, 20, 10, support=2)
    10
    """
    if stop >= source_size:
        return target_size
    return max(0, (stop - support) * target_size // source_size)


@dataclass(frozen=True)
class AxisChunk:
    """What one chunk of a stage owns and needs on one axis."""

    own: tuple[Span, ...]
    """Pixels per level of the stage, and of the level handed up if there is one."""
    need: tuple[Span, ...]
    """The same with the halo that the levels above are made from."""

    def own_slice(self, step: int) -> slice:
        """Where the owned pixels stand among the needed ones."""
        start = self.own[step].start - self.need[step].start
        return slice(start, start + len(self.own[step]))


@dataclass(frozen=True)
class Stage:
    """Consecutive levels made by one task per chunk.

    A chunk covers whole tiles of every level, so that every level of the stage is made
    inside the chunk.
    """

    index: int
    chunk_size: int
    """Side of a chunk in pixels of the first level."""
    levels: tuple[Level, ...]
    handed_up: Level | None
    """The level that the next stage starts from, None in the last stage."""
    band_group: int
    """Number of bands in a chunk."""
    count: int
    """Number of bands of the raster."""
    support: int = 0
    """Source pixels that an overview pixel reads beyond its window, to either side."""

    def __post_init__(self) -> None:
        if self.support < 0:
            raise ValueError(f"support is {self.support}; it cannot be negative")

    @property
    def all_levels(self) -> tuple[Level, ...]:
        """Levels made in a chunk, the handed-up one included."""
        return (*self.levels, self.handed_up) if self.handed_up else self.levels

    @property
    def chunk_rows(self) -> int:
        """Number of rows of chunks."""
        return ceil_div(self.levels[0].height, self.chunk_size)

    @property
    def chunk_cols(self) -> int:
        """Number of columns of chunks."""
        return ceil_div(self.levels[0].width, self.chunk_size)

    @property
    def groups(self) -> int:
        """Number of groups of bands."""
        return ceil_div(self.count, self.band_group)

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return self.groups * self.chunk_rows * self.chunk_cols

    def bands(self, group: int) -> Span:
        """Bands of a group."""
        start = group * self.band_group
        return Span(start, min(start + self.band_group, self.count))

    def axis_chunk(self, axis: int, index: int) -> AxisChunk:
        """Give what chunk `index` owns and needs on an axis (0 rows, 1 columns)."""
        sizes = [level.size[axis] for level in self.all_levels]
        own = []
        for step, size in enumerate(sizes[: len(self.levels)]):
            side = self.chunk_size >> step
            start = min(index * side, size)
            own.append(Span(start, min(start + side, size)))
        if self.handed_up:
            # the targets that read nothing beyond the chunk: so a chunk needs pixels
            # of the chunks above and to the left only, which come first
            last, above = own[-1], self.handed_up.size[axis]
            start, stop = (
                finished_targets(end, sizes[len(own) - 1], above, self.support)
                for end in (last.start, last.stop)
            )
            own.append(Span(start, stop))
        need = [own[-1]]
        for step in range(len(sizes) - 2, -1, -1):
            wanted = source_span(need[0], sizes[step], sizes[step + 1], self.support)
            start = (
                min(own[step].start, wanted.start) if len(wanted) else own[step].start
            )
            need.insert(0, Span(start, own[step].stop))
        return AxisChunk(tuple(own), tuple(need))

    def halo(self, axis: int) -> int:
        """Give the largest number of pixels needed before a chunk on an axis."""
        chunks = self.chunk_rows if axis == 0 else self.chunk_cols
        pieces = [self.axis_chunk(axis, index) for index in range(chunks)]
        return max(each.own[0].start - each.need[0].start for each in pieces)


def plan_stages(
    levels: tuple[Level, ...],
    *,
    count: int,
    band_group: int,
    chunk_size: int,
    depth: int,
    support: int = 0,
    source_count: int | None = None,
) -> tuple[Stage, ...]:
    """Split the levels into stages of at most ``depth + 1`` levels.

    A stage goes on to the next level only where each target pixel is made from exactly
    two by two: at an odd size the windows drift across the edges of chunks, so the
    tiles of that level are made in a stage of their own. Wide kernels always reach
    across the edges, so every level has its own stage unless one chunk holds it all.
    The last stages have smaller chunks, since they are made when all else is done.

    Parameters
    ----------
    levels : tuple of Level
        The whole pyramid.
    count : int
        Number of bands.
    band_group : int
        Bands per chunk.
    chunk_size : int
        Side of a chunk in pixels.
    depth : int
        How often a chunk can be halved and still consist of whole tiles.
    support : int
        Source pixels that an overview pixel reads beyond its window, to either side.
    source_count : int or None
        Bands that the first stage takes, where the later ones carry more.

    Returns
    -------
    tuple of Stage
        Every level belongs to exactly one stage.
    """
    stages: list[Stage] = []
    start = 0
    while start < len(levels):
        first = levels[start]
        if start and depth and not support and max(first.size) <= chunk_size:
            # all wait for this one chunk: let several threads share it
            chunk_size, depth = chunk_size // 2, depth - 1
        stop = start + 1
        while (
            stop < len(levels)
            and stop - start <= depth
            and _stays_inside(first, levels[stop - 1], chunk_size, support)
        ):
            stop += 1
        handed_up = levels[stop] if stop < len(levels) else None
        taken = count if start or source_count is None else source_count
        stages.append(
            Stage(
                len(stages),
                chunk_size,
                levels[start:stop],
                handed_up,
                min(band_group, taken),
                taken,
                support,
            )
        )
        start = stop
    return tuple(stages)


def _stays_inside(first: Level, source: Level, chunk_size: int, support: int) -> bool:
    """Whether chunks of a stage can make whole tiles of the level after `source`."""
    return all(
        whole <= chunk_size or (side % 2 == 0 and not support)
        for whole, side in zip(first.size, source.size, strict=True)
    )
