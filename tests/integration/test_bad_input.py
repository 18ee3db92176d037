"""A wrong call is one clear error before any task, and the destination stays as it was.

Every message says the rule, the value that breaks it, and what to do instead.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine

import lazycog
from lazycog.errors import (
    CapacityError,
    DestinationExistsError,
    InputError,
    OptionError,
    SinkError,
)
from oracles import raster

OLD = b"what stood here before"


@pytest.fixture
def computed():
    """Collects the chunks of the source that a write computes."""
    return []


@pytest.fixture
def lazy(computed):
    """Give a maker of lazy rasters that notice when they are computed."""

    def make(shape=(64, 64), dtype="uint8", **options):
        def chunk(block_info=None):
            computed.append(block_info[None]["chunk-location"])
            return np.zeros(block_info[None]["chunk-shape"], dtype)

        chunks = tuple((length,) for length in shape)
        pixels = da.map_blocks(
            chunk, chunks=chunks, dtype=dtype, meta=np.empty(0, dtype)
        )
        return raster(pixels, **options) if len(shape) in {2, 3} else pixels

    return make


@pytest.fixture
def refuses(tmp_path, computed):
    """Give a check that a write fails at once and leaves the old file alone."""
    path = tmp_path / "old.tif"
    path.write_bytes(OLD)

    def check(error, array, *fragments, **options):
        with pytest.raises(error, match=re.escape(fragments[0])) as caught:
            lazycog.to_cog(array, path, **options)
        for fragment in fragments:
            assert fragment in str(caught.value)
        assert not computed
        assert _names(tmp_path) == ["old.tif"]
        assert path.read_bytes() == OLD

    return check


def _names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_the_probe_notices_a_write(tmp_path, lazy, computed):
    """What the tests below rely on: a good call does compute the source."""
    lazycog.to_cog(lazy(), tmp_path / "cog.tif")

    assert computed == [(0, 0)]


DTYPES = {
    "object": (object, "dtype 'object'", ".astype('float64')"),
    "str": ("U3", "dtype 'str96'", ".astype('float64')"),
    "bytes": ("S3", "dtype 'bytes24'", ".astype('float64')"),
    "datetime": ("M8[ns]", "dtype 'datetime64[ns]'", ".astype('int64')"),
    "timedelta": ("m8[s]", "dtype 'timedelta64[s]'", ".astype('int64')"),
    "long double": (np.longdouble, "dtype 'float128'", ".astype('float64')"),
    "long complex": (np.clongdouble, "dtype 'complex256'", ".astype('complex128')"),
    "structured": ([("a", "u1"), ("b", "f4")], "dtype 'void40'", ".astype("),
}


@pytest.mark.parametrize("name", DTYPES)
def test_a_dtype_that_geotiff_lacks_names_the_cast(refuses, lazy, name):
    """The type and a type to cast to are both in the message."""
    dtype, *fragments = DTYPES[name]

    refuses(InputError, lazy(dtype=np.dtype(dtype)), *fragments)


def _with_coordinates(lazy, y, x):
    array = lazy((64, 64), transform=None)
    return array.assign_coords({"y": y, "x": x})


EVEN = np.arange(64.0)
COORDINATES = {
    "quadratic": (EVEN**2, "'y' is not evenly spaced (off by 992", ".interp()"),
    "constant": (EVEN * 0, "'y' is not evenly spaced", ".interp()"),
    "not a number": (EVEN * np.nan, "'y' is not evenly spaced", ".interp()"),
    "text": ([f"r{row}" for row in range(64)], "'y' must be 1-D numbers", "<U3"),
    "dates": (np.arange(64).astype("M8[D]"), "'y' must be 1-D numbers", "datetime64"),
}


@pytest.mark.parametrize("name", COORDINATES)
def test_coordinates_that_no_transform_describes(refuses, lazy, name):
    """They are refused, not rounded to the nearest grid."""
    y, *fragments = COORDINATES[name]

    refuses(InputError, _with_coordinates(lazy, y, EVEN), *fragments)


def test_coordinates_in_another_order_are_to_be_sorted(refuses, lazy):
    """Longitudes from 0 to 360 that were made -180 to 180, and not sorted."""
    longitude = (np.arange(64) * 5.625 + 180) % 360 - 180
    array = _with_coordinates(lazy, EVEN, longitude)

    refuses(InputError, array, "'x' is evenly spaced, but not in order", ".sortby('x')")


@pytest.mark.parametrize("second", [5.0, np.nan], ids=["equal", "nan"])
def test_two_coordinates_at_no_distance(refuses, lazy, second):
    """Two points are always evenly spaced, but they may give no pixel size."""
    array = lazy((2, 64), transform=None).assign_coords(y=[5.0, second], x=EVEN)

    refuses(InputError, array, "dim 'y' is not evenly spaced", ".interp()")


def test_a_single_coordinate_needs_a_transform(refuses, lazy):
    """One point gives no pixel size."""
    array = lazy((1, 64), transform=None).assign_coords(y=[5.0], x=EVEN)

    refuses(InputError, array, "dim 'y' has a single coordinate", "write_transform(")


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude")])
def test_a_place_per_pixel_is_not_dropped(refuses, lazy, names):
    """A swath would lose its georeferencing in silence."""
    places = {name: (("y", "x"), np.zeros((64, 64))) for name in names}
    array = lazy(transform=None).assign_coords(places)

    refuses(InputError, array, f"{names[0]!r} is 2-D", f".drop_vars({names[0]!r})")


def test_dim_coordinates_with_two_dims(refuses, lazy):
    """xarray allows them; a transform does not."""
    places = {name: (("y", "x"), np.zeros((64, 64))) for name in "yx"}

    refuses(
        InputError, lazy(transform=None).assign_coords(places), "must be 1-D numbers"
    )


TRANSFORMS = {
    "not a number": Affine(np.nan, 0, 0, 0, -1, 0),
    "infinite": Affine(1, 0, np.inf, 0, -1, 0),
    "all zero": Affine(0, 0, 0, 0, 0, 0),
    "one line": Affine(1, 2, 0, 2, 4, 0),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_without_place_or_size(refuses, lazy, name):
    """Not finite, or with no area per pixel."""
    array = lazy(transform=TRANSFORMS[name])

    refuses(InputError, array, "no place or no size", "write_transform(")


@pytest.mark.parametrize(
    ("attribute", "fragments"),
    [
        ("crs_wkt", ("CRS cannot be read", "garbage", "write_crs(")),
        ("GeoTransform", ("GeoTransform cannot be read", "write_transform(")),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_georeferencing_that_cannot_be_read(refuses, lazy, attribute, fragments):
    """It is not taken for a raster without any."""
    array = lazy(crs=None, transform=None).assign_coords(spatial_ref=0)
    array.spatial_ref.attrs[attribute] = "garbage"

    refuses(InputError, array, *fragments)


def test_a_crs_that_gdal_refuses(refuses, lazy, monkeypatch):
    """GDAL is asked before the first task, not at the commit."""
    from rasterio.errors import CRSError

    def refused(*_):
        raise CRSError("no such projection")

    monkeypatch.setattr("lazycog._georef._tiny_cog", refused)

    refuses(InputError, lazy(), "GDAL cannot write", "no such projection", ".rio.crs")


SHAPES = {
    "no rows": ((0, 64), "the raster is empty", "(1, 0, 64)"),
    "no columns": ((64, 0), "the raster is empty", "(1, 64, 0)"),
    "no bands": ((0, 64, 64), "the raster is empty", "(0, 64, 64)"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_an_empty_raster(refuses, lazy, name):
    """It has no pixel to write."""
    shape, *fragments = SHAPES[name]

    refuses(InputError, lazy(shape), *fragments)


DIMS = {
    "unknown names": (
        ("a", "b"),
        "no spatial dims among ('a', 'b')",
        ".rename({'a': 'y', 'b': 'x'})",
    ),
    "short names": (
        ("time", "lat", "lon"),
        "no spatial dims among ('time', 'lat', 'lon')",
        ".rename({'lat': 'latitude', 'lon': 'longitude'})",
    ),
    "one dim": (("x",), "among ('x',)", "name them 'y' and 'x'"),
}


@pytest.mark.parametrize("name", DIMS)
def test_dims_that_are_no_raster(refuses, lazy, name):
    """Two or three, two of them spatial."""
    dims, *fragments = DIMS[name]
    pixels = lazy((2,) * len(dims))
    array = xr.DataArray(getattr(pixels, "data", pixels), dims=dims)

    refuses(InputError, array, *fragments)


@pytest.mark.parametrize("thing", [np.zeros((4, 4)), da.zeros((4, 4)), "a.tif", None])
def test_what_is_not_xarray(refuses, thing):
    """The message says how to wrap it."""
    kind = type(thing).__name__

    refuses(InputError, thing, f"not {kind}", "xarray.DataArray(array, dims=")


DATASETS = {
    "dtypes": (
        {"dtype": "float32"},
        ("several dtypes: {'a': 'uint8', 'b': 'float32'}", "dataset.astype("),
    ),
    "CRSs": ({"crs": "EPSG:32614"}, ("do not share one grid", "reproject_match()")),
    "transforms": (
        {"transform": Affine(10, 0, 0, 0, -10, 0)},
        ("do not share one grid", "reproject_match()"),
    ),
    "nodata": ({"nodata": 7}, ("several nodata values: ['7', 'None']", "unify")),
}


@pytest.mark.parametrize("name", DATASETS)
def test_variables_that_do_not_fit_together(refuses, lazy, name):
    """One file has one type, one grid and one nodata value."""
    options, fragments = DATASETS[name]
    second = lazy(**options)
    other = {"second_ref": second.spatial_ref.variable}
    second = second.drop_vars("spatial_ref").assign_coords(other)
    second.encoding["grid_mapping"] = "second_ref"

    refuses(InputError, xr.Dataset({"a": lazy(), "b": second}), *fragments)


def test_variables_of_two_sizes(refuses, lazy):
    """Under other dim names they can be in one Dataset."""
    other = lazy((32, 32)).rename(y="latitude", x="longitude")

    refuses(InputError, xr.Dataset({"a": lazy(), "b": other}), "do not share one grid")


@pytest.mark.parametrize("dataset", [xr.Dataset(), xr.Dataset({"a": 1})])
def test_a_dataset_without_a_raster(refuses, dataset):
    """A grid mapping alone is none."""
    refuses(
        InputError, dataset, "no variable of the Dataset has spatial dims", "name them"
    )


NODATA = [
    ("uint8", -1),
    ("uint8", 256),
    ("uint8", 1.5),
    ("uint8", float("nan")),
    ("uint8", float("-inf")),
    ("uint8", 10**400),
    ("int8", 128),
    ("int8", -129),
    ("uint16", 65536),
    ("int16", 40000),
    ("int32", 2**31),
    ("uint32", -1),
    ("int64", -(2**63) - 1),
    ("uint64", 2**64),
    ("float16", 1e5),
    ("float32", 1e39),
    ("float32", 10**400),
    ("complex64", 1e39),
]


@pytest.mark.parametrize(("dtype", "nodata"), NODATA, ids=lambda each: str(each)[:12])
def test_nodata_that_does_not_fit(refuses, lazy, dtype, nodata):
    """Neither wrapped around nor rounded."""
    refuses(
        OptionError,
        lazy(dtype=dtype),
        f"nodata={nodata!r} does not fit dtype {dtype}",
        "nodata=None for none",
        nodata=nodata,
    )


@pytest.mark.parametrize("nodata", ["x", True, [0], 1j, b"1"])
def test_nodata_that_is_no_number(refuses, lazy, nodata):
    """A bool is none either."""
    refuses(OptionError, lazy(), f"nodata={nodata!r}", "give a number", nodata=nodata)


def test_the_rasters_own_nodata_must_fit_too(refuses, lazy):
    """As an attribute that was left from another type."""
    array = lazy().assign_attrs(_FillValue=-9999)

    refuses(InputError, array, "-9999", "dtype uint8", "write_nodata()")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("compres", "compress"), ("block_size", "blocksize"), ("over_write", "overwrite")],
)
def test_an_unknown_option_gets_a_suggestion(refuses, lazy, name, meant):
    """Close to one that exists."""
    message = f"unknown option {name!r}; did you mean {meant!r}?"

    refuses(OptionError, lazy(), message, **{name: 1})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("COMPRESS", "; did you mean 'compress'?"),
        ("driver", ": the file is always a COG, so drop it"),
        ("tiled", "; GDAL's creation options go into profile={'TILED': ...}"),
        ("BLOCKXSIZE", "; did you mean 'blocksize'?"),
        ("dtype", ": cast the raster first, for example .astype('uint8')"),
        ("windowed", ": pixels are always written by chunks, so drop it"),
        ("NUM_THREADS", ": Dask's scheduler decides"),
    ],
)
def test_an_option_of_gdal_is_sent_to_its_place(refuses, lazy, name, remedy):
    """Whoever comes from rioxarray or rasterio learns where it goes."""
    refuses(OptionError, lazy(), f"unknown option {name!r}{remedy}", **{name: 1})


@pytest.mark.parametrize(
    "options",
    [{"overview_quality": 50}, {"overview_compress": "jpeg"}],
    ids=["quality", "codec"],
)
def test_an_error_of_overviews_names_their_option(refuses, lazy, options):
    """Of uint16, which JPEG cannot hold."""
    ((name, value),) = options.items()
    array = lazy().astype("uint16")

    refuses(OptionError, array, f"{name}={value!r} cannot", **options)


def test_an_unknown_option_far_from_any_other(refuses, lazy):
    """No suggestion is better than a wild one."""
    refuses(OptionError, lazy(), "unknown option 'zzz'", zzz=1)


CONTRADICTIONS = {
    "predictor without codec": (
        {"compress": "none", "predictor": 2},
        ("predictor=2", "compress='none'", "drop one of the two"),
    ),
    "level without codec": (
        {"compress": "none", "level": 3},
        ("level=3", "compress='none'", "deflate, zstd, lzma, "),
    ),
    "level of a codec without": (
        {"compress": "lzw", "level": 3},
        ("level=3", "compress='lzw'", "deflate, zstd, lzma, "),
    ),
    "level out of range": (
        {"level": 23},
        ("level=23", "zstd takes a whole number, 1 to 22"),
    ),
    "level zero": ({"level": 0}, ("level=0", "zstd takes a whole number, 1 to 22")),
    "deflate level": (
        {"compress": "deflate", "level": 13},
        ("level=13", "deflate takes a whole number, 1 to 12"),
    ),
    "level True": (
        {"level": True},
        ("level=True", "zstd takes a whole number, 1 to 22"),
    ),
    "float predictor": (
        {"predictor": 3},
        ("predictor=3", "dtype uint8", "predictor=2 or 'auto'"),
    ),
    "predictor True": ({"predictor": True}, ("predictor=True", "choose one of")),
    "profile and keyword": (
        {"compress": "zstd", "profile": {"COMPRESS": "LZW"}},
        ("compress='zstd' contradicts profile", "compress='lzw'", "give it once"),
    ),
    "profile and itself": (
        {"profile": {"BLOCKXSIZE": 256, "BLOCKYSIZE": 512}},
        ("blocksize=256", "BLOCKYSIZE=512", "keep one"),
    ),
    "unknown profile key": (
        {"profile": {"COMPRES": "LZW"}},
        ("unknown creation option 'COMPRES'", "did you mean 'COMPRESS'?"),
    ),
    "profile number": (
        {"profile": {"BLOCKSIZE": "big"}},
        ("BLOCKSIZE='big'", "give a whole number"),
    ),
    "profile nodata": (
        {"profile": {"NODATA": "abc"}},
        ("NODATA='abc'", "give a number or None"),
    ),
    "profile choice": (
        {"profile": {"PREDICTOR": "MAYBE"}},
        ("PREDICTOR='MAYBE'", "give one of YES, NO"),
    ),
    "profile for strips": (
        {"profile": {"TILED": "NO"}},
        ("TILED='NO' cannot be honoured", "TILED=YES"),
    ),
    "profile of another driver": (
        {"profile": {"driver": "PNG"}},
        ("driver='PNG' cannot be honoured", "driver=COG"),
    ),
    "profile as text": (
        {"profile": "COMPRESS=LZW"},
        ("profile='COMPRESS=LZW'", "give a mapping"),
    ),
    "lock": ({"lock": "x"}, ("lock='x'", "give None, True, or a lock")),
    "storage options": (
        {"storage_options": 3},
        ("storage_options=3", "give a mapping"),
    ),
    "codec": ({"compress": "lzv"}, ("compress='lzv'", "did you mean 'lzw'?")),
    "no codec": ({"compress": None}, ("compress=None", "choose one of 'none'")),
    "kernel": (
        {"overview_resampling": "avg"},
        ("overview_resampling='avg'", "did you mean 'average'?"),
    ),
    "interleave": ({"interleave": "line"}, ("interleave='line'", "'pixel', 'band'")),
    "number for a bool": ({"statistics": 1}, ("statistics=1", "True, False")),
    "text for a bool": ({"bigtiff": "yes"}, ("bigtiff='yes'", "'auto', True, False")),
    "overview count": ({"overview_count": -1}, ("overview_count=-1", "0 for no")),
    "too many overviews": (
        {"overview_count": 30},
        ("overview_count=30", "64 x 64 pixels has 6 overviews at most", "0 to 6"),
    ),
    "overviews of a profile": (
        {"profile": {"OVERVIEW_COUNT": 7}},
        ("overview_count=7", "give 0 to 6"),
    ),
    "overview count True": ({"overview_count": True}, ("overview_count=True", "whole")),
    "too many descriptions": (
        {"descriptions": ["a", "b"]},
        ("descriptions=['a', 'b']", "one value per band, 1 here"),
    ),
    "description as text": (
        {"descriptions": "a"},
        ("descriptions='a'", "one value per band, 1 here"),
    ),
    "no descriptions": ({"descriptions": []}, ("descriptions=[]", "per band, 1 here")),
    "too many scales": ({"scales": [1, 2]}, ("scales=[1, 2]", "per band, 1 here")),
    "one scale": ({"scales": 2}, ("scales=2", "give a list with one value per band")),
    "scale as text": ({"scales": ["x"]}, ("scales=['x']", "each a number")),
    "no scale": ({"offsets": [None]}, ("offsets=[None]", "each a number")),
    "infinite offset": ({"offsets": [np.inf]}, ("offsets must be finite",)),
    "too many band tags": (
        {"band_tags": [{}, {}]},
        ("band_tags=[{}, {}]", "one value per band, 1 here"),
    ),
    "band tags of one band": (
        {"band_tags": {"a": 1}},
        ("band_tags={'a': 1}", "give a list with one value per band"),
    ),
    "band tag as text": ({"band_tags": ["a"]}, ("band_tags=['a']", "each a mapping")),
    "tags as a list": ({"tags": [1]}, ("tags=[1]", "give a mapping")),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_options_outside_their_rule(refuses, lazy, name):
    """On its own or against another; nothing is silently ignored."""
    options, fragments = CONTRADICTIONS[name]

    refuses(OptionError, lazy(), *fragments, **options)


@pytest.mark.parametrize(
    "blocksize", [0, -16, 8, 100, 16400, True, "512", 512.0, None, (256, 256)]
)
def test_a_blocksize_that_is_no_multiple_of_16(refuses, lazy, blocksize):
    """TIFF wants multiples of 16; other kinds of value are not converted."""
    refuses(
        OptionError,
        lazy(),
        f"blocksize={blocksize!r}",
        "multiple of 16 between 16 and 16384",
        "256, 512 and 1024 are usual",
        blocksize=blocksize,
    )


@pytest.mark.parametrize(
    ("option", "fragments"),
    [
        ({"overview_resampling": "mode"}, ("'mode'", "use 'nearest'")),
        ({"overview_resampling": "rms"}, ("'rms'", "use 'nearest'")),
        ({"predictor": 2}, ("predictor=2", "use 1")),
    ],
    ids=["mode", "rms", "predictor"],
)
def test_options_that_complex_numbers_lack(refuses, lazy, option, fragments):
    """They have no order and no predictor."""
    array = lazy(dtype="complex64")

    refuses(OptionError, array, *fragments, "dtype complex64", **option)


def test_bigtiff_false_where_the_raw_size_proves_it_wrong(refuses):
    """10 GB of uncompressed pixels: known from the shape, in no time."""
    huge = raster(da.zeros((100_000, 100_000), dtype="uint8", chunks=4096))

    refuses(
        CapacityError,
        huge,
        "bigtiff=False",
        "4294967295",
        "use bigtiff='auto'",
        compress="none",
        bigtiff=False,
    )


def test_bigtiff_false_where_only_the_encoded_size_shows_it(
    tmp_path, monkeypatch, lazy
):
    """The last moment is the header, before anything appears."""
    monkeypatch.setattr("lazycog._assemble.MAX_CLASSIC_BYTES", 1000)
    path = tmp_path / "old.tif"
    path.write_bytes(OLD)

    with pytest.raises(CapacityError, match=r"larger than the 1000 bytes.*'auto'"):
        lazycog.to_cog(lazy(), path, bigtiff=False)

    assert _names(tmp_path) == ["old.tif"]
    assert path.read_bytes() == OLD


def test_a_tile_that_no_reader_takes(refuses):
    """Over 2 GiB, libtiff gives up."""
    huge = raster(da.zeros((60_000, 60_000), dtype="complex128", chunks=4096))

    refuses(
        CapacityError,
        huge,
        "one tile would hold 4294967296 bytes",
        "lower blocksize=",
        blocksize=16384,
    )


def test_an_existing_file_that_may_not_be_replaced(refuses, lazy):
    """It is also Python's own FileExistsError."""
    fragments = ("the destination exists and overwrite=False", "remove it or allow it")

    refuses(DestinationExistsError, lazy(), *fragments, overwrite=False)
    refuses(FileExistsError, lazy(), *fragments, overwrite=False)


