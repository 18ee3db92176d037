"""S3: the contract of all sinks, and whole writes, on Swift, moto and a named store."""

from __future__ import annotations

import itertools

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
import servers
from contracts import StoreContract
from lazycog.sinks.s3 import S3Sink
from oracles import raster

pytestmark = pytest.mark.cloud
BUCKET = "bucket"
MIB = 2**20
names = (f"object-{number}.tif" for number in itertools.count())


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Wait less between attempts."""
    monkeypatch.setattr("lazycog.sinks._retry.FIRST_WAIT_SECONDS", 0.001)


class Store:
    """A bucket, looked at past the sink."""

    def __init__(self, options):
        self.options = options
        self.client = fsspec.filesystem("s3", **options)
        self.client.call_s3("create_bucket", Bucket=BUCKET)

    def head(self, key):
        """Give an object's properties, None without the object."""
        try:
            return self.client.call_s3("head_object", Bucket=BUCKET, Key=key)
        except FileNotFoundError:
            return None

    def content(self, key):
        """Give an object's bytes, None without the object."""
        if self.head(key) is None:
            return None
        return self.client.cat_file(f"{BUCKET}/{key}")

    def uploads(self):
        """Give keys of uploads that are neither complete nor aborted."""
        answer = self.client.call_s3("list_multipart_uploads", Bucket=BUCKET)
        return [each["Key"] for each in answer.get("Uploads", [])]

    def keys(self, key):
        """Give keys of objects that begin with a key."""
        answer = self.client.call_s3("list_objects_v2", Bucket=BUCKET, Prefix=key)
        return [each["Key"] for each in answer.get("Contents", [])]


@pytest.fixture(
    scope="module", params=["swift", "moto"] + ["s3"] * bool(servers.named_s3())
)
def store(request):
    """A bucket on each server."""
    return Store(request.getfixturevalue(f"{request.param}_server"))


class TestS3Sink(StoreContract):
    """A real server and a simulated one."""

    @pytest.fixture(autouse=True)
    def destination(self, store):
        self.store, self.key = store, next(names)

    def make(self, *, overwrite=True, is_lazy=False):
        return S3Sink(
            f"s3://{BUCKET}/{self.key}",
            "token",
            overwrite,
            options=self.store.options,
            is_lazy=is_lazy,
        )

    def content(self):
        return self.store.content(self.key)

    def fill(self, content):
        self.store.client.call_s3(
            "put_object", Bucket=BUCKET, Key=self.key, Body=content
        )

    def leftovers(self):
        keys = [key for key in self.store.keys(self.key) if key != self.key]
        return [key for key in self.store.uploads() if key == self.key] + keys

    def content_type(self):
        return self.store.head(self.key)["ContentType"]

    def test_a_lazy_upload_is_begun_once(self):
        """The task may run again, on another worker."""
        sink = self.make(is_lazy=True)

        first, second = sink.begin(), sink.begin()

        assert first == second
        assert self.leftovers().count(self.key) == 1
        sink.abort()
        assert self.leftovers() == []

    def test_a_lazy_upload_leaves_nothing_beside_the_object(self):
        """The note with its name goes with the commit."""
        sink = self.make(is_lazy=True)

        sink.commit(*self.send(sink))

        assert self.content().endswith(b"end")
        assert self.leftovers() == []


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
