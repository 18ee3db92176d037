"""Masks, colour tables and colours of a source file reach the new one, or are told."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from rasterio.enums import ColorInterp

import lazycog
import oracles
from lazycog import _cli
from lazycog.errors import CogWarning, OptionError

SHAPE = (333, 421)
TILES = {"tiled": True, "blockxsize": 64, "blockysize": 64}
PALETTE = {1: (255, 0, 0, 255), 2: (0, 255, 0, 255), 7: (0, 0, 255, 255)}


@pytest.fixture(autouse=True)
def loud():
    """A warning that no test expects is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CogWarning)
        yield


def convert(src, dst, *flags):
    arguments = ["convert", str(src), str(dst), "--no-progress", *flags]
    outcome = CliRunner().invoke(_cli.cli, arguments)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stderr


def scene(dtype="uint8", count=3):
    """Give pixels, and which of them are valid."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(1, 200, (count, *SHAPE)).astype(dtype)
    valid = generator.random(SHAPE) > 0.2
    valid[:120, :200] = False
    return pixels, valid


def tiled(path, pixels, valid=None, **creation):
    """Write a tiled GeoTIFF with GDAL, and a mask inside it."""
    return oracles.gtiff(path, pixels, valid=valid, **TILES, **creation)


@pytest.fixture
def masked(tmp_path):
    pixels, valid = scene()
    return tiled(tmp_path / "masked.tif", pixels, valid), pixels, valid


def check(path, pixels, valid, kind="per_dataset"):
    """GDAL finds the same mask, and statistics of valid pixels alone."""
    with rasterio.open(path) as dataset:
        assert {each.name for each in dataset.mask_flag_enums[0]} == {kind}
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, valid)
        np.testing.assert_array_equal(dataset.read()[:, valid], pixels[:, valid])
        for number, band in enumerate(pixels, 1):
            tags = dataset.tags(number)
            assert float(tags["STATISTICS_MINIMUM"]) == band[valid].min()
            percent = float(tags["STATISTICS_VALID_PERCENT"])
            assert percent == pytest.approx(100 * valid.mean(), abs=0.01)
    assert lazycog.validate(path).ok


# --- masks by the command line ------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_convert_carries_a_mask(tmp_path, inside, interleave):
    """Inside the file or beside it (.msk)."""
    pixels, valid = scene()
    src = tiled(tmp_path / "a.tif", pixels, valid, inside=inside, interleave=interleave)

    convert(src, tmp_path / "b.tif", "--blocksize", "128", "--interleave", interleave)

    check(tmp_path / "b.tif", pixels, valid)


def test_convert_carries_masks_of_own_files(tmp_path):
    """A lossy DEM has a mask in place of its nodata value; twice over."""
    pixels, valid = scene("float32", 1)
    dem = np.where(valid, pixels, np.float32(-9999))
    oracles.write(
        oracles.raster(dem, nodata=-9999),
        tmp_path / "a.tif",
        compress="lerc_zstd",
        max_z_error=0.01,
    )

    convert(tmp_path / "a.tif", tmp_path / "b.tif")

    with rasterio.open(tmp_path / "a.tif") as dataset:
        stored = dataset.read()
    check(tmp_path / "b.tif", stored, valid)


def test_overviews_leave_out_what_the_mask_denies(masked, tmp_path):
    """They equal GDAL's of the same pixels and mask."""
    src, pixels, valid = masked

    convert(src, tmp_path / "b.tif", "--blocksize", "128")

    oracles.gdal_cog(
        tmp_path / "gdal.tif",
        pixels,
        mask=valid,
        compress="deflate",
        blocksize=128,
        overview_resampling="average",
    )
    for level in range(2):
        found = []
        for path in (tmp_path / "b.tif", tmp_path / "gdal.tif"):
            with rasterio.open(path, overview_level=level) as dataset:
                found.append((dataset.read(), dataset.dataset_mask()))
        (ours, mask), (theirs, expected) = found
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(ours[:, mask > 0], theirs[:, mask > 0])


