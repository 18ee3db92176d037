"""The single-pass graph: the only module that knows Dask.

Per chunk there are three tasks, four where a chunk needs pixels of its neighbours:

* ``cut``       the thin strips of a block that neighbouring chunks need
* ``encode``    every tile of the chunk's levels
* ``summary``   the sizes and the handed-up pixels, without the encoded bytes
* ``place``     the encoded bytes, to the position that the sizes give

and per row of chunks: ``sizes`` (one per 32 chunks), ``row`` (prefix sums, chained from
row to row) and ``placed``. Nothing depends on the number of tiles.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import dask.base
import dask.system
import numpy as np
from dask._task_spec import Alias, List, Task, TaskRef, convert_legacy_graph
from dask.array.optimization import optimize
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.optimization import cull

from lazycog._encode import ChunkTask, EncodedChunk, Summary, encode_chunk
from lazycog._grid import Span
from lazycog._layout import (
    RowPlacement,
    RowSummary,
    join_summaries,
    place_row,
    run_pieces,
    run_positions,
)
from lazycog._part_graph import (
    add_ends,
    add_finished_row,
    add_row_of_parts,
    add_save,
    is_finished,
)
from lazycog._plan import SUMMARY_GROUP
from lazycog._turns import Turns
from lazycog._watch import announce
from lazycog.errors import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lazycog._grid import Stage
    from lazycog._journal import Journal
    from lazycog._plan import CogPlan
    from lazycog._share import Known
    from lazycog.sinks._protocol import PartSink
    from lazycog.sinks.local import LocalSink

Key = tuple[Any, ...]
Slices = tuple[slice, slice, slice]
THIN = 16
"""Pieces up to a 16th of their block are cut together in one task, as copies, so that
the block itself can be freed."""
MOSTLY = 2
"""Pieces of at least half their block are taken from the block itself: the rest is not
worth a task."""


def as_lazy(pixels: Any, plan: CogPlan | None = None) -> Any:  # noqa: ANN401 - dask is untyped
    """Turn a NumPy array into a Dask array; leave a Dask array as it is."""
    if isinstance(pixels, dask.array.Array):
        return pixels
    side = plan.stages[0].chunk_size if plan else "auto"
    # name=False: hashing the pixels would read them all
    return dask.array.from_array(pixels, chunks=(-1, side, side), name=False)


def optimised(arrays: Sequence[Any]) -> list[Any]:
    """Optimise Dask arrays together, so that what they share stays one task.

    ``dask.optimize`` takes one array after the other, and fuses what they share into
    each of them.
    """
    graph = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
    keys = [list(flatten(array.__dask_keys__())) for array in arrays]
    whole = dict(optimize(graph, list(itertools.chain.from_iterable(keys))))
    result = []
    for array, own in zip(arrays, keys, strict=True):
        needed, _ = cull(whole, own)
        layer = MaterializedLayer(needed)
        alone = HighLevelGraph({array.name: layer}, {array.name: set()})
        result.append(
            dask.array.Array(alone, array.name, array.chunks, meta=array._meta)  # noqa: SLF001 - its public way is dtype alone
        )
    return result


def sharing(arrays: Sequence[Any]) -> list[int]:
    """Group optimised arrays that share tasks: a number for each, from 0.

    Examples
    --------
    >>> base = dask.array.ones((4, 8), chunks=(2, 8)).map_blocks(np.negative)
    >>> sharing(optimised([base[0], base[1], base[2], base[3]]))
    [0, 0, 1, 1]
    """
    owner: dict[Any, int] = {}
    groups: list[int] = []
    for array in arrays:
        graph = convert_legacy_graph(dict(array.__dask_graph__()))
        tasks = [key for key, task in graph.items() if isinstance(task, Task)]
        met = {owner[key] for key in tasks if key in owner}
        own = min(met) if met else max(groups, default=-1) + 1
        # groups that turn out to be one are numbered as the first of them
        groups = [own if each in met else each for each in groups] + [own]
        owner = {key: own if each in met else each for key, each in owner.items()}
        owner |= dict.fromkeys(tasks, own)
    numbers = {each: index for index, each in enumerate(dict.fromkeys(groups))}
    return [numbers[each] for each in groups]


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


def list_task(*results: Any) -> list[Any]:  # noqa: ANN401 - whatever was made
    """Put results into a list."""
    return list(results)


@dataclass(frozen=True)
class Grid:
    """Blocks with the pixels of a stage: the source's chunks or handed-up pieces."""

    names: Callable[[tuple[int, int, int]], Key]
    """Block index (band, row, col) -> key."""
    bounds: tuple[tuple[int, ...], ...]
    """Edges of the blocks on each axis (band, row, col)."""

    def pieces(self, axis: int, wanted: Span) -> list[tuple[int, Span, Span]]:
        """Give (block, span in the block, span in `wanted`) for a range of an axis."""
        edges = self.bounds[axis]
        first = int(np.searchsorted(edges, wanted.start, side="right")) - 1
        result = []
        for index in range(first, len(edges) - 1):
            start, stop = edges[index], edges[index + 1]
            low, high = max(start, wanted.start), min(stop, wanted.stop)
            if low >= wanted.stop:
                break
            if low < high:
                inside = Span(low - start, high - start)
                target = Span(low - wanted.start, high - wanted.start)
                result.append((index, inside, target))
        return result

    def shape(self, block: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of a block."""
        sides = [
            edges[index + 1] - edges[index]
            for edges, index in zip(self.bounds, block, strict=True)
        ]
        return sides[0], sides[1], sides[2]


@dataclass(frozen=True)
class Piece:
    """A part of a block that a chunk needs."""

    block: tuple[int, int, int]
    inside: Slices
    """Where in the block."""
    target: Slices
    """Where in the chunk."""
    volume: int


def _slices(spans: Sequence[Span]) -> Slices:
    first, second, third = (slice(span.start, span.stop) for span in spans)
    return first, second, third


def stage_pieces(grid: Grid, stage: Stage) -> dict[tuple[int, int, int], list[Piece]]:
    """Give, per chunk with its halo, the parts of blocks that it is made of."""
    rows = [stage.axis_chunk(0, row).need[0] for row in range(stage.chunk_rows)]
    cols = [stage.axis_chunk(1, col).need[0] for col in range(stage.chunk_cols)]
    wanted = ([stage.bands(group) for group in range(stage.groups)], rows, cols)
    # split each axis once: a chunk is a product of three of its parts
    axes = [
        [(index, grid.pieces(axis, span)) for index, span in enumerate(spans)]
        for axis, spans in enumerate(wanted)
    ]
    return {
        (group, row, col): [
            Piece(
                block=(band[0], line[0], column[0]),
                inside=_slices((band[1], line[1], column[1])),
                target=_slices((band[2], line[2], column[2])),
                volume=len(band[1]) * len(line[1]) * len(column[1]),
            )
            for band, line, column in itertools.product(bands, lines, columns)
        ]
        for (group, bands), (row, lines), (col, columns) in itertools.product(*axes)
    }


def pixels_of(block: Any) -> NDArray[np.generic]:  # noqa: ANN401 - two kinds of block
    """Give the pixels of a block: a source chunk or a summary with handed-up pixels."""
    if isinstance(block, Summary):
        return np.asarray(block.pixels)
    if isinstance(block, np.ma.MaskedArray):
        raise TypeError(
            "a chunk of the source is a numpy.ma.MaskedArray; fill it first, for "
            "example dask.array.ma.filled(array, nodata)"
        )
    return np.asarray(block)


def cut_task(
    block: Any,  # noqa: ANN401 - blocks of either kind
    parts: tuple[Slices, ...],
    _gate: object,
) -> tuple[NDArray[np.generic], ...]:
    """Copy thin parts of a block, so that the block can be freed."""
    pixels = pixels_of(block)
    return tuple(pixels[part].copy() for part in parts)


def part_task(block: Any, part: Slices) -> NDArray[np.generic]:  # noqa: ANN401
    """Give a large part of a block."""
    return pixels_of(block)[part]


Assembly = tuple[tuple[Slices, int | Slices], ...]
"""Per piece: where it goes in the chunk, and which of several cut parts it is or which
part of its block."""


def encode_task(
    task: ChunkTask,
    assembly: Assembly | None,
    token: str,
    park_folder: str | None,
    _gate: object,
    *pieces: Any,  # noqa: ANN401 - blocks of either kind
) -> EncodedChunk:
    """Put a chunk together from its pieces, encode it, and tell whoever watches."""
    chunk = encode_chunk(task, _assembled(task, assembly, pieces), park_folder)
    announce(token, task, chunk)
    return chunk


def _assembled(
    task: ChunkTask, assembly: Assembly | None, pieces: Sequence[Any]
) -> NDArray[np.generic]:
    """Give the pixels of a chunk with its halo."""
    if assembly is None:
        return pixels_of(pieces[0])
    canvas = None
    for (target, inside), piece in zip(assembly, pieces, strict=True):
        if isinstance(inside, int):
            pixels = pixels_of(piece[inside])
        else:
            pixels = pixels_of(piece)[inside]
        if canvas is None:
            canvas = np.empty(task.shape, dtype=pixels.dtype)
        canvas[target] = pixels
    if canvas is None:
        canvas = np.empty(task.shape, dtype=task.encoding.dtype)
    return canvas


def summary_task(chunk: EncodedChunk) -> Summary:
    """Leave the encoded bytes behind."""
    return chunk.summary


def sizes_task(*summaries: Summary) -> RowSummary:
    """Join the sizes of neighbouring chunks."""
    return join_summaries(summaries)


def row_task(
    first_plane: int,
    previous: RowPlacement | object,
    known: Known | None,
    *parts: RowSummary,
) -> RowPlacement:
    """Give the runs of a row of chunks their positions, behind the row above."""
    ends = previous.ends if isinstance(previous, RowPlacement) else {}
    return place_row(ends, parts, first_plane, known)


def known_task(known: Known | None, placement: RowPlacement) -> Known:
    """Add a row's tiles to those of the rows above it."""
    return {} if placement.shared is None else placement.shared.join(known or {})


def place_task(
    sink: LocalSink,
    task: ChunkTask,
    lock: Any,  # noqa: ANN401 - anything with the context protocol
    chunk: EncodedChunk,
    placement: RowPlacement,
) -> int:
    """Write the runs of a chunk to their positions.

    Returns
    -------
    int
        Checksum of what was written.

    Raises
    ------
    SourceChangedError
        The chunk is not the one whose sizes gave the positions.
    """
    first_plane = task.bands.start if task.encoding.planes else 0
    positions = run_positions(placement, task.stage, first_plane, task.col)
    sections: dict[tuple[int, int], list[tuple[int, memoryview]]] = {}
    same = placement.checksums[task.col] == chunk.summary.checksum
    for run in chunk.runs if same else ():
        position, length = positions[run.level, run.plane, run.tile_row]
        data = chunk.run_data(run)
        pieces = sections.setdefault((run.level, run.plane), [])
        cols = placement.tile_cols(run.level, task.col)
        begin = position
        for start, stop in run_pieces(placement, run, first_plane, cols):
            pieces.append((begin, data[start:stop]))
            begin += stop - start
        same = same and begin - position == length
    if not same:
        raise SourceChangedError(
            f"the chunk at row {task.row}, col {task.col} of stage {task.stage.index} "
            "was computed twice and gave different pixels, so nothing was written; "
            "make the source deterministic (seed it), or persist it first"
        )
    for section, pieces in sections.items():
        if lock is None:
            sink.write(section, pieces)
        else:
            with lock:
                sink.write(section, pieces)
    return chunk.summary.checksum


def after_task(block: Any, *_gate: object) -> Any:  # noqa: ANN401 - any block
    """Give a block once what it waits for is there."""
    return block


def placed_task(*checksums: int) -> tuple[int, ...]:
    """Say what a row of chunks wrote."""
    return checksums


def turn_task(*_placed: tuple[int, ...]) -> None:
    """Say that all groups of bands of a row are placed."""


class GraphBuilder:
    """Collects the tasks of one write."""

    def __init__(
        self,
        plan: CogPlan,
        sink: LocalSink | PartSink,
        turns: Turns,
        lock: Any,  # noqa: ANN401 - anything with the context protocol
        token: str,
        journal: Journal | None = None,
    ) -> None:
        self.plan = plan
        self.journal = journal
        self.saved: list[Key] = []
        self.sink = sink
        self.park_folder = getattr(sink, "park_folder", None)
        self.lock = lock
        self.token = token
        self.tasks: dict[Any, Task] = {}
        self.ends: list[Key] = []
        self.placements: list[Key] = []
        self.placed: list[Key] = []
        self.turns = turns
        self.first_use: dict[tuple[int, int, int], tuple[int, int, int]] = {}

    def key(self, name: str, *index: int) -> Key:
        """Name a task of this write."""
        return (f"cog-{name}-{self.token}", *index)

    def add(self, key: Key, function: Callable[..., Any], *arguments: Any) -> Key:  # noqa: ANN401
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
                List(*self.gate(stage, *self.first_use[block])),
            )
            for number, part in enumerate(inside):
                found[block, part] = (key, number)
        return found

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
        assembly: list[tuple[Slices, int | Slices]] = []
        for number, piece in enumerate(pieces):
            cut = thin.get((piece.block, _hashable(piece.inside)))
            if cut is not None:
                references.append(TaskRef(cut[0]))
                assembly.append((piece.target, cut[1]))
                continue
            name, inside = grid.names(piece.block), piece.inside
            block_volume = math.prod(grid.shape(piece.block))
            if not stage.index and piece.volume * MOSTLY < block_volume:
                name = self.add(
                    self.key(f"part{stage.index}", *index, number),
                    part_task,
                    TaskRef(name),
                    inside,
                )
                inside = (slice(None), slice(None), slice(None))
            references.append(TaskRef(name))
            assembly.append((piece.target, inside))
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
            List(*self.gate(stage, *index)),
            *references,
        )
        self.add(
            self.key(f"summary{stage.index}", *index), summary_task, TaskRef(encode)
        )

    def gate(self, stage: Stage, group: int, row: int, col: int) -> list[TaskRef]:
        """Give what a chunk waits for."""
        waits = self.turns.waits_for(stage, group, row, col)
        keys = [self.turn_key(*each) for each in waits]
        return [TaskRef(key) for key in keys or [self.key("begin")]]

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


