"""Small pictures: what is in them, where they are, and what they cost."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings

import dask
import dask.array as da
import imagecodecs
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from click.testing import CliRunner
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

import lazycog
import oracles
from lazycog import _cli, _fetch

SUFFIXES = ["png", "jpg", "webp", "jp2"]
DECODERS = {
    "png": imagecodecs.png_decode,
    "jpg": imagecodecs.jpeg_decode,
    "webp": imagecodecs.webp_decode,
    "jp2": imagecodecs.jpeg2k_decode,
}


@pytest.fixture
def scene():
    """Three bands of 200 x 300 with a missing corner; nodata is 0."""
    rows, cols = np.mgrid[:200, :300]
    pixels = np.stack([1000 + rows, 2000 + 3 * cols, 500 + rows + cols]).astype(
        "uint16"
    )
    pixels[:, :60, :80] = 0
    return oracles.raster(pixels, nodata=0)


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return dataset.read()


def half(pixels):
    """Average 2 x 2."""
    count, height, width = pixels.shape
    return pixels.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def stretched(means, valid, low, high):
    """Bring each band to 0..255 between two percentiles of its valid pixels."""
    result = []
    for band in means:
        ends = np.percentile(band[valid], [low, high])
        result.append(np.interp(band, ends, [0, 255]).round() * valid)
    return np.array(result)


# --- pixels -------------------------------------------------------------------------


@pytest.mark.parametrize("percentiles", [(2, 98), (0, 100), (25, 60)], ids=str)
def test_percentiles_of_the_small_picture_become_black_and_white(
    scene, tmp_path, percentiles
):
    path = lazycog.quicklook(
        scene, tmp_path / "a.png", size=150, percentiles=percentiles
    )

    *colours, alpha = read(path)
    means = half(scene.values.astype("float64"))
    valid = half(scene.values != 0)[0] > 0
    assert np.array_equal(colours, stretched(means, valid, *percentiles))
    assert np.array_equal(alpha, np.where(valid, 255, 0))


def test_minmax_takes_the_extremes(scene, tmp_path):
    path = scene.geo.quicklook(tmp_path / "a.png", size=150, stretch="minmax")

    means, valid = half(scene.values.astype(float)), half(scene.values != 0)[0] > 0
    assert np.array_equal(read(path)[:3], stretched(means, valid, 0, 100))


def test_gamma_brightens_between_black_and_white(tmp_path):
    pixels = np.array([[[0.0, 36.0, 64.0, 100.0]]])

    path = lazycog.quicklook(
        oracles.raster(pixels), tmp_path / "a.png", stretch="minmax", gamma=2
    )

    assert read(path)[0].tolist() == [[0, 153, 204, 255]]


def test_no_stretch_keeps_values_and_cuts_off(tmp_path):
    pixels = np.array([[[-5.0, 0.4, 77.6, 300.0]]])

    path = lazycog.quicklook(oracles.raster(pixels), tmp_path / "a.png", stretch=None)

    assert read(path)[0].tolist() == [[0, 0, 78, 255]]


def test_nodata_is_left_out_of_means_and_percentiles(tmp_path):
    """One valid pixel of four gives the cell."""
    pixels = np.full((1, 4, 4), -9999.0, "float32")
    pixels[0, :2, :2] = [[10, -9999], [np.nan, -9999]]
    pixels[0, 2:, 2:] = 30

    path = lazycog.quicklook(
        oracles.raster(pixels, nodata=-9999),
        tmp_path / "a.png",
        size=2,
        stretch="minmax",
    )

    assert read(path).tolist() == [[[0, 0], [0, 255]], [[255, 0], [0, 255]]]


def test_a_band_without_data_where_others_have_some_is_black_not_transparent(tmp_path):
    pixels = np.array([[[0, 5]], [[5, 9]], [[9, 5]]], "uint8")

    path = lazycog.quicklook(
        oracles.raster(pixels, nodata=0), tmp_path / "a.png", stretch=None
    )

    assert read(path)[:, 0].tolist() == [[0, 5], [5, 9], [9, 5], [255, 255]]


def test_raster_without_any_valid_pixel_is_transparent(tmp_path):
    pixels = np.zeros((1, 9, 9), "uint8")

    path = lazycog.quicklook(oracles.raster(pixels, nodata=0), tmp_path / "a.png")

    assert not read(path).any()


@pytest.mark.parametrize(
    ("count", "bands", "expected"),
    [
        (1, None, [0]),
        (2, None, [0]),
        (3, None, [0, 1, 2]),
        (4, None, [0, 1, 2]),
        (5, None, [0]),
        (5, [5], [4]),
        (5, [3, 2, 1], [2, 1, 0]),
        (5, ["e", "1", "b"], [4, 0, 1]),
    ],
    ids=str,
)
def test_bands_are_chosen(tmp_path, count, bands, expected):
    pixels = np.arange(count, dtype="uint8")[:, None, None] * np.ones(
        (1, 5, 5), "uint8"
    )
    array = oracles.raster(pixels, long_name=tuple("abcde"[:count]))

    path = lazycog.quicklook(array, tmp_path / "a.png", bands=bands, stretch=None)

    *colours, alpha = read(path)[:, 0, 0]
    assert colours == expected
    assert alpha == 255


def test_dataset_and_numpy_and_dask_give_the_same(scene, tmp_path):
    dataset = scene.to_dataset(dim="band").rename({0: "a", 1: "b", 2: "c"})
    dataset = dataset.rio.write_crs(scene.rio.crs)
    for variable in dataset.values():
        variable.rio.write_nodata(0, inplace=True)

    pictures = [
        each.geo.quicklook(tmp_path / f"{n}.png", size=70).read_bytes()
        for n, each in enumerate([scene, scene.chunk({"x": 37, "y": 41}), dataset])
    ]

    assert len(set(pictures)) == 1


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "complex64"])
def test_every_dtype_is_drawn(tmp_path, dtype):
    pixels = (np.arange(64).reshape(1, 8, 8) > 20).astype(dtype)

    path = lazycog.quicklook(oracles.raster(pixels), tmp_path / "a.png")

    assert np.array_equal(read(path)[0], np.where(pixels[0] != 0, 255, 0))


# --- formats ------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bands", [[1], [1, 2, 3]], ids=["grey", "colour"])
def test_every_format_holds_the_picture(scene, tmp_path, suffix, bands):
    """Lossless ones exactly, and another decoder than GDAL's agrees."""
    exact = read(lazycog.quicklook(scene, tmp_path / "a.png", bands=bands, size=150))
    *colours, alpha = exact

    path = lazycog.quicklook(scene, tmp_path / f"b.{suffix}", bands=bands, size=150)

    shown = DECODERS[suffix](path.read_bytes()).astype(int)
    shown = shown[..., np.newaxis] if shown.ndim == 2 else shown
    inner = alpha > 0
    inner[:32] = inner[:, :42] = False  # JPEG smears at the edge of missing pixels
    tolerance = 0 if suffix in {"png", "jp2"} else 12
    for number, band in enumerate(colours):
        assert np.abs(shown[..., number] - band)[inner].max() <= tolerance
    if suffix == "jpg":
        assert shown[:20, :20].min() > 240
    else:
        assert np.array_equal(shown[..., -1], alpha)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "transform",
    [oracles.TRANSFORM, Affine(20, 5, 3e5, 4, -21, 5e6)],
    ids=["north up", "rotated"],
)
def test_every_format_says_where_it_is(scene, tmp_path, suffix, transform):
    """Corners are those of the raster, however the sizes divide."""
    array = scene[:, :197, :289].rio.write_transform(transform)
    array = array.drop_vars(["x", "y"], errors="ignore")

    path = lazycog.quicklook(array, tmp_path / f"a.{suffix}", size=101)

    with rasterio.open(path) as dataset:
        assert dataset.crs == "EPSG:32613"
        assert dataset.shape == (69, 101)
        for row, col in [(0, 0), (1, 0), (0, 1), (1, 1)]:
            actual = dataset.transform @ (101 * col, 69 * row)
            assert actual == pytest.approx(transform @ (289 * col, 197 * row))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_raster_without_a_place_has_a_picture_without_one(tmp_path, suffix):
    """Not even that of the picture that was there before."""
    pixels = np.arange(300, dtype="uint8").reshape(1, 10, 30)
    path = tmp_path / f"a.{suffix}"
    lazycog.quicklook(oracles.raster(pixels), path)
    bare = oracles.raster(pixels, crs=None, transform=None)

    lazycog.quicklook(bare, path)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            assert (dataset.crs, dataset.transform) == (None, Affine.identity())


