"""What a series came to, as text and as a picture."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from benchmarks.contenders import CONTENDERS, FLOOR
from benchmarks.series import ABSENT, efficiency, summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.series import Run, Summary

HEADER = (
    *("", "rounds", "wall, s", "ratio", "CPU, s", "ratio", "peak RSS, MiB"),
    *("written, MB", "size, MB", ""),
)


def text(runs: Sequence[Run]) -> str:
    """Lay the summaries out: a table per scene and codec."""
    parts = []
    for (scene, codec), group in _groups(runs):
        summaries = summarise(group)
        parts.append(f"{scene}, {codec}\n\n{table(HEADER, map(_row, summaries))}")
        part = efficiency(summaries)
        if part is not None:
            parts.append(f"efficiency (CPU of the floor / CPU of lazycog): {part:.2f}")
    shown = dict.fromkeys(each.contender for each in runs)
    parts.append("\n".join(f"{name}: {CONTENDERS[name].about}" for name in shown))
    return "\n\n".join(parts)


def _groups(
    runs: Iterable[Run],
) -> Iterable[tuple[tuple[str, str], list[Run]]]:
    def key(run: Run) -> tuple[str, str]:
        return run.scene, run.codec

    for name, group in itertools.groupby(runs, key):
        yield name, list(group)


def _row(each: Summary) -> tuple[str, ...]:
    rounds = f"{each.done}/{each.done + each.failed}"
    if each.note.startswith(ABSENT):
        rounds = ABSENT
    return (
        *(each.contender, rounds, _number(each.wall, 1), _number(each.wall_ratio, 2)),
        *(_number(each.cpu, 1), _number(each.cpu_ratio, 2)),
        *(_number(each.peak_rss, 0, 2**20), _number(each.written, 0, 1e6)),
        *(_number(each.size, 1, 1e6), each.note),
    )


def _number(value: float | None, digits: int, unit: float = 1) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay rows out as a Markdown table that reads well as text.

    Examples
    --------
    >>> print(table(("name", "s"), [("a", "1.5"), ("bcdef", "12.0")]))
    | name  | s    |
    |-------|------|
    | a     | 1.5  |
    | bcdef | 12.0 |
    """
    cells = [tuple(header), *(tuple(each) for each in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(map(str.ljust, row, widths)) + " |"  # one per column
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def plot(runs: Sequence[Run], path: Path) -> None:
    """Draw wall time and peak memory: a bar for the median, a dot for each run."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    groups = list(_groups(runs))
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(10, 0.6 + 3.2 * len(groups)), layout="constrained")
        axes = figure.subplots(len(groups), 2, squeeze=False)
        for row, ((scene, codec), group) in zip(axes, groups, strict=True):
            shown = [each for each in group if each.error is None]
            names = list(dict.fromkeys(each.contender for each in shown))
            for axis, field, unit, label in (
                (row[0], "wall", 1, "wall, s"),
                (row[1], "peak_rss", 2**20, "peak RSS of the process tree, MiB"),
            ):
                for at, summary in enumerate(summarise(shown)):
                    colour = "0.75" if summary.contender == FLOOR else "tab:blue"
                    axis.barh(at, getattr(summary, field) / unit, color=colour)
                values = [getattr(each, field) / unit for each in shown]
                places = [names.index(each.contender) for each in shown]
                axis.plot(values, places, ".", color="black", markersize=3)
                axis.set_yticks(range(len(names)), names)
                axis.invert_yaxis()
                axis.set_xlabel(label)
                axis.set_title(f"{scene}, {codec}", loc="left")
        figure.savefig(path, dpi=150)