def source_grid(array: Any) -> Grid:  # noqa: ANN401 - dask is untyped
    """Describe the chunks of a Dask array (band, row, col)."""
    bounds = tuple(
        tuple(int(edge) for edge in itertools.accumulate((0, *sizes)))
        for sizes in array.chunks
    )
    return Grid(lambda block: (array.name, *block), bounds)


def handed_up_grid(stage: Stage, above: Stage, name: Callable[..., Key]) -> Grid:
    """Describe the pieces that a stage hands up to the one above."""

    def edges(axis: int, chunks: int) -> tuple[int, ...]:
        spans: Iterator[Span] = (
            stage.axis_chunk(axis, index).own[-1] for index in range(chunks)
        )
        return (0, *(span.stop for span in spans))

    stops = [stage.bands(group).stop for group in range(stage.groups)]
    # a chunk of all bands may add a mask
    bands = (0, *stops[:-1], above.count)
    bounds = (bands, edges(0, stage.chunk_rows), edges(1, stage.chunk_cols))
    return Grid(lambda block: name(f"summary{stage.index}", *block), bounds)


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
    array: Any,  # noqa: ANN401 - dask is untyped
    plan: CogPlan,
    sink: LocalSink | PartSink,
    course: Course,
    *,
    token: str,
    lock: Any,  # noqa: ANN401 - anything with the context protocol
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

    Returns
    -------
    Delayed
        Computes to what `commit` returns.
    """
    turns = Turns(
        plan.stages,
        together=max(array.chunks[0]) > plan.stages[0].band_group,
        lookahead=worker_threads() + plan.sent_behind(worker_threads()),
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
    source = convert_legacy_graph(dict(array.__dask_graph__()))
    _gate_source(source, array.name, plan, builder)
    graph = HighLevelGraph(
        {
            array.name: MaterializedLayer(source),
            final: MaterializedLayer(builder.tasks),
        },
        {array.name: set(), final: {array.name}},
    )
    return Delayed(final, graph, layer=final)


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
        (builder.turns.waits_for(stage, *index), (name, *block), index)
        for block, index in builder.first_use.items()
    ]
    seen: set[Any] = set()
    # the first use comes first, since later ones must not hold it up
    for _, key, index in sorted(uses, key=lambda use: use[0]):
        own = key
        while isinstance(source[own], Alias):  # of tasks that Dask has fused
            own = source[own].target
        readers = [own] if own not in seen else []
        readers += _readers(source, own, seen)
        for reader in readers:
            if isinstance(source[reader], Task):
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
        for each in source[waiting.pop()].dependencies - seen:
            seen.add(each)
            waiting.append(each)
            if not source[each].dependencies:
                found.append(each)
    return found


def sink_of(lazy: Any) -> Any:  # noqa: ANN401 - dask is untyped
    """Give the sink of a lazy write, None when it is something else."""
    key = getattr(lazy, "key", None)
    if not isinstance(key, str) or not key.startswith("cog-commit-"):
        return None
    task = dict(lazy.__dask_graph__())[key]
    return task.args[1]


def source_token(pixels: Any) -> str:  # noqa: ANN401 - dask is untyped
    """Name the source: the same for the same pixels, as far as Dask knows."""
    if isinstance(pixels, dask.array.Array):
        return str(pixels.name)
    return str(dask.base.tokenize(pixels))


def worker_threads() -> int:
    """Count the threads that would compute on the scheduler configured now."""
    client = _client()
    if client is not None:
        workers: dict[str, int] = client.nthreads()
        return max(1, sum(workers.values()))
    threads: int = dask.config.get("num_workers", None) or dask.system.CPU_COUNT
    return threads


def make_lock(lock: Any, token: str) -> Any:  # noqa: ANN401 - anything with the context protocol
    """Turn the ``lock`` option into a lock that reaches every worker, or None."""
    if lock is None or lock is False:
        return None
    if lock is not True:
        return lock
    if _client() is not None:
        from distributed import Lock  # noqa: PLC0415 - an extra

        return Lock(f"lazycog-{token}")
    from dask.utils import SerializableLock  # noqa: PLC0415

    return SerializableLock(f"lazycog-{token}")


def _client() -> Any:  # noqa: ANN401 - distributed may not be installed
    """Give the distributed client that would compute, or None."""
    if "distributed" not in sys.modules:  # which Dask would import to look for one
        return None
    from dask.base import get_scheduler  # noqa: PLC0415

    client = getattr(get_scheduler(), "__self__", None)
    return client if hasattr(client, "scheduler_info") else None


def workers_without(found: Callable[[], bool]) -> list[str]:
    """Ask every worker of the cluster; give those that answer False.

    Parameters
    ----------
    found : callable
        Quick; runs on each worker.

    Returns
    -------
    list of str
        Addresses; empty where there is no cluster.
    """
    client = _client() or _client_of_task()
    if client is None:
        return []
    answers = client.run(found, on_error="return")
    return sorted(worker for worker, answer in answers.items() if answer is False)


def _client_of_task() -> Any:  # noqa: ANN401 - distributed may not be installed
    """Give a client of the cluster whose task this is, or None."""
    if "distributed.worker" not in sys.modules:
        return None
    from distributed import get_client, get_worker  # noqa: PLC0415 - an extra

    try:
        get_worker()
    except ValueError:  # distributed is loaded, but this thread is no worker
        return None
    return get_client()


def compute(lazy: Delayed) -> Any:  # noqa: ANN401
    """Compute a lazy write on whatever scheduler is configured."""
    scheduler = dask.config.get("scheduler", None)
    if "distributed" not in sys.modules:
        # there is no client, but Dask would import all of distributed to find out
        named = dask.base.named_schedulers
        scheduler = named.get(str(scheduler or "threads").lower(), scheduler)
    (result,) = dask.compute(lazy, scheduler=scheduler)
    return result
