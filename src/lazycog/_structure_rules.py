"""Rules about header, ghost area, levels, and the order of what is in a file.

Every rule cites where it comes from: "GDAL" is ``validate_cloud_optimized_geotiff.py``,
"rio-cogeo" its ``cog_validate``, "ghost area" the GDAL COG driver's documentation,
"TIFF 6.0" the specification, "lazycog" a stricter rule of our own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from lazycog._report import error, warning
from lazycog._tiff import Tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lazycog._report import Finding
    from lazycog._structure import Level, Structure

SMALL_SIDE = 512
"""Up to this side a raster needs neither tiles nor overviews (GDAL, rio-cogeo)."""
MAX_FIRST_IFD = 300
"""Greatest position of the first IFD that rio-cogeo accepts."""


# --- header and ghost area ---------------------------------------------------------


def known_edition(file: Structure) -> Iterator[Finding]:
    """GDAL, rio-cogeo: the writer of a later change has marked the file."""
    if file.ghost.claims.get("KNOWN_INCOMPATIBLE_EDITION") == "YES":
        yield error(
            "the file was changed after it was written as a COG: its ghost area says "
            "KNOWN_INCOMPATIBLE_EDITION=YES, should be NO; write the file again"
        )


def first_ifd_position(file: Structure) -> Iterator[Finding]:
    """GDAL: IFD 0 is at 8 or 16, or right behind the ghost area; rio-cogeo: <= 300."""
    found, expected = file.levels[0].ifd.offset, file.ghost.end
    if found not in {8, 16, expected}:
        place = "ghost area" if file.ghost.present else "file header"
        yield error(
            f"the main IFD is at byte {found}, should be at {expected}, right behind "
            f"the {place}"
        )
    elif found > MAX_FIRST_IFD:
        yield error(
            f"the main IFD is at byte {found}, should be at {MAX_FIRST_IFD} or before: "
            "the ghost area is too long for rio-cogeo"
        )


KNOWN_CLAIMS: Mapping[str, frozenset[str]] = {
    "LAYOUT": frozenset({"IFDS_BEFORE_DATA"}),
    "BLOCK_ORDER": frozenset({"ROW_MAJOR"}),
    "BLOCK_LEADER": frozenset({"SIZE_AS_UINT4"}),
    "BLOCK_TRAILER": frozenset({"LAST_4_BYTES_REPEATED"}),
    "INTERLEAVE": frozenset({"BAND"}),
    "KNOWN_INCOMPATIBLE_EDITION": frozenset({"NO", "YES"}),
    "MASK_INTERLEAVED_WITH_IMAGERY": frozenset({"YES"}),
}
"""Lines that GDAL's reader knows (GDAL COG driver, "Header ghost area")."""


def ghost_shape(file: Structure) -> Iterator[Finding]:
    """Ghost area: a first line of 43 bytes, the declared length, known lines."""
    ghost = file.ghost
    if ghost.first_line and not ghost.present:
        yield error(
            f"the ghost area starts with {ghost.first_line!r}, should be "
            "'GDAL_STRUCTURAL_METADATA_SIZE=', six digits and ' bytes' in 43 bytes"
        )
    if ghost.end > file.size:
        yield error(
            f"the ghost area declares {ghost.length} bytes, the file ends before them"
        )
    for line in ghost.lines:
        key, _, value = line.partition("=")
        if value not in KNOWN_CLAIMS.get(key, ()):
            yield warning(
                f"the ghost area has the line {line[:80]!r}, which readers do not know"
            )


def ghost_interleave(file: Structure) -> Iterator[Finding]:
    """Ghost area: INTERLEAVE is for separate bands alone, and voids the mask claim."""
    claims = file.ghost.claims
    by_band = "INTERLEAVE" in claims
    if by_band and file.interleave == "pixel":
        yield error(
            f"the ghost area says INTERLEAVE={claims['INTERLEAVE']}, but the bands are "
            "interleaved by pixel (PlanarConfiguration 1)"
        )
    if file.ghost.row_major and not by_band and file.levels[0].planes > 1:
        yield warning(
            "the ghost area claims BLOCK_ORDER without INTERLEAVE=BAND, but the bands "
            "are stored separately"
        )
    if file.ghost.mask_interleaved and (by_band or not file.masks):
        why = "readers ignore it beside INTERLEAVE" if by_band else "there is no mask"
        yield warning(f"the ghost area says MASK_INTERLEAVED_WITH_IMAGERY=YES: {why}")


