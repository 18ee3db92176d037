"""What the tasks of the graph do: plain functions of plain values."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog._encode import (
    ChunkTask,
    EncodedChunk,
    Summary,
    as_stored,
    check_shape,
    encode_chunk,
)
from lazycog._layout import (
    RowPlacement,
    RowSummary,
    first_starts,
    join_summaries,
    place_row,
    run_pieces,
    run_positions,
)
from lazycog._watch import announce
from lazycog.errors import InputError, SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from lazycog._file_range import FileRange
    from lazycog._share import Known
    from lazycog.sinks.local import LocalSink

Slices = tuple[slice, slice, slice]


def list_task(*results: object) -> list[object]:
    """Put results into a list."""
    return list(results)


Shape = tuple[int, int, int]


def pixels_of(block: object, shape: Shape | None) -> NDArray[np.generic]:
    """Give the pixels of a block: a source chunk or a summary with handed-up pixels.

    Parameters
    ----------
    block : Summary or array_like
        The block.
    shape : tuple of int, optional
        What the source promised (band, row, col), unless that is checked elsewhere:
        a part of a smaller block would be spread over its place.

    Raises
    ------
    InputError
        A chunk of the source is masked, or has another shape.
    """
    if isinstance(block, Summary) and block.pixels is not None:
        return block.pixels.read()
    if isinstance(block, np.ma.MaskedArray):
        raise InputError(
            "a chunk of the source is a numpy.ma.MaskedArray; fill it first, for "
            "example dask.array.ma.filled(array, nodata)"
        )
    pixels = np.asarray(block)
    if shape is not None:
        check_shape(pixels, shape)
    return pixels


def cut_task(
    block: object,
    parts: tuple[Slices, ...],
    shape: Shape,
    _gate: object,
) -> tuple[NDArray[np.generic], ...]:
    """Copy thin parts of a block, so that the block can be freed."""
    pixels = pixels_of(block, shape)
    return tuple(pixels[part].copy() for part in parts)


def part_task(block: object, part: Slices, shape: Shape) -> NDArray[np.generic]:
    """Give a large part of a block."""
    return pixels_of(block, shape)[part]


Assembly = tuple[tuple[Slices, int | Slices, Shape | None], ...]
"""Per piece: where it goes in the chunk, which of several cut parts it is or which part
of its block, and the shape that the block must have."""


def encode_task(
    task: ChunkTask,
    assembly: Assembly | None,
    token: str,
    park_folder: str | None,
    goes_ahead: bool,  # noqa: FBT001 - tasks take positional arguments
    _gate: object,
    *pieces: Any,  # noqa: ANN401 - blocks of either kind
) -> EncodedChunk:
    """Put a chunk together from its pieces, encode it, and tell whoever watches."""
    pixels = _assembled(task, assembly, pieces)
    chunk = encode_chunk(task, pixels, park_folder, goes_ahead=goes_ahead)
    announce(token, task, chunk)
    return chunk


def _assembled(
    task: ChunkTask, assembly: Assembly | None, pieces: Sequence[Any]
) -> NDArray[np.generic]:
    """Give the pixels of a chunk with its halo."""
    if assembly is None:
        return pixels_of(pieces[0], None)
    stored = np.dtype(task.encoding.dtype)
    canvas = np.empty(task.shape, dtype=stored)
    for (target, inside, shape), piece in zip(assembly, pieces, strict=True):
        if isinstance(inside, int):
            pixels = pixels_of(piece[inside], shape)
        else:
            pixels = pixels_of(piece, shape)[inside]
        canvas[target] = as_stored(pixels, stored)
    return canvas


def summary_task(chunk: EncodedChunk, _before: object) -> Summary:
    """Leave the encoded bytes behind, after the chunk before did so."""
    return chunk.summary


def ahead_task(
    sink: LocalSink,
    task: ChunkTask,
    lock: AbstractContextManager[object] | None,
    chunk: EncodedChunk,
    left: Summary | RowPlacement | object,
    _before: object,
) -> Summary:
    """Write the first rows of tiles, and leave the other encoded bytes behind.

    Parameters
    ----------
    sink : LocalSink
        The destination.
    task : ChunkTask
        Which chunk.
    lock : context manager or None
        Serialises the writes.
    chunk : EncodedChunk
        The chunk; it lets go of what was written.
    left : Summary, RowPlacement or object
        Of the chunk to the left, else of the row above; anything else at the top left.

    Returns
    -------
    Summary
        With the positions of what was written.

    Raises
    ------
    SourceChangedError
        The chunk was written before, elsewhere.
    """
    above = left.ends if isinstance(left, RowPlacement) else {}
    beside = left if isinstance(left, Summary) else None
    starts = first_starts(above, beside, first_plane(task), chunk.summary)
    if chunk.first is not None:
        with lock or nullcontext():
            chunk.first.write(sink, chunk.runs, starts)
    return replace(chunk.summary, starts=starts)


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
    lock: AbstractContextManager[object] | None,
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
    plane = first_plane(task)
    positions = run_positions(placement, task.stage, plane, task.col)
    sections: dict[tuple[int, int], list[tuple[int, memoryview | FileRange]]] = {}
    same = placement.checksums[task.col] == chunk.summary.checksum
    for run in chunk.waiting_runs if same else ():
        position, length = positions[run.level, run.plane, run.tile_row]
        pieces = sections.setdefault((run.level, run.plane), [])
        cols = placement.tile_cols(run.level, task.col)
        begin = position
        for start, stop in run_pieces(placement, run, plane, cols):
            pieces.append((begin, chunk.run_piece(run, start, stop)))
            begin += stop - start
        same = same and begin - position == length
    if not same:
        raise SourceChangedError(
            f"the chunk at row {task.row}, col {task.col} of stage {task.stage.index}"
        )
    for section, pieces in sections.items():
        with lock or nullcontext():
            sink.write(section, pieces)
    return chunk.summary.checksum


def first_plane(task: ChunkTask) -> int:
    """Give the plane of the file of the first band of a chunk."""
    return task.bands.start if task.encoding.planes else 0


def after_task(block: object, *_gate: object) -> object:
    """Give a block once what it waits for is there."""
    return block


def placed_task(*checksums: int) -> tuple[int, ...]:
    """Say what a row of chunks wrote."""
    return checksums


def turn_task(*_placed: tuple[int, ...]) -> None:
    """Say that all groups of bands of a row are placed."""
