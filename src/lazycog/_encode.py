"""Encode one chunk: every tile of its levels, and the pixels that it hands up."""

from __future__ import annotations

import mmap
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lazycog import resample
from lazycog._grid import is_stalled
from lazycog._park import EncodedBytes, return_free_memory
from lazycog._plan import LEADER_BYTES, TRAILER_BYTES
from lazycog._statistics import tile_partials
from lazycog._tiles import cut_tile
from lazycog.errors import InputError, TileEncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lazycog._grid import AxisChunk, Span, Stage
    from lazycog._plan import Encoding

FRAME_BYTES = LEADER_BYTES + TRAILER_BYTES
"""What a tile takes in the file beyond its byte count."""


@dataclass(frozen=True)
class Run:
    """Encoded tiles of a chunk that stand next to each other in the file."""

    level: int
    plane: int
    tile_row: int
    """Row of the run within the chunk."""
    start: int
    stop: int
    """Range in the chunk's encoded bytes: leader, payload and trailer of each tile."""


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

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return 512 + sum(
            0 if each is None else each.nbytes for each in (self.pixels, self.partials)
        )


@dataclass(frozen=True)
class EncodedChunk:
    """Result of an encode task."""

    data: EncodedBytes
    """Encoded bytes of all runs."""
    runs: tuple[Run, ...]
    summary: Summary

    @property
    def encoded_bytes(self) -> int:
        """Bytes that will be written for this chunk."""
        return len(self.data)

    def run_data(self, run: Run) -> memoryview:
        """Give the bytes of one run."""
        return self.data.read(run.start, run.stop)

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        return sys.getsizeof(self.data) + sys.getsizeof(self.summary)


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


def encode_chunk(
    task: ChunkTask, pixels: NDArray[np.generic], park_folder: str | None = None
) -> EncodedChunk:
    """Encode the tiles of every level of a chunk.

    Parameters
    ----------
    task : ChunkTask
        Which chunk, and how.
    pixels : ndarray, shape (band, height, width)
        The chunk with its halo; never changed.
    park_folder : str or None
        Where encoded bytes go when too many wait in memory.

    Returns
    -------
    EncodedChunk
        The same for the same pixels, wherever and whenever it is computed.
    """
    encoding, stage = task.encoding, task.stage
    rows, cols = task.axes
    pixels = _stored_pixels(task, pixels)
    base = pixels
    writer = _TileWriter.of(task)
    sizes: dict[int, NDArray[np.uint32]] = {}
    partials = None
    for step, level in enumerate(stage.levels):
        own = pixels[:, rows.own_slice(step), cols.own_slice(step)]
        if level.index == 0 and encoding.statistics:
            partials = tile_partials(own, level.tile_size, encoding.nodata)
        sizes[level.index] = writer.encode_level(step, own)
        if step + 1 < len(rows.own):
            pixels = _reduce(task, pixels, base, step)
    data = writer.buffer[: writer.position]
    summary = Summary(
        sizes, _checksum(data), partials, pixels if stage.handed_up else None
    )
    kept = EncodedBytes.keep(data, park_folder)
    return_free_memory()
    return EncodedChunk(kept, tuple(writer.runs), summary)


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
    task: ChunkTask, pixels: NDArray[np.generic], base: NDArray[np.generic], step: int
) -> NDArray[np.generic]:
    """Make the chunk's piece of the level after `step`."""
    rows, cols = task.axes
    source, target = task.stage.all_levels[step : step + 2]
    full = task.stage.levels[0]
    whole = full.index == 0 and base.shape[1:] == full.size
    if is_stalled(source, target) and whole:
        # narrow rasters are planned as one chunk for it
        pixels, source, step = base, full, 0
    wanted = (
        rows.need[target.index - task.stage.levels[0].index],
        cols.need[target.index - task.stage.levels[0].index],
    )
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


