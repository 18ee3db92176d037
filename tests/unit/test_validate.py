"""Verdicts on GDAL's own files, on files broken rule by rule, on hand-made ones."""

import json
import os
import re
import struct
import subprocess
from pathlib import Path

import fsspec
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rio_cogeo import cog_validate

import lazycog
from lazycog import _tile_rules
from lazycog._report import Report
from lazycog._structure import RangeReader
from lazycog._tiff import GHOST_FIRST_LINE, Entry, FieldType, Format, Tag, parse
from lazycog._validate import validate

GDAL_PYTHON = "/usr/bin/python3"
GDAL_SCRIPT = """
import json, sys
from osgeo import gdal
from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate
gdal.UseExceptions()
for path in sys.argv[1:]:
    try:
        warnings, errors, details = validate(path, full_check=True)
    except Exception as error:
        warnings, errors = [], [str(error)]
    print(json.dumps([errors, warnings]))
"""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


# --- files made by GDAL ------------------------------------------------------------


def write_geotiff(
    path, height, width, *, count=1, dtype="uint16", nodata=None, mask=False, **creation
):
    ramp = np.add.outer(np.arange(height), np.arange(width))
    noise = np.random.default_rng(0).integers(0, 40, (count, height, width))
    pixels = (ramp % 199 + noise).astype(dtype)
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile, **creation) as dataset,
    ):
        if nodata is not None:
            pixels[:, : height // 2, : width // 2] = nodata
        dataset.write(pixels)
        if mask:
            dataset.write_mask(ramp > height // 2)
    return path


def write_cog(path, raster, **creation):
    source = write_geotiff(path.with_suffix(".source.tif"), **raster)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        rasterio.shutil.copy(source, path, driver="COG", **creation)
    source.unlink()
    return path


ODD = {"height": 777, "width": 1031}
RGB = {**ODD, "count": 3, "dtype": "uint8"}
NO_OVERVIEWS = "has no overviews, should have internal ones"

# name: raster, creation options, the one documented warning
VALID = {
    "1x1": ({"height": 1, "width": 1}, {}, None),
    "1xN": ({"height": 1, "width": 2000}, {"blocksize": 256}, None),
    "Nx1": ({"height": 2000, "width": 1}, {"compress": "DEFLATE"}, None),
    "513": ({"height": 513, "width": 513}, {"compress": "NONE"}, None),
    "512": ({"height": 512, "width": 512}, {"overviews": "NONE"}, None),
    "odd-none": (ODD, {"compress": "NONE"}, None),
    "odd-deflate": (ODD, {"compress": "DEFLATE", "predictor": "YES"}, None),
    "odd-zstd-128": (ODD, {"compress": "ZSTD", "blocksize": 128}, None),
    "odd-lerc": ({**ODD, "dtype": "float32"}, {"compress": "LERC"}, None),
    "bigtiff": (ODD, {"bigtiff": "YES"}, None),
    "bigtiff-1x1": ({"height": 1, "width": 1}, {"bigtiff": "YES"}, None),
    "nodata": ({**ODD, "nodata": 7}, {"compress": "LZW"}, None),
    "sparse": ({**ODD, "nodata": 7}, {"sparse_ok": "YES", "blocksize": 128}, None),
    "mask": ({**RGB, "mask": True}, {"compress": "DEFLATE"}, None),
    "mask-bigtiff": ({**ODD, "mask": True}, {"bigtiff": "YES"}, None),
    "rgb": (RGB, {"compress": "NONE"}, None),
    "jpeg": (RGB, {"compress": "JPEG"}, None),
    "jpeg-mask": ({**RGB, "mask": True}, {"compress": "JPEG"}, None),
    "five-bands": ({**ODD, "count": 5}, {"compress": "DEFLATE"}, None),
    "web-mercator": (RGB, {"tiling_scheme": "GoogleMapsCompatible"}, None),
    "no-overviews": (ODD, {"overviews": "NONE"}, NO_OVERVIEWS),
}
RIO_COGEO_MEASURES_WIDTH_ONLY = {"Nx1"}
"""rio-cogeo 7.0.4 takes the decimation from the widths: 1 // 1 is "invalid"."""


@pytest.fixture(scope="module")
def cogs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cogs")
    return {
        name: write_cog(folder / f"{name}.tif", raster, **creation)
        for name, (raster, creation, _) in VALID.items()
    }


@pytest.mark.parametrize("name", VALID)
def test_accepts_what_gdals_cog_driver_writes(cogs, name):
    report = validate(cogs[name])

    assert report.errors == ()
    warning = VALID[name][2]
    assert len(report.warnings) == (warning is not None)
    assert all(warning in text for text in report.warnings)


@pytest.mark.parametrize("name", sorted(set(VALID) - RIO_COGEO_MEASURES_WIDTH_ONLY))
def test_agrees_with_rio_cogeo_on_cogs(cogs, name):
    ok, errors, warnings = cog_validate(cogs[name], quiet=True)

    report = validate(cogs[name])
    assert (report.ok, len(report.errors)) == (ok, len(errors))
    assert len(report.warnings) == len(warnings)


@pytest.mark.parametrize(
    ("size", "level"), [(2048, "overview 1"), (1024, "main image")]
)
def test_refuses_tiles_as_wide_as_a_level_as_rio_cogeo_does(tmp_path, size, level):
    """GDAL's own driver writes such files, GDAL's validator lets them pass."""
    raster = {"height": size, "width": size}
    path = write_cog(tmp_path / "wide.tif", raster, blocksize=1024)

    report = validate(path)

    assert not cog_validate(path, quiet=True)[0]
    assert len(report.errors) == 1
    assert re.match(rf"{level} \(1024x1024\) is not tiled", report.errors[0])


def add_overviews(path):
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "r+") as dataset,
    ):
        dataset.build_overviews([2, 4])


