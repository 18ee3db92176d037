"""Read over HTTP, our files cost no more requests and bytes than GDAL's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest
from async_geotiff import GeoTIFF, Window
from obstore.store import HTTPStore

from oracles import gdal_cog, raster, write
from range_server import serving

WINDOWS = {
    "one tile": (0, (1100, 1200), (1100, 1200)),
    "2,048 pixels": (0, (300, 2348), (500, 2548)),
    "an overview": (2, (0, 700), (0, 700)),
}
BY_GDAL = """
import sys
import rasterio
from rasterio.windows import Window
url, level, top, bottom, left, right = sys.argv[1], *map(int, sys.argv[2:])
how = {"overview_level": level - 1} if level else {}
with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_NUM_THREADS="1"):
    with rasterio.open("/vsicurl/" + url, **how) as dataset:
        dataset.read(window=Window(left, top, right - left, bottom - top))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same raster by GDAL's COG driver and by lazycog, with equal tiles."""
    path = tmp_path_factory.mktemp("served")
    generator = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(3100), np.arange(3300))
    pixels = (ramp + generator.integers(0, 60, (3, 3100, 3300))).astype("uint16")
    gdal_cog(
        path / "gdal.tif",
        pixels,
        COMPRESS="DEFLATE",
        PREDICTOR="YES",
        OVERVIEW_RESAMPLING="AVERAGE",
    )
    write(
        raster(pixels),
        path / "ours.tif",
        compress="deflate",
        nodata=None,
        statistics=False,
    )
    return path


def by_gdal(url, level, rows, cols):
    """Read with /vsicurl in a process without any cache."""
    numbers = map(str, (level, *rows, *cols))
    subprocess.run([sys.executable, "-c", BY_GDAL, url, *numbers], check=True)


def by_async_geotiff(url, level, rows, cols):
    """Read with async-geotiff and obstore."""

    async def read():
        base, _, name = url.rpartition("/")
        store = HTTPStore(base, client_options={"allow_http": True})
        tiff = await GeoTIFF.open(name, store=store)
        image = tiff.overviews[level - 1] if level else tiff
        window = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
        await image.read(window=window)

    asyncio.run(read())


@pytest.mark.parametrize("read", [by_gdal, by_async_geotiff])
@pytest.mark.parametrize("name", WINDOWS)
def test_a_cold_read_costs_no_more(folder, read, name):
    """One tile, a large window, an overview; requests and bytes."""
    cost = {}
    for file in ("gdal.tif", "ours.tif"):
        with serving(folder) as server:
            read(server.url(file), *WINDOWS[name])
            gets = server.ranges
            cost[file] = (len(gets), server.sent_bytes)

    assert cost["ours.tif"][0] <= cost["gdal.tif"][0]
    # GDAL reads its first 16 KiB in one go: what follows the header then differs
    assert cost["ours.tif"][1] <= 1.02 * cost["gdal.tif"][1]
