"""What xarray's arithmetic keeps of the raster that something is computed from.

Attributes of the scene stay on its NDVI or its mean, where they may be wrong.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from click.testing import CliRunner

import lazycog
import oracles
from lazycog import _cli
from lazycog.errors import CogWarning

SHAPE = (3, 48, 64)
# 0 / 0 where the scene has no data
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")


@pytest.fixture
def scene(tmp_path):
    """Give a file of integers: a nodata value, names, units, a scale and an offset."""
    pixels = np.random.default_rng(5).integers(1, 99, SHAPE).astype("uint16")
    pixels[2, 7] = pixels[0, 7]  # NDVI = 0
    pixels[:, 9] = 0
    array = oracles.raster(
        pixels,
        long_name=("red", "green", "nir"),
        units=("DN",) * 3,
        scale_factor=1e-4,
        add_offset=-0.1,
    )
    path = tmp_path / "scene.tif"
    oracles.write(array, path, nodata=0)
    return path


def ndvi(scene):
    red, nir = scene[0].astype("float32"), scene[2].astype("float32")
    return (nir - red) / (nir + red)


def written(array, folder, **options):
    oracles.write(array, folder / "out.tif", **options)
    with rasterio.open(folder / "out.tif") as dataset:
        return dataset.profile, dataset.read(1, masked=True), dataset.descriptions


def test_an_integers_nodata_on_floats_is_warned_of(scene, tmp_path):
    """An NDVI of 0 is valid, whatever 0 meant in the scene."""
    index = ndvi(lazycog.open_cog(scene))

    with pytest.warns(CogWarning) as told:
        profile, pixels, _ = written(index, tmp_path)

    (fill,) = [str(each.message) for each in told if "_FillValue" in str(each.message)]
    assert "_FillValue of uint16" in fill
    assert "nodata=float('nan')" in fill
    assert "keep_attrs=False" in fill
    assert "scales=[0.0001] and offsets=[-0.1] stay" in fill
    assert len(fill) < 420
    assert profile["nodata"] == 0.0
    assert pixels.mask[7].all()  # which the warning is about


def test_what_the_caller_says_is_not_warned_of(scene, tmp_path):
    """Options go before attributes, wrong ones included."""
    index = ndvi(lazycog.open_cog(scene))

    profile, pixels, names = written(
        index,
        tmp_path,
        nodata=float("nan"),
        descriptions=["ndvi"],
        units=[None],
        scales=[1],
        offsets=[0],
    )

    assert np.isnan(profile["nodata"])
    assert not pixels.mask[7].any()
    assert pixels.mask[9].all()
    assert names == ("ndvi",)


def test_the_remedy_leaves_nothing_behind(scene, tmp_path):
    """Neither a nodata value, nor names, nor a scale."""
    opened = lazycog.open_cog(scene)
    with xr.set_options(keep_attrs=False):
        index = ndvi(opened)

    profile, pixels, names = written(index.rio.write_crs(opened.rio.crs), tmp_path)

    assert np.isnan(profile["nodata"])
    assert not pixels.mask[7].any()
    assert names == (None,)


def test_a_masked_scene_is_written_in_silence(scene, tmp_path):
    """rioxarray keeps the file's own nodata in the encoding, where it is right."""
    masked = rioxarray.open_rasterio(scene, masked=True)

    _, pixels, names = written(masked, tmp_path)

    assert names == ("red", "green", "nir")
    assert pixels.mask[9].all()
    assert not pixels.mask[7].any()


def test_a_nodata_value_that_was_written_is_meant(scene, tmp_path):
    """rioxarray gives it the type of the pixels."""
    with xr.set_options(keep_attrs=False):
        index = ndvi(lazycog.open_cog(scene)).fillna(-2)

    profile, pixels, _ = written(index.rio.write_nodata(-2), tmp_path)

    assert profile["nodata"] == -2
    assert pixels.mask[9].all()


def test_a_cast_that_was_asked_for_keeps_the_nodata_value(scene):
    """promote=True casts pixels, 0 means missing as before."""
    opened = lazycog.open_cog(scene)[0].drop_attrs(deep=False).rio.write_nodata(0)
    floats = opened.astype("float32").rio.write_nodata(0)

    dataset = xr.Dataset({"a": opened, "b": floats})
    assert dataset.geo.plan(promote=True).encoding.nodata == 0


OPENERS = {
    "open_cog": lazycog.open_cog,
    "masked": lambda path: rioxarray.open_rasterio(path, masked=True),
    "decoded": lambda path: rioxarray.open_rasterio(path, mask_and_scale=True),
}
COMPUTED = {"ndvi": ndvi, "mean": lambda scene: scene.astype("f4").mean("band")}


@pytest.mark.parametrize("compute", COMPUTED)
@pytest.mark.parametrize("opener", OPENERS)
def test_names_of_other_bands_are_left_out(scene, tmp_path, opener, compute):
    """With one warning; the write goes on."""
    computed = COMPUTED[compute](OPENERS[opener](scene))

    with pytest.warns(CogWarning) as told:
        _, pixels, names = written(computed, tmp_path, nodata=float("nan"))

    (message,) = [str(each.message) for each in told if each.category is CogWarning]
    assert "long_name (3 values) and units (3 values)" in message
    assert "say descriptions=, units= for its own" in message
    assert len(message) < 420
    assert names == (None,)
    np.testing.assert_array_equal(pixels.data, computed)


def test_a_line_of_a_dataset_is_warned_of_once(scene):
    """Not once per variable."""
    opened = lazycog.open_cog(scene)
    both = xr.Dataset({name: ndvi(opened) for name in "ab"})

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        both.geo.plan(nodata=float("nan"))

    assert len([each for each in told if each.category is CogWarning]) == 1


def test_a_shell_is_warned_once(scene, tmp_path):
    """convert plans before it writes."""
    opened = lazycog.open_cog(scene)
    store = tmp_path / "ndvi.zarr"
    opened[0].drop_vars("band").to_dataset(name="red").to_zarr(store, zarr_format=2)

    outcome = CliRunner().invoke(
        _cli.cli, ["convert", str(store), str(tmp_path / "a.tif"), "--no-statistics"]
    )

    assert outcome.exit_code == 0, outcome.output
    assert outcome.stderr.count("left out: long_name (3 values)") == 1


def test_an_option_of_the_wrong_length_is_still_an_error(scene, tmp_path):
    """What the caller says is no heirloom."""
    with pytest.raises(lazycog.OptionError, match="one value per band, 1 here"):
        written(ndvi(lazycog.open_cog(scene)), tmp_path, descriptions=["a", "b"])