def test_a_mask_goes_with_chosen_bands(masked, tmp_path):
    src, pixels, valid = masked

    told = convert(src, tmp_path / "b.tif", "--bands", "3,1")

    assert not told
    check(tmp_path / "b.tif", pixels[[2, 0]], valid)


def test_a_mask_goes_with_a_rotated_raster(tmp_path):
    """Which has no coordinates to find pixels by."""
    pixels, valid = scene()
    rotated = oracles.TRANSFORM @ rasterio.Affine.rotation(20)
    src = tiled(tmp_path / "a.tif", pixels, valid, transform=rotated)

    convert(src, tmp_path / "b.tif")

    check(tmp_path / "b.tif", pixels, valid)


def test_a_mask_may_be_left_out(masked, tmp_path):
    src, pixels, _ = masked

    convert(src, tmp_path / "b.tif", "--no-mask")

    check(tmp_path / "b.tif", pixels, np.ones(SHAPE, bool), "all_valid")


def test_a_mask_of_its_own_is_what_mask_asks_for(masked, tmp_path):
    src, pixels, valid = masked

    convert(src, tmp_path / "b.tif", "--mask")

    check(tmp_path / "b.tif", pixels, valid)


def test_a_mask_and_nodata_both_count(tmp_path):
    pixels, valid = scene("int16", 1)
    pixels[0, 200:220] = -1
    src = tiled(tmp_path / "a.tif", pixels, valid, nodata=-1)

    convert(src, tmp_path / "b.tif", "--mask")

    check(tmp_path / "b.tif", pixels, valid & (pixels[0] != -1))


def test_a_mask_per_band_is_told(tmp_path):
    """A VRT may have one; a GeoTIFF holds one for all."""
    pixels, valid = scene("uint8", 1)
    tiled(tmp_path / "a.tif", pixels, valid)
    band = (
        '<VRTRasterBand dataType="Byte" band="{}"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        "<SourceBand>{}</SourceBand></SimpleSource>{}</VRTRasterBand>"
    )
    inner = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        "<SourceBand>mask,1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
    )
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}">'
        "<GeoTransform>500000, 30, 0, 4000000, 0, -30</GeoTransform>"
        "<SRS>EPSG:32613</SRS>"
        + band.format(1, 1, inner)
        + band.format(2, 1, inner)
        + "</VRTDataset>"
    )

    told = convert(tmp_path / "a.vrt", tmp_path / "b.tif")

    assert told.count("a mask per band") == 1
    check(tmp_path / "b.tif", np.repeat(pixels, 2, axis=0), valid)


# --- masks in Python ----------------------------------------------------------------

CUTS = {
    "whole": (lambda each: each, np.s_[:, :]),
    "rechunked": (lambda each: each.chunk(x=100, y=90), np.s_[:, :]),
    "cut": (
        lambda each: each.isel(y=slice(40, 300), x=slice(7, 399)),
        np.s_[40:300, 7:399],
    ),
    "upside down": (lambda each: each.isel(y=slice(None, None, -1)), np.s_[::-1, :]),
    "every other": (lambda each: each.isel(x=slice(0, None, 2)), np.s_[:, ::2]),
    "in memory": (lambda each: each.compute(), np.s_[:, :]),
    "pickled": (lambda each: pickle.loads(pickle.dumps(each)), np.s_[:, :]),
    "renamed": (lambda each: each.rename(y="latitude", x="longitude"), np.s_[:, :]),
    "bands last": (lambda each: each.transpose("y", "x", "band"), np.s_[:, :]),
    "variables": (lambda each: each.to_dataset("band"), np.s_[:, :]),
}


