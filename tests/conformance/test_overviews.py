"""Overviews equal those of GDAL's COG driver, pixel for pixel, at every level.

Those of wide kernels may differ by one unit of an integer type, or 1e-6 of a float: a
sum of many products that falls halfway between two values is rounded by its last bit.
"""

from __future__ import annotations

import numpy as np
import pytest

from oracles import gdal_cog, gdal_levels, raster, write

SIZES = [(512, 512), (511, 509), (600, 601), (1000, 1), (1, 1), (4097, 2049)]
KERNELS = ["nearest", "average", "mode", "rms"]
WIDE = ["bilinear", "cubic", "cubicspline", "lanczos", "gauss"]
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


def _stand_in(kernel, nodata):
    """Give the nodata value to show GDAL.

    Up to 3.12 its mode writes 0, which is data, where all pixels of a window equal a
    nodata value that is NaN or negative, and its wide kernels spread a nodata value
    that is NaN. Another value for the missing pixels changes nothing else.
    """
    missing = nodata is not None
    broken = missing and kernel == "mode" and not nodata >= 0
    spread = missing and kernel in WIDE and np.isnan(nodata)
    return 9999 if broken or spread else nodata


def _swapped(pixels, old, new):
    """Put one nodata value in place of another."""
    if old is new:
        return pixels
    missing = np.isnan(pixels) if old != old else pixels == old  # noqa: PLR0124 - NaN
    return np.where(missing, pixels.dtype.type(new), pixels)


def _assert_equal_to_gdal(folder, size, dtype, nodata, kernel, blocksize):
    pixels = _scene(size, dtype, nodata)
    stand_in = _stand_in(kernel, nodata)
    expected = gdal_levels(
        gdal_cog(
            folder / "gdal.tif",
            _swapped(pixels, nodata, stand_in),
            nodata=stand_in,
            COMPRESS="NONE",
            BLOCKSIZE=blocksize,
            OVERVIEW_RESAMPLING=kernel.upper(),
        )
    )
    expected = [_swapped(level, stand_in, nodata) for level in expected]

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
        if level and kernel in WIDE:
            _assert_close(ours, gdals)
        else:
            np.testing.assert_array_equal(ours, gdals, err_msg=f"level {level}")


def _assert_close(ours, gdals):
    if ours.dtype.kind == "f":
        np.testing.assert_allclose(ours, gdals, rtol=1e-6)
    else:
        difference = np.abs(ours.astype(np.int64) - gdals)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("kernel", KERNELS + WIDE)
@pytest.mark.parametrize(("dtype", "nodata"), DTYPES.values(), ids=DTYPES.keys())
def test_overviews_equal_gdals(tmp_path, dtype, nodata, kernel):
    """An odd size whose levels span several chunks of several stages."""
    _assert_equal_to_gdal(tmp_path, (1031, 777), dtype, nodata, kernel, 128)


@pytest.mark.large
@pytest.mark.parametrize("blocksize", [128, 256, 512])
@pytest.mark.parametrize("kernel", KERNELS + WIDE)
@pytest.mark.parametrize(("dtype", "nodata"), DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_overviews_equal_gdals_everywhere(
    tmp_path, size, dtype, nodata, kernel, blocksize
):
    """All sizes, types, kernels and tile sizes of the promise."""
    _assert_equal_to_gdal(tmp_path, size, dtype, nodata, kernel, blocksize)


@pytest.mark.parametrize(("dtype", "nodata"), [("float32", np.nan), ("int16", -9999)])
def test_missing_pixels_stay_missing_in_mode(tmp_path, dtype, nodata):
    """A window without any valid pixel has no mode: it is nodata, never 0."""
    pixels = np.full((128, 128), 5, dtype)
    pixels[32:96, 32:96] = nodata

    write(
        raster(pixels, nodata=nodata),
        tmp_path / "cog.tif",
        blocksize=32,
        overview_resampling="mode",
    )

    for level in gdal_levels(tmp_path / "cog.tif")[1:]:
        side = level.shape[1] // 4
        expected = np.full(level.shape, 5, dtype)
        expected[:, side : 3 * side, side : 3 * side] = nodata
        np.testing.assert_array_equal(level, expected)


@pytest.mark.parametrize("kernel", ["cubic", "lanczos", "gauss"])
@pytest.mark.parametrize("size", [(523, 1), (1, 523), (300, 67)], ids=str)
def test_thin_rasters_equal_gdals(tmp_path, size, kernel):
    """Widths that stay at 1, and levels smaller than a filter."""
    _assert_equal_to_gdal(tmp_path, size, "int16", None, kernel, 16)


@pytest.mark.parametrize("kernel", WIDE)
def test_wide_kernels_give_the_same_bytes_for_any_chunks(tmp_path, kernel):
    """Chunks of the source smaller than a filter, and one chunk for it all."""
    pixels = _scene((531, 389), "float32", np.nan)
    files = []
    for side in (37, 531):
        path = tmp_path / f"{side}.tif"
        write(
            raster(pixels).chunk({"y": side, "x": side}),
            path,
            blocksize=32,
            overview_resampling=kernel,
        )
        files.append(path.read_bytes())

    assert files[0] == files[1]
