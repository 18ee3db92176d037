"""A CRS or transform that was lost before the write is told once, with the remedy.

Every other test fails on a warning, so that the quiet cases need no more than a call.
"""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from click.testing import CliRunner
from rasterio.control import GroundControlPoint

import lazycog
import oracles
from lazycog import _cli

PIXELS = np.arange(60 * 80, dtype="uint16").reshape(60, 80)
NO_CRS = (
    r"coordinates but no CRS.*set it with \.rio\.write_crs\('EPSG:...'\) "
    r"\(--crs in a shell\)"
)
NO_TRANSFORM = r"a CRS but neither coordinates.*\.rio\.write_transform\(transform\)"
POINTS = [GroundControlPoint(r, c, 5 + c, 9 - r) for r, c in [(0, 0), (0, 9), (9, 0)]]

CALLS = {
    "function": lazycog.to_cog,
    "method": lambda array, dst: array.geo.to_cog(dst),
    "no overviews": lambda array, dst: array.geo.to_tiled_geotiff(dst),
    "lazy": lambda array, dst: array.geo.to_cog(dst, compute=False).compute(),
}


def placed(**coords):
    """Give a raster with coordinates, as an operation leaves it that drops the CRS."""
    coords = {"y": 100.0 - np.arange(60), "x": 7.0 + np.arange(80), **coords}
    return xr.DataArray(PIXELS, coords, dims=("y", "x"))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_coordinates_without_crs_are_told_once_at_the_callers_line(tmp_path, call):
    array = xr.where(placed().rio.write_crs("EPSG:32632") > 0, 1, 0).astype("uint8")
    array = array.drop_vars("spatial_ref", errors="ignore")

    with pytest.warns(lazycog.CogWarning, match=NO_CRS) as told:
        call(array, tmp_path / "a.tif")

    assert [each.filename for each in told] == [__file__]
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.crs, file.transform.c) == (None, 6.5)


def test_crs_without_coordinates_is_told(tmp_path):
    with pytest.warns(lazycog.CogWarning, match=NO_TRANSFORM):
        lazycog.to_cog(oracles.raster(PIXELS, transform=None), tmp_path / "a.tif")


def test_many_files_tell_it_once(tmp_path):
    cube = xr.concat([placed(), placed()], dim="time").assign_coords(time=[1, 2])

    with pytest.warns(lazycog.CogWarning, match=NO_CRS) as told:
        cube.geo.to_cogs(tmp_path / "{time}.tif", dim="time")

    assert [each.filename for each in told] == [__file__]
    assert len(list(tmp_path.iterdir())) == 2


def test_warning_as_an_error_writes_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(lazycog.CogWarning, match=NO_CRS):
            lazycog.to_cog(placed(), tmp_path / "a.tif")

    assert not list(tmp_path.iterdir())


def test_points_without_crs_are_told(tmp_path):
    array = oracles.raster(PIXELS, crs=None, transform=None)

    with pytest.warns(lazycog.CogWarning, match=NO_CRS):
        lazycog.to_cog(array, tmp_path / "a.tif", gcps=POINTS)


QUIET = {
    "all there": (oracles.raster(PIXELS), {}),
    "a plain image": (oracles.raster(PIXELS, crs=None, transform=None), {}),
    "coordinates and CRS": (placed().rio.write_crs("EPSG:32632"), {}),
    "points and their CRS": (
        oracles.raster(PIXELS, crs=None, transform=None),
        {"gcps": (POINTS, "EPSG:4326")},
    ),
}


@pytest.mark.parametrize(("array", "options"), QUIET.values(), ids=QUIET)
def test_nothing_is_told_of_a_complete_raster_or_a_plain_image(
    tmp_path, array, options
):
    lazycog.to_cog(array, tmp_path / "a.tif", **options)


def test_plan_says_it_in_its_text_alone():
    assert "crs          none; set it with" in str(placed().geo.plan())


def test_picture_says_nothing(tmp_path):
    placed().geo.quicklook(tmp_path / "a.png")


def test_command_line_says_it_in_one_line_and_writes(tmp_path):
    placed().rename("a").to_netcdf(tmp_path / "a.nc")
    call = ["convert", str(tmp_path / "a.nc"), str(tmp_path / "a.tif"), "--json"]

    outcome = CliRunner().invoke(_cli.cli, call)

    assert outcome.exit_code == 0, outcome.output
    assert re.fullmatch(rf"warning: .*{NO_CRS}\n", outcome.stderr)
    assert outcome.stdout.startswith("{")
    assert (tmp_path / "a.tif").exists()


CUTS = {
    "corner": (np.s_[100:, 50:], (100, 50)),
    "every other": (np.s_[::2, ::2], (0, 0)),
    "turned": (np.s_[::-1, :], (199, 0)),
    "one row": (np.s_[7:8, 20:], (7, 20)),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_part_of_a_rotated_raster_is_where_it_was(tmp_path, name):
    """Its pixels have the coordinates xc and yc; the GeoTransform is the whole's."""
    key, first = CUTS[name]
    whole = Affine(20, 5, 300000, 4, -21, 5000000)
    pixels = np.arange(200 * 300, dtype="uint16").reshape(200, 300)
    oracles.gdal_cog(tmp_path / "whole.tif", pixels, transform=whole)
    opened = lazycog.open_cog(tmp_path / "whole.tif")

    opened[0][key].geo.to_cog(tmp_path / "part.tif")

    rows, cols = (range(size)[each] for size, each in zip((200, 300), key, strict=True))
    with rasterio.open(tmp_path / "part.tif") as part:
        for row, col in [(0, 0), (part.height - 1, part.width - 1)]:
            expected = whole @ (cols[col] + 0.5, rows[row] + 0.5)
            np.testing.assert_allclose(part.xy(row, col), expected, rtol=1e-12)
    assert (rows[0], cols[0]) == first


def test_control_points_of_a_larger_raster_are_told(tmp_path):
    """A GeoTIFF of control points has no coordinates that would be cut."""
    points = [GroundControlPoint(*each) for each in [(0, 0, 5, 9), (60, 80, 6, 8)]]
    oracles.gdal_cog(tmp_path / "a.tif", PIXELS, crs="EPSG:4326", gcps=points)
    opened = lazycog.open_cog(tmp_path / "a.tif")

    with pytest.warns(lazycog.CogWarning, match="row 60 and column 80.*give gcps="):
        opened[:, 20:].geo.to_cog(tmp_path / "part.tif")
    opened.geo.to_cog(tmp_path / "whole.tif")


@pytest.mark.parametrize("many", [False, True], ids=["to_cog", "to_cogs"])
def test_variables_of_another_grid_are_told(tmp_path, many):
    """Bounds and weights are no rasters, and nobody misses them."""

    def write(dataset):
        if many:
            return dataset.geo.to_cogs(tmp_path / "{variable}.tif")
        return dataset.geo.to_cog(tmp_path / "fine.tif")

    array = oracles.raster(PIXELS)
    dataset = xr.Dataset(
        {
            "fine": array,
            "coarse": array.rename(y="y20", x="x20"),
            "time_bnds": (("time", "bnds"), np.zeros((1, 2))),
            "weight": ("y", np.ones(60)),
        },
        {"time": ("time", [0], {"bounds": "time_bnds"})},
    )

    with pytest.warns(lazycog.CogWarning, match=r"left out.*: coarse \(y20, x20\);"):
        write(dataset)

    assert [each.name for each in tmp_path.iterdir()] == ["fine.tif"]
