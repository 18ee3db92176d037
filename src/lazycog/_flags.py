"""Every field of CogOptions as a flag of the command line, from one table."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any, Literal

import click
from click.shell_completion import CompletionItem

from lazycog._options import CogOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic since click 8.2

HELP: Mapping[str, str] = {
    "compress": "Codec of the tiles.",
    "level": "Effort of the codec.",
    "quality": "Quality of a lossy codec, 1 to 100.",
    "max_z_error": "Largest error of a pixel, in its units.",
    "lossless": "Lossless variant of a codec that has both.",
    "predictor": "Differences before the codec: 1 none, 2 integers, 3 floats.",
    "blocksize": "Side of a tile in pixels, a multiple of 16.",
    "interleave": "Order of the bands in the file.",
    "overview_resampling": "Kernel of the overviews.",
    "overview_count": "Number of overviews, 0 for none.",
    "overview_compress": "Codec of the overviews.",
    "overview_quality": "Quality of the overviews, 1 to 100.",
    "overview_predictor": "Predictor of the overviews.",
    "nodata": "Value of missing pixels; auto takes the raster's own.",
    "mask": "Write an internal 1-bit mask, made from nodata.",
    "sparse": "Leave out tiles that hold only nodata.",
    "deduplicate": "Store identical tiles once.",
    "statistics": "Write exact statistics of every band.",
    "tags": "Dataset tag, repeatable.",
    "band_tags": "Tag of a band, numbered from 1, repeatable.",
    "descriptions": "Name of a band, one per band.",
    "scales": "Scale of a band, one per band.",
    "offsets": "Offset of a band, one per band.",
    "units": "Unit of a band, one per band.",
    "colorinterp": "Colour interpretation of a band, one per band.",
    "colormap": "Colour table as JSON: {value: [red, green, blue, alpha]}.",
    "gcps": "Ground control points as JSON: [[row, col, x, y], ...].",
    "rpcs": "Rational polynomial coefficients as JSON, in GDAL's names.",
    "promote": "Cast variables of several types to their common type.",
    "tiling_scheme": "Reproject onto a tiling scheme, as GoogleMapsCompatible.",
    "zoom_level": "Zoom level of the full resolution in the tiling scheme.",
    "aligned_levels": "Number of resolutions made of whole tiles of the scheme.",
    "warp_resampling": "Kernel of the reprojection.",
    "bigtiff": "Format for files beyond 4 GiB; auto decides from the real size.",
    "profile": "Creation option of GDAL's COG or GTiff driver, repeatable.",
    "storage_options": "Option of the destination's fsspec file system, repeatable.",
    "part_size": "Bytes of a part of an object.",
    "min_part": "Least bytes of a part that the store takes.",
    "max_parts": "Most parts of an object that the store takes.",
    "equal_parts": "Make all parts but the last of one size, as Cloudflare R2 wants.",
    "resume": "Note finished rows, and go on from those of a killed write.",
    "overwrite": "Replace an existing destination.",
    "lock": "Serialise the writes.",
    "progress": "Show a progress bar; by default in a terminal.",
}
"""What each flag says about itself."""
NAMES: Mapping[str, str] = {"profile": "--co"}
"""Flags that are not called like their option."""
PAIRS = frozenset({"lock", "progress", "mask", "lossless"})
"""Options that are a pair of flags although they take more than True and False."""
BOOLEANS: Mapping[str, bool] = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
}


class OptionValue(ParamType):
    """A value as the type of an option allows it: literals, numbers, none."""

    name = "value"

    def __init__(self, hint: object) -> None:
        self._choices = tuple(_literals(hint))
        self._kinds = frozenset(_kinds(hint))

    def get_metavar(self, *_: object, **__: object) -> str:  # differs among clicks
        """Show what may be given."""
        shown = [str(each).lower() for each in self._choices]
        shown += ["true", "false"] * (bool in self._kinds)
        shown += ["NUMBER"] * bool(self._kinds & {int, float})
        shown += ["TEXT"] * (str in self._kinds)
        shown += ["none"] * (type(None) in self._kinds)
        return "|".join(dict.fromkeys(shown))

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> object:
        """Turn text into the value that the option takes."""
        if not isinstance(value, str):
            return value
        known = self._known()
        if value.lower() in known:
            return known[value.lower()]
        number = _number(value) if self._kinds & {int, float} else None
        if number is not None:
            return number
        if str in self._kinds or self._choices:
            return value  # the option itself knows best what to say about it
        return self.fail(f"{value!r} is not {self._expected()}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the words that stand for a value."""
        del ctx, param
        begun = incomplete.lower()
        return [
            CompletionItem(each) for each in self._known() if each.startswith(begun)
        ]

    def _known(self) -> dict[str, Any]:
        """Give the words that stand for a value."""
        words: dict[str, Any] = {}
        if bool in self._kinds or any(isinstance(each, bool) for each in self._choices):
            words |= BOOLEANS
        if type(None) in self._kinds:
            words["none"] = None
        literals = [each for each in self._choices if not isinstance(each, bool)]
        return words | {str(each).lower(): each for each in literals}

    def _expected(self) -> str:
        return "a number, or none" if type(None) in self._kinds else "a number"


class KeyValue(ParamType):
    """KEY=VALUE."""

    name = "KEY=VALUE"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        key, separator, text = str(value).partition("=")
        if not separator or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


