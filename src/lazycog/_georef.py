"""What GDAL says about a raster, as directory entries made by GDAL itself.

A small COG with the same CRS, transform, band metadata and nodata is written to memory
by GDAL; its entries are taken over. So any CRS that GDAL can encode comes out right,
and the text of GDAL_METADATA and GDAL_NODATA is GDAL's to the byte.
"""

from __future__ import annotations

import math
import threading
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.crs
import rasterio.shutil
from affine import Affine
from rasterio import control, rpc
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from lazycog._inherited import NOTHING, Inherited
from lazycog._tiff import Entry, FieldType, ParsedIfd, Tag, parse
from lazycog.codecs import jpeg_tables
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasterio.io import DatasetWriter

    from lazycog._compression import Compression
    from lazycog._encoding import Encoding

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
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Tags of further domains."""
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None
    """Value -> red, green, blue, alpha."""
    colorinterp: tuple[str, ...] | None = None
    """GDAL's name per band, None for what GDAL assumes."""
    gcps: tuple[GroundControlPoint, ...] = ()
    gcps_crs_wkt: str | None = None
    rpcs: Mapping[str, str] | None = None
    """GDAL's items of the RPC domain."""
    inherited: Inherited = field(default=NOTHING, repr=False)
    """What stands on the raster and was another one's."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.bands)

    @property
    def alpha(self) -> int | None:
        """Index of the alpha band; GDAL assumes one for four bands of bytes."""
        names = self.colorinterp
        if names is None:
            rgba = self.count == RGBA and self.dtype in {"uint8", "bool"}
            return RGBA - 1 if rgba else None
        return names.index("alpha") if "alpha" in names else None

    @property
    def is_placed(self) -> bool:
        """Whether pixels have coordinates of any kind."""
        points = self.gcps or self.rpcs is not None
        return bool(points) or self.transform != IDENTITY

    @property
    def lacks(self) -> str | None:
        """What is missing of a place on Earth, None for nothing or for all of it.

        Who gives neither CRS nor coordinates has a plain image.
        """
        crs = self.crs_wkt or (self.gcps and self.gcps_crs_wkt) or self.rpcs
        if self.is_placed and not crs:
            return (
                "the raster has coordinates but no CRS, so readers of the file cannot "
                "tell where it is; set it with .rio.write_crs('EPSG:...') (--crs in a "
                "shell)"
            )
        if self.crs_wkt and not self.is_placed:
            return (
                "the raster has a CRS but neither coordinates nor a transform, so "
                "readers of the file cannot tell where it is; set one with "
                ".rio.write_transform(transform)"
            )
        return None


@dataclass(frozen=True)
class GroundControlPoint:
    """A pixel position and its place in the world."""

    row: float
    col: float
    x: float
    y: float
    z: float = 0.0


@dataclass(frozen=True)
class DescriptiveEntries:
    """Entries of the image and of its overviews that describe the raster.

    They stand in the order in which GDAL puts their out-of-line values.
    """

    image: tuple[Entry, ...]
    overview: tuple[Entry, ...]


RGBA = 4
"""GTiff takes 3 bands of bytes for RGB and 4 for RGBA (gtiffdataset_write.cpp)."""
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The transform of a raster without georeferencing."""


