"""From encoded chunks to numbered parts: gather the bytes of a row, cut, send, join.

Per row of chunks, in one or more ranges of tile rows:

* ``carry``  the bytes behind the last cut, for the next range: no request is made
* ``put``    sends the parts that end in the range
* ``ends``   after the last row of a group of bands: joins what is between two bodies

The commit joins the few bytes that are left of each level with the header. Numbers and
bytes of a part depend on sizes alone, so a task that runs again replaces its parts by
the same ones.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from lazycog._grid import ceil_div
from lazycog.errors import SinkError, SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._assemble import FileLayout
    from lazycog._encode import EncodedChunk
    from lazycog._grid import Stage
    from lazycog._layout import RowPlacement
    from lazycog._parts import Buffer, PartPlan, Section, SectionCuts
    from lazycog._plan import CogPlan
    from lazycog.sinks._protocol import PartSink, Receipt

Unit = tuple[int, int, int]
"""(level, plane, tile row within the row of chunks): one run of each chunk."""
RANGE_BYTES = 256 * 2**20
"""Raw bytes of a row of chunks that one task gathers, so that a very wide row does not
meet in one worker."""
SENT_AT_ONCE = 2
"""Parts that one task sends at a time."""
STRIP_CHUNKS = 8
"""Neighbouring chunks whose runs are regrouped together where a row has several
ranges."""


@dataclass(frozen=True)
class Range:
    """Some tile rows of a row of chunks: what one task gathers."""

    units: tuple[Unit, ...]
    """In the order of their sections."""
    cuts: Mapping[Section, SectionCuts]
    first_plane: int
    place: str
    """For messages: which row of chunks."""


@dataclass(frozen=True)
class Slices:
    """Runs of neighbouring chunks, for one range."""

    checksums: tuple[int, ...]
    """Of the chunks, left to right."""
    runs: Mapping[Unit, tuple[NDArray[np.uint8], ...]]

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return 512 + sum(len(each) for runs in self.runs.values() for each in runs)


@dataclass(frozen=True)
class Carry:
    """Bytes behind the last cut of each section."""

    rests: Mapping[Section, tuple[int, bytes]] = field(default_factory=dict)
    """Section -> (position in the section, bytes)."""

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return 512 + sum(len(rest) for _, rest in self.rests.values())


@dataclass(frozen=True)
class Sent:
    """What a range sent, and the heads of bodies that began in it."""

    checksums: tuple[int, ...]
    receipts: tuple[Receipt, ...]
    heads: Mapping[Section, bytes] = field(default_factory=dict)

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return 512 + sum(map(len, self.heads.values()))


@dataclass(frozen=True)
class LevelEnds:
    """What is left of a level once its bodies are sent."""

    number: int
    """The next number that it may use."""
    head: bytes = b""
    """Before the first part of the level that was sent."""
    tail: bytes = b""
    """Behind the last one; everything when none was."""
    is_sent: bool = False
    """Whether any part of it was sent."""


@dataclass(frozen=True)
class Ends:
    """What is left of the levels of a stage."""

    levels: Mapping[int, LevelEnds]
    receipts: tuple[Receipt, ...]

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        kept = self.levels.values()
        return 512 + sum(len(each.head) + len(each.tail) for each in kept)


def ranges(
    plan: CogPlan, parts: PartPlan, stage: Stage, group: int, row: int
) -> list[Range]:
    """Split a row of chunks into ranges of tile rows, by their raw bytes.

    Parameters
    ----------
    plan : CogPlan
        The plan.
    parts : PartPlan
        Where sections are cut.
    stage : Stage
        Of the row.
    group, row : int
        Which row of chunks.

    Returns
    -------
    list of Range
        In the order in which their bytes follow each other within each section.
    """
    planes = plan.planes(stage, group)
    own = stage.axis_chunk(0, row).own
    units: list[tuple[Unit, int]] = []
    for step, level in enumerate(stage.levels):
        tile_rows = ceil_div(len(own[step]), level.tile_size)
        row_bytes = (
            level.tile_cols * plan.tile_bytes(level) * plan.entry_shape(level)[3]
        )
        units += [
            ((level.index, plane, tile_row), row_bytes)
            for plane in planes
            for tile_row in range(tile_rows)
        ]
    total = sum(size for _, size in units)
    count = max(1, min(ceil_div(total, RANGE_BYTES), len(units)))
    split: list[list[Unit]] = [[] for _ in range(count)]
    passed = 0
    for unit, size in units:
        split[min(count - 1, passed * count // max(total, 1))].append(unit)
        passed += size
    place = f"row {row} of stage {stage.index}"
    return [
        Range(
            tuple(each),
            {unit[:2]: parts.bodies[unit[:2]] for unit in each},
            planes.start,
            place,
        )
        for each in split
    ]


def slices_of(chunks: Sequence[EncodedChunk], units: Iterable[Unit]) -> Slices:
    """Pick runs of neighbouring chunks, left to right, without copying."""
    runs = [
        {(run.level, run.plane, run.tile_row): run for run in chunk.runs}
        for chunk in chunks
    ]
    return Slices(
        tuple(chunk.summary.checksum for chunk in chunks),
        {
            unit: tuple(
                np.frombuffer(chunk.run_data(own[unit]), np.uint8)
                for chunk, own in zip(chunks, runs, strict=True)
                if own[unit].stop > own[unit].start
            )
            for unit in units
        },
    )


def strip_task(
    units: tuple[tuple[Unit, ...], ...], *chunks: EncodedChunk
) -> tuple[Slices, ...]:
    """Regroup the runs of neighbouring chunks by range."""
    return tuple(slices_of(chunks, each) for each in units)


def pick_task(strip: tuple[Slices, ...], index: int) -> Slices:
    """Give one range of a strip, so that the others need not travel."""
    return strip[index]


def carry_task(
    own: Range,
    before: Carry | object,
    placement: RowPlacement,
    *pieces: EncodedChunk | Slices,
) -> Carry:
    """Give the bytes behind the last cut, for the next range."""
    rests = dict(before.rests) if isinstance(before, Carry) else {}
    _, pending = _gathered(own, before, placement, pieces)
    for section, (start, buffers) in pending.items():
        end = start + _length(buffers)
        cut = own.cuts[section].position(own.cuts[section].count(end))
        rests[section] = (cut, b"".join(_sliced(buffers, cut - start, end - start)))
    return Carry(rests)


def put_task(
    sink: PartSink,
    upload: object,
    own: Range,
    before: Carry | object,
    placement: RowPlacement,
    *pieces: EncodedChunk | Slices,
) -> Sent:
    """Send the parts that end in a range.

    Parameters
    ----------
    sink : PartSink
        Where to.
    upload : Started
        Names the upload.
    own : Range
        The range.
    before : Carry or object
        What the range before left; anything else for the first one.
    placement : RowPlacement
        Of the row of chunks.
    *pieces : EncodedChunk or Slices
        The bytes, left to right.

    Returns
    -------
    Sent
        Receipts, and checksums of the chunks.
    """
    checksums, pending = _gathered(own, before, placement, pieces)
    parts: list[tuple[int, Sequence[Buffer]]] = []
    heads = {}
    name = upload_name(upload)
    for section, (start, buffers) in pending.items():
        cuts = own.cuts[section]
        first, last = cuts.count(start), cuts.count(start + _length(buffers))
        if not start and last:
            heads[section] = b"".join(_sliced(buffers, 0, cuts.head))
        for index in range(first, last):
            begin = cuts.head + index * cuts.size - start
            data = _sliced(buffers, begin, begin + cuts.size)
            parts.append((cuts.base + index, data))
    return Sent(checksums, send_parts(sink, name, parts), heads)


def send_parts(
    sink: PartSink, upload: str, parts: Sequence[tuple[int, Sequence[Buffer]]]
) -> tuple[Receipt, ...]:
    """Send several parts, a few at a time: one alone would wait for the line."""
    if len(parts) < SENT_AT_ONCE:
        return tuple(sink.put(upload, number, data) for number, data in parts)
    with ThreadPoolExecutor(SENT_AT_ONCE) as pool:
        sent = [pool.submit(sink.put, upload, number, data) for number, data in parts]
        try:
            return tuple(each.result() for each in sent)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def sent_task(*sent: Sent) -> Sent:
    """Say what a row of chunks sent."""
    receipts = tuple(receipt for each in sent for receipt in each.receipts)
    return Sent(sent[0].checksums, receipts)


def ends_task(
    sink: PartSink,
    upload: object,
    parts: PartPlan,
    before: Ends | object,
    last: Carry,
    *sent: Sent,
) -> Ends:
    """Join what is between the bodies of a group of bands.

    Parameters
    ----------
    sink : PartSink
        Where to.
    upload : Started
        Names the upload.
    parts : PartPlan
        Numbers, for the sections of this group.
    before : Ends or object
        What the group before left; anything else for the first one.
    last : Carry
        What the last range of the group left.
    *sent : Sent
        What the ranges sent, in any order.

    Returns
    -------
    Ends
        Per level a head and a tail, smaller than a few parts, whatever the number of
        bands.
    """
    heads = {section: head for each in sent for section, head in each.heads.items()}
    known = before.levels if isinstance(before, Ends) else {}
    levels = dict(known)
    receipts: list[Receipt] = list(before.receipts) if isinstance(before, Ends) else []
    for section in sorted(last.rests):
        start, rest = last.rests[section]
        level = levels.get(section[0]) or LevelEnds(parts.levels[section[0]])
        if start:
            count = parts.bodies[section].count(start)
            level, ready = _join_body(parts, level, heads[section])
            number = parts.bodies[section].base + count
            level = replace(level, tail=rest)
        else:
            level, ready = _join_loose(parts, level, rest)
            number = level.number + len(ready)
        for shift, data in enumerate(ready):
            receipts.append(sink.put(upload_name(upload), level.number + shift, [data]))
        levels[section[0]] = replace(level, number=number)
    return Ends(levels, tuple(receipts))


def _join_body(
    parts: PartPlan, level: LevelEnds, head: bytes
) -> tuple[LevelEnds, list[bytes]]:
    """Put what is left of a level in front of a body: a part, or the level's head."""
    joined = level.tail + head
    if parts.equal:
        padded = joined + bytes(-len(joined) % parts.size)
        return replace(level, is_sent=True), [padded] * bool(padded)
    if level.is_sent:
        return level, [joined]
    return replace(level, head=joined, is_sent=True), []


