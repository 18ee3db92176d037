"""What users write, and that every reader gives it back."""

from __future__ import annotations

import warnings

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from rio_cogeo import cog_validate

import lazycog
from oracles import (
    TRANSFORM,
    async_geotiff_levels,
    gdal_levels,
    raster,
    tifffile_levels,
    write,
)

GDAL_HAS_HALF = "float16" in rasterio.dtypes.dtype_fwd.values()
REAL_DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


def _random(shape, dtype, seed=5):
    generator = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return generator.random(shape) > 0.5
    if kind == "f":
        return generator.normal(0, 100, shape).astype(dtype)
    if kind == "c":
        return (
            generator.normal(size=shape) + 1j * generator.normal(size=shape)
        ).astype(dtype)
    info = np.iinfo(dtype)
    return generator.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("predictor", ["auto", 1, 2])
@pytest.mark.parametrize("compress", ["none", "lzw", "deflate", "zstd"])
@pytest.mark.parametrize("dtype", REAL_DTYPES)
def test_every_dtype_and_codec_reads_back(tmp_path, dtype, compress, predictor):
    """GDAL and tifffile give the pixels that were written."""
    if predictor == 2 and (compress == "none" or np.dtype(dtype).kind == "c"):
        pytest.skip("refused: see the tests of options")
    pixels = _random((2, 70, 90), dtype)
    path = tmp_path / "cog.tif"

    write(
        raster(da.from_array(pixels, chunks=(1, 40, 50))),
        path,
        compress=compress,
        predictor=predictor,
        blocksize=32,
    )

    stored = pixels.astype("uint8") if dtype == "bool" else pixels
    assert lazycog.validate(path).ok
    np.testing.assert_array_equal(tifffile_levels(path)[0], stored)
    if dtype != "float16" or GDAL_HAS_HALF:
        np.testing.assert_array_equal(gdal_levels(path)[0], stored)