def describe(
    description: Description, encoding: Encoding, *, has_overviews: bool
) -> DescriptiveEntries:
    """Let GDAL encode the description of a raster.

    Parameters
    ----------
    description : Description
        What to encode, its dtype as stored.
    encoding : Encoding
        How tiles are encoded: some codecs have entries of their own.
    has_overviews : bool
        GDAL 3.12 and later records the kernel of the overviews.

    Returns
    -------
    DescriptiveEntries
        Entries for the full resolution and for every overview.

    Raises
    ------
    InputError
        GDAL cannot encode the CRS, the transform or something else of it.
    """
    kernel = encoding.resampling if has_overviews else None
    creation = {
        **_codec_options(encoding.image, encoding, ""),
        **(_codec_options(encoding.overview, encoding, "OVERVIEW_") if kernel else {}),
    }
    if encoding.image.quantises:
        # LERC's own bound is told by GDAL, in the domain IMAGE_STRUCTURE
        bound = {"MAX_Z_ERROR": f"{encoding.image.max_z_error:.17g}"}
        description = replace(description, tags={**bound, **description.tags})
    try:
        data = _tiny_cog(description, kernel, creation)
    except (rasterio.errors.RasterioError, ValueError, OverflowError) as error:
        raise InputError(
            f"GDAL cannot write this raster's metadata: {error}. Check .rio.crs, "
            ".rio.transform() and nodata"
        ) from error
    tiff = parse(lambda offset, length: data[offset : offset + length])
    image = _with_exact_nodata(_descriptive(tiff.ifds[0]), description)
    for domain, items in description.namespaces.items():
        # GDAL's COG driver copies no domain of its source but the default one
        image = _with_items(image, domain, items)
    if encoding.interleave == "tile":
        image = _with_items(image, "IMAGE_STRUCTURE", {"INTERLEAVE": "TILE"})
    overview = _descriptive(tiff.ifds[1]) if kernel else ()
    overview = _with_exact_nodata(overview, description)
    if all(each.tag != Tag.GDAL_NODATA for each in overview):
        # GDAL forgets it for 64-bit integers, and a reader of one level needs it
        overview += tuple(each for each in image if each.tag == Tag.GDAL_NODATA)
    return DescriptiveEntries(
        _with_tables(image, encoding.image), _with_tables(overview, encoding.overview)
    )


DESCRIBED_CODECS = frozenset({"jpeg", "webp", "lerc", "lerc_deflate", "lerc_zstd"})
"""Codecs with entries or metadata items of their own, which GDAL writes."""


def _codec_options(
    chosen: Compression, encoding: Encoding, prefix: str
) -> dict[str, str]:
    """Give GDAL's creation options that bring a codec's own entries along."""
    name = chosen.codec.name
    alone = encoding.samples_are_tiles and name in {"jpeg", "webp"}
    if name not in DESCRIBED_CODECS or alone:
        return {f"{prefix}COMPRESS": "NONE"}
    options = {f"{prefix}COMPRESS": name.upper()}
    if chosen.quality is not None:
        options[f"{prefix}QUALITY"] = str(chosen.quality)
    elif name == "webp":
        options[f"{prefix}QUALITY"] = "100"  # which is lossless to GDAL
    if chosen.codec.has_error_bound and not prefix:
        options["MAX_Z_ERROR"] = f"{chosen.max_z_error:.17g}"
    return options


def _with_tables(entries: tuple[Entry, ...], chosen: Compression) -> tuple[Entry, ...]:
    """Give JPEG tiles the tables of the encoder that makes them."""
    if chosen.codec.name != "jpeg" or not entries:
        return entries
    tables = jpeg_tables(chosen)
    kept = [each for each in entries if each.tag != Tag.JPEG_TABLES]
    own = Entry(Tag.JPEG_TABLES, FieldType.UNDEFINED, len(tables), tables)
    return (*kept, own)


_QUIET = threading.Lock()
"""Python has one filter of warnings for all threads; each would restore another's."""


def _tiny_cog(
    description: Description, kernel: str | None, creation: Mapping[str, str]
) -> bytes:
    """Write a 2 x 2 raster with one overview through GDAL."""
    overviews: dict[str, Any] = {"OVERVIEWS": "NONE"}
    if kernel:
        overviews = {"OVERVIEW_COUNT": 1, "OVERVIEW_RESAMPLING": kernel.upper()}
    with _QUIET, warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        # a raster without georeferencing is legal here
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as source, MemoryFile(ext=".tif") as target:
            with source.open(**_tiny_profile(description)) as dataset:
                _set_metadata(dataset, description)
            with source.open() as dataset:
                rasterio.shutil.copy(
                    dataset,
                    target.name,
                    driver="COG",
                    BLOCKSIZE=128,
                    **creation,
                    **overviews,
                )
            return bytes(target.getbuffer())


