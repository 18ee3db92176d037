"""Many files from one graph: a chunk of the source that they share is read once."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazycog import _graph, _progress, _scheduler, _source, _watch
from lazycog._write import Raster, Started, abort, begin, commit, open_sink, plan
from lazycog.sinks._protocol import PartSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask.delayed import Delayed

    from lazycog._options import CogOptions
    from lazycog._plan import CogPlan
    from lazycog._result import CogResult
    from lazycog.sinks.local import LocalSink


@dataclass(frozen=True)
class Job:
    """One file to write."""

    raster: Raster
    plan: CogPlan
    sink: LocalSink | PartSink
    token: str

    @classmethod
    def of(
        cls, raster: Raster, path: str, options: CogOptions, *, is_lazy: bool
    ) -> Job:
        """Take every decision about a file; nothing is created."""
        token = uuid.uuid4().hex[:12]
        sink = open_sink(path, token, options, is_lazy=is_lazy)
        the_plan = plan(raster, options)
        if isinstance(sink, PartSink):
            the_plan = the_plan.with_parts(sink.limits, options.part_size)
        the_plan.entries()
        return cls(raster, the_plan, sink, token)


def write_many(
    rasters: Sequence[Raster],
    paths: Sequence[str],
    options: CogOptions,
    *,
    compute: bool,
) -> list[CogResult] | Delayed:
    """Write rasters as COGs, from one graph.

    Parameters
    ----------
    rasters : sequence of Raster
        What to write.
    paths : sequence of str
        Where to, one per raster.
    options : CogOptions
        How; the same for all.
    compute : bool
        False gives the lazy write instead of its result.

    Returns
    -------
    list of CogResult, or dask.delayed.Delayed
        In the order of the rasters. Files that share chunks of the source are written
        together, the others one after the other.
    """
    jobs = [
        Job.of(raster, path, options, is_lazy=not compute)
        for raster, path in zip(rasters, paths, strict=True)
    ]
    if not compute:
        return _lazy(jobs, options, [begin] * len(jobs), family=None)
    started: list[Started] = []
    try:
        started += [begin(job.sink, job.plan.sections) for job in jobs]
        lazy = _lazy(jobs, options, started, family=jobs[0].token)
        tiles = sum(job.plan.total_tiles for job in jobs)
        with ExitStack() as stack:
            on_chunk = stack.enter_context(_progress.shown(tiles, options.progress))
            for job in jobs:
                stack.enter_context(_watch.watch(job.plan, job.token, on_chunk))
            return _scheduler.compute(lazy)
    except BaseException as error:
        error.add_note(
            "lazycog wrote the files that were finished by then; the destinations of "
            "the others are as they were"
        )
        for job, each in zip(jobs, [*started, *[None] * len(jobs)], strict=False):
            abort(job.sink, each, error, None)
        raise


def _lazy(
    jobs: Sequence[Job],
    options: CogOptions,
    begins: Sequence[Any],
    *,
    family: str | None,
) -> Delayed:
    """Build the graph of all files."""
    arrays = _source.optimised(
        [_source.as_lazy(job.raster.pixels, job.plan) for job in jobs]
    )
    groups = _source.sharing(arrays)
    lazies = []
    for job, array, first, group in zip(jobs, arrays, begins, groups, strict=True):
        # one group may run ahead, so that no thread idles at the end of another
        earlier = [
            _graph.commit_key(other.token)
            for other, number in zip(jobs, groups, strict=True)
            if number == group - 2
        ]
        lazies.append(
            _graph.build(
                array,
                job.plan,
                job.sink,
                _graph.Course(first, commit, earlier),
                token=job.token,
                lock=_scheduler.make_lock(options.lock, job.token),
                is_alone=False,
                family=family,
            )
        )
    return _graph.join(lazies)
