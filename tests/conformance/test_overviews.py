"""Overviews equal those of GDAL's COG driver, pixel for pixel, at every level."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import gdal_cog, gdal_levels, raster, write

SIZES = [(512, 512), (511, 509), (600, 601), (1000, 1), (1, 1), (4097, 2049)]
KERNELS = ["nearest", "average", "mode", "rms"]
DTYPES = {
    "uint8": ("uint8", None),
    "uint8 with nodata": ("uint8", 3),
    "int16": ("int16", None),
    "int16 with nodata": ("int16", -9999),
    "uint16": ("uint16", None),
    "uint16 with nodata": ("uint16", 0),
    "float32 with NaN": ("float32", float("nan")),
    "float32 with nodata": ("float32", -9999.0),
}


def _scene(size, dtype, nodata):
    """Smooth terrain with noise, flat areas, and blocks of missing pixels."""
    generator = np.random.default_rng(11)
    height, width = size
    y, x = np.mgrid[:height, :width]
    scene = 60 + 40 * np.sin(y / 37) * np.cos(x / 23) + generator.normal(0, 9, size)
    scene[(y // 50 + x // 70) % 5 == 0] = 42
    pixels = scene.astype(dtype)
    if nodata is not None:
        pixels[(y // 33 + x // 21) % 4 == 1] = nodata
        pixels[generator.random(size) < 0.05] = nodata
    return pixels


def _assert_equal_to_gdal(folder, size, dtype, nodata, kernel, blocksize):
    pixels = _scene(size, dtype, nodata)
    expected = gdal_levels(
        gdal_cog(
            folder / "gdal.tif",
            pixels,
            nodata=nodata,
            COMPRESS="NONE",
            BLOCKSIZE=blocksize,
            OVERVIEW_RESAMPLING=kernel.upper(),
        )
    )

    write(
        raster(pixels),
        folder / "ours.tif",
        blocksize=blocksize,
        overview_resampling=kernel,
        nodata=nodata,
        compress="zstd",
        level=1,
    )
    found = gdal_levels(folder / "ours.tif")

    assert len(found) == len(expected)
    for level, (ours, gdals) in enumerate(zip(found, expected, strict=True)):
        assert ours.dtype == gdals.dtype
        np.testing.assert_array_equal(ours, gdals, err_msg=f"level {level}")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("dtype", "nodata"), DTYPES.values(), ids=DTYPES.keys())
def test_overviews_equal_gdals(tmp_path, dtype, nodata, kernel):
    """An odd size whose levels span several chunks of several stages."""
    _assert_equal_to_gdal(tmp_path, (1031, 777), dtype, nodata, kernel, 128)


@pytest.mark.large
@pytest.mark.parametrize("blocksize", [128, 256, 512])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("dtype", "nodata"), DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_overviews_equal_gdals_everywhere(
    tmp_path, size, dtype, nodata, kernel, blocksize
):
    """All sizes, types, kernels and tile sizes of the promise."""
    _assert_equal_to_gdal(tmp_path, size, dtype, nodata, kernel, blocksize)
