"""Read over HTTP, our files cost no more requests and bytes than GDAL's own."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from urllib.parse import urlsplit

import fsspec
import numpy as np
import pytest
from async_geotiff import GeoTIFF, Window
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from obstore.store import HTTPStore

from faults import Handler, proxied
from oracles import gdal_cog, raster, write
from range_server import serving

LOG = logging.getLogger(__name__)
FILES = ("gdal.tif", "ours.tif")
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


SAME = {"compress": "deflate", "nodata": None, "statistics": False}
PART = 5 * 2**20
BUCKET = "requests"


@pytest.fixture(scope="module")
def scene():
    """A raster of 61 MB, which compresses by half."""
    generator = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(3100), np.arange(3300))
    return (ramp + generator.integers(0, 60, (3, 3100, 3300))).astype("uint16")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scene):
    """The raster by GDAL's COG driver and by lazycog, with equal tiles."""
    path = tmp_path_factory.mktemp("served")
    gdal_cog(
        path / "gdal.tif",
        scene,
        COMPRESS="DEFLATE",
        PREDICTOR="YES",
        OVERVIEW_RESAMPLING="AVERAGE",
    )
    write(raster(scene), path / "ours.tif", **SAME)
    return path


@pytest.fixture(scope="module")
def bucket(folder, scene, swift_server):
    """GDAL's file as one object, ours in parts; gives the port.

    GDAL's default level, 6, is libdeflate's 7.
    """
    client = fsspec.filesystem("s3", **swift_server)
    client.call_s3("create_bucket", Bucket=BUCKET)
    client.pipe_file(f"{BUCKET}/gdal.tif", (folder / "gdal.tif").read_bytes())
    to_store = {"storage_options": swift_server, "part_size": PART}
    write(raster(scene), f"s3://{BUCKET}/ours.tif", level=7, **SAME, **to_store)
    assert client.info(f"{BUCKET}/ours.tif")["ETag"].strip('"').endswith("-8")
    return urlsplit(swift_server["endpoint_url"]).port


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


class Public(Handler):
    """A line to Swift on which anybody may read: it signs each request itself."""

    def passed(self, port):
        headers = {k: v for k, v in self.headers.items() if k.lower() == "range"}
        url = f"http://127.0.0.1:{port}{self.path}"
        request = AWSRequest(self.command, url, headers=headers)
        user = Credentials("test:tester", "testing")
        S3SigV4Auth(user, "s3", "us-east-1").add_auth(request)
        return dict(request.headers)


@pytest.mark.parametrize("read", [by_gdal, by_async_geotiff])
@pytest.mark.parametrize("name", WINDOWS)
def test_a_cold_read_costs_no_more(folder, read, name):
    """One tile, a large window, an overview; requests and bytes."""
    cost = {}
    for file in FILES:
        with serving(folder) as server:
            read(server.url(file), *WINDOWS[name])
            gets = server.ranges
            cost[file] = (len(gets), server.sent_bytes)

    assert cost["ours.tif"][0] <= cost["gdal.tif"][0]
    # GDAL reads its first 16 KiB in one go: what follows the header then differs
    assert cost["ours.tif"][1] <= 1.02 * cost["gdal.tif"][1]


@pytest.mark.cloud
@pytest.mark.parametrize("read", [by_gdal, by_async_geotiff])
@pytest.mark.parametrize("name", WINDOWS)
def test_a_cold_read_from_a_store_costs_no_more(bucket, read, name):
    """The same from Swift, where GDAL's file is one object and ours came in parts."""
    cost = {}
    for file in FILES:
        with proxied(bucket, 0, handler=Public, rate=0) as (proxy, port):
            read(f"http://127.0.0.1:{port}/{BUCKET}/{file}", *WINDOWS[name])
            sizes = [size for _, size in proxy.answers]
            cost[file] = (len(sizes), sum(sizes))

    LOG.info("(requests, bytes): %s", cost)
    assert cost["ours.tif"][0] <= cost["gdal.tif"][0]
    assert cost["ours.tif"][1] <= cost["gdal.tif"][1]