@pytest.mark.parametrize("name", CUTS)
def test_to_cog_carries_the_mask_of_an_opened_file(masked, tmp_path, name):
    """It is cut as the pixels are."""
    src, pixels, valid = masked
    cut, window = CUTS[name]
    raster = cut(lazycog.open_cog(src, chunks=(3, 128, 192)))

    lazycog.to_cog(raster, tmp_path / "b.tif", progress=False)

    check(tmp_path / "b.tif", pixels[(slice(None), *window)], valid[window])


def test_an_overview_has_its_own_mask(masked, tmp_path):
    convert(masked[0], tmp_path / "a.tif", "--blocksize", "128")
    raster = lazycog.open_cog(tmp_path / "a.tif", level=1)

    lazycog.to_cog(raster, tmp_path / "b.tif", progress=False)

    with rasterio.open(tmp_path / "a.tif", overview_level=0) as dataset:
        check(tmp_path / "b.tif", dataset.read(), dataset.dataset_mask() > 0)


def test_the_mask_is_an_array_that_one_can_use(masked, tmp_path):
    """After arithmetic, which drops it, and after it was taken out."""
    src, pixels, valid = masked
    raster = lazycog.open_cog(src)
    mask = raster.encoding["mask"]

    lazycog.to_cog(raster // 2, tmp_path / "b.tif", mask=mask, progress=False)
    del raster.encoding["mask"]
    lazycog.to_cog(raster, tmp_path / "c.tif", progress=False)

    np.testing.assert_array_equal(mask, valid)
    check(tmp_path / "b.tif", pixels // 2, valid)
    check(tmp_path / "c.tif", pixels, np.ones(SHAPE, bool), "all_valid")


def test_the_mask_does_not_hinder_other_writers(masked, tmp_path):
    src, pixels, _ = masked
    raster = lazycog.open_cog(src)

    raster.rio.to_raster(tmp_path / "b.tif")
    raster.drop_attrs().to_dataset(name="a").to_zarr(
        tmp_path / "b.zarr", consolidated=False
    )

    with rasterio.open(tmp_path / "b.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)
    np.testing.assert_array_equal(
        xr.open_zarr(tmp_path / "b.zarr", consolidated=False)["a"], pixels
    )


def moved(raster, _):
    return raster.assign_coords(x=raster.x + 15)


def stacked(raster, other):
    return xr.concat([raster[0], other[0]], "time")


def stacked_in_memory(raster, other):
    return xr.concat([raster[0].compute(), other[0].compute()], "time")


def half_masked(raster, other):
    return xr.Dataset({"a": raster[0], "b": other[0].drop_encoding()})


@pytest.mark.parametrize("change", [moved, stacked, stacked_in_memory, half_masked])
def test_a_mask_that_no_longer_fits_is_told(masked, tmp_path, change):
    src, pixels, valid = masked
    other = tiled(tmp_path / "other.tif", pixels[::-1], ~valid)
    raster = change(lazycog.open_cog(src), lazycog.open_cog(other))

    with pytest.warns(CogWarning, match="mask of the file .* give mask="):
        lazycog.to_cog(raster, tmp_path / "b.tif", progress=False)

    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert dataset.dataset_mask().all()


# --- colour tables ------------------------------------------------------------------


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "classes.tif"
    pixels = np.random.default_rng(1).choice([1, 2, 7], (1, *SHAPE)).astype("uint8")
    tiled(path, pixels)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, PALETTE)
    return path


def check_classes(path, src):
    with rasterio.open(src) as dataset:
        pixels, expected = dataset.read(), dataset.colormap(1)
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp == (ColorInterp.palette,)
        assert dataset.colormap(1) == expected
        assert {each: expected[each] for each in PALETTE} == PALETTE
        np.testing.assert_array_equal(dataset.read(), pixels)
    with rasterio.open(path, overview_level=0) as dataset:
        assert set(np.unique(dataset.read())) <= set(PALETTE)


def test_convert_carries_a_colour_table(classes, tmp_path):
    convert(classes, tmp_path / "b.tif", "--blocksize", "128")

    check_classes(tmp_path / "b.tif", classes)


def test_to_cog_carries_the_colour_table_of_an_opened_file(classes, tmp_path):
    raster = lazycog.open_cog(classes)

    for index, each in enumerate((raster, raster[0], raster.to_dataset(name="a"))):
        path = tmp_path / f"{index}.tif"
        lazycog.to_cog(each, path, blocksize=128, progress=False)

        check_classes(path, classes)
    assert lazycog.plan(raster).encoding.resampling == "nearest"
    mode = lazycog.plan(raster, overview_resampling="mode")
    assert mode.encoding.resampling == "mode"


def test_the_callers_colours_go_before(classes, tmp_path):
    raster = lazycog.open_cog(classes)
    own = {1: (1, 2, 3, 255)}

    lazycog.to_cog(raster, tmp_path / "b.tif", colormap=own, progress=False)
    lazycog.to_cog(raster, tmp_path / "c.tif", colorinterp=["gray"], progress=False)
    lazycog.to_cog(
        raster,
        tmp_path / "d.tif",
        colorinterp=["palette"],
        blocksize=128,
        progress=False,
    )

    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert dataset.colormap(1)[1] == own[1]
        assert dataset.colormap(1)[2] == (0, 0, 0, 255)
    with rasterio.open(tmp_path / "c.tif") as dataset:
        assert dataset.colorinterp == (ColorInterp.gray,)
    check_classes(tmp_path / "d.tif", classes)


def test_a_colour_table_is_refused_or_told_where_it_cannot_be(classes, tmp_path):
    raster = lazycog.open_cog(classes)

    with pytest.raises(OptionError, match="colour table of the source"):
        lazycog.to_cog(raster, tmp_path / "b.tif", compress="jpeg", progress=False)
    with pytest.raises(OptionError, match="numbers of a palette cannot be mixed"):
        lazycog.plan(raster, overview_resampling="average")
    twice = xr.concat([raster[0], raster[0]], "time")
    with pytest.warns(CogWarning, match="colour table .* overview_resampling='nearest"):
        lazycog.to_cog(twice, tmp_path / "b.tif", progress=False)


# --- colour interpretation, further tags --------------------------------------------

COLOURS = [
    ("uint16", ["red", "green", "blue"]),
    ("uint8", ["gray", "undefined", "undefined", "undefined"]),
    ("uint16", ["gray", "alpha"]),
    ("uint16", ["red", "green", "blue", "alpha"]),
]


@pytest.mark.parametrize(("dtype", "names"), COLOURS)
@pytest.mark.parametrize("way", ["convert", "open_cog"])
def test_colours_and_namespaces_are_carried(tmp_path, dtype, names, way):
    pixels, _ = scene(dtype, len(names))
    pixels[-1, :200] = 0
    src = tiled(tmp_path / "a.tif", pixels, photometric="MINISBLACK")
    with rasterio.open(src, "r+") as dataset:
        dataset.colorinterp = [ColorInterp[name] for name in names]
        dataset.update_tags(ns="SURVEY", PILOT="Ada")

    if way == "convert":
        convert(src, tmp_path / "b.tif", "--blocksize", "128")
    else:
        raster = lazycog.open_cog(src)
        lazycog.to_cog(raster, tmp_path / "b.tif", blocksize=128, progress=False)

    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert [each.name for each in dataset.colorinterp] == names
        assert dataset.tags(ns="SURVEY") == {"PILOT": "Ada"}
        np.testing.assert_array_equal(dataset.read(), pixels)
    assert lazycog.validate(tmp_path / "b.tif").ok


def test_colours_go_with_their_bands(tmp_path):
    pixels, _ = scene("uint16", 4)
    src = tiled(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")

    convert(src, tmp_path / "b.tif", "--bands", "3,4")

    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert [each.name for each in dataset.colorinterp] == ["blue", "alpha"]
