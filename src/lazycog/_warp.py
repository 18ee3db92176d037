"""Lazy reprojection of a raster, block by block, each chunk of the source read once.

The target is divided into small squares (units) that depend on the two grids alone, not
on how the source is chunked. Every unit is reprojected on its own, from a window of the
source that is wide enough for the kernel: so no seam shows where chunks meet, and the
pixels are the same for any chunking. A task makes a block of units from the chunks of
the source that their windows touch.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lazycog._grid import ceil_div
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from odc.geo.geobox import GeoBox

Six = tuple[float, float, float, float, float, float]
Box = tuple[int, int, int, int]
"""First and last row (exclusive), first and last column (exclusive)."""
Block = NDArray[np.generic]

SUPPORT = {
    "nearest": 1,
    "bilinear": 1,
    "cubic": 2,
    "cubicspline": 2,
    "lanczos": 3,
    "average": 1,
    "rms": 1,
    "mode": 1,
}
"""Source pixels that a kernel reads to either side, at equal resolutions
(alg/gdalwarpkernel.cpp)."""
SLACK = 2
"""Source pixels more: GDAL interpolates positions within an eighth of a pixel."""
LATTICE = 5
"""Positions per side of a unit that its window is estimated from."""
DENSE_LATTICE = 65
"""The same where some of them have no place in the source's CRS."""
SAMPLES = 21
"""Positions per side that the scale is measured at."""
TURN = 360.0
"""Longitudes repeat."""


