"""Lazy reprojection: one task per block, every chunk of the source read once."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal

import dask.array
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from lazycog._grid import ceil_div
from lazycog._warp import BlockTask, Role, warp_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lazycog._windows import Box, Unit, Warp


def blocks(
    warp: Warp, side: int, units: Sequence[Sequence[Unit]]
) -> Iterator[tuple[int, int, Box, tuple[Unit, ...]]]:
    """Group units into blocks.

    Parameters
    ----------
    warp : Warp
        The two grids.
    side : int
        Side of a block, a multiple of the unit's.
    units : sequence of sequence of Unit
        All of them.

    Yields
    ------
    row, col : int
        Position of the block.
    box : Box
        Its pixels.
    units : tuple of Unit
        What it is made of.
    """
    step = side // warp.unit
    height, width = warp.target.height, warp.target.width
    for row, col in itertools.product(
        range(ceil_div(height, side)), range(ceil_div(width, side))
    ):
        box = (
            row * side,
            min((row + 1) * side, height),
            col * side,
            min((col + 1) * side, width),
        )
        rows = units[row * step : (row + 1) * step]
        own = itertools.chain.from_iterable(
            each[col * step : (col + 1) * step] for each in rows
        )
        yield row, col, box, tuple(own)


def touched(
    units: Sequence[Unit], row_edges: Sequence[int], col_edges: Sequence[int]
) -> list[tuple[int, int]]:
    """Give the chunks of the source that a block needs, as (row, col).

    Examples
    --------
    >>> from lazycog._windows import Unit
    >>> unit = Unit((0, 8, 0, 8), (3, 12, 0, 4))
    >>> touched([unit], [0, 10, 20], [0, 10, 20])
    [(0, 0), (1, 0)]
    """
    found: set[tuple[int, int]] = set()
    for unit in units:
        top, bottom, left, right = unit.source
        if top == bottom:
            continue
        rows = _between(row_edges, top, bottom)
        cols = _between(col_edges, left, right)
        found.update(itertools.product(rows, cols))
    return sorted(found)


def _between(edges: Sequence[int], start: int, stop: int) -> range:
    first = int(np.searchsorted(edges, start, side="right")) - 1
    last = int(np.searchsorted(edges, stop, side="left"))
    return range(first, last)


def lazy(
    array: dask.array.Array,
    warp: Warp,
    side: int,
    units: Sequence[Sequence[Unit]],
    *,
    mask: Literal["none", "given", "coverage"],
    alpha: int | None,
) -> dask.array.Array:
    """Build the reprojected array.

    Parameters
    ----------
    array : dask.array.Array
        Pixels of the source (band, row, col).
    warp : Warp
        The two grids.
    side : int
        Side of a block of the target, a multiple of the unit's.
    units : sequence of sequence of Unit
        All of them.
    mask : {"none", "given", "coverage"}
        Whether the last band of the source is a mask, or one is added that says where
        the source is.
    alpha : int or None
        Band of which 0 makes a pixel invalid.

    Returns
    -------
    dask.array.Array
        Pixels of the target, with the mask last if there is one.
    """
    name = f"warp-{tokenize(array.name, warp, side, mask, alpha)}"
    layers = Layers(array, warp, mask=mask, alpha=alpha)
    tasks: dict[Any, Any] = {}
    for row, col, box, own in blocks(warp, side, units):
        for band, (task, needed) in enumerate(layers.block_tasks(box, own)):
            references = [TaskRef((array.name, *each)) for each in needed]
            key = (name, band, row, col)
            tasks[key] = Task(key, warp_block, task, *references)
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[array])
    chunks = (
        layers.band_chunks,
        _cut(warp.target.height, side),
        _cut(warp.target.width, side),
    )
    return dask.array.Array(graph, name, chunks=chunks, dtype=array.dtype)


def waiting_bytes(
    array: dask.array.Array,
    warp: Warp,
    side: int,
    units: Sequence[Sequence[Unit]],
) -> int:
    """Bound the bytes of source chunks that are in memory at once, over all bands.

    A chunk of the source is read once, and stays from the first row of chunks of the
    target that needs it to the last one; a row begins before the one before it is done.
    `side` is that of a chunk of the target; the rest is as in :func:`lazy`.
    """
    edges = [[0, *itertools.accumulate(sizes)] for sizes in array.chunks[1:]]
    step = max(1, side // warp.unit)
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    for number, row in enumerate(units):
        for position in touched(row, *edges):
            first.setdefault(position, number // step)
            last[position] = number // step
    alive = np.zeros(len(units) // step + 2, dtype=np.int64)
    for (row_chunk, col_chunk), begin in first.items():
        area = array.chunks[1][row_chunk] * array.chunks[2][col_chunk]
        # also while the row before its first one is under way
        alive[max(0, begin - 1) : last[row_chunk, col_chunk] + 1] += area
    return int(alive.max()) * int(array.shape[0]) * int(array.dtype.itemsize)


def _cut(size: int, side: int) -> tuple[int, ...]:
    return tuple(min(side, size - start) for start in range(0, size, side))


class Layers:
    """Chunks of bands of the source, and what becomes of each."""

    def __init__(
        self,
        array: dask.array.Array,
        warp: Warp,
        *,
        mask: Literal["none", "given", "coverage"],
        alpha: int | None,
    ) -> None:
        self._warp = warp
        self._dtype = array.dtype.name
        self._edges = [
            [0, *(int(edge) for edge in itertools.accumulate(sizes))]
            for sizes in array.chunks
        ]
        counts = [int(each) for each in array.chunks[0]]
        self._mask = mask
        # which band says where pixels are valid, and in which chunk of bands it is
        valid = sum(counts) - 1 if mask == "given" else alpha
        self._valid = None if valid is None else self._locate(valid)
        self.band_chunks: tuple[int, ...] = tuple(counts)
        if mask == "coverage":
            self.band_chunks = (*counts, 1)
        if mask == "given" and counts[-1] > 1:
            self.band_chunks = (*counts[:-1], counts[-1] - 1, 1)

    def _locate(self, band: int) -> tuple[int, int]:
        chunk = int(np.searchsorted(self._edges[0], band, side="right")) - 1
        return chunk, band - self._edges[0][chunk]

    def _alpha_of(self, chunk: int) -> int | None:
        """Where in a chunk of bands the alpha band is."""
        if self._valid is None or self._mask == "given" or self._valid[0] != chunk:
            return None
        return self._valid[1]

    def block_tasks(
        self, box: Box, units: tuple[Unit, ...]
    ) -> Iterator[tuple[BlockTask, list[tuple[int, int, int]]]]:
        """Give a task per chunk of bands, with the source chunks that it needs."""
        positions = touched(units, self._edges[1], self._edges[2])
        spots = [(self._edges[1][row], self._edges[2][col]) for row, col in positions]
        valid_chunk, valid_band = self._valid or (0, 0)
        for number, count in enumerate(self.band_chunks):
            chunk, role = min(number, len(self._edges[0]) - 2), self._role(number)
            is_mask = role in {"covered", "valid"}
            first = valid_band if is_mask else 0
            reads = [] if role == "covered" else [(chunk, *each) for each in positions]
            checks = []
            if role == "checked":
                checks = [(valid_chunk, *each) for each in positions]
            task = BlockTask(
                self._warp,
                units,
                box,
                count,
                self._dtype,
                role,
                places=tuple((-first, *spot) for spot in spots[: len(reads)]),
                valid_places=tuple((0, *spot) for spot in spots[: len(checks)]),
                valid_band=valid_band,
                alpha=self._alpha_of(chunk),
            )
            yield task, [*reads, *checks]

    def _role(self, number: int) -> Role:
        """Say what a chunk of bands is: the last one may be the mask."""
        if self._mask != "none" and number == len(self.band_chunks) - 1:
            return "covered" if self._mask == "coverage" else "valid"
        return "plain" if self._valid is None else "checked"
