"""The benchmarks run, measure whole process trees and hide no failure."""

from __future__ import annotations

import csv
import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measure, memory, series, tables
from benchmarks.series import Run

ROOT = Path(__file__).parents[2]
CONTENDERS = ("lazycog", "GDAL COG", "floor")

GRANDCHILD = """
held = bytearray(150_000_000)
import time
while time.process_time() < 0.6:
    pass
"""
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of results of a tiny series."""
    folder = tmp_path_factory.mktemp("benchmarks")
    chosen = [part for name in CONTENDERS for part in ("--contender", name)]
    command = [sys.executable, str(ROOT / "tests/benchmarks"), "compare"]
    done = subprocess.run(
        [
            *(*command, "--size", "512", "--scene", "elevation", "--rounds", "1"),
            *("--codec", "deflate:6", "--folder", str(folder), "--no-plot", *chosen),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "compare-512"


def test_a_series_keeps_the_figures_of_every_run(compared):
    with (compared / "runs.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["contender"]: row for row in csv.DictReader(file)}
    kept = json.loads((compared / "runs.json").read_text(encoding="utf-8"))

    assert list(rows) == list(CONTENDERS)
    assert {row["error"] for row in rows.values()} == {""}
    assert rows["lazycog"]["pixels"] == rows["GDAL COG"]["pixels"] == "same"
    assert [run["contender"] for run in kept["runs"]] == list(CONTENDERS)
    assert kept["machine"]["packages"]["rasterio"]
    for row in rows.values():
        assert 0 < float(row["wall"]) < 100
        assert 0 < float(row["cpu"]) < 100
        assert int(row["peak_rss"]) > 30 * 2**20


def test_the_floor_encodes_the_tiles_that_are_written(compared):
    """The same tiles take the same bytes; a file has headers beside them."""
    kept = json.loads((compared / "runs.json").read_text(encoding="utf-8"))
    sizes = {run["contender"]: run["size"] for run in kept["runs"]}

    assert 0 < sizes["lazycog"] - sizes["floor"] < 10_000
    assert sizes["GDAL COG"] == pytest.approx(sizes["floor"], rel=0.02)


def test_what_grandchildren_take_is_counted():
    usage = measure.run([sys.executable, "-c", CHILD, GRANDCHILD], timeout=60)

    assert usage.error is None
    assert 0.6 < usage.cpu < 10
    assert usage.peak_rss > 150_000_000
    assert usage.wall > 0.6


def test_a_process_that_fails_or_hangs_tells_so():
    failing = measure.run([sys.executable, "-c", "int('x')"], timeout=60)
    hanging = measure.run(
        [sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.5
    )

    assert failing.error == "ValueError: invalid literal for int() with base 10: 'x'"
    assert hanging.error == "killed after 0.5 s"


def test_failed_and_absent_tools_stay_in_the_table():
    about = ("rgb", "zstd 1")
    runs = [
        Run(*about, "lazycog", 1, wall=2.0, cpu=4.0, peak_rss=2**20, size=100),
        Run(*about, "odc-geo", 1, error="MemoryError: no"),
        Run(*about, "xarray-spatial", 1, error="absent: xrspatial is not installed"),
        Run(*about, "floor", 1, wall=1.5, cpu=3.0, peak_rss=2**20),
        Run(*about, "lazycog", 2, wall=4.0, cpu=4.0, peak_rss=2**20, size=100),
        Run(*about, "odc-geo", 2, wall=6.0, cpu=10.0, peak_rss=2**20, pixels="differ"),
        Run(*about, "floor", 2, wall=2.0, cpu=2.0, peak_rss=2**20),
    ]

    lazycog, odc, spatial, floor = series.summarise(runs)
    shown = tables.text(runs)

    assert (lazycog.wall, lazycog.wall_ratio, lazycog.failed) == (3.0, 1.0, 0)
    assert (odc.done, odc.failed, odc.wall_ratio, odc.cpu_ratio) == (1, 1, 1.5, 2.5)
    assert odc.note == "MemoryError: no; differ"
    assert spatial.wall is None
    assert floor.cpu_ratio == pytest.approx(0.625)
    assert "efficiency (CPU of the floor / CPU of lazycog): 0.62" in shown
    assert "MemoryError: no" in shown
    assert "xrspatial is not installed" in shown


@pytest.mark.parametrize("module", [tables, memory], ids=["tables", "memory"])
def test_examples_of_the_benchmarks_hold(module):
    found = doctest.testmod(module)

    assert found.attempted
    assert not found.failed