@dataclass
class _TileWriter:
    """Encodes tile after tile into one buffer, leader and trailer in place."""

    task: ChunkTask
    buffer: NDArray[np.uint8]
    position: int
    runs: list[Run]

    @classmethod
    def of(cls, task: ChunkTask) -> _TileWriter:
        """Reserve room for every tile of the chunk.

        The room comes straight from the system: pages that stay unused cost nothing,
        and the whole goes back when the chunk is placed, whatever the heap looks like.
        """
        rows, cols = task.axes
        itemsize = np.dtype(task.encoding.dtype).itemsize
        samples = 1 if task.encoding.samples_are_tiles else len(task.bands)
        room = 0
        for step, level in enumerate(task.stage.levels):
            side = level.tile_size
            tiles = -(-len(rows.own[step]) // side) * -(-len(cols.own[step]) // side)
            bound = task.encoding.codec.bound(side**2 * itemsize * samples)
            room += tiles * len(task.bands) // samples * (bound + FRAME_BYTES)
        buffer = np.frombuffer(mmap.mmap(-1, max(room, 1)), dtype=np.uint8)
        return cls(task, buffer, 0, [])

    def encode_level(
        self, step: int, pixels: NDArray[np.generic]
    ) -> NDArray[np.uint32]:
        """Encode the chunk's tiles of one level, plane by plane and row by row.

        Returns
        -------
        ndarray, shape (plane, tile row, tile col, tile of position)
            Byte counts.
        """
        level = self.task.stage.levels[step]
        side = level.tile_size
        count, height, width = pixels.shape
        planes = _planes(self.task.encoding.interleave, count)
        shape = (len(planes), -(-height // side), -(-width // side), len(planes[0]))
        sizes = np.zeros(shape, np.uint32)
        samples = planes[0][0].stop - planes[0][0].start
        scratch = np.empty((side, side, samples), dtype=pixels.dtype)
        first_plane = self.task.bands.start if self.task.encoding.planes else 0
        for plane, tile_row in np.ndindex(shape[:2]):
            start = self.position
            for tile_col, index in np.ndindex(shape[2:]):
                sizes[plane, tile_row, tile_col, index] = self._encode_tile(
                    step, pixels[planes[plane][index]], (tile_row, tile_col), scratch
                )
            self.runs.append(
                Run(level.index, first_plane + plane, tile_row, start, self.position)
            )
        return sizes

    def _encode_tile(
        self,
        step: int,
        pixels: NDArray[np.generic],
        where: tuple[int, int],
        scratch: NDArray[np.generic],
    ) -> int:
        """Append one tile; name it when the codec fails."""
        encoding = self.task.encoding
        side = scratch.shape[0]
        tile = cut_tile(
            pixels, where[0] * side, where[1] * side, scratch, encoding.predictor
        )
        payload = memoryview(self.buffer)[self.position + LEADER_BYTES :]
        try:
            size = encoding.codec.encode(tile, payload, encoding.level)
        except Exception as error:  # whatever a codec raises, the tile is named
            raise self._failed(step, where, str(error)) from error
        if not size:
            raise self._failed(step, where, "it gave no bytes")
        frame(self.buffer, self.position, size)
        self.position += FRAME_BYTES + size
        return size

    def _failed(
        self, step: int, where: tuple[int, int], reason: str
    ) -> TileEncodeError:
        rows, cols = self.task.axes
        level = self.task.stage.levels[step]
        row = rows.own[step].start // level.tile_size + where[0]
        col = cols.own[step].start // level.tile_size + where[1]
        name = self.task.encoding.codec.name
        return TileEncodeError(level.index, row, col, f"{name}: {reason}")


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


def frame(buffer: NDArray[np.uint8], position: int, size: int) -> None:
    r"""Put leader and trailer around a payload (GDAL COG driver, ghost area).

    Examples
    --------
    >>> buffer = np.frombuffer(bytearray(b"....abcdef...."), dtype=np.uint8)
    >>> frame(buffer, 0, 6)
    >>> buffer.tobytes()
    b'\x06\x00\x00\x00abcdefcdef'
    """
    start = position + LEADER_BYTES
    struct.pack_into("<I", buffer.data, position, size)
    last = buffer[max(start, start + size - TRAILER_BYTES) : start + size]
    trailer = buffer[start + size : start + size + TRAILER_BYTES]
    trailer[: len(last)] = last
    trailer[len(last) :] = 0


def _checksum(data: NDArray[np.uint8]) -> int:
    """CRC-32 over all runs of a chunk."""
    from imagecodecs import deflate_crc32  # noqa: PLC0415 - loaded where tiles are made

    return int(deflate_crc32(data))