def _join_loose(
    parts: PartPlan, level: LevelEnds, rest: bytes
) -> tuple[LevelEnds, list[bytes]]:
    """Add a section without a body to what is left of a level."""
    joined, head, is_sent = level.tail + rest, level.head, level.is_sent
    if not is_sent and len(joined) >= parts.head + parts.size:
        head, joined, is_sent = joined[: parts.head], joined[parts.head :], True
    ready = []
    while is_sent and len(joined) >= parts.size:
        ready.append(joined[: parts.size])
        joined = joined[parts.size :]
    return replace(level, head=head, tail=joined, is_sent=is_sent), ready


def finish(
    sink: PartSink,
    upload: str,
    parts: PartPlan,
    layout: FileLayout,
    ends: Sequence[Ends],
    receipts: Iterable[Receipt],
) -> None:
    """Send the header and what is between the levels, then let the object appear.

    Parameters
    ----------
    sink : PartSink
        Where to.
    upload : str
        Names the upload.
    parts : PartPlan
        Sizes and numbers.
    layout : FileLayout
        Header and positions.
    ends : sequence of Ends
        What is left of each stage's levels.
    receipts : iterable of Receipt
        Of all parts sent so far.

    Raises
    ------
    SinkError
        The store refused, and no earlier run of this task had finished.
    """
    levels = {index: level for each in ends for index, level in each.levels.items()}
    gaps = _gaps(layout, levels)
    if not any(level.is_sent for level in levels.values()):
        sink.put_whole(upload, gaps[0][1])
        return
    taken = [*receipts, *(receipt for each in ends for receipt in each.receipts)]
    waiting = []
    for number, buffers in gaps:
        begin = 0
        for shift, size in enumerate(parts.cut(_length(buffers))):
            data = _sliced(buffers, begin, begin + size)
            waiting.append((number + shift, data))
            begin += size
    try:
        # the header is in the first part, and goes last
        taken += [sink.put(upload, number, data) for number, data in reversed(waiting)]
    except SinkError:
        if sink.is_done(upload, layout.size):
            return  # by an earlier run of this task, whose answer was lost
        raise
    sink.commit(upload, sorted(taken, key=lambda each: each.number))


