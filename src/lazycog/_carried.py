"""What a file says beside pixels and attributes, from its array to a new file.

xarray keeps the encoding of an array that is cut, turned or renamed, and drops it where
values are computed: what stands there is true of the pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog._attributes import kept_bands
from lazycog._content import COLORMAP_SIZES
from lazycog._opened import COLORINTERP, COLORMAP, MASK, NAMESPACES
from lazycog._reader import NAME_PREFIX
from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import xarray as xr

    from lazycog._georef import Description
    from lazycog._options import CogOptions

RGB_NAMES = ("red", "green", "blue", "alpha")
RGB_COUNTS = (3, 4)
NO_ALPHA = (*RGB_NAMES[:3], "undefined")
PLAIN_NAME = re.compile(r"(band)?[ _]?\d*", re.IGNORECASE)
"""A name of a band that does not say what is in it."""
LOSSY = frozenset({"jpeg", "webp"})


@dataclass(frozen=True)
class Carried:
    """What goes over to the new file, and what cannot."""

    mask: Any = None
    """2-D, True where valid, in the place of the pixels."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the description."""
    lost: str = ""
    """What does not go over, and the remedy."""
    says_colours: bool = True
    """Somebody says which colours bands have: the file, their names or the caller."""

    def without_doubles(self, options: CogOptions) -> CogOptions:
        """Leave out what the caller says and the colour table says already."""
        if "colormap" in self.facts and options.colorinterp is not None:
            return replace(options, colorinterp=None)
        return options


NOTHING = Carried()


def of(
    arrays: Sequence[xr.DataArray], description: Description, options: CogOptions
) -> Carried:
    """Find what the encoding of a raster tells; the caller's options go before it.

    Parameters
    ----------
    arrays : sequence of DataArray
        The raster, or the variables of a Dataset that become its bands.
    description : Description
        What else is known of the raster.
    options : CogOptions
        What the caller says.

    Returns
    -------
    Carried
        Mask and facts.

    Raises
    ------
    OptionError
        The codec would mix the colours of a palette.
    """
    mask, no_mask = (None, "") if _is_given(options.mask) else _mask(arrays)
    facts: dict[str, Any] = {}
    colormap, no_colours = _colormap(arrays, description, options)
    if colormap is not None:
        facts["colormap"] = colormap
    names = _colorinterp(arrays, description)
    if names is None and not arrays[0].encoding.get(COLORINTERP):
        names = _unless_alpha(description, options)
    if names is not None and colormap is None and options.colormap is None:
        facts["colorinterp"] = names
    spaces = arrays[0].encoding.get(NAMESPACES)
    if spaces and len(arrays) == 1:
        facts["namespaces"] = {**spaces, **description.namespaces}
    lost = "; ".join(filter(None, (no_mask, no_colours)))
    return Carried(mask, facts, lost, _says_colours(arrays, description, options))


# --- masks --------------------------------------------------------------------------


def _is_given(mask: object) -> bool:
    return not isinstance(mask, bool)


def _mask(arrays: Sequence[xr.DataArray]) -> tuple[Any, str]:
    """Give the mask that all bands share, or what is lost."""
    if not any(hasattr(each.encoding.get(MASK), "dims") for each in arrays):
        return None, ""
    placed = [_placed(each.encoding.get(MASK), each) for each in arrays]
    names = {getattr(each, "name", None) for each in placed}
    if all(each is not None for each in placed) and len(names) == 1:
        return placed[0], ""
    return None, (
        "the mask of the file that the raster was opened from is not written, since "
        "its pixels are no longer those of that file alone: give mask= (the file's is "
        ".encoding['mask']), or take that out of the encoding"
    )


def _placed(mask: Any, array: xr.DataArray) -> Any:  # noqa: ANN401 - Dask's or NumPy's
    """Cut a mask as its pixels were cut; None where that cannot be told."""
    dims = (array.rio.y_dim, array.rio.x_dim)
    if not hasattr(mask, "dims") or not _is_one_source(array, dims):
        return None
    keys = {}
    for own, dim in zip(mask.dims, dims, strict=True):
        if own not in mask.indexes:
            if mask.sizes[own] != array.sizes[dim]:
                return None
            continue
        if dim not in array.indexes:
            return None
        key = _positions(mask.indexes[own], array.indexes[dim])
        if key is None:
            return None
        keys[own] = key
    return mask.isel(keys).data