# --- levels ------------------------------------------------------------------------


def _is_large(level: Level) -> bool:
    return level.width > SMALL_SIDE or level.height > SMALL_SIDE


def tiled(file: Structure) -> Iterator[Finding]:
    """GDAL (wider than 1024), rio-cogeo (any width): no blocks as wide as a level."""
    for level in file.images:
        shape = f"{level.tile_width}x{level.tile_height}"
        if _is_large(level) and level.tile_width == level.width:
            blocks = "tiles as wide as itself" if level.tiled else "strips"
            yield error(
                f"{level.name} is not tiled: it has {blocks} ({shape}), should have "
                f"tiles narrower than the image, since a side exceeds {SMALL_SIDE}"
            )
        elif not level.tiled:
            yield warning(
                f"{level.name} is stored in strips ({shape}), should be in tiles "
                f"(tolerated up to {SMALL_SIDE} pixels)"
            )


def internal_overviews(file: Structure) -> Iterator[Finding]:
    """GDAL, rio-cogeo: overviews are wanted above 512 pixels, inside the file."""
    if file.external_overviews:
        yield error("overviews found in an external .ovr file, they should be internal")
    if len(file.images) == 1 and _is_large(file.images[0]):
        yield warning(
            f"{file.images[0].name} has no overviews, should have internal ones, since "
            f"a side exceeds {SMALL_SIDE}"
        )


def overview_sizes(file: Structure) -> Iterator[Finding]:
    """GDAL, rio-cogeo: sizes fall; GDAL COG driver: each is half, rounded down."""
    main = file.images[0]
    for previous, level in pairwise(file.images):
        if level.width > previous.width or level.height > previous.height:
            yield error(f"{level.name} is larger than {previous.name}, should be less")
        factor = max(main.width / level.width, main.height / level.height)
        if round(factor) <= 1:
            yield error(
                f"{level.name} has decimation factor {factor:.2f}, should be above 1"
            )
    found = [(level.width, level.height) for level in file.images[1:]]
    expected = [
        (max(1, main.width >> number), max(1, main.height >> number))
        for number in range(1, len(file.images))
    ]
    if found != expected:
        shown, wanted = (
            ", ".join(f"{width}x{height}" for width, height in sizes)
            for sizes in (found, expected)
        )
        yield warning(
            f"the overviews are {shown}, should be {wanted}: each half of the level "
            "before it, rounded down, as GDAL's COG driver makes them"
        )


def tile_sizes(file: Structure) -> Iterator[Finding]:
    """TIFF 6.0 §15: TileWidth and TileLength are multiples of 16."""
    for level in file.levels:
        if level.tiled and (level.tile_width % 16 or level.tile_height % 16):
            yield error(
                f"{level.name} has tiles of {level.tile_width}x{level.tile_height}, "
                "should be multiples of 16"
            )


def tile_counts(file: Structure) -> Iterator[Finding]:
    """TIFF 6.0 §15: one offset and one byte count per tile and plane."""
    for level in file.levels:
        offsets, byte_counts = level.array_counts
        if {offsets, byte_counts} != {level.tile_count}:
            yield error(
                f"{level.name} has {offsets} tile offsets and {byte_counts} byte "
                f"counts, should have {level.tile_count} of each"
            )


MASK_PHOTOMETRIC = 4
"""PhotometricInterpretation of a transparency mask (TIFF 6.0 §8)."""


def masks(file: Structure) -> Iterator[Finding]:
    """TIFF 6.0 §8: a mask says that it is one, and has the size of an image."""
    for mask in file.masks:
        found = mask.ifd.value(Tag.PHOTOMETRIC, -1)
        if found != MASK_PHOTOMETRIC:
            yield error(
                f"{mask.name} has PhotometricInterpretation {found}, should be 4"
            )
        if mask.number is None:
            yield error(f"{mask.name} has the size of no image in the file")


def mask_pairs(file: Structure) -> Iterator[Finding]:
    """TIFF 6.0 §8, GDAL: a mask has type 4 or 5 and the tiles of its image."""
    for image, mask in file.mask_pairs():
        found = mask.ifd.value(Tag.NEW_SUBFILE_TYPE)
        expected = 5 if image.number else 4
        if found != expected:
            yield error(f"{mask.name} has NewSubfileType {found}, should be {expected}")
        shapes = [f"{one.tile_width}x{one.tile_height}" for one in (mask, image)]
        if shapes[0] != shapes[1]:
            report = error if file.ghost.mask_interleaved else warning
            yield report(f"{mask.name} has tiles of {shapes[0]}, should be {shapes[1]}")


