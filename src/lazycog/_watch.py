"""Watch a write while it runs: one event per encoded chunk, on any Dask scheduler.

In this process a Dask callback sees every finished task. On a cluster the worker says
so itself, in a message of some 100 bytes per chunk; nothing is polled.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazycog._encode import EncodedChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dask.callbacks import Callback

    from distributed import Client
    from lazycog._encode import ChunkTask
    from lazycog._plan import CogPlan

KEY_PREFIX = "cog-encode"
INDEX_LENGTH = 3
"""Group, row and column follow the name in the key of an encode task."""


@dataclass(frozen=True)
class ChunkDone:
    """A chunk is encoded."""

    stage: int
    tiles: int
    """Tiles of all levels of the chunk, over its bands."""
    raw_bytes: int
    """Bytes of the source that they hold, 0 beyond the first stage."""
    encoded_bytes: int


@contextmanager
def watch(
    plan: CogPlan, token: str, on_chunk: Callable[[ChunkDone], None] | None
) -> Iterator[None]:
    """Call `on_chunk` for every chunk that is encoded inside the block.

    Parameters
    ----------
    plan : CogPlan
        Of the write.
    token : str
        Of the write: other writes at the same time are not counted.
    on_chunk : callable or None
        Takes a ChunkDone; called from any thread, once per chunk. None watches nothing.

    Yields
    ------
    None
        Compute inside.
    """
    if on_chunk is None:
        yield
        return
    counter = _Counter(plan, on_chunk)
    client = _client()
    if client is None:
        with _callback(token, counter):
            yield
        return
    topic = _topic(token)
    client.subscribe_topic(topic, counter.receive)
    try:
        yield
    finally:
        counter.close()
        if client.status == "running":  # else the error that ended it goes on
            client.unsubscribe_topic(topic)


def announce(token: str, task: ChunkTask, chunk: EncodedChunk) -> None:
    """Tell the client of a cluster that a chunk is encoded; elsewhere do nothing.

    Parameters
    ----------
    token : str
        Of the write.
    task : ChunkTask
        Which chunk.
    chunk : EncodedChunk
        The chunk.
    """
    if "distributed.worker" not in sys.modules:
        return
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # distributed is loaded, but this thread is no worker
        return
    index = [task.stage.index, task.group, task.row, task.col]
    worker.log_event(_topic(token), [*index, _tiles(chunk), chunk.encoded_bytes])


class _Counter:
    """Turns finished chunks into events, each chunk once."""

    def __init__(self, plan: CogPlan, on_chunk: Callable[[ChunkDone], None]) -> None:
        self._plan = plan
        self._on_chunk: Callable[[ChunkDone], None] | None = on_chunk
        self._seen: set[tuple[int, ...]] = set()

    def receive(self, event: tuple[Any, Any]) -> None:
        """Take an event of the scheduler: its time and our message."""
        *index, tiles, encoded_bytes = event[1]
        self.count(tuple(index), tiles, encoded_bytes)

    def count(self, index: tuple[int, ...], tiles: int, encoded_bytes: int) -> None:
        """Count the chunk at (stage, group, row, col); a retried one counts once."""
        if self._on_chunk is None or index in self._seen:
            return
        self._seen.add(index)
        stage, group, row, col = index
        raw_bytes = self._raw_bytes(group, row, col) if stage == 0 else 0
        self._on_chunk(ChunkDone(stage, tiles, raw_bytes, encoded_bytes))

    def close(self) -> None:
        """Ignore what still arrives, and let go of the listener."""
        self._on_chunk = None

    def _raw_bytes(self, group: int, row: int, col: int) -> int:
        stage = self._plan.stages[0]
        height = len(stage.axis_chunk(0, row).own[0])
        width = len(stage.axis_chunk(1, col).own[0])
        return height * width * len(stage.bands(group)) * self._plan.itemsize


def _tiles(chunk: EncodedChunk) -> int:
    return sum(int(sizes.size) for sizes in chunk.summary.sizes.values())


def _topic(token: str) -> str:
    return f"lazycog-{token}"


def _client() -> Client | None:
    """Give the distributed client that would compute, if one would."""
    from dask.base import get_scheduler  # noqa: PLC0415 - as light as can be

    client = getattr(get_scheduler(), "__self__", None)
    return client if hasattr(client, "subscribe_topic") else None


def _callback(token: str, counter: _Counter) -> Callback:
    """Make a Dask callback that counts the encode tasks of a write."""
    from dask.callbacks import Callback  # noqa: PLC0415 - as light as can be

    def posttask(key: object, value: object, *_: object) -> None:
        if not isinstance(value, EncodedChunk) or not isinstance(key, tuple):
            return
        stage, separator, rest = str(key[0]).removeprefix(KEY_PREFIX).partition("-")
        if separator and rest == token and stage.isdecimal():
            index = tuple(int(each) for each in key[1 : 1 + INDEX_LENGTH])
            counter.count((int(stage), *index), _tiles(value), value.encoded_bytes)

    return Callback(posttask=posttask)
