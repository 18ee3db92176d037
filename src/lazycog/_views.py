"""What plans and results look like, as text and as HTML for notebooks."""

from __future__ import annotations

import base64
import math
from html import escape
from typing import TYPE_CHECKING

from rasterio.crs import CRS

from lazycog._picture import PERCENTILES, picture, shown_bands
from lazycog._pyramid import plan_picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazycog._compression import Compression
    from lazycog._plan import CogPlan
    from lazycog._result import CogResult

SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
UNIT_STEP = 1000
LONGEST_SECONDS = 59.95
"""From here on, ``.1f`` would write 60.0 s."""
HOUR_MINUTES = 60
THREADS = (1, 2, 4, 8)
"""Thread counts whose expected memory a plan shows."""
PICTURE_SIDE = 256
"""Side of the picture of a square result, in pixels; others have about as many."""
MAX_PICTURE_SIDE = 640
"""Longest side of the picture of a result."""
NUMBERS = 'style="text-align:right;padding:2px 8px;white-space:nowrap"'
"""Look of the cells of a table; notebooks have styles of their own."""
LEVEL_TITLES = ("level", "width x height", "tiles")

Row = tuple[str, str]


def human_bytes(count: float) -> str:
    """Write a number of bytes as people read it, in powers of 1000.

    Parameters
    ----------
    count : float
        Bytes.

    Returns
    -------
    str
        Three significant digits and a unit.

    Examples
    --------
    >>> human_bytes(512), human_bytes(1_500_000), human_bytes(45_600_000_000)
    ('512 B', '1.50 MB', '45.6 GB')
    """
    value = float(count)
    unit = 0
    # 999.5 would be written as 1000
    while value >= UNIT_STEP - 0.5 and unit < len(SIZE_UNITS) - 1:
        value /= UNIT_STEP
        unit += 1
    if unit == 0:
        return f"{value:.0f} B"
    digits = min(2, max(0, 2 - math.floor(math.log10(value))))
    return f"{value:.{digits}f} {SIZE_UNITS[unit]}"


