"""What GDAL says about a raster, as directory entries made by GDAL itself.

A small COG with the same CRS, transform, band metadata and nodata is written to memory
by GDAL; its entries are taken over. So any CRS that GDAL can encode comes out right,
and the text of GDAL_METADATA and GDAL_NODATA is GDAL's to the byte.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lazycog._tiff import Entry, FieldType, ParsedIfd, Tag, parse
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

STRUCTURAL_TAGS = frozenset(
    {
        Tag.NEW_SUBFILE_TYPE,
        Tag.IMAGE_WIDTH,
        Tag.IMAGE_LENGTH,
        Tag.BITS_PER_SAMPLE,
        Tag.COMPRESSION,
        Tag.SAMPLES_PER_PIXEL,
        Tag.PLANAR_CONFIG,
        Tag.PREDICTOR,
        Tag.TILE_WIDTH,
        Tag.TILE_LENGTH,
        Tag.TILE_OFFSETS,
        Tag.TILE_BYTE_COUNTS,
        Tag.SAMPLE_FORMAT,
    }
)
"""Tags that the layout writes itself; the others describe the raster."""


@dataclass(frozen=True)
class BandInfo:
    """Metadata of one band."""

    description: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """Everything about a raster but its pixels and its size."""

    dtype: str
    """NumPy name of the stored type."""
    crs_wkt: str | None
    """CRS as WKT2 (or what pyproj gives), None without one."""
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f of affine.Affine."""
    nodata: float | int | None
    tags: Mapping[str, str]
    bands: tuple[BandInfo, ...]

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.bands)


@dataclass(frozen=True)
class DescriptiveEntries:
    """Entries of the image and of its overviews that describe the raster.

    They stand in the order in which GDAL puts their out-of-line values.
    """

    image: tuple[Entry, ...]
    overview: tuple[Entry, ...]


IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The transform of a raster without georeferencing."""


def describe(
    description: Description,
    *,
    overview_resampling: str | None = "nearest",
    tile_interleave: bool = False,
) -> DescriptiveEntries:
    """Let GDAL encode the description of a raster.

    Parameters
    ----------
    description : Description
        What to encode.
    overview_resampling : str or None
        Kernel of the overviews, None without overviews; GDAL 3.12 and later records it.
    tile_interleave : bool
        Say in GDAL_METADATA that tiles are interleaved by band.

    Returns
    -------
    DescriptiveEntries
        Entries for the full resolution and for every overview.

    Raises
    ------
    InputError
        GDAL cannot encode the CRS or the transform.
    """
    import rasterio  # noqa: PLC0415 - GDAL takes long to load, and workers may not need it

    try:
        data = _tiny_cog(description, overview_resampling)
    except (rasterio.errors.RasterioError, ValueError, OverflowError) as error:
        raise InputError(
            f"GDAL cannot write this raster's metadata: {error}. Check .rio.crs, "
            ".rio.transform() and nodata"
        ) from error
    tiff = parse(lambda offset, length: data[offset : offset + length])
    image = _descriptive(tiff.ifds[0])
    if tile_interleave:
        image = _with_tile_interleave(image)
    overview = _descriptive(tiff.ifds[1]) if overview_resampling else ()
    if all(each.tag != Tag.GDAL_NODATA for each in overview):
        # GDAL forgets it for 64-bit integers, and a reader of one level needs it
        overview += tuple(each for each in image if each.tag == Tag.GDAL_NODATA)
    return DescriptiveEntries(image, overview)


def _tiny_cog(description: Description, overview_resampling: str | None) -> bytes:
    """Write a 2 x 2 raster with one overview through GDAL."""
    import rasterio.crs  # noqa: PLC0415
    import rasterio.shutil  # noqa: PLC0415
    from affine import Affine  # noqa: PLC0415
    from rasterio.errors import NotGeoreferencedWarning  # noqa: PLC0415
    from rasterio.io import MemoryFile  # noqa: PLC0415

    overviews: dict[str, Any] = {"OVERVIEWS": "NONE"}
    if overview_resampling:
        kernel = overview_resampling.upper()
        overviews = {"OVERVIEW_COUNT": 1, "OVERVIEW_RESAMPLING": kernel}
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": 2,
        "width": 2,
        "count": description.count,
        # GDAL before 3.11 has no half floats; nothing taken from this file tells
        "dtype": "float32" if description.dtype == "float16" else description.dtype,
        "nodata": description.nodata,
    }
    if description.crs_wkt is not None:
        profile["crs"] = rasterio.crs.CRS.from_wkt(description.crs_wkt)
    if description.transform != IDENTITY:
        profile["transform"] = Affine(*description.transform)
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        # a raster without georeferencing is legal here
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as source, MemoryFile(ext=".tif") as target:
            with source.open(**profile) as dataset:
                _set_metadata(dataset, description)
            with source.open() as dataset:
                rasterio.shutil.copy(
                    dataset,
                    target.name,
                    driver="COG",
                    COMPRESS="NONE",
                    BLOCKSIZE=128,
                    **overviews,
                )
            return bytes(target.getbuffer())


def _set_metadata(dataset: Any, description: Description) -> None:  # noqa: ANN401 - rasterio is untyped
    dataset.update_tags(**description.tags)
    for number, band in enumerate(description.bands, start=1):
        if band.description:
            dataset.set_band_description(number, band.description)
        if band.tags:
            dataset.update_tags(number, **band.tags)
    if any((band.scale, band.offset) != (1.0, 0.0) for band in description.bands):
        dataset.scales = [band.scale for band in description.bands]
        dataset.offsets = [band.offset for band in description.bands]
    if any(band.unit for band in description.bands):
        dataset.units = [band.unit or "" for band in description.bands]


def _descriptive(ifd: ParsedIfd) -> tuple[Entry, ...]:
    """Take the entries that are not structural, in the order of their values."""
    entries = [each for tag, each in ifd.entries.items() if tag not in STRUCTURAL_TAGS]
    entries.sort(key=lambda each: (each.inline, each.value_offset))
    return tuple(
        Entry(each.tag, FieldType(each.field_type), each.count, each.values.tobytes())
        for each in entries
    )


TILE_INTERLEAVE_ITEM = (
    b'  <Item name="INTERLEAVE" domain="IMAGE_STRUCTURE">TILE</Item>\n'
)
"""GDAL's mark of tile interleave (gtiffdataset_write.cpp, WriteMDMetadata)."""
METADATA_HEAD, METADATA_TAIL = b"<GDALMetadata>\n", b"</GDALMetadata>\n\0"


def _with_tile_interleave(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Append the item of tile interleave to GDAL_METADATA."""
    kept = [each for each in entries if each.tag != Tag.GDAL_METADATA]
    text = next(
        (each.payload for each in entries if each.tag == Tag.GDAL_METADATA),
        METADATA_HEAD + METADATA_TAIL,
    )
    body = text[: -len(METADATA_TAIL)] + TILE_INTERLEAVE_ITEM + METADATA_TAIL
    return (Entry(Tag.GDAL_METADATA, FieldType.ASCII, len(body), body), *kept)


def nodata_fits(nodata: float, dtype: str) -> bool:
    """Say whether a nodata value can be stored in a dtype.

    Examples
    --------
    >>> nodata_fits(-1, "uint8"), nodata_fits(255, "uint8"), nodata_fits(0.5, "int16")
    (False, True, False)
    """
    import numpy as np  # noqa: PLC0415

    kind = np.dtype(dtype)
    if kind.kind in "ui":
        limits = np.iinfo(kind)
        # NaN is in no range
        inside = int(limits.min) <= nodata <= int(limits.max)
        return inside and nodata == int(nodata)
    if isinstance(nodata, float | np.floating) and not math.isfinite(nodata):
        return True
    real = np.dtype(f"f{kind.itemsize // 2}") if kind.kind == "c" else kind
    return abs(nodata) <= float(np.finfo(real).max)
