"""What the caller says about a raster, checked and put before the raster's own."""

from __future__ import annotations

import datetime as dt
import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np
import rasterio.crs
from rasterio import rpc

from lazycog import _inherited
from lazycog._georef import IDENTITY, GroundControlPoint
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lazycog._georef import Description
    from lazycog._options import CogOptions

COLORINTERP = (
    "undefined",
    "gray",
    "palette",
    "red",
    "green",
    "blue",
    "alpha",
    "hue",
    "saturation",
    "lightness",
    "cyan",
    "magenta",
    "yellow",
    "black",
    "Y",
    "Cb",
    "Cr",
)
"""Names of rasterio.enums.ColorInterp."""
COLORMAP_SIZES = {"uint8": 256, "uint16": 65536}
"""Entries of a colour table (TIFF 6.0 §5: two to the power of the bits)."""
RGB = 3
OPAQUE = 255


def with_options(description: Description, options: CogOptions) -> Description:
    """Let the caller's metadata go before the raster's own.

    Parameters
    ----------
    description : Description
        What the raster says about itself.
    options : CogOptions
        What the caller says.

    Returns
    -------
    Description
        Both, checked against the number of bands.

    Raises
    ------
    OptionError
        Something has another length or kind than the raster's bands.
    """
    description = _with_bands(description, options)
    flat, spaces = _split_tags(options.tags)
    described = replace(
        description,
        tags=_merged(description.tags, flat),
        namespaces={**description.namespaces, **spaces},
        colormap=_colormap(description, options),
        colorinterp=_colorinterp(description, options),
        inherited=_inherited.NOTHING,
        **_control(description, options),
    )
    _inherited.tell(description, options)
    return described


def text(value: object) -> str:
    """Write a value as a tag's text: a sequence as a list."""
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(str(each) for each in value)
    return str(value)


PLAIN = (
    str,
    numbers.Number,  # NumPy's, too, and bool
    np.bool_,
    np.datetime64,
    np.timedelta64,
    dt.date,
    dt.time,
    dt.timedelta,
)
"""Kinds of values with one obvious text."""


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple | np.ndarray):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


def _given_text(value: object, place: str) -> str:
    """Write a value that the caller gave as text.

    Raises
    ------
    OptionError
        It is an object whose text would say nothing to readers.
    """
    if not _is_plain(value):
        raise OptionError(
            f"{place} is of type {type(value).__name__}: give text, a number, a date "
            "or a list of these; str(...) or json.dumps(...) may make text of it"
        )
    return text(value)


def _given_name(value: object, place: str) -> str | None:
    return None if value is None else _given_text(value, place)


def _given_tags(given: Mapping[Any, Any], place: str) -> dict[str, str | None]:
    """Write names and values as text; None stays, for a tag to leave out."""
    return {
        _given_text(name, f"a name in {place}"): (
            None if value is None else _given_text(value, f"{place}[{name!r}]")
        )
        for name, value in given.items()
    }


def _merged(own: Mapping[str, str], given: Mapping[str, str | None]) -> dict[str, str]:
    """Put the caller's tags before the raster's; None takes one away."""
    merged = {**own, **given}
    return {name: value for name, value in merged.items() if value is not None}


def _with_bands(description: Description, options: CogOptions) -> Description:
    count = description.count
    columns: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
        "descriptions": ("description", _given_name),
        "scales": ("scale", _number),
        "offsets": ("offset", _number),
        "units": ("unit", _given_name),
        "band_tags": (
            "tags",
            lambda each, place: _merged({}, _given_tags(each, place)),
        ),
    }
    bands = list(description.bands)
    for option, (name, convert) in columns.items():
        given = getattr(options, option)
        if given is None:
            continue
        rule = f"{option}={given!r}: give a list with one value per band, {count} here"
        for index, value in enumerate(_per_band(given, count, rule)):
            try:
                converted = convert(value, f"{option}[{index}]")
            except OptionError:
                raise
            except (TypeError, ValueError, AttributeError) as error:
                kind = "mapping" if option == "band_tags" else "number"
                raise OptionError(f"{rule}, each a {kind}") from error
            bands[index] = replace(bands[index], **{name: converted})
    if any(not math.isfinite(x) for band in bands for x in (band.scale, band.offset)):
        raise OptionError("scales and offsets must be finite numbers")
    return replace(description, bands=tuple(bands))


def _number(value: SupportsFloat | str, _place: str) -> float:
    return float(value)


def _per_band(given: object, count: int, rule: str) -> Collection[Any]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Collection):
        raise OptionError(rule)
    if len(given) != count:
        raise OptionError(rule)
    return given


def _split_tags(
    tags: Mapping[str, Any] | None,
) -> tuple[dict[str, str | None], dict[str, dict[str, str]]]:
    """Tell tags of the dataset from those of a namespace, which are mappings."""
    flat: dict[Any, Any] = {}
    spaces: dict[str, dict[str, str]] = {}
    for name, value in (tags or {}).items():
        if isinstance(value, Mapping):
            if name in {"IMAGE_STRUCTURE", "SUBDATASETS", "DERIVED_SUBDATASETS"}:
                raise OptionError(
                    f"tags[{name!r}]: GDAL derives this namespace itself; choose "
                    "another name"
                )
            spaces[str(name)] = _merged({}, _given_tags(value, f"tags[{name!r}]"))
        else:
            flat[name] = value
    return _given_tags(flat, "tags"), spaces