def mask_levels(file: Structure) -> Iterator[Finding]:
    """GDAL: all levels have a mask, or none has."""
    masked = {image.number for image, _ in file.mask_pairs()}
    if masked and len(masked) < len(file.images):
        bare = next(image for image in file.images if image.number not in masked)
        yield warning(f"{bare.name} has no mask, but other levels have one")


def pages(file: Structure) -> Iterator[Finding]:
    """GDAL: an IFD that is neither overview nor mask is another dataset."""
    for level in file.levels:
        if level.kind == "page":
            yield warning(
                f"{level.name} is neither overview nor mask, should not be in a COG"
            )


def nodata(file: Structure) -> Iterator[Finding]:
    """GDAL COG driver: GDAL_NODATA stands in every image IFD, with the same text."""
    entries = [level.ifd.entries.get(Tag.GDAL_NODATA) for level in file.images]
    texts = [None if entry is None else entry.text.strip() for entry in entries]
    for level, text in zip(file.images[1:], texts[1:], strict=True):
        if text != texts[0]:
            report = warning if text is None else error
            yield report(
                f"{level.name} has GDAL_NODATA {text}, should be {texts[0]} as in "
                "the main image"
            )


# --- order of bytes ----------------------------------------------------------------


def ifd_order(file: Structure) -> Iterator[Finding]:
    """GDAL, rio-cogeo: image IFDs ascend; GDAL COG driver: masks follow their image."""
    for previous, level in pairwise(file.images):
        if level.ifd.offset < previous.ifd.offset:
            yield error(
                f"the IFD of {level.name} is at byte {level.ifd.offset}, should be "
                f"behind that of {previous.name} at {previous.ifd.offset}"
            )
    for image, mask in file.mask_pairs():
        if mask.ifd.offset < image.ifd.offset:
            yield warning(
                f"the IFD of {mask.name} is at byte {mask.ifd.offset}, should be "
                f"behind that of its image at {image.ifd.offset}"
            )


def level_order(file: Structure) -> Iterator[Finding]:
    """GDAL, rio-cogeo: IFDs, then the smallest overview first, full resolution last."""
    last = file.images[-1]
    if 0 < last.first_tile_offset < last.ifd.offset:
        yield error(
            f"the first tile of {last.name} is at byte {last.first_tile_offset}, "
            f"should be behind its IFD at {last.ifd.offset}"
        )
    stored = [level for level in file.images if level.first_tile_offset]
    for larger, smaller in pairwise(stored):
        if larger.first_tile_offset < smaller.first_tile_offset:
            yield error(
                f"the first tile of {larger.name} is at byte "
                f"{larger.first_tile_offset}, should be behind that of "
                f"{smaller.name} at {smaller.first_tile_offset}"
            )


ARRAY_TAGS = frozenset(
    {Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS, Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS}
)


def metadata_order(file: Structure) -> Iterator[Finding]:
    """GDAL COG driver, lazycog: all IFDs, then all tile arrays, then the data."""
    ifds = [level.ifd for level in file.levels]
    outside = [
        entry for ifd in ifds for entry in ifd.entries.values() if not entry.inline
    ]
    arrays = [entry.value_offset for entry in outside if entry.tag in ARRAY_TAGS]
    ifds_end = max(ifd.end for ifd in ifds)
    ends = [entry.value_offset + entry.values.nbytes for entry in outside]
    metadata_end = max([ifds_end, *ends])
    report = error if file.ghost.ifds_first else warning
    claim = " (LAYOUT=IFDS_BEFORE_DATA is claimed)" * file.ghost.ifds_first
    if arrays and min(arrays) < ifds_end:
        yield report(
            f"a tile offset or byte count array is at byte {min(arrays)}, should be "
            f"behind the last IFD, which ends at {ifds_end}{claim}"
        )
    if file.tiles.start.size:
        data = int(file.tiles.start[0]) - file.ghost.leader_bytes
        if data < metadata_end:
            yield report(
                f"tile data begins at byte {data}, should be behind all IFDs and their "
                f"values, which end at {metadata_end}{claim}"
            )
