"""Directories and ghost area, read back from bytes made here and by GDAL."""

import struct

import numpy as np
import pytest
import rasterio
from affine import Affine

from lazycog._tiff import (
    Entry,
    FieldType,
    Format,
    ParsedTiff,
    Tag,
    ghost_area,
    parse,
)
from lazycog.errors import InputError


def parse_bytes(data: bytes) -> ParsedTiff:
    return parse(lambda offset, length: data[offset : offset + length])


ENTRIES = (
    Entry.short_or_long(Tag.IMAGE_WIDTH, 70_000),
    Entry.short_or_long(Tag.IMAGE_LENGTH, 300),
    Entry.of(Tag.TILE_OFFSETS, FieldType.LONG, [11, 22, 33, 44]),
    Entry.of(Tag.MODEL_PIXEL_SCALE, FieldType.DOUBLE, [0.5, 2.0, 0.0]),
    Entry(Tag.GDAL_NODATA, FieldType.ASCII, 4, b"nan\0"),
)


def encode(entries: tuple[Entry, ...], *, big: bool, next_ifd: int = 0) -> bytes:
    """Build one directory right behind the header, its long values behind it."""
    form = Format(big=big)
    start = form.ghost_offset
    position = start + form.directory_bytes(len(entries))
    offsets, values = {}, b""
    for entry in entries:
        if len(entry.payload) > form.inline_bytes:
            offsets[entry.tag] = position + len(values)
            values += entry.payload
    directory = form.encode_directory(entries, offsets, next_ifd)
    return form.file_header(start) + directory + values


@pytest.mark.parametrize("big", [False, True], ids=["classic", "big"])
class TestParse:
    def test_gives_back_the_encoded_entries(self, big):
        tiff = parse_bytes(encode(ENTRIES, big=big))

        assert (tiff.big, tiff.byte_order, len(tiff.ifds)) == (big, "<", 1)
        entries = tiff.ifds[0].entries
        assert list(entries) == [entry.tag for entry in ENTRIES]
        for entry in ENTRIES:
            assert entries[entry.tag].values.tobytes() == entry.payload
            assert entries[entry.tag].field_type == entry.field_type

    def test_tells_where_values_stand(self, big):
        data = encode(ENTRIES, big=big)
        ifd = parse_bytes(data).ifds[0]

        for entry in ENTRIES:
            found = ifd.entries[entry.tag]
            stop = found.value_offset + len(entry.payload)
            assert data[found.value_offset : stop] == entry.payload
            assert found.inline == (found.value_offset < ifd.end)

    def test_tells_where_the_directory_ends(self, big):
        ifd = parse_bytes(encode(ENTRIES, big=big)).ifds[0]

        assert ifd.end == ifd.offset + Format(big=big).directory_bytes(len(ENTRIES))

    def test_skips_a_field_of_unknown_type(self, big):
        """TIFF 6.0 §2: readers should skip fields of an unexpected type."""
        data = bytearray(encode(ENTRIES, big=big))
        entry_start = Format(big=big).ghost_offset + (8 if big else 2)
        data[entry_start + 2] = 99

        entries = parse_bytes(bytes(data)).ifds[0].entries

        assert Tag.IMAGE_WIDTH not in entries
        assert Tag.IMAGE_LENGTH in entries

    def test_refuses_a_chain_that_returns(self, big):
        data = encode(ENTRIES, big=big, next_ifd=Format(big=big).ghost_offset)

        with pytest.raises(InputError, match="chain of IFDs does not end"):
            parse_bytes(data)

    @pytest.mark.parametrize("kept", [20, 60, -1])
    def test_refuses_a_truncated_file(self, big, kept):
        with pytest.raises(InputError, match="truncated TIFF"):
            parse_bytes(encode(ENTRIES, big=big)[:kept])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither 'II' nor 'MM'"),
        (b"II*\0", "neither 'II' nor 'MM'"),
        (b"\x89PNG\r\n\x1a\n12345678", "neither 'II' nor 'MM'"),
        (b"II\x2c\0" + bytes(12), "version 44"),
        (b"II\x2b\0\x08\0\0\0", "header of 8 bytes"),
        (struct.pack("<2sHI", b"II", 42, 999) + bytes(8), "bytes wanted at 999"),
    ],
    ids=["empty", "short", "png", "version", "short-big", "ifd-outside"],
)
def test_parse_refuses_what_is_no_tiff(data, message):
    with pytest.raises(InputError, match=message):
        parse_bytes(data)


