"""A worker that dies is Dask's to replace, and the bytes are those of a quiet run.

Where they cannot be, one error says so and the destination stays as it was.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

import lazycog
from lazycog.errors import SinkError, SourceChangedError
from oracles import gdal_levels, raster, write
from workers import scene, two_workers

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.distributed

SIZE, CHUNK = 1024, 256
OPTIONS = {"blocksize": 128, "progress": False}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make many tasks of a small scene."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)


@pytest.fixture
def path(tmp_path):
    """An existing COG that a write would replace."""
    path = tmp_path / "out" / "cog.tif"
    path.parent.mkdir()
    write(raster(np.full((64, 64), 7, "uint16")), path)
    return path


def pixels_at(row, col, seed=0):
    """Give the pixels of a chunk, which compress to some size of their own."""
    generator = np.random.default_rng((seed, row, col))
    return generator.integers(0, 50 + seed, (CHUNK, CHUNK), dtype="uint16")


def names(folder):
    """Give the names in a folder."""
    return sorted(each.name for each in folder.iterdir())


class KillOnce:
    """Kills the process that it is called in, the first time in all processes."""

    def __init__(self, folder):
        self.marker = Path(folder) / "killed"

    def __call__(self):
        """Kill, unless it is done."""
        with contextlib.suppress(FileExistsError):
            self.marker.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)

    def __enter__(self):
        """Act as a lock of the write."""
        self()

    def __exit__(self, *_):
        """Nothing to give back."""


@pytest.fixture
def mortal():
    """A client of two worker processes of its own: not all come back when they die."""
    with two_workers(silence_logs=60) as client:
        yield client


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The bytes of an undisturbed run."""
    path = tmp_path_factory.mktemp("quiet") / "cog.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)
        write(scene(pixels_at, SIZE, CHUNK), path, blocksize=128)
    return path.read_bytes()


def test_a_worker_that_dies_in_the_source(tmp_path, path, quiet, mortal):
    """Dask computes again what the worker held; the bytes do not show it."""
    kill = KillOnce(tmp_path)

    def chunk(row, col):
        if (row, col) == (2, 2):
            kill()
        return pixels_at(row, col)

    with mortal.as_current():
        lazycog.to_cog(scene(chunk, SIZE, CHUNK), path, **OPTIONS)

    assert kill.marker.exists()
    assert path.read_bytes() == quiet
    assert names(path.parent) == ["cog.tif"]


def test_a_worker_that_dies_while_it_writes(tmp_path, path, quiet, mortal):
    """What it had written is written again, to the same place."""
    kill = KillOnce(tmp_path)

    with mortal.as_current():
        lazycog.to_cog(scene(pixels_at, SIZE, CHUNK), path, lock=kill, **OPTIONS)

    assert kill.marker.exists()
    assert path.read_bytes() == quiet
    assert names(path.parent) == ["cog.tif"]


@pytest.mark.parametrize("compute", [True, False])
def test_a_worker_that_dies_before_the_commit(
    tmp_path, path, quiet, mortal, monkeypatch, compute
):
    """The first task may run again then, and must not wipe the tiles."""
    kill = KillOnce(tmp_path)
    original = lazycog._write.commit

    def commit(*args):
        kill()
        return original(*args)

    monkeypatch.setattr("lazycog._write.commit", commit)

    with mortal.as_current():
        result = lazycog.to_cog(
            scene(pixels_at, SIZE, CHUNK), path, compute=compute, **OPTIONS
        )
        if not compute:
            result.compute()

    assert kill.marker.exists()
    assert path.read_bytes() == quiet
    assert names(path.parent) == ["cog.tif"]


def test_a_worker_that_dies_within_the_commit(tmp_path, path, mortal, monkeypatch):
    """The sections are used up by then: an error, and the old file stays."""
    before = path.read_bytes()
    kill = KillOnce(tmp_path)

    class DyingSink(lazycog._write.LocalSink):
        def _publish(self, result):
            kill()
            super()._publish(result)

    monkeypatch.setattr("lazycog._write.LocalSink", DyingSink)

    with mortal.as_current(), pytest.raises(SinkError):
        lazycog.to_cog(scene(pixels_at, SIZE, CHUNK), path, **OPTIONS)

    assert path.read_bytes() == before
    assert names(path.parent) == ["cog.tif"]


def test_a_worker_that_dies_with_a_source_that_changes(tmp_path, path, mortal):
    """What it held is computed again: either that is noticed, or nothing used it."""
    before = path.read_bytes()
    kill = KillOnce(tmp_path)

    def chunk(row, col):
        run = len(list(tmp_path.glob(f"run-{row}-{col}-*")))
        (tmp_path / f"run-{row}-{col}-{run}").touch()
        return pixels_at(row, col, seed=run)

    with mortal.as_current():
        try:
            lazycog.to_cog(scene(chunk, SIZE, CHUNK), path, lock=kill, **OPTIONS)
        except SourceChangedError:
            assert path.read_bytes() == before
        else:
            _check_each_chunk_is_of_one_run(path)

    assert kill.marker.exists()
    assert names(path.parent) == ["cog.tif"]


def _check_each_chunk_is_of_one_run(path):
    report = lazycog.validate(path)
    (found,) = gdal_levels(path)[0]
    assert report.ok, report.errors
    for row, col in np.ndindex(SIZE // CHUNK, SIZE // CHUNK):
        own = found[row * CHUNK :, col * CHUNK :][:CHUNK, :CHUNK]
        runs = [pixels_at(row, col, seed=run) for run in range(4)]
        assert any((own == run).all() for run in runs)
