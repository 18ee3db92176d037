"""One write, from pixels and options to the file: plan, graph, compute, commit."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazycog import _graph, _layout, _progress, _watch
from lazycog._plan import CogPlan, plan_cog
from lazycog._result import CogResult, LevelResult
from lazycog.errors import OptionError
from lazycog.sinks.local import LocalSink, Placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazycog._georef import Description
    from lazycog._options import CogOptions


@dataclass(frozen=True)
class Raster:
    """A lazy raster without xarray: pixels (band, row, col) and what they mean."""

    pixels: Any
    """Dask or NumPy array, shape (band, height, width)."""
    description: Description
    mask_given: bool = False
    """The last band of the pixels is a mask, which the description does not count."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


def plan(raster: Raster, options: CogOptions) -> CogPlan:
    """Take every decision about a write; compute nothing."""
    chunks = getattr(raster.pixels, "chunks", None)
    source_chunk = tuple(map(max, chunks)) if chunks else None
    return plan_cog(
        raster.description,
        raster.size,
        options,
        source_chunk,
        mask_given=raster.mask_given,
    )


def write(
    raster: Raster,
    destination: str | os.PathLike[str],
    options: CogOptions,
    *,
    compute: bool,
) -> Any:  # noqa: ANN401 - a CogResult, or a Delayed of one
    """Write a raster as a COG.

    Parameters
    ----------
    raster : Raster
        What to write.
    destination : path
        Where to.
    options : CogOptions
        How.
    compute : bool
        False gives the lazy write instead of its result.

    Returns
    -------
    CogResult or dask.delayed.Delayed
        The result, or what computes to it.
    """
    token = uuid.uuid4().hex[:12]
    sink = local_sink(destination, token, options)
    the_plan = plan(raster, options)
    the_plan.entries()  # GDAL refuses a CRS or transform here, not at the commit
    lazy = _graph.build(
        _graph.as_lazy(raster.pixels, the_plan),
        the_plan,
        sink,
        token=token,
        lock=_graph.make_lock(options.lock, token),
        begin=started if compute else begin,
        commit=commit,
    )
    if not compute:
        return lazy
    try:
        # here and not in a task: one that ran late would make the folder again
        # after the abort
        begin(sink, the_plan.sections)
        with (
            _progress.shown(the_plan, options.progress) as on_chunk,
            _watch.watch(the_plan, token, on_chunk),
        ):
            return _graph.compute(lazy)
    except BaseException as error:
        sink.abort()
        error.add_note(f"lazycog wrote nothing: {sink.path} is as it was")
        raise


def local_sink(
    destination: str | os.PathLike[str], token: str, options: CogOptions
) -> LocalSink:
    """Resolve the destination, and refuse what is not a path.

    Raises
    ------
    OptionError
        The destination is a URL, or ``storage_options`` has nothing to work on.
    """
    text = os.fspath(destination)
    if "://" in text and not text.startswith("file://"):
        raise OptionError(
            f"dst={text!r} is a URL: this version writes to file systems; write to a "
            "path and upload the file"
        )
    if options.storage_options is not None:
        raise OptionError(
            f"storage_options cannot work with the path dst={text!r}; drop them"
        )
    path = text.removeprefix("file://")
    return LocalSink.of(path, token, overwrite=options.overwrite)


def begin(sink: LocalSink, sections: Sequence[tuple[int, int]]) -> float:
    """First task of a lazy write: make room at the destination."""
    sink.check_absent()
    sink.begin(sections)
    return time.time()


def started(_sink: LocalSink, _sections: Sequence[tuple[int, int]]) -> float:
    """First task where the caller has made room already."""
    return time.time()


def commit(
    plan: CogPlan,
    sink: LocalSink,
    started: float,
    count: int,
    *results: Any,  # noqa: ANN401
) -> CogResult:
    """Last task: write the header and let the file appear.

    Parameters
    ----------
    plan : CogPlan
        The plan.
    sink : LocalSink
        The destination.
    started : float
        Time of the first task, in seconds since the epoch.
    count : int
        How many of `results` are placements; the others say what was written.
    *results : RowPlacement or tuple of int
        One of each per row of chunks.

    Returns
    -------
    CogResult
        What was written.
    """
    _layout.check_one_run(plan, results[:count], results[count:])
    layout = _layout.assemble(plan, results[:count])
    placed = [
        Placed(each.section, each.offset, each.length, each.start, each.section_length)
        for each in layout.extents
    ]
    sink.commit(layout.header, placed, layout.size)
    levels = tuple(
        LevelResult(
            level.index,
            level.height,
            level.width,
            plan.tile_count(level),
            layout.level_bytes[level.index],
        )
        for level in plan.levels
    )
    return CogResult(
        path=sink.path,
        size=layout.size,
        bigtiff=layout.bigtiff,
        levels=levels,
        raw_bytes=plan.raw_bytes,
        duration=max(0.0, time.time() - started),
        statistics=layout.statistics,
        plan=plan,
    )
