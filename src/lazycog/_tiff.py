"""TIFF structures as plain values: tags, directory entries, IFDs, the ghost area.

References are to TIFF 6.0, BigTIFF (libtiff design document), OGC 19-008r4 (GeoTIFF
1.1) and the GDAL COG driver documentation, "Header ghost area".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


class Tag(IntEnum):
    """Tags that lazycog writes or checks (TIFF 6.0 §8 and §15, GDAL's private tags)."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    PLANAR_CONFIG = 284
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_SUBSAMPLING = 530
    REFERENCE_BLACK_WHITE = 532
    MODEL_PIXEL_SCALE = 33550
    MODEL_TIEPOINT = 33922
    MODEL_TRANSFORMATION = 34264
    GEO_KEY_DIRECTORY = 34735
    GEO_DOUBLE_PARAMS = 34736
    GEO_ASCII_PARAMS = 34737
    GDAL_METADATA = 42112
    GDAL_NODATA = 42113
    RPC_COEFFICIENTS = 50844


class FieldType(IntEnum):
    """Field types of TIFF 6.0 §2, its Supplement 1 (13) and BigTIFF (16 to 18)."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    SBYTE = 6
    UNDEFINED = 7
    SSHORT = 8
    SLONG = 9
    SRATIONAL = 10
    FLOAT = 11
    DOUBLE = 12
    IFD = 13
    LONG8 = 16
    SLONG8 = 17
    IFD8 = 18


FIELD_DTYPES: Mapping[FieldType, str] = {
    FieldType.BYTE: "u1",
    FieldType.ASCII: "u1",
    FieldType.SHORT: "u2",
    FieldType.LONG: "u4",
    FieldType.RATIONAL: "u8",
    FieldType.SBYTE: "i1",
    FieldType.UNDEFINED: "u1",
    FieldType.SSHORT: "i2",
    FieldType.SLONG: "i4",
    FieldType.SRATIONAL: "u8",
    FieldType.FLOAT: "f4",
    FieldType.DOUBLE: "f8",
    FieldType.IFD: "u4",
    FieldType.LONG8: "u8",
    FieldType.SLONG8: "i8",
    FieldType.IFD8: "u8",
}

REDUCED_RESOLUTION = 1
"""Bit of NewSubfileType for an overview (TIFF 6.0 §8)."""
TRANSPARENCY_MASK = 4
"""Bit of NewSubfileType for a mask (TIFF 6.0 §8)."""
MAX_CLASSIC_BYTES = 2**32 - 1
"""Offsets of a classic TIFF are 32-bit (TIFF 6.0 §2)."""


@dataclass(frozen=True)
class Entry:
    """One directory entry with its values as little-endian bytes."""

    tag: int
    field_type: FieldType
    count: int
    payload: bytes

    @classmethod
    def of(cls, tag: int, field_type: FieldType, values: Iterable[float]) -> Entry:
        """Build an entry from numbers."""
        array = np.asarray(list(values), dtype="<" + FIELD_DTYPES[field_type])
        return cls(int(tag), field_type, array.size, array.tobytes())

    @classmethod
    def short_or_long(cls, tag: int, value: int) -> Entry:
        """SHORT when the value fits, else LONG, as libtiff writes dimensions."""
        small = value <= np.iinfo(np.uint16).max
        return cls.of(tag, FieldType.SHORT if small else FieldType.LONG, [value])


@dataclass(frozen=True)
class Format:
    """Widths that differ between classic TIFF and BigTIFF."""

    big: bool

    @property
    def ghost_offset(self) -> int:
        """Position of the ghost area: right behind the file header."""
        return 16 if self.big else 8

    @property
    def inline_bytes(self) -> int:
        """Values up to this length stand in the entry itself."""
        return 8 if self.big else 4

    @property
    def offset_type(self) -> FieldType:
        """Field type of TileOffsets."""
        return FieldType.LONG8 if self.big else FieldType.LONG

    def pointer(self, value: int) -> bytes:
        """Encode a file offset, or the value count of an entry."""
        return struct.pack("<Q" if self.big else "<I", value)

    def file_header(self, first_ifd: int) -> bytes:
        """Encode the 8 or 16 bytes at the start of the file."""
        if self.big:
            return struct.pack("<2sHHHQ", b"II", BIGTIFF_VERSION, 8, 0, first_ifd)
        return struct.pack("<2sHI", b"II", CLASSIC_VERSION, first_ifd)

    def directory_bytes(self, entry_count: int) -> int:
        """Length of a directory: count, entries, next pointer."""
        return 8 + 20 * entry_count + 8 if self.big else 2 + 12 * entry_count + 4

    def encode_directory(
        self,
        entries: Sequence[Entry],
        value_offsets: Mapping[int, int],
        next_ifd: int,
    ) -> bytes:
        """Encode a directory whose out-of-line values stand at `value_offsets`."""
        pieces = [struct.pack("<Q" if self.big else "<H", len(entries))]
        for entry in entries:
            if entry.tag in value_offsets:
                value = self.pointer(value_offsets[entry.tag])
            else:
                value = entry.payload.ljust(self.inline_bytes, b"\0")
            head = struct.pack("<HH", entry.tag, entry.field_type)
            pieces.append(head + self.pointer(entry.count) + value)
        pieces.append(self.pointer(next_ifd))
        return b"".join(pieces)


GHOST_FIRST_LINE = "GDAL_STRUCTURAL_METADATA_SIZE={:06d} bytes\n"
"""Always 43 bytes; the number is the length of what follows it."""


def ghost_area(
    *, interleave: str, block_order: bool = True, mask_interleaved: bool = False
) -> bytes:
    """Encode the structural claims of the file.

    Parameters
    ----------
    interleave : str
        "pixel", "band" or "tile"; the last two are both claimed as ``INTERLEAVE=BAND``
        (GDAL COG driver; the tile order is told in GDAL_METADATA).
    block_order : bool
        False when tiles are shared, so that no order can be promised.
    mask_interleaved : bool
        Each mask tile follows the imagery tile that it belongs to.

    Returns
    -------
    bytes
        Text of the ghost area, without the padding that follows it.
    """
    lines = ["LAYOUT=IFDS_BEFORE_DATA\n"]
    if block_order:
        lines.append("BLOCK_ORDER=ROW_MAJOR\n")
    lines += [
        "BLOCK_LEADER=SIZE_AS_UINT4\n",
        "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n",
    ]
    if interleave != "pixel":
        lines.append("INTERLEAVE=BAND\n")
    # the space leaves room for the "YES" that an editor would put in place of "NO"
    lines.append("KNOWN_INCOMPATIBLE_EDITION=NO\n ")
    if mask_interleaved:
        lines.append("MASK_INTERLEAVED_WITH_IMAGERY=YES\n")
    text = "".join(lines)
    return (GHOST_FIRST_LINE.format(len(text)) + text).encode("ascii")


class Reader(Protocol):
    """Reads a byte range of a file."""

    def __call__(self, offset: int, length: int) -> bytes:
        """Return `length` bytes at `offset`, fewer only at the end of the file."""


@dataclass(frozen=True)
class ParsedEntry:
    """An entry as it stands in a file."""

    tag: int
    field_type: int
    count: int
    value_offset: int
    """Position of the values in the file, inline or not."""
    inline: bool
    values: NDArray[np.generic]
    """Values in native numbers; raw bytes for ASCII, BYTE and UNDEFINED."""

    @property
    def text(self) -> str:
        """The values of an ASCII entry, without the closing NUL."""
        return self.values.tobytes().split(b"\0", 1)[0].decode("utf-8", "replace")


@dataclass(frozen=True)
class ParsedIfd:
    """A directory as it stands in a file."""

    offset: int
    entries: Mapping[int, ParsedEntry]
    """By tag, without those of an unknown type (TIFF 6.0 §2 has readers skip them)."""
    end: int
    """Position right behind the directory: its out-of-line values are elsewhere."""

    def value(self, tag: int, default: int = 0) -> int:
        """First value of an integer tag."""
        entry = self.entries.get(tag)
        if entry is None or not entry.count or entry.values.dtype.kind not in "ui":
            return default
        return int(entry.values[0])

    def array(self, tag: int) -> NDArray[np.generic]:
        """All values of a tag, empty when it is absent."""
        entry = self.entries.get(tag)
        return np.empty(0, dtype=np.int64) if entry is None else entry.values


@dataclass(frozen=True)
class ParsedTiff:
    """Header and directories of a file."""

    big: bool
    byte_order: str
    """"<" or ">", as struct and NumPy write it."""
    ifds: tuple[ParsedIfd, ...]


MAX_IFD_COUNT = 4096
"""Guard against a chain of directories that never ends."""


CLASSIC_VERSION, BIGTIFF_VERSION = 42, 43
CLASSIC_HEADER_BYTES, BIGTIFF_HEADER_BYTES = 8, 16
"""TIFF 6.0 §2, BigTIFF."""


def parse(read: Reader) -> ParsedTiff:
    """Read header and directories of a TIFF or BigTIFF file.

    Parameters
    ----------
    read : Reader
        Gives byte ranges of the file.

    Returns
    -------
    ParsedTiff
        Every directory of the main chain, with all values.

    Raises
    ------
    InputError
        The bytes are not a TIFF file, or a directory points outside it.
    """
    head = read(0, BIGTIFF_HEADER_BYTES)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < CLASSIC_HEADER_BYTES:
        raise InputError("not a TIFF file: it starts with neither 'II' nor 'MM'")
    version = struct.unpack_from(order + "H", head, 2)[0]
    if version not in {CLASSIC_VERSION, BIGTIFF_VERSION}:
        raise InputError(f"not a TIFF file: version {version} is neither 42 nor 43")
    big = version == BIGTIFF_VERSION
    if big and len(head) < BIGTIFF_HEADER_BYTES:
        raise InputError(f"truncated TIFF: a header of {len(head)} bytes, not 16")
    offset = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
    ifds: list[ParsedIfd] = []
    seen: set[int] = set()
    while offset:
        if offset in seen or len(ifds) >= MAX_IFD_COUNT:
            raise InputError(f"the chain of IFDs does not end: {offset} comes again")
        seen.add(offset)
        ifd, offset = _parse_ifd(read, offset, order=order, big=big)
        ifds.append(ifd)
    return ParsedTiff(big, order, tuple(ifds))


def _parse_ifd(
    read: Reader, offset: int, *, order: str, big: bool
) -> tuple[ParsedIfd, int]:
    count_format, entry_bytes = (order + "Q", 20) if big else (order + "H", 12)
    count_bytes = struct.calcsize(count_format)
    pointer = order + ("Q" if big else "I")
    raw_count = _exactly(read, offset, count_bytes)
    count = struct.unpack(count_format, raw_count)[0]
    body_offset = offset + count_bytes
    body = _exactly(read, body_offset, count * entry_bytes + struct.calcsize(pointer))
    entries = {}
    for index in range(count):
        start = index * entry_bytes
        entry = _parse_entry(
            read, body, start, body_offset, pointer=pointer, order=order
        )
        if entry is not None:
            entries[entry.tag] = entry
    following = struct.unpack_from(pointer, body, count * entry_bytes)[0]
    return ParsedIfd(offset, entries, body_offset + len(body)), following


def _parse_entry(
    read: Reader, body: bytes, start: int, body_offset: int, *, pointer: str, order: str
) -> ParsedEntry | None:
    tag, field_type = struct.unpack_from(order + "HH", body, start)
    count = struct.unpack_from(pointer, body, start + 4)[0]
    if field_type not in FIELD_DTYPES:
        return None
    dtype = np.dtype(order + FIELD_DTYPES[FieldType(field_type)])
    width = struct.calcsize(pointer)
    length = count * dtype.itemsize
    value_start = start + 4 + width
    inline = length <= width
    if inline:
        position = body_offset + value_start
        raw = body[value_start : value_start + length]
    else:
        position = struct.unpack_from(pointer, body, value_start)[0]
        raw = _exactly(read, position, length)
    values = np.frombuffer(raw, dtype=dtype)
    return ParsedEntry(tag, field_type, count, position, inline, values)


def _exactly(read: Reader, offset: int, length: int) -> bytes:
    data = read(offset, length)
    if len(data) != length:
        raise InputError(
            f"truncated TIFF: {length} bytes wanted at {offset}, {len(data)} there"
        )
    return data
