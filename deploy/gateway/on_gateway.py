"""The main job on a cluster of Dask Gateway, as many workers as there is work.

The address and the kind of login come from Dask's configuration, as on Pangeo's hubs::

    export DASK_GATEWAY__ADDRESS=https://gateway.example.org
    export DASK_GATEWAY__AUTH__TYPE=jupyterhub
    python deploy/gateway/on_gateway.py s3://in/scene.zarr s3://out/scene.tif
"""

from __future__ import annotations

import sys

import xarray as xr
from dask_gateway import Gateway

import lazycog

MOST_WORKERS = 40


def convert(source: str, destination: str) -> lazycog.CogResult:
    """Write a Zarr store as one COG."""
    with (
        Gateway() as gateway,
        gateway.new_cluster(shutdown_on_close=True) as cluster,
        cluster.get_client(),
    ):
        cluster.adapt(minimum=1, maximum=MOST_WORKERS)
        scene = xr.open_zarr(source, decode_coords="all", mask_and_scale=False)
        result: lazycog.CogResult = lazycog.to_cog(scene, destination)
    return result


if __name__ == "__main__":
    print(repr(convert(*sys.argv[1:])))