def _gaps(
    layout: FileLayout, levels: Mapping[int, LevelEnds]
) -> list[tuple[int, list[Buffer]]]:
    """Give what is not sent yet: (first number, bytes), in the order of the file."""
    gaps: list[tuple[int, list[Buffer]]] = []
    number, waiting, position = 1, [memoryview(layout.header)], len(layout.header)
    for index in sorted(levels, reverse=True):
        level = levels[index]
        own = [each for each in layout.extents if each.section[0] == index]
        waiting.append(memoryview(bytes(own[0].offset - position)))
        if level.is_sent:
            waiting.append(memoryview(level.head))
            gaps.append((number, list(waiting)))
            number, waiting = level.number, []
        waiting.append(memoryview(level.tail))
        position = own[-1].offset + own[-1].length
    if _length(waiting):
        gaps.append((number, list(waiting)))
    return gaps


def upload_name(started: object) -> str:
    """Give the name of the upload from what the first task returned."""
    return str(getattr(started, "upload", started))


def _gathered(
    own: Range,
    before: Carry | object,
    placement: RowPlacement,
    pieces: Sequence[EncodedChunk | Slices],
) -> tuple[tuple[int, ...], dict[Section, tuple[int, list[Buffer]]]]:
    """Give checksums, and per section the bytes behind the last cut and their start.

    Raises
    ------
    SourceChangedError
        The bytes are not those whose sizes gave the positions.
    """
    slices = [
        each if isinstance(each, Slices) else slices_of([each], own.units)
        for each in pieces
    ]
    checksums = tuple(each for own in slices for each in own.checksums)
    rests = before.rests if isinstance(before, Carry) else {}
    pending: dict[Section, tuple[int, list[Buffer]]] = {}
    same = checksums == placement.checksums
    for level, plane, tile_row in own.units:
        section = (level, plane)
        if section not in pending:
            start, rest = rests.get(section, (0, b""))
            pending[section] = (start, [memoryview(rest)])
        start, buffers = pending[section]
        where = (plane - own.first_plane, tile_row, 0)
        same = same and start + _length(buffers) == placement.starts[level][where]
        runs = [run for each in slices for run in each.runs[level, plane, tile_row]]
        same = same and sum(map(len, runs)) == placement.lengths[level][where[:2]].sum()
        buffers += [memoryview(run) for run in runs]
    if not same:
        raise SourceChangedError(
            f"a chunk in {own.place} was computed twice and gave different pixels, so "
            "nothing was written; make the source deterministic (seed it), or persist "
            "it first"
        )
    return checksums, pending


def _length(buffers: Iterable[Buffer]) -> int:
    return sum(map(len, buffers))


def _sliced(buffers: Iterable[Buffer], begin: int, end: int) -> list[Buffer]:
    """Give a range of the bytes in consecutive buffers, without copying."""
    result: list[Buffer] = []
    position = 0
    for each in buffers:
        low, high = max(begin - position, 0), min(end - position, len(each))
        if low < high:
            result.append(memoryview(each)[low:high])
        position += len(each)
    return result