def _colormap(
    description: Description, options: CogOptions
) -> Mapping[int, tuple[int, int, int, int]] | None:
    given = options.colormap
    if given is None:
        return description.colormap
    size = COLORMAP_SIZES.get(description.dtype)
    if size is None or description.count != 1:
        raise OptionError(
            f"colormap= cannot work with {description.count} band(s) of dtype "
            f"{description.dtype}: a colour table belongs to one band of uint8 or "
            "uint16"
        )
    if options.compress in {"jpeg", "webp"} or options.quality is not None:
        raise OptionError(
            f"colormap= cannot work with the lossy compress={options.compress!r}, "
            "which mixes the colours' numbers; use a lossless codec"
        )
    table = {}
    for value, given_colour in given.items():
        colour = _colour(given_colour)
        number = int(value) if str(value).isdecimal() else -1
        if colour is None or not 0 <= number < size:
            raise OptionError(
                f"colormap[{value!r}]={given_colour!r}: give (red, green, blue) or "
                f"(red, green, blue, alpha), each 0 to 255, for values 0 to {size - 1}"
            )
        table[number] = colour
    return table


def _colour(given: object) -> tuple[int, int, int, int] | None:
    """Give red, green, blue and alpha; None for what is no colour."""
    parts = tuple(given) if isinstance(given, Collection) else ()
    if len(parts) == RGB:
        parts = (*parts, OPAQUE)
    if len(parts) != RGB + 1 or not all(
        isinstance(part, int | np.integer) and 0 <= part <= OPAQUE for part in parts
    ):
        return None
    red, green, blue, alpha = map(int, parts)
    return red, green, blue, alpha


def _colorinterp(
    description: Description, options: CogOptions
) -> tuple[str, ...] | None:
    given = options.colorinterp
    if given is None:
        return description.colorinterp
    rule = (
        f"colorinterp={given!r}: give one name per band, {description.count} here, of "
        f"{', '.join(COLORINTERP)}"
    )
    names = tuple(str(each) for each in _per_band(given, description.count, rule))
    names = tuple("gray" if name == "grey" else name for name in names)
    if set(names) - set(COLORINTERP):
        raise OptionError(rule)
    if options.colormap is not None and names != ("palette",):
        raise OptionError(
            f"colorinterp={given!r} cannot work with colormap=, which makes its band a "
            "palette; drop one of the two"
        )
    if names == ("palette",) and options.colormap is None:
        raise OptionError("colorinterp=['palette'] needs colormap=, the colour table")
    return names


def _control(description: Description, options: CogOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options.gcps is not None:
        points, wkt = _gcps(options.gcps)
        found |= {"gcps": points, "gcps_crs_wkt": wkt or description.crs_wkt}
    if found.get("gcps", description.gcps):
        if description.transform != IDENTITY and options.gcps is not None:
            raise OptionError(
                "gcps= cannot work with the raster's transform: a GeoTIFF holds one of "
                "the two; drop its coordinates and transform, or gcps="
            )
        if description.transform != IDENTITY:
            # the raster itself has both: the transform is the better one
            found |= {"gcps": (), "gcps_crs_wkt": None}
    if options.rpcs is not None:
        found["rpcs"] = _rpcs(options.rpcs)
    return found


def _gcps(given: Any) -> tuple[tuple[GroundControlPoint, ...], str | None]:  # noqa: ANN401 - rasterio's
    """Take rasterio's points, alone or with their CRS."""
    crs = None
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Sequence):  # noqa: PLR2004 - points, CRS
        given, crs = given
    try:
        points = tuple(map(_point, given))
        wkt = None if crs is None else _wkt(crs)
    except (AttributeError, TypeError, ValueError) as error:
        raise OptionError(
            f"gcps={given!r}: give a list of rasterio.control.GroundControlPoint, or "
            f"of (row, col, x, y), or (list, crs): {error}"
        ) from error
    if not points:
        raise OptionError("gcps=[]: give at least one ground control point, or None")
    return points, wkt


def _point(given: Any) -> GroundControlPoint:  # noqa: ANN401 - rasterio's, or numbers
    if isinstance(given, Sequence):
        return GroundControlPoint(*(float(each) for each in given))
    row, col, x, y = (float(getattr(given, name)) for name in ("row", "col", "x", "y"))
    return GroundControlPoint(row, col, x, y, float(given.z or 0.0))


def _wkt(crs: object) -> str:
    text: str = rasterio.crs.CRS.from_user_input(crs).to_wkt()
    return text


def _rpcs(given: Any) -> Mapping[str, str]:  # noqa: ANN401 - rasterio's
    try:
        model = given if isinstance(given, rpc.RPC) else rpc.RPC.from_gdal(dict(given))
        items: Mapping[str, str] = model.to_gdal()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OptionError(
            f"rpcs={given!r}: give a rasterio.rpc.RPC, or a mapping with GDAL's names "
            f"(LINE_OFF, ..., SAMP_DEN_COEFF): {error}"
        ) from error
    return items


def check_band_nodata(values: object) -> None:
    """Refuse bands with different nodata values: a GeoTIFF has one.

    Parameters
    ----------
    values : sequence of number or None, or something else
        The attribute ``nodatavals``, one value per band.

    Raises
    ------
    InputError
        They differ.
    """
    if not isinstance(values, list | tuple | np.ndarray):
        return
    if len({str(each) for each in values}) > 1:
        raise InputError(
            f"the bands have several nodata values: {tuple(values)}; a GeoTIFF holds "
            "one, so unify them first, for example with .where(), or set the one to "
            "use with .rio.write_nodata() and delete the attribute nodatavals"
        )
