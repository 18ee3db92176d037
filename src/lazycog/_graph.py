"""The single-pass graph.

Per chunk there are three tasks, four where a chunk needs pixels of its neighbours; what
reads the source for one chunk alone becomes part of its task:

* ``cut``       the thin strips of a block that neighbouring chunks need
* ``encode``    every tile of the chunk's levels
* ``summary``   the sizes and the handed-up pixels, without the encoded bytes; in files,
  the first row of tiles goes to its place here, since it waits for no other row
* ``place``     the encoded bytes, to the position that the sizes give

and per row of chunks: ``sizes`` (one per 32 chunks), ``row`` (prefix sums, chained from
row to row) and ``placed``. Nothing depends on the number of tiles.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from dask._task_spec import Alias, DataNode, List, Task, TaskRef
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from lazycog._blocks import handed_up_grid, source_grid, stage_pieces
from lazycog._encode import ChunkTask
from lazycog._part_graph import (
    add_ends,
    add_finished_row,
    add_row_of_parts,
    add_save,
    is_finished,
)
from lazycog._plan import SUMMARY_GROUP
from lazycog._scheduler import is_cluster, worker_threads
from lazycog._source import dependencies, own_name, renamed
from lazycog._tasks import (
    after_task,
    ahead_task,
    cut_task,
    encode_task,
    known_task,
    list_task,
    part_task,
    place_task,
    placed_task,
    row_task,
    sizes_task,
    summary_task,
    turn_task,
)
from lazycog._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from dask.array import Array

    from lazycog._blocks import Grid, Key, Piece
    from lazycog._grid import Stage
    from lazycog._journal import Journal
    from lazycog._plan import CogPlan
    from lazycog._tasks import Shape, Slices
    from lazycog.sinks._protocol import PartSink
    from lazycog.sinks.local import LocalSink

THIN = 16
"""Pieces up to a 16th of their block are cut together in one task, as copies, so that
the block itself can be freed."""
MOSTLY = 2
"""Pieces of at least half their block are taken from the block itself: the rest is not
worth a task."""


def commit_key(token: str) -> str:
    """Name the last task of a write."""
    return f"cog-commit-{token}"


def join(lazies: Sequence[Delayed]) -> Delayed:
    """Make one lazy value of several writes: the list of their results."""
    tasks: dict[Any, Any] = {}
    for lazy in lazies:
        tasks |= dict(lazy.__dask_graph__())
    final = "cog-all-" + lazies[0].key.removeprefix(commit_key(""))
    tasks[final] = Task(final, list_task, *(TaskRef(lazy.key) for lazy in lazies))
    graph = HighLevelGraph({final: MaterializedLayer(tasks)}, {final: set()})
    return Delayed(final, graph, layer=final)


class GraphBuilder:
    """Collects the tasks of one write."""

    def __init__(
        self,
        plan: CogPlan,
        sink: LocalSink | PartSink,
        turns: Turns,
        lock: AbstractContextManager[object] | None,
        token: str,
        journal: Journal | None = None,
    ) -> None:
        self.plan = plan
        self.journal = journal
        self.saved: list[Key] = []
        self.sink = sink
        self.park_folder = getattr(sink, "park_folder", None)
        # a tile that stands elsewhere moves those behind it
        shares = plan.encoding.deduplicate
        self.goes_ahead = self.park_folder is not None and not shares
        self.lock = lock
        self.token = token
        self._names: dict[str, str] = {}
        self._shapes: dict[Shape, Shape] = {}
        self.tasks: dict[Any, Task] = {}
        self.ends: list[Key] = []
        self.placements: list[Key] = []
        self.placed: list[Key] = []
        self.turns = turns
        self.first_use: dict[tuple[int, int, int], tuple[int, int, int]] = {}

    def key(self, name: str, *index: int) -> Key:
        """Name a task of this write."""
        # of one string, since large graphs have very many
        return (self._names.setdefault(name, f"cog-{name}-{self.token}"), *index)

    def add(self, key: Key, function: Callable[..., Any], *arguments: object) -> Key:
        """Add a task."""
        self.tasks[key] = Task(key, function, *arguments)
        return key

    def ref(self, name: str, *index: int) -> TaskRef:
        """Refer to the result of a task of this write."""
        return TaskRef(self.key(name, *index))

    def add_stage(self, stage: Stage, grid: Grid, begin: Key) -> None:
        """Add all tasks of a stage."""
        pieces = stage_pieces(grid, stage)
        chunks = {
            index: ChunkTask(stage, self.plan.encoding, *index) for index in pieces
        }
        # what a stage hands up is small enough to go whole to each chunk that it meets
        thin = {} if stage.index else self._add_cuts(stage, grid, pieces)
        for index, task in chunks.items():
            if not is_finished(self, stage, *index[:2]):
                self._add_encode(task, grid, pieces[index], thin, index)
        turns: dict[int, list[TaskRef]] = {}
        for group, row in np.ndindex(stage.groups, stage.chunk_rows):
            self._add_row(stage, chunks, group, row, begin)
            if self.plan.parts and row == stage.chunk_rows - 1:
                ends = add_ends(self, stage, group)
                if group == stage.groups - 1:
                    self.ends.append(ends)
            turn = self.turns.turn(stage, group, row)
            done = self.done_key(stage, group, row)
            turns.setdefault(turn, []).append(TaskRef(done))
        for number, placed in turns.items():
            if len(placed) > 1:
                self.add(self.turn_key(stage.index, number), turn_task, *placed)

    def turn_key(self, number: int, turn: int) -> Key:
        """Name the task after which a turn of a stage is placed."""
        stage = self.plan.stages[number]
        if stage.groups > 1 and self.turns.together:
            return self.key(f"turn{number}", turn)
        return self.done_key(stage, *divmod(turn, stage.chunk_rows))

    def done_key(self, stage: Stage, group: int, row: int) -> Key:
        """Name the task after which a row of chunks need not be computed again."""
        saved = self.journal and not is_finished(self, stage, group, row)
        name = "saved" if saved else "placed"
        return self.key(f"{name}{stage.index}", group, row)

    def _add_cuts(
        self,
        stage: Stage,
        grid: Grid,
        pieces: dict[tuple[int, int, int], list[Piece]],
    ) -> dict[tuple[tuple[int, int, int], tuple[int, ...]], tuple[Key, int]]:
        """Add one task per chunk of the source for all its thin parts."""
        parts: dict[tuple[int, int, int], dict[tuple[int, ...], Slices]] = {}
        for index, own in pieces.items():
            for each in own:
                self.first_use.setdefault(each.block, index)
                if each.volume * THIN <= math.prod(grid.shape(each.block)):
                    inside = parts.setdefault(each.block, {})
                    inside[_hashable(each.inside)] = each.inside
        found = {}
        for block, inside in parts.items():
            key = self.key(f"cut{stage.index}", *block)
            self.add(
                key,
                cut_task,
                TaskRef(grid.names(block)),
                tuple(inside.values()),
                self._shape(grid, block),
                List(*self.gate(stage, *self.first_use[block])),
            )
            for number, part in enumerate(inside):
                found[block, part] = (key, number)
        return found

    def _shape(self, grid: Grid, block: tuple[int, int, int]) -> Shape:
        """Give the shape of a block; tasks share those that are equal."""
        shape = grid.shape(block)
        return self._shapes.setdefault(shape, shape)

    def _add_encode(
        self,
        task: ChunkTask,
        grid: Grid,
        pieces: list[Piece],
        thin: dict[Any, tuple[Key, int]],
        index: tuple[int, int, int],
    ) -> None:
        stage = task.stage
        references: list[TaskRef] = []
        assembly: list[tuple[Slices, int | Slices, Shape | None]] = []
        for number, piece in enumerate(pieces):
            cut = thin.get((piece.block, _hashable(piece.inside)))
            if cut is not None:
                references.append(TaskRef(cut[0]))
                assembly.append((piece.target, cut[1], None))
                continue
            name, inside = grid.names(piece.block), piece.inside
            shape = None if stage.index else self._shape(grid, piece.block)
            if shape and piece.volume * MOSTLY < math.prod(shape):
                name = self.add(
                    self.key(f"part{stage.index}", *index, number),
                    part_task,
                    TaskRef(name),
                    inside,
                    shape,
                )
                inside, shape = (slice(None), slice(None), slice(None)), None
            references.append(TaskRef(name))
            assembly.append((piece.target, inside, shape))
        whole = len(pieces) == 1 and pieces[0].volume == math.prod(
            grid.shape(pieces[0].block)
        )
        encode = self.add(
            self.key(f"encode{stage.index}", *index),
            encode_task,
            task,
            None if whole else tuple(assembly),
            self.token,
            self.park_folder,
            self.goes_ahead,
            List(*self.gate(stage, *index)),
            *references,
        )
        self._add_summary(task, encode, index)

    def _add_summary(
        self, task: ChunkTask, encode: Key, index: tuple[int, int, int]
    ) -> None:
        """Add what is left of a chunk when its tiles wait for their place."""
        stage = task.stage
        key = self.key(f"summary{stage.index}", *index)
        before = self._summary_before(stage, index, 1)
        if not self.goes_ahead:
            self.add(key, summary_task, TaskRef(encode), before)
            return
        group, row, col = index
        left: Key = self.key("begin")
        if col:
            left = self.key(f"summary{stage.index}", group, row, col - 1)
        elif row:
            left = self.key(f"row{stage.index}", group, row - 1)
        self.add(
            key,
            ahead_task,
            self.sink,
            task,
            self.lock,
            TaskRef(encode),
            TaskRef(left),
            before,
        )

    def gate(self, stage: Stage, group: int, row: int, col: int) -> list[TaskRef]:
        """Give what a chunk waits for."""
        placed = self.turns.waits_for(stage, group, row, col)
        waits = [TaskRef(self.turn_key(*each)) for each in placed]
        # from left to right, or a wide row of source chunks would be in memory
        before = self._summary_before(stage, (group, row, col), self.turns.window)
        waits += [] if before is None else [before]
        return waits or [TaskRef(self.key("begin"))]

    def _summary_before(
        self, stage: Stage, index: tuple[int, int, int], chunks: int
    ) -> TaskRef | None:
        """Refer to the summary of the chunk that many places before."""
        before = self.turns.before(stage, *index, chunks)
        if before is None or is_finished(self, stage, *before[:2]):
            return None
        return self.ref(f"summary{stage.index}", *before)

    def _add_row(
        self,
        stage: Stage,
        chunks: dict[tuple[int, int, int], ChunkTask],
        group: int,
        row: int,
        begin: Key,
    ) -> None:
        """Add sizes, positions and placement of a row of chunks."""
        number = stage.index
        placed = self.key(f"placed{number}", group, row)
        self.placements.append(self.key(f"row{number}", group, row))
        self.placed.append(placed)
        if is_finished(self, stage, group, row):
            add_finished_row(self, stage, group, row)
            return
        parts = []
        for first in range(0, stage.chunk_cols, SUMMARY_GROUP):
            cols = range(first, min(first + SUMMARY_GROUP, stage.chunk_cols))
            summaries = [
                TaskRef(self.key(f"summary{number}", group, row, col)) for col in cols
            ]
            key = self.key(f"sizes{number}", group, row, first)
            parts.append(TaskRef(self.add(key, sizes_task, *summaries)))
        previous = self.key(f"row{number}", group, row - 1) if row else begin
        first_plane = stage.bands(group).start if self.plan.encoding.planes else 0
        placement = self.add(
            self.key(f"row{number}", group, row),
            row_task,
            first_plane,
            TaskRef(previous),
            self._known(stage, group, row),
            *parts,
        )
        if self.plan.parts:
            add_row_of_parts(self, stage, group, row)
        else:
            self._add_writes(stage, chunks, group, row, placement)
        if self.journal:
            self.saved.append(add_save(self, stage, group, row))

    def _add_writes(
        self,
        stage: Stage,
        chunks: dict[tuple[int, int, int], ChunkTask],
        group: int,
        row: int,
        placement: Key,
    ) -> None:
        """Add the tasks that write a row of chunks by position."""
        number = stage.index
        written = [
            self.add(
                self.key(f"place{number}", group, row, col),
                place_task,
                self.sink,
                chunks[group, row, col],
                self.lock,
                TaskRef(self.key(f"encode{number}", group, row, col)),
                TaskRef(placement),
            )
            for col in range(stage.chunk_cols)
        ]
        placed = self.key(f"placed{number}", group, row)
        self.add(placed, placed_task, *[TaskRef(key) for key in written])

    def _known(self, stage: Stage, group: int, row: int) -> TaskRef | None:
        """Refer to the tiles of the rows above, where tiles are shared."""
        if not self.plan.encoding.deduplicate or not row:
            return None
        number = stage.index
        before = self.key(f"known{number}", group, row - 1)
        earlier = (
            TaskRef(self.key(f"known{number}", group, row - 2)) if row > 1 else None
        )
        above = TaskRef(self.key(f"row{number}", group, row - 1))
        return TaskRef(self.add(before, known_task, earlier, above))


def _hashable(part: Slices) -> tuple[int, ...]:
    """Slices cannot be dictionary keys before Python 3.12."""
    return tuple(edge for each in part for edge in (each.start, each.stop))


@dataclass(frozen=True)
class Course:
    """How a write begins, ends, and what it goes on from."""

    begin: Callable[..., Any]
    """First task: ``begin(sink, sections, *after)`` gives when and where it began."""
    commit: Callable[..., Any]
    """Last task: ``commit(plan, sink, start, n, *placements, *placed, *ends, *saved)``
    gives the result."""
    after: Sequence[str] = ()
    """Keys of tasks in other graphs that come first."""
    journal: Journal | None = None
    """Where finished rows are noted and taken from."""


def build(
    array: Array,
    plan: CogPlan,
    sink: LocalSink | PartSink,
    course: Course,
    *,
    token: str,
    lock: AbstractContextManager[object] | None,
    is_alone: bool,
    family: str | None,
) -> Delayed:
    """Build the graph of a whole write.

    Parameters
    ----------
    array : dask.array.Array
        Pixels (band, row, col), optimised.
    plan : CogPlan
        The plan.
    sink : LocalSink or PartSink
        The destination.
    course : Course
        How the write begins and ends.
    token : str
        Makes the keys of this write its own.
    lock : context manager or None
        Serialises the writes.
    is_alone : bool
        Whether no other write can be computed together with this one, and read the
        same source.
    family : str or None
        Makes the source's keys on a cluster those of this write and of others of the
        same family; None where any other write may share them.

    Returns
    -------
    Delayed
        Computes to what `commit` returns.
    """
    threads = worker_threads()
    turns = Turns(
        plan.stages,
        together=max(array.chunks[0]) > plan.stages[0].band_group,
        lookahead=threads + plan.sent_behind(threads),
        # threads take first what became ready last, and would leave the rest behind; a
        # cluster keeps the order, and results take their time from worker to worker
        window=threads * (3 if is_cluster() else 1),
    )
    builder = GraphBuilder(plan, sink, turns, lock, token, course.journal)
    waits = [TaskRef(key) for key in course.after]
    start = builder.add(builder.key("begin"), course.begin, sink, plan.sections, *waits)
    grid = source_grid(array)
    for stage in plan.stages:
        builder.add_stage(stage, grid, start)
        if stage.handed_up:
            above = plan.stages[stage.index + 1]
            grid = handed_up_grid(stage, above, builder.key)
    final = commit_key(token)
    results = (*builder.placements, *builder.placed, *builder.ends, *builder.saved)
    references = [TaskRef(key) for key in results]
    count = len(builder.placements)
    builder.tasks[final] = Task(
        final, course.commit, plan, sink, TaskRef(start), count, *references
    )
    source = dict(array.__dask_graph__())
    name = array.name
    if is_alone:
        _fuse_source(source, builder)
    if family and is_cluster():  # elsewhere graphs do not meet
        name = _rename_source(source, name, family, builder)
    _gate_source(source, name, plan, builder)
    graph = HighLevelGraph(
        {name: MaterializedLayer(source), final: MaterializedLayer(builder.tasks)},
        {name: set(), final: {name}},
    )
    return Delayed(final, graph, layer=final)


def _fuse_source(source: dict[Any, Any], builder: GraphBuilder) -> None:
    """Read blocks of the source in the task that encodes them, if no other needs them.

    That is a task less per block; and no block waits in memory, since a thread that has
    read one may find another task more urgent than to encode it. What a block is
    computed from stays outside: it would be kept until the block is encoded.
    """
    every = (*source.values(), *builder.tasks.values())
    users = Counter(itertools.chain.from_iterable(map(dependencies, every)))
    encode, _ = builder.key("encode0", 0)
    for key, task in builder.tasks.items():
        if key[0] != encode:
            continue
        fused = [task]
        for each in task.dependencies:
            block = source.get(each)
            if isinstance(block, Task) and users[each] == 1:
                made_of = map(source.get, block.dependencies)
                if all(isinstance(part, DataNode) for part in made_of):
                    fused.append(source.pop(each))
        if len(fused) > 1:
            builder.tasks[key] = Task.fuse(*fused, key=key)


def _rename_source(
    source: dict[Any, Any], name: str, family: str, builder: GraphBuilder
) -> str:
    """Make the source's keys those of a family of writes; give the array's new name."""
    keys = renamed(source, family)
    if not keys:
        return name
    for old, new in keys.items():
        source[new] = source.pop(old).substitute(keys, key=new)
    for key, task in builder.tasks.items():
        if not keys.keys().isdisjoint(task.dependencies):
            builder.tasks[key] = task.substitute(keys)
    return own_name(name, family)


def _gate_source(
    source: dict[Any, Any], name: str, plan: CogPlan, builder: GraphBuilder
) -> None:
    """Let tasks of the source wait as the chunks do that use them first.

    Otherwise idle threads read ahead, and raw pixels pile up; and a lazy write would
    read before it knows that its destination can be written. What blocks are made of
    waits like the first of them, if it depends on nothing itself: it reads.
    """
    stage = plan.stages[0]
    uses = [
        (builder.turns.position(stage, *index), (name, *block), index)
        for block, index in builder.first_use.items()
        if (name, *block) in source  # else it is read where it is encoded
    ]
    seen: set[Any] = set()
    # the first use comes first, since later ones must not hold it up
    for _, key, index in sorted(uses, key=lambda use: use[0]):
        own = key
        while isinstance(source.get(own), Alias):  # of tasks that Dask has fused
            own = source[own].target
        readers = [own] if own not in seen else []
        readers += _readers(source, own, seen)
        for reader in readers:
            if isinstance(source.get(reader), Task):
                gate = builder.gate(stage, *index)
                after_key = ("cog-after", reader)
                after = Task(after_key, after_task, TaskRef(reader), *gate)
                source[reader] = Task.fuse(source[reader], after, key=reader)


def _readers(source: dict[Any, Any], key: Any, seen: set[Any]) -> list[Any]:  # noqa: ANN401 - any key
    """Give what a task is made of, depends on nothing, and was not seen before."""
    found = []
    waiting = [] if key in seen else [key]
    seen.add(key)
    while waiting:
        for each in dependencies(source.get(waiting.pop())) - seen:
            seen.add(each)
            waiting.append(each)
            if not dependencies(source.get(each)):
                found.append(each)
    return found


def sink_of(lazy: Delayed) -> LocalSink | PartSink | None:
    """Give the sink of a lazy write, None when it is something else."""
    key = getattr(lazy, "key", None)
    if not isinstance(key, str) or not key.startswith("cog-commit-"):
        return None
    sink: LocalSink | PartSink = dict(lazy.__dask_graph__())[key].args[1]
    return sink
