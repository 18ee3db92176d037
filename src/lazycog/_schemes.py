"""Tiling schemes: grids of tiles that every zoom level of a web map shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from lazycog._extras import require
from lazycog._profile import did_you_mean
from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from morecantile import TileMatrixSet

MERCATOR_EDGE = 20037508.342789244
"""Half the circumference of EPSG:3857, where GDAL's GoogleMapsCompatible begins."""
TILE_SIZE = 256
GOOGLE_LEVELS = 31
INSPIRE_LEVELS = 18
"""Zoom levels of the schemes that GDAL has built in (gcore/tilematrixset.cpp)."""
RATIO_TOLERANCE = 1e-8
"""Departure from a resolution that still counts as equal (GDAL's COG driver)."""


@dataclass(frozen=True)
class Scheme:
    """A grid of square tiles whose resolution doubles from zoom level to zoom level."""

    name: str
    """As the file's metadata gives it."""
    crs: str
    """As rasterio reads it."""
    left: float
    top: float
    tile_size: int
    resolutions: tuple[float, ...]
    """Size of a pixel per zoom level, 0 first, in units of the CRS."""
    matrix_sizes: tuple[tuple[int, int], ...]
    """Rows and columns of tiles per zoom level."""

    def __post_init__(self) -> None:
        """Refuse a scheme that a pyramid of halvings cannot follow."""
        pairs = zip(self.resolutions, self.resolutions[1:], strict=False)
        if any(
            not math.isclose(low, 2 * high, rel_tol=RATIO_TOLERANCE)
            for low, high in pairs
        ):
            raise OptionError(
                f"tiling_scheme={self.name!r}: its resolutions do not double from "
                "level to level, as overviews do; choose one whose do, for example "
                "'GoogleMapsCompatible'"
            )

    def resolution(self, zoom: int, blocksize: int) -> float:
        """Size of a pixel at a zoom level where a tile is `blocksize` pixels wide.

        Examples
        --------
        >>> round(find_scheme("GoogleMapsCompatible").resolution(0, 512), 3)
        78271.517
        """
        return self.resolutions[zoom] * self.tile_size / blocksize

    def nearest_zoom(self, resolution: float, blocksize: int) -> int:
        """Choose the zoom level as GDAL does (ZOOM_LEVEL_STRATEGY=AUTO).

        Parameters
        ----------
        resolution : float
            Size of a pixel to come close to, in units of the CRS.
        blocksize : int
            Side of a tile in pixels.

        Returns
        -------
        int
            The level whose resolution differs by the smaller factor; the finest where
            even that is coarser.

        Examples
        --------
        >>> find_scheme("GoogleMapsCompatible").nearest_zoom(30.0, 256)
        12
        """
        last = len(self.resolutions) - 1
        zoom, own = 0, self.resolution(0, blocksize)
        while zoom < last and resolution < own * (1 - RATIO_TOLERANCE):
            zoom += 1
            own = self.resolution(zoom, blocksize)
        same = math.isclose(resolution, own, rel_tol=RATIO_TOLERANCE)
        if zoom and not same and resolution > own:
            coarser = self.resolution(zoom - 1, blocksize)
            return zoom - (coarser / resolution < resolution / own)
        return zoom


def _google() -> Scheme:
    edge = MERCATOR_EDGE
    return Scheme(
        "GoogleMapsCompatible",
        "EPSG:3857",
        -edge,
        edge,
        TILE_SIZE,
        tuple(2 * edge / TILE_SIZE / 2**zoom for zoom in range(GOOGLE_LEVELS)),
        tuple((2**zoom, 2**zoom) for zoom in range(GOOGLE_LEVELS)),
    )


def _inspire() -> Scheme:
    return Scheme(
        "InspireCRS84Quad",
        "EPSG:4326",
        -180.0,
        90.0,
        TILE_SIZE,
        tuple(180 / TILE_SIZE / 2**zoom for zoom in range(INSPIRE_LEVELS)),
        tuple((2**zoom, 2 * 2**zoom) for zoom in range(INSPIRE_LEVELS)),
    )


BUILT_IN: Mapping[str, Callable[[], Scheme]] = {
    "googlemapscompatible": _google,
    "inspirecrs84quad": _inspire,
}
"""Schemes that GDAL's COG driver knows without a file."""


def find_scheme(name: str) -> Scheme:
    """Look a tiling scheme up by its name.

    Parameters
    ----------
    name : str
        "GoogleMapsCompatible", "InspireCRS84Quad", or an id of morecantile's.

    Returns
    -------
    Scheme
        The scheme.

    Raises
    ------
    MissingExtraError
        The name is not built in, and morecantile is not installed.
    OptionError
        There is no such scheme, or one that a COG cannot follow.

    Examples
    --------
    >>> find_scheme("GoogleMapsCompatible").tile_size
    256
    """
    if not isinstance(name, str):
        raise OptionError(
            f"tiling_scheme={name!r}: give a name, for example 'GoogleMapsCompatible'"
        )
    if name.lower() in BUILT_IN:
        return BUILT_IN[name.lower()]()
    return _look_up(name)


@lru_cache(maxsize=32)
def _look_up(name: str) -> Scheme:
    """Ask morecantile, whose import takes long."""
    require(
        "morecantile",
        f"tiling_scheme={name!r} is known to morecantile "
        "({error}): pip install 'lazycog[web]', or use 'GoogleMapsCompatible'",
    )
    import morecantile

    known = {each.lower(): each for each in morecantile.tms.list()}
    if name.lower() not in known:
        names = ["GoogleMapsCompatible", "InspireCRS84Quad", *known.values()]
        raise OptionError(
            f"tiling_scheme={name!r}: choose one of {', '.join(names)}"
            f"{did_you_mean(name, names)}"
        )
    own_name = known[name.lower()]
    return _from_morecantile(own_name, morecantile.tms.get(own_name))


def _from_morecantile(name: str, tms: TileMatrixSet) -> Scheme:
    """Take over a scheme, refusing what GDAL's COG driver refuses."""
    matrices = tms.tileMatrices
    alike = {
        (
            tuple(each.pointOfOrigin),
            each.tileWidth,
            each.tileHeight,
            each.cornerOfOrigin,
        )
        for each in matrices
    }
    first = matrices[0]
    if (
        len(alike) > 1
        or first.tileWidth != first.tileHeight
        or first.cornerOfOrigin != "topLeft"
        or any(each.variableMatrixWidths for each in matrices)
    ):
        raise OptionError(
            f"tiling_scheme={name!r}: its zoom levels do not share one origin and one "
            "square tile; choose one whose do, for example 'GoogleMapsCompatible'"
        )
    # axes in the order of the CRS, which may begin with north
    x, y = reversed(first.pointOfOrigin) if tms._invert_axis else first.pointOfOrigin  # noqa: SLF001 - no public reader
    return Scheme(
        name,
        tms.rasterio_crs.to_wkt(),
        float(x),
        float(y),
        first.tileWidth,
        tuple(float(each.cellSize) for each in matrices),
        tuple((each.matrixHeight, each.matrixWidth) for each in matrices),
    )