def _is_one_source(array: xr.DataArray, dims: tuple[Hashable, Hashable]) -> bool:
    """Whether all bands are those of one file: concatenation keeps one's encoding."""
    others = [dim for dim in array.dims if dim not in dims]
    if "band" in array.coords and array.coords["band"].dims:
        labels = array.coords["band"].to_numpy()
        if len(np.unique(labels)) < labels.size:
            return False
    graph = getattr(array.data, "dask", None)
    layers = graph.layers if graph is not None else ()
    opened = [name for name in layers if str(name).startswith(NAME_PREFIX)]
    if len(opened) > 1:
        return False
    return bool(opened) or all(dim == "band" or array.sizes[dim] == 1 for dim in others)


def _positions(own: Any, wanted: Any) -> Any:  # noqa: ANN401 - indexes; a slice, or an array
    """Find labels among a file's; None where one is not there."""
    if not own.is_unique:
        return slice(None) if own.equals(wanted) else None
    found = own.get_indexer(wanted)
    if (found < 0).any():
        return None
    if found.size and (np.diff(found) == 1).all():
        return slice(int(found[0]), int(found[-1]) + 1)
    return found


# --- colours ------------------------------------------------------------------------


def _colormap(
    arrays: Sequence[xr.DataArray], description: Description, options: CogOptions
) -> tuple[Any, str]:
    """Give the colour table of the only band, or what is lost."""
    own = next(filter(None, (each.encoding.get(COLORMAP) for each in arrays)), None)
    said = options.colorinterp
    if own is None or options.colormap is not None:
        return None, ""
    if said is not None and tuple(said) != ("palette",):
        return None, ""
    if description.count != 1 or description.dtype not in COLORMAP_SIZES:
        return None, (
            "the colour table of the file that the raster was opened from is not "
            f"written, since there are {description.count} band(s) of "
            f"{description.dtype} now, and it belongs to one of uint8 or uint16: say "
            "overview_resampling='nearest' where numbers are classes"
        )
    if options.compress in LOSSY or options.quality is not None:
        raise OptionError(
            f"the lossy compress={options.compress!r} cannot work with the colour "
            "table of the source, whose numbers it mixes; use a lossless codec, or "
            "say colorinterp=['gray'] to drop the table"
        )
    return own, ""


def _colorinterp(
    arrays: Sequence[xr.DataArray], description: Description
) -> tuple[str, ...] | None:
    """Give the colour interpretation of the bands; None for what GDAL assumes."""
    names = arrays[0].encoding.get(COLORINTERP)
    if not names or len(arrays) > 1:
        return None
    count = description.count
    kept = kept_bands(arrays[0], count)
    if kept is None or len(set(kept)) < count or max(kept) >= len(names):
        return None
    picked = tuple(names[index] for index in kept)
    assumed = ("gray", *("undefined",) * (count - 1))
    if description.dtype == "uint8" and count in RGB_COUNTS:
        assumed = RGB_NAMES[:count]
    return None if picked == assumed else picked


def _says_colours(
    arrays: Sequence[xr.DataArray], description: Description, options: CogOptions
) -> bool:
    """Whether an alpha band is more than GDAL's guess."""
    said = options.colorinterp or arrays[0].encoding.get(COLORINTERP)
    return bool(said) or not PLAIN_NAME.fullmatch(_last_name(description, options))


def _last_name(description: Description, options: CogOptions) -> str:
    names = [band.description for band in description.bands]
    given = options.descriptions
    if isinstance(given, list | tuple) and len(given) == len(names):
        names = [None if each is None else str(each) for each in given]
    return (names[-1] or "").strip()


def _unless_alpha(
    description: Description, options: CogOptions
) -> tuple[str, ...] | None:
    """Keep GDAL from taking a fourth band of bytes for alpha that has another name."""
    if description.count != len(NO_ALPHA) or description.alpha is None:
        return None
    last = _last_name(description, options)
    if PLAIN_NAME.fullmatch(last) or "alpha" in last.lower() or last.lower() == "a":
        return None
    return NO_ALPHA
