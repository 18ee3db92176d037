"""A write that is killed or interrupted leaves the destination as it was.

Ctrl-C cleans up. SIGKILL cannot, so the hidden folder of the write stays, and nothing
else. A worker that dies is Dask's to replace: the bytes are those of a quiet run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cloudpickle
import dask.array as da
import numpy as np
import pytest

import lazycog
from lazycog.errors import CogError, SinkError, SourceChangedError
from oracles import gdal_levels, raster, write

cloudpickle.register_pickle_by_value(sys.modules[__name__])

SIZE, CHUNK = 1024, 256
OPTIONS = {"blocksize": 128, "progress": False}
PATIENCE_SECONDS = 60


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


def scene(chunk):
    """Give a lazy raster of 16 chunks."""

    def block(block_info=None):
        return chunk(*block_info[None]["chunk-location"])

    chunks = ((CHUNK,) * (SIZE // CHUNK),) * 2
    meta = np.empty((0, 0), "uint16")
    return raster(da.map_blocks(block, chunks=chunks, dtype="uint16", meta=meta))


def wait_for(condition):
    """Poll until something has happened."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


SCRIPT = """
    import contextlib, sys, time
    from pathlib import Path
    import dask, dask.array as da, numpy as np, xarray as xr
    import lazycog, lazycog._plan

    lazycog._plan.MAX_CHUNK_SIZE = {chunk}
    folder = Path({folder!r})

    def block(block_info=None):
        row, col = block_info[None]["chunk-location"]
        if (row, col) == (2, 1):
            (folder / "reached").touch()
            while not (folder / "go on").exists():
                time.sleep(0.02)
        return np.full(({chunk}, {chunk}), row + col, "uint16")

    def main():
        pixels = da.map_blocks(block, chunks=(({chunk},) * 4,) * 2, dtype="uint16",
                               meta=np.empty((0, 0), "uint16"))
        raster = xr.DataArray(pixels, dims=("y", "x"))
        with contextlib.ExitStack() as stack:
            if {cluster}:
                from distributed import Client, LocalCluster
                cluster = stack.enter_context(LocalCluster(
                    n_workers=2, threads_per_worker=1, dashboard_address=None))
                stack.enter_context(Client(cluster))
            else:
                stack.enter_context(dask.config.set(num_workers=2))
            lazycog.to_cog(raster, {path!r}, blocksize=128, progress=False)

    if __name__ == "__main__":
        main()
"""
"""A program that writes until its chunk at row 2, col 1 and waits there."""


