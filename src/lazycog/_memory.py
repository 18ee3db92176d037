"""How much memory a write is expected to take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lazycog._grid import ceil_div
from lazycog._park import HELD_BYTES

if TYPE_CHECKING:
    from lazycog._parts import PartPlan
    from lazycog._plan import CogPlan

BASE_BYTES = 350 * 2**20
"""A process with NumPy, Dask, GDAL, Numba and imagecodecs loaded, as measured."""
GRAPH_BYTES = 4096
"""Of a task: in the graph, and what Dask's scheduler keeps about it, as measured."""


def task_bytes(plan: CogPlan) -> int:
    """Give the expected peak bytes of one encode task.

    The source's chunk and what it is read from (a compressed copy, at most), the
    regrouped chunk, the overviews (1/3), the encoded tiles (4/3 of the codec's
    bound) and the buffers of one tile.
    """
    expansion = max(1.0, min(1.51, plan.encoding.image.codec.expansion))
    encoded = plan.chunk_bytes * 4 / 3 * expansion
    image, overview = plan.encoding.image, plan.encoding.overview
    # rounded pixels of a row of tiles, and what a codec that takes no buffer gives
    beside = (image.quantises or overview.quantises) * plan.chunk_bytes
    # the bands are copied beside their mask, which is made from all of them
    beside += plan.encoding.masked * plan.chunk_bytes * 3 // 2
    return int(
        plan.chunk_bytes * (3 + 1 / 3)
        + beside
        + encoded
        + 2 * plan.tile_bytes(plan.levels[0])
    )


def peak_bytes(plan: CogPlan, threads: int) -> int:
    """Give the expected peak memory of a process, its libraries included."""
    if plan.parts:
        # nothing is parked on disk
        held = _sent_bytes(plan, threads, plan.parts.size) + _waiting_bytes(plan)
        held += _part_bytes(plan, plan.parts)
    else:
        stage = plan.stages[0]
        rows = min(stage.chunk_rows, 2) * stage.chunk_cols * stage.groups
        held = int(1.4 * rows * plan.chunk_bytes) + _waiting_bytes(plan)
        held = min(HELD_BYTES, held)
    waiting = _regroup_bytes(plan) + plan.reprojected_bytes
    # the source has a task per chunk, at least
    graph = GRAPH_BYTES * (plan.task_count + plan.stages[0].chunk_count)
    return BASE_BYTES + graph + threads * plan.task_bytes + held + waiting


def _groups_at_once(plan: CogPlan) -> int:
    """Count the groups of bands that take a turn together, as source chunks do."""
    stage = plan.stages[0]
    return stage.groups if plan.source_chunk[0] > stage.band_group else 1


def _sent_bytes(plan: CogPlan, threads: int, size: int) -> int:
    """Count the encoded bytes of chunks that wait to be sent.

    One turn of each stage, that is a row of chunks, and the chunks that run ahead of
    the next turn; and the parts on their way, which are copies.
    """
    raw = plan.sent_behind(threads) * plan.chunk_bytes
    for stage in plan.stages:
        level = stage.levels[0]
        rows = min(level.height, stage.chunk_size)
        pixels = rows * level.width * plan.encoding.carried
        raw += pixels * plan.itemsize * _groups_at_once(plan) // stage.groups
    expansion = max(1.05, min(1.51, plan.encoding.image.codec.expansion))
    return int(raw * 4 / 3 * expansion) + 2 * threads * size


def _waiting_bytes(plan: CogPlan) -> int:
    """Count the raw bytes of handed-up pixels that wait for the next stage."""
    waiting = 0
    for stage in plan.stages[1:]:
        level = stage.levels[0]
        # one row of the next chunks gathers while another one comes in
        rows = min(level.height, 2 * stage.chunk_size)
        waiting += rows * level.width * plan.encoding.carried * plan.itemsize
    return waiting


def _part_bytes(plan: CogPlan, parts: PartPlan) -> int:
    """Count the encoded bytes that wait to become parts, beside those of whole chunks.

    Of each section in progress a head, and what is behind the last cut, of this turn
    and of the one before; where group follows group, of each level the ends of the
    groups that are done.
    """
    stage, at_once = plan.stages[0], _groups_at_once(plan)
    planes = stage.band_group * at_once if plan.encoding.planes else 1
    most = planes * (parts.head + 2 * (parts.head + parts.size))
    if stage.groups > at_once:
        most += parts.head + 2 * parts.size
    # a small level may be there twice, too
    return sum(min(2 * plan.level_bound(level), most) for level in plan.levels)


def _regroup_bytes(plan: CogPlan) -> int:
    """Count the raw bytes of source chunks in memory beyond the chunk they make.

    Whole chunks of the source meet in a chunk of the plan; where their rows do not
    end together, a row of the source waits for the next row of chunks.
    """
    stage = plan.stages[0]
    itemsize = np.dtype(plan.source_dtype).itemsize
    sides = (
        (stage.band_group, plan.count),
        (stage.chunk_size, plan.height),
        (stage.chunk_size, plan.width),
    )
    met = [
        min(whole, ceil_div(min(side, whole), own) * own)
        for own, (side, whole) in zip(plan.source_chunk, sides, strict=True)
    ]
    extra = max(0, math.prod(met) * itemsize - plan.chunk_bytes)
    rows = plan.source_chunk[1]
    if stage.chunk_rows > 1 and stage.chunk_size % rows:
        extra += met[0] * min(rows, plan.height) * plan.width * itemsize
    return extra
