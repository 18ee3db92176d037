"""CPU seconds of a Dask scheduler, for lazycog and odc-geo on a scene of small tiles.

The scheduler of the local cluster is a process of its own, so that what it takes is
neither the client's nor the workers'. The client is a process, too:
``scheduler FILE TOOL SIZE CHUNK BLOCKSIZE DST``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import xarray as xr

TOOLS = ("lazycog", "odc-geo")
START_SECONDS = 60
CRS = "EPSG:32632"


@dataclass(frozen=True)
class Scene:
    """What is written: one band of uint8."""

    size: int
    chunk: int
    """Side of the chunks of the source."""
    blocksize: int

    @property
    def chunks(self) -> int:
        """Number of chunks of the source."""
        return (-(-self.size // self.chunk)) ** 2


@dataclass(frozen=True)
class Cost:
    """What one write took."""

    tool: str
    chunks: int
    tasks: int = 0
    wall: float = 0.0
    scheduler_cpu: float = 0.0
    error: str | None = None

    @property
    def per_thousand(self) -> float:
        """Seconds of the scheduler per 1,000 chunks of the source."""
        return 1000 * self.scheduler_cpu / self.chunks


def raster(scene: Scene) -> xr.DataArray:
    """Describe the scene: cheap pixels, which compress."""
    import dask.array
    import numpy as np
    import odc.geo.xr
    import xarray as xr

    lines = dask.array.arange(scene.size, chunks=scene.chunk)
    pixels = ((lines[:, None] ^ lines) % 251).astype("uint8")
    centers = (np.arange(scene.size) + 0.5) * 10.0
    coords = {"y": 5_000_000.0 - centers, "x": 400_000.0 + centers}
    array = xr.DataArray(pixels, coords, dims=("y", "x"))
    located: xr.DataArray = odc.geo.xr.assign_crs(array, CRS)
    return located


def write(tool: str, scene: Scene, dst: str) -> int:
    """Write the scene with the client of this process; gives the number of tasks."""
    array = raster(scene)
    if tool == "lazycog":
        import lazycog

        lazy = lazycog.to_cog(array, dst, blocksize=scene.blocksize, compute=False)
    else:
        from odc.geo.cog import save_cog_with_dask

        lazy = save_cog_with_dask(
            array, dst, blocksize=scene.blocksize, overview_resampling="average"
        )
    tasks = len(dict(lazy.__dask_graph__()))
    lazy.compute()
    return tasks


def run(
    tools: Sequence[str], scene: Scene, workers: int, folder: Path, timeout: float
) -> Iterator[Cost]:
    """Write the scene with each tool, on a cluster of its own.

    Yields
    ------
    Cost
        As it is known, failures among them.
    """
    from benchmarks.series import child

    for tool in tools:
        file, dst = folder / "scheduler.json", folder / "scheduler.tif"
        file.unlink(missing_ok=True)
        with _cluster(file, workers):
            sides = map(str, (scene.size, scene.chunk, scene.blocksize))
            usage = child(
                "scheduler", str(file), tool, *sides, str(dst), timeout=timeout
            )
        dst.unlink(missing_ok=True)
        known = {} if usage.error else json.loads(usage.output)
        yield Cost(tool, scene.chunks, error=usage.error, **known)


@contextlib.contextmanager
def _cluster(file: Path, workers: int) -> Iterator[None]:
    """Start a scheduler and its workers, and end them."""
    module = "distributed.cli.dask_"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    commands = [
        [f"{module}scheduler", "--port", "0", "--host", "127.0.0.1", *common],
        *(
            [f"{module}worker", "--nthreads", "1", "--no-nanny", *common]
            for _ in range(workers)
        ),
    ]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            deadline = time.monotonic() + START_SECONDS
            while not file.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
        yield
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


HEADER = (
    *("tool", "chunks", "tasks", "wall, s", "scheduler CPU, s"),
    *("per 1,000 chunks, s", ""),
)


def row(each: Cost) -> tuple[str, ...]:
    """Give a row of the table."""
    return (
        *(each.tool, f"{each.chunks}", f"{each.tasks}", f"{each.wall:.1f}"),
        *(f"{each.scheduler_cpu:.2f}", f"{each.per_thousand:.2f}", each.error or ""),
    )


def main() -> None:
    """Write as the arguments say, and tell what it took."""
    from benchmarks.measure import cpu_seconds
    from distributed import Client

    warnings.simplefilter("ignore")
    file, tool, size, chunk, blocksize, dst = sys.argv[1:]
    scene = Scene(int(size), int(chunk), int(blocksize))
    with Client(scheduler_file=file, timeout=START_SECONDS) as client:
        client.wait_for_workers(1, timeout=START_SECONDS)
        pid = client.run_on_scheduler(os.getpid)
        # the first write lets the scheduler import what tasks are made of
        write(tool, replace(scene, size=scene.chunk), dst)
        before, start = cpu_seconds(pid), time.perf_counter()
        tasks = write(tool, scene, dst)
        seconds, spent = time.perf_counter() - start, cpu_seconds(pid) - before
    print(json.dumps({"tasks": tasks, "wall": seconds, "scheduler_cpu": spent}))


if __name__ == "__main__":
    main()
