"""What GDAL says about our file is what it says about its own COG of a raster."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import warnings

import dask.array as da
import numpy as np
import pytest
import rasterio
import tifffile
import xarray as xr
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

import lazycog
from oracles import gdal_cog, gdal_levels, raster, write

GENERATOR = np.random.default_rng(3)
BYTES = GENERATOR.integers(0, 200, (4, 700, 601), dtype=np.uint8)
COLOURS = ("red", "green", "blue")
CASES = {
    "grey": {"pixels": BYTES[0]},
    "RGB": {"pixels": BYTES[:3], "nodata": 0},
    "RGBA": {"pixels": BYTES},
    "multispectral": {
        "pixels": BYTES.astype("uint16"),
        "nodata": 7,
        "descriptions": ["coastal", "blue", "green", "red"],
        "tags": {"SENSOR": "OLI", "AREA_OR_POINT": "Area"},
        "band_tags": [{"WAVELENGTH": str(each)} for each in range(4)],
    },
    "elevation": {
        "pixels": BYTES[0].astype("float32"),
        "nodata": float("nan"),
        "units": ["m"],
        "scales": [0.5],
        "offsets": [100.0],
        "tags": {"AREA_OR_POINT": "Point"},
    },
    "palette": {
        "pixels": BYTES[0] % 5,
        "colormap": {value: (value, 50, 200 - value, 255) for value in range(5)},
        "resampling": "nearest",
    },
    "mask": {"pixels": BYTES[:3], "mask": BYTES[3] > 60},
    "false colour": {
        "pixels": BYTES[:3].astype("uint16"),
        "colorinterp": ["red", "green", "blue"],
    },
    "JPEG": {"pixels": BYTES[:3], "compress": "jpeg"},
    "LERC": {"pixels": BYTES[0].astype("float32"), "compress": "lerc"},
    "BigTIFF": {"pixels": BYTES[0], "bigtiff": True},
}
COMPRESSED = {"compress": "deflate"}


def said_by_gdal(path):
    """Give all that rasterio reads of a file but for its size and place."""
    with rasterio.open(path) as dataset:
        said = {
            "profile": dict(dataset.profile),
            "tags": dataset.tags(),
            "structure": dataset.tags(ns="IMAGE_STRUCTURE"),
            "bands": [dataset.tags(each) for each in dataset.indexes],
            "names": dataset.descriptions,
            "scales": dataset.scales,
            "offsets": dataset.offsets,
            "units": dataset.units,
            "colours": [each.name for each in dataset.colorinterp],
            "overviews": [dataset.overviews(each) for each in dataset.indexes],
            "masks": [[str(flag) for flag in band] for band in dataset.mask_flag_enums],
            "bounds": dataset.bounds,
            "gcps": [str(each) for each in dataset.gcps[0]],
            "nodata": str(dataset.nodata),
        }
        said["profile"]["nodata"] = str(said["profile"]["nodata"])
        if said["colours"] == ["palette"]:
            said["colormap"] = dataset.colormap(1)
    return said


def both(tmp_path, case):
    """Write the same with GDAL's COG driver and with ours."""
    case = dict(case)
    pixels = case.pop("pixels")
    resampling = case.pop("resampling", "average")
    compress = case.pop("compress", "deflate")
    gdal = gdal_cog(
        tmp_path / "gdal.tif",
        pixels,
        COMPRESS=compress.upper(),
        OVERVIEW_RESAMPLING=resampling.upper(),
        BLOCKSIZE=256,
        PREDICTOR="NO",
        BIGTIFF="YES" if case.pop("bigtiff", False) else "NO",
        **case,
    )
    ours = {"nodata": None, "statistics": False, **case}
    write(
        raster(pixels),
        tmp_path / "ours.tif",
        compress=compress,
        predictor=1,
        blocksize=256,
        overview_resampling=resampling,
        **ours,
    )
    return gdal, tmp_path / "ours.tif"


