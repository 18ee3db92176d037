"""Which parts of the source's chunks, or of handed-up pixels, make a chunk."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import dask.array

    from lazycog._grid import Span, Stage
    from lazycog._tasks import Slices

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Grid:
    """Blocks with the pixels of a stage: the source's chunks or handed-up pieces."""

    names: Callable[[tuple[int, int, int]], Key]
    """Block index (band, row, col) -> key."""
    bounds: tuple[tuple[int, ...], ...]
    """Edges of the blocks on each axis (band, row, col)."""

    def pieces(self, axis: int, wanted: Span) -> list[tuple[int, slice, slice, int]]:
        """Give the parts of a range of an axis: block, where in it, where in `wanted`.

        And their lengths. Large graphs have very many pieces, which share the slices.
        """
        edges = self.bounds[axis]
        first = int(np.searchsorted(edges, wanted.start, side="right")) - 1
        result = []
        for index in range(first, len(edges) - 1):
            start, stop = edges[index], edges[index + 1]
            low, high = max(start, wanted.start), min(stop, wanted.stop)
            if low >= wanted.stop:
                break
            if low < high:
                inside = slice(low - start, high - start)
                target = slice(low - wanted.start, high - wanted.start)
                result.append((index, inside, target, high - low))
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
                inside=(band[1], line[1], column[1]),
                target=(band[2], line[2], column[2]),
                volume=band[3] * line[3] * column[3],
            )
            for band, line, column in itertools.product(bands, lines, columns)
        ]
        for (group, bands), (row, lines), (col, columns) in itertools.product(*axes)
    }


def source_grid(array: dask.array.Array) -> Grid:
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
