"""S3: the contract of all sinks, and whole writes, on Swift, moto and a named store."""

from __future__ import annotations

import itertools

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
import servers
from buckets import NAME, Bucket
from contracts import UploadContract
from lazycog.sinks.s3 import S3Sink
from oracles import raster

pytestmark = pytest.mark.cloud
MIB = 2**20
names = (f"object-{number}.tif" for number in itertools.count())


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Wait less between attempts."""
    monkeypatch.setattr("lazycog.sinks._retry.FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture(
    scope="module", params=["swift", "moto"] + ["s3"] * bool(servers.named_s3())
)
def store(request):
    """A bucket on each server."""
    return Bucket(request.getfixturevalue(f"{request.param}_server"))


class TestS3Sink(UploadContract):
    """A real server and a simulated one."""

    @pytest.fixture(autouse=True)
    def destination(self, store):
        self.bucket, self.key = store, next(names)

    def make(self, *, overwrite=True, is_lazy=False):
        return S3Sink(
            f"s3://{NAME}/{self.key}",
            "token",
            overwrite,
            options=self.bucket.options,
            is_lazy=is_lazy,
        )


@pytest.mark.parametrize("size", [(500, 500), (3000, 3000)], ids=["whole", "parts"])
def test_metadata_and_encryption_come_from_the_options(moto_server, size):
    """For an object that is sent at once, and for one in parts."""
    client = fsspec.filesystem("s3", **moto_server)
    client.call_s3("create_bucket", Bucket="extras")
    extra = {"ServerSideEncryption": "AES256", "Metadata": {"owner": "me"}}
    options = {**moto_server, "s3_additional_kwargs": extra}
    pixels = np.random.default_rng(0).integers(0, 60_000, (1, *size), "uint16")
    array = raster(da.from_array(pixels, chunks=(1, 1024, 1024)))

    lazycog.to_cog(
        array, "s3://extras/a.tif", storage_options=options, part_size=5 * MIB
    )

    found = client.call_s3("head_object", Bucket="extras", Key="a.tif")
    assert found["ServerSideEncryption"] == "AES256"
    assert found["Metadata"]["owner"] == "me"
    assert ("-" in found["ETag"]) == (size[0] > 1000)


def test_credentials_are_in_no_name_and_no_text(moto_server):
    """Of a graph: keys, and what its tasks show of themselves."""
    array = raster(da.zeros((1, 2000, 2000), chunks=512, dtype="uint8"))

    lazy = lazycog.to_cog(
        array, "s3://extras/b.tif", storage_options=moto_server, compute=False
    )

    graph = dict(lazy.__dask_graph__())
    assert "testing" not in " ".join(map(str, graph))
    assert "testing" not in " ".join(map(repr, graph.values()))
