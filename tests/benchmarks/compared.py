"""Compare windows of a file with the source: ``compared SOURCE.zarr FILE.tif``."""

from __future__ import annotations

import sys
import warnings

WINDOWS = 5
"""On each side, evenly spread, the edges among them."""
SIDE = 300


def compare(zarr: str, tif: str) -> str:
    """Say "same", or what differs."""
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    from benchmarks.scenes import open_scene

    source = open_scene(zarr)
    count, height, width = source.shape
    side = min(SIDE, height, width)
    with rasterio.open(tif) as file:
        if (file.count, file.height, file.width) != (count, height, width):
            size = f"{file.width} x {file.height}, {file.count} band(s)"
            return f"file has {size}, not {width} x {height}, {count}"
        overviews = file.overviews(1)
        for row in np.linspace(0, height - side, WINDOWS, dtype=int):
            for col in np.linspace(0, width - side, WINDOWS, dtype=int):
                wanted = source[:, row : row + side, col : col + side].to_numpy()
                if not np.array_equal(
                    file.read(window=Window(col, row, side, side)), wanted
                ):
                    return f"pixels differ near row {row}, column {col}"
    if max(height, width) > 1024 and not overviews:
        return "no overviews"
    return "same"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(compare(*sys.argv[1:]))
