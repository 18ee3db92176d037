"""Clusters of worker processes, and scenes whose chunks a test computes."""

from __future__ import annotations

import contextlib

import dask.array as da
import numpy as np

from distributed import Client, LocalCluster  # before any of its settings is changed
from oracles import raster


@contextlib.contextmanager
def two_workers(**options):
    """Give a client of two worker processes of its own."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            **options,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


def scene(chunk, size, side):
    """Give a lazy uint16 raster of `size` pixels, in chunks of `side` at (row, col)."""

    def block(block_info=None):
        return chunk(*block_info[None]["chunk-location"])

    chunks = ((side,) * (size // side),) * 2
    meta = np.empty((0, 0), "uint16")
    return raster(da.map_blocks(block, chunks=chunks, dtype="uint16", meta=meta))
