"""Web-optimised output: a raster on the grid of a tiling scheme, as GDAL places it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import rasterio.crs
import rasterio.warp

from lazycog import _source, _warp_graph, _windows
from lazycog._encoding import settle_nodata, stored_dtype
from lazycog._extras import require
from lazycog._georef import IDENTITY
from lazycog._grid import ceil_div
from lazycog._plan import CHUNK_BYTES, plan_cog
from lazycog._schemes import find_scheme
from lazycog.errors import InputError

if TYPE_CHECKING:
    from lazycog._georef import Description
    from lazycog._options import CogOptions
    from lazycog._schemes import Scheme
    from lazycog._write import Raster

TILING_SCHEME = "TILING_SCHEME"
"""Domain in which GDAL's COG driver names the scheme and the zoom level."""
MAX_LATITUDE = 85.0511287798066
"""Where EPSG:3857 ends; GDAL cuts geographic rasters there before it looks for a
resolution (frmts/gtiff/cogdriver.cpp)."""
SNAP_TOLERANCE = 0.499
"""Pixels by which a raster may pass the edge of a tile without taking the next."""
UNIT_SIZE = 512
MIN_UNIT_SIZE = 16
MAX_SOURCE_SIDE = 4096
"""Side of the source window that a unit may need: beyond it units get smaller."""


@dataclass(frozen=True)
class Placement:
    """Where a raster lies in a tiling scheme."""

    scheme: Scheme
    zoom: int
    aligned_levels: int
    blocksize: int
    rows: tuple[int, int]
    """First and last (exclusive) tile."""
    cols: tuple[int, int]

    @property
    def resolution(self) -> float:
        """Size of a pixel, in units of the CRS."""
        return self.scheme.resolution(self.zoom, self.blocksize)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (
            (self.rows[1] - self.rows[0]) * self.blocksize,
            (self.cols[1] - self.cols[0]) * self.blocksize,
        )

    @property
    def transform(self) -> _windows.Six:
        """Transform of the full resolution."""
        side = self.resolution * self.blocksize
        return (
            self.resolution,
            0.0,
            self.scheme.left + self.cols[0] * side,
            0.0,
            -self.resolution,
            self.scheme.top - self.rows[0] * side,
        )

    @property
    def metadata(self) -> dict[str, str]:
        """Items that GDAL writes."""
        items = {"NAME": self.scheme.name, "ZOOM_LEVEL": str(self.zoom)}
        if self.aligned_levels:
            items["ALIGNED_LEVELS"] = str(self.aligned_levels)
        return items


def project(raster: Raster, options: CogOptions) -> Raster:
    """Put a raster lazily onto the grid of the tiling scheme asked for.

    Parameters
    ----------
    raster : Raster
        Pixels and description, its mask last if it has one.
    options : CogOptions
        Their ``tiling_scheme`` is not None.

    Returns
    -------
    Raster
        With a mask where pixels lie beyond the source and no nodata or alpha says so.

    Raises
    ------
    InputError
        The raster has no CRS, no place, or none that the scheme reaches.
    MissingExtraError
        odc-geo is not installed.
    """
    require(
        "odc.geo.warp",
        "tiling_scheme= needs odc-geo ({error}): pip install 'lazycog[web]'",
    )
    source = _source_grid(raster)
    placement = place(source, options)
    description = _described(raster.description, placement)
    nodata = settle_nodata(raster.description, options)
    alpha = None if raster.mask_given else raster.description.alpha
    mask: Literal["none", "given", "coverage"] = "none"
    if raster.mask_given:
        mask = "given"
    elif nodata is None and alpha is None:
        mask = "coverage"
    warp = _windows.Warp(
        source,
        _windows.Grid(placement.scheme.crs, placement.transform, *placement.size),
        _kernel(raster.description, options),
        nodata,
    )
    warp = replace(
        warp, scale=_windows.measured_scale(warp), slack=_windows.datum_slack(warp)
    )
    warp = replace(warp, unit=_unit_size(warp, placement))
    array = _source.as_lazy(raster.pixels)
    plan = plan_cog(
        description,
        placement.size,
        options,
        mask_given=mask != "none",
    )
    side = _block_side(warp, plan.stages[0].chunk_size, array.chunks[0], array.dtype)
    units = _windows.unit_windows(warp)
    return replace(
        raster,
        pixels=_warp_graph.lazy(array, warp, side, units, mask=mask, alpha=alpha),
        description=description,
        mask_given=mask != "none",
        waiting_bytes=_warp_graph.waiting_bytes(
            array, warp, plan.stages[0].chunk_size, units
        ),
    )


def _source_grid(raster: Raster) -> _windows.Grid:
    """Read where the raster is, and refuse what cannot be placed.

    Raises
    ------
    InputError
        There is no CRS, no transform, or a rotated one.
    """
    description = raster.description
    if description.gcps:
        raise InputError(
            "the raster is placed by ground control points, which tiling_scheme= does "
            "not reproject; rectify it first, for example with .rio.reproject()"
        )
    if description.crs_wkt is None:
        raise InputError(
            "the raster has no CRS, so it has no place in a tiling scheme; set it with "
            ".rio.write_crs('EPSG:...')"
        )
    if description.transform == IDENTITY:
        raise InputError(
            "the raster has neither coordinates nor a transform, so it has no place in "
            "a tiling scheme; set one with .rio.write_transform(transform)"
        )
    if description.transform[1] or description.transform[3]:
        raise InputError(
            f"the transform {description.transform} is rotated, which tiling_scheme= "
            "does not reproject; rectify the raster first, for example with "
            ".rio.reproject()"
        )
    return _windows.Grid(description.crs_wkt, description.transform, *raster.size)