@pytest.mark.parametrize("interleave", ["pixel", "band", "tile"])
def test_every_level_is_the_same_for_all_readers(tmp_path, interleave):
    """rasterio, tifffile and async-geotiff agree on every pixel of every level."""
    pixels = _random((3, 600, 700), "uint16")
    path = tmp_path / "cog.tif"

    write(
        raster(pixels), path, interleave=interleave, blocksize=128, compress="deflate"
    )

    levels = gdal_levels(path)
    assert [level.shape[1:] for level in levels] == [
        (600, 700),
        (300, 350),
        (150, 175),
        (75, 87),
    ]
    np.testing.assert_array_equal(levels[0], pixels)
    readers = [async_geotiff_levels(path)]
    if interleave != "tile":  # tifffile takes planes as whole pages
        readers.append(tifffile_levels(path))
    for other in readers:
        for ours, theirs in zip(levels, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_overviews_of_a_lazy_raster_hold_pixels(tmp_path, scheduler):
    """The script with which rioxarray's COG overviews come out all zero."""
    path = tmp_path / "cog.tif"
    source = tmp_path / "source.tif"
    pixels = np.arange(2000 * 2100, dtype="uint16").reshape(2000, 2100) % 4000 + 1
    raster(pixels).rio.to_raster(source, tiled=True)
    lazy = rioxarray.open_rasterio(source, chunks={"x": 512, "y": 512}, lock=False)

    with dask.config.set(scheduler=scheduler):
        lazy.geo.to_cog(path, overview_resampling="nearest", progress=False)

    levels = gdal_levels(path)
    assert len(levels) == 4
    for step, level in enumerate(levels[1:], start=1):
        assert level.min() > 0
        if step <= 2:
            np.testing.assert_array_equal(level[0], pixels[:: 2**step, :: 2**step])


DIMS = {
    "y, x": ("y", "x"),
    "band, y, x": ("band", "y", "x"),
    "y, x, band": ("y", "x", "band"),
    "latitude, longitude": ("latitude", "longitude"),
    "time, lat, lon": ("time", "latitude", "longitude"),
}


@pytest.mark.parametrize("dims", DIMS.values(), ids=DIMS.keys())
@pytest.mark.parametrize("lazy", [True, False], ids=["dask", "numpy"])
def test_dims_in_any_order_and_name(tmp_path, dims, lazy):
    """Whatever the order in memory, a file has bands, rows and columns."""
    sizes = {"y": 50, "x": 60, "latitude": 50, "longitude": 60, "band": 3, "time": 3}
    pixels = _random(tuple(sizes[dim] for dim in dims), "int16")
    array = xr.DataArray(da.from_array(pixels) if lazy else pixels, dims=dims)
    x_dim, y_dim = ("x", "y") if "x" in dims else ("longitude", "latitude")
    array = array.assign_coords(
        {x_dim: np.arange(60) + 0.5, y_dim: 80 - np.arange(50) - 0.5}
    ).rio.write_crs("EPSG:32613")

    write(array, tmp_path / "cog.tif", blocksize=32)

    bands = [dim for dim in dims if dim in {"band", "time"}]
    expected = array.transpose(*bands, y_dim, x_dim).values
    expected = expected if bands else expected[np.newaxis]
    np.testing.assert_array_equal(gdal_levels(tmp_path / "cog.tif")[0], expected)
    with rasterio.open(tmp_path / "cog.tif") as dataset:
        assert dataset.transform == Affine(1, 0, 0, 0, -1, 80)


TRANSFORMS = {
    "north-up": TRANSFORM,
    "south-up": Affine(30, 0, 5e5, 0, 30, 3.9e6),
    "rotated": Affine(25, 5, 5e5, 5, -25, 4e6),
    "mirrored": Affine(-30, 0, 5e5, 0, -30, 4e6),
}
CRS = {
    "projected": "EPSG:32613",
    "geographic": "EPSG:4326",
    "compound": "EPSG:7415",
    "geographic 3-D": "EPSG:4979",
    "custom": "+proj=laea +lat_0=45.5 +lon_0=-114.1 +ellps=GRS80 +units=m",
    "sinusoidal": "+proj=sinu +lon_0=0 +R=6371007.181 +units=m",
}


@pytest.mark.parametrize("crs", CRS.values(), ids=CRS.keys())
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_georeferencing_is_what_rioxarray_writes(tmp_path, transform, crs):
    """CRS and transform come back as from rioxarray's own writer."""
    array = raster(_random((40, 50), "uint8"), crs=crs, transform=transform)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Transform that is non-rectilinear")
        array.rio.to_raster(tmp_path / "theirs.tif")

    write(array, tmp_path / "ours.tif", blocksize=32)

    with (
        rasterio.open(tmp_path / "ours.tif") as ours,
        rasterio.open(tmp_path / "theirs.tif") as theirs,
    ):
        assert ours.transform == theirs.transform == transform
        assert ours.crs == theirs.crs


def test_ascending_y_stays_ascending(tmp_path):
    """Rows are written in the order of the array, so the file is south-up."""
    pixels = _random((40, 50), "uint8")
    array = xr.DataArray(
        pixels, coords={"y": np.arange(40) + 5.5, "x": np.arange(50) + 0.5}
    ).rio.write_crs("EPSG:32613")

    write(array, tmp_path / "cog.tif", blocksize=32)

    opened = rioxarray.open_rasterio(tmp_path / "cog.tif")
    np.testing.assert_array_equal(opened[0], pixels)
    np.testing.assert_allclose(opened.y, array.y)


def test_sliced_coordinates_win_over_a_stored_transform(tmp_path):
    """A window of an opened raster lands where its coordinates say."""
    whole = raster(_random((100, 120), "uint8")).assign_coords(
        x=TRANSFORM.c + 30 * (np.arange(120) + 0.5),
        y=TRANSFORM.f - 30 * (np.arange(100) + 0.5),
    )

    write(whole[20:80, 30:90], tmp_path / "cog.tif", blocksize=32)

    with rasterio.open(tmp_path / "cog.tif") as dataset:
        assert dataset.transform == TRANSFORM @ Affine.translation(30, 20)


def test_metadata_of_a_dataarray_arrives(tmp_path):
    """Names, scale, offset, unit, nodata and attributes are in the file."""
    array = raster(_random((2, 40, 50), "int16"), nodata=-1, platform="Sentinel <2>")
    array = array.assign_coords(band=["red", "nir"])
    array.attrs |= {"scale_factor": 1e-4, "add_offset": -0.1, "units": "1"}

    write(array, tmp_path / "cog.tif", blocksize=32, tags={"LEVEL": 2})

    with rasterio.open(tmp_path / "cog.tif") as dataset:
        assert dataset.descriptions == ("red", "nir")
        assert dataset.scales == (1e-4, 1e-4)
        assert dataset.offsets == (-0.1, -0.1)
        assert dataset.units == ("1", "1")
        assert dataset.nodata == -1
        assert dataset.tags()["platform"] == "Sentinel <2>"
        assert dataset.tags()["LEVEL"] == "2"


def test_variables_of_a_dataset_become_named_bands(tmp_path):
    """Each variable keeps its own scale, offset and unit."""
    pixels = {
        name: _random((40, 50), "uint16", seed) for seed, name in enumerate("abc")
    }
    dataset = xr.Dataset({name: (("y", "x"), each) for name, each in pixels.items()})
    dataset["b"].attrs |= {"units": "K", "scale_factor": 0.01}
    dataset = dataset.rio.write_crs("EPSG:3857").rio.write_transform(TRANSFORM)
    dataset = dataset.chunk({"y": 20})

    result = dataset.geo.to_cog(tmp_path / "cog.tif", blocksize=32, progress=False)

    assert len(result.statistics) == 3
    with rasterio.open(tmp_path / "cog.tif") as opened:
        assert opened.descriptions == ("a", "b", "c")
        assert opened.units == (None, "K", None)
        assert opened.scales == (1.0, 0.01, 1.0)
        np.testing.assert_array_equal(opened.read(), np.stack(list(pixels.values())))


def test_decoded_values_are_not_scaled_twice(tmp_path):
    """Values that xarray has already decoded carry no scale into the file."""
    packed = xr.Dataset(
        {"t": (("y", "x"), np.arange(2000, dtype="int16").reshape(40, 50))}
    )
    packed["t"].attrs |= {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1}
    decoded = xr.decode_cf(packed)["t"].rio.write_crs("EPSG:3857")
    decoded = decoded.rio.write_transform(TRANSFORM)

    write(decoded, tmp_path / "cog.tif", blocksize=32)

    with rasterio.open(tmp_path / "cog.tif") as dataset:
        assert dataset.scales == (1.0,)
        assert np.isnan(dataset.nodata)
        np.testing.assert_array_equal(dataset.read(1), decoded.values)


def test_floats_without_nodata_get_nan(tmp_path):
    """Missing is NaN in xarray, so the file says it in every level."""
    pixels = _random((90, 90), "float32")
    pixels[10:50, :] = np.nan

    write(raster(pixels), tmp_path / "cog.tif", blocksize=32)

    for level in (None, 0):
        with rasterio.open(tmp_path / "cog.tif", overview_level=level) as dataset:
            assert np.isnan(dataset.nodata)
            assert not dataset.read_masks(1).all()


def test_chosen_nodata_replaces_nan(tmp_path):
    """A finite nodata for floats is what missing pixels become, at every level."""
    pixels = _random((90, 90), "float32")
    pixels[10:50, :] = np.nan

    write(raster(da.from_array(pixels)), tmp_path / "cog.tif", blocksize=32, nodata=-9)

    levels = gdal_levels(tmp_path / "cog.tif")
    np.testing.assert_array_equal(levels[0][0], np.where(np.isnan(pixels), -9, pixels))
    assert not any(np.isnan(level).any() for level in levels)


def test_nan_never_poisons_overviews_of_a_finite_nodata(tmp_path):
    """Stray NaN beside a raster's own finite nodata is missing, too."""
    pixels = np.full((64, 64), 5.0, "float32")
    pixels[::2, ::2] = np.nan
    pixels[1::2, 1::2] = -1

    write(raster(pixels, nodata=-1.0), tmp_path / "cog.tif", blocksize=32)

    np.testing.assert_array_equal(gdal_levels(tmp_path / "cog.tif")[1], 5.0)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float64"])
def test_nodata_stands_in_every_level(tmp_path, dtype):
    """A reader of one overview must know it as well."""
    write(raster(_random((90, 90), dtype)), tmp_path / "c.tif", blocksize=32, nodata=7)

    for level in (None, 0, 1):
        with rasterio.open(tmp_path / "c.tif", overview_level=level) as dataset:
            assert dataset.nodata == 7


def test_statistics_are_exact_and_leave_nodata_out(tmp_path):
    """NumPy's figures over the valid pixels, per band, in the file and the result."""
    pixels = _random((2, 300, 311), "int32")
    pixels[:, 50:100] = -5

    result = write(raster(pixels), tmp_path / "cog.tif", blocksize=64, nodata=-5)

    with rasterio.open(tmp_path / "cog.tif") as dataset:
        for band, found in enumerate(result.statistics):
            valid = pixels[band][pixels[band] != -5].astype("float64")
            tags = dataset.tags(band + 1)
            assert found.minimum == float(tags["STATISTICS_MINIMUM"]) == valid.min()
            assert found.maximum == float(tags["STATISTICS_MAXIMUM"]) == valid.max()
            assert found.mean == pytest.approx(valid.mean(), rel=1e-12)
            assert found.stddev == pytest.approx(valid.std(), rel=1e-12)
            assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(valid.std())
            percent = 100 * valid.size / pixels[band].size
            assert float(tags["STATISTICS_VALID_PERCENT"]) == pytest.approx(
                percent, rel=1e-3
            )


SIZES = [(1, 1), (1, 700), (700, 1), (13, 17), (512, 512), (513, 512), (1031, 521)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_is_a_valid_cog(tmp_path, size):
    """Extent and shape never change; validators accept what they accept of GDAL."""
    pixels = _random(size, "uint8")
    path = tmp_path / "cog.tif"

    write(raster(pixels), path, blocksize=256, nodata=None)

    np.testing.assert_array_equal(gdal_levels(path)[0][0], pixels)
    assert lazycog.validate(path).ok
    if size != (700, 1):  # rio-cogeo measures the decimation of width 1 as 1
        assert cog_validate(path, quiet=True)[0]


@pytest.mark.parametrize(
    "size", [(2048, 512), (1300, 256), (4096, 1024), (5000, 512)], ids=str
)
def test_levels_as_wide_as_a_tile_still_count_as_tiled(tmp_path, size):
    """Validators refuse a large level whose tiles are as wide as itself."""
    path = tmp_path / "cog.tif"

    write(raster(_random(size, "uint8")), path, blocksize=512 if size[1] > 256 else 256)

    assert cog_validate(path, strict=True, quiet=True)[0]
    assert lazycog.validate(path).ok


def test_lazy_write_computes_to_the_result(tmp_path):
    """``compute=False`` touches nothing until it is computed, and can be repeated."""
    pixels = _random((100, 100), "uint8")
    path = tmp_path / "cog.tif"

    lazy = raster(da.from_array(pixels)).geo.to_cog(path, blocksize=32, compute=False)
    assert not list(tmp_path.iterdir())
    first = lazy.compute(scheduler="synchronous")
    content = path.read_bytes()
    second = lazy.compute(scheduler="threads")

    assert first.path == second.path == str(path)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["cog.tif"]


def test_overview_count_is_kept(tmp_path):
    """0 turns overviews off; more than needed are made on request."""
    array = raster(_random((300, 300), "uint8"))
    for count in (0, 1, 5):
        write(array, tmp_path / "cog.tif", blocksize=64, overview_count=count)
        with rasterio.open(tmp_path / "cog.tif") as dataset:
            assert len(dataset.overviews(1)) == count


@pytest.mark.parametrize(
    ("shape", "most"), [((1, 1), 0), ((5, 64), 6), ((65, 1), 6), ((127, 3), 6)], ids=str
)
def test_as_many_overviews_as_there_are_down_to_one_pixel(tmp_path, shape, most):
    array = raster(_random(shape, "uint8"))

    write(array, tmp_path / "cog.tif", overview_count=most)

    with rasterio.open(tmp_path / "cog.tif") as dataset:
        assert len(dataset.overviews(1)) == most
    assert lazycog.plan(array, overview_count=most).levels[-1].size == (1, 1)
    with pytest.raises(lazycog.OptionError, match=f"has {most} overviews at most"):
        lazycog.plan(array, overview_count=most + 1)


def test_profile_speaks_gdals_language(tmp_path):
    """Creation options of GDAL do what they say."""
    write(
        raster(_random((300, 300), "uint8")),
        tmp_path / "cog.tif",
        profile={"COMPRESS": "LZW", "BLOCKSIZE": 128, "BIGTIFF": "YES"},
    )

    with rasterio.open(tmp_path / "cog.tif") as dataset:
        assert dataset.profile["compress"] == "lzw"
        assert dataset.block_shapes == [(128, 128)]
    assert (tmp_path / "cog.tif").read_bytes()[2] == 43


@pytest.mark.parametrize("lock", [True, "own"])
def test_lock_serialises_writes(tmp_path, lock):
    """A lock that was given is held around every write."""
    held = []

    class Lock:
        def __enter__(self):
            held.append(1)

        def __exit__(self, *_):
            held.append(-1)

    array = raster(da.from_array(_random((300, 300), "uint8"), chunks=100))
    with dask.config.set(scheduler="threads"):
        array.geo.to_cog(
            tmp_path / "cog.tif",
            blocksize=32,
            lock=Lock() if lock == "own" else lock,
            progress=False,
        )

    assert lazycog.validate(tmp_path / "cog.tif").ok
    assert bool(held) == (lock == "own")
