"""The floor: what reading and encoding cost when nothing else is done."""

from __future__ import annotations

import importlib.util
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.contenders import BLOCKSIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from benchmarks.contenders import Job

Work = tuple["Callable[[], NDArray[Any]]", int]
"""Gives whole tiles of a level, and the side of a tile."""


def encode_all(job: Job) -> None:
    """Encode every tile of every level, from the store and the raw overviews.

    Parameters
    ----------
    job : Job
        Which scene and codec; the default codec is lazycog's own.

    Notes
    -----
    Tiles are cut and encoded by lazycog's own functions, so that what a write takes
    beyond this is the graph, the overviews, the statistics and the file.
    """
    import zarr

    from benchmarks.scenes import VARIABLE

    _without_xarray()
    from lazycog import _tiles, codecs
    from lazycog._compression import compression

    store = zarr.open_array(f"{job.zarr}/{VARIABLE}", mode="r")
    floating = np.dtype(store.dtype).kind == "f"
    chosen = compression(
        job.codec or "zstd",
        level=job.level,
        predictor=job.predictor if job.codec else (3 if floating else 2),
    )

    def encode(work: Work) -> int:
        load, side = work
        pixels = load()
        scratch = np.empty((side, side, pixels.shape[0]), pixels.dtype)
        out = memoryview(bytearray(chosen.bound(scratch.nbytes)))
        total = 0
        for row in range(0, pixels.shape[1], side):
            for col in range(0, pixels.shape[2], side):
                tile = _tiles.cut_tile(pixels, row, col, scratch, chosen.predictor)
                total += codecs.encode(tile, out, chosen)
        return total

    with ThreadPoolExecutor(job.threads) as pool:
        print(sum(pool.map(encode, _works(store, Path(job.overviews)))))


def _without_xarray() -> None:
    """Let modules of lazycog load alone: its start imports xarray, Dask and GDAL."""
    spec = importlib.util.find_spec("lazycog")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("lazycog is not installed")
    package = types.ModuleType("lazycog")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["lazycog"] = package


def _works(store: Any, overviews: Path) -> Iterator[Work]:
    """Give pieces of whole tiles: chunks of the store, then rows of each overview."""
    from lazycog import _grid

    _, height, width = store.shape
    step = store.chunks[1]
    for row in range(0, height, step):
        for col in range(0, width, step):
            window = (slice(None), slice(row, row + step), slice(col, col + step))
            yield partial(_piece, store, window), BLOCKSIZE
    sizes = _grid.overview_sizes(height, width, BLOCKSIZE, None)
    for index, size in enumerate(sizes[1:], start=1):
        level = np.load(overviews / f"{index}.npy", mmap_mode="r")
        side = _grid.legal_tile_size(*size, BLOCKSIZE)
        for row in range(0, size[0], side):
            yield partial(_piece, level, (slice(None), slice(row, row + side))), side


def _piece(pixels: Any, window: tuple[slice, ...]) -> NDArray[Any]:
    return np.ascontiguousarray(pixels[window])
