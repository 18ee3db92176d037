"""A made-up satellite scene of any size, and its way from Zarr to a checked COG."""

from __future__ import annotations

import math
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

from lazycog import _api, _open, _progress, _validate
from lazycog._extras import require
from lazycog._views import human_bytes
from lazycog._watch import ChunkDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from lazycog._plan import CogPlan
    from lazycog._report import Report
    from lazycog._result import CogResult

DEFAULT_SIZE = 13824
"""Side of the scene in pixels: 1.53 GB of raw data."""
BANDS = ("red", "green", "blue", "nir")
CHUNK_SIZE = 1024
"""Side of the Zarr chunks in pixels."""
SEED = 20240229
LATTICE = 256
"""Side of the periodic random lattice that noise is interpolated from."""
ROUGHNESS = 0.55
"""Amplitude of an octave of noise relative to the one before."""
CELLS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Sides of the lattice cells of noise in pixels: one octave each."""
LAND_CELLS = 3
"""The largest cells fit this often into the scene."""
MEMORY_SHARE = 0.6
"""The conversion may use this part of the raw size, so that the scene cannot fit."""
GAMMA = 2.0
"""Of the picture: the ground is dark beside clouds and snow."""
PIXEL_METERS = 10.0
CORNER = (399960.0, 5200020.0)
"""Easting and northing of the upper left corner."""
CRS = "EPSG:32632"
SWATH_TILT = 0.2
"""The scene is a slanted swath: its left and right edges hold no data."""
SWATH_MARGIN = 0.04
WATER = np.array([0.03, 0.05, 0.07, 0.015], np.float32)
SOIL = np.array([0.21, 0.16, 0.11, 0.30], np.float32)
PLANTS = np.array([0.04, 0.075, 0.035, 0.42], np.float32)
SNOW = np.array([0.80, 0.82, 0.84, 0.70], np.float32)
CLOUD = np.array([0.68, 0.70, 0.73, 0.65], np.float32)
"""Reflectances in the order of BANDS."""
SCALE = 1e-4
"""Reflectance of one stored unit."""


@dataclass(frozen=True)
class DemoFiles:
    """What the demo leaves in its folder."""

    folder: Path

    @property
    def zarr(self) -> Path:
        """The source."""
        return self.folder / "scene.zarr"

    @property
    def cog(self) -> Path:
        """The result."""
        return self.folder / "scene.tif"

    @property
    def png(self) -> Path:
        """A picture of the result."""
        return self.folder / "scene.png"

    @property
    def existing(self) -> list[Path]:
        """Those that are there already."""
        return [path for path in (self.zarr, self.cog, self.png) if path.exists()]


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo has done."""

    plan: CogPlan
    result: CogResult
    report: Report
    threads: int
    peak_bytes: int | None
    """Largest resident memory until the file was written, None where not known."""


def run_demo(
    files: DemoFiles,
    *,
    size: int,
    threads: int,
    progress: _progress.Choice,
    say: Callable[[str], None],
) -> DemoOutcome:
    """Make a scene as a Zarr store, convert it, check it and picture it.

    Parameters
    ----------
    files : DemoFiles
        Where; existing files are replaced.
    size : int
        Side of the scene in pixels.
    threads : int
        Threads at most; fewer are used where they would take too much memory.
    progress : "auto" or bool
        The ``progress`` option.
    say : callable
        Takes a line for the user.

    Returns
    -------
    DemoOutcome
        The numbers.

    Raises
    ------
    MissingExtraError
        Zarr is not installed.
    """
    raw = human_bytes(size * size * len(BANDS) * 2)
    say(
        f"making a scene of {size} x {size} pixels, {len(BANDS)} bands of uint16: {raw}"
    )
    with _removed_on_failure(files.zarr):
        with dask.config.set(scheduler="threads", num_workers=threads):
            make_scene(files.zarr, size, progress)
        source = _open.open_source(files.zarr, variable="reflectance")
        plan = _api.plan(source)
        used = allowed_threads(plan, threads)
        allowed = human_bytes(plan.peak_bytes(used))
        say(f"converting on {used} thread(s): {raw} with about {allowed} of memory")
        with dask.config.set(scheduler="threads", num_workers=used):
            result = _api.to_cog(source, files.cog, progress=progress)
        peak = peak_memory()
        report = _validate.validate(files.cog, full=True)
        _api.quicklook(files.cog, files.png, gamma=GAMMA)
    return DemoOutcome(plan, result, report, used, peak)