def add_external_overviews(path):
    with (
        rasterio.Env(TIFF_USE_OVR=True),
        rasterio.open(path, "r+") as dataset,
    ):
        dataset.build_overviews([2, 4])


def update_tags(path):
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(NOTE="edited" * 2000)


TILED = {"tiled": True, "blockxsize": 256, "blockysize": 256}
# name: how the file is made, pattern of its errors, pattern of its warnings
PLAIN = {
    "strips": (
        lambda path: write_geotiff(path, **ODD),
        r"main image \(1031x777\) is not tiled: it has strips",
        NO_OVERVIEWS,
    ),
    "small-strips": (
        lambda path: write_geotiff(path, 100, 90),
        None,
        "is stored in strips",
    ),
    "tiled": (
        lambda path: write_geotiff(path, **ODD, **TILED),
        None,
        NO_OVERVIEWS,
    ),
    "small-tiled": (lambda path: write_geotiff(path, 90, 300, **TILED), None, None),
    "overviews-appended": (
        lambda path: add_overviews(write_geotiff(path, **ODD, **TILED)),
        "the first tile of main image .* should be behind that of overview 1",
        "the overviews are 516x389, 258x195, should be 515x388, 257x194",
    ),
    "external-overviews": (
        lambda path: add_external_overviews(write_geotiff(path, **ODD, **TILED)),
        r"overviews found in an external \.ovr file",
        NO_OVERVIEWS,
    ),
    "edited": (
        lambda path: update_tags(write_cog(path, ODD, compress="LZW")),
        "KNOWN_INCOMPATIBLE_EDITION=YES, should be NO; write the file again",
        None,
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    paths = {name: folder / f"{name}.tif" for name in PLAIN}
    for name, (make, _, _) in PLAIN.items():
        make(paths[name])
    return paths


@pytest.mark.parametrize("name", PLAIN)
def test_tells_what_a_file_lacks(plain, name):
    _, error, warning = PLAIN[name]

    report = validate(plain[name])

    assert report.ok == (error is None)
    assert error is None or re.search(error, report.errors[0])
    assert bool(report.warnings) == (warning is not None)
    assert warning is None or any(re.search(warning, w) for w in report.warnings)


@pytest.mark.parametrize("name", PLAIN)
def test_agrees_with_rio_cogeo_on_other_files(plain, name):
    assert validate(plain[name]).ok == cog_validate(plain[name], quiet=True)[0]


# --- COGs broken one rule at a time ------------------------------------------------


class Edit:
    """Bytes of a COG, and where its parts stand."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.tiff = parse(lambda offset, length: data[offset : offset + length])

    def entry(self, ifd, tag):
        return self.tiff.ifds[ifd].entries[tag]

    def get(self, ifd, tag, index=0):
        return int(self.entry(ifd, tag).values[index])

    def set(self, ifd, tag, value, index=0):
        entry = self.entry(ifd, tag)
        start = entry.value_offset + index * entry.values.dtype.itemsize
        raw = np.array(value, entry.values.dtype).tobytes()
        self.data[start : start + len(raw)] = raw

    def patch(self, ifd, tag, layout, value, skip=0):
        """Overwrite the tag (skip 0), field type (2) or count (4) of an entry."""
        head = struct.pack("<HH", tag, self.entry(ifd, tag).field_type)
        start = self.data.index(head, self.tiff.ifds[ifd].offset) + skip
        struct.pack_into(layout, self.data, start, value)

    def replace(self, old, new):
        assert self.data.count(old) == 1
        assert len(old) == len(new)
        self.data[:] = self.data.replace(old, new)

    def swap(self, left, right):
        """Exchange offset and byte count of two tiles, given as (ifd, index)."""
        for tag in (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS):
            values = [self.get(ifd, tag, index) for ifd, index in (left, right)]
            for (ifd, index), value in zip((right, left), values, strict=True):
                self.set(ifd, tag, value, index)

    def share(self, shift=0):
        """Let tile 1 of the main image hold the bytes of its tile 0."""
        for tag in (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS):
            self.set(0, tag, self.get(0, tag, 0) + shift, 1)
            shift = -shift

    def move_ifd(self, index):
        """Copy an IFD to the end of the file and point to the copy."""
        ifd = self.tiff.ifds[index]
        target = struct.pack("<I", len(self.data) + len(self.data) % 2)
        pointer = 4 if index == 0 else self.tiff.ifds[index - 1].end - 4
        copy = self.data[ifd.offset : ifd.end]
        self.data[pointer : pointer + 4] = target
        self.data += bytes(len(self.data) % 2) + copy

    def truncate(self, stop):
        del self.data[stop:]

    def add(self, position, value):
        self.data[position] = (self.data[position] + value) % 256


def leader(edit):
    edit.add(edit.get(0, Tag.TILE_OFFSETS, 3) - 4, 1)


def trailer(edit):
    stop = edit.get(0, Tag.TILE_OFFSETS, 3) + edit.get(0, Tag.TILE_BYTE_COUNTS, 3)
    edit.add(stop, 1)


def without_block_order(edit):
    edit.replace(b"BLOCK_ORDER=ROW_MAJOR\n", b"\n" * 22)


def shared(edit):
    without_block_order(edit)
    edit.share()


def partly_shared(edit):
    without_block_order(edit)
    edit.share(shift=16)


def fewer_mask_tiles(edit):
    for tag in (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS):
        edit.patch(1, tag, "<I", 19, skip=4)


def same_size_overview(edit):
    for tag in (Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH):
        edit.set(1, tag, edit.get(0, tag))


# name: (file, edit, pattern of the error that tells it)
BROKEN = {
    "leader": ("cog", leader, r"tile \(row 0, col 3\) of main image .* has leader"),
    "trailer": ("cog", trailer, r"tile \(row 0, col 3\) of main image .* has trailer"),
    "swapped-tiles": (
        "cog",
        lambda edit: edit.swap((0, 6), (0, 7)),
        r"tile \(row 1, col 2\) of main image .*BLOCK_ORDER=ROW_MAJOR is claimed",
    ),
    "swapped-levels": (
        "cog",
        lambda edit: edit.swap((0, 0), (2, 0)),
        "the first tile of main image .* should be behind that of overview 1",
    ),
    "main-ifd-moved": (
        "cog",
        lambda edit: edit.move_ifd(0),
        "the main IFD is at byte .*, should be at 192, right behind the ghost area",
    ),
    "overview-ifd-moved": (
        "cog",
        lambda edit: edit.move_ifd(1),
        "the IFD of overview 2 .* should be behind that of overview 1",
    ),
    "last-ifd-moved": (
        "cog",
        lambda edit: edit.move_ifd(3),
        "the first tile of overview 3 .* should be behind its IFD",
    ),
    "arrays-before-ifd": (
        "cog",
        lambda edit: edit.move_ifd(3),
        r"byte count array is at .* behind the last IFD.*\(LAYOUT=IFDS_BEFORE_DATA",
    ),
    "data-before-ifd": (
        "cog",
        lambda edit: edit.move_ifd(3),
        r"tile data begins at byte .*\(LAYOUT=IFDS_BEFORE_DATA is claimed\)",
    ),
    "truncated-data": (
        "cog",
        lambda edit: edit.truncate(-100),
        r"the file is truncated: tile \(row 3, col 4\) of main image",
    ),
    "truncated-header": (
        "cog",
        lambda edit: edit.truncate(300),
        "truncated TIFF: .* bytes wanted at",
    ),
    "edition": (
        "cog",
        lambda edit: edit.replace(b"EDITION=NO\n ", b"EDITION=YES\n"),
        "the file was changed after it was written as a COG",
    ),
    "ghost-number": (
        "cog",
        lambda edit: edit.replace(b"SIZE=000140", b"SIZE=   140"),
        "the ghost area starts with .*six digits",
    ),
    "ghost-length": (
        "cog",
        lambda edit: edit.replace(b"SIZE=000140", b"SIZE=000150"),
        "the main IFD is at byte 192, should be at 202",
    ),
    "ghost-too-long": (
        "small",
        lambda edit: edit.replace(b"SIZE=000140", b"SIZE=900140"),
        "the ghost area declares 900140 bytes, the file ends before them",
    ),
    "ghost-band": (
        "cog",
        lambda edit: edit.replace(
            b"BLOCK_ORDER=ROW_MAJOR\n", b"INTERLEAVE=BAND\n".ljust(22, b"\n")
        ),
        "the ghost area says INTERLEAVE=BAND, but the bands are interleaved by pixel",
    ),
    "larger-overview": (
        "cog",
        lambda edit: edit.set(1, Tag.IMAGE_WIDTH, 2000),
        r"overview 1 \(2000x388\) is larger than main image",
    ),
    "no-decimation": (
        "cog",
        same_size_overview,
        "overview 1 .* has decimation factor 1.00, should be above 1",
    ),
    "tile-width": (
        "cog",
        lambda edit: edit.set(0, Tag.TILE_WIDTH, 250),
        "main image .* has tiles of 250x256, should be multiples of 16",
    ),
    "tile-count": (
        "cog",
        lambda edit: edit.set(0, Tag.IMAGE_LENGTH, 1777),
        "main image .* has 20 tile offsets and 20 byte counts, should have 35",
    ),
    "real-offsets": (
        "cog",
        lambda edit: edit.patch(0, Tag.TILE_OFFSETS, "<H", FieldType.FLOAT, skip=2),
        r"tag 324 \(TILE_OFFSETS\) holds no integers",
    ),
    "no-width": (
        "cog",
        lambda edit: edit.set(1, Tag.IMAGE_WIDTH, 0),
        r"IFD 1 has no valid IMAGE_WIDTH \(tag 256\)",
    ),
    "other-nodata": (
        "cog",
        lambda edit: edit.set(1, Tag.GDAL_NODATA, ord("8")),
        "overview 1 .* has GDAL_NODATA 8, should be 7 as in the main image",
    ),
    "shared-tile": (
        "cog",
        lambda edit: edit.share(),
        r"it overlaps tile \(row 0, col 0\) .* \(shared tiles exclude BLOCK_ORDER\)",
    ),
    "overlap": (
        "cog",
        partly_shared,
        r"tile \(row 0, col 1\) of main image .* overlaps tile \(row 0, col 0\)",
    ),
    "half-sparse": (
        "cog",
        lambda edit: edit.set(0, Tag.TILE_OFFSETS, 0, 5),
        r"tile \(row 1, col 0\) .* has offset 0 and byte count \d+, a sparse tile",
    ),
    "mask-type": (
        "mask",
        lambda edit: edit.set(1, Tag.NEW_SUBFILE_TYPE, 5),
        "mask of main image .* has NewSubfileType 5, should be 4",
    ),
    "mask-photometric": (
        "mask",
        lambda edit: edit.set(1, Tag.PHOTOMETRIC, 1),
        "mask of main image .* has PhotometricInterpretation 1, should be 4",
    ),
    "mask-size": (
        "mask",
        lambda edit: edit.set(1, Tag.IMAGE_WIDTH, 1030),
        r"mask in IFD 1 \(1030x777\) has the size of no image",
    ),
    "mask-tile-size": (
        "mask",
        lambda edit: edit.set(1, Tag.TILE_WIDTH, 272),
        "mask of main image .* has tiles of 272x256, should be 256x256",
    ),
    "mask-tile-count": (
        "mask",
        fewer_mask_tiles,
        "mask of main image .* has 19 tile offsets and 19 byte counts, should have 20",
    ),
    "mask-order": (
        "mask",
        lambda edit: edit.swap((1, 0), (1, 1)),
        r"mask of main image .* right behind its image tile.*\(2 tiles are wrong\)",
    ),
    "mask-leader": (
        "mask",
        lambda edit: edit.add(edit.get(6, Tag.TILE_OFFSETS) - 4, 1),
        r"tile \(row 0, col 0\) of mask of overview 2 .* has leader",
    ),
}
# name: (file, edit, pattern of the warning that tells it)
DOUBTFUL = {
    "no-nodata": (
        "cog",
        lambda edit: edit.patch(1, Tag.GDAL_NODATA, "<H", 42114),
        "overview 1 .* has GDAL_NODATA None, should be 7",
    ),
    "page": (
        "cog",
        lambda edit: edit.set(2, Tag.NEW_SUBFILE_TYPE, 0),
        r"page in IFD 2 \(257x194\) is neither overview nor mask",
    ),
    "unknown-claim": (
        "cog",
        lambda edit: edit.replace(b"BLOCK_LEADER=SIZE_AS", b"BLOCK_LEADER=TYPE_AS"),
        "the ghost area has the line 'BLOCK_LEADER=TYPE_AS_UINT4', which readers do",
    ),
    "empty-tile": (
        "cog",
        lambda edit: edit.set(0, Tag.TILE_BYTE_COUNTS, 0, 5),
        r"tile \(row 1, col 0\) .* and byte count 0, a sparse tile should have 0",
    ),
    "sizes": (
        "cog",
        lambda edit: edit.set(2, Tag.IMAGE_WIDTH, 258),
        "the overviews are 515x388, 258x194, .* should be 515x388, 257x194, 128x97",
    ),
    "mask-missing": (
        "mask",
        lambda edit: edit.set(5, Tag.NEW_SUBFILE_TYPE, 2),
        "overview 1 .* has no mask, but other levels have one",
    ),
}
ALL_EDITS = {**BROKEN, **DOUBTFUL}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    option_sets = {
        "cog": {**ODD, "nodata": 7},
        "mask": {**RGB, "mask": True},
        "small": {"height": 10, "width": 10},
    }
    return {
        name: write_cog(
            folder / f"{name}.tif", raster, compress="DEFLATE", blocksize=256
        ).read_bytes()
        for name, raster in option_sets.items()
    }


@pytest.fixture(scope="module")
def edited(originals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edited")
    for name, (original, change, _) in ALL_EDITS.items():
        edit = Edit(originals[original])
        change(edit)
        (folder / f"{name}.tif").write_bytes(edit.data)
    return {name: folder / f"{name}.tif" for name in ALL_EDITS}


@pytest.mark.parametrize("name", BROKEN)
def test_names_the_broken_rule(edited, name):
    report = validate(edited[name])

    assert not report.ok
    assert any(re.search(BROKEN[name][2], text) for text in report.errors)


@pytest.mark.parametrize("name", DOUBTFUL)
def test_warns_of_what_readers_cope_with(edited, name):
    report = validate(edited[name])

    assert report.ok
    assert any(re.search(DOUBTFUL[name][2], text) for text in report.warnings)


ONE_ERROR = [
    *("leader", "trailer", "truncated-data", "edition", "ghost-length"),
    *("tile-count", "other-nodata", "shared-tile", "mask-type"),
]


@pytest.mark.parametrize("name", ONE_ERROR)
def test_one_fault_gives_one_error(edited, name):
    assert len(validate(edited[name]).errors) == 1


@pytest.mark.parametrize("name", ["leader", "trailer", "mask-leader"])
def test_reads_no_tile_unless_asked_for_the_full_check(edited, name):
    assert validate(edited[name], full=False).ok


def test_warns_of_a_mask_ifd_before_that_of_its_image(originals, tmp_path):
    edit = Edit(originals["mask"])
    edit.move_ifd(3)
    path = tmp_path / "moved.tif"
    path.write_bytes(edit.data)

    warnings = validate(path).warnings

    assert any(
        re.match("the IFD of mask of overview 2 .* behind that of its image", text)
        for text in warnings
    )


def test_accepts_shared_tiles_when_no_order_is_claimed(originals, tmp_path):
    edit = Edit(originals["cog"])
    shared(edit)
    path = tmp_path / "shared.tif"
    path.write_bytes(edit.data)

    assert validate(path) == Report(ok=True, details=validate(path).details)


@pytest.mark.parametrize("name", ["leader", "trailer", "mask-leader"])
def test_finds_a_wrong_tile_in_any_batch_and_block(edited, name, monkeypatch):
    expected = validate(edited[name])
    monkeypatch.setattr(_tile_rules, "BATCH_TILES", 3)
    monkeypatch.setattr(_tile_rules, "BLOCK_BYTES", 64)

    assert validate(edited[name]) == expected


def test_reads_in_blocks_of_bounded_length(originals, monkeypatch):
    lengths = []
    call = RangeReader.__call__

    def watch(self, offset, length):
        lengths.append(length)
        return call(self, offset, length)

    monkeypatch.setattr(RangeReader, "__call__", watch)
    monkeypatch.setattr(_tile_rules, "BLOCK_BYTES", 2**14)
    fsspec.filesystem("memory").pipe("/blocks.tif", originals["cog"])

    assert validate("memory://blocks.tif").ok
    assert 2**13 < max(lengths) <= 2**14 + 8


# --- never more lenient than the others --------------------------------------------


@pytest.fixture(scope="module")
def gdal_verdicts(cogs, plain, edited):
    probe = [GDAL_PYTHON, "-c", "import osgeo, osgeo_utils.samples"]
    if not Path(GDAL_PYTHON).exists() or subprocess.run(probe, check=False).returncode:
        pytest.skip(f"{GDAL_PYTHON} has no osgeo: GDAL's own validator is not there")
    paths = [*cogs.values(), *plain.values(), *edited.values()]
    run = subprocess.run(
        [GDAL_PYTHON, "-c", GDAL_SCRIPT, *map(str, paths)],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},  # no PYTHONPATH, PROJ_DATA of this process
    )
    verdicts = map(json.loads, run.stdout.splitlines())
    return dict(zip(paths, verdicts, strict=True))


@pytest.mark.parametrize("name", VALID)
def test_agrees_with_gdals_validator_on_cogs(cogs, gdal_verdicts, name):
    errors, warnings = gdal_verdicts[cogs[name]]

    report = validate(cogs[name])
    assert (len(report.errors), len(report.warnings)) == (len(errors), len(warnings))


@pytest.mark.parametrize("name", [*PLAIN, *ALL_EDITS])
def test_refuses_whatever_gdals_validator_refuses(plain, edited, gdal_verdicts, name):
    path = {**plain, **edited}[name]
    errors, warnings = gdal_verdicts[path]

    report = validate(path)
    assert not (report.ok and errors)
    assert report.errors or report.warnings or not warnings


SEEN_BY_GDAL = [
    *("leader", "trailer", "swapped-tiles", "swapped-levels", "main-ifd-moved"),
    *("overview-ifd-moved", "last-ifd-moved", "edition", "ghost-length"),
    *("mask-order", "mask-leader"),
]


@pytest.mark.parametrize("name", SEEN_BY_GDAL)
def test_gdals_validator_sees_the_same_fault(edited, gdal_verdicts, name):
    """The edits are real faults, not artefacts of our own reading."""
    assert gdal_verdicts[edited[name]][0]


# --- files made by hand ------------------------------------------------------------


def build_tiff(path, lines, payloads, *, order, planes=1, metadata="", pad=0):
    """Write one level of 2x2 tiles per plane, its tiles stored in the given order."""
    form = Format(big=False)
    text = "".join(f"{line}\n" for line in lines).ljust(pad, "\n")
    ghost = (GHOST_FIRST_LINE.format(len(text)) + text).encode()
    start = form.ghost_offset + len(ghost)
    ghost += bytes(start % 2)
    start += start % 2

    offsets = [0] * len(payloads)
    entries = [
        Entry.short_or_long(Tag.IMAGE_WIDTH, 32),
        Entry.short_or_long(Tag.IMAGE_LENGTH, 32),
        Entry.of(Tag.BITS_PER_SAMPLE, FieldType.SHORT, [8] * planes),
        Entry.short_or_long(Tag.SAMPLES_PER_PIXEL, planes),
        Entry.short_or_long(Tag.PLANAR_CONFIG, 2 if planes > 1 else 1),
        Entry.short_or_long(Tag.TILE_WIDTH, 16),
        Entry.short_or_long(Tag.TILE_LENGTH, 16),
        Entry.of(Tag.TILE_OFFSETS, FieldType.LONG, offsets),
        Entry.of(Tag.TILE_BYTE_COUNTS, FieldType.LONG, map(len, payloads)),
        Entry.of(Tag.GDAL_METADATA, FieldType.ASCII, metadata.encode() + b"\0"),
    ]
    position = start + form.directory_bytes(len(entries))
    value_offsets = {}
    for entry in entries:
        if len(entry.payload) > form.inline_bytes:
            value_offsets[entry.tag] = position
            position += len(entry.payload)
    data = b""
    for tile in order:
        payload = payloads[tile]
        offsets[tile] = position + len(data) + 4
        tail = payload[-4:].ljust(4, b"\0")
        data += struct.pack("<I", len(payload)) + payload + tail
    entries[7] = Entry.of(Tag.TILE_OFFSETS, FieldType.LONG, offsets)
    values = b"".join(e.payload for e in entries if e.tag in value_offsets)
    directory = form.encode_directory(entries, value_offsets, 0)
    path.write_bytes(form.file_header(start) + ghost + directory + values + data)
    return path


CLAIMS = (
    "LAYOUT=IFDS_BEFORE_DATA",
    "BLOCK_ORDER=ROW_MAJOR",
    "BLOCK_LEADER=SIZE_AS_UINT4",
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED",
)
BAND_CLAIMS = (*CLAIMS, "INTERLEAVE=BAND")
BAND_ORDER = tuple(range(12))
TILE_ORDER = (0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)
TILE_METADATA = '<Item name="INTERLEAVE" domain="IMAGE_STRUCTURE">TILE</Item>'


@pytest.mark.parametrize(
    ("order", "metadata", "error"),
    [
        (BAND_ORDER, "", None),
        (TILE_ORDER, TILE_METADATA, None),
        (TILE_ORDER, "", r"tile \(row 0, col 0, band 2\).*BLOCK_ORDER"),
        (BAND_ORDER, TILE_METADATA, r"tile \(row 0, col 1, band 1\).*BLOCK_ORDER"),
    ],
    ids=["band", "tile", "tile-untold", "band-told-as-tile"],
)
def test_block_order_follows_the_interleave(tmp_path, order, metadata, error):
    payloads = [bytes([tile]) * (tile + 9) for tile in range(12)]
    path = build_tiff(
        tmp_path / "planes.tif",
        BAND_CLAIMS,
        payloads,
        order=order,
        planes=3,
        metadata=metadata,
    )

    report = validate(path)

    assert len(report.errors) == (error is not None)
    assert all(re.search(error, text) for text in report.errors)
    assert report.details["interleave"] == ("tile" if metadata else "band")


def test_warns_of_an_order_claim_that_tells_no_interleave(tmp_path):
    payloads = [b"payload"] * 12
    path = build_tiff(
        tmp_path / "planes.tif", CLAIMS, payloads, order=BAND_ORDER, planes=3
    )

    report = validate(path)

    assert report.ok
    assert re.search("BLOCK_ORDER without INTERLEAVE=BAND", report.warnings[0])


@pytest.mark.parametrize("flipped", [False, True])
def test_trailer_of_a_short_tile_is_filled_with_zeros(tmp_path, flipped):
    payloads = [b"a", b"bc", b"def", b"ghij"]
    path = build_tiff(tmp_path / "short.tif", CLAIMS, payloads, order=range(4))
    if flipped:
        data = path.read_bytes()
        path.write_bytes(data.replace(b"bcbc\0\0", b"bcbc\0\1"))

    errors = validate(path).errors

    assert len(errors) == flipped
    assert all("tile (row 0, col 1)" in text for text in errors)
    assert all("has trailer 62630001" in text for text in errors)


def test_refuses_a_ghost_area_too_long_for_rio_cogeo(tmp_path):
    payloads = [b"payload"] * 4
    path = build_tiff(tmp_path / "long.tif", CLAIMS, payloads, order=range(4), pad=260)

    assert re.search(
        "at byte 312, should be at 300 or before", validate(path).errors[0]
    )


def test_warns_of_a_mask_claim_without_mask(tmp_path):
    lines = (*CLAIMS, "MASK_INTERLEAVED_WITH_IMAGERY=YES")
    path = build_tiff(tmp_path / "bare.tif", lines, [b"payload"] * 4, order=range(4))

    assert validate(path).warnings == (
        "the ghost area says MASK_INTERLEAVED_WITH_IMAGERY=YES: there is no mask",
    )


# --- sources and reports -----------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a TIFF file"),
        (PNG, "not a TIFF file: it starts with neither 'II' nor 'MM'"),
        (b"II*\0" + bytes(20), "the TIFF file holds no image"),
    ],
    ids=["empty", "png", "no-ifd"],
)
def test_a_file_that_is_no_tiff_gives_a_report(tmp_path, data, message):
    path = tmp_path / "other.tif"
    path.write_bytes(data)

    report = validate(path)

    assert not report
    assert len(report.errors) == 1
    assert message in report.errors[0]
    assert report.details == {"path": str(path), "size": len(data)}


def test_damaged_headers_give_reports_not_exceptions(originals, tmp_path):
    """Each byte of header and IFDs is overwritten in turn."""
    path = tmp_path / "damaged.tif"
    data = originals["small"]
    for position in range(Edit(data).get(0, Tag.TILE_OFFSETS)):
        path.write_bytes(data[:position] + b"\xff" + data[position + 1 :])

        assert isinstance(str(validate(path)), str)


@pytest.mark.parametrize("url", ["{}/missing.tif", "memory://missing.tif"])
def test_a_missing_file_raises(tmp_path, url):
    """As for every other reader, and Python's own FileNotFoundError, too."""
    with pytest.raises(
        lazycog.SourceNotFoundError, match=r"missing\.tif: no such file"
    ):
        validate(url.format(tmp_path))


def test_a_folder_raises(tmp_path):
    with pytest.raises(lazycog.InputError, match=r"is a folder.*give the path"):
        validate(tmp_path)


@pytest.mark.parametrize("name", ["odd-none", "mask", "bigtiff", "sparse"])
def test_a_url_gives_the_report_of_the_file(cogs, name):
    fsspec.filesystem("memory").pipe(f"/{name}.tif", cogs[name].read_bytes())
    url = f"memory://{name}.tif"

    report = validate(url, storage_options={})

    assert report.details == {**validate(cogs[name]).details, "path": url}
    assert report.ok


def test_details_describe_every_level(cogs):
    details = validate(cogs["mask"]).details

    levels = details.pop("levels")
    first = {key: levels[0].pop(key) for key in ("ifd_offset", "first_tile_offset")}
    assert details == {
        "path": str(cogs["mask"]),
        "size": cogs["mask"].stat().st_size,
        "bigtiff": False,
        "byte_order": "little",
        "ghost": {
            "LAYOUT": "IFDS_BEFORE_DATA",
            "BLOCK_ORDER": "ROW_MAJOR",
            "BLOCK_LEADER": "SIZE_AS_UINT4",
            "BLOCK_TRAILER": "LAST_4_BYTES_REPEATED",
            "KNOWN_INCOMPATIBLE_EDITION": "NO",
            "MASK_INTERLEAVED_WITH_IMAGERY": "YES",
        },
        "band_count": 3,
        "interleave": "pixel",
    }
    assert first["ifd_offset"] == 226
    assert first["first_tile_offset"] > levels[-1]["first_tile_offset"]
    assert levels[0].pop("data_bytes") > 100_000
    assert levels[0] == {
        "index": 0,
        "kind": "image",
        "width": 1031,
        "height": 777,
        "tiled": True,
        "tile_width": 512,
        "tile_height": 512,
        "tiles": 6,
        "sparse_tiles": 0,
        "compression": "deflate",
        "predictor": 1,
        "dtype": "uint8",
    }
    kinds = [(level["kind"], level["width"], level["dtype"]) for level in levels[1:]]
    assert sorted(kinds) == [
        ("mask", 257, "uint1"),
        ("mask", 515, "uint1"),
        ("mask", 1031, "uint1"),
        ("overview", 257, "uint8"),
        ("overview", 515, "uint8"),
    ]


@pytest.mark.parametrize("name", VALID)
def test_details_go_through_json(cogs, name):
    details = validate(cogs[name]).details

    assert json.loads(json.dumps(details)) == details


def test_counts_sparse_tiles(cogs):
    levels = validate(cogs["sparse"]).details["levels"]

    assert levels[0]["sparse_tiles"] > 0
    assert levels[0]["sparse_tiles"] < levels[0]["tiles"]


def test_report_text_gives_verdict_findings_and_summary(cogs, edited):
    good = str(validate(cogs["mask"])).splitlines()
    bad = str(validate(edited["leader"])).splitlines()

    assert good[0] == f"{cogs['mask']}: valid Cloud-Optimized GeoTIFF"
    assert re.search(r"1031x777 uint8; 3 band\(s\), pixel .*; 2 overv.*; mask", good[1])
    assert (
        bad[0] == f"{edited['leader']}: NOT a valid Cloud-Optimized GeoTIFF (1 error)"
    )
    assert bad[1].startswith("  error: tile (row 0, col 3) of main image (1031x777)")


def test_report_text_does_without_details():
    assert str(Report(ok=True)) == "file: valid Cloud-Optimized GeoTIFF"


def test_report_html_is_escaped():
    report = Report(
        ok=False,
        errors=("a < b",),
        warnings=("<script>",),
        details={"path": "<b>.tif"},
    )

    html = report._repr_html_()

    assert "&lt;b&gt;.tif" in html
    assert "<li><b>error</b>: a &lt; b</li>" in html
    assert "&lt;script&gt;" in html
    assert "<table>" not in html


def test_report_html_has_a_row_per_level(cogs):
    report = validate(cogs["mask"])

    assert report._repr_html_().count("<tr>") == 1 + len(report.details["levels"])


def test_report_is_true_when_ok():
    assert Report(ok=True)
    assert not Report(ok=False, errors=("fault",))
