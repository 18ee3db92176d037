"""The command line, as a user calls it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import warnings
from dataclasses import fields

import click
import dask
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.errors import NotGeoreferencedWarning
from rich.console import Console

import lazycog
import oracles
from lazycog import _cli, _flags, _info, _write

PIXELS = np.arange(2 * 300 * 400, dtype="uint16").reshape(2, 300, 400)


def call(*arguments, **options):
    return CliRunner().invoke(_cli.cli, [str(each) for each in arguments], **options)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.tif"
    return oracles.gdal_cog(path, PIXELS, descriptions=["red", "nir"])


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target.tif"


def test_convert_writes_a_valid_cog_with_the_same_pixels(source, target):
    outcome = call("convert", source, target)

    assert outcome.exit_code == 0, outcome.output
    assert "compression ratio" in outcome.stdout
    assert lazycog.validate(target).ok
    with rasterio.open(target) as copy:
        assert np.array_equal(copy.read(), PIXELS)
        assert copy.descriptions == ("red", "nir")


FLAGS = [
    (["--compress", "lzw"], {"compress": "lzw"}),
    (["--compress", "none"], {"compress": "none"}),
    (["--level", "7"], {"level": 7}),
    (["--level", "none"], {"level": None}),
    (["--predictor", "2"], {"predictor": 2}),
    (["--predictor", "auto"], {"predictor": "auto"}),
    (["--overview-resampling", "average"], {"overview_resampling": "average"}),
    (["--overview-count", "0"], {"overview_count": 0}),
    (["--nodata", "none"], {"nodata": None}),
    (["--nodata", "255"], {"nodata": 255}),
    (["--nodata", "-1.5"], {"nodata": -1.5}),
    (["--nodata", "18446744073709551615"], {"nodata": 2**64 - 1}),
    (["--no-statistics"], {"statistics": False}),
    (["--statistics"], {"statistics": True}),
    (["--no-overwrite"], {"overwrite": False}),
    (["--no-progress"], {"progress": False}),
    (["--lock"], {"lock": True}),
    (["--bigtiff", "true"], {"bigtiff": True}),
    (["--bigtiff", "auto"], {"bigtiff": "auto"}),
    (["--tags", "A=1", "--tags", "B=x=y"], {"tags": {"A": "1", "B": "x=y"}}),
    (["--scales", "0.1", "--scales", "2"], {"scales": [0.1, 2]}),
    (["--descriptions", "a", "--descriptions", "none"], {"descriptions": ["a", None]}),
    (["--co", "COMPRESS=LZW"], {"profile": {"COMPRESS": "LZW"}}),
    (["--band-tags", "2:K=v"], {"band_tags": [(2, "K", "v")]}),
    ([], {}),
]


@pytest.mark.parametrize(("arguments", "options"), FLAGS, ids=str)
def test_flag_gives_the_option_of_the_same_name(arguments, options):
    found = []

    @click.command()
    @_flags.cog_options
    def command(**parameters):
        found.append(_flags.given(parameters))

    outcome = CliRunner().invoke(command, arguments)

    assert outcome.exit_code == 0, outcome.output
    assert found == [options]


def test_the_bare_command_shows_its_help():
    """In lines, as --help does, and not as the one line of an error."""
    bare, asked = call(), call("--help")

    assert (bare.exit_code, asked.exit_code) == (2, 0)
    assert bare.stderr == asked.stdout
    assert bare.stdout == ""


def test_the_end_of_the_process_looks_for_no_cycles():
    """Python would take half a second for it, and all memory goes back anyway."""
    told = (
        "import atexit, gc, sys\n"
        "from lazycog._cli import main\n"
        "atexit.register(lambda: print('frozen:', gc.get_freeze_count() > 0))\n"
        "sys.argv = ['lazycog', '--version']\n"
        "main()\n"
    )

    found = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True
    )

    assert found.stdout.endswith("frozen: True\n")


def test_every_command_is_told_in_a_whole_sentence():
    listed = call("--help").stdout.partition("Commands:")[2].strip().splitlines()

    assert len(listed) == len(_cli.cli.commands)
    assert all(each.endswith(".") and "..." not in each for each in listed)


def test_every_option_has_a_flag_with_help():
    text = call("convert", "--help").stdout

    for each in fields(lazycog.CogOptions):
        assert each.name in _flags.HELP
        assert _flags.NAMES.get(each.name, f"--{each.name.replace('_', '-')}") in text


def test_flags_reach_the_file(source, target):
    outcome = call(
        *("convert", source, target, "--compress", "deflate", "--blocksize", 128),
        *("--bands", "nir", "--tags", "A=B", "--band-tags", "1:K=v"),
        *("--nodata", 7, "--units", "m", "--co", "INTERLEAVE=BAND"),
    )

    assert outcome.exit_code == 0, outcome.output
    with rasterio.open(target) as copy:
        assert np.array_equal(copy.read(1), PIXELS[1])
        assert copy.compression.name == "deflate"
        assert copy.block_shapes == [(128, 128)]
        assert copy.tags()["A"] == "B"
        assert copy.tags(1)["K"] == "v"
        assert (copy.nodata, copy.units) == (7, ("m",))


def test_convert_prints_json_on_standard_output_alone(source, target):
    outcome = call("convert", source, target, "--json", "--progress")

    assert json.loads(outcome.stdout)["levels"][0]["width"] == 400
    assert "tiles" in outcome.stderr


def test_plan_says_what_would_be_done_and_writes_nothing(source, tmp_path):
    outcome = call("plan", source, "--compress", "lzw", "--blocksize", 128)

    assert outcome.exit_code == 0, outcome.output
    assert "400 x 300, 2 bands of uint16" in outcome.stdout
    assert "lzw" in outcome.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["source.tif"]


def test_plan_prints_json(source):
    values = json.loads(call("plan", source, "--json").stdout)

    assert (values["width"], values["count"], values["bigtiff"]) == (400, 2, False)
    assert values["peak_bytes"]["8"] > values["peak_bytes"]["1"]


def test_info_shows_structure_georeferencing_and_bands(source):
    outcome = call("info", source)

    assert outcome.exit_code == 0, outcome.output
    for expected in ("EPSG:32613", "400 x 300", "red", "LAYOUT=IFDS_BEFORE_DATA"):
        assert expected in outcome.stdout


def test_the_table_of_bands_fits_a_terminal(tmp_path):
    """Of 100 columns; no cell is broken, not even where every column says something."""
    pixels = np.random.default_rng(3).uniform(-3000, 9000, (2, 40, 50))
    array = oracles.raster(pixels, scale_factor=1e-4, add_offset=-0.1, units="DN")
    oracles.write(array, tmp_path / "a.tif", nodata=-9999, descriptions=["red", "2024"])

    *_, bands = _info.tables(_info.describe_file(str(tmp_path / "a.tif")))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(bands)

    text = console.export_text()
    cells = text.split()
    assert {"name", "2024", "float64", "-9999", "0.0001", "-0.1", "DN"} <= {*cells}
    assert {f"{pixels[0].mean():.6g}", f"{pixels[0].min():.6g}"} <= {*cells}
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 5  # title, head, rule, two bands


def test_the_table_of_bands_leaves_out_what_says_nothing(tmp_path):
    """A raster without names, units, scales and nodata."""
    array = oracles.raster(PIXELS)
    oracles.write(array, tmp_path / "a.tif", descriptions=[None] * 2, statistics=False)

    text = call("info", tmp_path / "a.tif").stdout.partition("\nbands ")[2]

    assert re.findall(r"[a-z%]+", text)[:2] == ["band", "dtype"]
    assert "uint" in text
    assert "nodata" not in text


def test_a_crs_for_a_source_without_one(tmp_path):
    """As --crs says; one that agrees with the source's own is no error."""
    bare = tmp_path / "bare.tif"
    with pytest.warns(lazycog.CogWarning, match="no CRS"):
        oracles.write(oracles.raster(PIXELS, crs=None), bare)

    outcome = call("convert", bare, tmp_path / "a.tif", "--crs", "EPSG:32613")
    again = call("plan", tmp_path / "a.tif", "--crs", "EPSG:32613")

    assert outcome.exit_code == again.exit_code == 0, outcome.output + again.output
    assert outcome.stderr == ""
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.crs.to_epsg() == 32613