@pytest.mark.parametrize("name", CASES)
def test_gdal_says_the_same_of_both(tmp_path, name):
    """Profile, tags, colours, overviews, masks, georeferencing: no difference."""
    gdal, ours = both(tmp_path, CASES[name])

    assert said_by_gdal(ours) == said_by_gdal(gdal)


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not there")
@pytest.mark.parametrize("name", CASES)
def test_gdalinfo_says_the_same_of_both(tmp_path, name):
    """Every word of gdalinfo -json, but for the name of the file."""
    infos = []
    for path in both(tmp_path, CASES[name]):
        command = ["gdalinfo", "-json", str(path)]
        text = subprocess.run(command, capture_output=True, check=True).stdout
        info = json.loads(text)
        del info["description"], info["files"]
        infos.append(info)

    assert infos[1] == infos[0]


def test_the_file_claims_the_layout(tmp_path):
    """LAYOUT=COG, which other writers do not reach."""
    write(raster(BYTES[:3]), tmp_path / "a.tif")

    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_tags_of_a_namespace(tmp_path):
    """A mapping in tags is a namespace."""
    tags = {"A": 1, "ACQUISITION": {"CLOUDS": 12.5, "ORBIT": 'D & "E" <'}}

    write(raster(BYTES[0]), tmp_path / "a.tif", tags=tags)

    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.tags()["A"] == "1"
        assert dataset.tags(ns="ACQUISITION") == {
            "CLOUDS": "12.5",
            "ORBIT": 'D & "E" <',
        }


PLAIN_VALUES = {
    "text": ("a", "a"),
    "number": (1.5, "1.5"),
    "bool": (True, "True"),
    "NumPy number": (np.float32(0.5), "0.5"),
    "NumPy date": (np.datetime64("2024-05-01"), "2024-05-01"),
    "date": (dt.date(2024, 5, 1), "2024-05-01"),
    "list": ([1, "b"], "1, b"),
    "array": (np.array([1, 2]), "1, 2"),
}


@pytest.mark.parametrize(("value", "text"), PLAIN_VALUES.values(), ids=PLAIN_VALUES)
def test_plain_values_become_text(tmp_path, value, text):
    options = {"tags": {"A": value, "SPACE": {"B": value}}, "band_tags": [{"C": value}]}

    write(raster(BYTES[0]), tmp_path / "a.tif", **options)

    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.tags()["A"] == text
        assert dataset.tags(ns="SPACE") == {"B": text}
        assert dataset.tags(1)["C"] == text


