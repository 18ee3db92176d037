"""The journal of a write: finished rows of chunks, so that a killed write goes on.

One record per row of chunks holds what later rows and the commit need of it: positions
and sizes, receipts of parts, the bytes behind the last cut, and the pixels handed up.
It is written once the row is safe at its destination. A write with the same plan and
source takes finished rows from there and computes the others.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog import _notice
from lazycog._encode import Summary
from lazycog._gather import Carry, Sent
from lazycog._layout import RowPlacement
from lazycog._park import WaitingPixels
from lazycog.sinks._protocol import Receipt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._plan import CogPlan
    from lazycog.sinks._protocol import Sink
    from lazycog.sinks._state import State

FORMAT = 1
"""Of the records; another one is not read."""
HEAD = "head"


@dataclass(frozen=True)
class Journal:
    """Where a write notes what is finished, and what it found there."""

    state: State
    upload: str
    """Name of the upload that the finished rows went to, empty on a file system."""
    finished: Mapping[tuple[int, int], int]
    """(stage, group) -> finished rows of chunks, from the top."""

    def rows(self, stage: int, group: int) -> int:
        """Count the finished rows of a group."""
        return self.finished.get((stage, group), 0)


def fingerprint(plan: CogPlan, source: str) -> str:
    """Name a write: the same for the same raster and options alone."""
    facts = [getattr(plan, each.name) for each in fields(plan)]
    text = f"{FORMAT} {source} {facts!r}"
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Head:
    """What an unfinished write noted first."""

    fingerprint: str
    upload: str
    token: str


def find(state: State) -> Head | None:
    """Give what an unfinished write noted first, None without one."""
    found = state.load(HEAD)
    return None if found is None else Head(**json.loads(found))


def warn_of_another(head: Head, name: str) -> None:
    """Tell that an unfinished write cannot go on."""
    reason = (
        "is not at its destination any more"
        if head.fingerprint == name
        else "was of another raster or had other options"
    )
    _notice.warn(
        f"resume=True: the unfinished write {reason}, so this one starts from the "
        "beginning"
    )


def start(state: State, name: str, upload: str, token: str) -> Journal:
    """Begin an empty journal."""
    state.keep(HEAD, json.dumps(asdict(Head(name, upload, token))).encode())
    return Journal(state, upload, {})


def go_on(state: State, plan: CogPlan, upload: str) -> Journal:
    """Open a journal with the finished rows that are in it."""
    names = set(state.names())
    finished = {}
    for stage in plan.stages:
        for group in range(stage.groups):
            rows = 0
            while row_name(stage.index, group, rows) in names:
                rows += 1
            finished[stage.index, group] = rows
    return Journal(state, upload, finished)


def row_name(stage: int, group: int, row: int) -> str:
    """Name the record of a row of chunks."""
    return f"row-{stage}-{group}-{row}"


@dataclass(frozen=True)
class Record:
    """What is kept of a finished row of chunks."""

    placement: RowPlacement
    sent: Sent
    carry: Carry
    pixels: tuple[NDArray[np.generic] | None, ...]
    """Handed up, chunk by chunk."""

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return 4096 + sum(each.nbytes for each in self.pixels if each is not None)


def save_task(
    sink: Sink,
    state: State,
    name: str,
    placement: RowPlacement,
    carry: Carry | None,
    placed: Sent | tuple[int, ...],
    sent: Sequence[Sent],
    *summaries: Summary,
) -> None:
    """Keep the record of a row of chunks that is safe at its destination."""
    if hasattr(sink, "sync"):
        sink.sync(list(placement.ends))
    heads = {section: head for each in sent for section, head in each.heads.items()}
    receipts = getattr(placed, "receipts", ())
    record = Record(
        placement,
        Sent(placement.checksums, receipts, heads),
        carry or Carry(),
        tuple(
            None if each.pixels is None else each.pixels.read() for each in summaries
        ),
    )
    state.keep(name, pack(record))


def record_task(state: State, name: str) -> Record:
    """Read the record of a finished row.

    Raises
    ------
    FileNotFoundError
        The record is gone.
    """
    found = state.load(name)
    if found is None:
        raise FileNotFoundError(name)
    return unpack(found)


def placement_task(record: Record) -> RowPlacement:
    """Give the positions of a finished row."""
    return record.placement


def written_task(record: Record) -> tuple[int, ...]:
    """Say what a finished row wrote by position."""
    return record.sent.checksums


def kept_task(record: Record, index: int) -> Sent:
    """Say what a finished row sent; its first range stands for all."""
    return record.sent if index == 0 else Sent(record.sent.checksums, ())


def rest_task(record: Record) -> Carry:
    """Give the bytes behind the last cut of a finished row."""
    return record.carry


def pixels_task(record: Record, col: int) -> Summary:
    """Give the pixels that a finished chunk handed up."""
    pixels = record.pixels[col]
    waiting = None if pixels is None else WaitingPixels.keep(pixels)
    return Summary({}, None, record.placement.checksums[col], None, waiting)


def pack(record: Record) -> bytes:
    """Turn a record into bytes: arrays and JSON, nothing that runs when it is read."""
    placement = record.placement
    arrays: dict[str, NDArray[Any]] = {}
    for level in placement.sizes:
        arrays[f"starts-{level}"] = placement.starts[level]
        arrays[f"lengths-{level}"] = placement.lengths[level]
        arrays[f"sizes-{level}"] = placement.sizes[level]
    if placement.partials is not None:
        arrays["partials"] = placement.partials
    for col, pixels in enumerate(record.pixels):
        if pixels is not None:
            arrays[f"pixels-{col}"] = pixels
    for (level, plane), head in record.sent.heads.items():
        arrays[f"head-{level}-{plane}"] = np.frombuffer(head, np.uint8)
    for (level, plane), (_, rest) in record.carry.rests.items():
        arrays[f"rest-{level}-{plane}"] = np.frombuffer(rest, np.uint8)
    meta = {
        "levels": list(placement.sizes),
        "ends": [[*section, end] for section, end in placement.ends.items()],
        "checksums": placement.checksums,
        "chunk_starts": [placement.chunk_starts[level] for level in placement.sizes],
        "chunks": len(record.pixels),
        "receipts": [
            [each.upload, each.number, each.size, each.etag]
            for each in record.sent.receipts
        ],
        "heads": list(record.sent.heads),
        "rests": [
            [*section, start] for section, (start, _) in record.carry.rests.items()
        ],
    }
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(data: bytes) -> Record:
    """Turn bytes back into a record."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        levels = meta["levels"]
        checksums = tuple(meta["checksums"])
        placement = RowPlacement(
            ends={(level, plane): end for level, plane, end in meta["ends"]},
            starts={level: arrays[f"starts-{level}"] for level in levels},
            lengths={level: arrays[f"lengths-{level}"] for level in levels},
            sizes={level: arrays[f"sizes-{level}"] for level in levels},
            shared=None,  # no option with resume=True
            checksums=checksums,
            partials=arrays.get("partials"),
            chunk_starts={
                level: tuple(starts)
                for level, starts in zip(levels, meta["chunk_starts"], strict=True)
            },
        )
        heads = {
            (level, plane): arrays[f"head-{level}-{plane}"].tobytes()
            for level, plane in meta["heads"]
        }
        rests = {
            (level, plane): (start, arrays[f"rest-{level}-{plane}"].tobytes())
            for level, plane, start in meta["rests"]
        }
        pixels = tuple(arrays.get(f"pixels-{col}") for col in range(meta["chunks"]))
    receipts = tuple(Receipt(*each) for each in meta["receipts"])
    return Record(placement, Sent(checksums, receipts, heads), Carry(rests), pixels)
