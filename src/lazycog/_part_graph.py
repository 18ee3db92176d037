"""The tasks that send parts of an object, and those that note and restore rows.

Parts are sent in place of runs that are written by position.

Per row of chunks: ``carry`` and ``put`` for each range of tile rows, ``placed`` for
all.
A row with several ranges is regrouped first: ``strip`` per 8 chunks, ``pick`` per strip
and range. Per group of bands of a stage: ``ends``. With a journal, ``saved`` per row; a
finished row is one ``record`` from which the others pick.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from dask._task_spec import List

from lazycog._gather import (
    STRIP_CHUNKS,
    carry_task,
    pick_task,
    put_task,
    ranges,
    sent_task,
    strip_task,
)
from lazycog._join import ends_task
from lazycog._journal import (
    kept_task,
    pixels_task,
    placement_task,
    record_task,
    rest_task,
    row_name,
    save_task,
    written_task,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask._task_spec import TaskRef

    from lazycog._gather import Range
    from lazycog._grid import Stage
    from lazycog._journal import Journal
    from lazycog._parts import PartPlan
    from lazycog._plan import CogPlan

Key = tuple[Any, ...]


class Builder(Protocol):
    """What collects tasks."""

    plan: CogPlan
    sink: Any
    journal: Journal | None

    def key(self, name: str, *index: int) -> Key:
        """Name a task of this write."""

    def ref(self, name: str, *index: int) -> TaskRef:
        """Refer to the result of a task of this write."""

    def add(self, key: Key, function: Callable[..., Any], *arguments: object) -> Key:
        """Add a task."""


def add_row_of_parts(builder: Builder, stage: Stage, group: int, row: int) -> Key:
    """Add the tasks that send a row of chunks.

    Parameters
    ----------
    builder : Builder
        Collects them.
    stage : Stage
        Of the row.
    group, row : int
        Which row.

    Returns
    -------
    tuple
        Key of the task after which all of the row is sent.
    """
    number = stage.index
    own = ranges(builder.plan, _parts(builder), stage, group, row)
    pieces = _pieces(builder, stage, own, group, row)
    before = builder.ref("begin")
    if row:
        last = len(ranges(builder.plan, _parts(builder), stage, group, row - 1)) - 1
        before = builder.ref(f"carry{number}", group, row - 1, last)
    placement = builder.ref(f"row{number}", group, row)
    sent = []
    for index, each in enumerate(own):
        arguments = (each, before, placement, *pieces[index])
        where = (group, row, index)
        builder.add(builder.key(f"carry{number}", *where), carry_task, *arguments)
        builder.add(
            builder.key(f"put{number}", *where),
            put_task,
            builder.sink,
            builder.ref("begin"),
            *arguments,
        )
        before = builder.ref(f"carry{number}", *where)
        sent.append(builder.ref(f"put{number}", *where))
    return builder.add(builder.key(f"placed{number}", group, row), sent_task, *sent)


def _pieces(
    builder: Builder, stage: Stage, own: list[Range], group: int, row: int
) -> list[list[Any]]:
    """Give, per range, what it gathers."""
    number, cols = stage.index, range(stage.chunk_cols)
    chunks = [builder.ref(f"encode{number}", group, row, col) for col in cols]
    if len(own) == 1:
        return [chunks]
    units = tuple(each.units for each in own)
    pieces: list[list[Any]] = [[] for _ in own]
    for first in range(0, stage.chunk_cols, STRIP_CHUNKS):
        where = (group, row, first)
        strip = builder.key(f"strip{number}", *where)
        builder.add(strip, strip_task, units, *chunks[first : first + STRIP_CHUNKS])
        for index, picked in enumerate(pieces):
            key = builder.key(f"pick{number}", *where, index)
            builder.add(key, pick_task, builder.ref(f"strip{number}", *where), index)
            picked.append(builder.ref(f"pick{number}", *where, index))
    return pieces


def is_finished(builder: Builder, stage: Stage, group: int, row: int) -> bool:
    """Whether a row of chunks is taken from the journal."""
    journal = builder.journal
    return journal is not None and row < journal.rows(stage.index, group)


def add_finished_row(builder: Builder, stage: Stage, group: int, row: int) -> None:
    """Add what a finished row of chunks gives to others: nothing is computed."""
    number, journal = stage.index, _journal(builder)

    def add(
        name: str,
        index: tuple[int, ...],
        function: Callable[..., object],
        *arguments: object,
    ) -> None:
        record = builder.ref(f"record{number}", group, row)
        key = builder.key(f"{name}{number}", group, row, *index)
        builder.add(key, function, record, *arguments)

    record = builder.key(f"record{number}", group, row)
    name = row_name(number, group, row)
    builder.add(record, record_task, journal.state, name)
    add("row", (), placement_task)
    if stage.handed_up:
        for col in range(stage.chunk_cols):
            add("summary", (col,), pixels_task, col)
    if builder.plan.parts is None:
        add("placed", (), written_task)
        return
    count = len(ranges(builder.plan, builder.plan.parts, stage, group, row))
    add("carry", (count - 1,), rest_task)
    for index in range(count):
        add("put", (index,), kept_task, index)
    sent = builder.ref(f"put{number}", group, row, 0)
    builder.add(builder.key(f"placed{number}", group, row), sent_task, sent)


def add_save(builder: Builder, stage: Stage, group: int, row: int) -> Key:
    """Add the task that notes a row of chunks once it is placed."""
    number = stage.index
    carry, sent = None, []
    if builder.plan.parts is not None:
        count = len(ranges(builder.plan, builder.plan.parts, stage, group, row))
        carry = builder.ref(f"carry{number}", group, row, count - 1)
        sent = [builder.ref(f"put{number}", group, row, each) for each in range(count)]
    cols = range(stage.chunk_cols) if stage.handed_up else ()
    summaries = [builder.ref(f"summary{number}", group, row, col) for col in cols]
    return builder.add(
        builder.key(f"saved{number}", group, row),
        save_task,
        builder.sink,
        _journal(builder).state,
        row_name(number, group, row),
        builder.ref(f"row{number}", group, row),
        carry,
        builder.ref(f"placed{number}", group, row),
        List(*sent),
        *summaries,
    )


def _journal(builder: Builder) -> Journal:
    if builder.journal is None:  # only writes that can go on come here
        raise AssertionError(builder.plan)
    return builder.journal


def add_ends(builder: Builder, stage: Stage, group: int) -> Key:
    """Add the task that joins what is between the bodies of a group of bands."""
    parts, number = _parts(builder), stage.index
    counts = [
        len(ranges(builder.plan, parts, stage, group, row))
        for row in range(stage.chunk_rows)
    ]
    sent = [
        builder.ref(f"put{number}", group, row, index)
        for row, count in enumerate(counts)
        for index in range(count)
    ]
    before = builder.ref(f"ends{number}", group - 1) if group else None
    last = builder.ref(f"carry{number}", group, stage.chunk_rows - 1, counts[-1] - 1)
    return builder.add(
        builder.key(f"ends{number}", group),
        ends_task,
        builder.sink,
        builder.ref("begin"),
        _own(parts, builder.plan, stage, group),
        before,
        last,
        *sent,
    )


def _own(parts: PartPlan, plan: CogPlan, stage: Stage, group: int) -> PartPlan:
    """Leave the sections of other groups behind: a task should be small."""
    planes = plan.planes(stage, group)
    levels = {level.index for level in stage.levels}
    bodies = {
        section: cuts
        for section, cuts in parts.bodies.items()
        if section[0] in levels and section[1] in planes
    }
    return replace(parts, bodies=bodies)


def _parts(builder: Builder) -> PartPlan:
    if builder.plan.parts is None:  # only writes to stores come here
        raise AssertionError(builder.plan)
    return builder.plan.parts