def _described(description: Description, placement: Placement) -> Description:
    crs = rasterio.crs.CRS.from_user_input(placement.scheme.crs)
    return replace(
        description,
        crs_wkt=crs.to_wkt(),
        transform=placement.transform,
        namespaces={**description.namespaces, TILING_SCHEME: placement.metadata},
    )


def _kernel(description: Description, options: CogOptions) -> str:
    """Choose the kernel as GDAL does: numbers that name something are not mixed."""
    if options.warp_resampling is not None:
        return options.warp_resampling
    kind = np.dtype(description.dtype).kind
    named = description.colormap is not None or kind in "bc"
    return "nearest" if named else "cubic"


def place(source: _windows.Grid, options: CogOptions) -> Placement:
    """Choose zoom level and tiles as GDAL's COG driver does.

    Parameters
    ----------
    source : Grid
        The raster.
    options : CogOptions
        Their ``tiling_scheme`` is not None.

    Returns
    -------
    Placement
        Whole tiles that cover the raster.

    Raises
    ------
    InputError
        The raster lies outside the scheme.
    """
    scheme = find_scheme(str(options.tiling_scheme))
    resolution, (left, bottom, right, top) = _suggested(source, scheme)
    zoom = options.zoom_level
    if zoom is None:
        zoom = scheme.nearest_zoom(resolution, options.blocksize)
    own = scheme.resolution(zoom, options.blocksize)
    side, slack = own * options.blocksize, own * SNAP_TOLERANCE
    aligned = min(options.aligned_levels or 0, zoom)
    step = 2 ** max(0, aligned - 1)
    rows_of, cols_of = scheme.matrix_sizes[zoom]
    # a larger or smaller tile than the scheme's covers as much ground
    first_col, first_row = (
        max(0, math.floor((distance + slack) / side) // step * step)
        for distance in (left - scheme.left, scheme.top - top)
    )
    last_col, last_row = (
        min(limit, ceil_div(math.ceil((distance - slack) / side), step) * step)
        for distance, limit in (
            (right - scheme.left, cols_of),
            (scheme.top - bottom, rows_of),
        )
    )
    if first_col >= last_col or first_row >= last_row:
        raise InputError(
            f"the raster's extent in the scheme's CRS, {left, bottom, right, top}, is "
            f"outside of tiling_scheme={scheme.name!r}; choose a scheme that reaches it"
        )
    return Placement(
        scheme,
        zoom,
        aligned,
        options.blocksize,
        (first_row, last_row),
        (first_col, last_col),
    )


def _suggested(
    source: _windows.Grid, scheme: Scheme
) -> tuple[float, tuple[float, float, float, float]]:
    """Give GDAL's resolution and extent of a raster in another CRS.

    Raises
    ------
    InputError
        The raster cannot be reprojected.
    """
    a, _, left, _, e, top = source.transform
    own, other = (
        rasterio.crs.CRS.from_user_input(each.crs) for each in (source, scheme)
    )
    height = source.height
    if other.to_epsg() == 3857 and own.is_geographic and e < 0:  # noqa: PLR2004 - Web Mercator
        top, height = _cut_at_poles(top, e, height)
    if not height:
        raise InputError(
            f"the raster lies beyond latitude {MAX_LATITUDE:.2f}, where "
            f"tiling_scheme={scheme.name!r} ends; choose a scheme that reaches it"
        )
    right, bottom = left + a * source.width, top + e * height
    try:
        transform, width, height = rasterio.warp.calculate_default_transform(
            own,
            other,
            source.width,
            height,
            left=min(left, right),
            right=max(left, right),
            top=max(top, bottom),
            bottom=min(top, bottom),
        )
    except rasterio.errors.RasterioError as error:
        raise InputError(
            f"the raster cannot be reprojected to tiling_scheme={scheme.name!r}: "
            f"{error}. Check .rio.crs and .rio.transform()"
        ) from error
    extent = (
        transform.c,
        transform.f + transform.e * height,
        transform.c + transform.a * width,
        transform.f,
    )
    return float(transform.a), extent


def _cut_at_poles(top: float, step: float, height: int) -> tuple[float, int]:
    """Cut whole rows beyond the latitude where Web Mercator ends."""
    bottom = top + step * height
    upper, lower = min(top, MAX_LATITUDE), max(bottom, -MAX_LATITUDE)
    if (upper, lower) == (top, bottom):
        return top, height
    skipped = math.floor((upper - top) / step + 0.001)
    rows = max(0, math.floor((lower - upper) / step + 0.5))
    return top + step * skipped, rows


def _unit_size(warp: _windows.Warp, placement: Placement) -> int:
    """Choose the side of the squares that are reprojected one by one.

    About 512 pixels in steps of a tile, less where the target is so much coarser than
    the source that the window of a unit would be large.
    """
    unit = placement.blocksize
    while 2 * unit <= UNIT_SIZE:
        unit *= 2
    scale = min(warp.scale)
    while unit % 2 == 0 and (
        unit > UNIT_SIZE or (unit > MIN_UNIT_SIZE and unit > scale * MAX_SOURCE_SIDE)
    ):
        unit //= 2
    return unit


def _block_side(
    warp: _windows.Warp,
    chunk_size: int,
    band_chunks: tuple[int, ...],
    dtype: np.dtype[np.generic],
) -> int:
    """Choose the side of a block: that of a chunk of the write, if memory allows it.

    A block holds as many bands as a chunk of the source.
    """
    itemsize = np.dtype(stored_dtype(dtype.name)).itemsize
    volume = max(band_chunks) * itemsize
    scale = min(1.0, *warp.scale)
    side = max(chunk_size, warp.unit)
    while side % 2 == 0 and side // 2 >= warp.unit:
        if volume * (side / scale) ** 2 <= 2 * CHUNK_BYTES:
            break
        side //= 2
    return side