def allowed_threads(plan: CogPlan, threads: int) -> int:
    """Choose threads so that the expected memory stays well below the raw size.

    Parameters
    ----------
    plan : CogPlan
        Of the write.
    threads : int
        At most.

    Returns
    -------
    int
        1 at least.
    """
    limit = plan.raw_bytes * MEMORY_SHARE
    fitting = [n for n in range(1, threads + 1) if plan.peak_bytes(n) <= limit]
    return max(fitting, default=1)


def peak_memory() -> int | None:
    """Give the largest resident memory of this process until now.

    Returns
    -------
    int or None
        Bytes; None on systems that do not tell.
    """
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


# --- the scene ----------------------------------------------------------------------


def make_scene(path: Path, size: int, progress: _progress.Choice) -> None:
    """Write a scene as a Zarr store, chunk by chunk.

    Parameters
    ----------
    path : Path
        Of the store; an existing one is replaced.
    size : int
        Side in pixels.
    progress : "auto" or bool
        Show how far it is.

    Raises
    ------
    MissingExtraError
        Zarr is not installed.
    """
    require("zarr", "the demo makes a Zarr store: pip install 'lazycog[zarr]'")
    if path.exists():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = scene(size)
    made = dataset.reflectance
    with _progress.shown(
        made.data.npartitions, progress, label="making", unit="chunks"
    ) as on_chunk:
        if on_chunk:
            counted = made.data.map_blocks(_counted, on_chunk, dtype=made.dtype)
            dataset["reflectance"] = made.copy(data=counted)
        dataset.to_zarr(path, mode="w", consolidated=False)


def scene(size: int) -> xr.Dataset:
    """Describe a scene lazily; the same size always has the same pixels.

    Parameters
    ----------
    size : int
        Side in pixels.

    Returns
    -------
    Dataset
        One variable, reflectance, with dims (band, y, x).
    """
    empty = dask.array.zeros(
        (len(BANDS), size, size),
        dtype=np.uint16,
        chunks=(len(BANDS), CHUNK_SIZE, CHUNK_SIZE),
    )
    pixels = dask.array.map_blocks(
        _scene_chunk, empty, size, dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16)
    )
    centers = (np.arange(size) + 0.5) * PIXEL_METERS
    attrs = {"long_name": list(BANDS), "units": "reflectance", "_FillValue": 0}
    array = xr.DataArray(
        pixels,
        dims=("band", "y", "x"),
        coords={"y": CORNER[1] - centers, "x": CORNER[0] + centers},
        name="reflectance",
        attrs={**attrs, "scale_factor": SCALE, "add_offset": 0.0},
    )
    dataset: xr.Dataset = array.to_dataset().rio.write_crs(CRS)
    dataset.attrs = {"title": "lazycog demo scene", "seed": SEED}
    return dataset


def _scene_chunk(
    block: NDArray[np.uint16],
    size: int,
    block_info: Any = None,  # noqa: ANN401 - as Dask passes it
) -> NDArray[np.uint16]:
    """Make the pixels of one chunk."""
    _, rows, cols = block_info[0]["array-location"]
    return scene_pixels(range(*rows), range(*cols), size).astype(block.dtype)


def _counted(
    pixels: NDArray[np.uint16], on_chunk: Callable[[ChunkDone], None]
) -> NDArray[np.uint16]:
    """Pass a chunk on, and say that it is made."""
    on_chunk(ChunkDone(0, 1, pixels.nbytes, 0))
    return pixels