class BandKeyValue(ParamType):
    """BAND:KEY=VALUE."""

    name = "BAND:KEY=VALUE"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, str, str]:
        """Split a tag of a band; the band stays 1-based here."""
        band, _, rest = str(value).partition(":")
        key, separator, text = rest.partition("=")
        if not band.isdecimal() or not separator or not key:
            self.fail(f"{value!r} is not BAND:KEY=VALUE", param, ctx)
        return int(band), key, text


class JsonValue(ParamType):
    """Any value, as JSON."""

    name = "JSON"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> object:
        """Parse the text."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            return self.fail(f"{value!r} is not JSON: {error}", param, ctx)


def cog_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command a flag for every field of CogOptions.

    Parameters
    ----------
    command : callable
        Takes the options as keywords; :func:`given` picks out those that were given.

    Returns
    -------
    callable
        The same, for click.
    """
    hints = typing.get_type_hints(CogOptions)
    for each in reversed(fields(CogOptions)):
        command = _flag(each, hints[each.name])(command)
    return command


def some_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command flags for some fields of CogOptions.

    Parameters
    ----------
    *names : str
        Fields.

    Returns
    -------
    callable
        A decorator as :func:`cog_options`.
    """
    hints = typing.get_type_hints(CogOptions)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(fields(CogOptions)):
            if each.name in names:
                command = _flag(each, hints[each.name])(command)
        return command

    return decorate


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the options that were given out of a command's parameters.

    Parameters
    ----------
    parameters : mapping of str to object
        As click passes them.

    Returns
    -------
    dict
        Keywords for ``to_cog``; ``band_tags`` still has to go through
        :func:`band_tags`.
    """
    hints = typing.get_type_hints(CogOptions)
    context = click.get_current_context()
    result: dict[str, Any] = {}
    for name, hint in hints.items():
        source = context.get_parameter_source(name)
        if source is None or source is click.core.ParameterSource.DEFAULT:
            continue
        value = parameters[name]
        kinds = set(_kinds(hint))
        if name != "band_tags" and Mapping in kinds and isinstance(value, tuple):
            value = dict(value)
        result[name] = list(value) if isinstance(value, tuple) else value
    return result


def band_tags(tags: Iterable[tuple[int, str, str]], count: int) -> list[dict[str, str]]:
    """Sort tags by band.

    Parameters
    ----------
    tags : iterable of (int, str, str)
        1-based band number, key and value.
    count : int
        Number of bands.

    Returns
    -------
    list of dict
        One per band.

    Raises
    ------
    click.BadParameter
        There is no such band.
    """
    result: list[dict[str, str]] = [{} for _ in range(count)]
    for band_number, key, text in tags:
        if not 1 <= band_number <= count:
            raise click.BadParameter(
                f"there is no band {band_number}; bands are numbered 1 to {count}",
                param_hint="--band-tags",
            )
        result[band_number - 1][key] = text
    return result


def _flag(
    option: Field[Any],
    hint: object,
) -> Callable[..., Any]:
    """Make the flag of one option."""
    name = option.name
    flag = NAMES.get(name, "--" + name.replace("_", "-"))
    about = HELP.get(name, f"The {name} option.")
    kinds = set(_kinds(hint))
    if name in PAIRS or (kinds == {bool} and not list(_literals(hint))):
        pair = f"{flag}/--no-{flag.removeprefix('--')}"
        usual = about if name in PAIRS else _with_default(about, option)
        return click.option(pair, name, default=None, help=usual)
    if name == "band_tags":
        return click.option(flag, name, type=BandKeyValue(), multiple=True, help=about)
    if name != "colormap" and Mapping in kinds:
        return click.option(flag, name, type=KeyValue(), multiple=True, help=about)
    if Sequence in kinds:
        (item,) = _items(hint)
        return click.option(
            flag, name, type=OptionValue(item), multiple=True, help=about
        )
    if not kinds - {Mapping, object, type(None)} and not list(_literals(hint)):
        return click.option(flag, name, type=JsonValue(), help=about)
    return click.option(
        flag, name, type=OptionValue(hint), help=_with_default(about, option)
    )


def _with_default(about: str, option: Field[Any]) -> str:
    if option.default is MISSING or option.default is None:
        return about
    return f"{about}  [default: {str(option.default).lower()}]"


def _number(text: str) -> float | int | None:
    """Parse a number; a whole one stays exact."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _alternatives(hint: object) -> list[Any]:
    """List the members of a union."""
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return [each for part in typing.get_args(hint) for each in _alternatives(part)]
    return [hint]


def _literals(hint: object) -> list[Any]:
    """List the values that a hint names."""
    return [
        value
        for each in _alternatives(hint)
        if typing.get_origin(each) is Literal
        for value in typing.get_args(each)
    ]


def _kinds(hint: object) -> list[Any]:
    """List the types that a hint allows beside its literals."""
    return [
        typing.get_origin(each) or (object if each is Any else each)
        for each in _alternatives(hint)
        if typing.get_origin(each) is not Literal
    ]


def _items(hint: object) -> list[Any]:
    """Give what a sequence in a hint holds."""
    return [
        typing.get_args(each)[0]
        for each in _alternatives(hint)
        if typing.get_origin(each) is Sequence
    ]