def test_none_leaves_a_tag_of_the_raster_out(tmp_path):
    array = raster(BYTES[0], history="long", sensor="OLI")
    tags = {"history": None, "absent": None, "SPACE": {"A": None, "B": 1}}

    write(array, tmp_path / "a.tif", tags=tags, band_tags=[{"C": None}])

    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert {"sensor"} == dataset.tags().keys() - {"AREA_OR_POINT"}
        assert dataset.tags(ns="SPACE") == {"B": "1"}
        assert "C" not in dataset.tags(1)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"tags": {"a": object()}}, "tags['a'] is of type object"),
        ({"tags": {"a": [1, {}]}}, "tags['a'] is of type list"),
        ({"tags": {"a": b"x"}}, "tags['a'] is of type bytes"),
        ({"tags": {object(): 1}}, "a name in tags is of type object"),
        ({"tags": {"S": {"a": np.array([None])}}}, "tags['S']['a'] is of type ndarray"),
        ({"band_tags": [{"a": {1}}]}, "band_tags[0]['a'] is of type set"),
        ({"descriptions": [object()]}, "descriptions[0] is of type object"),
        ({"units": [len]}, "units[0] is of type builtin_function_or_method"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_objects_that_are_no_text_are_refused(tmp_path, options, place):
    with pytest.raises(lazycog.OptionError, match="give text, a number") as caught:
        write(raster(BYTES[0]), tmp_path / "a.tif", **options)

    assert str(caught.value).startswith(place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint64", 2**64 - 1), ("int64", -(2**63)), ("int64", 2**60 + 1), ("int64", -9)],
)
def test_nodata_of_64_bits_keeps_all_digits(tmp_path, dtype, nodata):
    """A double has 53 bits; GDAL takes the text of one for 1, a valid pixel."""
    pixels = np.ones((600, 600), dtype)
    pixels[:50] = nodata

    write(raster(pixels), tmp_path / "a.tif", nodata=nodata)

    with rasterio.open(tmp_path / "a.tif") as dataset:
        valid = dataset.dataset_mask() > 0
    np.testing.assert_array_equal(valid, pixels == 1)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        levels = [int(page.tags["GDAL_NODATA"].value) for page in tiff.pages]
    assert levels == [nodata] * 2


def test_gcps_of_a_raster_arrive(tmp_path):
    """As rioxarray keeps them."""
    points = [GroundControlPoint(0, 0, 10, 50, 0), GroundControlPoint(9, 0, 10, 49, 0)]
    points.append(GroundControlPoint(0, 9, 11, 50, 0))
    array = raster(BYTES[0], crs=None, transform=None)
    array = array.rio.write_gcps(points, "EPSG:4326")

    write(array, tmp_path / "a.tif")

    with rasterio.open(tmp_path / "a.tif") as dataset:
        found, crs = dataset.gcps
    assert [(p.row, p.col, p.x, p.y) for p in found] == [
        (p.row, p.col, p.x, p.y) for p in points
    ]
    assert crs == CRS.from_epsg(4326)


def test_gcps_cannot_stand_beside_a_transform(tmp_path):
    """A GeoTIFF holds one of the two."""
    point = [0, 0, 10, 50]

    with pytest.raises(
        lazycog.OptionError, match=r"gcps= cannot work with .*transform"
    ):
        write(raster(BYTES[0]), tmp_path / "a.tif", gcps=[point, point, point])


def test_bands_with_several_nodata_values_are_refused(tmp_path):
    """A GeoTIFF holds one."""
    array = raster(BYTES[:2], nodatavals=(0, 255))

    with pytest.raises(lazycog.InputError, match=r"values: .0, 255."):
        write(array, tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ({"band": slice(0, 2)}, ("red", "green")),
        ({"band": [2, 0]}, ("nir", "red")),
        ({"band": 1}, ("green",)),
    ],
    ids=str,
)
def test_selected_bands_keep_their_own_names(tmp_path, selection, names):
    """The attributes of an opened file are those of all its bands."""
    write(
        raster(BYTES[:3]),
        tmp_path / "all.tif",
        descriptions=["red", "green", "nir"],
        scales=[1, 2, 3],
    )
    opened = lazycog.open_cog(tmp_path / "all.tif")

    write(opened.isel(selection), tmp_path / "some.tif")

    order = {"red": 1.0, "green": 2.0, "nir": 3.0}
    with rasterio.open(tmp_path / "some.tif") as dataset:
        assert dataset.descriptions == names
        assert dataset.scales == tuple(order[name] for name in names)


CUBES = {
    "days": (
        {"time": np.array(["2024-01-01", "2024-01-02"], "M8[ns]")},
        "2 metre temperature",
        ("2 metre temperature 2024-01-01", "2 metre temperature 2024-01-02"),
    ),
    "text": (
        {"band": ["red", "nir"]},
        "reflectance",
        ("reflectance red", "reflectance nir"),
    ),
    "one day": (
        {"time": np.array(["2024-01-01"], "M8[ns]")},
        "2 metre temperature",
        ("2 metre temperature",),
    ),
    "numbers of bands": ({"band": [1, 2]}, "reflectance", ("reflectance",) * 2),
    "a name per band": ({"date": [20240101, 20240102]}, ("a", None), ("a", "20240102")),
}


