"""Two grids, and which window of the one every part of the other is made from.

The target is divided into small squares (units) that depend on the two grids alone, not
on how the source is chunked. Every unit is reprojected on its own, from a window of the
source that is wide enough for the kernel: so no seam shows where chunks meet, and the
pixels are the same for any chunking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import rasterio.crs
import rasterio.warp
from affine import Affine

from lazycog._grid import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

Six = tuple[float, float, float, float, float, float]
Box = tuple[int, int, int, int]
"""First and last row (exclusive), first and last column (exclusive)."""

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
        a, _, c, _, e, f = self.transform
        x, y = a * col + c, e * row + f
        if pyproj.CRS.from_user_input(self.crs).is_geographic:
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
        from odc.geo.geobox import GeoBox

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
    """Give all units, row by row; one beyond the source has an empty window."""
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
    transformer = pyproj.Transformer.from_crs(own.crs, other.crs, always_xy=True)
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
    row, col = _samples(warp.source)
    there = _moved(warp.source, warp.target, row, col)
    back = _moved(warp.target, warp.source, *there)
    with np.errstate(invalid="ignore"):
        sure = np.hypot(back[0] - row, back[1] - col) < 1
    chosen = np.flatnonzero(sure)[:: max(1, int(sure.sum()) // SAMPLES)]
    if not chosen.size:
        return 0.0
    x, y = rasterio.warp.transform(
        rasterio.crs.CRS.from_user_input(warp.target.crs),
        rasterio.crs.CRS.from_user_input(warp.source.crs),
        *warp.target.coordinates(*there[:, chosen]),
    )
    found = warp.source.positions(np.asarray(x), np.asarray(y))
    apart = np.abs(found - back[:, chosen])
    apart = apart[:, np.isfinite(apart).all(axis=0)]
    return float(np.median(apart.max(axis=0))) if apart.size else 0.0
