"""One write, from pixels and options to the file: plan, graph, compute, commit."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lazycog import (
    _assemble,
    _graph,
    _join,
    _journal,
    _layout,
    _progress,
    _scheduler,
    _source,
    _watch,
)
from lazycog._destination import (
    PART_OPTIONS,
    check_local,
    given_sink,
    is_url,
    part_limits,
    store_sink,
)
from lazycog._gather import Sent
from lazycog._join import Ends
from lazycog._plan import CogPlan, plan_cog
from lazycog._result import CogResult, LevelResult
from lazycog.errors import (
    MissingExtraError,
    OptionError,
    SinkError,
    SourceChangedError,
)
from lazycog.sinks._protocol import PartSink, ResumableSink
from lazycog.sinks.fsspec_stream import StreamSink
from lazycog.sinks.local import RESUME_TOKEN, LocalSink, Placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask.delayed import Delayed

    from lazycog._georef import Description
    from lazycog._journal import Journal
    from lazycog._options import CogOptions


@dataclass(frozen=True)
class Raster:
    """A lazy raster without xarray: pixels (band, row, col) and what they mean."""

    pixels: Any
    """Dask or NumPy array, shape (band, height, width)."""
    description: Description
    mask_given: bool = False
    """The last band of the pixels is a mask, which the description does not count."""
    waiting_bytes: int = 0
    """Most bytes of source chunks that wait until all is reprojected from them."""
    lost: str = ""
    """What the file that it was opened from says, and the new one will not."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


def plan(raster: Raster, options: CogOptions) -> CogPlan:
    """Take every decision about a write; compute nothing."""
    found = _plan(raster, options)
    if any(getattr(options, name) for name in PART_OPTIONS):
        return found.with_parts(part_limits(options), options.part_size)
    return found


def _plan(raster: Raster, options: CogOptions) -> CogPlan:
    chunks = getattr(raster.pixels, "chunks", None)
    source_chunk = tuple(map(max, chunks)) if chunks else None
    found = plan_cog(
        raster.description,
        raster.size,
        options,
        source_chunk,
        mask_given=raster.mask_given,
    )
    return replace(found, reprojected_bytes=raster.waiting_bytes)


def write(
    raster: Raster,
    destination: str | os.PathLike[str] | PartSink,
    options: CogOptions,
    *,
    compute: bool,
) -> CogResult | Delayed:
    """Write a raster as a COG.

    Parameters
    ----------
    raster : Raster
        What to write.
    destination : path, URL or PartSink
        Where to.
    options : CogOptions
        How.
    compute : bool
        False gives the lazy write instead of its result.

    Returns
    -------
    CogResult or dask.delayed.Delayed
        The result, or what computes to it.

    Raises
    ------
    OptionError
        ``resume=True`` with ``compute=False``, or the latter is no bool.
    """
    if not isinstance(compute, bool):
        raise OptionError(
            f"compute={compute!r}: choose one of True, False (a lazy write)"
        )
    token = uuid.uuid4().hex[:12]
    if options.resume and not compute:
        raise OptionError(
            "resume=True cannot work with compute=False: a lazy write may be computed "
            "by several clients; drop one of the two"
        )
    sink = open_sink(destination, token, options, is_lazy=not compute)
    the_plan = _plan(raster, options)
    if isinstance(sink, PartSink):
        the_plan = the_plan.with_parts(sink.limits, options.part_size)
    the_plan.entries()  # GDAL refuses a CRS or transform here, not at the commit
    (pixels,) = _source.optimised([_source.as_lazy(raster.pixels, the_plan)])
    build = partial(
        _graph.build,
        pixels,
        the_plan,
        token=token,
        lock=_scheduler.make_lock(options.lock, token),
        is_alone=compute,
        family=token if compute else None,
    )
    if not compute:
        return build(sink, _graph.Course(begin, commit))
    started = None
    journal = None
    try:
        # here and not in a task: one that ran late would make the folder again
        # after the abort
        if options.resume:
            source = _source.source_token(raster.pixels)
            sink, started, journal = begin_or_go_on(sink, the_plan, source)
        else:
            started = begin(sink, the_plan.sections)
        lazy = build(sink, _graph.Course(started, commit, journal=journal))
        with (
            _progress.shown(the_plan.total_tiles, options.progress) as on_chunk,
            _watch.watch(the_plan, token, on_chunk),
        ):
            result = _scheduler.compute(lazy)
        if journal:
            forget(sink, journal)
    except BaseException as error:
        _told(error, sink)
        if journal and not isinstance(error, SourceChangedError):
            error.add_note("finished rows are kept: run it again with resume=True")
        else:
            abort(sink, started, error, journal)
        raise
    return result


def _told(error: BaseException, sink: LocalSink | PartSink) -> None:
    """Add to an error what has become of the destination."""
    if isinstance(error, MissingExtraError):  # says it all
        return
    told = "is as it was" in str(error)
    rest = "" if told else f": {sink.path} is as it was"
    error.add_note(f"lazycog wrote nothing{rest}")