def test_background_is_painted_where_pixels_are_missing(scene, tmp_path):
    path = lazycog.quicklook(scene, tmp_path / "a.png", background=(200, 30, 7))

    with rasterio.open(path) as dataset:
        assert dataset.colorinterp == (
            ColorInterp.red,
            ColorInterp.green,
            ColorInterp.blue,
        )
        assert dataset.read()[:, 0, 0].tolist() == [200, 30, 7]


def test_quality_changes_the_size(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (3, 200, 200), "uint8")
    for suffix in ("jpg", "webp", "jp2"):
        low, high = (
            lazycog.quicklook(
                oracles.raster(noise), tmp_path / f"{quality}.{suffix}", quality=quality
            )
            for quality in (10, 90)
        )

        assert low.stat().st_size < high.stat().st_size / 2


# --- files, levels and masks --------------------------------------------------------


@pytest.fixture
def cog(tmp_path):
    """Levels of 600, 300, 150, 75 and 37 pixels."""
    rows, cols = np.mgrid[:600, :600]
    array = oracles.raster((rows * 60 + cols).astype("uint16"), nodata=0)
    path = tmp_path / "cog.tif"
    oracles.write(array, path, blocksize=64, interleave="pixel")
    return path


@pytest.mark.parametrize(
    ("size", "expected"), [(1000, 0), (601, 0), (301, 0), (300, 1), (80, 2), (9, 4)]
)
@pytest.mark.parametrize("opened", [False, True], ids=["path", "opened"])
def test_smallest_level_that_suffices_is_read(
    cog, tmp_path, monkeypatch, size, expected, opened
):
    seen = set()
    read_pixels = _fetch.read

    def noted(pixels, window):
        seen.add(pixels.level)
        return read_pixels(pixels, window)

    monkeypatch.setattr(_fetch, "read", noted)
    raster = lazycog.open_cog(cog) if opened else cog

    path = lazycog.quicklook(raster, tmp_path / "a.png", size=size, stretch="minmax")

    assert seen == {expected}
    with rasterio.open(path) as picture, rasterio.open(cog) as dataset:
        assert max(picture.shape) == min(size, 600)
        assert picture.bounds == pytest.approx(dataset.bounds)


