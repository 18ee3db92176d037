"""What is in a GeoTIFF: its levels, and who reads the one that was opened."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from lazycog._fetch import Pixels
from lazycog._gdal_io import gdal_arguments
from lazycog._header_cache import find_image, is_safe, start_headers
from lazycog._image import Image, current_version
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasterio.io import DatasetReader

    from lazycog._image import Version
    from lazycog._location import Location

KEPT = 256
"""Sources and descriptions that a process remembers."""


@dataclass(frozen=True)
class Source:
    """A level that was opened, and how many there are."""

    pixels: Pixels
    sizes: tuple[tuple[int, int], ...]
    """Height and width of every level, full resolution first."""
    masked: bool
    """GDAL knows of a mask or an alpha band."""
    has_mask: bool = False
    """The file has a mask that is none of its bands."""
    marks: Mapping[str, Any] = field(default_factory=dict)
    """What :func:`marks_of` tells about the full resolution."""


_described: dict[tuple[Location, int], Source] = {}


def known_source(location: Location, level: int) -> Source | None:
    """Give a level from memory, where its file is the same."""
    known = _described.get((location, level))
    if known is None or not location.by_gdal:
        return known
    return known if current_version(location) == known.pixels.version else None


def new_source(location: Location, level: int) -> Source:
    """Describe a level, and remember it."""
    source = describe(location, current_version(location), level)
    remember(_described, (location, level), source)
    return source


def remember(memory: dict[Any, Source], key: object, source: Source) -> None:
    """Keep a source, and forget the oldest ones where there are many."""
    while len(memory) >= KEPT:
        memory.pop(next(iter(memory)), None)
    memory[key] = source


def describe(location: Location, version: Version, level: int) -> Source:
    """Read the headers of a file, and choose the reader of a level.

    Parameters
    ----------
    location : Location
        Where the file is.
    version : Version
        What is there.
    level : int
        0 is the full resolution, negative counts from the smallest.

    Returns
    -------
    Source
        What to read.

    Raises
    ------
    InputError
        It is not a GeoTIFF with one raster.
    OptionError
        There is no such level.
    """
    # local files are GDAL's; remote headers come while GDAL reads what it needs
    headers = None if location.by_gdal else start_headers(location, version)
    try:
        index, sizes, facts, marks = _by_gdal(location, version, level)
    except RasterioError as error:
        raise InputError(f"{location}: GDAL cannot open it: {error}") from error
    tiff = None if headers is None else headers.result()
    ifd, by_tiles = None, False
    if tiff is not None:
        ifd = find_image(tiff, index, sizes[index], facts.tile)
    if tiff is not None and ifd is not None:
        header = tiff.ifd(ifd)
        same_count = header.samples_per_pixel == facts.count
        by_tiles = same_count and is_safe(header, facts.dtype)
    pixels = Pixels(
        location,
        version,
        level=index,
        shape=(facts.count, *sizes[index]),
        dtype=facts.dtype,
        tile=facts.tile,
        together=facts.together,
        ifd=ifd,
        by_tiles=by_tiles,
    )
    return Source(pixels, tuple(sizes), facts.masked, facts.has_mask, marks)


@dataclass(frozen=True)
class _Facts:
    """What GDAL says about one level."""

    dtype: np.dtype[Any]
    tile: tuple[int, int]
    count: int
    together: bool
    """Bands share a tile."""
    masked: bool
    """As in :class:`Source`."""
    has_mask: bool
    """The same."""


def _by_gdal(
    location: Location, version: Version, level: int
) -> tuple[int, list[tuple[int, int]], _Facts, dict[str, Any]]:
    """Give the index of a level, the sizes of all, its facts, and the file's marks."""
    name, keywords = gdal_arguments(Image(location, version, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(name, **keywords) as dataset:
            _check_kind(location, dataset)
            factors = len(dataset.overviews(1))
            index = _level_index(location, level, factors + 1)
            sizes, facts = [dataset.shape], _facts(dataset)
            marks = marks_of(dataset)
        for overview in range(factors):
            with rasterio.open(name, **keywords, overview_level=overview) as dataset:
                sizes.append(dataset.shape)
                if overview == index - 1:
                    facts = _facts(dataset)
    return index, sizes, facts, marks


def _facts(dataset: DatasetReader) -> _Facts:
    name = dataset.dtypes[0]
    flags = mask_flags(dataset)
    return _Facts(
        # rasterio has a name of its own for complex integers
        dtype=np.dtype("complex64" if name == "complex_int16" else name),
        tile=tuple(dataset.block_shapes[0]),
        count=dataset.count,
        together=dataset.count == 1
        or (dataset.interleaving is not None and dataset.interleaving.name == "pixel"),
        masked=any(each & {"per_dataset", "alpha"} for each in flags),
        has_mask=has_mask(flags),
    )


# --- what rioxarray does not tell ---------------------------------------------------


MASK, COLORMAP, COLORINTERP = "mask", "colormap", "colorinterp"
NAMESPACES = "tag_namespaces"
"""Keys of an array's encoding: what a file says that has no place in attributes."""
OWN_NAMESPACES = frozenset(
    {
        *("IMAGE_STRUCTURE", "SUBDATASETS", "DERIVED_SUBDATASETS", "TILING_SCHEME"),
        *("RPC", "COLOR_PROFILE", "EXIF", "GEOLOCATION", "_temporary_"),
    }
)
"""GDAL derives them, or they belong to the structure of the old file."""


def mask_flags(dataset: DatasetReader) -> list[set[str]]:
    """Give the names of the flags that tell where each band's mask is from."""
    return [{flag.name for flag in flags} for flags in dataset.mask_flag_enums]


def has_mask(flags: Sequence[set[str]]) -> bool:
    """Whether there is a mask that is no band, and not made from nodata."""
    return any(not each & {"all_valid", "nodata", "alpha"} for each in flags)


def marks_of(dataset: DatasetReader) -> dict[str, Any]:
    """Read what rioxarray leaves out: colours of a palette, colour interpretation.

    Parameters
    ----------
    dataset : DatasetReader
        Open.

    Returns
    -------
    dict
        By key of the encoding: a colour table, or else the colour interpretation of
        every band, and tags of further namespaces.
    """
    marks: dict[str, Any] = {}
    try:
        names = tuple(each.name for each in dataset.colorinterp)
    except ValueError:  # rasterio has no name for one of them
        names = ()
    if names[:1] == ("palette",):
        with suppress(ValueError):  # some drivers name one without colours
            marks[COLORMAP] = dataset.colormap(1)
    if names and "palette" not in names:
        marks[COLORINTERP] = names
    spaces = {
        name: dict(dataset.tags(ns=name))
        for name in dataset.tag_namespaces()
        if name not in OWN_NAMESPACES and not name.startswith(("xml:", "json:"))
    }
    if any(spaces.values()):
        marks[NAMESPACES] = {name: tags for name, tags in spaces.items() if tags}
    return marks


def _check_kind(location: Location, dataset: DatasetReader) -> None:
    if dataset.driver not in {"GTiff", "COG"}:
        raise InputError(
            f"{location} is {dataset.driver}, not a GeoTIFF; open it with "
            "rioxarray.open_rasterio()"
        )
    if dataset.subdatasets or not dataset.count:
        raise InputError(
            f"{location} holds {len(dataset.subdatasets)} rasters; open one of them "
            "with rioxarray.open_rasterio()"
        )
    if len(set(dataset.dtypes)) > 1:
        raise InputError(f"{location} has bands of several dtypes: {dataset.dtypes}")


def _level_index(location: Location, level: int, count: int) -> int:
    if isinstance(level, bool) or not isinstance(level, int | np.integer):
        raise OptionError(f"level={level!r} must be a whole number")
    if not -count <= level < count:
        raise OptionError(
            f"level={level}: {location} has {count} level(s), 0 to {count - 1}"
        )
    return int(level) % count
