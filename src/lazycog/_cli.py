"""The command line: convert, plan, advise, info, validate, view, quicklook, ...

Exit codes: 0 done, 1 the job failed or the file is not valid, 2 the call is wrong,
130 interrupted.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lazycog import (
    _advice,
    _advice_view,
    _api,
    _cluster,
    _demo,
    _flags,
    _info,
    _plain,
    _raster,
    _sources,
    _stale,
    _trial,
    _validate,
    _view,
)
from lazycog._examples import epilog
from lazycog._exits import (
    EXIT_FAILED,
    Commands,
    JobError,
    Session,
    traceback_option,
    working,
)
from lazycog._opened import MASK
from lazycog._options import CogOptions
from lazycog._views import human_bytes
from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr
    from rich.console import RenderableType

    from lazycog._demo import DemoFiles, DemoOutcome

PIPE_WIDTH = 120
"""Width of tables that do not go to a terminal."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def resource_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that choose where to compute."""
    for option in (
        click.option(
            "--scheduler-file",
            help="JSON file of a running Dask cluster.",
        ),
        click.option("--scheduler", help="Address of a running Dask cluster."),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Compute in this many processes.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Threads, or threads per process with --workers; default: all cores.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lazycog")
@traceback_option
def cli() -> None:
    """Write rasters larger than memory as Cloud-Optimized GeoTIFFs, in one pass."""


@cli.command(epilog=epilog("convert"))
@click.argument("src", type=click.Path())
@click.argument("dst", type=click.Path())
@_sources.source_options
@_sources.crs_option
@_flags.cog_options
@resource_options
@json_option
@traceback_option
@click.pass_obj
def convert(session: Session, /, **parameters: Any) -> None:  # noqa: ANN401 - one per flag
    """Convert SRC to DST, a Cloud-Optimized GeoTIFF.

    SRC is a Zarr store, a NetCDF file, or anything that GDAL reads.
    """
    resources = _resources(parameters)
    _sources.refuse_same_file(parameters["src"], parameters["dst"])
    with _cluster.computing(resources, quiet=not session.traceback):
        raster = _sources.opened(parameters)
        options = _options(raster, parameters)
        plan = _api.plan(raster, **options)  # what is wrong with the call shows here
        with working():
            result = _api.to_cog(raster, parameters["dst"], **options)
    if parameters["as_json"]:
        click.echo(_plain.to_json(_plain.result_values(result, plan)))
    else:
        click.echo(repr(result))


@cli.command(epilog=epilog("plan"))
@click.argument("src", type=click.Path())
@_sources.source_options
@_sources.crs_option
@_flags.cog_options
@json_option
@traceback_option
def plan(**parameters: Any) -> None:  # noqa: ANN401 - one per flag
    """Show levels, tasks, memory and size of a conversion.

    SRC is as for convert; no pixel is read.
    """
    raster = _sources.opened(parameters)
    found = _api.plan(raster, **_options(raster, parameters))
    if parameters["as_json"]:
        click.echo(_plain.to_json(_plain.plan_values(found)))
    else:
        click.echo(str(found))


def _print(*tables: RenderableType) -> None:
    """Print tables as wide as the terminal."""
    from rich.console import Console  # noqa: PLC0415 - for tables alone

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for table in tables:
        console.print(table)


@cli.command(epilog=epilog("advise"))
@click.argument("src", type=click.Path())
@_sources.source_options
@click.option(
    "--goal",
    type=click.Choice(_advice.GOALS),
    default="balance",
    show_default=True,
    help="What is recommended: see below.",
)
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    help="Try this one alone, as zstd or zstd:5; repeatable.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="Number of samples, of four tiles each; default: 16 MiB, 4 at least.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads at most; default: all cores."
)
@click.option("--plot", type=click.Path(), help="Draw the figures: PNG, SVG or PDF.")
@_flags.some_options(
    *("max_z_error", "predictor", "blocksize", "interleave", "overview_resampling"),
    "nodata",
)
@json_option
@traceback_option
def advise(**parameters: Any) -> None:  # noqa: ANN401 - one per flag
    """Try codecs on samples of SRC, and recommend one.

    SRC is as for convert; tiles spread over it are read, encoded as convert does, and
    decoded. Of the lossless codecs that every reader has, and those within
    --max-z-error, size takes the one with the smallest file, balance the smallest of
    those that encode at least as fast as deflate 6, and speed the fastest of those
    whose file is at most 1.25 times the smallest.
    """
    if parameters["plot"]:
        _advice_view.check_plot(parameters["plot"])
    options = _flags.given(parameters)
    bound = options.pop("max_z_error", None)
    tried = _advice.candidates(parameters["codecs"], bound or 0.0)
    chosen = CogOptions.from_mapping(options)
    raster = _raster.as_raster(_sources.opened(parameters), chosen)
    with working():
        found = _trial.advise(
            raster,
            chosen,
            tried,
            parameters["goal"],
            samples=parameters["samples"],
            threads=parameters["threads"] or _cluster.cpu_count(),
        )
        if parameters["plot"]:
            _advice_view.plot(found, parameters["plot"])
    if parameters["as_json"]:
        click.echo(_plain.to_json(_advice_view.values(found)))
        return
    _print(_advice_view.table(found))
    click.echo(_advice_view.verdict(found))


