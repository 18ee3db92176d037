"""Google Cloud Storage by its XML API: the contract of all sinks, and whole writes."""

from __future__ import annotations

import itertools
import logging
import pickle

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
from buckets import NAME, Bucket
from contracts import SECOND, UploadContract
from faults import proxied
from google_xml import GoogleHandler, line
from lazycog.errors import (
    DestinationExistsError,
    MissingExtraError,
    OptionError,
    SinkError,
)
from lazycog.sinks._google_xml import Answer, GoogleError, Request, call
from lazycog.sinks.fsspec_stream import StreamSink
from lazycog.sinks.gcs import LIMITS, GcsSink, _is_transient, has_uploads
from oracles import raster

pytestmark = pytest.mark.cloud
MIB = 2**20
names = (f"a folder/object-{number}.tif" for number in itertools.count())


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Wait less between attempts."""
    monkeypatch.setattr("lazycog.sinks._retry.FIRST_WAIT_SECONDS", 0.001)
    # gcsfs would ask Google about the token
    monkeypatch.setenv("FETCH_RAW_TOKEN_EXPIRY", "false")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


@pytest.fixture(scope="module")
def store(moto_server):
    """The bucket."""
    return Bucket(moto_server)


@pytest.fixture(scope="module")
def google(store):
    """Options of gcsfs for a line that holds."""
    with proxied(store.port, 0, handler=GoogleHandler, rate=0) as (_, port):
        yield line(port)


class TestGcsSink(UploadContract):
    """Google's dialect of multipart uploads."""

    @pytest.fixture(autouse=True)
    def destination(self, store, google):
        self.bucket, self.options, self.key = store, google, next(names)

    def make(self, *, overwrite=True, is_lazy=False):
        return GcsSink(
            f"gs://{NAME}/{self.key}",
            "token",
            overwrite,
            options=self.options,
            is_lazy=is_lazy,
        )

    def test_a_part_that_is_damaged_on_the_way_is_refused(self, monkeypatch):
        """Each carries its checksum."""
        sink = self.make()
        upload = sink.begin()
        with monkeypatch.context() as patch:
            patch.setattr("lazycog.sinks.s3.md5", lambda _: "AAAAAAAAAAAAAAAAAAAAAA==")
            with pytest.raises(SinkError, match="BadDigest"):
                sink.put(upload, 1, [SECOND])

        sink.put(upload, 1, [SECOND])
        sink.abort(upload)

    def test_records_of_a_write_are_objects_beside_it(self):
        """Kept, found, and gone at the end."""
        state = pickle.loads(pickle.dumps(self.make().state))

        state.keep("head", b"{}")
        state.keep("row-1", b"1")
        state.keep("row-1", b"2")

        assert sorted(state.names()) == ["head", "row-1"]
        assert (state.load("row-1"), state.load("row-2")) == (b"2", None)
        state.clear()
        assert state.names() == self.leftovers() == []


def scene(size=(3000, 3000)):
    """Give a lazy raster that hardly compresses."""
    pixels = np.random.default_rng(0).integers(0, 60_000, (1, *size), "uint16")
    return raster(da.from_array(pixels, chunks=(1, 1024, 1024)))


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The bytes of a local file."""
    path = tmp_path_factory.mktemp("wanted") / "cog.tif"
    lazycog.to_cog(scene(), path, progress=False)
    return path.read_bytes()


def write(url, options, array=None, **more):
    """Write in parts of the least size."""
    array = scene() if array is None else array
    return lazycog.to_cog(
        array, url, storage_options=options, part_size=5 * MIB, progress=False, **more
    )


@pytest.mark.parametrize("more", [{}, {"resume": True}, {"overwrite": False}], ids=str)
def test_an_object_has_the_bytes_of_the_file(store, google, wanted, more):
    """By its URL, in parts; nothing is left beside it."""
    key = next(names)
    options = {**google, "metadata": {"owner": "me"}}

    result = write(f"gs://{NAME}/{key}", options, **more)

    assert store.content(key) == wanted
    assert store.left(key) == []
    found = store.head(key)
    assert found["Metadata"]["owner"] == "me"
    assert found["ContentType"].startswith("image/tiff; application=geotiff")
    assert "-" in found["ETag"]  # it came in parts
    assert result.path == f"gs://{NAME}/{key}"


def test_a_small_object_is_one_request(store, google, tmp_path):
    """With the same metadata."""
    key, array = next(names), scene((300, 300))

    write(f"gcs://{NAME}/{key}", {**google, "metadata": {"owner": "me"}}, array)

    lazycog.to_cog(array, tmp_path / "a.tif", progress=False)
    assert store.content(key) == (tmp_path / "a.tif").read_bytes()
    assert store.head(key)["Metadata"]["owner"] == "me"
    assert "-" not in store.head(key)["ETag"]


def test_a_lazy_write_computes_to_the_same_object(store, google, wanted):
    """The first task begins the upload; its note goes with the commit."""
    key = next(names)

    write(f"gs://{NAME}/{key}", google, compute=False).compute()

    assert store.content(key) == wanted
    assert store.left(key) == []


@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_line_that_breaks(store, wanted, lost, overwrite):
    """Requests fail in six ways, and the answer to the completion is lost."""
    key = next(names)
    rate = 0 if lost else 0.15

    with proxied(store.port, 3, handler=GoogleHandler, rate=rate, lost=lost) as (
        proxy,
        port,
    ):
        write(f"gs://{NAME}/{key}", line(port), overwrite=overwrite)

    assert proxy.faults
    assert store.content(key) == wanted
    assert store.left(key) == []


@pytest.mark.parametrize("dead", ["begin", "part", "complete"])
def test_a_line_that_stays_broken(store, dead):
    """One clear error, the old object, and nothing left behind."""
    key = next(names)
    store.fill(key, b"old")

    broken = proxied(store.port, 0, handler=GoogleHandler, rate=0, dead=dead)
    with (
        broken as (_, port),
        pytest.raises(SinkError, match=r"as it was|nothing was written"),
    ):
        write(f"gs://{NAME}/{key}", line(port))

    assert store.content(key) == b"old"
    assert store.left(key) == []


def test_an_existing_object_is_refused_before_any_task(store, google):
    """Without an upload."""
    key = next(names)
    store.fill(key, b"old")

    with pytest.raises(DestinationExistsError, match="overwrite=False"):
        write(f"gs://{NAME}/{key}", google, overwrite=False)

    assert store.content(key) == b"old"


def test_a_wrong_token_is_told_at_once(google):
    """Nothing is tried again, and the token is not in the message."""
    sink = GcsSink(
        f"gs://{NAME}/a.tif", "token", options={**google, "token": "hunter2"}
    )

    with pytest.raises(SinkError, match="AuthenticationRequired") as caught:
        sink.begin()

    assert "hunter2" not in str(caught.value)


def test_uploads_of_exactly_one_key_are_aborted(store, google):
    """Stores list by prefix: a neighbour's upload stays."""
    for key in ("stale.tif", "stale.tif.ovr"):
        store.call("create_multipart_upload", Key=key)
    store.fill("stale.tif.lazycog-resume/head", b"{}")
    url = f"gs://{NAME}/stale.tif"

    assert lazycog.abort_stale(url, storage_options=google) == []
    found = lazycog.abort_stale(url, storage_options=google, older_than="0s")

    assert [each.kind for each in found] == ["upload", "journal"]
    assert store.left("stale.tif") == ["stale.tif.ovr"]


