"""A picture of the levels of a plan, as SVG."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lazycog._grid import Level
    from lazycog._plan import CogPlan

SIDE = 190
"""Longest side of level 0 in the picture of a plan, in screen pixels."""
LEAST_SIDE = 24
"""Shortest side of level 0: narrow rasters are drawn wider than they are."""
GAP = 14
MIN_SIDE = 3
"""Smaller levels are not drawn."""
MIN_CELL = 4
"""Grids with narrower cells are left out, in screen pixels."""
LABEL = 16
"""Height of the line with the numbers of the levels."""
INK, FILL = "#808a94", "#4c78a8"
"""Seen on white and on black: a picture does not know the colours of the page."""
LEGEND = "levels by number; thin lines: tiles, thick lines: chunks"

Scales = tuple[float, float]
"""Screen pixels per pixel, across and down."""


def plan_picture(plan: CogPlan) -> str:
    """Draw the levels of a plan for a notebook.

    Parameters
    ----------
    plan : CogPlan
        What to draw.

    Returns
    -------
    str
        HTML: an image with its legend. Notebooks that are not trusted, and sites that
        show them, drop SVG in the page itself.
    """
    data = base64.b64encode(plan_svg(plan).encode()).decode()
    return (
        f'<div><img alt="{LEGEND}" src="data:image/svg+xml;base64,{data}" '
        f'style="margin:6px 0 0 0"/></div><div><small>{LEGEND}</small></div>'
    )


def plan_svg(plan: CogPlan) -> str:
    """Draw the levels of a plan side by side, as SVG."""
    scales = _scales(plan.width, plan.height)
    first = {
        level.index: stage.chunk_size >> step
        for stage in plan.stages
        for step, level in enumerate(stage.levels)
    }
    bottom = plan.height * scales[1] + 1
    shapes, left = [], 1.0
    for level in plan.levels:
        width, height = level.width * scales[0], level.height * scales[1]
        if level.index and max(width, height) < MIN_SIDE:
            break
        shapes.append(_level(level, first[level.index], scales, (left, bottom)))
        left += width + GAP
    return (
        f'<svg width="{left:.0f}" height="{bottom + LABEL:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg" stroke="{INK}" fill="none">'
        f"{''.join(shapes)}</svg>"
    )


def _scales(width: int, height: int) -> Scales:
    longest = SIDE / max(width, height)
    least = [min(LEAST_SIDE, SIDE) / side for side in (width, height)]
    return max(longest, least[0]), max(longest, least[1])


def _level(
    level: Level, chunk_size: int, scales: Scales, corner: tuple[float, float]
) -> str:
    """Draw one level; `corner` is its bottom left one."""
    left, bottom = corner
    width, height = level.width * scales[0], level.height * scales[1]
    top = bottom - height
    path = []
    for step, thickness in ((level.tile_size, 0.5), (chunk_size, 1.5)):
        across, down = step * scales[0], step * scales[1]
        columns = (i * across for i in range(1, _lines(width, across)))
        rows = (i * down for i in range(1, _lines(height, down)))
        lines = [f"M{left + x:.1f} {top:.1f}v{height:.1f}" for x in columns]
        lines += [f"M{left:.1f} {top + y:.1f}h{width:.1f}" for y in rows]
        thin = min(thickness, across / 6, down / 6)  # narrow cells stay light
        if lines:
            path.append(f'<path d="{"".join(lines)}" stroke-width="{thin:.2f}"/>')
    title = f"<title>level {level.index}: {level.width} x {level.height}</title>"
    return (
        f'<g>{title}<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="{FILL}" fill-opacity="0.25"/>{"".join(path)}'
        f'<text x="{left:.1f}" y="{bottom + LABEL - 3:.1f}" font-size="11" '
        f'font-family="sans-serif" fill="{INK}" stroke="none">{level.index}</text></g>'
    )


def _lines(side: float, cell: float) -> int:
    """Give the number of cells along a side, 0 where they are too narrow to see."""
    return math.ceil(side / cell) if cell >= MIN_CELL else 0
