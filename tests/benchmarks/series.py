"""Rounds of runs: which, in which order, and what each of them gave."""

from __future__ import annotations

import compileall
import csv
import importlib.util
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import measure
from benchmarks.contenders import BASELINE, CONTENDERS, FLOOR, Job
from benchmarks.scenes import KINDS, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TESTS = Path(__file__).resolve().parents[1]
"""Where a child finds the package."""
PACKAGES = (
    *("lazycog", "dask", "distributed", "imagecodecs", "numba", "numpy", "odc-geo"),
    *("rasterio", "rio-cogeo", "rioxarray", "xarray", "xarray-spatial", "zarr"),
)
ABSENT = "absent"


@dataclass(frozen=True)
class Codec:
    """A codec and its level; no name for each tool's own."""

    name: str | None = None
    level: int | None = None

    @classmethod
    def parse(cls, text: str) -> Codec:
        """Read ``deflate:6``, ``lzw`` or ``default``."""
        name, _, level = text.partition(":")
        if name == "default" and not level:
            return cls()
        return cls(name, int(level) if level else None)

    def __str__(self) -> str:
        if self.name is None:
            return "default"
        return self.name if self.level is None else f"{self.name} {self.level}"


@dataclass(frozen=True)
class Run:
    """One process of one contender."""

    scene: str
    codec: str
    contender: str
    round: int
    wall: float | None = None
    cpu: float | None = None
    peak_rss: int | None = None
    written: int | None = None
    size: int | None = None
    """Of the file; of the floor, of all encoded tiles."""
    load: float | None = None
    """Of the machine before, over a minute: other work makes figures useless."""
    error: str | None = None
    """Why there are no figures."""
    pixels: str | None = None
    """What came of comparing the file with the source, None when not looked at."""


@dataclass(frozen=True)
class Course:
    """What a series is made of."""

    scenes: tuple[Scene, ...]
    codecs: tuple[Codec, ...]
    contenders: tuple[str, ...]
    rounds: int
    threads: int
    timeout: float
    folder: Path


def run(course: Course, tell: Callable[[Run], None]) -> list[Run]:
    """Run every contender in each round, one after the other.

    Parameters
    ----------
    course : Course
        What to run.
    tell : callable
        Takes each run as it ends.

    Returns
    -------
    list of Run
        Those that failed, and a mark for each contender that is absent, among them.
    """
    runs: list[Run] = []
    _compile()
    for scene in course.scenes:
        _warm(scene)
        for codec in course.codecs:
            for number in range(1, course.rounds + 1):
                # interleaved, so that a slow minute of the machine meets them all
                for name in course.contenders:
                    found = _run(course, scene, codec, name, number)
                    runs.append(found)
                    save(runs, course.folder)
                    tell(found)
    return runs


def _run(course: Course, scene: Scene, codec: Codec, name: str, number: int) -> Run:
    missing = CONTENDERS[name].missing
    about = (scene.name, str(codec), name, number)
    if missing:
        return Run(*about, error=f"{ABSENT}: {missing} is not installed")
    dst = course.folder / "out.tif"
    dst.unlink(missing_ok=True)
    job = Job(
        contender=name,
        zarr=str(scene.zarr),
        tif=str(scene.tif),
        overviews=str(scene.overviews),
        dst=str(dst),
        codec=codec.name,
        level=codec.level,
        predictor=KINDS[scene.name].predictor,
        threads=course.threads,
    )
    os.sync()  # what others have written is no work of this one
    load = os.getloadavg()[0]
    usage = child("contenders", job.text, timeout=course.timeout)
    error, pixels, size = usage.error, None, None
    if error is None and name == FLOOR:
        size = int(usage.output)
    elif error is None:
        size = dst.stat().st_size
        if number == 1:
            pixels = _compared(scene, dst)
    dst.unlink(missing_ok=True)
    return Run(
        *about,
        wall=usage.wall,
        cpu=usage.cpu,
        peak_rss=usage.peak_rss,
        written=usage.written,
        size=size,
        load=load,
        error=error,
        pixels=pixels,
    )


def child(module: str, *arguments: str, timeout: float) -> measure.Usage:
    """Run a module of this package as a process, and measure it."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return measure.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        env={"PYTHONPATH": os.pathsep.join(paths)},
        timeout=timeout,
    )


def _compared(scene: Scene, dst: Path) -> str:
    """Compare a file with its source, not measured."""
    usage = child("compared", str(scene.zarr), str(dst), timeout=600)
    return usage.error or usage.output.strip()


def _warm(scene: Scene) -> None:
    """Read the sources once, so that no contender pays for the first time."""
    for path in sorted(scene.folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(2**24):
                    pass


def _compile() -> None:
    """Compile lazycog to bytecode, as an installation does with all other packages."""
    spec = importlib.util.find_spec("lazycog")
    for folder in spec.submodule_search_locations or () if spec else ():
        compileall.compile_dir(folder, quiet=1)


# --- what is kept ---------------------------------------------------------------------


def machine() -> dict[str, object]:
    """Say what the series ran on."""
    return {
        "time": time.strftime("%Y-%m-%d %H:%M"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def save(runs: Sequence[Run], folder: Path) -> None:
    """Write every run as CSV and JSON."""
    names = [field.name for field in fields(Run)]
    with (folder / "runs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(asdict(each) for each in runs)
    text = json.dumps(
        {"machine": machine(), "runs": [asdict(each) for each in runs]}, indent=1
    )
    (folder / "runs.json").write_text(text, encoding="utf-8")


# --- what it comes to -----------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """All rounds of a contender with one scene and codec: medians."""

    contender: str
    done: int
    failed: int
    wall: float | None = None
    wall_ratio: float | None = None
    """To lazycog's of the same round."""
    cpu: float | None = None
    cpu_ratio: float | None = None
    peak_rss: float | None = None
    written: float | None = None
    size: float | None = None
    note: str = ""
    """Errors, and what is wrong with the pixels."""


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """Summarise the runs of one scene and codec, contender by contender."""
    base = {
        each.round: each
        for each in runs
        if each.contender == BASELINE and each.error is None
    }
    return [
        _summary([each for each in runs if each.contender == name], base)
        for name in dict.fromkeys(each.contender for each in runs)
    ]


def _summary(runs: Sequence[Run], base: dict[int, Run]) -> Summary:
    good = [each for each in runs if each.error is None]
    errors = dict.fromkeys(each.error for each in runs if each.error)
    pixels = [each.pixels for each in good if each.pixels not in {None, "same"}]
    return Summary(
        contender=runs[0].contender,
        done=len(good),
        failed=len(runs) - len(good),
        wall=_median([each.wall for each in good]),
        wall_ratio=_ratio(good, base, "wall"),
        cpu=_median([each.cpu for each in good]),
        cpu_ratio=_ratio(good, base, "cpu"),
        peak_rss=_median([each.peak_rss for each in good]),
        written=_median([each.written for each in good]),
        size=_median([each.size for each in good]),
        note="; ".join([*map(str, errors), *map(str, pixels)]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return median(known) if known else None


def _ratio(runs: Sequence[Run], base: dict[int, Run], name: str) -> float | None:
    return _median(
        [
            getattr(each, name) / getattr(base[each.round], name)
            for each in runs
            if each.round in base
        ]
    )


def efficiency(summaries: Sequence[Summary]) -> float | None:
    """Give the part of lazycog's CPU seconds that the floor takes, too."""
    return next((each.cpu_ratio for each in summaries if each.contender == FLOOR), None)