def test_info_prints_json(source):
    about = json.loads(call("info", source, "--json").stdout)

    assert about["geo"]["crs"] == "EPSG:32613"
    assert about["bands"][1]["description"] == "nir"


def test_validate_accepts_a_cog(source):
    outcome = call("validate", source, "--quick")

    assert outcome.exit_code == 0
    assert "valid Cloud-Optimized GeoTIFF" in outcome.stdout


def test_validate_fails_with_1_on_another_file(tmp_path):
    (tmp_path / "a.tif").write_text("hello")

    outcome = call("validate", tmp_path / "a.tif", "--json")

    assert outcome.exit_code == 1
    assert not json.loads(outcome.stdout)["ok"]


def strict(text):
    """Parse JSON as its standard has it: without NaN and infinities."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


KEYS = {
    "convert": "path size bigtiff raw_bytes duration tiles levels statistics "
    "peak_bytes_per_thread",
    "plan": "width height count dtype nodata nodata_is_nan compress predictor mask "
    "interleave overview_resampling tile_size levels stages chunks tasks task_bytes "
    "peak_bytes raw_bytes min_bytes max_bytes bigtiff",
    "info": "path size bigtiff byte_order ghost band_count interleave levels valid_cog "
    "geo tags bands",
    "validate": "ok errors warnings details",
}


@pytest.mark.parametrize("command", KEYS)
def test_json_has_these_keys_and_null_for_nan(tmp_path, command):
    pixels = np.full((64, 80), np.nan, "float32")
    path = tmp_path / "nan.tif"
    oracles.write(oracles.raster(pixels), path)
    places = [tmp_path / "copy.tif"] if command == "convert" else []

    outcome = call(command, path, *places, "--json")

    values = strict(outcome.stdout)
    assert list(values) == KEYS[command].split()
    if command == "plan":
        assert (values["nodata"], values["nodata_is_nan"]) == (None, True)
    if command == "info":
        band = values["bands"][0]
        assert (band["nodata"], band["nodata_is_nan"]) == (None, True)


def test_info_gives_statistics_and_nodata_as_numbers(tmp_path):
    path = tmp_path / "a.tif"
    oracles.write(oracles.raster(PIXELS.astype("int16"), nodata=-3), path)

    band = strict(call("info", path, "--json").stdout)["bands"][0]

    with rasterio.open(path) as dataset:
        tags = dataset.tags(1)
    assert band["nodata"] == -3
    assert band["statistics"] == {
        name: float(tags[f"STATISTICS_{name.upper()}"])
        for name in ("minimum", "maximum", "mean", "stddev", "valid_percent")
    }


@pytest.mark.parametrize("command", sorted(_cli.cli.commands))
def test_help_of_every_command_ends_with_calls_that_exist(command):
    text = call(command, "--help").stdout
    examples = text.partition("Examples:")[2].split("lazycog ")[1:]

    assert examples
    for each in examples:
        name, *arguments = each.partition("&&")[0].split()
        assert name == command
        context = _cli.cli.commands[name].make_context(name, arguments)
        assert context.params


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["v"], {"validate", "view"}),
        (["convert", "a.tif", "b.tif", "--overview-res"], {"--overview-resampling"}),
        (["convert", "--compress", "lerc"], {"lerc", "lerc_deflate", "lerc_zstd"}),
        (["convert", "--compress", "D"], {"deflate"}),
        (["convert", "--nodata", "a"], {"auto"}),
        (["quicklook", "--stretch", "p"], {"percentile"}),
        (["info", "sc"], {"sc"}),  # the shell completes the names of files
    ],
)
def test_shell_completes_commands_flags_and_values(words, expected):
    environment = {
        "_LAZYCOG_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["lazycog", *words]),
        "COMP_CWORD": str(len(words)),
    }

    outcome = CliRunner().invoke(_cli.cli, prog_name="lazycog", env=environment)

    found = {line.partition(",")[2] for line in outcome.stdout.splitlines()}
    assert found == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed_for_each_shell(shell, monkeypatch):
    if shell == "bash":  # click asks the shell for its version
        monkeypatch.setattr(
            "click.shell_completion.BashComplete._check_version", lambda *_: None
        )

    outcome = CliRunner().invoke(
        _cli.cli, prog_name="lazycog", env={"_LAZYCOG_COMPLETE": f"{shell}_source"}
    )

    assert f"{shell}_complete" in outcome.stdout


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({"TERM": "xterm-256color"}, True), ({"NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_that_want_them(source, environment, coloured):
    def colours(text):
        return re.findall(r"\x1b\[[0-9;]*3[0-9](?:;[0-9;]*)?m", text)

    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    command = [sys.executable, "-m", "lazycog._cli", "info", str(source)]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            command, stdout=theirs, stderr=theirs, env={**kept, **environment}
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal ends with the program
            while block := screen.read(4096):
                shown += block
        assert process.wait(30) == 0

    assert "EPSG:32613" in shown.decode()
    assert bool(colours(shown.decode())) == coloured
    assert "\x1b" not in call("info", source).stdout


WRONG_CALLS = [
    (["convert", "none.tif", "{target}"], "no such file"),
    (["plan", "none.zarr"], "no such file"),
    (["info", "none.tif"], "no such file"),
    (["validate", "none.tif"], "no such file"),
    (["convert", "{source}"], "Missing argument 'DST'"),
    (["convert", "{source}", "{source}"], "the source itself"),
    (["convert", "{source}", "/nowhere/a.tif"], "folder does not exist"),
    (["convert", "{source}", "{target}", "--compress", "zst"], "did you mean 'zstd'"),
    (["convert", "{source}", "{target}", "--blocksize", "big"], "not a number"),
    (["convert", "{source}", "{target}", "--tags", "A"], "not KEY=VALUE"),
    (["convert", "{source}", "{target}", "--band-tags", "A=1"], "not BAND:KEY=VALUE"),
    (["convert", "{source}", "{target}", "--band-tags", "3:A=1"], "no band 3"),
    (["convert", "{source}", "{target}", "--co", "COMPRES=LZW"], "'COMPRES'"),
    (["convert", "{source}", "{target}", "--nodata", "70000"], "nodata=70000"),
    (["convert", "{source}", "{target}", "--bands", "blue"], "no band 'blue'"),
    (["convert", "{source}", "{target}", "--variable", "red"], "not variables"),
    (
        ["convert", "{source}", "{target}", "--workers", "2", "--scheduler", "a:1"],
        "--workers and --scheduler contradict",
    ),
    (
        ["convert", "{source}", "{target}", "--threads", "2", "--scheduler-file", "a"],
        "--threads and --scheduler-file contradict",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_CALLS)
def test_wrong_call_fails_with_2_and_one_line(source, target, arguments, message):
    places = {"source": source, "target": target}

    outcome = call(*(each.format(**places) for each in arguments))

    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert not target.exists()


def test_existing_destination_is_kept_with_no_overwrite(source, target):
    target.write_text("precious")

    outcome = call("convert", source, target, "--no-overwrite")

    assert outcome.exit_code == 2
    assert "overwrite=False" in outcome.stderr
    assert target.read_text() == "precious"


def _circular():
    """Give two errors that came from each other."""
    first, second = RuntimeError("around"), RuntimeError("and around")
    first.__cause__, second.__cause__ = second, first
    return first


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RuntimeError("disk on fire"), 1, "error: RuntimeError: disk on fire"),
        (lazycog.InputError("chunk of another shape"), 1, "error: chunk of another"),
        (_circular(), 1, "error: RuntimeError: around; and around; lazycog wrote"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
)
def test_failed_job_has_its_exit_code_and_one_line(
    source, target, monkeypatch, error, code, message
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(_write._scheduler, "compute", fail)

    outcome = call("convert", source, target)

    assert outcome.exit_code == code
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not target.exists()


def test_a_source_that_ends_too_early_is_named(source, target):
    """GDAL's own words, of which rasterio's error tells only that there are some."""
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])

    outcome = call("convert", source, target)

    assert outcome.exit_code == 1
    assert f"{source.name}, band 1: IReadBlock failed" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert not target.exists()


@pytest.mark.parametrize("position", ["before", "after"])
def test_traceback_is_shown_on_demand(position):
    arguments = ["plan", "none.tif"]
    arguments.insert(0 if position == "before" else 2, "--traceback")

    outcome = call(*arguments)

    assert outcome.exit_code == 2
    assert "Traceback" in outcome.stderr
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("error: none.tif: no such file or folder;")


def test_threads_are_those_of_the_call(source, target, monkeypatch):
    found = []
    compute = _write._scheduler.compute

    def look(lazy):
        found.append((dask.config.get("scheduler"), dask.config.get("num_workers")))
        return compute(lazy)

    monkeypatch.setattr(_write._scheduler, "compute", look)

    assert call("convert", source, target, "--threads", 3).exit_code == 0
    assert found == [("threads", 3)]


def test_demo_makes_converts_checks_and_pictures_a_scene(tmp_path):
    outcome = call("demo", tmp_path / "demo", "--size", 700, "--threads", 1)

    assert outcome.exit_code == 0, outcome.output
    assert "valid Cloud-Optimized GeoTIFF" in outcome.stdout
    assert "memory:" in outcome.stdout
    assert "lazycog convert" in outcome.stdout
    names = sorted(each.name for each in (tmp_path / "demo").iterdir())
    assert names == ["scene.png", "scene.png.aux.xml", "scene.tif", "scene.zarr"]
    with rasterio.open(tmp_path / "demo/scene.tif") as cog:
        assert cog.descriptions == ("red", "green", "blue", "nir")
        assert (cog.nodata, cog.scales[0]) == (0, 1e-4)


def test_demo_shows_how_far_both_the_scene_and_the_file_are(tmp_path):
    outcome = call("demo", tmp_path, "--size", 1100, "--progress")

    lines = outcome.stderr.splitlines()
    assert lines[0] == "making: 4 chunks to go"
    assert re.match(r"making: 4 chunks in .*B/s$", lines[1])
    assert lines[2].startswith("writing: ")


def test_demo_picture_shows_the_ground(tmp_path):
    """Clouds and snow are far brighter than the ground, which is most of the scene."""
    assert call("demo", tmp_path, "--size", 1100).exit_code == 0

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "scene.png") as picture:
            *colours, alpha = picture.read()
            assert picture.crs == "EPSG:32632"
    seen = np.array(colours)[:, alpha > 0]
    assert 0.5 < (alpha > 0).mean() < 1
    assert 60 < np.median(seen) < 200
    assert seen.min() == 0
    assert seen.max() == 255


def test_demo_asks_before_it_replaces_files(tmp_path):
    (tmp_path / "scene.tif").write_text("precious")

    outcome = call("demo", tmp_path, "--size", 64, input="n\n")

    assert outcome.exit_code == 2
    assert "replace" in outcome.stderr
    assert (tmp_path / "scene.tif").read_text() == "precious"


def test_demo_removes_its_zarr_when_it_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(_write._scheduler, "compute", fail)

    outcome = call("demo", tmp_path, "--size", 64)

    assert outcome.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.distributed
def test_console_script_converts_on_worker_processes(source, target):
    command = [sys.executable, "-m", "lazycog._cli", "convert", source, target]
    options = ["--workers", "1", "--progress", "--json"]

    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["size"] == target.stat().st_size
    assert "writing: 1 tiles in" in done.stderr
    with rasterio.open(target) as copy:
        assert np.array_equal(copy.read(), PIXELS)
