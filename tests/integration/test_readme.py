"""The README does what it says: its code runs, its commands and files exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import lazycog
from lazycog import CogOptions
from oracles import raster, write

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(
    r"^(?:<!-- ci: (\w+) -->\n)?```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
)
SECONDS = 300


def _blocks(language):
    return [text for _, kind, text in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for the whole page: later blocks use the files of earlier ones."""
    return tmp_path_factory.mktemp("readme")


def _run(command, folder):
    scripts = str(Path(sys.executable).parent)
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


PRELUDE = """
from odc.geo.cog import save_cog_with_dask
from rio_cogeo import cog_profiles, cog_translate
from threading import Lock
import rioxarray
import lazycog

scene = rioxarray.open_rasterio("in.tif", chunks=256)
"""


def _section(title):
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _migrations():
    """Give the calls of other tools and ours, both as they stand in the table."""
    row = re.compile(r"^\| ([\w-]+): `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)
    rows = row.findall(_section("Coming from other tools"))
    return [pytest.param(theirs, ours, id=theirs[:30]) for _, theirs, ours in rows]


def _pixels(path):
    with rasterio.open(path) as file:
        return file.read(), file.compression


@pytest.mark.parametrize(("theirs", "ours"), _migrations())
@pytest.mark.filterwarnings("ignore")  # other tools may warn
def test_calls_of_other_tools_have_one_of_ours(tmp_path, monkeypatch, theirs, ours):
    """Same pixels and codec; odc-geo's image may be wider."""
    pixels = np.random.default_rng(0).integers(1, 99, (3, 300, 350), "uint8")
    write(raster(pixels), tmp_path / "in.tif", blocksize=128)
    monkeypatch.chdir(tmp_path)
    found = []
    for call in (theirs, ours):
        if call.startswith("gdal_translate"):
            continue  # rasterio's wheels bring no programs
        if call.startswith("lazycog "):
            _run(call.split(), tmp_path)
        else:
            exec(PRELUDE + call, {})  # noqa: S102 - the page's own text
        found.append(_pixels(tmp_path / "a.tif"))
        (tmp_path / "a.tif").unlink()

    for read, codec in found:
        assert codec == found[-1][1]
        np.testing.assert_array_equal(read[:, :300, :350], pixels)


def test_there_are_calls_of_other_tools():
    """A row that is written otherwise would be skipped above."""
    table = _section("Coming from other tools").strip().split("\n\n")[0]

    assert len(table.splitlines()) - 2 == len(_migrations())


def test_public_names_are_listed():
    """Every name and method, once, and no other."""
    cells = re.findall(r"^\| (`.*?) \|", _section("API"), re.MULTILINE)
    methods = [
        f".geo.{name}"
        for name in dir(xr.DataArray([0]).geo)
        if not name.startswith("_")
    ]

    names = re.findall(r"`([\w.]+)`", " ".join(cells))

    assert sorted(names) == sorted([*lazycog.__all__, *methods])


def _examples():
    """Give every runnable block in the order of the page."""
    numbers = {}
    for _, kind, text in BLOCKS:
        if kind in {"python", "console"}:
            numbers[kind] = numbers.get(kind, 0) + 1
            yield pytest.param(kind, text, id=f"{kind} {numbers[kind]}")


@pytest.mark.parametrize(("kind", "text"), list(_examples()))
def test_example_runs_as_it_stands(folder, kind, text):
    """Each block is a program of its own, run where the blocks before it have run."""
    if kind == "python":
        (folder / "example.py").write_text(text, encoding="utf-8")
        _run([sys.executable, "example.py"], folder)
        return
    commands = [line.removeprefix("$ ") for line in text.splitlines()]
    assert all(line.startswith("$ ") for line in text.splitlines())

    for command in commands:
        assert _run(command.split(), folder)


def test_every_block_is_run_or_plain_text():
    """Shell commands are those that `.ci/run` runs; the rest is no code."""
    kinds = {kind for mark, kind, _ in BLOCKS if not mark}

    assert kinds <= {"python", "console", "text"}
    assert [mark for mark, _, _ in BLOCKS if mark] == ["demo", "tests"]
    assert README.count("```") == 2 * len(BLOCKS)


def test_options_are_those_that_exist():
    """The table names every option once, and no other."""
    section = README.split("\n## Options\n")[1].split("\n## ")[0]
    first_cells = [
        line.split("|")[1] for line in section.splitlines() if line.startswith("| `")
    ]
    names = re.findall(r"`(\w+)`", " ".join(first_cells))

    assert sorted(names) == sorted(each.name for each in fields(CogOptions))


def test_defaults_are_those_of_the_code():
    """Where the table gives a literal, it is the default."""
    section = README.split("\n## Options\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", section, re.MULTILINE)
    defaults = {each.name: each.default for each in fields(CogOptions)}

    assert rows
    for name, text in rows:
        assert text.strip('"') == str(defaults[name]), name


def test_files_that_it_names_exist():
    """Paths in backticks and links."""
    paths = re.findall(r"`((?:tests|notebooks|\.ci|src)/[\w./-]+)`", README)
    paths += re.findall(r"\]\(([\w./-]+)\)", README)

    assert paths
    assert [each for each in paths if not (ROOT / each).exists()] == []


def test_links_inside_the_page_lead_somewhere():
    """Anchors are headings, as they are turned into links."""
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {
        re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-")
        for each in headings
    }

    assert set(re.findall(r"\]\(#([\w-]+)\)", README)) <= anchors