@pytest.mark.parametrize("name", CUBES)
def test_labels_tell_bands_of_one_long_name_apart(tmp_path, name):
    """As ERA5 and all of CF have it: one long_name for all times."""
    coords, long_name, expected = CUBES[name]
    ((dim, labels),) = coords.items()
    pixels = np.zeros((len(labels), 32, 48), "float32")
    array = xr.DataArray(
        pixels, coords, dims=(dim, "y", "x"), attrs={"long_name": long_name}
    )
    array = array.rio.write_crs("EPSG:32613")

    write(array.rio.write_transform(Affine(2, 0, 0, 0, -2, 0)), tmp_path / "a.tif")

    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.descriptions == expected


FOURTH = {
    "infrared": ("nir", {}, "undefined"),
    "a day": ("2024-05-04", {}, "undefined"),
    "told by the caller": (None, {"descriptions": [*"rgb", "nir"]}, "undefined"),
    "alpha": ("Alpha", {}, "alpha"),
    "a number": ("band 4", {}, "alpha"),
    "no name": (None, {}, "alpha"),
    "the caller's word": ("nir", {"colorinterp": [*COLOURS, "alpha"]}, "alpha"),
}


@pytest.mark.parametrize("name", FOURTH)
def test_a_fourth_band_of_bytes_with_a_name_is_no_alpha(tmp_path, name):
    """GDAL takes it for alpha: pixels without infrared would count as missing."""
    label, options, expected = FOURTH[name]
    array = raster(BYTES, long_name=(*COLOURS, label))

    result = write(array, tmp_path / "a.tif", **options)

    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.colorinterp[3].name == expected
    missing = 0 if expected == "undefined" else (BYTES[3] == 0).mean() * 100
    assert result.statistics[0].valid_percent == pytest.approx(100 - missing)


def test_jpeg_does_not_make_a_mask_of_a_named_fourth_band(tmp_path):
    array = raster(BYTES, long_name=(*COLOURS, "nir"))

    with pytest.raises(lazycog.OptionError, match="interleave='band'"):
        write(array, tmp_path / "a.tif", compress="jpeg")


def test_bands_of_several_variables_name_their_variable(tmp_path):
    """Two cubes of the same days."""
    days = np.array(["2024-01-01", "2024-01-02"], "M8[ns]")
    cube = raster(BYTES[:2]).rename(band="time").assign_coords(time=days)
    plain = raster(BYTES[:2]).rename(band="member")
    dataset = xr.Dataset({"t2m": cube, "sp": cube, "ens": plain})

    write(dataset.rio.write_crs("EPSG:32613"), tmp_path / "a.tif")

    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.descriptions == (
            "t2m 2024-01-01",
            "t2m 2024-01-02",
            "sp 2024-01-01",
            "sp 2024-01-02",
            "ens 1",
            "ens 2",
        )


def test_further_dims_become_labelled_bands(tmp_path):
    """Time by band, the last dim fastest; each source chunk is read once."""
    times = np.array(["2024-01-01", "2024-01-02"], "M8[ns]")
    reads = []

    def read(block, block_info=None):
        if block_info:
            reads.append(block_info[0]["chunk-location"])
        return block

    pixels = np.stack([BYTES[:3], BYTES[1:]])
    lazy = da.from_array(pixels, chunks=(1, 2, 300, 601)).map_blocks(
        read, dtype="u1", meta=np.empty((0,) * 4, "u1")
    )
    array = xr.DataArray(
        lazy,
        dims=("time", "band", "y", "x"),
        coords={"time": times, "band": ["red", "nir", "swir"]},
    )
    array = array.rio.write_crs("EPSG:32613")
    array = array.rio.write_transform(Affine(2, 0, 0, 0, -2, 0))

    write(array, tmp_path / "a.tif")

    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.descriptions[:4] == (
            "2024-01-01 red",
            "2024-01-01 nir",
            "2024-01-01 swir",
            "2024-01-02 red",
        )
    np.testing.assert_array_equal(
        gdal_levels(tmp_path / "a.tif")[0], pixels.reshape(6, 700, 601)
    )
    assert len(reads) == len(set(reads)) == lazy.npartitions


