"""Encode one chunk: every tile of its levels, and the pixels that it hands up."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lazycog import resample
from lazycog._plan import LEADER_BYTES, TRAILER_BYTES
from lazycog._statistics import tile_partials
from lazycog._tiles import cut_tile
from lazycog.errors import InputError, TileEncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._grid import AxisChunk, Level, Span, Stage
    from lazycog._plan import Encoding

FRAME_BYTES = LEADER_BYTES + TRAILER_BYTES
"""What a tile takes in the file beyond its byte count."""


@dataclass(frozen=True)
class Run:
    """Encoded tiles that stand next to each other in the file."""

    level: int
    plane: int
    tile_row: int
    """Row of the run within the chunk."""
    data: bytes
    """Leader, payload and trailer of each tile."""


@dataclass(frozen=True)
class Summary:
    """What the rest of the write needs to know about an encoded chunk."""

    sizes: Mapping[int, NDArray[np.uint32]]
    """Level -> byte counts, shape (plane, tile row, tile col, tile of position)."""
    checksum: int
    """CRC-32 of all runs, to notice a source that changes between runs."""
    partials: NDArray[np.float64] | None
    """Statistics per band and tile of level 0, None without statistics."""
    pixels: NDArray[np.generic] | None
    """The chunk's piece of the level above the stage, None in the last stage."""


@dataclass(frozen=True)
class EncodedChunk:
    """Result of an encode task."""

    runs: tuple[Run, ...]
    summary: Summary

    @property
    def encoded_bytes(self) -> int:
        """Bytes that will be written for this chunk."""
        return sum(len(run.data) for run in self.runs)


@dataclass(frozen=True)
class ChunkTask:
    """Which chunk to encode and how: the plain value in the graph."""

    stage: Stage
    encoding: Encoding
    group: int
    row: int
    col: int

    @property
    def bands(self) -> Span:
        """Bands of the chunk."""
        return self.stage.bands(self.group)

    @property
    def axes(self) -> tuple[AxisChunk, AxisChunk]:
        """What the chunk owns and needs, rows and columns."""
        return self.stage.axis_chunk(0, self.row), self.stage.axis_chunk(1, self.col)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (band, height, width) of the pixels that the task takes."""
        rows, cols = self.axes
        return len(self.bands), len(rows.need[0]), len(cols.need[0])


def encode_chunk(task: ChunkTask, pixels: NDArray[np.generic]) -> EncodedChunk:
    """Encode the tiles of every level of a chunk.

    Parameters
    ----------
    task : ChunkTask
        Which chunk, and how.
    pixels : ndarray, shape (band, height, width)
        The chunk with its halo; never changed.

    Returns
    -------
    EncodedChunk
        The same for the same pixels, wherever and whenever it is computed.
    """
    encoding, stage = task.encoding, task.stage
    rows, cols = task.axes
    pixels = _stored_pixels(task, pixels)
    runs: list[Run] = []
    sizes: dict[int, NDArray[np.uint32]] = {}
    partials = None
    for step, level in enumerate(stage.levels):
        own = pixels[:, : len(rows.own[step]), : len(cols.own[step])]
        if level.index == 0 and encoding.statistics:
            partials = tile_partials(own, level.tile_size, encoding.nodata)
        level_runs, sizes[level.index] = _encode_level(task, step, own)
        runs += level_runs
        if step + 1 < len(rows.own):
            above = stage.levels[step + 1] if step + 1 < len(stage.levels) else None
            pixels = _reduce(task, pixels, step, level, above or stage.handed_up)
    return EncodedChunk(
        tuple(runs),
        Summary(
            sizes,
            _checksum(runs),
            partials,
            pixels if stage.handed_up else None,
        ),
    )


def _stored_pixels(task: ChunkTask, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Check a chunk and give it the type and the missing value of the file."""
    if pixels.shape != task.shape:
        raise InputError(
            f"a chunk of the source has shape {pixels.shape} where its array promised "
            f"{task.shape} (band, row, col); mend the source's chunks or meta"
        )
    encoding = task.encoding
    stored = np.dtype(encoding.dtype)
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    if pixels.dtype != stored:
        # Dask's meta may be wrong; a silent cast would change values
        if pixels.dtype.newbyteorder("=") != stored:
            raise InputError(
                f"a chunk of the source has dtype {pixels.dtype} where its array "
                f"promised {stored}; mend the source's meta or add .astype({stored})"
            )
        pixels = pixels.astype(stored)
    if encoding.fill_nan and task.stage.index == 0:
        missing = np.isnan(pixels)
        if missing.any():
            pixels = np.where(missing, stored.type(encoding.nodata), pixels)
    return np.ascontiguousarray(pixels)


