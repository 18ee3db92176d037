"""Text and HTML of plans and results."""

from __future__ import annotations

import base64
import math
import re
import warnings
from xml.etree import ElementTree as ET

import dask.array
import numpy as np
import pytest
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

import lazycog
import oracles
from lazycog import _picture, _pyramid, _views

SVG = "{http://www.w3.org/2000/svg}"


def plan_of(shape=(12, 30000, 20001), dtype="uint16", **options):
    pixels = dask.array.zeros(shape, dtype=dtype, chunks=(1, 4096, 4096))
    return lazycog.plan(xr.DataArray(pixels, dims=("band", "y", "x")), **options)


def decoded(png):
    with warnings.catch_warnings(), MemoryFile(png, ext=".png") as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="PNG") as picture:
            return picture.read()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    row, col = np.mgrid[:700, :900]
    pixels = np.stack([row, col, row + col]).astype("uint16") + 1
    pixels[:, :50] = 0
    path = tmp_path_factory.mktemp("views") / "a<b>.tif"
    return oracles.write(oracles.raster(pixels, nodata=0), path, blocksize=128)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.00 kB"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_600, "1.00 MB"),
        (1.5e9, "1.50 GB"),
        (1e19, "10000 PB"),
    ],
)
def test_bytes_have_three_digits_and_a_unit(count, text):
    assert _views.human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.9, "59.9 s"), (59.97, "1 min 00 s"), (3600, "1 h 00 min")],
)
def test_seconds_turn_into_minutes_and_hours(seconds, text):
    assert _views.human_seconds(seconds) == text


def test_plan_says_levels_tasks_memory_and_size():
    plan = plan_of()

    text = str(plan)

    assert repr(plan) == text
    assert text.startswith("CogPlan 20001 x 30000, 12 bands of uint16")
    assert "10000 x 15000" in text
    assert f"{plan.total_tiles} tiles" in text
    assert str(plan.task_count) in text
    assert f"{_views.human_bytes(plan.peak_bytes(8))} (8)" in text
    assert "interleave   band" in text
    assert re.search(r"compression +zstd, level \d+", text)


@pytest.mark.parametrize(
    ("bigtiff", "said"),
    [("auto", "decided by the real size"), (True, "yes")],
)
def test_plan_says_how_bigtiff_is_chosen(bigtiff, said):
    assert f"BigTIFF      {said}" in str(plan_of(bigtiff=bigtiff))


@pytest.mark.parametrize(
    ("crs", "placed", "said"),
    [
        (None, False, "none"),
        (None, True, "none; set it with .rio.write_crs('EPSG:...')"),
        ("EPSG:32632", False, "EPSG:32632, but no coordinates"),
        ("EPSG:32632", True, "EPSG:32632"),
        ("+proj=laea +lat_0=50 +lon_0=10", True, "unknown (no code)"),
    ],
)
def test_plan_says_which_crs_the_file_will_have(crs, placed, said):
    place = {} if placed else {"transform": None}
    raster = oracles.raster(np.zeros((9, 9), "uint8"), crs=crs, **place)

    assert f"crs          {said}\n" in str(raster.geo.plan())


def test_small_plan_is_no_bigtiff_and_has_no_overviews():
    text = str(plan_of((1, 100, 100), "float32", compress="none"))

    assert "BigTIFF      no" in text
    assert "overviews    none" in text
    assert "nodata       nan" in text
    assert "compression  none\n" in text


def test_plan_html_holds_a_well_formed_picture_of_every_level():
    html = plan_of((1, 3000, 5000))._repr_html_()

    data = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert data is not None
    root = ET.fromstring(base64.b64decode(data[1]))  # noqa: S314 - our own text
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert titles[0] == "level 0: 5000 x 3000"
    assert [each.text for each in root.iter(f"{SVG}text")] == list("01234")
    assert "thin lines: tiles, thick lines: chunks" in html


def test_plan_html_has_no_drawing_that_notebooks_drop():
    """Jupyter strips SVG from notebooks that are not trusted, and leaves its text."""
    html = plan_of((1, 3000, 5000))._repr_html_()

    assert "<svg" not in html
    assert "level 0:" not in html


@pytest.mark.parametrize("size", [(500, 60000), (100000, 3000), (1, 1), (40001, 90000)])
def test_plan_of_any_shape_has_a_picture_to_see(size):
    root = ET.fromstring(_pyramid.plan_svg(plan_of((1, *size))))  # noqa: S314
    first = next(root.iter(f"{SVG}rect")).attrib

    assert float(first["width"]) >= 24
    assert float(first["height"]) >= 24
    assert float(root.attrib["width"]) <= 650
    assert len(ET.tostring(root)) < 60_000


def test_result_repr_says_size_ratio_and_levels(result):
    text = repr(result)

    assert _views.human_bytes(result.size) in text
    assert "compression ratio" in text
    assert "900 x 700" in text
    assert str(result) == result.path


def test_result_html_escapes_the_path_and_holds_a_picture(result):
    html = result._repr_html_()

    assert "a&lt;b&gt;.tif" in html
    assert "a<b>" not in html
    assert "data:image/png;base64," in html
    assert "bands 1, 2, 3 as red, green, blue; 2 % to 98 %" in html


def test_picture_of_a_narrow_result_is_longer(tmp_path):
    pixels = np.arange(40 * 900, dtype="uint16").reshape(1, 40, 900)
    path = tmp_path / "a.tif"
    html = oracles.write(
        oracles.raster(pixels), path, descriptions=["<a>"]
    )._repr_html_()

    png = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert decoded(base64.b64decode(png[1])).shape == (2, 28, 640)
    assert "band &lt;a&gt;; 2 %" in html


def test_result_html_survives_a_missing_file():
    gone = lazycog.CogResult(
        path="/nowhere/gone.tif",
        size=0,
        bigtiff=False,
        levels=(),
        raw_bytes=0,
        duration=0.0,
        statistics=(),
    )

    assert "data:image" not in gone._repr_html_()
    assert repr(gone).startswith("CogResult /nowhere/gone.tif")


def test_picture_is_small_and_transparent_where_nodata_is(result):
    png = _picture.picture(result.path, max_side=64)

    pixels = decoded(png)
    assert (len(pixels), max(pixels.shape[1:])) == (4, 64)
    alpha = pixels[3]
    assert alpha[0].max() == 0
    assert alpha[-1].min() == 255


def test_picture_takes_the_smallest_level_that_is_large_enough(result):
    png = _picture.picture(result.path, max_side=1000, min_side=400)

    assert decoded(png).shape[1:] == (350, 450)


def test_picture_of_a_constant_or_missing_raster_does_not_fail(tmp_path):
    for name, value in (("constant", 7.0), ("missing", math.nan)):
        pixels = np.full((40, 50), value, "float32")
        path = tmp_path / f"{name}.tif"
        oracles.write(oracles.raster(pixels), path)

        assert _picture.picture(str(path), max_side=32).startswith(b"\x89PNG")


def test_picture_leaves_no_side_file(tmp_path):
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(np.ones((40, 50), "uint8")), path)

    _picture.picture(str(path), max_side=32)

    assert [each.name for each in tmp_path.iterdir()] == ["a.tif"]