def test_array_computed_from_a_file_is_not_taken_for_the_file(cog, tmp_path):
    """Its own pixels are drawn, at their own place."""
    array = lazycog.open_cog(cog)
    changed = array.copy(data=array.data * 0 + 7)[:, 100:200, 50:100]

    path = lazycog.quicklook(changed, tmp_path / "a.png", size=40, stretch=None)

    with rasterio.open(path) as picture:
        assert (picture.read(1) == 7).all()
        assert picture.transform @ (0, 0) == oracles.TRANSFORM @ (50, 100)


@pytest.mark.parametrize("size", [600, 150], ids=["full", "overview"])
@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_internal_mask_and_alpha_make_pixels_transparent(tmp_path, kind, size):
    pixels = np.full((3, 600, 600), 100, "uint8")
    pixels[:, ::2] = 200
    mask = np.full((600, 600), 255, "uint8")
    mask[:200, :400] = 0
    src, plain = tmp_path / "cog.tif", tmp_path / "plain.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            plain,
            "w",
            driver="GTiff",
            count=3 + (kind == "alpha"),
            height=600,
            width=600,
            dtype="uint8",
            photometric="rgb",
            crs="EPSG:32613",
            transform=oracles.TRANSFORM,
            **({"alpha": "yes"} if kind == "alpha" else {}),
        ) as dataset,
    ):
        dataset.write(pixels, [1, 2, 3])
        if kind == "alpha":
            dataset.write(mask, 4)
        else:
            dataset.write_mask(mask)
    rasterio.shutil.copy(plain, src, driver="COG", blocksize=128)

    alpha = read(lazycog.quicklook(src, tmp_path / "a.png", size=size))[3]

    expected = mask[:: 600 // size, :: 600 // size]
    assert (alpha != expected).mean() < 0.02


def test_real_file_is_drawn_as_gdal_decimates_it(tmp_path):
    path = oracles.gdal_cog(
        tmp_path / "a.tif",
        np.random.default_rng(0).integers(0, 255, (3, 800, 600), "uint8"),
    )

    picture = lazycog.quicklook(path, tmp_path / "a.webp", size=400)

    with rasterio.open(picture) as dataset:
        assert dataset.shape == (400, 300)


# --- cost and safety ----------------------------------------------------------------


def test_lazy_raster_larger_than_the_memory_allowed_is_read_once_per_chunk(tmp_path):
    """1.35 GB of pixels in a process that may grow by 0.3 GB."""
    code = """
import collections, sys
import dask, dask.array as da, numpy as np, xarray as xr, lazycog

seen = collections.Counter()

def block(block_info=None):
    where = block_info[None]
    seen[tuple(where["chunk-location"])] += 1
    return np.full(where["chunk-shape"], sum(where["chunk-location"]), "uint16")

chunks = ((3,), (1000,) * 15, (1000,) * 15)
pixels = da.map_blocks(block, chunks=chunks, dtype="uint16", meta=np.empty((0, 0, 0)))
array = xr.DataArray(pixels, dims=("band", "y", "x"))
small = array[:, :1000, :1000]
lazycog.quicklook(small, sys.argv[1])
seen.clear()
before = peak_bytes()
with dask.config.set(num_workers=2):
    lazycog.quicklook(array, sys.argv[1], size=500)
grown = peak_bytes() - before
print(len(seen), max(seen.values()), grown)
"""
    result = subprocess.run(
        [sys.executable, "-c", oracles.PEAK + code, str(tmp_path / "a.png")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    chunks, reads, grown = map(int, result.stdout.split())
    assert (chunks, reads) == (225, 1)
    assert grown < 300 * 2**20


def test_failure_leaves_the_old_picture_and_nothing_else(scene, tmp_path):
    path = lazycog.quicklook(scene, tmp_path / "a.png")
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}

    def fail(_):
        raise ZeroDivisionError

    broken = xr.DataArray(
        da.map_blocks(fail, scene.chunk().data, dtype="uint16"), dims=scene.dims
    )
    with pytest.raises(ZeroDivisionError):
        lazycog.quicklook(broken, path)

    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_full_disk_or_missing_folder_is_an_error_of_the_destination(scene, tmp_path):
    with pytest.raises(lazycog.SinkError, match="folder does not exist"):
        lazycog.quicklook(scene, tmp_path / "none" / "a.png")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stretch": "log"}, "stretch"),
        ({"percentiles": (98, 2)}, "percentiles"),
        ({"percentiles": (1,)}, "percentiles"),
        ({"gamma": 0}, "gamma"),
        ({"gamma": float("inf")}, "gamma"),
        ({"gamma": True}, "gamma"),
        ({"size": 0}, "size"),
        ({"size": 2.5}, "size"),
        ({"bands": [1, 2]}, "one .*or three"),
        ({"background": (1, 2)}, "background"),
        ({"background": (1, 2, 256)}, "background"),
        ({"quality": 101}, "quality"),
        ({"quality": 50}, "a PNG has no quality"),
        ({"storage_options": {}}, "storage_options"),
    ],
    ids=str,
)
def test_illegal_option_is_an_error_before_any_work(scene, tmp_path, options, match):
    with pytest.raises(lazycog.OptionError, match=match):
        lazycog.quicklook(scene, tmp_path / "a.png", **options)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.gif", "a", "s3://bucket/a.png"])