def scene_pixels(rows: range, cols: range, size: int) -> NDArray[np.uint16]:
    """Make a window of the scene.

    Parameters
    ----------
    rows, cols : range
        Which pixels.
    size : int
        Side of the scene.

    Returns
    -------
    ndarray, shape (band, row, col)
        Stored values, 0 outside the swath.
    """
    height, moist, clouds = (
        _noise(rows, cols, size, SEED + layer) for layer in range(3)
    )
    shape = len(rows), len(cols)
    grain = np.random.default_rng([SEED, rows.start, cols.start])

    plants = _ramp(moist - 0.4 * height, -0.5, 0.6)
    ground = SOIL[:, None, None] * (1 - plants) + PLANTS[:, None, None] * plants
    ground *= 1 + 0.5 * (np.gradient(height, axis=1) * 30).clip(-0.9, 0.9)
    ground = _blend(ground, SNOW, _ramp(height, 0.75, 0.95))
    ground = _blend(ground, WATER, _ramp(height, -0.6, -0.64))
    ground = _blend(ground, CLOUD, _ramp(clouds, 0.35, 1.1))
    ground *= 1 + 0.01 * grain.standard_normal((1, *shape), dtype=np.float32)

    stored = (ground / SCALE).clip(1, 10000).astype(np.uint16)
    stored[:, ~_swath(rows, cols, size)] = 0
    return stored


def _blend(
    ground: NDArray[np.float32],
    cover: NDArray[np.float32],
    share: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Cover the ground where the share is 1."""
    return ground + (cover[:, None, None] - ground) * share


def _ramp(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Go from 0 at `low` to 1 at `high`."""
    scaled = (values - np.float32(low)) / np.float32(high - low)
    return scaled.clip(0, 1)


def _swath(rows: range, cols: range, size: int) -> NDArray[np.bool_]:
    """Say which pixels the sensor has seen."""
    drift = np.arange(rows.start, rows.stop)[:, None] * SWATH_TILT
    across = np.arange(cols.start, cols.stop)[None, :] + drift
    margin = size * SWATH_MARGIN
    inside: NDArray[np.bool_] = (across >= margin + size * SWATH_TILT / 2) & (
        across < size * (1 + SWATH_TILT / 2) - margin
    )
    return inside


def _noise(rows: range, cols: range, size: int, seed: int) -> NDArray[np.float32]:
    """Add octaves of smooth noise up: a fractal surface around 0."""
    # all are added up on the nodes of the finest one, which alone is brought to every
    # pixel: the others are smooth between them
    finest = CELLS[0]
    row_weights, row_nodes = _weights(np.arange(rows.start, rows.stop) / finest)
    col_weights, col_nodes = _weights(np.arange(cols.start, cols.stop) / finest)
    nodes = np.zeros((len(row_nodes), len(col_nodes)), np.float32)
    amplitude = 1.0
    for cell in reversed([each for each in CELLS if each * LAND_CELLS <= size]):
        lattice = np.random.default_rng([seed, cell]).random(
            (LATTICE, LATTICE), dtype=np.float32
        )
        down, own_rows = _weights(row_nodes * finest / cell, smooth=True)
        across, own_cols = _weights(col_nodes * finest / cell, smooth=True)
        values = 2 * lattice[np.ix_(own_rows % LATTICE, own_cols % LATTICE)] - 1
        nodes += (amplitude * (down @ values @ across.T)).astype(np.float32)
        amplitude *= ROUGHNESS
    return np.asarray(row_weights @ nodes @ col_weights.T, np.float32)


def _weights(
    position: NDArray[np.float64], *, smooth: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give each position's weights on the lattice nodes around it, and the nodes."""
    first = math.floor(position[0])
    nodes = np.arange(first, math.floor(position[-1]) + 2)
    left = np.floor(position).astype(np.int64) - first
    part = position - np.floor(position)
    if smooth:
        part = part * part * (3 - 2 * part)
    weights = np.zeros((len(position), len(nodes)), np.float32)
    index = np.arange(len(position))
    weights[index, left] = 1 - part
    weights[index, left + 1] = part
    return weights, nodes
