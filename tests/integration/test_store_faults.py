"""A line that breaks: the right object, or one clear error and nothing left behind."""

from __future__ import annotations

import contextlib
import logging
from types import SimpleNamespace
from urllib.parse import urlsplit

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
from faults import proxied
from lazycog.errors import SinkError
from oracles import raster
from servers import free_port

pytestmark = pytest.mark.cloud
MIB = 2**20
SIDE = 2560
OPTIONS = {"progress": False, "part_size": 5 * MIB}
OLD = b"what was there before"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Wait less between attempts."""
    monkeypatch.setattr("lazycog.sinks._retry.FIRST_WAIT_SECONDS", 0.01)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def scene():
    """Give a lazy raster of about 17 MiB, encoded."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 60_000, (1, SIDE, SIDE), dtype="uint16")
    return raster(da.from_array(pixels, chunks=(1, 512, 512)))


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The bytes of a local file."""
    path = tmp_path_factory.mktemp("wanted") / "cog.tif"
    lazycog.to_cog(scene(), path, progress=False)
    return path.read_bytes()


@pytest.fixture(scope="module")
def bucket(swift_server):
    """Give Swift's options and a call to it, with a bucket."""
    client = fsspec.filesystem("s3", **swift_server)
    client.call_s3("create_bucket", Bucket="faults")
    return swift_server, client


def check_seed(bucket, wanted, seed):
    """Write through a line that breaks as seeded, and look past it."""
    options, client = bucket
    key = f"seed-{seed}.tif"
    url = f"s3://faults/{key}"
    client.call_s3("put_object", Bucket="faults", Key=key, Body=OLD)
    port = urlsplit(options["endpoint_url"]).port
    dead = {4: "part", 9: "complete", 14: "begin"}.get(seed % 15, "")
    rate = 0.05 + 0.02 * (seed % 10)
    error = None
    with proxied(port, seed, rate=rate, dead=dead) as (proxy, own_port):
        line = {**options, "endpoint_url": f"http://127.0.0.1:{own_port}"}
        try:
            lazycog.to_cog(scene(), url, storage_options=line, **OPTIONS)
        except SinkError as caught:
            error = caught
    client.invalidate_cache()
    content = client.cat_file(url)
    uploads = client.call_s3("list_multipart_uploads", Bucket="faults", Prefix=key)
    keys = client.call_s3("list_objects_v2", Bucket="faults", Prefix=key)["Contents"]
    assert content == (OLD if error else wanted), (error, proxy.faults)
    assert uploads.get("Uploads", []) == [], (error, proxy.faults)
    assert [each["Key"] for each in keys] == [key]
    assert bool(error) == bool(dead), proxy.faults
    assert error is None or "testing" not in str(error)
    return error, proxy.faults


@pytest.mark.parametrize("seed", [4, 18])
def test_a_line_that_breaks(bucket, wanted, seed):
    """Each request may fail in one of six ways; some never get through."""
    check_seed(bucket, wanted, seed)


@pytest.mark.large
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_lines_that_break(bucket, wanted, seed):
    """The same, with many seeds."""
    check_seed(bucket, wanted, seed)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_lost_answer_to_the_completion_is_settled(bucket, wanted, overwrite):
    """The store has done it, the client never hears so."""
    options, client = bucket
    url = f"s3://faults/lost-{overwrite}.tif"
    port = urlsplit(options["endpoint_url"]).port

    with proxied(port, 0, rate=0, lost=2) as (proxy, own_port):
        line = {**options, "endpoint_url": f"http://127.0.0.1:{own_port}"}
        result = lazycog.to_cog(
            scene(), url, storage_options=line, overwrite=overwrite, **OPTIONS
        )

    assert proxy.faults[0] == ("complete", "lost")
    assert result.size == len(wanted)
    assert client.cat_file(url) == wanted


def test_a_store_that_restarts_is_awaited(bucket, wanted, monkeypatch):
    """Nobody listens at the first attempt."""
    options, client = bucket
    url, own_port = "s3://faults/restart.tif", free_port()
    port = urlsplit(options["endpoint_url"]).port
    line = {**options, "endpoint_url": f"http://127.0.0.1:{own_port}"}
    starting = [proxied(port, 0, rate=0, own_port=own_port)]

    with contextlib.ExitStack() as stack:

        def start(_):
            stack.enter_context(starting.pop())

        monkeypatch.setattr("lazycog.sinks._retry.time", SimpleNamespace(sleep=start))
        lazycog.to_cog(scene(), url, storage_options=line, **OPTIONS)

    assert not starting
    assert client.cat_file(url) == wanted


def test_every_byte_is_sent_once(bucket, wanted):
    """On a line that holds, at most 2 % more than the object."""
    options, _ = bucket
    port = urlsplit(options["endpoint_url"]).port

    with proxied(port, 0, rate=0) as (proxy, own_port):
        line = {**options, "endpoint_url": f"http://127.0.0.1:{own_port}"}
        url = "s3://faults/once.tif"
        lazycog.to_cog(scene(), url, storage_options=line, **OPTIONS)

    assert len(wanted) <= proxy.received <= 1.02 * len(wanted)


def test_a_wrong_secret_is_told_at_once(bucket):
    """Nothing is tried again, and the secret is not in the message."""
    options, _ = bucket

    with pytest.raises(SinkError) as caught:
        lazycog.to_cog(
            scene(),
            "s3://faults/secret.tif",
            storage_options={**options, "secret": "hunter2"},
            **OPTIONS,
        )

    assert "hunter2" not in str(caught.value)
