"""The main job through the scripts of deploy/, with what can be had of their platforms.

Slurm's commands are stood in for by scripts that start processes of this machine; Dask
Gateway is the real server, with its own backend for one machine.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import rasterio
from deploy_tools import DEPLOY, module
from shell_checks import load_script

import lazycog
from oracles import raster

pytestmark = pytest.mark.distributed
SECONDS = 100
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SRUN_WITHOUT_WORKERS = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
if [[ $2 == worker ]]; then exit 127; fi
exec "$@"
"""
SBATCH = """#!/usr/bin/env bash
cp "$1" "$JOBS/job"
setsid bash "$JOBS/job" >>"$JOBS/log" 2>&1 </dev/null &
echo $! >>"$JOBS/pids"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/usr/bin/env bash
for job in "$@"; do kill -- "-$job" 2>/dev/null; done
exit 0
"""


@pytest.fixture(scope="module")
def pixels():
    """Two bands of smooth numbers."""
    rows, cols = np.mgrid[:700, :900]
    return np.stack([rows + cols, rows * 3]).astype("uint16")


@pytest.fixture
def scene(tmp_path, pixels):
    """A Zarr store in chunks."""
    path = tmp_path / "scene.zarr"
    dataset = raster(pixels).rename("scene").chunk(y=256, x=256).to_dataset()
    dataset.to_zarr(path, zarr_format=2)
    return path


@pytest.fixture
def path(tmp_path):
    """Where the COG goes."""
    return tmp_path / "scene.tif"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Put scripts in front of the programs of this environment, by name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    places = [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(places))

    def add(**scripts):
        for name, text in scripts.items():
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o755)

    return add


def assert_right(path, pixels):
    """Valid, and the pixels of the source."""
    assert lazycog.validate(path).ok
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), pixels)


def batch(folder, *arguments):
    """Run the batch script as Slurm would on one node, in a session of its own."""
    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_MEM_PER_CPU": "2048",
        "LAZYCOG_INTERFACE": "lo",
    }
    return subprocess.run(
        ["bash", DEPLOY / "slurm/run.sbatch", *arguments],
        cwd=folder,
        env={**os.environ, **slurm},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_batch_script_does_the_main_job(tmp_path, commands, scene, path, pixels):
    """Scheduler, worker and conversion are steps of one job; nothing stays behind."""
    commands(srun=SRUN)

    done = batch(tmp_path, scene, path, "--compress", "deflate")

    assert done.returncode == 0, done.stderr
    assert_right(path, pixels)
    assert not list(tmp_path.glob("lazycog-*.json"))


@pytest.mark.large
def test_batch_script_fails_with_the_conversion(tmp_path, commands, path):
    """Slurm sees the exit code."""
    commands(srun=SRUN)

    done = batch(tmp_path, "missing.zarr", path)

    assert done.returncode == 2
    assert "missing.zarr: no such file or folder" in done.stderr
    assert not path.exists()


@pytest.mark.large
def test_batch_script_fails_without_workers(tmp_path, commands, scene, path):
    """It does not wait for workers that cannot come until its time is over."""
    commands(srun=SRUN_WITHOUT_WORKERS)

    done = batch(tmp_path, scene, path)

    assert done.returncode == 1
    assert "the workers ended before the conversion" in done.stderr
    assert not path.exists()


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_jobqueue_script_does_the_main_job(
    tmp_path, monkeypatch, commands, scene, path, pixels
):
    """Workers come by sbatch and go by scancel."""
    module("dask_jobqueue")
    commands(sbatch=SBATCH, scancel=SCANCEL)
    monkeypatch.setenv("JOBS", str(tmp_path))
    text = (DEPLOY / "slurm/on_slurm.py").read_text(encoding="utf-8")
    script = load_script(text, tmp_path, "on_slurm")
    monkeypatch.setattr("dask.threaded.get", None)  # nothing is computed here
    small = {"cores": 1, "processes": 1, "memory": "2GiB", "interface": "lo"}

    try:
        result = script.convert(str(scene), str(path), **small)
    finally:
        end_jobs(tmp_path / "pids")

    assert result.path == str(path)
    assert_right(path, pixels)
    assert "worker" in (tmp_path / "log").read_text(encoding="utf-8")


def end_jobs(pids):
    """End what scancel has not ended."""
    for pid in pids.read_text(encoding="utf-8").split() if pids.exists() else ():
        try:
            os.killpg(int(pid), signal.SIGTERM)
        except ProcessLookupError:
            continue


# --- Dask Gateway -------------------------------------------------------------------

GATEWAY_CONFIG = """
load_subconfig({config!r})
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.address = "127.0.0.1:{private}"
c.Proxy.address = "127.0.0.1:{public}"
c.UnsafeLocalBackend.clusters_directory = {folder!r}
c.ClusterConfig.worker_cores = 1
c.ClusterConfig.worker_memory = "2 G"
"""
"""What the server of this test has besides ours: a backend that starts processes."""
WITHOUT_THREADS = """
import runpy, sys, dask.threaded
dask.threaded.get = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script that must not compute in its own process."""


def free_port():
    """Give a port of the loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def gateway(tmp_path, commands):
    """A running server with our configuration; gives its address."""
    del commands  # the server finds dask on the path
    module("dask_gateway_server")
    program = Path(sys.executable).with_name("dask-gateway-server")
    folder = tmp_path / "clusters"
    folder.mkdir()
    public = free_port()
    config = tmp_path / "server.py"
    shutil.copy(DEPLOY / "gateway/dask_gateway_config.py", tmp_path)
    config.write_text(
        GATEWAY_CONFIG.format(
            config="dask_gateway_config.py",
            private=free_port(),
            public=public,
            folder=str(folder),
        ),
        encoding="utf-8",
    )
    address = f"http://127.0.0.1:{public}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "--config", config], cwd=tmp_path, stdout=log, stderr=log
        )
        try:
            wait_for(f"{address}/api/health", server, tmp_path / "log")
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(url, server, log):
    """Wait until a server answers."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(log.read_text(encoding="utf-8"))


@pytest.mark.large
def test_gateway_script_does_the_main_job(tmp_path, gateway, scene, path, pixels):
    """A real server starts scheduler and workers, behind its proxy and TLS."""
    script = DEPLOY / "gateway/on_gateway.py"

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THREADS, script, scene, path],
        env={**os.environ, "DASK_GATEWAY__ADDRESS": gateway},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr + log
    assert_right(path, pixels)
    assert re.search(r"Worker \w+ submitted", log)