def test_variables_of_several_types(tmp_path):
    """An error, unless the caller wants the common type."""
    dataset = xr.Dataset(
        {"a": (("y", "x"), BYTES[0]), "b": (("y", "x"), BYTES[1].astype("int16"))}
    )
    dataset = dataset.rio.write_crs("EPSG:32613")
    dataset = dataset.rio.write_transform(Affine(2, 0, 0, 0, -2, 0))

    with pytest.raises(lazycog.InputError, match=r"promote=True for .* int16"):
        write(dataset, tmp_path / "a.tif")
    write(dataset, tmp_path / "a.tif", promote=True)

    with rasterio.open(tmp_path / "a.tif") as opened:
        assert opened.dtypes == ("int16", "int16")
        assert opened.descriptions == ("a", "b")
        np.testing.assert_array_equal(opened.read(1), BYTES[0])


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"colormap": {0: (1, 2, 3)}, "compress": "jpeg"}, "colormap= cannot work"),
        ({"colormap": {300: (1, 2, 3)}}, "values 0 to 255"),
        ({"colormap": {0: (1, 2)}}, "(red, green, blue)"),
        ({"colormap": {0: (1, 2, 999)}}, "each 0 to 255"),
        ({"colormap": {0: (1, 2, 3)}, "overview_resampling": "average"}, "palette"),
        ({"colorinterp": ["purple"]}, "one name per band"),
        ({"colorinterp": ["red", "green"]}, "one name per band"),
        ({"colorinterp": ["palette"]}, "needs colormap="),
        ({"gcps": [[0, 0]]}, "GroundControlPoint"),
        ({"rpcs": {"LINE_OFF": 1}}, "LINE_OFF"),
        ({"tags": {"IMAGE_STRUCTURE": {"A": 1}}}, "derives this namespace itself"),
        ({"profile": {"dtype": "int16"}}, "is not the raster's 'uint8'"),
        ({"profile": {"width": 7}}, "is not the raster's 601"),
        ({"profile": {"crs": "EPSG:4326"}}, "is not the raster's"),
        ({"profile": {"transform": Affine(1, 0, 0, 0, 1, 0)}}, "is not the raster's"),
        ({"profile": {"photometric": "RGB"}}, "photometric='RGB' cannot work"),
        ({"profile": {"NUM_THREADS": "4"}}, "Dask's scheduler decides"),
    ],
    ids=str,
)
def test_content_that_is_refused(tmp_path, options, fragment):
    """Nothing is dropped in silence."""
    with pytest.raises(lazycog.OptionError) as caught:
        write(raster(BYTES[0]), tmp_path / "a.tif", **options)

    assert fragment in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_whole_profile_of_rasterio(tmp_path):
    """What it says of the raster is compared, the rest taken."""
    gdal_cog(tmp_path / "gdal.tif", BYTES[:3], COMPRESS="LZW", BLOCKSIZE=128)
    with rasterio.open(tmp_path / "gdal.tif") as dataset:
        profile = dict(dataset.profile)

    write(raster(BYTES[:3]), tmp_path / "a.tif", profile=profile)

    with rasterio.open(tmp_path / "a.tif") as dataset:
        ours = dict(dataset.profile)
    assert ours == profile


@pytest.mark.parametrize(
    "name", ["jpeg", "webp", "zstd", "lzw", "deflate", "packbits", "lzma"]
)
def test_profiles_of_rio_cogeo(tmp_path, name):
    """Each of its dictionaries, as it stands."""
    profiles = pytest.importorskip("rio_cogeo.profiles")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it thinks little of webp and zstd
        profile = profiles.cog_profiles.get(name)

    result = write(raster(BYTES[:3]), tmp_path / "a.tif", profile=dict(profile))

    assert result.plan.encoding.image.codec.name == name
    assert lazycog.validate(tmp_path / "a.tif").ok
