"""The graph: few tasks per chunk, none per tile, nothing heavy inside."""

from __future__ import annotations

import pickle

import dask.array as da
import pytest
import xarray as xr
from dask._task_spec import convert_legacy_graph
from dask.order import order

import lazycog
from lazycog._tasks import ahead_task


def _tasks(size, count=4, chunk=2048, **options):
    """Give the plan and all tasks of a write that are not the source's."""
    pixels = da.zeros((count, *size), chunks=(count, chunk, chunk), dtype="uint16")
    array = xr.DataArray(pixels, dims=("band", "y", "x"))
    lazy = lazycog.to_cog(array, "cog.tif", compute=False, **options)
    tasks = convert_legacy_graph(dict(lazy.__dask_graph__()))
    own = {key: task for key, task in tasks.items() if "cog-" in str(key)}
    return lazycog.plan(array, **options), own, tasks


@pytest.mark.parametrize(
    "size",
    [(16384, 16384), (8192, 30000), (40960, 4096), (16385, 16385), (10980, 10980)],
    ids=str,
)
def test_tasks_per_chunk_are_few(tmp_path, monkeypatch, size):
    """At most 4 per chunk, and a few per row of chunks.

    With odd sizes, too: neighbours' strips are cut once per block.
    """
    monkeypatch.chdir(tmp_path)

    plan, own, _ = _tasks(size)

    rows = sum(stage.groups * stage.chunk_rows for stage in plan.stages)
    assert len(own) <= 4 * plan.chunk_count + 4 * rows + 2
    assert len(own) <= plan.task_count


def test_tile_size_does_not_change_the_number_of_tasks(tmp_path, monkeypatch):
    """64 times the tiles, the same tasks."""
    monkeypatch.chdir(tmp_path)

    large, small = (len(_tasks((8192, 8192), blocksize=size)[1]) for size in (512, 64))

    assert small <= large * 1.2


def test_tasks_are_small_and_plain(tmp_path, monkeypatch):
    """No pixels, handles or clients travel with a task."""
    monkeypatch.chdir(tmp_path)

    _, own, _ = _tasks((8193, 8193))

    sizes = {key: len(pickle.dumps(task)) for key, task in own.items()}
    commit = next(key for key in own if "cog-commit" in str(key))
    del sizes[commit]
    assert max(sizes.values()) < 6000


@pytest.mark.parametrize(
    ("size", "encoded_rows"),
    [((16384, 16384), 1), ((32768, 8192), 1), ((16383, 16383), 1.3)],
    ids=str,
)
def test_few_encoded_chunks_wait_at_once(tmp_path, monkeypatch, size, encoded_rows):
    """In the order that Dask chooses, about one row of chunks waits for its place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lazycog._graph.worker_threads", lambda: 2)
    plan, _, tasks = _tasks(size)

    alive = _most_alive(tasks, "cog-encode0")

    assert alive <= encoded_rows * plan.stages[0].chunk_cols + 2


@pytest.mark.parametrize(
    "size", [(4096, 61035), (15811, 15811), (4096, 65536)], ids=str
)
def test_few_source_chunks_wait_at_once(tmp_path, monkeypatch, size):
    """However wide a row of chunks is: it is read from left to right."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lazycog._graph.worker_threads", lambda: 2)
    _, _, tasks = _tasks(size)

    assert _most_alive(tasks, "zeros") <= 6


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_no_chunk_is_left_behind(tmp_path, monkeypatch, interleave):
    """On two threads, a chunk starts when all but the one before it are encoded.

    Threads take what became ready last: what they left would hold up the whole row.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lazycog._graph.worker_threads", lambda: 2)
    plan, _, tasks = _tasks((8192, 8192), interleave=interleave)
    stage = plan.stages[0]
    # the source's chunks hold all bands: their groups follow each other
    encodes = [
        next(key for key in tasks if _is_task(key, "encode0", (group, row, col)))
        for row in range(stage.chunk_rows)
        for col in range(stage.chunk_cols)
        for group in range(stage.groups)
    ]

    for position, key in enumerate(encodes):
        before = _ancestors(tasks, key)
        assert before.issuperset(encodes[: max(0, position - 1)])
        assert before.isdisjoint(encodes[position:])


@pytest.mark.parametrize(("deduplicate", "ahead"), [(False, True), (True, False)])
def test_first_rows_of_tiles_wait_for_no_other_row(
    tmp_path, monkeypatch, deduplicate, ahead
):
    """Their positions follow from the chunks to the left, unless tiles are shared."""
    monkeypatch.chdir(tmp_path)
    _, own, tasks = _tasks((8192, 8192), deduplicate=deduplicate)
    summaries = {key for key in own if str(key[0]).startswith("cog-summary0")}

    assert {own[key].func is ahead_task for key in summaries} == {ahead}
    for key in summaries:
        _, _, row, _ = key
        placed = {
            each[2]
            for each in _ancestors(tasks, key)
            if str(each[0]).startswith("cog-row0")
        }
        assert row not in placed


def _is_task(key, name, index):
    return str(key[0]).startswith(f"cog-{name}-") and tuple(key[1:]) == index


def _ancestors(tasks, key):
    """Give all tasks that must be done before one."""
    found, waiting = set(), [key]
    while waiting:
        for each in tasks[waiting.pop()].dependencies - found:
            found.add(each)
            waiting.append(each)
    return found


def _most_alive(tasks, name):
    """Count results that are held at once when tasks run in Dask's order."""
    users = dict.fromkeys(tasks, 0)
    for task in tasks.values():
        for key in task.dependencies:
            users[key] += 1
    alive, most = set(), 0
    priorities = order(tasks)
    for key in sorted(tasks, key=priorities.get):
        alive.add(key)
        for needed in tasks[key].dependencies:
            users[needed] -= 1
            if not users[needed]:
                alive.discard(needed)
        most = max(most, sum(str(each[0]).startswith(name) for each in alive))
    return most


def test_plan_is_cheap_at_any_size():
    """A continent at one metre plans in no time."""
    pixels = da.zeros((1, 1_296_000, 525_000), chunks=(1, 4096, 4096), dtype="uint8")
    plan = lazycog.plan(xr.DataArray(pixels, dims=("band", "y", "x")))

    assert plan.levels[-1].height <= 512
    assert plan.total_tiles > 3_400_000
    assert plan.peak_bytes(2) < 4 * 2**30
