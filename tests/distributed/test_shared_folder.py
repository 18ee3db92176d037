"""Workers that do not see the destination are found before any pixel is computed."""

from __future__ import annotations

import subprocess
import sys

import dask.array as da
import numpy as np
import pytest

import lazycog  # noqa: F401 - registers .geo
from lazycog.errors import SinkError
from oracles import raster

pytestmark = pytest.mark.distributed
MOUNT = 'mount -t tmpfs tmpfs "$0" && exec "$@"'


def can_unshare(folder):
    """Whether a process may have a file system of its own here."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, folder]
    try:
        return subprocess.run([*command, "true"], check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def half_blind(tmp_path):
    """A client of one worker that shares the folder, and one that does not."""
    from distributed import Client, LocalCluster

    folder = tmp_path / "out"
    folder.mkdir()
    if not can_unshare(folder):
        pytest.skip("this system gives no file system of its own to a process")
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        worker = [
            *(sys.executable, "-m", "distributed.cli.dask_worker"),
            *(local.scheduler_address, "--no-nanny", "--nthreads", "1"),
            *("--no-dashboard", "--local-directory", str(tmp_path)),
        ]
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT]
        with subprocess.Popen(
            [*command, folder, *worker], stderr=subprocess.DEVNULL
        ) as process:
            client.wait_for_workers(2, timeout=30)
            yield client, folder
            process.terminate()


@pytest.mark.parametrize(
    "compute", [True, pytest.param(False, marks=pytest.mark.large)]
)
def test_a_worker_with_a_file_system_of_its_own(half_blind, compute, tmp_path):
    """The error names the two ways out, and nothing was computed."""
    client, folder = half_blind
    computed = tmp_path / "computed"

    def block(block):
        computed.touch()
        return block

    pixels = da.zeros((1, 800, 800), chunks=400, dtype="uint8")
    array = raster(pixels.map_blocks(block, dtype="uint8", meta=np.empty((0, 0, 0))))

    def write():
        result = array.geo.to_cog(folder / "a.tif", progress=False, compute=compute)
        return result if compute else result.compute()

    with client.as_current(), pytest.raises(SinkError) as caught:
        write()

    text = str(caught.value)
    assert "do not see the destination's folder" in text
    assert "mounted on all of them, or to an object store (s3://...)" in text
    assert not computed.exists()
    if compute:
        assert list(folder.iterdir()) == []