@pytest.fixture
def writer(tmp_path, path):
    """Give a starter of a process that is in the middle of a write."""
    started = []

    def start(*, cluster=False):
        script = tmp_path / "script.py"
        text = textwrap.dedent(SCRIPT).format(
            chunk=CHUNK, folder=str(tmp_path), path=str(path), cluster=cluster
        )
        script.write_text(text)
        process = subprocess.Popen(
            [sys.executable, str(script)], stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        wait_for((tmp_path / "reached").exists)
        return process

    yield start
    (tmp_path / "go on").touch()
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def names(folder):
    """Give the names in a folder."""
    return sorted(each.name for each in folder.iterdir())


def test_a_killed_process_leaves_the_old_file(writer, path):
    """The hidden folder tells whose it is, and the next write does not mind it."""
    before = path.read_bytes()
    process = writer()

    process.kill()
    process.wait(PATIENCE_SECONDS)

    hidden, name = names(path.parent)
    assert (hidden.startswith(".cog.tif.lazycog-"), name) == (True, "cog.tif")
    assert path.read_bytes() == before
    assert lazycog.validate(path).ok
    write(raster(np.ones((64, 64), "uint16")), path)
    assert names(path.parent) == [hidden, "cog.tif"]
    assert (gdal_levels(path)[0] == 1).all()


@pytest.mark.parametrize(
    "cluster",
    [False, pytest.param(True, marks=pytest.mark.distributed)],
    ids=["threads", "cluster"],
)
def test_ctrl_c_leaves_nothing(tmp_path, writer, path, cluster):
    """KeyboardInterrupt comes through, with a note that the destination is as it was."""
    before = path.read_bytes()
    process = writer(cluster=cluster)

    process.send_signal(signal.SIGINT)
    wait_for(lambda: names(path.parent) == ["cog.tif"])
    (tmp_path / "go on").touch()
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode in {-signal.SIGINT, 1, 130}
    assert "KeyboardInterrupt\nlazycog wrote nothing" in errors
    assert names(path.parent) == ["cog.tif"]
    assert path.read_bytes() == before


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


@pytest.fixture(scope="module")
def mortal():
    """A client of two worker processes that are replaced when they die."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=60,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The bytes of an undisturbed run."""
    path = tmp_path_factory.mktemp("quiet") / "cog.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)
        write(scene(pixels_at), path, blocksize=128)
    return path.read_bytes()


@pytest.mark.distributed
@pytest.mark.parametrize("row", [0, 2])
def test_a_worker_that_dies_in_the_source(tmp_path, path, quiet, mortal, row):
    """Dask computes again what the worker held; the bytes do not show it."""
    kill = KillOnce(tmp_path)

    def chunk(chunk_row, col):
        if (chunk_row, col) == (row, 2):
            kill()
        return pixels_at(chunk_row, col)

    with mortal.as_current():
        lazycog.to_cog(scene(chunk), path, **OPTIONS)

    assert kill.marker.exists()
    assert path.read_bytes() == quiet
    assert names(path.parent) == ["cog.tif"]


@pytest.mark.distributed
def test_a_worker_that_dies_while_it_writes(tmp_path, path, quiet, mortal):
    """What it had written is written again, to the same place."""
    kill = KillOnce(tmp_path)

    with mortal.as_current():
        lazycog.to_cog(scene(pixels_at), path, lock=kill, **OPTIONS)

    assert kill.marker.exists()
    assert path.read_bytes() == quiet
    assert names(path.parent) == ["cog.tif"]


@pytest.mark.distributed
@pytest.mark.parametrize("compute", [True, False])
def test_a_worker_that_dies_before_the_commit(
    tmp_path, path, quiet, mortal, monkeypatch, compute
):
    """The first task runs again when its worker is lost, and must not wipe the tiles."""
    kill = KillOnce(tmp_path)
    original = lazycog._write.commit

    def commit(*args):
        kill()
        return original(*args)

    monkeypatch.setattr("lazycog._write.commit", commit)

    with mortal.as_current():
        result = lazycog.to_cog(scene(pixels_at), path, compute=compute, **OPTIONS)
        if not compute:
            result.compute()

    assert kill.marker.exists()
    assert path.read_bytes() == quiet
    assert names(path.parent) == ["cog.tif"]


@pytest.mark.distributed
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
        lazycog.to_cog(scene(pixels_at), path, **OPTIONS)

    assert path.read_bytes() == before
    assert names(path.parent) == ["cog.tif"]


@pytest.mark.distributed
@pytest.mark.parametrize("place", range(3))
def test_a_worker_that_dies_with_a_source_that_changes(tmp_path, path, mortal, place):
    """Either every chunk was computed once, or the mixture is noticed."""
    before = path.read_bytes()
    kill = KillOnce(tmp_path)

    def chunk(row, col):
        if (row, col) == (1 + place, place):
            kill()
        run = len(list(tmp_path.glob(f"run-{row}-{col}-*")))
        (tmp_path / f"run-{row}-{col}-{run}").touch()
        return pixels_at(row, col, seed=run)

    try:
        with mortal.as_current():
            lazycog.to_cog(scene(chunk), path, **OPTIONS)
    except CogError as error:
        assert isinstance(error, SourceChangedError)
        assert path.read_bytes() == before
    else:
        assert lazycog.validate(path).ok
    assert names(path.parent) == ["cog.tif"]
