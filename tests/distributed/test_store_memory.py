"""Peak memory of workers that write to a store: within the plan."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import cloudpickle
import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
from oracles import raster

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = [
    pytest.mark.distributed,
    pytest.mark.cloud,
    pytest.mark.large,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
LOG = logging.getLogger(__name__)
SHAPE, CHUNK = (4, 16384, 16384), 2048
PART = 16 * 2**20


def pixels(block_info=None):
    """Give a chunk of a scene that compresses as a real one does."""
    where = block_info[None]["array-location"]
    shape = tuple(stop - start for start, stop in where)
    noise = np.random.default_rng(sum(start for start, _ in where))
    rows = np.arange(*where[1])[:, None]
    return (noise.integers(0, 64, shape) + 20 * (rows % 50)).astype("uint16")


def noise(block_info=None):
    """Give a chunk that nothing compresses."""
    where = block_info[None]["array-location"]
    chosen = np.random.default_rng(sum(start for start, _ in where))
    shape = tuple(stop - start for start, stop in where)
    return chosen.integers(0, 65_536, shape, dtype="uint16")


def peak():
    """Give the most memory that this process has had, in bytes."""
    # not ru_maxrss, which begins with what the parent process had
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@pytest.fixture(scope="module")
def store(s3_server):
    """Give a store's options and a client, with a bucket."""
    client = fsspec.filesystem("s3", **s3_server)
    client.call_s3("create_bucket", Bucket="memory")
    return s3_server, client


def measured(store, chunk, height, processes, threads, **options):
    """Write a scene; gives the peak of each worker, and what the plan promised."""
    from distributed import Client, LocalCluster

    storage, client = store
    count, _, width = SHAPE
    chunks = ((count,), *((CHUNK,) * (side // CHUNK) for side in (height, width)))
    meta = np.empty((0, 0, 0), "uint16")
    scene = raster(da.map_blocks(chunk, chunks=chunks, dtype="uint16", meta=meta))
    options = {"level": 1, "part_size": PART, **options}
    promised = lazycog.plan(scene, **options).peak_bytes(threads)
    with (
        LocalCluster(
            n_workers=processes,
            threads_per_worker=threads,
            processes=True,
            dashboard_address=":0",
            memory_limit=0,  # nothing is spilled
        ) as local,
        Client(local) as workers,
    ):
        url = "s3://memory/cog.tif"
        lazycog.to_cog(scene, url, storage_options=storage, progress=False, **options)
        peaks = list(workers.run(peak).values())
    client.rm_file(url)
    LOG.info("%s x %s threads: %s of %s", processes, threads, peaks, promised)
    return peaks, promised


@pytest.mark.parametrize("threads", [1, 2])
def test_workers_stay_within_the_plan(store, threads):
    """2.1 GB of pixels, by two processes."""
    peaks, promised = measured(store, pixels, SHAPE[1], 2, threads)

    assert max(peaks) <= promised


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_plan_is_for_the_worst(store, threads, interleave):
    """One process, pixels that do not compress: three quarters of it, or so."""
    peaks, promised = measured(store, noise, 8192, 1, threads, interleave=interleave)

    assert peaks[0] <= promised <= 1.6 * peaks[0]
