"""Options: each checked on its own and against the others, profiles translated."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from lazycog._options import CogOptions, OptionDict
from lazycog._profile import PROFILE_KEYS, from_profile
from lazycog.errors import OptionError


def test_defaults_are_what_the_documentation_says():
    """Lossless and quick, with what a map server expects."""
    options = CogOptions()

    assert (options.compress, options.blocksize) == ("zstd", 512)
    assert (options.predictor, options.interleave) == ("auto", "auto")
    assert (options.bigtiff, options.nodata) == ("auto", "auto")
    assert options.overwrite
    assert options.statistics


def test_options_are_a_value():
    """Frozen, comparable and able to travel to workers."""
    options = CogOptions(compress="lzw", blocksize=256)

    assert options == CogOptions(blocksize=256, compress="lzw")
    assert pickle.loads(pickle.dumps(options)) == options
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        options.blocksize = 512


def test_type_checkers_know_every_option():
    """The typed dictionary and the dataclass name the same options."""
    assert set(OptionDict.__annotations__) == {each.name for each in fields(CogOptions)}


def test_the_callers_mappings_are_left_alone():
    """Neither the keywords nor the profile are changed."""
    profile = {"COMPRESS": "LZW", "BLOCKXSIZE": 256}
    options = {"profile": profile, "overwrite": False}

    CogOptions.from_mapping(options)

    assert profile == {"COMPRESS": "LZW", "BLOCKXSIZE": 256}
    assert options == {"profile": profile, "overwrite": False}


def test_storage_options_are_not_shown():
    """They may hold a secret."""
    options = CogOptions(storage_options={"secret": "hunter2"})

    assert "hunter2" not in repr(options)


PROFILES = [
    ({"COMPRESS": "DEFLATE"}, {"compress": "deflate"}),
    ({"compress": "lzw"}, {"compress": "lzw"}),
    ({"LEVEL": "6"}, {"level": 6}),
    ({"ZLEVEL": 6}, {"level": 6}),
    ({"ZSTD_LEVEL": "22"}, {"level": 22}),
    ({"PREDICTOR": "YES"}, {"predictor": "auto"}),
    ({"PREDICTOR": "NO"}, {"predictor": 1}),
    ({"predictor": 2}, {"predictor": 2}),
    ({"PREDICTOR": "FLOATING_POINT"}, {"predictor": 3}),
    ({"BLOCKSIZE": "256"}, {"blocksize": 256}),
    ({"blockxsize": 256, "blockysize": 256}, {"blocksize": 256}),
    ({"INTERLEAVE": "BAND"}, {"interleave": "band"}),
    ({"RESAMPLING": "NEAREST"}, {"overview_resampling": "nearest"}),
    ({"OVERVIEW_RESAMPLING": "MODE"}, {"overview_resampling": "mode"}),
    ({"OVERVIEW_COUNT": "3"}, {"overview_count": 3}),
    ({"OVERVIEWS": "NONE"}, {"overview_count": 0}),
    ({"OVERVIEWS": "AUTO"}, {"overview_count": None}),
    ({"BIGTIFF": "YES"}, {"bigtiff": True}),
    ({"BIGTIFF": "NO"}, {"bigtiff": False}),
    ({"BIGTIFF": "IF_SAFER"}, {"bigtiff": "auto"}),
    ({"STATISTICS": "NO"}, {"statistics": False}),
    ({"nodata": -9999}, {"nodata": -9999}),
    ({"nodata": "nan"}, {"nodata": pytest.approx(float("nan"), nan_ok=True)}),
    ({"nodata": None}, {"nodata": None}),
    ({"nodata": 2**60 + 1}, {"nodata": 2**60 + 1}),
    ({"driver": "COG", "tiled": True}, {}),
    ({"driver": "GTiff", "COPY_SRC_OVERVIEWS": "YES"}, {}),
]


@pytest.mark.parametrize(("profile", "expected"), PROFILES, ids=str)
def test_creation_options_in_gdals_and_rasterios_words(profile, expected):
    """Any case, numbers as text or not."""
    assert from_profile(profile) == (expected, {})


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"COMPRES": "LZW"}, "unknown creation option 'COMPRES'.*mean 'COMPRESS'"),
        ({"BLOCKXSIZE": 256, "BLOCKYSIZE": 512}, "BLOCKYSIZE=512; keep one"),
        ({"ZLEVEL": "six"}, "ZLEVEL='six': give a whole number"),
        ({"BLOCKSIZE": 256.5}, "BLOCKSIZE=256.5: give a whole number"),
        ({"BIGTIFF": "MAYBE"}, "BIGTIFF='MAYBE': give one of YES, NO"),
        ({"STATISTICS": "PERHAPS"}, "STATISTICS='PERHAPS': give one of"),
        ({"OVERVIEWS": "SOME"}, "OVERVIEWS='SOME': give one of"),
        ({"NODATA": "abc"}, "NODATA='abc': give a number or None"),
        ({"TILED": "NO"}, "TILED='NO' cannot be honoured"),
        ({"DRIVER": "PNG"}, "DRIVER='PNG' cannot be honoured"),
        ("COMPRESS=LZW", "profile='COMPRESS=LZW': give a mapping"),
    ],
    ids=str,
)
def test_creation_options_that_are_wrong(profile, message):
    """Never ignored: GDAL itself warns at most."""
    with pytest.raises(OptionError, match=message):
        from_profile(profile)


def test_every_creation_option_leads_to_an_option():
    """No key translates to a word that does not exist."""
    names = {each.name for each in fields(CogOptions)}

    assert {name for name, _ in PROFILE_KEYS.values()} <= names


def test_profile_and_keyword_may_agree():
    """The same value twice is no contradiction."""
    twice = {"profile": {"COMPRESS": "LZW"}, "compress": "lzw"}

    options = CogOptions.from_mapping(twice)

    assert options.compress == "lzw"
    assert options.profile is None


@pytest.mark.parametrize("value", [1, "yes", None, "true"], ids=repr)
@pytest.mark.parametrize("name", ["statistics", "overwrite"])
def test_a_switch_takes_true_and_false_only(name, value):
    """1 and "yes" would work today and surprise tomorrow."""
    with pytest.raises(OptionError, match=f"{name}=.*choose one of True, False"):
        CogOptions(**{name: value})


@pytest.mark.parametrize("level", [1, 12])
def test_the_ends_of_a_range_are_in_it(level):
    """Deflate takes 1 to 12, as libdeflate does."""
    assert CogOptions(compress="deflate", level=level).level == level


@pytest.mark.parametrize("blocksize", [16, 48, 512, 16384])
def test_any_multiple_of_16_is_a_blocksize(blocksize):
    """Not only powers of two."""
    assert CogOptions(blocksize=blocksize).blocksize == blocksize