def open_sink(
    destination: str | os.PathLike[str] | PartSink,
    token: str,
    options: CogOptions,
    *,
    is_lazy: bool,
) -> LocalSink | PartSink:
    """Resolve the destination, and refuse options that it does not have."""
    if isinstance(destination, PartSink):
        return given_sink(destination, options)
    if not isinstance(destination, str | os.PathLike):
        raise OptionError(
            f"dst={destination!r}: give a path, a URL or a sink, not "
            f"{type(destination).__name__}"
        )
    text = os.fspath(destination)
    if is_url(text):
        return store_sink(text, token, options, is_lazy=is_lazy)
    check_local(text, options)
    path = text.removeprefix("file://")
    name = RESUME_TOKEN if options.resume else token
    return LocalSink.of(path, name, overwrite=options.overwrite)


@dataclass(frozen=True)
class Started:
    """A write that has begun."""

    seconds: float
    """Since the epoch."""
    upload: str = ""
    """Name of the upload to a store."""

    def __call__(self, *_: object) -> Started:
        """Stand as the first task where the caller has begun already."""
        return self


def begin(
    sink: LocalSink | PartSink, sections: Sequence[tuple[int, int]], *_after: object
) -> Started:
    """Make room at the destination: the first task of a lazy write."""
    sink.check_absent()
    upload = sink.begin() if isinstance(sink, PartSink) else ""
    if isinstance(sink, LocalSink):
        sink.begin(sections)
    if isinstance(sink, LocalSink | StreamSink):
        sink.refuse_blind(_scheduler.workers_without(sink.is_seen))
    return Started(time.time(), upload)


def abort_lazy(lazy: object) -> None:
    """Remove everything that a lazy write left behind when it failed.

    Parameters
    ----------
    lazy : dask.delayed.Delayed
        What ``to_cog(..., compute=False)`` gave, in the process that made it.

    Raises
    ------
    OptionError
        It is something else.

    Notes
    -----
    The destination stays as it is: an upload is aborted, a temporary folder removed. A
    write that is complete, or was never computed, has nothing to remove.
    """
    sink = _graph.sink_of(lazy)
    if sink is None:
        raise OptionError(
            f"abort takes what to_cog(..., compute=False) gave, not "
            f"{type(lazy).__name__}"
        )
    sink.abort()


def begin_or_go_on(
    sink: LocalSink | PartSink, plan: CogPlan, source: str
) -> tuple[LocalSink | PartSink, Started, Journal]:
    """Go on with a killed write of the same raster and options, or begin.

    Raises
    ------
    OptionError
        The destination cannot go on with a write.
    """
    if not isinstance(sink, ResumableSink):
        raise OptionError(f"resume=True cannot work with dst={sink.path!r}; drop it")
    name = _journal.fingerprint(plan, source)
    head = _journal.find(sink.state)
    if head is not None:
        found = sink.with_token(head.token)
        if head.fingerprint == name and found.can_go_on(head.upload):
            sink.check_absent()
            journal = _journal.go_on(found.state, plan, head.upload)
            return found, Started(time.time(), head.upload), journal
        _journal.warn_of_another(head, name)
        found.abort(head.upload)
        sink.state.clear()
    started = begin(sink, plan.sections)
    journal = _journal.start(sink.state, name, started.upload, sink.token)
    return sink, started, journal


def forget(sink: LocalSink | PartSink, journal: Journal) -> None:
    """Remove the journal of a write that is complete."""
    journal.state.clear()
    if isinstance(sink, LocalSink):
        sink.abort()


def abort(
    sink: LocalSink | PartSink,
    started: Started | None,
    error: BaseException,
    journal: Journal | None,
) -> None:
    """Remove everything of a write that failed with `error`."""
    try:
        if not isinstance(sink, PartSink):
            sink.abort()
        elif started is not None:
            sink.abort(started.upload)
        if journal:
            journal.state.clear()
    except SinkError as refused:  # the first error is the one to tell
        error.add_note(f"the upload could not be aborted: {refused}")


def commit(
    plan: CogPlan,
    sink: LocalSink | PartSink,
    started: Started,
    count: int,
    *results: Any,  # noqa: ANN401 - of every kind of task
) -> CogResult:
    """Last task: write the header and let the file appear.

    Parameters
    ----------
    plan : CogPlan
        The plan.
    sink : LocalSink or PartSink
        The destination.
    started : Started
        When, and for a store the name of the upload.
    count : int
        How many rows of chunks there are.
    *results : RowPlacement, then tuple of int or Sent, then Ends, then None
        Positions and what was written, one of each per row of chunks; then, for a
        store, what is left of each stage; and None for each row in the journal.

    Returns
    -------
    CogResult
        What was written.
    """
    placements, written = results[:count], results[count : 2 * count]
    checksums = [each.checksums if isinstance(each, Sent) else each for each in written]
    _layout.check_one_run(plan, placements, checksums)
    layout = _assemble.assemble(plan, placements)
    if plan.parts and not isinstance(sink, LocalSink):
        ends = [each for each in results[2 * count :] if isinstance(each, Ends)]
        receipts = [receipt for each in written for receipt in each.receipts]
        _join.finish(sink, started.upload, plan.parts, layout, ends, receipts)
    elif isinstance(sink, LocalSink):
        placed = [
            Placed(
                each.section, each.offset, each.length, each.start, each.section_length
            )
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
        duration=max(0.0, time.time() - started.seconds),
        statistics=layout.statistics,
        plan=plan,
    )
