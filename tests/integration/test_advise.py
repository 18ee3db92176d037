"""Advice on codecs: its figures are those of the file, its choice is by its rule."""

from __future__ import annotations

import json
import sys

import dask.array
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import lazycog
import oracles
from lazycog import _advice, _advice_view, _cli, _exits, _raster, _trial
from lazycog._advice import Advice, Candidate, Figures
from lazycog._options import CogOptions

SIDE = 1024


def stationary(dtype, count=1, side=SIDE):
    """The same everywhere: a fine wave and noise."""
    random = np.random.default_rng(5)
    rows, cols = np.mgrid[:side, :side]
    wave = 100 + 20 * np.sin(rows / 9) * np.sin(cols / 7)
    noise = 8 * random.standard_normal((count, side, side))
    return (wave + noise).astype(dtype)


def array(pixels, chunk=512):
    lazy = dask.array.from_array(pixels, chunks=(-1, chunk, chunk))
    return xr.DataArray(lazy, dims=("band", "y", "x"))


def advise(raster, names, *, goal="balance", samples=None, bound=0.0, **options):
    chosen = CogOptions(**options)
    return _trial.advise(
        _raster.as_raster(raster, chosen),
        chosen,
        _advice.candidates(names, bound),
        goal,
        samples=samples,
    )


CASES = [
    ("uint16", 4, ["deflate:6", "zstd:3", "lzw"], 0, {}),
    ("uint16", 4, ["zstd:3"], 0, {"interleave": "band"}),
    ("float32", 1, ["deflate:6", "lerc_zstd:9"], 0.05, {}),
    ("uint8", 3, ["webp", "jpeg"], 0, {}),
    ("int16", 1, ["none"], 0, {"blocksize": 64}),
]


@pytest.mark.parametrize(
    ("dtype", "count", "names", "bound", "options"),
    CASES,
    ids=["uint16", "planes", "float32", "uint8", "small tiles"],
)
def test_predicted_size_is_that_of_the_file(
    tmp_path, dtype, count, names, bound, options
):
    raster = array(stationary(dtype, count))
    options = {"blocksize": 128, **options}

    found = advise(raster, names, samples=4, bound=bound, **options)

    assert found.sampled_bytes < 0.3 * found.raw_bytes
    assert {each.candidate.compress for each in found.figures} >= {
        name.partition(":")[0] for name in names
    }
    for each in found.figures:
        result = lazycog.to_cog(
            raster,
            tmp_path / "a.tif",
            progress=False,
            **{**options, **each.candidate.options},
        )
        assert each.file_bytes == pytest.approx(result.size, rel=0.03), each.candidate
        assert each.ratio == pytest.approx(result.raw_bytes / result.size, rel=0.03)


@pytest.mark.parametrize("bound", [0.5, 3])
@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_largest_error_is_what_gdal_reads(tmp_path, dtype, bound):
    pixels = stationary(dtype, side=512)

    found = advise(array(pixels), ["zstd:3", "lerc"], samples=9, bound=bound)

    moved = any(each.max_error > 0 for each in found.figures)
    assert moved == (dtype == "float32" or bound >= 1)
    for each in found.figures:
        path = tmp_path / "a.tif"
        lazycog.to_cog(array(pixels), path, progress=False, **each.candidate.options)
        read = oracles.gdal_levels(path)[0]
        errors = np.abs(read.astype("f8") - pixels.astype("f8"))
        assert each.max_error == errors.max(), each.candidate


ONE_OF_EACH = [
    *("none", "lzw", "packbits", "deflate:1", "zstd:1", "lzma:0"),
    *("lerc", "lerc_deflate:1", "lerc_zstd:1", "webp", "jxl:1"),
]


@pytest.mark.parametrize(
    ("dtype", "interleave"),
    [
        *((each, "pixel") for each in ("bool", "uint8", "int8", "uint16", "int32")),
        *((each, "pixel") for each in ("uint64", "float16", "float64", "complex64")),
        *((each, "band") for each in ("uint8", "float32")),
        *((each, "tile") for each in ("uint8", "float32")),
    ],
)
def test_lossless_candidates_give_every_pixel_back(dtype, interleave):
    """Odd edges, missing pixels; a predictor undone wrongly would show."""
    high = 2 if dtype == "bool" else 100
    pixels = np.random.default_rng(1).integers(0, high, (3, 131, 77)).astype(dtype)
    if np.dtype(dtype).kind in "fc":
        pixels[:, :9, :9] = np.nan
    for predictor in ("auto", 2) if np.dtype(dtype).kind != "c" else ("auto",):
        found = advise(
            array(pixels, 100),
            ONE_OF_EACH,
            samples=1,
            blocksize=64,
            interleave=interleave,
            predictor=predictor,
        )
        kept = [each for each in found.figures if each.candidate.is_bounded]
        assert len(kept) + len(found.skipped) == len(ONE_OF_EACH) + 1
        assert len(kept) >= 5
        assert {each.max_error for each in kept} == {0.0}


