"""From encoded chunks to numbered parts: gather the bytes of a row, cut, send.

Per row of chunks, in one or more ranges of tile rows:

* ``carry``  the bytes behind the last cut, for the next range: no request is made
* ``put``    sends the parts that end in the range

Numbers and bytes of a part depend on sizes alone, so a task that runs again replaces
its parts by the same ones.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lazycog._grid import ceil_div
from lazycog.errors import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

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
        end = start + length_of(buffers)
        cut = own.cuts[section].position(own.cuts[section].count(end))
        rests[section] = (cut, b"".join(sliced(buffers, cut - start, end - start)))
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
        first, last = cuts.count(start), cuts.count(start + length_of(buffers))
        if not start and last:
            heads[section] = b"".join(sliced(buffers, 0, cuts.head))
        for index in range(first, last):
            begin = cuts.head + index * cuts.size - start
            data = sliced(buffers, begin, begin + cuts.size)
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
    pending: dict[Section, tuple[int, list[Buffer]]] = {}
    same = checksums == placement.checksums
    for unit in own.units:
        level, plane, tile_row = unit
        start, buffers = pending.setdefault(unit[:2], _rest(before, unit[:2]))
        runs = [memoryview(run) for each in slices for run in each.runs[unit]]
        where = (plane - own.first_plane, tile_row)
        same = same and start + length_of(buffers) == placement.starts[level][*where, 0]
        same = same and length_of(runs) == placement.lengths[level][where].sum()
        buffers += runs
    if not same:
        raise SourceChangedError(f"a chunk in {own.place}")
    return checksums, pending


def _rest(before: Carry | object, section: Section) -> tuple[int, list[Buffer]]:
    """Give what the range before left of a section: where it starts, and its bytes."""
    rests = before.rests if isinstance(before, Carry) else {}
    start, rest = rests.get(section, (0, b""))
    return start, [memoryview(rest)]


def length_of(buffers: Iterable[Buffer]) -> int:
    """Count the bytes in buffers."""
    return sum(map(len, buffers))


def sliced(buffers: Iterable[Buffer], begin: int, end: int) -> list[Buffer]:
    """Give a range of the bytes in consecutive buffers, without copying."""
    result: list[Buffer] = []
    position = 0
    for each in buffers:
        low, high = max(begin - position, 0), min(end - position, len(each))
        if low < high:
            result.append(memoryview(each)[low:high])
        position += len(each)
    return result
