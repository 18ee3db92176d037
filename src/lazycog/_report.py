"""What a validation found, as a value that prints well."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

MEGABYTE = 10**6


class Finding(NamedTuple):
    """A rule that the file breaks."""

    severity: Literal["error", "warning"]
    message: str
    """What was found, and what it should be."""


def error(message: str) -> Finding:
    """Report what makes the file no COG, or its own claims false."""
    return Finding("error", message)


def warning(message: str) -> Finding:
    """Report what readers cope with, at a price."""
    return Finding("warning", message)


@dataclass(frozen=True)
class Report:
    """Outcome of `lazycog.validate`; true when the file has no error."""

    ok: bool
    """No errors; warnings do not count."""
    errors: tuple[str, ...] = ()
    """What makes the file no COG, or makes its own claims false."""
    warnings: tuple[str, ...] = ()
    """What readers cope with, at a price."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that go through JSON: path, size, ghost claims, levels, ..."""

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        """Verdict, errors, warnings and one line about the raster."""
        lines = [f"{self.details.get('path', 'file')}: {_verdict(self)}"]
        lines += [f"  error: {message}" for message in self.errors]
        lines += [f"  warning: {message}" for message in self.warnings]
        summary = _summary(self.details)
        return "\n".join([*lines, f"  {summary}"] if summary else lines)

    def _repr_html_(self) -> str:
        """Verdict, messages and a table of levels for a notebook."""
        path = escape(str(self.details.get("path", "file")))
        messages = [
            f"<li><b>{kind}</b>: {escape(message)}</li>"
            for kind, found in (("error", self.errors), ("warning", self.warnings))
            for message in found
        ]
        items = f"<ul>{''.join(messages)}</ul>" if messages else ""
        table = _level_table(self.details.get("levels", ()))
        return f"<div><b>{path}</b>: {escape(_verdict(self))}{items}{table}</div>"


def _verdict(report: Report) -> str:
    counts = [
        f"{len(found)} {noun}{'s' * (len(found) != 1)}"
        for noun, found in (("error", report.errors), ("warning", report.warnings))
        if found
    ]
    text = "valid Cloud-Optimized GeoTIFF"
    text = text if report.ok else f"NOT a {text}"
    return f"{text} ({', '.join(counts)})" if counts else text


def _summary(details: Mapping[str, Any]) -> str:
    levels = details.get("levels")
    if not levels:
        return ""
    main = levels[0]
    kinds = [level["kind"] for level in levels]
    file_type = "BigTIFF" if details["bigtiff"] else "TIFF"
    blocks = "tiles" if main["tiled"] else "strips"
    parts = [
        f"{file_type}, {details['size'] / MEGABYTE:.3f} MB",
        f"{main['width']}x{main['height']} {main['dtype']}",
        f"{details['band_count']} band(s), {details['interleave']} interleaved",
        f"{main['compression']} in {main['tile_width']}x{main['tile_height']} {blocks}",
        f"{kinds.count('overview')} overview(s)",
    ]
    return "; ".join(parts + ["mask"] * ("mask" in kinds))


LEVEL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "IFD": ("index",),
    "kind": ("kind",),
    "size": ("width", "height"),
    "tile": ("tile_width", "tile_height"),
    "tiles": ("tiles",),
    "sparse": ("sparse_tiles",),
    "first tile at": ("first_tile_offset",),
    "bytes": ("data_bytes",),
    "compression": ("compression",),
    "dtype": ("dtype",),
}


def _level_table(levels: Sequence[Mapping[str, Any]]) -> str:
    if not levels:
        return ""
    look = 'style="text-align:right;padding:0 8px;white-space:nowrap"'
    head = "".join(f"<th {look}>{title}</th>" for title in LEVEL_COLUMNS)
    rows = [
        "".join(
            f"<td {look}>{escape(' x '.join(str(level[key]) for key in keys))}</td>"
            for keys in LEVEL_COLUMNS.values()
        )
        for level in levels
    ]
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