def test_value_is_the_default_for_an_absent_or_real_tag():
    ifd = parse_bytes(encode(ENTRIES, big=False)).ifds[0]

    assert ifd.value(Tag.IMAGE_WIDTH) == 70_000
    assert ifd.value(Tag.COMPRESSION, 1) == 1
    assert ifd.value(Tag.MODEL_PIXEL_SCALE, 7) == 7
    assert ifd.array(Tag.COMPRESSION).size == 0


def test_text_ends_at_the_nul():
    ifd = parse_bytes(encode(ENTRIES, big=True)).ifds[0]

    assert ifd.entries[Tag.GDAL_NODATA].text == "nan"


@pytest.mark.parametrize("bigtiff", ["NO", "YES"])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_parse_reads_what_gdal_writes(tmp_path, endianness, bigtiff):
    path = tmp_path / "gdal.tif"
    profile = {
        "driver": "GTiff",
        "height": 40,
        "width": 50,
        "count": 2,
        "dtype": "int16",
        "nodata": -9999,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "tiled": True,
        "blockxsize": 16,
        "blockysize": 32,
    }
    with rasterio.open(
        path, "w", **profile, endianness=endianness, bigtiff=bigtiff
    ) as dataset:
        dataset.write(np.ones((2, 40, 50), np.int16))

    tiff = parse_bytes(path.read_bytes())

    assert tiff.big == (bigtiff == "YES")
    assert tiff.byte_order == ("<" if endianness == "LITTLE" else ">")
    ifd = tiff.ifds[0]
    assert (ifd.value(Tag.IMAGE_WIDTH), ifd.value(Tag.IMAGE_LENGTH)) == (50, 40)
    assert ifd.array(Tag.TILE_OFFSETS).size == 8
    assert ifd.array(Tag.BITS_PER_SAMPLE).tolist() == [16, 16]
    assert ifd.array(Tag.MODEL_PIXEL_SCALE).tolist() == [10, 10, 0]
    assert ifd.entries[Tag.GDAL_NODATA].text == "-9999"


GHOST_FULL = (
    b"GDAL_STRUCTURAL_METADATA_SIZE=000174 bytes\n"
    b"LAYOUT=IFDS_BEFORE_DATA\n"
    b"BLOCK_ORDER=ROW_MAJOR\n"
    b"BLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    b"KNOWN_INCOMPATIBLE_EDITION=NO\n "
    b"MASK_INTERLEAVED_WITH_IMAGERY=YES\n"
)
MASK_LINE = b"MASK_INTERLEAVED_WITH_IMAGERY=YES\n"
ORDER_LINE = b"BLOCK_ORDER=ROW_MAJOR\n"
EDITION_LINE = b"KNOWN_INCOMPATIBLE_EDITION"
GHOST_PLAIN = GHOST_FULL.replace(MASK_LINE, b"").replace(b"000174", b"000140")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"interleave": "pixel"}, GHOST_PLAIN),
        ({"interleave": "pixel", "mask_interleaved": True}, GHOST_FULL),
        (
            {"interleave": "band"},
            GHOST_PLAIN.replace(
                EDITION_LINE, b"INTERLEAVE=BAND\n" + EDITION_LINE
            ).replace(b"000140", b"000156"),
        ),
        (
            {"interleave": "pixel", "block_order": False},
            GHOST_PLAIN.replace(ORDER_LINE, b"").replace(b"000140", b"000118"),
        ),
    ],
    ids=["plain", "mask", "band", "no-order"],
)
def test_ghost_area_is_gdals_byte_by_byte(arguments, expected):
    """GDAL COG driver, "Header ghost area"."""
    assert ghost_area(**arguments) == expected


def test_ghost_area_claims_tile_interleave_as_band():
    assert ghost_area(interleave="tile") == ghost_area(interleave="band")


@pytest.mark.parametrize("masked", [False, True])
def test_ghost_area_equals_that_of_a_gdal_file(tmp_path, masked):
    path = tmp_path / "gdal.tif"
    profile = {
        "driver": "COG",
        "height": 20,
        "width": 30,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile) as dataset,
    ):
        dataset.write(np.ones((3, 20, 30), np.uint8))
        if masked:
            dataset.write_mask(np.eye(20, 30, dtype=bool))

    data = path.read_bytes()

    expected = ghost_area(interleave="pixel", mask_interleaved=masked)
    assert data[8 : 8 + len(expected)] == expected
    assert parse_bytes(data).ifds[0].offset == (8 + len(expected) + 1) // 2 * 2
