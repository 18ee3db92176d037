"""A STAC item that describes a COG as it was written."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform

from lazycog._extras import require
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from pystac import Item

    from lazycog._plan import CogPlan
    from lazycog._result import CogResult
    from lazycog._statistics import BandStatistics

MEDIA_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
SHA256 = "1220"
"""Prefix of a multihash: SHA-256, 32 bytes (file extension, file:checksum)."""
READ_BYTES = 2**22
SAMPLES_PER_EDGE = 21
"""Points per edge of the footprint: edges bend between coordinate systems."""
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
PROJECTION_EXTENSION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER_EXTENSION = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
Ring = list[tuple[float, float]]
HALF_TURN, FULL_TURN, POLE = 180.0, 360.0, 90.0
TOLERANCE = 1e-9
"""Degrees that a raster may reach beyond 180 by rounding."""
COMPLEX = {"complex64": "cfloat32", "complex128": "cfloat64"}
"""Types that the raster extension calls otherwise than NumPy."""


def to_item(
    result: CogResult, plan: CogPlan, name: str | None, when: object, href: str | None
) -> Item:
    """Describe a file; see :meth:`lazycog.CogResult.to_stac_item`.

    Raises
    ------
    MissingExtraError
        pystac is not installed.
    """
    require("pystac", "to_stac_item needs pystac: pip install 'lazycog[stac]'")
    import pystac

    geometry, bbox = _footprint(plan)
    item = pystac.Item(
        id=name or Path(result.path).stem,
        geometry=geometry,
        bbox=bbox,
        datetime=_moment(plan, when),
        properties=_projection(plan),
        stac_extensions=[FILE_EXTENSION, PROJECTION_EXTENSION, RASTER_EXTENSION],
    )
    fields: dict[str, Any] = {
        "file:size": result.size,
        "raster:bands": [
            _band(plan, index, found) for index, found in enumerate(result.statistics)
        ],
    }
    if Path(result.path).is_file():
        fields["file:checksum"] = SHA256 + _sha256(result.path)
    item.add_asset(
        "data",
        pystac.Asset(
            href=href or result.path,
            media_type=MEDIA_TYPE,
            roles=["data"],
            extra_fields=fields,
        ),
    )
    return item


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _moment(plan: CogPlan, when: object) -> datetime:
    """Take the caller's time, or that of the label that the file is of."""
    text = plan.description.tags.get("time") if when is None else when
    if text is None:
        raise OptionError(
            "datetime=None: the file has no time of its own; say when it was acquired, "
            "for example datetime='2024-05-01T10:30:00Z'"
        )
    try:
        moment = text if isinstance(text, datetime) else _parsed(str(text))
    except ValueError as error:
        raise OptionError(
            f"datetime={text!r}: give a datetime or its ISO 8601 text: {error}"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parsed(text: str) -> datetime:
    if text.endswith("Z") or "+" in text:
        return datetime.fromisoformat(text)
    # NumPy cuts nanoseconds, which a label may have
    moment: datetime = np.datetime64(text).astype("M8[us]").item()
    return moment


def _footprint(plan: CogPlan) -> tuple[dict[str, Any], list[float]]:
    """Give the outline of the raster in longitude and latitude."""
    wkt = plan.description.crs_wkt
    if wkt is None or plan.description.gcps:
        raise InputError(
            "a STAC item needs a CRS and a transform, and this raster has none; set "
            "them with .rio.write_crs() and .rio.write_transform()"
        )
    a, b, c, d, e, f = plan.description.transform
    places = [(col * plan.width, row * plan.height) for col, row in _outline()]
    eastings = [a * col + b * row + c for col, row in places]
    northings = [d * col + e * row + f for col, row in places]
    lon, lat = transform(wkt, "EPSG:4326", eastings, northings)[:2]
    if not all(map(math.isfinite, (*lon, *lat))):
        raise InputError(
            "the raster's outline has no longitude and latitude; a STAC item cannot "
            "place it"
        )
    parts = _on_earth(list(zip(lon, lat, strict=True)))
    south, north = (pick(y for part in parts for _, y in part) for pick in (min, max))
    west, east = min(x for x, _ in parts[0]), max(x for x, _ in parts[-1])
    rings = [[[*map(list, part), list(part[0])]] for part in parts]
    single = len(rings) == 1
    geometry = {
        "type": "Polygon" if single else "MultiPolygon",
        "coordinates": rings[0] if single else rings,
    }
    return geometry, [west, south, east, north]


def _on_earth(ring: Ring) -> list[Ring]:
    """Bring an outline between 180 degrees west and east, in one part or two."""
    lon = ring[0][0]
    unrolled = []
    for x, y in [*ring, ring[0]]:
        lon += math.remainder(x - lon, FULL_TURN)
        unrolled.append((lon, max(-POLE, min(POLE, y))))
    if abs(unrolled[-1][0] - unrolled[0][0]) > HALF_TURN:
        return [_around_pole(unrolled[:-1])]
    (west, south), (east, north) = (
        [pick(values) for values in zip(*unrolled, strict=True)] for pick in (min, max)
    )
    if east - west >= FULL_TURN - TOLERANCE:
        corners = ((-1, north), (-1, south), (1, south), (1, north))
        return [[(side * HALF_TURN, y) for side, y in corners]]
    return _split(unrolled[:-1])


def _around_pole(ring: Ring) -> Ring:
    """Close an outline with a pole in it along 180 degrees and the pole."""
    places = sorted((math.remainder(x, FULL_TURN), y) for x, y in ring)
    (x0, y0), (x1, y1) = places[-1], places[0]
    gap = x1 + FULL_TURN - x0
    edge = y0 + (y1 - y0) * (HALF_TURN - x0) / gap if gap else y0
    pole = math.copysign(POLE, sum(y for _, y in places))
    last = [(HALF_TURN, edge), (HALF_TURN, pole)]
    return [(-HALF_TURN, pole), (-HALF_TURN, edge), *places, *last]


def _split(ring: Ring) -> list[Ring]:
    """Cut at 180 degrees, as GeoJSON wants it (RFC 7946, section 3.1.9)."""
    west = min(x for x, _ in ring)
    shift = -FULL_TURN * math.floor((west + HALF_TURN) / FULL_TURN)
    moved = [(x + shift, y) for x, y in ring]
    if max(x for x, _ in moved) <= HALF_TURN + TOLERANCE:
        return [[(min(x, HALF_TURN), y) for x, y in moved]]
    behind = [(x - FULL_TURN, y) for x, y in _cut(moved, HALF_TURN, keep=1)]
    return [_cut(moved, HALF_TURN, keep=-1), behind]


def _cut(ring: Ring, limit: float, *, keep: int) -> Ring:
    """Keep what is west (-1) or east (1) of a meridian."""
    kept: Ring = []
    for (x0, y0), (x1, y1) in pairwise([*ring, ring[0]]):
        inside = [keep * (x - limit) >= 0 for x in (x0, x1)]
        if inside[0]:
            kept.append((x0, y0))
        if inside[0] != inside[1]:
            kept.append((limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)))
    return kept


