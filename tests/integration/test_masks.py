"""Masks: from nodata, from an array, from alpha; for every level."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import tifffile
import xarray as xr

import lazycog
from oracles import gdal_levels, raster, write


def scene(dtype="uint8", count=3, height=333, width=421):
    """Give pixels of which a corner and some specks are missing (0)."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(1, 200, (count, height, width)).astype(dtype)
    pixels[:, :150, :200] = 0
    pixels[:, generator.random((height, width)) < 0.1] = 0
    return pixels


def masks(path):
    """Read the mask of every level with GDAL, True for valid."""
    with rasterio.open(path) as dataset:
        count = len(dataset.overviews(1))
        found = [dataset.dataset_mask() > 0]
        flags = dataset.mask_flag_enums
    for level in range(count):
        with rasterio.open(path, overview_level=level) as dataset:
            found.append(dataset.dataset_mask() > 0)
    return found, flags


def by_tifffile(path):
    """Read the masks with tifffile: pages of NewSubfileType 4 and 5."""
    with tifffile.TiffFile(path) as tiff:
        return [page.asarray() > 0 for page in tiff.pages if page.subfiletype & 4]


@pytest.mark.parametrize("interleave", ["pixel", "band", "tile"])
def test_a_mask_from_nodata(tmp_path, interleave):
    """It takes nodata's place, and says the same."""
    pixels = scene()

    write(
        raster(pixels, nodata=0),
        tmp_path / "a.tif",
        mask=True,
        blocksize=128,
        interleave=interleave,
        overview_resampling="nearest",
    )

    found, flags = masks(tmp_path / "a.tif")
    valid = (pixels != 0).any(axis=0)
    expected = [valid, valid[::2, ::2][:166, :210]]
    np.testing.assert_array_equal(found[0], expected[0])
    for other, level in zip(by_tifffile(tmp_path / "a.tif"), found, strict=True):
        np.testing.assert_array_equal(other, level)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.nodata is None
    assert {each.name for each in flags[0]} == {"per_dataset"}
    np.testing.assert_array_equal(gdal_levels(tmp_path / "a.tif")[0], pixels)
    assert lazycog.validate(tmp_path / "a.tif").ok


def test_a_mask_from_nan(tmp_path):
    """Floats need no nodata value for it."""
    pixels = scene("float32", 1)
    pixels[pixels == 0] = np.nan

    write(raster(pixels), tmp_path / "a.tif", mask=True)

    found, _ = masks(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[0], ~np.isnan(pixels[0]))


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("kind", ["array", "xarray"])
def test_a_mask_that_is_given(tmp_path, kind, lazy):
    """2-D, lazy or not, whatever its chunks are."""
    pixels = scene()
    valid = np.random.default_rng(3).random(pixels.shape[1:]) < 0.5
    given = da.from_array(valid, chunks=(100, 37)) if lazy else valid
    if kind == "xarray":
        given = xr.DataArray(given, dims=("y", "x")).T

    write(raster(pixels).chunk({"x": 90}), tmp_path / "a.tif", mask=given)

    found, _ = masks(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[0], valid)


@pytest.mark.parametrize(
    ("mask", "fragment"),
    [
        (np.ones((3, 3), np.bool_), "shape (3, 3)"),
        (np.ones((333, 421), np.uint8), "dtype uint8"),
        ("yes", "mask='yes'"),
        (1, "mask=1"),
    ],
)
def test_a_mask_of_another_kind_is_refused(tmp_path, mask, fragment):
    """The message says what is wanted."""
    with pytest.raises(lazycog.OptionError, match="2-D bool array") as caught:
        write(raster(scene()), tmp_path / "a.tif", mask=mask)

    assert fragment in str(caught.value)


def test_a_mask_needs_something_to_be_made_from(tmp_path):
    """Integers without nodata."""
    with pytest.raises(lazycog.OptionError, match="mask=True cannot work with nodata"):
        write(raster(scene()), tmp_path / "a.tif", mask=True)


