"""A worker that is killed at any moment while a gigabyte goes to a store."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
import threading
import time

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest

import lazycog
import servers
from buckets import Bucket, Container
from faults import proxied
from google_xml import GoogleHandler, line
from oracles import raster
from workers import two_workers

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = [pytest.mark.distributed, pytest.mark.cloud, pytest.mark.large]
LOG = logging.getLogger(__name__)
BUCKET = "kills"
SHAPE, CHUNK, COUNT = (2, 16384, 16384), 2048, 64


def pixels(block_info=None, folder=None):
    """Give a chunk of a scene that compresses as a real one does, and note it."""
    where = block_info[None]["array-location"]
    shape = tuple(stop - start for start, stop in where)
    seed = sum(start for start, _ in where)
    noise = np.random.default_rng(seed)
    few = noise.integers(0, 16, shape[1:], dtype="uint16")
    rows = np.arange(*where[1], dtype="uint16")[:, None]
    if folder is not None:
        (folder / f"{where}").touch()
    return np.broadcast_to(few + 20 * (rows % 50), shape)


def write(destination, folder=None, **options):
    """Write 1.07 GB, at little cost but for the parts."""
    cheap = {"level": 1, "overview_resampling": "nearest", "statistics": False}
    count, *sides = SHAPE
    chunks = ((count,), *((CHUNK,) * (side // CHUNK) for side in sides))
    source = da.map_blocks(
        pixels,
        folder=folder,
        chunks=chunks,
        dtype="uint16",
        meta=np.empty((0, 0, 0), "uint16"),
    )
    lazycog.to_cog(raster(source), destination, progress=False, **cheap, **options)


@pytest.fixture(scope="module")
def s3_bucket(s3_server):
    """Swift's, or that of the store that LAZYCOG_S3 names."""
    return Bucket(s3_server, BUCKET)


@contextlib.contextmanager
def s3(fixture):
    """Give the scheme, lazycog's options and the bucket of S3."""
    bucket = fixture("s3_bucket")
    yield "s3", bucket.options, bucket


@contextlib.contextmanager
def azure(fixture):
    """Give those of Azurite; a new one each time, since all of it is in memory."""
    with servers.azurite(fixture("azurite_program")) as options:
        yield "az", options, Container(options, BUCKET)


@contextlib.contextmanager
def gcs(fixture):
    """Give those of Google's XML API, before a new moto each time."""
    with servers.moto(fixture("servers_python")) as options:
        bucket = Bucket(options, BUCKET)
        with proxied(bucket.port, 0, handler=GoogleHandler, rate=0) as (_, port):
            yield "gs", line(port), bucket


STORES = {"s3": s3, "azure": azure, "gcs": gcs}


@pytest.fixture
def store(request):
    """One of the stores."""
    with STORES[request.param](request.getfixturevalue) as found:
        yield found


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The bytes of the local file."""
    path = tmp_path_factory.mktemp("wanted") / "cog.tif"
    write(path)
    return path.read_bytes()


@pytest.fixture
def workers():
    """Give a client of two new processes: the one that dies may not be replaced."""
    # a busy machine takes its time to start a process
    patient = {
        "distributed.deploy.lost-worker-timeout": "10 minutes",
        "distributed.comm.timeouts.connect": "5 minutes",
    }
    with pytest.MonkeyPatch.context() as patch, dask.config.set(patient):
        # gcsfs would ask Google about the token
        patch.setenv("FETCH_RAW_TOKEN_EXPIRY", "false")
        with two_workers(silence_logs=60) as client:
            yield client


@contextlib.contextmanager
def killed_after(chunks, folder, victim):
    """Kill a process once so many chunks are computed; gives the time of its death."""
    over, times = threading.Event(), []

    def wait():
        while not over.wait(0.05):
            if len(list(folder.iterdir())) >= chunks:
                os.kill(victim, signal.SIGKILL)
                times.append(time.monotonic())
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("run", range(20))
@pytest.mark.parametrize("store", STORES, indirect=True)
def test_a_worker_that_dies_at_any_moment(tmp_path, store, workers, wanted, run):
    """Its tasks run again elsewhere: the same object, and nothing beside it."""
    scheme, options, bucket = store
    chosen, key = random.Random(run), f"run-{run}.tif"
    url, chunks = f"{scheme}://{BUCKET}/{key}", chosen.randrange(1, COUNT)
    workers.wait_for_workers(2)
    victim = chosen.choice(sorted(workers.run(os.getpid).values()))
    since = time.monotonic()

    with workers.as_current(), killed_after(chunks, tmp_path, victim) as times:
        write(url, tmp_path, storage_options=options)

    ended = time.monotonic()
    assert times, "no worker died"
    LOG.info(
        "%s of %s chunks, killed after %.1f s, written after %.1f s",
        *(chunks, COUNT, times[0] - since, ended - since),
    )
    content, left = bucket.content(key), bucket.left(key)
    bucket.remove(key)
    # not compared in the assertion: pytest would look for the difference for hours
    is_same = content == wanted
    assert is_same
    assert left == []
