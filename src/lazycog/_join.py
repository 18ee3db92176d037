"""What is between the parts that rows of chunks send: joined, and sent with the header.

* ``ends``    after the last row of a group of bands: joins what is between two bodies
* ``finish``  at the commit: joins the few bytes that are left of each level with the
  header
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lazycog._gather import length_of, sliced, upload_name
from lazycog.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lazycog._assemble import FileLayout
    from lazycog._gather import Carry, Sent
    from lazycog._parts import Buffer, PartPlan
    from lazycog.sinks._protocol import PartSink, Receipt


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
    waiting = [
        part for number, buffers in gaps for part in _cut(parts, number, buffers)
    ]
    try:
        # the header is in the first part, and goes last
        taken += [sink.put(upload, number, data) for number, data in reversed(waiting)]
    except SinkError:
        if sink.is_done(upload, layout.size):
            return  # by an earlier run of this task, whose answer was lost
        raise
    sink.commit(upload, sorted(taken, key=lambda each: each.number))


def _cut(
    parts: PartPlan, number: int, buffers: Sequence[Buffer]
) -> Iterator[tuple[int, list[Buffer]]]:
    """Cut the bytes of a gap into parts, numbered from its first one."""
    begin = 0
    for shift, size in enumerate(parts.cut(length_of(buffers))):
        yield number + shift, sliced(buffers, begin, begin + size)
        begin += size


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
    if length_of(waiting):
        gaps.append((number, list(waiting)))
    return gaps