@cli.command(epilog=epilog("info"))
@click.argument("file", type=click.Path())
@json_option
@traceback_option
def info(file: str, *, as_json: bool) -> None:
    """Show the structure, georeferencing and metadata of a GeoTIFF."""
    about = _info.describe_file(file)
    if as_json:
        click.echo(_plain.to_json(about))
        return
    _print(*_info.tables(about))


@cli.command(epilog=epilog("validate"))
@click.argument("file", type=click.Path())
@click.option(
    "--full/--quick",
    default=True,
    help="Also read 8 bytes around every tile, or the header alone.",
)
@json_option
@traceback_option
@click.pass_context
def validate(ctx: click.Context, file: str, *, full: bool, as_json: bool) -> None:
    """Check that FILE is a valid COG.

    The exit code is 1 when it is not.
    """
    report = _validate.validate(file, full=full)
    click.echo(_plain.to_json(asdict(report)) if as_json else str(report))
    if not report.ok:
        ctx.exit(EXIT_FAILED)


@cli.command(epilog=epilog("view"))
@click.argument("file", type=click.Path())
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port on 127.0.0.1; default: any that is free.",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Open the page, or only say where it is.",
)
@traceback_option
def view(file: str, *, port: int | None, browser: bool) -> None:
    """Show FILE in the browser, until Ctrl-C.

    The page reads the file by range requests, as it would be read on the web: bands,
    stretch, tiles, and the numbers under the pointer. It needs no network.
    """
    with _view.serving(file, port or 0) as server:
        click.echo(f"{server.url} shows {file}; Ctrl-C ends it")
        if browser:
            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


