"""One file per label or variable, from one graph; and files without overviews."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

import lazycog
from oracles import gdal_levels

DAYS = np.array(["2024-05-01", "2024-05-02", "2024-05-09"], "M8[ns]")


def counted(folder, shape, chunks, dtype="uint16"):
    """Give a lazy array that notes each read of a chunk in a folder."""
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(1, 1000, shape).astype(dtype)

    def read(block, block_info=None):
        name = "-".join(map(str, block_info[0]["chunk-location"]))
        with (folder / name).open("a") as file:
            file.write("x")
        return block

    return pixels, da.from_array(pixels, chunks=chunks).map_blocks(read, dtype=dtype)


def cube(data, dims=("time", "y", "x")):
    """Give a raster in time."""
    array = xr.DataArray(data, dims=dims, coords={"time": DAYS}, name="reflectance")
    return array.rio.write_crs("EPSG:32631").rio.write_transform(
        Affine(10, 0, 500000, 0, -10, 4000000)
    )


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
@pytest.mark.parametrize("chunks", [(1, 256, 256), (3, 300, 200), (2, 700, 900)])
def test_a_file_per_date(tmp_path, chunks, scheduler):
    """Each equal to the file of that date alone; each source chunk read once."""
    pixels, lazy = counted(tmp_path / "reads", (3, 700, 900), chunks)

    with dask.config.set(scheduler=scheduler, num_workers=2):
        results = cube(lazy).geo.to_cogs(
            tmp_path / "{time:%Y%m%d}.tif", dim="time", blocksize=128, progress=False
        )

    names = ["20240501.tif", "20240502.tif", "20240509.tif"]
    assert [each.path for each in results] == [str(tmp_path / name) for name in names]
    for index, name in enumerate(names):
        np.testing.assert_array_equal(gdal_levels(tmp_path / name)[0][0], pixels[index])
        one = cube(pixels).isel(time=index, drop=True)
        one = one.assign_attrs(time=str(DAYS[index])[:10])
        one.geo.to_cog(tmp_path / "alone.tif", blocksize=128, progress=False)
        assert (tmp_path / name).read_bytes() == (tmp_path / "alone.tif").read_bytes()
    reads = [each.read_text() for each in (tmp_path / "reads").iterdir()]
    assert len(reads) == lazy.npartitions
    assert set(reads) == {"x"}


def test_the_label_stands_in_the_file(tmp_path):
    """A reader of one file knows its date."""
    array = cube(np.ones((3, 64, 64), "u1"))

    array.geo.to_cogs(tmp_path / "{time:%d}.tif", dim="time", progress=False)

    with rasterio.open(tmp_path / "09.tif") as dataset:
        assert dataset.tags()["time"] == "2024-05-09"


def test_a_file_per_variable(tmp_path):
    """Of types of their own."""
    dataset = xr.Dataset(
        {
            "red": (("y", "x"), da.full((90, 80), 7, dtype="u2")),
            "height": (("y", "x"), da.full((90, 80), 1.5, dtype="f4")),
        }
    )

    results = dataset.geo.to_cogs(tmp_path / "a-{variable}.tif", progress=False)

    assert [each.plan.encoding.dtype for each in results] == ["uint16", "float32"]
    assert gdal_levels(tmp_path / "a-height.tif")[0][0, 0, 0] == 1.5


def test_bands_stay_together(tmp_path):
    """A label may be a raster of many bands, or a Dataset."""
    data = np.random.default_rng(0).integers(0, 9, (3, 2, 64, 64), dtype=np.uint8)
    array = cube(data, dims=("time", "band", "y", "x"))

    lazycog.to_cogs(array, str(tmp_path / "{time:%d}.tif"), dim="time", progress=False)

    np.testing.assert_array_equal(gdal_levels(tmp_path / "02.tif")[0], data[1])


def test_a_lazy_write_of_all(tmp_path):
    """compute=False gives one Delayed."""
    array = cube(np.ones((3, 64, 64), "u1"))

    lazy = array.geo.to_cogs(tmp_path / "{time:%d}.tif", dim="time", compute=False)

    assert list(tmp_path.iterdir()) == []
    (results,) = dask.compute(lazy, scheduler="synchronous")
    assert [each.width for result in results for each in result.levels] == [64] * 3
    assert len(list(tmp_path.glob("*.tif"))) == 3


TEMPLATES = {
    "no field": ("a.tif", "has no field"),
    "another field": ("{date}.tif", "the only one is {time}"),
    "attribute": ("{time.__class__}.tif", "the only one is {time}"),
    "item": ("{time[0]}.tif", "the only one is {time}"),
    "conversion": ("{time!r}.tif", "the only one is {time}"),
    "nested": ("{time:{time}}.tif", "the only one is {time}"),
    "not closed": ("{time.tif", "cannot be read"),
    "a folder": ("{time:%Y/%m/%d}.tif", "another folder"),
    "up": ("{time:..}/a.tif", "another folder"),
    "not distinct": ("{time:%Y}.tif", "for both"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_that_are_refused(tmp_path, name):
    """Before anything is made."""
    template, fragment = TEMPLATES[name]

    with pytest.raises(lazycog.OptionError) as caught:
        cube(np.ones((3, 8, 8), "u1")).geo.to_cogs(tmp_path / template, dim="time")

    assert fragment in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_label_cannot_leave_its_folder(tmp_path):
    """Whatever the coordinate says."""
    array = xr.DataArray(
        np.ones((2, 8, 8), "u1"),
        dims=("scene", "y", "x"),
        coords={"scene": ["../evil", "b"]},
    )

    with pytest.raises(lazycog.OptionError, match="another folder"):
        array.geo.to_cogs(tmp_path / "{scene}.tif", dim="scene")


@pytest.mark.parametrize("dim", ["day", None])
def test_a_dim_that_is_not_there(tmp_path, dim):
    """The message lists what is there."""
    with pytest.raises(lazycog.OptionError, match="'time', 'y', 'x'"):
        cube(np.ones((3, 8, 8), "u1")).geo.to_cogs(tmp_path / "{time}.tif", dim=dim)


def test_a_failure_leaves_no_half_file(tmp_path):
    """Finished files stay; the others are as they were."""

    def fail(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == 2:
            raise ValueError("no such scene")
        return block

    lazy = da.ones((3, 64, 64), chunks=(1, 64, 64), dtype="u1").map_blocks(fail)
    (tmp_path / "09.tif").write_bytes(b"old")

    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(ValueError, match="no such scene") as caught,
    ):
        cube(lazy).geo.to_cogs(tmp_path / "{time:%d}.tif", dim="time", progress=False)

    assert (tmp_path / "09.tif").read_bytes() == b"old"
    assert all(each.suffix == ".tif" for each in tmp_path.iterdir())
    for path in set(tmp_path.glob("*.tif")) - {tmp_path / "09.tif"}:
        assert lazycog.validate(path).ok
    assert "as they were" in caught.value.__notes__[0]


def test_a_tiled_geotiff_has_no_overviews(tmp_path):
    """Else it is the same file."""
    array = cube(np.ones((3, 700, 64), "u1")).isel(time=0, drop=True)

    result = array.geo.to_tiled_geotiff(tmp_path / "a.tif", progress=False)

    array.geo.to_cog(tmp_path / "b.tif", overview_count=0, progress=False)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert len(result.levels) == 1
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.overviews(1) == []


@pytest.mark.parametrize(
    "options",
    [
        {"overview_count": 2},
        {"overview_resampling": "mode"},
        {"profile": {"OVERVIEW_COMPRESS": "JPEG"}},
    ],
    ids=str,
)
def test_a_tiled_geotiff_takes_no_options_of_overviews(tmp_path, options):
    """The message names both."""
    array = cube(np.ones((3, 8, 8), "u1")).isel(time=0)

    with pytest.raises(lazycog.OptionError, match="cannot work with to_tiled_geotiff"):
        array.geo.to_tiled_geotiff(tmp_path / "a.tif", **options)