@dataclass(frozen=True)
class Grid:
    """Where pixels are: a CRS, a transform without rotation, and a size."""

    crs: str
    transform: Six
    height: int
    width: int

    def coordinates(
        self, row: NDArray[np.float64], col: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give x and y of positions in pixels; longitudes within half a turn."""
        from pyproj import CRS  # noqa: PLC0415 - an extra

        a, _, c, _, e, f = self.transform
        x, y = a * col + c, e * row + f
        if CRS.from_user_input(self.crs).is_geographic:
            with np.errstate(invalid="ignore"):
                x = x - TURN * np.round(x / TURN)
        return x, y

    def positions(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Give rows and columns, in pixels; infinite where there is none."""
        a, _, c, _, e, f = self.transform
        result = np.stack([(y - f) / e, (x - c) / a])
        result[:, ~np.isfinite(result).all(axis=0)] = np.inf
        return result

    def geobox(self, box: Box) -> GeoBox:
        """Give a part of the grid to odc-geo."""
        from affine import Affine  # noqa: PLC0415 - an extra brings odc-geo
        from odc.geo.geobox import GeoBox  # noqa: PLC0415

        top, bottom, left, right = box
        moved = Affine(*self.transform) @ Affine.translation(left, top)
        return GeoBox((bottom - top, right - left), moved, self.crs)


@dataclass(frozen=True)
class Warp:
    """How pixels of one grid become those of another."""

    source: Grid
    target: Grid
    kernel: str
    nodata: float | int | None
    """Of the source and of the target; pixels without source are 0 without one."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Target pixels per source pixel (along its columns, along its rows): kernels are
    widened below 0.95. GDAL derives it anew for every piece that it reprojects; one
    value for all keeps the pieces alike."""
    slack: float = 0.0
    """Source pixels by which positions may be off."""
    unit: int = 512
    """Side of a unit in target pixels."""

    @property
    def unit_counts(self) -> tuple[int, int]:
        """Rows and columns of units."""
        return (
            ceil_div(self.target.height, self.unit),
            ceil_div(self.target.width, self.unit),
        )


@dataclass(frozen=True)
class Unit:
    """A square of the target and the window of the source that it is made from."""

    target: Box
    source: Box


def measured_scale(warp: Warp) -> tuple[float, float]:
    """Measure how many target pixels a source pixel becomes, in the middle of many.

    Parameters
    ----------
    warp : Warp
        The two grids.

    Returns
    -------
    (float, float)
        Along the source's columns (x) and rows (y).
    """
    source, target = warp.source, warp.target
    row, col = _samples(source)
    here = _moved(source, target, row, col)
    inside = (here >= 0).all(axis=0)
    inside &= (here[0] <= target.height) & (here[1] <= target.width)
    scales = []
    for down, right in ((0.0, 0.5), (0.5, 0.0)):
        ends = [
            _moved(source, target, row + sign * down, col + sign * right)
            for sign in (-1, 1)
        ]
        with np.errstate(invalid="ignore"):
            lengths = np.hypot(*(ends[1] - ends[0]))
        known = lengths[inside & np.isfinite(lengths)]
        scales.append(float(np.median(known)) if known.size else 1.0)
    return scales[0], scales[1]


def _samples(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give rows and columns of pixel centres spread over a grid."""
    rows = np.linspace(0, grid.height - 1, SAMPLES) + 0.5
    cols = np.linspace(0, grid.width - 1, SAMPLES) + 0.5
    row, col = np.meshgrid(rows, cols, indexing="ij")
    return row.ravel(), col.ravel()


def unit_windows(warp: Warp) -> list[list[Unit]]:
    """Give all units, row by row.

    Parameters
    ----------
    warp : Warp
        The two grids.

    Returns
    -------
    list of list of Unit
        A unit beyond the source has an empty window.
    """
    rows, cols = warp.unit_counts
    return [
        [
            Unit(box, window)
            for box, window in zip(boxes, _windows(warp, boxes), strict=True)
        ]
        for boxes in (
            [_unit_box(warp, row, col) for col in range(cols)] for row in range(rows)
        )
    ]


def _unit_box(warp: Warp, row: int, col: int) -> Box:
    top, left = row * warp.unit, col * warp.unit
    return (
        top,
        min(top + warp.unit, warp.target.height),
        left,
        min(left + warp.unit, warp.target.width),
    )


def _windows(warp: Warp, boxes: Sequence[Box]) -> Iterator[Box]:
    """Give the source windows of a row of units."""
    positions = _source_positions(warp, boxes, LATTICE)
    for box, own in zip(boxes, positions, strict=True):
        spread = None
        if not np.isfinite(own).all():
            (own,) = _source_positions(warp, [box], DENSE_LATTICE)  # noqa: PLW2901 - the same, finer
            if not np.isfinite(own).all(axis=0).any():
                yield (0, 0, 0, 0)
                continue
            spread = _steps(own, 1)
        rows, cols = (
            _axis_window(warp, axis, box, own[axis], spread) for axis in (0, 1)
        )
        empty = rows[0] >= rows[1] or cols[0] >= cols[1]
        yield (0, 0, 0, 0) if empty else (*rows, *cols)


def _axis_window(
    warp: Warp,
    axis: int,
    box: Box,
    positions: NDArray[np.float64],
    spread: tuple[float, float] | None,
) -> tuple[int, int]:
    """Give the range of source pixels on an axis (0 rows, 1 columns).

    Between the positions of the lattice the mapping bends by less than its second
    differences; where part of it is missing, a whole step is added.
    """
    both = np.stack([positions, positions])
    bend = spread[axis] if spread else _steps(both, 2)[0]
    side = min(box[1] - box[0], box[3] - box[2])
    step = max(1.0, (side - 1) / (positions.shape[0] - 1))
    shrink = max(1.0, 1 / min(warp.scale), _steps(both, 1)[0] / step)
    margin = bend + SUPPORT[warp.kernel] * shrink + SLACK + 2 * warp.slack
    size = (warp.source.height, warp.source.width)[axis]
    known = positions[np.isfinite(positions)]
    start, stop = known.min() - margin, known.max() + margin
    return max(0, math.floor(min(start, size))), min(size, math.ceil(max(stop, 0)))


def _steps(positions: NDArray[np.float64], order: int) -> tuple[float, float]:
    """Give the largest differences along either side of a lattice, per source axis."""
    result = []
    for own in positions:
        found = [0.0]
        for axis in (0, 1):
            if own.shape[axis] > order:
                with np.errstate(invalid="ignore"):
                    step = np.abs(np.diff(own, order, axis=axis))
                step = step[np.isfinite(step)]
                found.append(float(step.max()) if step.size else 0.0)
        result.append(max(found))
    return result[0], result[1]


def _source_positions(
    warp: Warp, boxes: Sequence[Box], count: int
) -> NDArray[np.float64]:
    """Map lattices of pixel centres into the source.

    Returns
    -------
    ndarray, shape (box, 2, count, count)
        Row and column, in source pixels; infinite where there is none.
    """
    rows = np.stack([np.linspace(box[0], box[1] - 1, count) for box in boxes]) + 0.5
    cols = np.stack([np.linspace(box[2], box[3] - 1, count) for box in boxes]) + 0.5
    lattice = (len(boxes), count, count)
    row = np.broadcast_to(rows[:, :, np.newaxis], lattice).ravel()
    col = np.broadcast_to(cols[:, np.newaxis, :], lattice).ravel()
    found = _moved(warp.target, warp.source, row, col)
    return np.moveaxis(found.reshape(2, *lattice), 0, 1)


def _moved(
    own: Grid, other: Grid, row: NDArray[np.float64], col: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Map positions of one grid to another.

    Returns
    -------
    ndarray, shape (2, n)
        Row and column; infinite where there is none.
    """
    from pyproj import Transformer  # noqa: PLC0415 - an extra

    transformer = Transformer.from_crs(own.crs, other.crs, always_xy=True)
    x, y = transformer.transform(*own.coordinates(row, col))
    if transformer.target_crs is not None and transformer.target_crs.is_geographic:
        a, c = other.transform[0], other.transform[2]
        centre = c + a * other.width / 2
        with np.errstate(invalid="ignore"):
            x = x - TURN * np.round((x - centre) / TURN)
    return other.positions(x, y)


def datum_slack(warp: Warp) -> float:
    """Say how far PROJ as GDAL has it and as pyproj has it disagree.

    Windows come from the one and pixels from the other; the two may know different
    datum shifts.

    Returns
    -------
    float
        In source pixels.
    """
    import rasterio.warp  # noqa: PLC0415 - GDAL takes long to load
    from rasterio.crs import CRS  # noqa: PLC0415

    row, col = _samples(warp.source)
    there = _moved(warp.source, warp.target, row, col)
    back = _moved(warp.target, warp.source, *there)
    with np.errstate(invalid="ignore"):
        sure = np.hypot(back[0] - row, back[1] - col) < 1
    chosen = np.flatnonzero(sure)[:: max(1, int(sure.sum()) // SAMPLES)]
    if not chosen.size:
        return 0.0
    x, y = rasterio.warp.transform(
        CRS.from_user_input(warp.target.crs),
        CRS.from_user_input(warp.source.crs),
        *warp.target.coordinates(*there[:, chosen]),
    )
    found = warp.source.positions(np.asarray(x), np.asarray(y))
    apart = np.abs(found - back[:, chosen])
    apart = apart[:, np.isfinite(apart).all(axis=0)]
    return float(np.median(apart.max(axis=0))) if apart.size else 0.0


Role = Literal["plain", "checked", "valid", "covered"]
"""What a block holds: pixels, pixels of which some are invalid, whether they are valid,
or where the source is at all."""


@dataclass(frozen=True)
class BlockTask:
    """How to make one block of the target."""

    warp: Warp
    units: tuple[Unit, ...]
    box: Box
    count: int
    """Number of bands."""
    dtype: str
    role: Role
    places: tuple[tuple[int, int, int], ...] = ()
    """First band, row and column of each piece of the pixels."""
    valid_places: tuple[tuple[int, int, int], ...] = ()
    """The same of the band that says which pixels are valid."""
    valid_band: int = 0
    """Its index in those pieces."""
    alpha: int | None = None
    """Band of the block that is taken as it is, since it is what the others obey."""


def warp_block(task: BlockTask, *pieces: Block) -> Block:
    """Reproject one block.

    Parameters
    ----------
    task : BlockTask
        What to make.
    *pieces : ndarray, shape (band, height, width)
        Chunks of the source: those of the pixels, then those that say where they are
        valid.

    Returns
    -------
    ndarray, shape (band, height, width)
        The block.
    """
    import rasterio  # noqa: PLC0415 - GDAL takes long to load

    top, bottom, left, right = task.box
    fill = task.warp.nodata or 0
    if task.role in {"valid", "covered"}:
        fill = 0
    out = np.full((task.count, bottom - top, right - left), fill, dtype=task.dtype)
    own = pieces[: len(task.places)]
    checks = pieces[len(task.places) :]
    with rasterio.Env(CHECK_WITH_INVERT_PROJ="YES"):
        for unit in task.units:
            if unit.source[0] == unit.source[1]:
                continue
            rows = slice(unit.target[0] - top, unit.target[1] - top)
            cols = slice(unit.target[2] - left, unit.target[3] - left)
            valid = None
            if task.valid_places:
                window = _window(
                    unit.source, task.valid_band, task.valid_places, checks
                )
                valid = window != 0
            for band in range(task.count):
                pixels = (
                    None
                    if task.role == "covered"
                    else _window(unit.source, band, task.places, own)
                )
                obeyed = None if band == task.alpha else valid
                out[band, rows, cols] = _warp_unit(task, unit, pixels, obeyed)
    return out


def _window(
    box: Box,
    band: int,
    places: Iterable[tuple[int, int, int]],
    pieces: Iterable[Block],
) -> Block:
    """Put a window of one band together from pieces of the source.

    Raises
    ------
    InputError
        A piece is a masked array, whose mask would be lost.
    """
    top, bottom, left, right = box
    out: Block | None = None
    for (first, row, col), piece in zip(places, pieces, strict=True):
        if isinstance(piece, np.ma.MaskedArray):
            raise InputError(
                "a chunk of the source is a numpy.ma.MaskedArray; fill it first, for "
                "example dask.array.ma.filled(array, nodata)"
            )
        count, height, width = piece.shape
        low, high = max(top, row), min(bottom, row + height)
        start, stop = max(left, col), min(right, col + width)
        if not first <= band < first + count or low >= high or start >= stop:
            continue
        if out is None:
            out = np.empty((bottom - top, right - left), dtype=piece.dtype)
        out[low - top : high - top, start - left : stop - left] = piece[
            band - first, low - row : high - row, start - col : stop - col
        ]
    if out is None:
        raise InputError(
            f"the source has no pixels for rows {top} to {bottom}, columns {left} to "
            f"{right}; its chunks differ from what it announced"
        )
    return out


def _warp_unit(
    task: BlockTask, unit: Unit, pixels: Block | None, valid: NDArray[np.bool_] | None
) -> Block:
    """Reproject one band of a unit."""
    height = unit.source[1] - unit.source[0]
    width = unit.source[3] - unit.source[2]
    if task.role in {"valid", "covered"}:
        there = np.ones((height, width), dtype=np.uint8)
        if pixels is not None:
            there = (pixels != 0).astype(np.uint8)
        return _reproject(task.warp, unit, there, "nearest", None).astype(task.dtype)
    if pixels is None:
        raise ValueError(f"role {task.role!r} needs pixels")
    kernel, nodata = task.warp.kernel, task.warp.nodata
    if valid is None:
        work = pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels
        return _reproject(task.warp, unit, work, kernel, nodata).astype(task.dtype)
    return _warp_checked(task, unit, pixels, valid)


def _warp_checked(
    task: BlockTask, unit: Unit, pixels: Block, valid: NDArray[np.bool_]
) -> Block:
    """Reproject pixels some of which are invalid: as NaN, which no kernel takes in."""
    if pixels.dtype.kind == "c":
        halves = [
            _warp_checked_real(task, unit, half, valid)
            for half in (pixels.real, pixels.imag)
        ]
        return (halves[0] + 1j * halves[1]).astype(task.dtype)
    result = _warp_checked_real(task, unit, pixels, valid)
    if pixels.dtype.kind in "ui":
        limits = np.iinfo(pixels.dtype)
        result = np.clip(np.floor(result + 0.5), limits.min, limits.max)
    elif pixels.dtype.kind == "b":
        result = result >= 0.5  # noqa: PLR2004 - rounds half up
    return result.astype(task.dtype)


def _warp_checked_real(
    task: BlockTask, unit: Unit, pixels: Block, valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    if task.warp.nodata is not None:
        valid = valid & (pixels != task.warp.nodata)
    work = np.where(valid, pixels.astype(np.float64), np.nan)
    result = _reproject(task.warp, unit, work, task.warp.kernel, math.nan)
    return np.where(np.isnan(result), task.warp.nodata or 0, result)


def _reproject(
    warp: Warp, unit: Unit, pixels: Block, kernel: str, nodata: float | None
) -> Block:
    from odc.geo.warp import rio_reproject  # noqa: PLC0415 - an extra

    height = unit.target[1] - unit.target[0]
    width = unit.target[3] - unit.target[2]
    out = np.zeros((height, width), dtype=pixels.dtype)
    x_scale, y_scale = warp.scale
    result: Block = rio_reproject(
        pixels,
        out,
        warp.source.geobox(unit.source),
        warp.target.geobox(unit.target),
        "cubic_spline" if kernel == "cubicspline" else kernel,
        nodata,
        0 if nodata is None else nodata,
        XSCALE=x_scale,
        YSCALE=y_scale,
    )
    return result


def blocks(
    warp: Warp, side: int, units: Sequence[Sequence[Unit]]
) -> Iterator[tuple[int, int, Box, tuple[Unit, ...]]]:
    """Group units into blocks.

    Parameters
    ----------
    warp : Warp
        The two grids.
    side : int
        Side of a block, a multiple of the unit's.
    units : sequence of sequence of Unit
        All of them.

    Yields
    ------
    row, col : int
        Position of the block.
    box : Box
        Its pixels.
    units : tuple of Unit
        What it is made of.
    """
    step = side // warp.unit
    height, width = warp.target.height, warp.target.width
    for row, col in itertools.product(
        range(ceil_div(height, side)), range(ceil_div(width, side))
    ):
        box = (
            row * side,
            min((row + 1) * side, height),
            col * side,
            min((col + 1) * side, width),
        )
        rows = units[row * step : (row + 1) * step]
        own = itertools.chain.from_iterable(
            each[col * step : (col + 1) * step] for each in rows
        )
        yield row, col, box, tuple(own)


def touched(
    units: Sequence[Unit], row_edges: Sequence[int], col_edges: Sequence[int]
) -> list[tuple[int, int]]:
    """Give the chunks of the source that a block needs, as (row, col).

    Examples
    --------
    >>> unit = Unit((0, 8, 0, 8), (3, 12, 0, 4))
    >>> touched([unit], [0, 10, 20], [0, 10, 20])
    [(0, 0), (1, 0)]
    """
    found: set[tuple[int, int]] = set()
    for unit in units:
        top, bottom, left, right = unit.source
        if top == bottom:
            continue
        rows = _between(row_edges, top, bottom)
        cols = _between(col_edges, left, right)
        found.update(itertools.product(rows, cols))
    return sorted(found)


def _between(edges: Sequence[int], start: int, stop: int) -> range:
    first = int(np.searchsorted(edges, start, side="right")) - 1
    last = int(np.searchsorted(edges, stop, side="left"))
    return range(first, last)


def lazy(
    array: Any,  # noqa: ANN401 - dask is untyped
    warp: Warp,
    side: int,
    *,
    mask: Literal["none", "given", "coverage"],
    alpha: int | None,
) -> Any:  # noqa: ANN401
    """Build the reprojected array.

    Parameters
    ----------
    array : dask.array.Array
        Pixels of the source (band, row, col).
    warp : Warp
        The two grids.
    side : int
        Side of a block of the target, a multiple of the unit's.
    mask : {"none", "given", "coverage"}
        Whether the last band of the source is a mask, or one is added that says where
        the source is.
    alpha : int or None
        Band of which 0 makes a pixel invalid.

    Returns
    -------
    dask.array.Array
        Pixels of the target, with the mask last if there is one.
    """
    import dask.array  # noqa: PLC0415 - with the writing graph only
    from dask._task_spec import Task, TaskRef  # noqa: PLC0415
    from dask.base import tokenize  # noqa: PLC0415
    from dask.highlevelgraph import HighLevelGraph  # noqa: PLC0415

    name = f"warp-{tokenize(array.name, warp, side, mask, alpha)}"
    layers = Layers(array, warp, mask=mask, alpha=alpha)
    tasks: dict[Any, Any] = {}
    for row, col, box, units in blocks(warp, side, unit_windows(warp)):
        for band, (task, needed) in enumerate(layers.block_tasks(box, units)):
            references = [TaskRef((array.name, *each)) for each in needed]
            key = (name, band, row, col)
            tasks[key] = Task(key, warp_block, task, *references)
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[array])
    chunks = (
        layers.band_chunks,
        _cut(warp.target.height, side),
        _cut(warp.target.width, side),
    )
    return dask.array.Array(graph, name, chunks=chunks, dtype=array.dtype)


def _cut(size: int, side: int) -> tuple[int, ...]:
    return tuple(min(side, size - start) for start in range(0, size, side))


class Layers:
    """Chunks of bands of the source, and what becomes of each."""

    def __init__(
        self,
        array: Any,  # noqa: ANN401 - dask is untyped
        warp: Warp,
        *,
        mask: Literal["none", "given", "coverage"],
        alpha: int | None,
    ) -> None:
        self._warp = warp
        self._dtype = array.dtype.name
        self._edges = [
            [0, *(int(edge) for edge in itertools.accumulate(sizes))]
            for sizes in array.chunks
        ]
        counts = [int(each) for each in array.chunks[0]]
        self._mask = mask
        # which band says where pixels are valid, and in which chunk of bands it is
        valid = sum(counts) - 1 if mask == "given" else alpha
        self._valid = None if valid is None else self._locate(valid)
        self.band_chunks: tuple[int, ...] = tuple(counts)
        if mask == "coverage":
            self.band_chunks = (*counts, 1)
        if mask == "given" and counts[-1] > 1:
            self.band_chunks = (*counts[:-1], counts[-1] - 1, 1)

    def _locate(self, band: int) -> tuple[int, int]:
        chunk = int(np.searchsorted(self._edges[0], band, side="right")) - 1
        return chunk, band - self._edges[0][chunk]

    def _alpha_of(self, chunk: int) -> int | None:
        """Where in a chunk of bands the alpha band is."""
        if self._valid is None or self._mask == "given" or self._valid[0] != chunk:
            return None
        return self._valid[1]

    def block_tasks(
        self, box: Box, units: tuple[Unit, ...]
    ) -> Iterator[tuple[BlockTask, list[tuple[int, int, int]]]]:
        """Give a task per chunk of bands, with the source chunks that it needs."""
        positions = touched(units, self._edges[1], self._edges[2])
        spots = [(self._edges[1][row], self._edges[2][col]) for row, col in positions]
        last = len(self.band_chunks) - 1
        for number, count in enumerate(self.band_chunks):
            chunk, first = min(number, len(self._edges[0]) - 2), 0
            role: Role = "plain"
            if self._mask != "none" and number == last:
                role = "covered" if self._mask == "coverage" else "valid"
                first = self._valid[1] if self._valid else 0
            elif self._valid is not None:
                role = "checked"
            reads = [] if role == "covered" else [(chunk, *each) for each in positions]
            checks = (
                [(self._valid[0], *each) for each in positions]
                if role == "checked" and self._valid
                else []
            )
            task = BlockTask(
                self._warp,
                units,
                box,
                count,
                self._dtype,
                role,
                places=tuple((-first, *spot) for spot in spots[: len(reads)]),
                valid_places=tuple((0, *spot) for spot in spots[: len(checks)]),
                valid_band=self._valid[1] if self._valid else 0,
                alpha=self._alpha_of(chunk),
            )
            yield task, [*reads, *checks]