def _tiny_profile(description: Description) -> dict[str, Any]:
    """Give the rasterio profile of a 2 x 2 raster that is described so."""
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": 2,
        "width": 2,
        "count": description.count,
        # GDAL before 3.11 has no half floats; nothing taken from this file tells
        "dtype": "float32" if description.dtype == "float16" else description.dtype,
        "nodata": description.nodata,
    }
    if description.colorinterp is not None:
        is_rgb = description.colorinterp[:3] == ("red", "green", "blue")
        profile["photometric"] = "RGB" if is_rgb else "MINISBLACK"
    if description.crs_wkt is not None and not description.gcps:
        profile["crs"] = rasterio.crs.CRS.from_wkt(description.crs_wkt)
    if description.transform != IDENTITY and not description.gcps:
        profile["transform"] = Affine(*description.transform)
    return profile


def _set_metadata(dataset: DatasetWriter, description: Description) -> None:
    dataset.update_tags(**description.tags)
    if description.colormap is not None:
        dataset.write_colormap(1, dict(description.colormap))
    if description.colorinterp is not None and description.colormap is None:
        dataset.colorinterp = [ColorInterp[name] for name in description.colorinterp]
    _set_control(dataset, description)
    _set_bands(dataset, description)


def _set_bands(dataset: DatasetWriter, description: Description) -> None:
    """Set what belongs to single bands."""
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


def _set_control(dataset: DatasetWriter, description: Description) -> None:
    """Set ground control points and rational polynomial coefficients."""
    if description.gcps:
        points = [
            control.GroundControlPoint(row=p.row, col=p.col, x=p.x, y=p.y, z=p.z)
            for p in description.gcps
        ]
        wkt = description.gcps_crs_wkt
        dataset.gcps = (
            points,
            rasterio.crs.CRS.from_wkt(wkt) if wkt else rasterio.crs.CRS(),
        )
    if description.rpcs is not None:
        dataset.rpcs = rpc.RPC.from_gdal(dict(description.rpcs))


def _descriptive(ifd: ParsedIfd) -> tuple[Entry, ...]:
    """Take the entries that are not structural, in the order of their values."""
    entries = [each for tag, each in ifd.entries.items() if tag not in STRUCTURAL_TAGS]
    entries.sort(key=lambda each: (each.inline, each.value_offset))
    return tuple(
        Entry(each.tag, FieldType(each.field_type), each.count, each.values.tobytes())
        for each in entries
    )


DOMAIN_ITEM = '  <Item name="{}" domain="{}">{}</Item>\n'
"""How GDAL writes metadata of a domain (gtiffdataset_write.cpp, WriteMDMetadata)."""
METADATA_HEAD, METADATA_TAIL = b"<GDALMetadata>\n", b"</GDALMetadata>\n\0"


def _with_items(
    entries: tuple[Entry, ...], domain: str, items: Mapping[str, str]
) -> tuple[Entry, ...]:
    """Append items of a domain to GDAL_METADATA."""
    kept = [each for each in entries if each.tag != Tag.GDAL_METADATA]
    text = next(
        (each.payload for each in entries if each.tag == Tag.GDAL_METADATA),
        METADATA_HEAD + METADATA_TAIL,
    )
    own = "".join(
        DOMAIN_ITEM.format(_escaped(name), _escaped(domain), _escaped(_escaped(value)))
        for name, value in items.items()
    )
    body = text[: -len(METADATA_TAIL)] + own.encode() + METADATA_TAIL
    return (Entry(Tag.GDAL_METADATA, FieldType.ASCII, len(body), body), *kept)


def _with_exact_nodata(
    entries: tuple[Entry, ...], description: Description
) -> tuple[Entry, ...]:
    """Say an integer of 64 bits in all its digits; rasterio hands GDAL a double."""
    nodata = description.nodata
    if description.dtype not in {"int64", "uint64"} or nodata is None:
        return entries
    text = f"{int(nodata)}\0".encode()
    exact = Entry(Tag.GDAL_NODATA, FieldType.ASCII, len(text), text)
    return tuple(exact if each.tag == Tag.GDAL_NODATA else each for each in entries)


def _escaped(text: str) -> str:
    """Escape text for XML; GDAL does it twice for the values of items."""
    return escape(text, {'"': "&quot;"})


def nodata_fits(nodata: float, dtype: str) -> bool:
    """Say whether a nodata value can be stored in a dtype.

    Examples
    --------
    >>> nodata_fits(-1, "uint8"), nodata_fits(255, "uint8"), nodata_fits(0.5, "int16")
    (False, True, False)
    """
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
