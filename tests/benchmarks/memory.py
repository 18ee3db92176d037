"""Peak memory of writes of growing size: a lazy raster that needs no disk.

``memory SHAPE BYTES THREADS FILE`` is one process; the series is :func:`run`.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

SHAPES = ("tall", "square", "wide")
BANDS = 4
ITEMSIZE = 2
CHUNK = 2048
NARROW = 4096
"""Short side of tall and wide rasters, in pixels."""
POOL = 2**20
"""Random values that all chunks share, so that a chunk costs little time and no memory
but its own."""
NOISE = 63
"""Noise of 6 bits in 16: a file of a third to a half of the raw pixels."""


@dataclass(frozen=True)
class Peak:
    """What one write took."""

    shape: str
    height: int
    width: int
    raw: int
    threads: int
    planned: int
    """What the plan promises."""
    size: int
    """Of the file."""
    measured: int = 0
    wall: float = 0.0
    error: str | None = None


def dimensions(shape: str, raw: int) -> tuple[int, int]:
    """Give height and width of a raster of a shape and about so many raw bytes.

    Long sides are odd, so that each chunk needs pixels of its neighbours, which takes
    most memory: sizes that halve without a rest would differ in that, too.

    Examples
    --------
    >>> dimensions("tall", 8 * 10**9), dimensions("square", 8 * 10**9)
    ((244141, 4096), (31623, 31623))
    """
    pixels = raw // (BANDS * ITEMSIZE)
    if shape == "square":
        return math.isqrt(pixels) | 1, math.isqrt(pixels) | 1
    length = pixels // NARROW | 1
    return (length, NARROW) if shape == "tall" else (NARROW, length)


def raster(height: int, width: int) -> xr.DataArray:
    """Give a lazy raster that costs little to compute and compresses as an image."""
    import dask.array
    import numpy as np
    import xarray as xr

    pool = np.random.default_rng(0).integers(0, NOISE, POOL, dtype="uint16")

    def block(block_info: Any = None) -> NDArray[Any]:
        place = block_info[None]
        rows, cols = (
            (np.arange(*span) // 8).astype("uint16")
            for span in place["array-location"][1:]
        )
        pixels = np.empty(place["chunk-shape"], "uint16")
        flat = pixels.reshape(-1)
        for at in range(0, flat.size, POOL):
            piece = flat[at : at + POOL]
            piece[:] = pool[: piece.size]
        pixels += rows[:, np.newaxis]
        pixels += cols
        return pixels

    sides = [
        tuple(min(CHUNK, size - at) for at in range(0, size, CHUNK))
        for size in (height, width)
    ]
    pixels = dask.array.map_blocks(block, dtype="uint16", chunks=((BANDS,), *sides))
    return xr.DataArray(pixels, dims=("band", "y", "x"))


def write(shape: str, raw: int, threads: int, dst: str) -> Peak:
    """Write one raster, in this process."""
    import dask

    import lazycog

    height, width = dimensions(shape, raw)
    array = raster(height, width)
    plan = lazycog.plan(array)
    with dask.config.set(scheduler="threads", num_workers=threads):
        result = lazycog.to_cog(array, dst, progress=False)
    return Peak(
        shape=shape,
        height=height,
        width=width,
        raw=plan.raw_bytes,
        threads=threads,
        planned=plan.peak_bytes(threads),
        size=result.size,
    )


def run(
    shapes: Sequence[str],
    sizes: Sequence[float],
    threads: int,
    folder: Path,
    timeout: float,
) -> Iterator[Peak]:
    """Measure every shape and size (in GB), each in a process of its own.

    Yields
    ------
    Peak
        As it is known, failures among them.
    """
    from benchmarks.series import child

    for size in sizes:
        for shape in shapes:
            dst = folder / "memory.tif"
            raw = int(size * 1e9)
            arguments = (shape, str(raw), str(threads), str(dst))
            usage = child("memory", *arguments, timeout=timeout)
            dst.unlink(missing_ok=True)
            known = (
                {**asdict(Peak(shape, *dimensions(shape, raw), raw, threads, 0, 0))}
                if usage.error
                else json.loads(usage.output)
            )
            measured = {"measured": usage.peak_rss, "wall": usage.wall}
            yield Peak(**{**known, **measured, "error": usage.error})


HEADER = (
    *("shape", "height x width", "raw, GB", "file, GB", "threads"),
    *("peak RSS, MiB", "planned, MiB", "wall, s", ""),
)


def row(each: Peak) -> tuple[str, ...]:
    """Give a row of the table."""
    return (
        *(each.shape, f"{each.height} x {each.width}", f"{each.raw / 1e9:.2f}"),
        *(f"{each.size / 1e9:.2f}", str(each.threads)),
        *(f"{each.measured / 2**20:.0f}", f"{each.planned / 2**20:.0f}"),
        *(f"{each.wall:.1f}", each.error or ""),
    )


def main() -> None:
    """Do what the arguments say."""
    warnings.simplefilter("ignore")
    shape, raw, threads, dst = sys.argv[1:]
    found = write(shape, int(raw), int(threads), dst)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