def test_google_and_whoever_lists_uploads_gets_parts(google, google_server):
    """An emulator without the XML API gets small files, as any file system."""
    url = f"gs://{NAME}/a.tif"

    assert has_uploads(url, {"token": "anon"})  # not asked
    assert has_uploads(
        url, {"token": "anon", "endpoint_url": "https://x.googleapis.com"}
    )
    assert has_uploads(url, google)
    assert not has_uploads(url, google_server)


def test_an_endpoint_that_does_not_answer():
    """Is no reason to go another way."""
    with pytest.raises(SinkError, match="could not ask the endpoint"):
        write("gs://bucket/a.tif", line(9))


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ({}, {"resume": True}, "resume=True cannot work"),
        ({"metadata": {"a": "b"}}, {}, "storage_options with metadata cannot work"),
    ],
    ids=["resume", "metadata"],
)
def test_what_an_endpoint_without_uploads_cannot_do(
    google_server, options, more, message
):
    """Nothing is accepted and ignored."""
    with pytest.raises(OptionError, match=message):
        write("gs://bucket/a.tif", {**google_server, **options}, **more)


def test_leftovers_at_an_endpoint_without_uploads(google_server):
    """What is left is named with its remedy."""
    with pytest.raises(OptionError, match="remove"):
        lazycog.abort_stale("gs://bucket/a.tif", storage_options=google_server)


@pytest.mark.parametrize("text", ["für", "a\nb", 3], ids=repr)
def test_metadata_that_no_header_takes(google, text):
    """Before anything is sent."""
    with pytest.raises(OptionError, match="must be printable ASCII"):
        write("gs://bucket/a.tif", {**google, "metadata": {"owner": text}})


def test_a_url_without_an_object(google):
    """Named with an example."""
    with pytest.raises(SinkError, match=r"gs://bucket/key.tif"):
        write("gs://bucket/", google)


def test_a_missing_client_is_named_with_its_remedy(monkeypatch):
    """The line to install it."""
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)

    with pytest.raises(MissingExtraError, match=r'pip install "lazycog\[gcs\]"'):
        write("gs://bucket/key.tif", None)


def test_the_sink_for_any_file_system_may_be_chosen(google_server):
    """As a destination of its own, for buckets without the XML API."""
    options = {"token": "anon", **google_server}
    sink = StreamSink.of("gs://bucket/b.tif", "token", options, LIMITS, overwrite=True)

    lazycog.to_cog(scene((300, 300)), sink, progress=False)

    found = fsspec.filesystem("gs", **google_server)
    found.invalidate_cache()
    assert found.exists("gs://bucket/b.tif")


@pytest.mark.parametrize(
    ("content", "raised", "message"),
    [
        (b"<html>sign in", ConnectionError, "no XML"),
        (
            b"<Error><Code>InternalError</Code><Message>late</Message></Error>",
            GoogleError,
            "InternalError: late",
        ),
    ],
    ids=["no XML", "late error"],
)
def test_an_answer_that_only_looks_good(monkeypatch, content, raised, message):
    """Status 200, from a proxy or of an upload that fails while it is joined."""
    answer = Answer(200, {}, content)
    monkeypatch.setattr("lazycog.sinks._google_xml.send", lambda *_: answer)

    with pytest.raises(raised, match=message) as caught:
        call(None, Request("complete_multipart_upload", NAME))

    assert _is_transient(caught.value)  # tried again, and then looked at