def _a_folder(tmp_path):
    return tmp_path


def _below_no_folder(tmp_path):
    return tmp_path / "missing" / "cog.tif"


def _below_a_file(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path / "file" / "cog.tif"


def _a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def _no_home(_tmp_path):
    return "~nobody-of-this-name/cog.tif"


def _a_null_byte(tmp_path):
    return f"{tmp_path}/a\0b.tif"


PLACES = {
    "a folder": (_a_folder, "is a folder", "add a file name"),
    "below no folder": (_below_no_folder, "folder does not exist", "make it first"),
    "below a file": (_below_a_file, "folder does not exist", "make it first"),
    "a pipe": (_a_pipe, "device, pipe or socket", "name a file"),
    "no home": (_no_home, "not a path", "name a file"),
    "a null byte": (_a_null_byte, "not a path", "name a file"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_destination_that_cannot_be_a_file(tmp_path, lazy, computed, name):
    """Known before the first task, and nothing is made on the way."""
    make, *fragments = PLACES[name]
    path = make(tmp_path)
    before = _names(tmp_path)

    with pytest.raises(SinkError, match=fragments[0]) as caught:
        lazycog.to_cog(lazy(), path)

    assert fragments[1] in str(caught.value)
    assert not computed
    assert _names(tmp_path) == before


def test_a_folder_without_permission(tmp_path, lazy, computed, monkeypatch):
    """What the system says about access is believed."""
    monkeypatch.setattr(os, "access", lambda *_args, **_options: False)

    with pytest.raises(SinkError, match="folder is not writable"):
        lazycog.to_cog(lazy(), tmp_path / "cog.tif")

    assert not computed


def test_a_folder_that_takes_no_files(lazy, computed):
    """Where access looks fine the first file tells, before the source is read."""
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc")

    with pytest.raises(SinkError, match=r"not writable|could not prepare"):
        lazycog.to_cog(lazy(), "/proc/cog.tif")

    assert not computed


def test_a_read_only_file_system(tmp_path, lazy, computed):
    """Even for the superuser."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", tmp_path],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount")

    try:
        with pytest.raises(SinkError, match="folder is not writable"):
            lazycog.to_cog(lazy(), tmp_path / "cog.tif")
    finally:
        subprocess.run(["umount", tmp_path], check=True)

    assert not computed


def test_a_lazy_call_checks_as_much(tmp_path, lazy, computed):
    """``compute=False`` postpones the write, not the errors."""
    with pytest.raises(OptionError, match="blocksize=7"):
        lazycog.to_cog(lazy(), tmp_path / "cog.tif", blocksize=7, compute=False)
    with pytest.raises(SinkError, match="folder does not exist"):
        lazycog.to_cog(lazy(), tmp_path / "no" / "cog.tif", compute=False)

    assert not computed
