"""Reading from S3, with the options that s3fs takes for the same bucket."""

from __future__ import annotations

import asyncio

import fsspec
import numpy as np
import pytest

import lazycog
import oracles

pytestmark = pytest.mark.cloud
PIXELS = np.random.default_rng(0).integers(0, 2000, (5, 300, 400), "uint16")


@pytest.fixture(scope="module")
def bucket(moto_server, tmp_path_factory):
    """Files in a bucket; gives s3fs's options."""
    client = fsspec.filesystem("s3", **moto_server)
    client.call_s3("create_bucket", Bucket="reading")
    folder = tmp_path_factory.mktemp("files")
    for interleave, predictor in [("pixel", 2), ("band", 1)]:
        path = folder / f"{interleave}.tif"
        array = oracles.raster(PIXELS, nodata=0)
        oracles.write(
            array, path, interleave=interleave, predictor=predictor, blocksize=64
        )
        client.put_file(str(path), f"reading/a folder/{path.name}")
    oracles.gdal_cog(folder / "jpeg.tif", PIXELS[:1].astype("uint8"), compress="JPEG")
    client.put_file(str(folder / "jpeg.tif"), "reading/a folder/jpeg.tif")
    return folder, moto_server


@pytest.mark.parametrize("name", ["pixel", "band", "jpeg"])
def test_objects_are_read_as_the_files_are(bucket, name):
    """By both readers: JPEG is GDAL's, through the same store."""
    folder, options = bucket
    url = f"s3://reading/a folder/{name}.tif"

    array = lazycog.open_cog(url, chunks={"y": 128, "x": 128}, storage_options=options)
    window = asyncio.run(
        lazycog.read_window(url, (10, 99), (70, 300), storage_options=options)
    )

    expected = lazycog.open_cog(folder / f"{name}.tif").compute()
    assert array.compute().identical(expected)
    assert np.array_equal(window, expected.values[:, 10:99, 70:300])


def test_missing_object_is_named(bucket):
    _, options = bucket

    with pytest.raises(lazycog.InputError, match=r"s3://reading/b\.tif: no such file"):
        lazycog.open_cog("s3://reading/b.tif", storage_options=options)
