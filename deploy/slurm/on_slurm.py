"""The main job on workers that dask-jobqueue asks SLURM for, as many as there is work.

Run it on a login node or in a job of its own::

    python deploy/slurm/on_slurm.py SRC.zarr DST.tif

SRC and DST are on a file system that all nodes share, or in an object store. What a
site wants otherwise (account, partition, modules) stands below, or in
``~/.config/dask/jobqueue.yaml``.
"""

from __future__ import annotations

import sys

import xarray as xr
from dask_jobqueue import SLURMCluster

import lazycog

MOST_JOBS = 16


def make_cluster(**site: object) -> SLURMCluster:
    """Make a cluster without jobs yet; ``site`` goes before what stands here."""
    settings: dict[str, object] = {
        "cores": 32,
        "processes": 8,
        "memory": "128GiB",
        "walltime": "02:00:00",
        "local_directory": "${TMPDIR:-/tmp}",
        "job_script_prologue": ["export OMP_NUM_THREADS=1"],
        # workers leave one by one before Slurm ends them, and hand on what they hold
        "worker_extra_args": ["--lifetime", "110m", "--lifetime-stagger", "4m"],
        "scheduler_options": {"dashboard_address": ":0"},
    }
    return SLURMCluster(**{**settings, **site})


def convert(source: str, destination: str, **site: object) -> lazycog.CogResult:
    """Write a Zarr store as one COG."""
    with make_cluster(**site) as cluster, cluster.get_client():
        cluster.adapt(minimum_jobs=1, maximum_jobs=MOST_JOBS)
        scene = xr.open_zarr(source, decode_coords="all", mask_and_scale=False)
        result: lazycog.CogResult = lazycog.to_cog(scene, destination)
    return result


if __name__ == "__main__":
    print(repr(convert(*sys.argv[1:])))
