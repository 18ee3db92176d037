"""Sinks that need no server keep the contract of all sinks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from contracts import SinkContract
from lazycog.errors import SinkError
from lazycog.sinks._protocol import PartSink, Receipt
from lazycog.sinks.local import LocalSink, Placed
from lazycog.sinks.recording import RecordingSink


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
            placed.append(Placed((each.number, 0), position, each.size))
            position += each.size
        self.sink.commit(b"", placed, position)

    def put_whole(self, _upload, data):
        body = b"".join(data)
        self.sink.write((1, 0), [(0, body)])
        self.sink.commit(b"", [Placed((1, 0), 0, len(body))], len(body))

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
