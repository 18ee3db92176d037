"""A STAC item says what the file says."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from rasterio import warp

import lazycog
from oracles import raster, write

pytest.importorskip("pystac")
shapely = pytest.importorskip("shapely")
WHEN = "2024-05-01T10:30:00Z"


@pytest.fixture
def result(tmp_path):
    """A file with names, units, nodata and statistics."""
    pixels = np.random.default_rng(0).integers(0, 90, (2, 300, 400)).astype("uint16")
    return write(
        raster(pixels, nodata=0),
        tmp_path / "scene.tif",
        descriptions=["red", "nir"],
        units=["1", "1"],
        scales=[0.1, 0.1],
    )


def test_an_item_describes_the_file(result):
    """Against rasterio and the bytes themselves."""
    item = result.to_stac_item(datetime=WHEN)

    asset = item.assets["data"]
    with rasterio.open(result.path) as dataset:
        bounds = warp.transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
        assert item.properties["proj:shape"] == list(dataset.shape)
        assert item.properties["proj:transform"] == list(dataset.transform)[:6]
        assert item.properties["proj:code"] == f"EPSG:{dataset.crs.to_epsg()}"
        tags = dataset.tags(2)
    assert item.id == "scene"
    assert item.datetime == datetime(2024, 5, 1, 10, 30, tzinfo=UTC)
    assert item.bbox == pytest.approx(list(bounds), abs=1e-6)
    data = Path(result.path).read_bytes()
    assert asset.extra_fields["file:size"] == len(data)
    checksum = asset.extra_fields["file:checksum"]
    assert checksum == "1220" + hashlib.sha256(data).hexdigest()
    band = asset.extra_fields["raster:bands"][1]
    assert (band["name"], band["data_type"], band["nodata"]) == ("nir", "uint16", 0)
    assert (band["scale"], band["offset"], band["unit"]) == (0.1, 0.0, "1")
    assert band["statistics"]["mean"] == pytest.approx(float(tags["STATISTICS_MEAN"]))


def test_the_label_of_a_file_is_its_time(tmp_path):
    """Of many files, each knows its own."""
    days = np.array(["2024-05-01", "2024-05-09"], "M8[ns]")
    cube = xr.DataArray(
        np.ones((2, 64, 64), "u1"), {"time": days}, dims=("time", "y", "x")
    )
    cube = cube.rio.write_crs(32631).rio.write_transform(Affine(9, 0, 5e5, 0, -9, 4e6))

    results = cube.geo.to_cogs(tmp_path / "{time:%d}.tif", dim="time", progress=False)

    times = [each.to_stac_item().datetime for each in results]
    assert times == [datetime(2024, 5, day, tzinfo=UTC) for day in (1, 9)]


@pytest.mark.parametrize("when", [None, "yesterday"])
def test_a_time_is_needed(result, when):
    """None is made up."""
    with pytest.raises(lazycog.OptionError, match="datetime="):
        result.to_stac_item(datetime=when)


def test_a_place_is_needed(tmp_path):
    """An item without one is of no use."""
    pixels = np.ones((20, 20), "u1")
    result = write(raster(pixels, crs=None, transform=None), tmp_path / "a.tif")

    with pytest.raises(lazycog.InputError, match="needs a CRS"):
        result.to_stac_item(datetime=WHEN)


def inside(geometry, lon, lat):
    """Whether a point is in a GeoJSON geometry, by shapely."""
    return shapely.geometry.shape(geometry).covers(shapely.Point(lon, lat))


EARTH = {
    "longitudes to 360": (4326, Affine(2, 0, -1, 0, -2, 91), (91, 180)),
    "Pacific": (4326, Affine(2, 0, 150, 0, -2, 40), (40, 50)),
    "west of it": (4326, Affine(2, 0, 181, 0, -2, 40), (40, 50)),
    "UTM zone 60": (32660, Affine(9e3, 0, 5e5, 0, -9e3, 1e6), (60, 60)),
    "North Pole": (3413, Affine(5e4, 0, -2e6, 0, -5e4, 2e6), (80, 80)),
    "South Pole": (3031, Affine(5e4, 0, -2e6, 0, -5e4, 2e6), (80, 80)),
    "Europe": (32632, Affine(9e3, 0, 3e5, 0, -9e3, 5e6), (60, 60)),
}


@pytest.mark.parametrize("name", EARTH)
def test_a_footprint_is_on_earth_and_holds_the_pixels(tmp_path, name):
    """Whether they lie around the Earth, across 180 degrees or around a pole."""
    crs, transform, (height, width) = EARTH[name]
    array = raster(np.ones((height, width), "u1"), crs=crs, transform=transform)

    item = write(array, tmp_path / "a.tif").to_stac_item(datetime=WHEN)

    west, south, east, north = item.bbox
    assert -180 <= west <= 180 >= east >= -180
    assert -90 <= south < north <= 90
    shape = shapely.geometry.shape(item.geometry)
    assert shape.is_valid
    assert shape.within(shapely.box(-180, -90, 180, 90))
    places = [(r, c) for r in (0, 7, height - 1) for c in (0, 9, width - 1)]
    places.append((height // 2, width // 2))
    beyond = [(-9, 7), (height + 9, 7)] if crs == 4326 else [(-9, -9), (7, width + 9)]
    for expected, pixels in ((True, places), (False, beyond)):
        for row, col in pixels:
            x, y = transform @ (col + 0.5, row + 0.5)
            (lon,), (lat,) = warp.transform(crs, "EPSG:4326", [x], [y])
            lon = math.remainder(lon, 360)
            if abs(lat) > 90:
                continue
            across = west > east
            within = west <= lon or lon <= east if across else west <= lon <= east
            assert inside(item.geometry, lon, lat) is expected, (row, col)
            assert not expected or (within and south <= lat <= north)


def test_a_box_across_180_degrees_begins_in_the_west(tmp_path):
    """Its west is larger than its east (RFC 7946, section 5.2)."""
    crs, transform, size = EARTH["Pacific"]
    array = raster(np.ones(size, "u1"), crs=crs, transform=transform)

    item = write(array, tmp_path / "a.tif").to_stac_item(datetime=WHEN)

    assert item.bbox == pytest.approx([150, -40, -110, 40])
    assert item.geometry["type"] == "MultiPolygon"