def test_samples_are_spread_evenly_and_little_is_read():
    read = []

    def chunk(block_info=None):
        read.append(block_info[None]["chunk-location"])
        shape = block_info[None]["chunk-shape"]
        return np.random.default_rng(0).integers(0, 999, shape).astype("uint16")

    sides = (1024,) * 16
    lazy = dask.array.map_blocks(chunk, dtype="uint16", chunks=((1,), sides, sides))
    raster = xr.DataArray(lazy, dims=("band", "y", "x"))

    first = advise(raster, ["zstd:1"], samples=8)
    places, read[:] = sorted(read), []
    second = advise(raster, ["zstd:1"], samples=8)

    assert first.samples == len(set(places)) == len(places)
    assert 6 <= first.samples <= 9
    assert {row // 8 for _, row, _ in places} == {0, 1}
    assert {col // 8 for _, _, col in places} == {0, 1}
    assert sorted(read) == places
    assert [each.file_bytes for each in first.figures] == [
        each.file_bytes for each in second.figures
    ]


def figures(candidate, file_bytes, encode_rate):
    return Figures(candidate, file_bytes, 1.0, encode_rate, 1.0, 0.0)


@pytest.mark.parametrize(
    ("goal", "expected"),
    [("size", "zstd 15"), ("balance", "zstd 6"), ("speed", "zstd 3")],
)
def test_choice_is_by_the_rule(goal, expected):
    known = [
        figures(Candidate("none"), 300, 1000),
        figures(Candidate("zstd", 1), 130, 400),
        figures(Candidate("zstd", 3), 119, 200),
        figures(Candidate("zstd", 6), 110, 60),
        figures(Candidate("deflate", 6), 120, 50),
        figures(Candidate("zstd", 15), 100, 4),
        figures(Candidate("lzma", 6), 90, 300),
        figures(Candidate("jxl", 3), 80, 300),
        figures(Candidate("jpeg", quality=75), 10, 900),
    ]

    assert str(_advice.choose(known, goal).candidate) == expected


# --- the command ----------------------------------------------------------------------


def call(*arguments):
    return CliRunner().invoke(_cli.cli, ["advise", *map(str, arguments)])


@pytest.fixture
def source(tmp_path):
    return oracles.gdal_cog(tmp_path / "source.tif", stationary("uint16", 2, 600))


def test_table_and_verdict_are_printed(source):
    outcome = call(source, "--codec", "zstd", "--goal", "size")

    assert outcome.exit_code == 0, outcome.output
    assert "> zstd 15" in outcome.stdout
    assert "size: --compress zstd --level 15\n(the smallest file)" in outcome.stdout


def test_json_and_plot_have_every_candidate(source, tmp_path):
    picture = tmp_path / "codecs.png"

    outcome = call(
        *(source, "--codec", "zstd:3", "--codec", "jpeg", "--max-z-error", "2"),
        *("--json", "--plot", picture, "--nodata", "0"),
    )
    found = json.loads(outcome.stdout)

    assert outcome.exit_code == 0
    tried = [each["candidate"] for each in found["candidates"]]
    assert sorted(tried) == ["deflate 6", "zstd 3", "zstd 3 max_z_error 2"]
    assert found["recommended"] == {"compress": "zstd", "level": 3, "max_z_error": 2}
    assert "cannot hold dtype uint16" in found["skipped"]["jpeg"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_plot_has_a_row_and_a_size_for_every_candidate(tmp_path):
    """Text of an SVG can be read; names that are alike must not hide each other."""
    tried = [
        Candidate("zstd", 3),
        Candidate("deflate", 6),
        Candidate("jxl", quality=75),
    ]
    figures = tuple(
        Figures(each, (1 + i) * 10**6, 2.0, 1e8, 3e8, 0.0)
        for i, each in enumerate(tried)
    )
    advice = Advice("size", 10**7, 10**6, 4, figures, figures[0], {})
    picture = tmp_path / "codecs.svg"
    with mpl.rc_context({"svg.fonttype": "none"}):
        _advice_view.plot(advice, picture)

    text = picture.read_text(encoding="utf-8")
    for words in (
        *("zstd 3", "deflate 6", "jxl quality 75", "1.00 MB", "2.00 MB", "3.00 MB"),
        *("recommended", "lossy, or not for every reader", "encode", "decode"),
        *("file, MB", "raw MB/s of one core", "size: zstd 3, the smallest file"),
    ):
        assert f">{words}<" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--codec", "zip"], "compress='zip': choose one of"),
        (["--codec", "zstd:best"], "write a name, or NAME:LEVEL"),
        (["--codec", "zstd:99"], "level=99: zstd takes a whole number, 1 to 22"),
        (["--codec", "lzw:3"], "which has no levels"),
        (["--plot", "codecs.txt"], "must end in .png, .svg, .pdf"),
        (["--max-z-error", "-1"], "max_z_error"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_calls_are_told_in_a_line(source, arguments, said):
    outcome = call(source, *arguments)

    assert outcome.exit_code == _exits.EXIT_WRONG_CALL
    assert said in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_plot_without_matplotlib_says_what_to_install(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    outcome = call(source, "--plot", "codecs.png")

    assert outcome.exit_code == _exits.EXIT_WRONG_CALL
    assert "install 'lazycog[plot]'" in outcome.stderr
