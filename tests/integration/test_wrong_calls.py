"""What a user sees after a wrong call: the rule, the value and what to do instead.

One short message of the right type, and the right exit code in a shell.
"""

from __future__ import annotations

import pathlib
import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import lazycog
import oracles
from lazycog import _cli
from lazycog.errors import (
    CapacityError,
    DestinationExistsError,
    InputError,
    MissingExtraError,
    OptionError,
    SinkError,
    SourceNotFoundError,
)

LONGEST = 420
"""Characters of a message: five lines of a terminal."""

# arguments, exit code, the value, and the remedy as the message says them
SHELL = [
    ("convert a.tif out.tif --compress zst", 2, "'zst'", "did you mean 'zstd'?"),
    ("convert f.tif out.tif --compress jpeg", 2, "float32", "lerc_zstd, jxl can"),
    (
        "convert a.tif out.tif --compress deflate --quality 80",
        2,
        "quality=80",
        "jpeg, webp, jxl have a quality",
    ),
    ("convert a.tif out.tif --compress zstd --level 99", 2, "level=99", "1 to 22"),
    ("convert a.tif out.tif --blocksize 100", 2, "100", "256, 512 and 1024 are usual"),
    ("convert a.tif out.tif --predictor 3", 2, "predictor=3", "use predictor=2"),
    ("convert a.tif out.tif --nodata abc", 2, "'abc'", "none in a shell"),
    ("convert a.tif out.tif --compression lzw", 2, "'--compression'", "'--compress'"),
    ("convert s3:/bucket/a.tif out.tif", 2, "s3:/bucket", "'s3://bucket/a.tif'"),
    ("convert a.tif s3:/bucket/a.tif", 2, "'s3:/bucket/a.tif'", "'s3://bucket/a.tif'"),
    ("convert a.tif out.tif --crs EPSG:4326", 2, "EPSG:4326", "nothing is reprojected"),
    ("convert a.tif out.tif --crs nowhere", 2, "nowhere", "give one as EPSG:32632"),
    ("convert a.tif out.tif --nodata 70000", 2, "70000", "choose a value of that type"),
    ("convert a.tif out.tif --mask", 2, "mask=True", "say nodata="),
    ("convert a.tif out.tif --overview-resampling cubik", 2, "'cubik'", "'cubic'?"),
    ("convert a.tif out.tif --bands 7", 2, "no band 7", "numbered 1 to 2"),
    ("convert a.tif out.tif --co COMPRES=LZW", 2, "'COMPRES'", "'COMPRESS'?"),
    ("convert a.tif out.tif --co NOSUCH=1", 2, "'NOSUCH'", "drop it"),
    ("convert none.tif out.tif", 2, "none.tif", "no such file or folder"),
    ("convert text.tif out.tif", 2, "text.tif", "a raster that GDAL reads"),
    ("convert folder out.tif", 2, "folder", "a source is a Zarr store"),
    ("convert a.tif none/out.tif", 2, "/none", "make it first"),
    ("convert a.tif folder", 2, "/folder", "add a file name"),
    ("convert a.tif a.tif", 2, "a.tif", "choose another destination"),
    ("convert a.tif text.tif --no-overwrite", 2, "text.tif", "remove it or allow it"),
    ("convert a.tif http://a.org/b.tif", 2, "http://a.org", "object store"),
    ("convert a.tif nosuch://a/b.tif", 2, "'nosuch'", "use a path, or s3://"),
    ("convert a.tif out.tif --group g", 2, "group='g'", "leave it out"),
    ("convert a.tif out.tif --source-option k=v", 2, "(k)", "leave them out"),
    ("convert two.zarr out.tif --variable c", 2, "'c'", "it has a, b"),
    ("convert two.zarr out.tif --group g", 2, "'g'", "name one that is there"),
    ("convert a.tif out.tif --zoom-level 3", 2, "zoom_level=3", "name a scheme"),
    ("convert a.tif out.tif --threads 0", 2, "0", "x>=1"),
    ("convert a.tif", 2, "'DST'", "convert --help"),
    ("convert a.tif out.tif --compres lzw", 2, "'--compres'", "'--compress'"),
    ("konvert a.tif", 2, "'konvert'", "'convert'?"),
    ("plan a.tif --bigtiff maybe", 2, "'maybe'", "choose one of"),
    ("plan a.tif --part-size 5", 2, "part_size=5", "takes 5242880 to"),
    ("info none.tif", 2, "none.tif", "give another path"),
    ("info folder", 2, "folder", "give the path of a file"),
    ("info text.tif", 2, "text.tif", "path or URL of a GeoTIFF"),
    ("validate folder", 2, "folder", "give the path of a file"),
    ("view https://a.org/b.tif", 2, "https://a.org/b.tif", "lazycog quicklook"),
    ("view a.tif --port 99999", 2, "99999", "1<=x<=65535"),
    ("quicklook a.tif a.bmp", 2, "a.bmp", "ends in .png"),
    ("quicklook a.tif a.png --bands 1,2", 2, "('1', '2')", "give one (grey) or three"),
    ("quicklook a.tif none/a.png", 2, "none", "make it first"),
    ("abort-stale a.tif --older-than 5x", 2, "'5x'", "for example '7d'"),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Give a folder with sources, good and bad."""
    path = tmp_path_factory.mktemp("sources")
    pixels = np.arange(2 * 60 * 80, dtype="uint16").reshape(2, 60, 80)
    oracles.write(oracles.raster(pixels), path / "a.tif")
    oracles.write(oracles.raster(pixels[0].astype("float32")), path / "f.tif")
    (path / "text.tif").write_text("hello")
    (path / "folder").mkdir()
    plane = (("y", "x"), np.zeros((8, 8), "uint8"))
    xr.Dataset({"a": plane, "b": plane}).to_zarr(path / "two.zarr", zarr_format=2)
    return path


@pytest.fixture
def folder(tmp_path, sources, monkeypatch):
    """Work in a folder with links to the sources."""
    monkeypatch.chdir(tmp_path)
    for each in sources.iterdir():
        (tmp_path / each.name).symlink_to(each)
    return tmp_path


@pytest.mark.parametrize(("call", "code", "value", "remedy"), SHELL)
def test_wrong_call_in_a_shell(folder, call, code, value, remedy):
    before = sorted(folder.iterdir())

    outcome = CliRunner().invoke(_cli.cli, call.split(), prog_name="lazycog")

    message = outcome.stderr
    assert outcome.exit_code == code
    assert outcome.stdout == ""
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert value in message
    assert remedy in message
    assert len(message) < LONGEST
    assert "Traceback" not in message
    assert sorted(folder.iterdir()) == before


def plane(*shape, dtype="uint8"):
    return oracles.raster(np.zeros(shape, dtype))


def write(array=None, dst="out.tif", **options):
    lazycog.to_cog(plane(64, 80) if array is None else array, dst, **options)


def with_y(values):
    coords = {"y": values, "x": [0, 1, 2]}
    return xr.DataArray(np.zeros((3, 3)), coords, dims=("y", "x"))


def huge():
    return oracles.raster(da.zeros((70000, 70000), dtype="uint8", chunks=4096))


# call, error, the value, and the remedy as the message says them
PYTHON = {
    "not a raster": (
        lambda: write(np.eye(3)),
        InputError,
        "ndarray",
        "xarray.DataArra",
    ),
    "one dim": (
        lambda: write(xr.DataArray(np.zeros(4), dims="x")),
        InputError,
        "('x',)",
        "name them 'y' and 'x'",
    ),
    "other dims": (
        lambda: write(xr.DataArray(np.eye(4), dims=("a", "b"))),
        InputError,
        "('a', 'b')",
        "name them 'y' and 'x'",
    ),
    "uneven": (lambda: write(with_y([0, 1, 5])), InputError, "'y'", ".interp()"),
    "dates": (
        lambda: write(plane(4, 4, dtype="M8[ns]")),
        InputError,
        "datetime64[ns]",
        ".astype('int64')",
    ),
    "empty": (lambda: write(plane(0, 4)), InputError, "(1, 0, 4)", "the selection"),
    "several types": (
        lambda: write(xr.Dataset({"a": plane(4, 4), "b": plane(4, 4, dtype="f4")})),
        InputError,
        "'b': 'float32'",
        "promote=True",
    ),
    "one type to cast": (
        lambda: write(plane(4, 4), promote=True),
        OptionError,
        "promote=True",
        "leave it out",
    ),
    "no variables": (lambda: write(xr.Dataset()), InputError, "[]", "name them"),
    "codec and bands": (
        lambda: write(compress="webp"),
        OptionError,
        "1 bands of dtype uint8",
        "zstd",
    ),
    "quality": (
        lambda: write(plane(3, 64, 80), compress="jpeg", quality=0),
        OptionError,
        "quality=0",
        "1 to 100",
    ),
    "shape of a mask": (
        lambda: write(mask=np.ones((3, 3), bool)),
        OptionError,
        "(3, 3)",
        "(64, 80)",
    ),
    "driver": (
        lambda: write(driver="COG"),
        OptionError,
        "'driver'",
        "always a COG, so drop it",
    ),
    "lost slash": (
        lambda: write(dst=pathlib.Path("gs://bucket/a.tif")),
        OptionError,
        "'gs:/bucket/a.tif'",
        "'gs://bucket/a.tif', as text",
    ),
    "lost slash of a source": (
        lambda: lazycog.open_cog(pathlib.Path("https://a.org/b.tif")),
        InputError,
        "https:/a.org/b.tif",
        "'https://a.org/b.tif', as text",
    ),
    "option": (lambda: write(compres="lzw"), OptionError, "'compres'", "'compress'?"),
    "profile": (
        lambda: write(profile="deflate"),
        OptionError,
        "'deflate'",
        "for example {'COMPRESS'",
    ),
    "nodata": (lambda: write(nodata=-1), OptionError, "nodata=-1", "nodata=None"),
    "nodata text": (lambda: write(nodata="x"), OptionError, "'x'", "give a number"),
    "descriptions": (
        lambda: write(descriptions="red"),
        OptionError,
        "'red'",
        "one value per band, 1 here",
    ),
    "colour": (
        lambda: write(colormap={0: (1, 2, 300)}),
        OptionError,
        "(1, 2, 300)",
        "each 0 to 255",
    ),
    "control points": (
        lambda: write(gcps=[1, 2]),
        OptionError,
        "[1, 2]",
        "rasterio.control.GroundControlPoint",
    ),
    "classic TIFF": (
        lambda: write(huge(), bigtiff=False, compress="none"),
        CapacityError,
        "4294967295",
        "use bigtiff='auto'",
    ),
    "lock": (lambda: write(lock="yes"), OptionError, "'yes'", "give None, True"),
    "progress": (lambda: write(progress="yes"), OptionError, "'yes'", "choose one of"),
    "compute": (lambda: write(compute="no"), OptionError, "'no'", "True, False"),
    "resume and lazy": (
        lambda: write(resume=True, compute=False),
        OptionError,
        "resume=True",
        "drop one",
    ),
    "web server": (
        lambda: write(dst="http://a.org/b.tif", resume=True),
        OptionError,
        "http://a.org",
        "object store",
    ),
    "resume elsewhere": (
        lambda: write(dst="memory://a/b.tif", resume=True),
        OptionError,
        "memory://a",
        "write to a path",
    ),
    "destination": (lambda: write(dst=5), OptionError, "dst=5", "give a path, a URL"),
    "exists": (
        lambda: write(dst="text.tif", overwrite=False),
        DestinationExistsError,
        "text.tif",
        "remove it or allow it",
    ),
    "unwritable": (
        lambda: write(dst="/proc/out.tif"),
        SinkError,
        "/proc",
        "choose another",
    ),
    "no folder": (
        lambda: write(dst="none/out.tif"),
        SinkError,
        "none",
        "make it first",
    ),
    "level": (lambda: lazycog.open_cog("a.tif", 9), OptionError, "level=9", "0 to 0"),
    "missing": (
        lambda: lazycog.open_cog("none.tif"),
        SourceNotFoundError,
        "none.tif",
        "give another path",
    ),
    "nothing to validate": (
        lambda: lazycog.validate("none.tif"),
        SourceNotFoundError,
        "none.tif",
        "give another path",
    ),
    "chunks": (
        lambda: lazycog.open_cog("a.tif", chunks=-5),
        OptionError,
        "chunks=-5",
        "give 'auto', a number above 0",
    ),
    "options of a path": (
        lambda: lazycog.open_cog("a.tif", storage_options={"key": 1}),
        OptionError,
        "(key)",
        "leave them out",
    ),
    "names of files": (
        lambda: plane(2, 8, 8).geo.to_cogs("a.tif", dim="band"),
        OptionError,
        "'a.tif'",
        "put {band} into the name",
    ),
    "dim of files": (
        lambda: plane(8, 8).geo.to_cogs("{t}.tif", dim="t"),
        OptionError,
        "dim='t'",
        "['y', 'x']",
    ),
    "band of a picture": (
        lambda: lazycog.quicklook("a.tif", "a.png", bands=["red"]),
        InputError,
        "'red'",
        "numbered 1 to 2",
    ),
    "not lazy": (lambda: lazycog.abort(5), OptionError, "int", "compute=False"),
}


@pytest.mark.parametrize("name", PYTHON)
def test_wrong_call_in_python(folder, name):
    call, kind, value, remedy = PYTHON[name]
    before = sorted(folder.iterdir())

    with pytest.raises(kind) as caught:
        call()

    message = str(caught.value)
    assert type(caught.value) is kind
    assert value in message
    assert remedy in message
    assert len(message) < LONGEST
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("module", "call", "remedy"),
    [
        ("s3fs", lambda: write(dst="s3://bucket/a.tif"), "lazycog[s3]"),
        ("adlfs", lambda: write(dst="az://box/a.tif"), "lazycog[azure]"),
        ("gcsfs", lambda: write(dst="gs://bucket/a.tif"), "lazycog[gcs]"),
        (
            "odc.geo",
            lambda: write(tiling_scheme="GoogleMapsCompatible"),
            "lazycog[web]",
        ),
    ],
)
def test_missing_extra_says_what_to_install(monkeypatch, module, call, remedy):
    for name in [each for each in sys.modules if each.startswith(module)] + [module]:
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(MissingExtraError) as caught:
        call()

    assert module.partition(".")[0] in str(caught.value).replace("-", ".")
    assert remedy in str(caught.value)
    assert len(str(caught.value)) < LONGEST
