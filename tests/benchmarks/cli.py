"""The command line of the benchmarks."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from benchmarks import memory, scale, scheduler, series, tables
from benchmarks.contenders import CONTENDERS
from benchmarks.scenes import DATA, KINDS, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _typeshed import DataclassInstance

FULL_SIZE = 16384
CODECS = ("deflate:6", "zstd:1", "zstd:9", "default")
ROUNDS = 5
TIMEOUT = 3600.0
CORES = len(os.sched_getaffinity(0))
Figures = TypeVar("Figures", bound="DataclassInstance")

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(tempfile.gettempdir()) / "lazycog-benchmarks",
    show_default=True,
    help="Scenes and results; scenes are used again.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=CORES,
    show_default=True,
    help="Of each contender that takes a number.",
)
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=TIMEOUT,
    show_default=True,
    help="Seconds until a process is killed.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure lazycog and other tools, each as a whole process. Linux alone."""


@main.command()
@click.option(
    "--size",
    type=click.IntRange(min=64),
    default=FULL_SIZE,
    show_default=True,
    help="Side of the scenes in pixels.",
)
@click.option(
    "--scene",
    "kinds",
    type=click.Choice([*KINDS]),
    multiple=True,
    default=[*KINDS],
    show_default=True,
)
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    default=CODECS,
    show_default=True,
    help="NAME[:LEVEL] for all alike, or default for each one's own.",
)
@click.option(
    "--contender",
    "contenders",
    type=click.Choice([*CONTENDERS]),
    multiple=True,
    default=[*CONTENDERS],
    help="Some of them; default: all.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=DATA,
    show_default=True,
    help="Folder of real images; synthetic ones are made without it.",
)
@click.option("--plot/--no-plot", default=True, help="Draw runs.png.")
@folder_option
@threads_option
@timeout_option
def compare(  # noqa: PLR0917 - by name, from click
    size: int,
    kinds: tuple[str, ...],
    codecs: tuple[str, ...],
    contenders: tuple[str, ...],
    rounds: int,
    data: Path,
    plot: bool,  # noqa: FBT001
    folder: Path,
    threads: int,
    timeout: float,
) -> None:
    """Write the same scenes with every tool, in interleaved rounds."""
    chosen = tuple(_codec(each) for each in codecs)
    results = folder / f"compare-{size}"
    results.mkdir(parents=True, exist_ok=True)
    course = series.Course(
        scenes=tuple(_made(kind, size, folder, data) for kind in kinds),
        codecs=chosen,
        contenders=contenders,
        rounds=rounds,
        threads=threads,
        timeout=timeout,
        folder=results,
    )
    runs = series.run(course, _tell)
    shown = tables.text(runs)
    (results / "table.md").write_text(shown + "\n", encoding="utf-8")
    if plot:
        tables.plot(runs, results / "runs.png")
    click.echo(f"\n{shown}\n\nEvery run: {results}")


def _codec(text: str) -> series.Codec:
    try:
        return series.Codec.parse(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r}: write NAME or NAME:LEVEL, as deflate:6", param_hint="--codec"
        ) from error


def _made(kind: str, size: int, folder: Path, data: Path) -> Scene:
    """Make a scene in another process: this one stays small, so that it counts none."""
    click.echo(f"scene {kind}, {size} x {size}: ", nl=False)
    usage = series.child(
        "making", kind, str(size), str(folder), str(data), timeout=TIMEOUT
    )
    if usage.error:
        raise click.ClickException(usage.error)
    origin = usage.output.strip()
    click.echo(f"{origin}, {usage.wall:.1f} s")
    return Scene(kind, folder / f"{kind}-{size}", size, origin)


def _tell(run: series.Run) -> None:
    about = f"{run.scene}, {run.codec}, round {run.round}, {run.contender}: "
    if run.error or run.wall is None or run.cpu is None or run.peak_rss is None:
        click.echo(f"{about}{run.error}")
        return
    click.echo(
        f"{about}{run.wall:.1f} s, CPU {run.cpu:.1f} s, {run.peak_rss / 2**20:.0f} MiB"
    )


# --- lazycog alone, and schedulers ----------------------------------------------------


@main.command("memory")
@click.option(
    "--gigabytes",
    "sizes",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(2, 8, 32),
    show_default=True,
    help="Raw pixels, in GB.",
)
@click.option(
    "--shape",
    "shapes",
    type=click.Choice(memory.SHAPES),
    multiple=True,
    default=memory.SHAPES,
    show_default=True,
)
@folder_option
@threads_option
@timeout_option
def measure_memory(
    sizes: tuple[float, ...],
    shapes: tuple[str, ...],
    folder: Path,
    threads: int,
    timeout: float,
) -> None:
    """Measure lazycog's peak memory against the size of the raster.

    The source needs no disk; the file of the largest size does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = memory.run(shapes, sizes, threads, folder, timeout)
    _show("memory", found, memory.HEADER, memory.row, folder)


@main.command("scale")
@click.option("--height", type=click.IntRange(min=1), default=scale.HEIGHT)
@click.option("--width", type=click.IntRange(min=1), default=scale.WIDTH)
@folder_option
@timeout_option
def measure_scale(height: int, width: int, folder: Path, timeout: float) -> None:
    """Time plan, graph and header of a huge raster; no pixel is made."""
    folder.mkdir(parents=True, exist_ok=True)
    click.echo(f"{width} x {height}, uint8")
    found = scale.run(height, width, timeout)
    _show("scale", found, scale.HEADER_ROW, scale.row, folder)


@main.command("scheduler")
@click.option("--size", type=click.IntRange(min=64), default=16384, show_default=True)
@click.option(
    "--chunk",
    type=click.IntRange(min=64),
    default=512,
    show_default=True,
    help="Side of the chunks of the source.",
)
@click.option(
    "--blocksize", type=click.IntRange(min=16), default=256, show_default=True
)
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--tool",
    "tools",
    type=click.Choice(scheduler.TOOLS),
    multiple=True,
    default=scheduler.TOOLS,
    show_default=True,
)
@folder_option
@timeout_option
def measure_scheduler(
    size: int,
    chunk: int,
    blocksize: int,
    workers: int,
    tools: tuple[str, ...],
    folder: Path,
    timeout: float,
) -> None:
    """Measure what a write asks of Dask's scheduler."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = scheduler.Scene(size, chunk, blocksize)
    found = scheduler.run(tools, scene, workers, folder, timeout)
    _show("scheduler", found, scheduler.HEADER, scheduler.row, folder)


def _show(
    name: str,
    found: Iterable[Figures],
    header: Sequence[str],
    row: Callable[[Figures], Sequence[str]],
    folder: Path,
) -> None:
    """Tell each of the figures as it comes, then all as a table; keep both."""
    kept = []
    for each in found:
        click.echo(" ".join(row(each)))
        kept.append(each)
    shown = tables.table(header, map(row, kept))
    values = {"machine": series.machine(), name: [asdict(each) for each in kept]}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
    (folder / f"{name}.md").write_text(shown + "\n", encoding="utf-8")
    click.echo(f"\n{shown}\n\nEvery figure: {path}")
