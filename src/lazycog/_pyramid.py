"""A picture of the levels of a plan, as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lazycog._grid import Level
    from lazycog._plan import CogPlan

SIDE = 190
"""Longest side of level 0 in the picture of a plan, in screen pixels."""
GAP = 14
MIN_SIDE = 3
"""Smaller levels are not drawn."""
MIN_CELL = 4
"""Grids with narrower cells are left out, in screen pixels."""


def plan_svg(plan: CogPlan) -> str:
    """Draw the levels side by side: thin lines are tiles, thick ones are chunks."""
    scale = SIDE / max(plan.height, plan.width)
    first = {
        level.index: stage.chunk_size >> step
        for stage in plan.stages
        for step, level in enumerate(stage.levels)
    }
    bottom = SIDE * plan.height / max(plan.height, plan.width)
    shapes, left = [], 1.0
    for level in plan.levels:
        width, height = level.width * scale, level.height * scale
        if level.index and max(width, height) < MIN_SIDE:
            break
        shapes.append(_level(level, first[level.index], scale, (left, bottom)))
        left += width + GAP
    return (
        f'<svg width="{left:.0f}" height="{bottom + 4:.0f}" '
        'xmlns="http://www.w3.org/2000/svg" style="display:block;margin:6px 0" '
        f'stroke="currentColor" fill="none">{"".join(shapes)}</svg>'
    )


def _level(
    level: Level, chunk_size: int, scale: float, corner: tuple[float, float]
) -> str:
    """Draw one level; `corner` is its bottom left one."""
    left, bottom = corner
    width, height = level.width * scale, level.height * scale
    top = bottom - height + 1
    path = []
    for step, opacity in ((level.tile_size, 0.25), (chunk_size, 0.9)):
        cell = step * scale
        if cell < MIN_CELL:
            continue
        columns = (i * cell for i in range(1, math.ceil(width / cell)))
        rows = (i * cell for i in range(1, math.ceil(height / cell)))
        lines = [f"M{left + x:.1f} {top:.1f}v{height:.1f}" for x in columns]
        lines += [f"M{left:.1f} {top + y:.1f}h{width:.1f}" for y in rows]
        path.append(f'<path d="{"".join(lines)}" stroke-opacity="{opacity}"/>')
    title = f"<title>level {level.index}: {level.width} x {level.height}</title>"
    return (
        f'<g>{title}<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="#4c78a8" fill-opacity="0.25"/>{"".join(path)}</g>'
    )
