"""Every codec with every type, interleave and predictor: equal, or refused."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning

import lazycog
from oracles import async_geotiff_levels, gdal_cog, gdal_levels, raster, write

CODECS = {
    # name: types that it holds (None: all), what GDAL and async-geotiff read of it
    "none": (None, True, True),
    "lzw": (None, True, True),
    "deflate": (None, True, True),
    "zstd": (None, True, True),
    "lzma": (None, True, True),
    "packbits": (None, True, False),
    "jpeg": ({"uint8", "bool"}, True, True),
    "webp": ({"uint8", "bool"}, True, True),
    "lerc": (
        {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32"}
        | {"float32", "float64"},
        True,
        True,
    ),
    "lerc_deflate": ("lerc", True, True),
    "lerc_zstd": ("lerc", True, True),
    "jxl": ({"bool", "uint8", "uint16", "float16", "float32"}, False, False),
}
PREDICTING = {"lzw", "deflate", "zstd", "lzma"}
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
REALS = (*INTEGERS, "float16", "float32", "float64")
DTYPES = (*REALS, "bool", "complex64", "complex128")
USUAL = ("uint8", "float32")
USUAL_COUNTS = (1, 3)
MATRIX = list(
    itertools.product(
        CODECS, DTYPES, ("pixel", "band", "tile"), ("auto", 1, 2, 3), (1, 3, 4)
    )
)


def holds(codec, dtype, interleave, predictor, count):
    """Say whether a combination is legal, from the documents of each codec."""
    types = CODECS[codec][0]
    types = CODECS[types][0] if isinstance(types, str) else types
    samples = count if interleave == "pixel" or count == 1 else 1
    kind = np.dtype(dtype).kind
    return (
        (types is None or dtype in types)
        and (codec != "jpeg" or samples in {1, 3})
        and (codec != "webp" or samples in {3, 4})
        and (codec in PREDICTING or predictor in {"auto", 1})
        and (predictor != 3 or kind == "f")
        and (predictor != 2 or kind != "c")
        # GDAL has no horizontal differences of 16-bit floats
    )


def pixels_of(dtype, count):
    """Smooth, with noise, and not a whole number of tiles."""
    generator = np.random.default_rng(11)
    ramp = np.add.outer(np.arange(150), np.arange(170)) % 100
    values = ramp + generator.integers(0, 20, (count, 150, 170))
    return values % 2 == 0 if dtype == "bool" else values.astype(dtype)


def check(path, codec, dtype, interleave, predictor, count):
    """Write one combination and read it, or see it refused."""
    pixels = pixels_of(dtype, count)
    options = {
        "compress": codec,
        "interleave": interleave,
        "predictor": predictor,
        "blocksize": 128,
        "nodata": None,
        "statistics": False,
        "overview_resampling": "nearest",
        # the fastest of these two is enough here
        "level": {"lzma": 0, "jxl": 1}.get(codec),
        "colorinterp": ["gray", *["undefined"] * (count - 1)],
    }
    if not holds(codec, dtype, interleave, predictor, count):
        with pytest.raises(lazycog.OptionError) as caught:
            write(raster(pixels), path, **options)
        message = str(caught.value)
        assert f"compress={codec!r}" in message or f"predictor={predictor}" in message
        assert not path.exists()
        return
    write(raster(pixels), path, **options)
    stored = pixels.astype("uint8") if dtype == "bool" else pixels
    by_level = [stored, stored[:, ::2, ::2]]
    for name, levels in readings(path, codec, dtype, interleave, predictor, count):
        for found, expected in zip(levels, by_level, strict=True):
            if codec in {"jpeg", "webp"}:
                # within the error of quality 75 on noise of 20
                assert np.abs(found.astype(int) - expected.astype(int)).mean() < 8, name
            else:
                np.testing.assert_array_equal(found, expected, err_msg=name)


def readings(path, codec, dtype, interleave, predictor, count):
    """Read with every reader that has the codec and the type."""
    _, by_gdal, by_async = CODECS[codec]
    half = dtype == "float16"
    if by_gdal and not half:
        yield "rasterio", gdal_levels(path)
    if by_async and async_reads(codec, dtype, interleave, predictor, count):
        yield "async-geotiff", async_geotiff_levels(path)
    if not by_gdal or half:
        yield "tifffile", tifffile_levels(path)


def async_reads(codec, dtype, interleave, predictor, count):
    """Leave out what async-geotiff 0.5 does not have."""
    separate = interleave != "pixel" and count > 1
    return not (
        dtype in {"float16", "complex64", "complex128", "int8"}
        or (separate and predictor in {2, 3})
        or codec in {"jpeg", "webp", "lzma"}
        or codec.startswith("lerc")
    )


def tifffile_levels(path):
    """Read with tifffile and imagecodecs."""
    with tifffile.TiffFile(path) as tiff:
        levels = [page.asarray() for page in tiff.pages]
        planar = tiff.pages[0].planarconfig
    return [
        each[np.newaxis]
        if each.ndim == 2
        else each
        if planar == 2
        else np.moveaxis(each, -1, 0)
        for each in levels
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_usual_types_are_equal_or_refused(tmp_path, codec):
    """Two types, all interleaves and predictors, 1 and 3 bands."""
    for number, each in enumerate(MATRIX):
        if each[0] == codec and each[1] in USUAL and each[-1] in USUAL_COUNTS:
            check(tmp_path / f"{number}.tif", *each)


@pytest.mark.large
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", CODECS)
def test_every_combination_is_equal_or_refused(tmp_path, codec, dtype):
    """None untested."""
    for number, each in enumerate(MATRIX):
        if each[:2] == (codec, dtype):
            check(tmp_path / f"{number}.tif", *each)


@pytest.mark.parametrize("quality", [50, 75, 90])
@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_lossy_pixels_are_as_near_as_gdals(tmp_path, codec, quality):
    """The same quality gives the same error, in the image and in the overviews."""
    generator = np.random.default_rng(2)
    ramp = np.add.outer(np.arange(300), np.arange(310))[np.newaxis] / 3
    pixels = (ramp + generator.normal(0, 4, (3, 300, 310))).clip(0, 255)
    pixels = pixels.astype("uint8")
    options = {"COMPRESS": codec.upper(), "QUALITY": quality, "BLOCKSIZE": 128}
    gdal = gdal_cog(
        tmp_path / "gdal.tif", pixels, OVERVIEW_RESAMPLING="AVERAGE", **options
    )

    write(raster(pixels), tmp_path / "ours.tif", profile=options)

    for ours, theirs in zip(
        gdal_levels(tmp_path / "ours.tif"), gdal_levels(gdal), strict=True
    ):
        difference = np.abs(ours.astype(int) - theirs.astype(int))
        assert difference.mean() < (0.3 if codec == "jpeg" else 1.5)
    own = np.abs(gdal_levels(tmp_path / "ours.tif")[0].astype(int) - pixels)
    his = np.abs(gdal_levels(gdal)[0].astype(int) - pixels)
    assert own.mean() <= 1.05 * his.mean()
    sizes = [(tmp_path / name).stat().st_size for name in ("ours.tif", "gdal.tif")]
    # the full resolution of ours starts at a multiple of 4,096
    assert -4096 < sizes[0] - 1.15 * sizes[1] < 4096


@pytest.mark.parametrize("codec", ["webp", "jxl"])
def test_lossless_forms_keep_every_bit(tmp_path, codec):
    """Transparent pixels included."""
    pixels = np.random.default_rng(0).integers(0, 255, (4, 200, 200), dtype=np.uint8)
    pixels[3, :100] = 0

    write(raster(pixels), tmp_path / "a.tif", compress=codec, lossless=True)

    found = gdal_levels(tmp_path / "a.tif")[0] if codec == "webp" else None
    if found is None:
        found = tifffile_levels(tmp_path / "a.tif")[0]
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize(
    "codec", ["none", "deflate", "zstd", "lzw", "lzma", "lerc", "lerc_zstd"]
)
def test_an_error_bound_holds_at_every_level(tmp_path, codec, dtype):
    """The overviews are made from the exact pixels, so each level keeps the bound."""
    generator = np.random.default_rng(4)
    terrain = np.cumsum(np.cumsum(generator.normal(0, 0.1, (300, 310)), 0), 1)
    pixels = (terrain - terrain.min()).astype(dtype)
    if np.dtype(dtype).kind == "f":
        pixels[40:60, 50:90] = -9999
    nodata = -9999 if np.dtype(dtype).kind == "f" else None
    exact = {"compress": "none", "blocksize": 128, "nodata": nodata}
    write(raster(pixels), tmp_path / "exact.tif", **exact)

    write(
        raster(pixels),
        tmp_path / "bounded.tif",
        compress=codec,
        max_z_error=1.5,
        blocksize=128,
        nodata=nodata,
    )

    for found, level in zip(
        gdal_levels(tmp_path / "bounded.tif"),
        gdal_levels(tmp_path / "exact.tif"),
        strict=True,
    ):
        valid = level != -9999 if nodata else np.ones(level.shape, bool)
        error = np.abs(found.astype("f8") - level.astype("f8"))[valid]
        assert 0 < error.max() <= 1.5
        if not codec.startswith("lerc"):
            assert (found[~valid] == -9999).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "bounded.tif") as dataset:
            space = "IMAGE_STRUCTURE" if codec.startswith("lerc") else None
            assert float(dataset.tags(ns=space)["MAX_Z_ERROR"]) == 1.5


def test_an_error_bound_saves_bytes(tmp_path):
    """Else it would be for nothing."""
    generator = np.random.default_rng(4)
    terrain = np.cumsum(np.cumsum(generator.normal(0, 0.01, (512, 512)), 0), 1)
    pixels = raster((terrain + generator.normal(0, 0.01, terrain.shape)).astype("f4"))

    sizes = [
        write(pixels, tmp_path / "a.tif", max_z_error=bound, statistics=False).size
        for bound in (0, 0.01, 0.1, 1)
    ]

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < sizes[0] / 3


def test_overviews_have_settings_of_their_own(tmp_path):
    """As GDAL's OVERVIEW_COMPRESS, OVERVIEW_QUALITY and OVERVIEW_PREDICTOR."""
    pixels = np.random.default_rng(1).integers(0, 200, (3, 300, 300), dtype=np.uint8)

    write(
        raster(pixels),
        tmp_path / "a.tif",
        compress="deflate",
        overview_compress="jpeg",
        overview_quality=60,
        blocksize=128,
    )

    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        codes = [page.compression.name for page in tiff.pages]
        predictors = [page.predictor for page in tiff.pages]
    assert codes == ["ADOBE_DEFLATE", "JPEG", "JPEG"]
    assert predictors == [2, 1, 1]
    found = gdal_levels(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[0], pixels)
    assert found[1].shape == (3, 150, 150)
    assert found[1].std() > 0
