"""Opening sources lazily, with what they say about themselves."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import xarray as xr

import lazycog
import oracles
from lazycog._open import is_zarr, open_source


def write_empty(path, **profile):
    """Write a GeoTIFF of which no block is stored."""
    place = {"crs": "EPSG:32613", "transform": oracles.TRANSFORM}
    with rasterio.open(path, "w", driver="GTiff", sparse_ok=True, **place, **profile):
        pass


SCALES, OFFSETS = (0.1, 0.2), (0.0, 1.0)


@pytest.fixture
def tiff(tmp_path):
    path = tmp_path / "a.tif"
    profile = {
        "driver": "GTiff",
        "width": 300,
        "height": 200,
        "count": 2,
        "dtype": "int16",
        "crs": "EPSG:32613",
        "transform": oracles.TRANSFORM,
        "nodata": -1,
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 128,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.arange(2 * 200 * 300, dtype="int16").reshape(2, 200, 300))
        dataset.update_tags(FOO="bar")
        dataset.update_tags(1, SENSOR="one", STATISTICS_MAXIMUM="4")
        dataset.descriptions = ("red", None)
        dataset.scales, dataset.offsets = SCALES, OFFSETS
        dataset.units = ("m", "s")
    return path


@pytest.fixture
def dataset():
    coords = {"y": np.arange(200.0)[::-1], "x": np.arange(300.0)}
    variables = {
        name: xr.DataArray(
            np.full((200, 300), value, "float32"),
            dims=("y", "x"),
            coords=coords,
            attrs={"units": "1"},
        )
        for name, value in (("red", 1.0), ("nir", 2.0))
    }
    return xr.Dataset(variables).rio.write_crs("EPSG:32633")


PACKED = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 1.0, "_FillValue": -9}


@pytest.fixture(params=["zarr", "nc"])
def store(request, dataset, tmp_path):
    path = tmp_path / f"a.{request.param}"
    encoding = {name: dict(PACKED) for name in dataset.data_vars}
    if request.param == "zarr":
        dataset.to_zarr(path, encoding=encoding, consolidated=False)
    else:
        dataset.to_netcdf(path, encoding=encoding)
    return path


def test_geotiff_keeps_what_gdal_says_about_it(tiff, tmp_path):
    oracles.write(open_source(tiff), tmp_path / "b.tif")

    with rasterio.open(tiff) as source, rasterio.open(tmp_path / "b.tif") as copy:
        assert np.array_equal(copy.read(), source.read())
        assert copy.tags()["FOO"] == "bar"
        assert copy.tags(1)["SENSOR"] == "one"
        assert "SENSOR" not in copy.tags()
        assert (copy.scales, copy.offsets) == (SCALES, OFFSETS)
        assert copy.units == ("m", "s")
        assert copy.descriptions == ("red", None)
        assert (copy.nodata, copy.crs, copy.transform) == (
            source.nodata,
            source.crs,
            source.transform,
        )


def test_statistics_of_the_source_are_not_taken_for_those_of_the_copy(tiff):
    raster = open_source(tiff)

    assert "STATISTICS" not in str(raster.attrs)


def test_geotiff_is_lazy_and_its_chunks_are_whole_blocks(tmp_path):
    path = tmp_path / "a.tif"
    size = {"width": 5000, "height": 4500, "count": 1, "dtype": "uint8"}
    blocks = {"tiled": True, "blockxsize": 384, "blockysize": 256}
    write_empty(path, **size, **blocks)

    raster = open_source(path)

    assert raster.chunks is not None
    assert raster.chunks[1][0] % 256 == 0
    assert raster.chunks[2][0] % 384 == 0
    assert raster.chunks[2][0] > 1000


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_chunks_of_many_bands_stay_within_the_byte_budget(tmp_path, interleave):
    path = tmp_path / "a.tif"
    size = {"width": 4000, "height": 3000, "count": 60, "dtype": "float32"}
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    write_empty(path, interleave=interleave, **size, **blocks)

    raster = open_source(path)

    chunk = 4 * np.prod([max(sizes) for sizes in raster.chunks])
    assert chunk <= 32 * 2**20
    assert (raster.chunks[0][0] == 60) == (interleave == "pixel")


def test_strips_are_read_in_full_rows(tmp_path):
    path = tmp_path / "a.tif"
    size = {"width": 9000, "height": 8000, "count": 1, "dtype": "uint8"}
    write_empty(path, **size)

    raster = open_source(path)

    assert raster.chunks[2] == (9000,)
    assert len(raster.chunks[1]) > 1


def test_bare_raster_opens_without_a_warning(tmp_path):
    oracles.gdal_cog(
        tmp_path / "a.tif", np.ones((30, 40), "uint8"), crs=None, transform=None
    )

    assert open_source(tmp_path / "a.tif").shape == (1, 30, 40)


def test_packed_values_stay_as_stored(store, tmp_path):
    oracles.write(open_source(store, bands=["red", "nir"]), tmp_path / "b.tif")

    with rasterio.open(tmp_path / "b.tif") as copy:
        assert copy.dtypes == ("int16", "int16")
        assert copy.scales == (0.01, 0.01)
        assert copy.offsets == (1.0, 1.0)
        assert copy.nodata == -9
        assert copy.descriptions == ("red", "nir")
        assert copy.crs.to_epsg() == 32633
        assert copy.read(2)[0, 0] == 100


def test_bands_of_a_zarr_store_come_in_a_settled_order(dataset, tmp_path):
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)

    assert list(open_source(tmp_path / "a.zarr").data_vars) == ["nir", "red"]


def test_small_zarr_chunks_are_read_several_at_a_time(dataset, tmp_path):
    encoding = {name: {"chunks": (16, 16)} for name in dataset.data_vars}
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False, encoding=encoding)

    assert open_source(tmp_path / "a.zarr")["red"].chunks == ((200,), (300,))


def test_zarr_is_known_by_its_files_whatever_its_name(dataset, tmp_path):
    dataset.to_zarr(tmp_path / "scene", consolidated=False)

    assert is_zarr(str(tmp_path / "scene"))
    assert not is_zarr(str(tmp_path))
    assert open_source(tmp_path / "scene", variable="red").shape == (200, 300)


def test_single_variable_is_taken_without_asking(dataset, tmp_path):
    dataset[["nir"]].to_zarr(tmp_path / "a.zarr", consolidated=False)

    assert open_source(tmp_path / "a.zarr").name == "nir"


def test_bands_are_chosen_by_number_and_name_with_their_metadata(tiff):
    raster = open_source(tiff, bands=[2, "red"])

    assert raster.attrs["long_name"] == (None, "red")
    assert raster.attrs["scales"] == (0.2, 0.1)
    assert raster.attrs["band_tags"] == ({}, {"SENSOR": "one"})
    assert lazycog.plan(raster).description.bands[1].unit == "m"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"bands": [3]}, "no band 3: bands are numbered 1 to 2"),
        ({"bands": ["0"]}, "no band 0"),
        ({"bands": ["rde"]}, r"no band 'rde' \(did you mean 'red'\?\)"),
        ({"variable": "red"}, "has bands, not variables"),
    ],
)
def test_wrong_choice_among_bands_is_explained(tiff, choice, message):
    with pytest.raises(lazycog.InputError, match=message):
        open_source(tiff, **choice)


def test_unknown_variable_is_explained(store):
    with pytest.raises(lazycog.InputError, match=r"did you mean 'red'\?"):
        open_source(store, variable="redd")


def test_variables_of_several_shapes_are_listed(dataset, tmp_path):
    mixed = dataset.drop_vars(["x", "y"])
    mixed["fine"] = (("y2", "x2"), np.zeros((400, 600), "float32"))
    mixed.to_zarr(tmp_path / "a.zarr", consolidated=False)

    with pytest.raises(lazycog.InputError, match=r"fine \(400, 600\).*--variable"):
        open_source(tmp_path / "a.zarr")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(lazycog.SourceNotFoundError, match=r"none\.tif: no such file"):
        open_source(tmp_path / "none.tif")


def test_file_that_is_no_raster_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("hello")

    with pytest.raises(lazycog.InputError, match="GDAL cannot open it"):
        open_source(tmp_path / "a.txt")


def test_broken_netcdf_is_named(tmp_path):
    (tmp_path / "a.nc").write_text("hello")

    with pytest.raises(lazycog.InputError, match="xarray cannot open it"):
        open_source(tmp_path / "a.nc")


def test_netcdf_without_a_reader_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.nc").write_text("hello")
    engines = {"scipy": None, "zarr": None}
    monkeypatch.setattr("xarray.backends.list_engines", lambda: engines)

    with pytest.raises(lazycog.MissingExtraError, match=r"lazycog\[netcdf\]"):
        open_source(tmp_path / "a.nc")
