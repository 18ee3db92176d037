"""Describe a GeoTIFF: its structure as validated, its georeferencing and metadata."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from lazycog import _plain, _validate
from lazycog._views import human_bytes
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rasterio.io import DatasetReader
    from rich.console import RenderableType
    from rich.table import Table

LEVEL_COLUMNS = ("kind", "width x height", "tile", "tiles", "bytes", "compression")
BAND_COLUMNS = ("band", "description", "dtype", "nodata", "scale", "offset", "unit")
STATISTICS = ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV", "VALID_PERCENT")

TITLES = {
    "description": "name",
    "minimum": "min",
    "maximum": "max",
    "valid_percent": "valid %",
}
"""Short ones, for the table is wide."""
USUAL: Mapping[str, object] = {"scale": 1.0, "offset": 0.0}


def describe_file(path: str) -> dict[str, Any]:
    """Gather what a file says about itself, in plain values that go through JSON.

    Parameters
    ----------
    path : str
        Path or URL of a GeoTIFF.

    Returns
    -------
    dict
        The details of a validation, with keys geo, tags and bands added.

    Raises
    ------
    InputError
        The file is missing, or GDAL cannot open it.
    """
    report = _validate.validate(path, full=False)
    details = {**report.details, "valid_cog": report.ok}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                return {**details, **_from_gdal(dataset)}
    except RasterioError as error:
        raise InputError(
            f"{path}: GDAL cannot open it: {str(error).rstrip('.')}; give the path or "
            "URL of a GeoTIFF"
        ) from error


def _from_gdal(dataset: DatasetReader) -> dict[str, Any]:
    crs = dataset.crs
    return {
        "geo": {
            "crs": None if crs is None else crs.to_string(),
            "transform": list(dataset.transform)[:6],
            "bounds": list(dataset.bounds),
            "resolution": list(dataset.res),
        },
        "tags": dataset.tags(),
        "bands": [_band(dataset, number) for number in dataset.indexes],
    }


def _band(dataset: DatasetReader, number: int) -> dict[str, Any]:
    index = number - 1
    tags = dataset.tags(number)
    nodata = dataset.nodatavals[index]
    return {
        "band": number,
        "description": dataset.descriptions[index],
        "dtype": dataset.dtypes[index],
        **_plain.nodata_values(nodata),
        "scale": dataset.scales[index],
        "offset": dataset.offsets[index],
        "unit": dataset.units[index],
        "colorinterp": dataset.colorinterp[index].name,
        "statistics": _statistics(tags),
        "tags": tags,
    }


def _statistics(tags: Mapping[str, str]) -> dict[str, float] | None:
    """Give the statistics in the tags of a band as numbers."""
    found = {}
    for name in STATISTICS:
        with contextlib.suppress(KeyError, ValueError):
            found[name.lower()] = float(tags[f"STATISTICS_{name}"])
    return found or None


def tables(about: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Lay the description of a file out for a terminal.

    Parameters
    ----------
    about : mapping
        What :func:`describe_file` gives.

    Yields
    ------
    RenderableType
        Tables of rich.
    """
    yield _general(about)
    levels = _table("levels", LEVEL_COLUMNS)
    for level in about.get("levels", ()):
        levels.add_row(
            level["kind"],
            f"{level['width']} x {level['height']}",
            f"{level['tile_width']} x {level['tile_height']}",
            str(level["tiles"]),
            human_bytes(level["data_bytes"]),
            f"{level['compression']}, predictor {level['predictor']}",
        )
    yield levels
    yield _bands(about["bands"])


def _bands(bands: Sequence[Mapping[str, Any]]) -> Table:
    """Lay the bands out, without columns that say nothing of any of them."""
    rows = [_band_row(band) for band in bands]
    columns: dict[str, list[str]] = {}
    for name in (*BAND_COLUMNS, *map(str.lower, STATISTICS)):
        values = [row.get(name) for row in rows]
        if any(value not in {None, USUAL.get(name)} for value in values):
            columns[TITLES.get(name, name)] = [_short(value) for value in values]
    table = _table("bands", tuple(columns), dense=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _band_row(band: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the table may say of a band, by column."""
    nodata = "nan" if band["nodata_is_nan"] else band["nodata"]
    return {**band, "nodata": nodata, **(band["statistics"] or {})}


def _short(value: object) -> str:
    """Write a cell, numbers with six digits; --json has all of them."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _general(about: Mapping[str, Any]) -> Table:
    from rich.markup import escape  # noqa: PLC0415 - only in a terminal
    from rich.text import Text  # noqa: PLC0415

    rows = {
        **_file_rows(about),
        **(_image_rows(about) if about.get("levels") else {}),
        **{f"tag {key}": str(value) for key, value in about["tags"].items()},
    }
    styles = {"valid COG": "green" if about["valid_cog"] else "bold red"}
    table = _table(str(about["path"]), ("", ""), header=False)
    for name, text in rows.items():
        table.add_row(escape(name), Text(text, style=styles.get(name, "")))
    return table


def _file_rows(about: Mapping[str, Any]) -> dict[str, str]:
    geo = about["geo"]
    kind = "BigTIFF" if about.get("bigtiff") else "TIFF"
    return {
        "file": f"{human_bytes(about['size'])}, {kind}",
        "valid COG": "yes" if about["valid_cog"] else "no; see lazycog validate",
        "crs": geo["crs"] or "none",
        "transform": _numbers(geo["transform"]),
        "bounds": _numbers(geo["bounds"]),
        "resolution": _numbers(geo["resolution"]),
    }


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{each:.12g}" for each in values)


def _image_rows(about: Mapping[str, Any]) -> dict[str, str]:
    main = about["levels"][0]
    ghost = ", ".join(f"{key}={value}" for key, value in about["ghost"].items())
    return {
        "size": f"{main['width']} x {main['height']}, {about['band_count']} band(s)",
        "interleave": str(about["interleave"]),
        "ghost area": ghost or "none",
    }


def _table(
    title: str, columns: tuple[str, ...], *, header: bool = True, dense: bool = False
) -> Table:
    """Begin a table; a dense one has spaces between its columns, for there are many."""
    from rich import box  # noqa: PLC0415 - only in a terminal
    from rich.markup import escape  # noqa: PLC0415 - the same
    from rich.table import Table  # noqa: PLC0415 - the same

    table = Table(title=escape(title), title_justify="left", show_header=header)
    if dense:
        table.box = box.SIMPLE_HEAD
        table.padding = (0, 0)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