def human_seconds(seconds: float) -> str:
    """Write a duration as people read it.

    Parameters
    ----------
    seconds : float
        The duration.

    Returns
    -------
    str
        Seconds below a minute, else minutes or hours too.

    Examples
    --------
    >>> human_seconds(3.21), human_seconds(75), human_seconds(7384)
    ('3.2 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < LONGEST_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < HOUR_MINUTES:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def plan_text(plan: CogPlan) -> str:
    """Describe a plan for a terminal, in several lines."""
    lines = [_plan_title(plan), *_aligned(_plan_rows(plan))]
    lines += ["  levels", *_columns(LEVEL_TITLES, _plan_levels(plan))]
    return "\n".join(lines)


def plan_html(plan: CogPlan) -> str:
    """Describe a plan as HTML for a notebook, with a picture of the pyramid."""
    parts = [
        f"<b>{escape(_plan_title(plan))}</b>",
        plan_picture(plan),
        _html_rows(_plan_rows(plan)),
        _html_table(LEVEL_TITLES, _plan_levels(plan)),
    ]
    return f"<div>{''.join(parts)}</div>"


def result_text(result: CogResult) -> str:
    """Describe a written file for a terminal, in several lines."""
    lines = [f"CogResult {result.path}", *_aligned(_result_rows(result))]
    if result.levels:
        lines += _columns((*LEVEL_TITLES, "encoded"), _result_levels(result))
    return "\n".join(lines)


def result_html(result: CogResult) -> str:
    """Describe a written file for a notebook, with a small picture if it is there."""
    parts = [f"<b>CogResult {escape(result.path)}</b>"]
    side = _picture_side(result)
    png = picture(result.path, max_side=side, min_side=side)
    if png is not None:
        data = base64.b64encode(png).decode()
        low, high = PERCENTILES
        caption = f"{low:g} % to {high:g} % of the pixels, black to white"
        parts.append(
            f'<div><img alt="the image, small" src="data:image/png;base64,{data}" '
            'style="image-rendering:pixelated;margin:4px 0 0 0"/></div>'
            f"<div><small>{_colours(result)}; {caption}</small></div>"
        )
    parts.append(_html_rows(_result_rows(result)))
    if result.levels:
        titles = (*LEVEL_TITLES, "encoded")
        parts.append(_html_table(titles, _result_levels(result)))
    return f"<div>{''.join(parts)}</div>"


def _picture_side(result: CogResult) -> int:
    """Give a narrow raster a longer picture, so that there is something to see."""
    level = result.levels[0] if result.levels else None
    if level is None:
        return PICTURE_SIDE
    ratio = max(level.width, level.height) / min(level.width, level.height)
    return min(MAX_PICTURE_SIDE, round(PICTURE_SIDE * math.sqrt(ratio)))


def _colours(result: CogResult) -> str:
    """Say which bands the picture shows."""
    bands = shown_bands(len(result.statistics))
    named = result.plan.description.bands if result.plan is not None else ()
    names = [
        (named[band - 1].description if band <= len(named) else None) or str(band)
        for band in bands
    ]
    if len(names) == 1:
        return f"band {escape(names[0])}"
    return f"bands {escape(', '.join(names))} as red, green, blue"


# --- what is said -------------------------------------------------------------------


def _plan_title(plan: CogPlan) -> str:
    bands = f"{plan.count} band{'s' * (plan.count != 1)}"
    return f"CogPlan {plan.width} x {plan.height}, {bands} of {plan.encoding.dtype}"


def _plan_rows(plan: CogPlan) -> list[Row]:
    stage = plan.stages[0]
    side = min(stage.chunk_size, max(plan.height, plan.width))
    chunks = f"{stage.chunk_rows} x {stage.chunk_cols}"
    groups = f" x {stage.groups} groups of bands" if stage.groups > 1 else ""
    peaks = [f"{human_bytes(plan.peak_bytes(n))} ({n})" for n in THREADS]
    waiting = human_bytes(plan.reprojected_bytes)
    reprojected = [("source", f"{waiting} in memory at most, until reprojected")]
    return [
        ("crs", _crs(plan)),
        ("compression", _compression(plan)),
        ("interleave", plan.encoding.interleave),
        ("overviews", _overviews(plan)),
        ("nodata", _number(plan.encoding.nodata)),
        ("mask", "1 bit per pixel" if plan.encoding.masked else "none"),
        ("tile", f"{plan.tile_size} x {plan.tile_size} px, {plan.total_tiles} tiles"),
        ("chunks", f"{chunks}{groups}, {side} px, {human_bytes(plan.chunk_bytes)}"),
        ("stages", f"{len(plan.stages)}, {plan.chunk_count} chunks in all"),
        ("tasks", f"{plan.task_count}, {human_bytes(plan.task_bytes)} each at most"),
        ("memory", f"{', '.join(peaks)} expected peak (threads)"),
        *(reprojected if plan.reprojected_bytes else []),
        ("raw", human_bytes(plan.raw_bytes)),
        ("file", _file_bounds(plan)),
        ("header", f"at most {human_bytes(plan.header_bytes)}"),
        ("BigTIFF", _bigtiff(bigtiff=plan.bigtiff)),
    ]


def _crs(plan: CogPlan) -> str:
    """Give the code, or the name of a CRS without one."""
    wkt, lacks = plan.description.crs_wkt, plan.description.lacks
    if wkt is None:
        return "none; set it with .rio.write_crs('EPSG:...')" if lacks else "none"
    authority = CRS.from_wkt(wkt).to_authority()
    name = wkt.partition('["')[2].partition('"')[0]
    text = ":".join(authority) if authority else f"{name} (no code)"
    return f"{text}, but no coordinates" if lacks else text


def _compression(plan: CogPlan) -> str:
    image, overview = plan.encoding.image, plan.encoding.overview
    text = _settings(image)
    if overview != image and len(plan.levels) > 1:
        text += f"; overviews {_settings(overview)}"
    return text


def _settings(chosen: Compression) -> str:
    parts = [chosen.codec.name]
    parts += [f"level {chosen.level}"] * (chosen.level is not None)
    parts += [f"quality {chosen.quality}"] * (chosen.quality is not None)
    parts += ["lossless"] * (chosen.codec.has_both and chosen.lossless)
    if chosen.max_z_error:
        parts.append(f"error up to {chosen.max_z_error:g}")
    parts += [f"predictor {chosen.predictor}"] * (chosen.predictor != 1)
    return ", ".join(parts)


def _overviews(plan: CogPlan) -> str:
    count = len(plan.levels) - 1
    return f"{count}, {plan.encoding.resampling}" if count else "none"


def _file_bounds(plan: CogPlan) -> str:
    low, high = plan.min_bytes, plan.max_bytes
    return f"{human_bytes(low)} to {human_bytes(high)}"


def _bigtiff(*, bigtiff: bool | None) -> str:
    if bigtiff is None:
        return "decided by the real size"
    return "yes" if bigtiff else "no"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value}"


def _plan_levels(plan: CogPlan) -> list[tuple[str, ...]]:
    return [
        (
            str(level.index),
            f"{level.width} x {level.height}",
            str(plan.tile_count(level)),
        )
        for level in plan.levels
    ]


def _result_rows(result: CogResult) -> list[Row]:
    kind = "BigTIFF" if result.bigtiff else "classic TIFF"
    rows = [("size", f"{human_bytes(result.size)}, {kind}")]
    if result.raw_bytes and result.size:
        ratio = result.raw_bytes / result.size
        rows.append(
            ("raw", f"{human_bytes(result.raw_bytes)}, compression ratio {ratio:.2f}")
        )
    if result.duration > 0:
        speed = human_bytes(result.raw_bytes / result.duration)
        rows.append(("duration", f"{human_seconds(result.duration)}, {speed}/s raw"))
    return rows


def _result_levels(result: CogResult) -> list[tuple[str, ...]]:
    return [
        (
            str(level.index),
            f"{level.width} x {level.height}",
            str(level.tiles),
            human_bytes(level.encoded_bytes),
        )
        for level in result.levels
    ]


# --- how it is said -----------------------------------------------------------------


def _aligned(rows: Sequence[Row]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {text}" for name, text in rows]


def _columns(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [tuple(titles), *(tuple(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return [
        "    "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in table
    ]


def _html_rows(rows: Sequence[Row]) -> str:
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _html_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay numbers out in columns that end below each other."""
    head = "".join(f"<th {NUMBERS}>{escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td {NUMBERS}>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