def test_unknown_format_is_an_error(scene, name):
    with pytest.raises(lazycog.OptionError, match=r"ends in \.png, \.jpg"):
        lazycog.quicklook(scene, name)


@pytest.mark.parametrize("band", [0, 4, "blue"])
def test_missing_band_is_an_error(scene, tmp_path, band):
    with pytest.raises(lazycog.InputError, match="numbered 1 to 3"):
        lazycog.quicklook(scene, tmp_path / "a.png", bands=[band])


# --- command line -------------------------------------------------------------------


def call(*arguments):
    return CliRunner().invoke(_cli.cli, [str(each) for each in arguments])


def test_command_draws_what_the_function_draws(cog, tmp_path):
    expected = lazycog.quicklook(
        cog,
        tmp_path / "a.png",
        bands=[1],
        size=100,
        stretch="percentile",
        percentiles=(5, 90),
        background=(1, 2, 3),
    )

    outcome = call(
        "quicklook", cog, tmp_path / "b.png", "--bands", "1", "--size", "100",
        "--percentiles", "5", "90", "--background", "1", "2", "3",
    )  # fmt: skip

    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.split() == [str(tmp_path / "b.png")]
    assert (tmp_path / "b.png").read_bytes() == expected.read_bytes()


def test_command_draws_a_zarr_store(scene, tmp_path):
    store = tmp_path / "a.zarr"
    scene.chunk({"x": 100}).drop_encoding().to_dataset(name="b").to_zarr(
        store, zarr_format=2
    )
    shutil.rmtree(tmp_path / "none", ignore_errors=True)

    outcome = call(
        "quicklook", store, tmp_path / "a.jpg", "--quality", "80", "--stretch", "none",
        "--threads", "1",
    )  # fmt: skip

    assert outcome.exit_code == 0, outcome.output
    assert read(tmp_path / "a.jpg").shape == (3, 200, 300)


@pytest.mark.parametrize(
    "arguments",
    [("a.gif",), ("a.png", "--size", "0"), ("a.png", "--stretch", "log")],
    ids=str,
)
def test_wrong_command_is_one_line_and_exit_code_2(cog, tmp_path, arguments):
    outcome = call("quicklook", cog, tmp_path / arguments[0], *arguments[1:])

    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert outcome.stderr.count("\n") == 1


def test_scheduler_is_the_callers(scene, tmp_path):
    """A picture computes where the caller computes."""
    used = []

    def noting(*arguments, **options):
        used.append(True)
        return dask.get(*arguments, **options)

    with dask.config.set(scheduler=noting):
        scene.chunk({"x": 50}).geo.quicklook(tmp_path / "a.png")

    assert used
