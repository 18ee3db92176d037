"""A worker that dies while a cluster uploads: the object is right, or there is none."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time

import cloudpickle
import fsspec
import numpy as np
import pytest

import lazycog
from workers import scene, two_workers

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = [pytest.mark.distributed, pytest.mark.cloud]
SIZE, CHUNK, MIB = 3072, 512, 2**20
OPTIONS = {"blocksize": 256, "progress": False}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make many tasks of a small scene."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)


def pixels_at(row, col):
    """Give the pixels of a chunk, which hardly compress."""
    generator = np.random.default_rng((row, col))
    return generator.integers(0, 60_000, (CHUNK, CHUNK), dtype="uint16")


@pytest.fixture(scope="module")
def bucket(s3_server):
    """Give a store's options and a client, with a bucket."""
    client = fsspec.filesystem("s3", **s3_server)
    client.call_s3("create_bucket", Bucket="deaths")
    return s3_server, client


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The bytes of a local file."""
    path = tmp_path_factory.mktemp("quiet") / "cog.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)
        lazycog.to_cog(scene(pixels_at, SIZE, CHUNK), path, **OPTIONS)
    return path.read_bytes()


class KillAt:
    """Kills a worker process when a certain chunk is computed, once."""

    def __init__(self, folder, place):
        self.marker, self.place = folder / "killed", place

    def __call__(self, row, col):
        """Compute a chunk, or die."""
        if (row, col) == self.place:
            with contextlib.suppress(FileExistsError):
                self.marker.touch(exist_ok=False)
                delay = random.Random(str(self.place)).uniform(0, 0.3)
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        time.sleep(0.01)
        return pixels_at(row, col)


def write_and_kill(bucket, folder, place, *, compute=True):
    """Write while a worker dies; give the object and what is left behind."""
    options, client = bucket
    folder.mkdir()
    kill = KillAt(folder, place)
    url = f"s3://deaths/{folder.name}.tif"
    with two_workers(silence_logs=60) as cluster, cluster.as_current():
        result = lazycog.to_cog(
            scene(kill, SIZE, CHUNK),
            url,
            storage_options=options,
            part_size=5 * MIB,
            compute=compute,
            **OPTIONS,
        )
        if not compute:
            result.compute()
    assert kill.marker.exists()
    client.invalidate_cache()
    uploads = client.call_s3("list_multipart_uploads", Bucket="deaths")
    keys = client.call_s3("list_objects_v2", Bucket="deaths", Prefix=folder.name)
    names = [each["Key"] for each in keys["Contents"]]
    return client.cat_file(url), uploads.get("Uploads", []), names


@pytest.mark.parametrize(
    "compute", [True, pytest.param(False, marks=pytest.mark.large)]
)
def test_a_worker_that_dies_midway(tmp_path, bucket, quiet, compute):
    """Its tasks run again elsewhere, and send the same parts."""
    folder = tmp_path / f"once-{compute}"

    content, uploads, names = write_and_kill(bucket, folder, (3, 2), compute=compute)

    assert content == quiet
    assert uploads == []
    assert names == [f"{folder.name}.tif"]


@pytest.mark.large
@pytest.mark.parametrize("run", range(20))
def test_workers_that_die_anywhere(tmp_path, bucket, quiet, run):
    """Wherever it happens."""
    chosen = random.Random(run)
    place = chosen.randrange(SIZE // CHUNK), chosen.randrange(SIZE // CHUNK)

    content, uploads, names = write_and_kill(bucket, tmp_path / f"run-{run}", place)

    assert content == quiet
    assert uploads == []
    assert names == [f"run-{run}.tif"]
