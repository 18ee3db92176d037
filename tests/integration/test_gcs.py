"""Google Cloud Storage, through the sink for any file system, on an emulator."""

from __future__ import annotations

import itertools

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
from contracts import NamedByBytes, SinkContract
from lazycog.sinks.fsspec_stream import StreamSink
from oracles import raster

pytestmark = [
    pytest.mark.cloud,
    # gcsfs hands its bytes to aiohttp as they are
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
names = (f"object-{number}.tif" for number in itertools.count())


@pytest.fixture(scope="module")
def store(google_server):
    """The emulator's options and a client."""
    return google_server, fsspec.filesystem("gs", **google_server)


class TestGoogle(NamedByBytes, SinkContract):
    """Parts are objects beside the destination."""

    @pytest.fixture(autouse=True)
    def destination(self, store):
        self.options, self.client = store
        self.name = f"bucket/{next(names)}"

    def make(self, *, overwrite=True):
        return StreamSink(
            f"gs://{self.name}",
            "token",
            overwrite,
            options=self.options,
            protocol="gs",
            name=self.name,
        )

    def content(self):
        self.client.invalidate_cache()
        if not self.client.exists(self.name):
            return None
        return self.client.cat_file(self.name)

    def fill(self, content):
        self.client.pipe_file(self.name, content)

    def leftovers(self):
        self.client.invalidate_cache()
        found = self.client.find("bucket", prefix=self.name.rpartition("/")[2])
        return [each for each in found if each != self.name]


def test_an_object_has_the_bytes_of_the_file(tmp_path, store):
    """By its URL; the media type says what it is."""
    options, client = store
    pixels = np.random.default_rng(0).integers(0, 60_000, (1, 2000, 2100), "uint16")
    array = raster(da.from_array(pixels, chunks=(1, 512, 512)))
    url, path = "gs://bucket/folder/whole.tif", tmp_path / "a.tif"

    lazycog.to_cog(
        array, url, storage_options=options, part_size=1_000_000, progress=False
    )

    lazycog.to_cog(array, path, progress=False)
    client.invalidate_cache()
    assert client.cat_file(url) == path.read_bytes()
    assert client.find("bucket/folder") == ["bucket/folder/whole.tif"]
    assert client.info(url)["contentType"].startswith("image/tiff; application=geotiff")
