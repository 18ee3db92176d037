"""The main job on Coiled, which copies this environment to machines that it starts.

The machines read and write with the credentials of who calls::

    coiled login
    python deploy/coiled/on_coiled.py s3://in/scene.zarr s3://out/scene.tif
"""

from __future__ import annotations

import sys

import coiled
import xarray as xr

import lazycog


def convert(source: str, destination: str) -> lazycog.CogResult:
    """Write a Zarr store as one COG."""
    with (
        coiled.Cluster(
            name="lazycog",
            n_workers=[2, 40],  # as many as there is work
            worker_cpu=4,
            worker_memory="16 GiB",
            spot_policy="spot_with_fallback",  # a lost worker's work is done again
            idle_timeout="20 minutes",
            environ={"OMP_NUM_THREADS": "1"},  # Dask has the threads
        ) as cluster,
        cluster.get_client(),
    ):
        scene = xr.open_zarr(source, decode_coords="all", mask_and_scale=False)
        result: lazycog.CogResult = lazycog.to_cog(scene, destination)
    return result


if __name__ == "__main__":
    print(repr(convert(*sys.argv[1:])))