def _reduce(
    task: ChunkTask,
    pixels: NDArray[np.generic],
    step: int,
    source: Level,
    target: Level | None,
) -> NDArray[np.generic]:
    """Make the chunk's piece of the next level."""
    if target is None:  # the caller asks only where a level follows
        raise AssertionError(step)
    rows, cols = task.axes
    wanted = rows.need[step + 1], cols.need[step + 1]
    return resample.reduce(
        pixels,
        resampling=task.encoding.resampling,
        nodata=task.encoding.nodata,
        source_size=source.size,
        target_size=target.size,
        source_origin=(rows.need[step].start, cols.need[step].start),
        target_origin=(wanted[0].start, wanted[1].start),
        target_shape=(len(wanted[0]), len(wanted[1])),
    )


def _encode_level(
    task: ChunkTask, step: int, pixels: NDArray[np.generic]
) -> tuple[list[Run], NDArray[np.uint32]]:
    """Encode a chunk's tiles of one level, row by row."""
    encoding, level = task.encoding, task.stage.levels[step]
    count, height, width = pixels.shape
    tile_size = level.tile_size
    planes = _planes(encoding.interleave, count)
    tile_rows, tile_cols = -(-height // tile_size), -(-width // tile_size)
    sizes = np.zeros((len(planes), tile_rows, tile_cols, len(planes[0])), np.uint32)
    first_plane = task.bands.start if encoding.planes else 0
    rows, cols = task.axes
    origin = (rows.own[step].start // tile_size, cols.own[step].start // tile_size)
    runs = []
    for plane, positions in enumerate(planes):
        for tile_row in range(tile_rows if tile_cols else 0):
            pieces: list[bytes] = []
            for tile_col in range(tile_cols):
                for index, bands in enumerate(positions):
                    tile = cut_tile(
                        pixels[bands],
                        tile_row * tile_size,
                        tile_col * tile_size,
                        tile_size,
                        encoding.predictor,
                    )
                    where = (level.index, origin[0] + tile_row, origin[1] + tile_col)
                    payload = _encode_tile(encoding, tile, where)
                    sizes[plane, tile_row, tile_col, index] = len(payload)
                    pieces += framed(payload)
            data = b"".join(pieces)
            runs.append(Run(level.index, first_plane + plane, tile_row, data))
    return runs, sizes


def _planes(interleave: str, count: int) -> list[list[slice]]:
    """Give the bands of each tile of a position, for each plane of the file.

    Examples
    --------
    >>> _planes("pixel", 3), len(_planes("band", 3)), len(_planes("tile", 3)[0])
    ([[slice(0, 3, None)]], 3, 3)
    """
    single = [slice(band, band + 1) for band in range(count)]
    if interleave == "pixel":
        return [[slice(0, count)]]
    if interleave == "tile":
        return [single]
    return [[bands] for bands in single]


def _encode_tile(
    encoding: Encoding, tile: NDArray[np.uint8], where: tuple[int, int, int]
) -> bytes:
    """Run the codec, and name the tile when it fails."""
    try:
        payload = encoding.codec.encode(tile, encoding.level)
    except Exception as error:  # whatever a codec raises, the tile is named
        reason = f"{encoding.codec.name}: {error}"
        raise TileEncodeError(*where, reason) from error
    if not payload:
        raise TileEncodeError(*where, f"{encoding.codec.name} gave no bytes")
    return payload


def framed(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """Put leader and trailer around a payload (GDAL COG driver, ghost area).

    Examples
    --------
    >>> framed(b"abcdef")
    (b'\\x06\\x00\\x00\\x00', b'abcdef', b'cdef')
    """
    trailer = payload[-TRAILER_BYTES:].ljust(TRAILER_BYTES, b"\0")
    return struct.pack("<I", len(payload)), payload, trailer


def _checksum(runs: Sequence[Run]) -> int:
    """CRC-32 over all runs of a chunk."""
    from imagecodecs import deflate_crc32  # noqa: PLC0415 - loaded where tiles are made

    value = 0
    for run in runs:
        value = int(deflate_crc32(run.data, value))
    return value
