"""Peak memory: within the plan, and the same for a scene of twice the rows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from oracles import PEAK

SCRIPT = """
import json, sys
import dask, dask.array as da, numpy as np, xarray as xr
import lazycog

def make(block_info=None):
    where = block_info[None]["array-location"]
    shape = tuple(stop - start for start, stop in where)
    # nothing but the block itself: what a source takes beside it is not planned
    noise = np.random.default_rng(sum(start for start, _ in where))
    pixels = noise.integers(0, 64, shape, "uint16")
    pixels += (20 * (np.arange(*where[1]) % 50)).astype("uint16")[:, None]
    return pixels

rows, cols = int(sys.argv[1]), int(sys.argv[2])
chunks = ((4,), (2048,) * (rows // 2048), (2048,) * (cols // 2048))
empty = np.empty((0, 0, 0), "uint16")
pixels = da.map_blocks(make, dtype="uint16", chunks=chunks, meta=empty)
scene = xr.DataArray(pixels, dims=("band", "y", "x"))
with dask.config.set(scheduler="threads", num_workers=2):
    options = {"level": 1, **json.loads(sys.argv[4])}
    promised = scene.geo.plan(**options).peak_bytes(2)
    scene.geo.to_cog(sys.argv[3], progress=False, **options)
print(peak_bytes(), promised)
"""


def _peak(path, rows, cols, **options):
    """Give the measured and the promised peak of a write in a process of its own."""
    text = json.dumps(options)
    run = subprocess.run(
        [sys.executable, "-c", PEAK + SCRIPT, *map(str, (rows, cols, path)), text],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, promised = map(int, run.stdout.split())
    return peak, promised


def test_peak_is_within_the_plan(tmp_path):
    """Half a gigabyte of pixels on two threads."""
    peak, promised = _peak(tmp_path / "cog.tif", 8192, 8192)

    assert peak <= promised


@pytest.mark.large
@pytest.mark.parametrize(
    "options",
    [
        {"mask": True, "nodata": 0},
        {"overview_resampling": "cubic"},
        {"max_z_error": 8},
        {"sparse": True, "deduplicate": True},
        {"mask": True, "nodata": 0, "interleave": "band"},
    ],
    ids=str,
)
def test_peak_is_within_the_plan_of_any_option(tmp_path, options):
    """What travels beside the pixels, and what is rounded, is planned, too."""
    peak, promised = _peak(tmp_path / "cog.tif", 8192, 8192, **options)

    assert peak <= promised


@pytest.mark.large
def test_peak_does_not_grow_with_the_scene(tmp_path):
    """2.1 GB and 4.3 GB of pixels take the same memory, under 700 MB."""
    peaks = [_peak(tmp_path / "cog.tif", rows, 16384) for rows in (16384, 32768)]

    for peak, promised in peaks:
        assert peak <= promised
    assert peaks[0][0] < 700e6
    assert peaks[1][0] <= 1.05 * peaks[0][0]
