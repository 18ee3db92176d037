"""Azure: the contract of all sinks, and a whole write, on Azurite."""

from __future__ import annotations

import itertools

import dask.array as da
import numpy as np
import pytest

import lazycog
from buckets import Container
from contracts import SECOND, NamedByBytes, StoreContract
from lazycog.errors import MissingExtraError, SinkError
from lazycog.sinks.azure import AzureSink
from oracles import raster

pytestmark = pytest.mark.cloud
CONTAINER = "container"
names = (f"blob-{number}.tif" for number in itertools.count())


@pytest.fixture(scope="module")
def store(azurite_server):
    """A container."""
    return Container(azurite_server, CONTAINER)


class TestAzureSink(NamedByBytes, StoreContract):
    """Blocks have no upload, so two promises differ."""

    @pytest.fixture(autouse=True)
    def destination(self, store):
        self.container, self.blob = store, next(names)

    def make(self, *, overwrite=True):
        return AzureSink(
            f"az://{CONTAINER}/{self.blob}",
            "token",
            overwrite,
            options=self.container.options,
        )

    def content(self):
        return self.container.content(self.blob)

    def fill(self, content):
        self.container.fill(self.blob, content)

    def leftovers(self):
        if self.content() is not None:  # blocks beside a blob expire by themselves
            return []
        return [name for name in self.container.names() if name == self.blob]

    def content_type(self):
        found = self.container.ask(self.blob, "get_blob_properties")
        return found.content_settings.content_type

    def test_a_part_after_the_abort_leaves_nothing(self):
        """Azure takes it, and drops it after a week; no blob appears."""
        sink = self.make()
        upload, _ = self.send(sink, (1,))
        sink.abort(upload)

        sink.put(upload, 2, [SECOND])

        assert self.content() is None

    def test_blocks_that_are_not_there_are_noticed(self):
        """Nothing appears."""
        sink = self.make()
        upload, receipts = self.send(sink)
        sink.abort(upload)

        with pytest.raises(SinkError, match="does not have block 1"):
            sink.commit(upload, receipts)

        assert self.content() is None


def test_a_blob_has_the_bytes_of_the_file(tmp_path, store, monkeypatch):
    """By URL and options; more than a thousand blocks would do as well."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", 512)
    pixels = np.random.default_rng(0).integers(0, 60_000, (1, 2000, 2100), "uint16")
    array = raster(da.from_array(pixels, chunks=(1, 512, 512)))
    path = tmp_path / "a.tif"

    for url in ("az://container/one.tif", "abfs://container/two.tif"):
        result = lazycog.to_cog(
            array, url, storage_options=store.options, part_size=100_000, progress=False
        )
        assert result.path == url

    lazycog.to_cog(array, path, progress=False)
    assert store.content("one.tif") == path.read_bytes()
    assert store.content("two.tif") == path.read_bytes()


def test_the_account_may_stand_in_the_url():
    """As Azure's own tools write it."""
    sink = AzureSink("abfs://data@account.dfs.core.windows.net/a/b.tif", "token")

    assert (sink.container, sink.blob) == ("data", "a/b.tif")
    assert sink.client_options == {"account_name": "account"}


def test_a_missing_client_is_named_with_its_remedy(monkeypatch):
    """The line to install it."""
    monkeypatch.setitem(__import__("sys").modules, "adlfs", None)
    array = raster(np.zeros((100, 100), "uint8"))

    with pytest.raises(MissingExtraError, match=r'pip install "lazycog\[azure\]"'):
        lazycog.to_cog(array, "az://container/a.tif", overwrite=False)
