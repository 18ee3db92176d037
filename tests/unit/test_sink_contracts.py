"""Sinks that need no server keep the contract of all sinks."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
from contracts import NamedByBytes, SinkContract
from lazycog.errors import OptionError, SinkError
from lazycog.sinks._protocol import PartSink, Receipt
from lazycog.sinks.fsspec_stream import StreamSink
from lazycog.sinks.local import LocalSink, Placed
from lazycog.sinks.recording import RecordingSink
from oracles import raster


class TestRecordingSink(SinkContract):
    """The double for tests is as strict as a store."""

    @pytest.fixture(autouse=True)
    def destination(self):
        self.sink = RecordingSink.new("memory")

    def make(self, *, overwrite=True):
        return RecordingSink(
            self.sink.path, self.sink.token, self.sink.limits, overwrite
        )

    def content(self):
        return self.sink.content

    def fill(self, content):
        self.sink.fill(content)

    def leftovers(self):
        return list(self.sink.uploads)

    def test_it_is_a_sink_for_parts(self):
        assert isinstance(self.sink, PartSink)

    def test_illegal_parts_are_refused(self):
        upload = self.sink.begin()

        with pytest.raises(SinkError, match="not legal"):
            self.sink.put(upload, 10_001, [b"x"])

    def test_small_parts_are_refused(self):
        upload = self.sink.begin()
        receipts = [self.sink.put(upload, number, [b"x"]) for number in (1, 2)]

        with pytest.raises(SinkError, match="too small"):
            self.sink.commit(upload, receipts)


@dataclass(frozen=True)
class Positioned:
    """A local sink under the names of parts: each is a section."""

    sink: LocalSink

    def begin(self):
        self.sink.begin([(number, 0) for number in (1, 2, 3)])
        return ""

    def put(self, upload, number, data):
        self.sink.write((number, 0), [(0, b"".join(data))])
        body = b"".join(data)
        return Receipt(upload, number, len(body), str(hash(body)))

    def commit(self, _upload, receipts):
        for each in receipts:
            # as checksums of chunks do in a write
            section = self.sink.folder / f"level-{each.number}-plane-0"
            if str(hash(section.read_bytes())) != each.etag:
                raise SinkError(f"part {each.number} is another one")
        position, placed = 0, []
        for each in receipts:
            placed.append(Placed((each.number, 0), position, each.size, 0, each.size))
            position += each.size
        self.sink.commit(b"", placed, position)

    def put_whole(self, _upload, data):
        body = b"".join(data)
        self.sink.write((1, 0), [(0, body)])
        self.sink.commit(b"", [Placed((1, 0), 0, len(body), 0, len(body))], len(body))

    def abort(self, _upload):
        self.sink.abort()

    def check_absent(self):
        self.sink.check_absent()


class TestLocalSink(SinkContract):
    """A file keeps the same contract as an object."""

    @pytest.fixture(autouse=True)
    def destination(self, tmp_path):
        self.path = tmp_path / "file.tif"

    def make(self, *, overwrite=True):
        return Positioned(LocalSink(str(self.path), "token", overwrite))

    def content(self):
        return self.path.read_bytes() if self.path.exists() else None

    def fill(self, content):
        self.path.write_bytes(content)

    def leftovers(self):
        return [each for each in self.path.parent.iterdir() if each != self.path]


class TestStreamSink(NamedByBytes, SinkContract):
    """A file system without parts keeps it with a spool."""

    @pytest.fixture(autouse=True, params=["memory", "local"])
    def destination(self, request, tmp_path):
        self.protocol = request.param
        name = f"/{tmp_path.name}" if request.param == "memory" else str(tmp_path)
        self.name = f"{name}/file.tif"
        self.files = fsspec.filesystem(self.protocol)
        self.files.makedirs(name, exist_ok=True)

    def make(self, *, overwrite=True):
        return StreamSink(
            "url", "token", overwrite, protocol=self.protocol, name=self.name
        )

    def content(self):
        if not self.files.exists(self.name):
            return None
        return self.files.cat_file(self.name)

    def fill(self, content):
        self.files.pipe_file(self.name, content)

    def leftovers(self):
        folder = self.name.rpartition("/")[0]
        return [each for each in self.files.find(folder) if each != self.name]

    def test_parts_that_are_lost_are_noticed(self):
        """As on a worker with a memory of its own."""
        sink = self.make()
        upload, receipts = self.send(sink)
        self.files.rm(sink._part(receipts[1]))

        with pytest.raises(SinkError, match="part 2 is not in the spool"):
            sink.commit(upload, receipts)

        assert self.content() is None


def test_any_file_system_has_the_bytes_of_the_file(tmp_path, monkeypatch):
    """By its URL."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", 256)
    pixels = np.random.default_rng(0).integers(0, 60_000, (1, 900, 1000), "uint16")
    array = raster(da.from_array(pixels, chunks=(1, 256, 256)))

    result = lazycog.to_cog(
        array, "memory://streams/a.tif", part_size=50_000, progress=False
    )

    lazycog.to_cog(array, tmp_path / "a.tif", progress=False)
    files = fsspec.filesystem("memory")
    assert files.cat_file("/streams/a.tif") == (tmp_path / "a.tif").read_bytes()
    assert files.find("/streams") == ["/streams/a.tif"]
    assert result.path == "memory://streams/a.tif"


def test_a_url_that_cannot_be_written():
    """Unknown protocols and read-only file systems."""
    array = raster(np.zeros((100, 100), "uint8"))

    with pytest.raises(OptionError, match="knows no protocol 'nowhere'"):
        lazycog.to_cog(array, "nowhere://a/b.tif")
    with pytest.raises(SinkError, match="names no file"):
        lazycog.to_cog(array, "memory://")
    with pytest.raises(OptionError, match="a web server takes no uploads"):
        lazycog.to_cog(array, "http://127.0.0.1:9/a.tif")
    with pytest.raises(SinkError, match="could not"):
        lazycog.to_cog(array, "ftp://127.0.0.1:9/a.tif", progress=False)