@cli.command(
    "abort-stale",
    epilog=epilog("abort-stale"),
    short_help="Remove what killed writes to DST left behind.",
)
@click.argument("dst", type=click.Path())
@click.option(
    "--older-than",
    default="7d",
    show_default=True,
    help="Least age: a number with s, m, h or d.",
)
@click.option(
    "--storage-options",
    type=_flags.KeyValue(),
    multiple=True,
    help="Option of the destination's fsspec file system, repeatable.",
)
@click.option("--dry-run", is_flag=True, help="List, but remove nothing.")
@json_option
@traceback_option
def abort_stale(
    dst: str,
    *,
    older_than: str,
    storage_options: Sequence[tuple[str, str]],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove what killed writes to DST left behind: uploads, folders, journals.

    Exactly that destination is looked at, never its neighbours.
    """
    with working():
        found = _stale.abort_stale(
            dst,
            older_than=older_than,
            storage_options=dict(storage_options) or None,
            dry_run=dry_run,
        )
    if as_json:
        click.echo(_plain.to_json([asdict(each) for each in found]))
        return
    verb = "would remove" if dry_run else "removed"
    for each in found:
        click.echo(
            f"{verb} {each.kind} {each.name}, {each.age_seconds / 3600:.1f} h old"
        )
    if not found:
        click.echo("nothing was left behind")


@cli.command(epilog=epilog("quicklook"))
@click.argument("src", type=click.Path())
@click.argument("dst", type=click.Path())
@_sources.source_options
@click.option(
    "--stretch",
    type=click.Choice(["percentile", "minmax", "none"]),
    default="percentile",
    show_default=True,
    help="What becomes black and white.",
)
@click.option(
    "--percentiles",
    type=(float, float),
    default=(2.0, 98.0),
    show_default=True,
    help="Low and high percentile, for that stretch.",
)
@click.option(
    "--gamma",
    type=float,
    default=1.0,
    show_default=True,
    help="Above 1 brightens: 2 shows dark ground beside clouds.",
)
@click.option(
    "--size", type=int, default=1024, show_default=True, help="Longest side in pixels."
)
@click.option(
    "--background",
    type=(int, int, int),
    default=None,
    help="Red, green and blue of missing pixels; default: transparent.",
)
@click.option(
    "--quality", type=int, default=None, help="1-100 for JPEG, WebP and JPEG 2000."
)
@resource_options
@traceback_option
@click.pass_obj
def quicklook(session: Session, /, **parameters: Any) -> None:  # noqa: ANN401 - one per flag
    """Draw a small picture of SRC: PNG, JPEG, WebP or JPEG 2000.

    SRC is as for convert. The smallest overview of a GeoTIFF that suffices is read,
    else every chunk once. DST ends in .png, .jpg, .webp or .jp2.
    """
    names = ("percentiles", "gamma", "size", "background", "quality")
    options = {name: parameters[name] for name in names}
    options["bands"] = [
        band for text in parameters["bands"] for band in _sources.names(text)
    ] or None
    stretch = parameters["stretch"]
    _sources.refuse_same_file(parameters["src"], parameters["dst"])
    with _cluster.computing(_resources(parameters), quiet=not session.traceback):
        raster = _sources.opened_for_picture(parameters)
        made = _api.quicklook(
            raster,
            parameters["dst"],
            stretch=None if stretch == "none" else stretch,
            **options,
        )
    click.echo(str(made))


@cli.command(epilog=epilog("demo"))
@click.argument("folder", type=click.Path(file_okay=False), default="lazycog-demo")
@click.option(
    "--size",
    type=click.IntRange(min=64),
    default=None,
    help="Side of the scene in pixels; default: one of 1.5 GB.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads at most; default: all cores."
)
@click.option("--yes", is_flag=True, help="Replace files without asking.")
@click.option("--progress/--no-progress", default=None, help="Show a progress bar.")
@traceback_option
def demo(
    folder: str,
    *,
    size: int | None,
    threads: int | None,
    yes: bool,
    progress: bool | None,
) -> None:
    """Convert a made-up scene larger than memory.

    FOLDER gets a Zarr store larger than the memory that the conversion may use, the
    checked COG made from it, and a picture.
    """
    files = _demo.DemoFiles(Path(folder))
    if files.existing and not yes:
        listed = ", ".join(str(path) for path in files.existing)
        _confirm(f"replace {listed}?")
    with working():
        outcome = _demo.run_demo(
            files,
            size=size or _demo.DEFAULT_SIZE,
            threads=threads or _cluster.cpu_count(),
            progress="auto" if progress is None else progress,
            say=click.echo,
        )
    _tell_demo(files, outcome)


def _confirm(question: str) -> None:
    """Go on after a yes alone."""
    if not click.confirm(question, err=True):
        raise OptionError("nothing was replaced; choose another folder, or --yes")


def _tell_demo(files: DemoFiles, outcome: DemoOutcome) -> None:
    """Show numbers, verdict and what to do next."""
    click.echo(repr(outcome.result))
    click.echo(str(outcome.report))
    expected = human_bytes(outcome.plan.peak_bytes(outcome.threads))
    if outcome.peak_bytes is None:
        click.echo(f"memory: {expected} expected")
    else:
        measured = human_bytes(outcome.peak_bytes)
        click.echo(f"memory: {expected} expected at most, {measured} measured")
    if not outcome.report.ok:
        raise JobError(f"{files.cog} is not valid; see lazycog validate {files.cog}")
    click.echo(f"picture: {files.png}\n\nNext:")
    colours = files.folder / "vegetation.jpg"
    for command in (
        f"lazycog info {files.cog}",
        f"lazycog plan {files.zarr} --compress deflate --interleave band",
        f"lazycog convert {files.zarr} {files.folder / 'nir.tif'} --bands nir",
        f"lazycog validate {files.folder / 'nir.tif'}",
        f"lazycog quicklook {files.cog} {colours} --bands 4,1,2 --gamma 2",
    ):
        click.echo(f"  {command}")


# --- from flags to calls ------------------------------------------------------------


def _resources(parameters: dict[str, Any]) -> _cluster.Resources:
    names = ("threads", "workers", "scheduler", "scheduler_file")
    return _cluster.Resources(**{name: parameters[name] for name in names})


def _options(
    raster: xr.DataArray | xr.Dataset, parameters: dict[str, Any]
) -> dict[str, Any]:
    options = _flags.given(parameters)
    if options.get("mask") is False:  # said, and not the default
        raster.encoding.pop(MASK, None)
    if "band_tags" in options:
        count = _api.plan(raster).count
        options["band_tags"] = _flags.band_tags(options["band_tags"], count)
    return options


def main() -> None:
    """Run the command line of this process."""
    # Python would look through all objects for cycles as it ends, 0.4 s for nothing
    atexit.register(gc.freeze)
    cli.main(prog_name="lazycog")


if __name__ == "__main__":
    main()
