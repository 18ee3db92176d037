"""How far the plan goes: a raster of a million pixels a side, of which none is read.

``scale HEIGHT WIDTH STEP`` does one step in a process of its own, as :func:`run` asks.
The default size is that of GDAL's issue 7303: 1,296,000 x 525,000.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

    from lazycog._plan import CogPlan

HEIGHT, WIDTH = 525_000, 1_296_000
STEPS = ("plan", "graph", "header")
TILE_BYTES = 20_000
"""Bytes of an encoded tile, give or take: the header depends on them alone."""


@dataclass(frozen=True)
class Step:
    """What one step took."""

    step: str
    seconds: float = 0.0
    rss: int = 0
    """Growth of the peak of this process, in bytes."""
    facts: str = ""
    error: str | None = None


def raster(height: int, width: int) -> xr.DataArray:
    """Describe a raster of one band of uint8, in chunks as lazycog takes them."""
    import dask.array
    import xarray as xr

    pixels = dask.array.zeros((height, width), dtype="uint8", chunks=4096)
    return xr.DataArray(pixels, dims=("y", "x"))


def plan(height: int, width: int) -> tuple[float, str]:
    """Time the plan."""
    import lazycog

    array = raster(height, width)
    start = time.perf_counter()
    found = lazycog.plan(array)
    seconds = time.perf_counter() - start
    return seconds, (
        f"{len(found.levels)} levels, {found.total_tiles:,} tiles, "
        f"{found.chunk_count:,} chunks, {found.task_count:,} tasks, "
        f"{found.peak_bytes(2) / 2**20:.0f} MiB with 2 threads"
    )


def graph(height: int, width: int) -> tuple[float, str]:
    """Time the graph of the write, and weigh it as it goes to a scheduler."""
    import cloudpickle

    import lazycog

    array = raster(height, width)
    chunks = lazycog.plan(array).chunk_count
    with tempfile.NamedTemporaryFile(suffix=".tif") as dst:
        start = time.perf_counter()
        lazy = lazycog.to_cog(array, dst.name, compute=False)
        tasks = dict(lazy.__dask_graph__())
        seconds = time.perf_counter() - start
    # before it is pickled, which takes memory of its own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    weight = len(cloudpickle.dumps(tasks, protocol=5))
    pickled = time.perf_counter() - start
    source = array.data.npartitions
    return seconds, (
        f"{len(tasks):,} tasks, {source:,} of the source: "
        f"{(len(tasks) - source) / chunks:.2f} per chunk; peak of the process "
        f"{peak / 1024:.0f} MiB before it is pickled; "
        f"{weight / chunks:.0f} bytes pickled per chunk in {pickled:.1f} s"
    )


def header(height: int, width: int) -> tuple[float, str]:
    """Time the positions of all tiles, and the header with all of them."""
    import lazycog
    from lazycog import _assemble, _layout

    found = lazycog.plan(raster(height, width), statistics=False)
    placements = []
    summaries = _summaries(found)
    start = time.perf_counter()
    for stage_rows in summaries:
        ends: Any = {}
        for row in stage_rows:
            placements.append(_layout.place_row(ends, [row], 0))
            ends = placements[-1].ends
    made = time.perf_counter() - start
    start = time.perf_counter()
    layout = _assemble.assemble(found, placements)
    assembled = time.perf_counter() - start
    return made + assembled, (
        f"{found.total_tiles:,} tiles: positions {made:.1f} s, header "
        f"{assembled:.1f} s and {len(layout.header) / 1e6:.0f} MB, of a file of "
        f"{layout.size / 1e9:.0f} GB"
    )


def _summaries(found: CogPlan) -> list[list[Any]]:
    """Make up the sizes of all tiles, as rows of chunks would give them."""
    import numpy as np

    from lazycog import _layout

    random = np.random.default_rng(0)
    stages = []
    for stage in found.stages:
        cols = [stage.axis_chunk(1, each) for each in range(stage.chunk_cols)]
        starts = {
            level.index: tuple(each.own[step].start // level.tile_size for each in cols)
            for step, level in enumerate(stage.levels)
        }
        rows = []
        for row in range(stage.chunk_rows):
            own = stage.axis_chunk(0, row).own
            sizes = {}
            for step, level in enumerate(stage.levels):
                high = -(-len(own[step]) // level.tile_size)
                shape = (1, high, level.tile_cols, 1)
                sizes[level.index] = random.integers(
                    TILE_BYTES // 2, TILE_BYTES, shape, dtype=np.uint32
                )
            rows.append(_layout.RowSummary(sizes, starts, None, (), None))
        stages.append(rows)
    return stages


def run(height: int, width: int, timeout: float) -> Iterator[Step]:
    """Do every step, each in a process of its own.

    Yields
    ------
    Step
        As it is known, failures among them.
    """
    from benchmarks.series import child

    for name in STEPS:
        usage = child("scale", str(height), str(width), name, timeout=timeout)
        if usage.error:
            yield Step(name, error=usage.error)
        else:
            yield Step(**json.loads(usage.output))


HEADER_ROW = ("step", "seconds", "memory, MiB", "")


def row(each: Step) -> tuple[str, ...]:
    """Give a row of the table."""
    memory = f"{each.rss / 2**20:.0f}"
    return each.step, f"{each.seconds:.2f}", memory, each.error or each.facts


def main() -> None:
    """Do the step that the arguments say."""
    warnings.simplefilter("ignore")
    height, width, name = sys.argv[1:]
    import lazycog  # noqa: F401 - counts as what was there before

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = {"plan": plan, "graph": graph, "header": header}
    seconds, facts = steps[name](int(height), int(width))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps(asdict(Step(name, seconds, grown * 1024, facts))))


if __name__ == "__main__":
    main()