def _outline() -> list[tuple[float, float]]:
    """Give points along the edges of a unit square: (col, row), left side first."""
    steps = [each / (SAMPLES_PER_EDGE - 1) for each in range(SAMPLES_PER_EDGE)]
    down, back = steps[:-1], [1 - each for each in steps[:-1]]
    return [
        *((0.0, each) for each in down),
        *((each, 1.0) for each in down),
        *((1.0, each) for each in back),
        *((each, 0.0) for each in back),
    ]


def _projection(plan: CogPlan) -> dict[str, Any]:
    crs = CRS.from_wkt(str(plan.description.crs_wkt))
    authority = crs.to_authority()
    return {
        "proj:code": ":".join(authority) if authority else None,
        **({} if authority else {"proj:wkt2": crs.to_wkt()}),
        "proj:shape": [plan.height, plan.width],
        "proj:transform": list(plan.description.transform),
    }


def _band(plan: CogPlan, index: int, found: BandStatistics | None) -> dict[str, Any]:
    band = plan.description.bands[index]
    nodata = plan.description.nodata
    said: dict[str, Any] = {
        "data_type": COMPLEX.get(plan.encoding.dtype, plan.encoding.dtype)
    }
    if band.description:
        said["name"] = band.description
    if nodata is not None:
        finite = math.isfinite(nodata)
        said["nodata"] = nodata if finite else str(nodata)
    if band.unit:
        said["unit"] = band.unit
    if (band.scale, band.offset) != (1.0, 0.0):
        said |= {"scale": band.scale, "offset": band.offset}
    if found is not None:
        said["statistics"] = {
            "minimum": found.minimum,
            "maximum": found.maximum,
            "mean": found.mean,
            "stddev": found.stddev,
            "valid_percent": found.valid_percent,
        }
    return said
