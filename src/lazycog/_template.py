"""Paths of many files from one template, such as ``out/{time:%Y%m%d}.tif``."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import numpy as np

from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORBIDDEN = ("/", "\\", "\0")
"""A label may name a file, not a folder."""


def paths_of(template: str, name: str, labels: Sequence[object]) -> list[str]:
    """Fill a template with each label.

    Parameters
    ----------
    template : str
        A path or URL with ``{name}`` or ``{name:format}`` in it; nothing else of
        Python's format language.
    name : str
        The only field.
    labels : sequence
        NumPy scalars or text; dates take ``%`` formats.

    Returns
    -------
    list of str
        One per label, all different.

    Raises
    ------
    OptionError
        The template has another field, its format does not suit the labels, a label
        would lead to another folder, or two labels give the same path.

    Examples
    --------
    >>> paths_of("out/{time:%Y%m}.tif", "time", np.array(["2024-02-03"], "M8[D]"))
    ['out/202402.tif']
    """
    pieces = _pieces(template, name)
    paths = [
        "".join(
            literal if spec is None else literal + _formatted(label, spec, template)
            for literal, spec in pieces
        )
        for label in labels
    ]
    seen: dict[str, object] = {}
    for path, label in zip(paths, labels, strict=True):
        if path in seen:
            raise OptionError(
                f"template {template!r} gives {path!r} for both {seen[path]} and "
                f"{label}; make it tell them apart, for example {{{name}:%Y%m%dT%H%M}}"
            )
        seen[path] = label
    return paths


def _pieces(template: str, name: str) -> list[tuple[str, str | None]]:
    """Split a template; attributes, items and conversions have no place in it."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise OptionError(f"template {template!r} cannot be read: {error}") from error
    fields = [each for each in parsed if each[1] is not None]
    for _, field, spec, conversion in fields:
        if field != name or conversion or "{" in (spec or ""):
            raise OptionError(
                f"template {template!r} has the field {{{field}}}: the only one is "
                f"{{{name}}}, or {{{name}:format}}"
            )
    if not fields:
        raise OptionError(
            f"template {template!r} has no field, so all files would be one; put "
            f"{{{name}}} into the name"
        )
    return [
        (literal, None if field is None else spec or "")
        for literal, field, spec, _ in parsed
    ]


def _formatted(label: object, spec: str, template: str) -> str:
    value = label
    if isinstance(label, np.datetime64):
        value = label.astype("M8[us]").item()
        if not spec:
            value = str(np.datetime_as_string(label, unit="auto"))
    elif isinstance(label, np.generic):
        value = label.item()
    try:
        text = format(value, spec)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"template {template!r}: the format {spec!r} does not suit {label!r}: "
            f"{error}"
        ) from error
    if not text or text in {".", ".."} or any(each in text for each in FORBIDDEN):
        raise OptionError(
            f"template {template!r} gives {text!r} for {label!r}, which would lead to "
            "another folder; choose a format without slashes"
        )
    return text