@pytest.mark.parametrize(
    ("codec", "dtype", "options"),
    [
        ("jpeg", "uint8", {}),
        ("webp", "uint8", {}),
        ("lerc", "float32", {"max_z_error": 3}),
        ("jxl", "uint16", {"quality": 80}),
    ],
)
def test_a_lossy_codec_gets_a_mask_for_its_nodata(tmp_path, codec, dtype, options):
    """It would smear the value, and missing pixels would become data."""
    pixels = scene(dtype)

    result = write(
        raster(pixels, nodata=0), tmp_path / "a.tif", compress=codec, **options
    )

    valid = (pixels != 0).any(axis=0)
    np.testing.assert_array_equal(by_tifffile(tmp_path / "a.tif")[0], valid)
    assert result.plan.encoding.masked
    assert result.plan.description.nodata is None
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert "GDAL_NODATA" not in tiff.pages[0].tags


@pytest.mark.parametrize("options", [{}, {"compress": "lerc"}, {"max_z_error": 3}])
def test_a_codec_that_keeps_nodata_gets_none(tmp_path, options):
    """Lossless, or rounded beside it."""
    result = write(raster(scene("float32"), nodata=0), tmp_path / "a.tif", **options)

    assert not result.plan.encoding.masked
    assert result.plan.description.nodata == 0
    assert (gdal_levels(tmp_path / "a.tif")[0] == 0).any()


def test_jpeg_keeps_alpha_as_a_mask(tmp_path):
    """As GDAL's COG driver does."""
    pixels = scene(count=4)
    pixels[3] = 255 * (pixels[3] != 0)

    with pytest.warns(lazycog.CogWarning, match="taken for alpha.*say colorinterp="):
        write(raster(pixels), tmp_path / "a.tif", compress="jpeg", quality=95)

    found, _ = masks(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[0], pixels[3] != 0)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.count == 3
        assert dataset.profile["photometric"] == "ycbcr"


def test_statistics_are_those_of_valid_pixels(tmp_path):
    """By mask and by alpha; against numpy."""
    pixels = scene("uint16")
    valid = np.random.default_rng(3).random(pixels.shape[1:]) < 0.3

    result = write(raster(pixels), tmp_path / "a.tif", mask=valid)

    for band, found in zip(pixels, result.statistics, strict=True):
        own = band[valid].astype("f8")
        assert (found.minimum, found.maximum) == (own.min(), own.max())
        assert found.mean == pytest.approx(own.mean(), rel=1e-12)
        assert found.stddev == pytest.approx(own.std(), rel=1e-12)
        assert found.valid_percent == pytest.approx(100 * valid.mean(), rel=1e-12)


def test_statistics_of_bands_beside_alpha(tmp_path):
    """Transparent pixels do not count."""
    pixels = scene(count=4)
    pixels[3] = 255 * (np.random.default_rng(5).random(pixels.shape[1:]) < 0.4)

    result = write(raster(pixels), tmp_path / "a.tif")

    red = pixels[0][pixels[3] > 0].astype("f8")
    assert result.statistics[0].stddev == pytest.approx(red.std(), rel=1e-12)
    assert result.statistics[3].valid_percent == 100


@pytest.mark.parametrize(
    ("interleave", "chunks", "scheduler"),
    [
        ("pixel", (1, 100, 77), "threads"),
        ("pixel", (3, 333, 421), "synchronous"),
        ("band", (2, 64, 421), "threads"),
    ],
)
@pytest.mark.parametrize("given", [True, False], ids=["array", "nodata"])
def test_same_bytes_for_any_chunking(tmp_path, chunks, scheduler, interleave, given):
    """And one read of each chunk of the source."""
    pixels = scene()
    valid = np.random.default_rng(3).random(pixels.shape[1:]) < 0.5
    options = {
        "mask": valid if given else True,
        "blocksize": 64,
        "interleave": interleave,
    }
    write(raster(pixels, nodata=0), tmp_path / "a.tif", **options)
    folder = tmp_path / "reads"
    folder.mkdir()

    def read(block, block_info=None):
        name = "-".join(map(str, block_info[0]["chunk-location"]))
        with (folder / name).open("a") as file:
            file.write("x")
        return block

    lazy = da.from_array(pixels, chunks=chunks).map_blocks(read, dtype=pixels.dtype)
    array = raster(pixels, nodata=0).copy(data=lazy)
    if given:
        options["mask"] = da.from_array(valid, chunks=50)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        lazycog.to_cog(array, tmp_path / "b.tif", progress=False, **options)

    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "a.tif").read_bytes()
    reads = [each.read_text() for each in folder.iterdir()]
    assert len(reads) == lazy.npartitions
    assert set(reads) == {"x"}
