"""A STAC item says what the file says."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from rasterio.warp import transform_bounds

import lazycog
from oracles import raster, write

pytest.importorskip("pystac")
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
        bounds = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
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
