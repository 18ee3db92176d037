"""Attributes of the raster that another one was computed from.

xarray keeps them through arithmetic and reductions: the NDVI of a scene has its nodata
value and the names of its bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazycog import _notice

if TYPE_CHECKING:
    from lazycog._georef import Description
    from lazycog._options import CogOptions


@dataclass(frozen=True)
class Inherited:
    """What on a raster is plainly another one's."""

    nodata_dtype: str | None = None
    """NumPy name of the integer type of a float raster's own nodata value."""
    lengths: tuple[tuple[str, str, int], ...] = ()
    """Option, attribute, and its number of values, which is not that of the bands."""


NOTHING = Inherited()


def tell(description: Description, options: CogOptions) -> None:
    """Warn of another raster's attributes, but for those that the caller replaces.

    Parameters
    ----------
    description : Description
        What is written, and what of it is inherited.
    options : CogOptions
        What the caller says.
    """
    inherited = description.inherited
    # promote= casts pixels, which keeps their meaning
    foreign = options.nodata == "auto" and not options.promote
    if foreign and inherited.nodata_dtype:
        _notice.warn(
            f"pixels of {description.nodata:.15g} count as missing: this raster of "
            f"{description.dtype} has a _FillValue of {inherited.nodata_dtype}, as "
            "xarray keeps it when something is computed from another raster"
            f"{_scaling(description, options)}; say nodata=float('nan'), or nodata="
            f"{description.nodata:.15g} if it is meant, or compute under "
            "xarray.set_options(keep_attrs=False)"
        )
    lengths = [each for each in inherited.lengths if _is_open(options, each[0])]
    if lengths:
        names = " and ".join(f"{name} ({length} values)" for _, name, length in lengths)
        remedies = "=, ".join(dict.fromkeys(option for option, *_ in lengths))
        _notice.warn(
            f"left out: {names}, which this raster of {description.count} band(s) has "
            f"from another one{_scaling(description, options)}; say {remedies}= for "
            "its own, or compute under xarray.set_options(keep_attrs=False)"
        )


def _is_open(options: CogOptions, name: str) -> bool:
    return getattr(options, name) is None


def _scaling(description: Description, options: CogOptions) -> str:
    """Name the scale and offset that stay, which may be another raster's, too."""
    first = description.bands[0]
    stays = (("scales", first.scale, 1.0), ("offsets", first.offset, 0.0))
    told = [
        f"{name}=[{value:g}]"
        for name, value, plain in stays
        if value != plain and _is_open(options, name)
    ]
    return f" ({' and '.join(told)} stay as well)" if told else ""
