"""A write that is killed or interrupted leaves the destination as it was.

Ctrl-C cleans up. SIGKILL cannot, so the hidden folder of the write stays, and nothing
else.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import lazycog
from oracles import gdal_levels, raster, write

CHUNK = 256
PATIENCE_SECONDS = 60


@pytest.fixture
def path(tmp_path):
    """An existing COG that a write would replace."""
    path = tmp_path / "out" / "cog.tif"
    path.parent.mkdir()
    write(raster(np.full((64, 64), 7, "uint16")), path)
    return path


def wait_for(condition):
    """Poll until something has happened."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


SCRIPT = """
    import contextlib, signal, sys, time
    from pathlib import Path
    import dask, dask.array as da, numpy as np, xarray as xr
    import lazycog, lazycog._plan

    # a shell's background jobs ignore it, and so do their children
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
                    n_workers=2, threads_per_worker=1, dashboard_address=":0"))
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
    """KeyboardInterrupt comes through, with a note about the destination."""
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
