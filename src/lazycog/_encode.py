"""Encode one chunk: every tile of its levels, and the pixels that it hands up."""

from __future__ import annotations

import functools
import hashlib
import math
import struct
import sys
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from lazycog import codecs, resample
from lazycog._ahead import FirstRows
from lazycog._freed import FREED
from lazycog._grid import ceil_div, is_stalled
from lazycog._park import WaitingPixels
from lazycog._plan import LEADER_BYTES, TRAILER_BYTES, mask_bound
from lazycog._quantise import quantise
from lazycog._room import Room
from lazycog._statistics import tile_partials
from lazycog._tiles import cut_mask_tile, cut_tile
from lazycog.errors import InputError, TileEncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lazycog._encoding import Encoding
    from lazycog._file_range import FileRange
    from lazycog._grid import AxisChunk, Level, Span, Stage
    from lazycog._park import EncodedBytes
    from lazycog._parts import Section

HASH_BYTES = 16
"""Of a tile's BLAKE2: two of a trillion tiles meet by chance once in 10**14 files."""
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
    """Range in the bytes that hold it: leader, payload and trailer of each tile."""


@dataclass(frozen=True)
class Summary:
    """What the rest of the write needs to know about an encoded chunk."""

    sizes: Mapping[int, NDArray[np.uint32]]
    """Level -> byte counts, shape (plane, tile row, tile col, tile of position)."""
    hashes: Mapping[int, NDArray[np.uint8]] | None
    """Level -> BLAKE2 of each tile, shape (*sizes, 16); None unless shared."""
    checksum: int
    """CRC-32 of all runs, to notice a source that changes between runs."""
    partials: NDArray[np.float64] | None
    """Statistics per band and tile of level 0, None without statistics."""
    pixels: WaitingPixels | None
    """The chunk's piece of the level above the stage, None in the last stage."""
    starts: Mapping[Section, int] = field(default_factory=dict)
    """Where its first rows of tiles were written, if ahead of the others."""

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        partials = 0 if self.partials is None else self.partials.nbytes
        pixels = 0 if self.pixels is None else sys.getsizeof(self.pixels)
        return 512 + partials + pixels


@dataclass(frozen=True)
class EncodedChunk:
    """Result of an encode task."""

    data: EncodedBytes
    """Encoded bytes of all runs but those that go ahead."""
    runs: tuple[Run, ...]
    """All of them."""
    summary: Summary
    first: FirstRows | None = None
    """Encoded bytes of the runs that go ahead: each first row of tiles."""

    @property
    def encoded_bytes(self) -> int:
        """Bytes that will be written for this chunk."""
        return len(self.data) + (0 if self.first is None else len(self.first))

    @property
    def waiting_runs(self) -> tuple[Run, ...]:
        """Runs that do not go ahead."""
        if self.first is None:
            return self.runs
        return tuple(run for run in self.runs if run.tile_row)

    def run_data(self, run: Run) -> memoryview:
        """Give the bytes of one run."""
        return self.data.read(run.start, run.stop)

    def run_piece(self, run: Run, start: int, stop: int) -> memoryview | FileRange:
        """Give a part of one run, or say where it waits on disk."""
        return self.data.piece(run.start + start, run.start + stop)

    def __sizeof__(self) -> int:
        """Bytes in memory, which is what Dask's memory management asks for."""
        parts = (self.data, self.summary, self.first)
        return sum(sys.getsizeof(part) for part in parts)


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
    def image_bands(self) -> int:
        """Number of bands of the image in the chunk, its mask not among them."""
        return self.encoding.count if self.encoding.masked else len(self.bands)

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
    task: ChunkTask,
    pixels: NDArray[np.generic],
    park_folder: str | None = None,
    *,
    goes_ahead: bool = False,
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
    goes_ahead : bool
        Whether the first row of tiles of each level and plane is kept by itself.

    Returns
    -------
    EncodedChunk
        The same for the same pixels, wherever and whenever it is computed.
    """
    encoding, stage = task.encoding, task.stage
    rows, cols = task.axes
    pixels = _stored_pixels(task, pixels)
    base = pixels
    sizes: dict[int, NDArray[np.uint32]] = {}
    hashes: dict[int, NDArray[np.uint8]] = {}
    partials = None
    first, rest = _rooms(task, park_folder, goes_ahead=goes_ahead)
    with first, rest:
        writer = _TileWriter(task, first, rest)
        for step, level in enumerate(stage.levels):
            own = pixels[:, rows.own_slice(step), cols.own_slice(step)]
            if level.index == 0 and encoding.statistics:
                partials = _statistics(encoding, own, level.tile_size)
            sizes[level.index] = writer.encode_level(step, own)
            if encoding.deduplicate:
                hashes[level.index] = writer.hashes
            if step + 1 < len(rows.own):
                pixels = _reduce(task, pixels, base, step)
        summary = Summary(
            sizes,
            hashes or None,
            zlib.crc32(struct.pack("<I", rest.checksum), first.checksum),
            partials,
            WaitingPixels.keep(pixels, park_folder) if stage.handed_up else None,
        )
        kept = rest.finish()
        ahead = FirstRows(first.finish(), first.length) if goes_ahead else None
    FREED.give_back()
    return EncodedChunk(kept, tuple(writer.runs), summary, ahead)


def _rooms(
    task: ChunkTask, park_folder: str | None, *, goes_ahead: bool
) -> tuple[Room, Room]:
    """Reserve room for the tiles of a chunk: those that go ahead, and the others.

    Where none goes ahead, one room is both.
    """
    rows, cols = task.axes
    encoding = task.encoding
    total = largest = first = 0
    for step, level in enumerate(task.stage.levels):
        side = level.tile_size
        tile_rows = ceil_div(len(rows.own[step]), side)
        tile_cols = ceil_div(len(cols.own[step]), side)
        chosen = encoding.compression(level.index)
        image = chosen.bound(encoding.tile_bytes(side)) + FRAME_BYTES
        place = task.image_bands // encoding.samples * image
        if encoding.masked:
            place += mask_bound(side) + FRAME_BYTES
        total += tile_rows * tile_cols * place
        largest = max(largest, tile_cols * place)
        first += min(tile_rows, 1) * tile_cols * place
    if not goes_ahead:
        room = Room(total, largest, park_folder)
        return room, room
    # they wait for the chunk to the left alone, so nobody counts them
    return Room(first, first, None), Room(total - first, largest, park_folder)


def check_shape(pixels: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    """Refuse pixels of another shape than their array promised.

    Raises
    ------
    InputError
        The shape is another one.
    """
    if pixels.shape != shape:
        raise InputError(
            f"a chunk of the source has shape {pixels.shape} where its array promised "
            f"{shape} (band, row, col); mend the source's chunks or meta"
        )


def as_stored(
    pixels: NDArray[np.generic], stored: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Give pixels the dtype of the file, where that changes no value.

    Raises
    ------
    InputError
        Dask's meta was wrong, and a silent cast would change values.
    """
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    if pixels.dtype == stored:
        return pixels
    if pixels.dtype.newbyteorder("=") != stored:
        raise InputError(
            f"a chunk of the source has dtype {pixels.dtype} where its array "
            f"promised {stored}; mend the source's meta or add .astype({stored})"
        )
    return pixels.astype(stored)


def _stored_pixels(task: ChunkTask, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Check a chunk and give it the type and the missing value of the file."""
    check_shape(pixels, task.shape)
    encoding = task.encoding
    stored = np.dtype(encoding.dtype)
    pixels = as_stored(pixels, stored)
    if task.stage.index:
        return np.ascontiguousarray(pixels)
    if encoding.fill_nan:
        missing = np.isnan(pixels)
        if missing.any():
            pixels = np.where(missing, stored.type(encoding.nodata), pixels)
    if encoding.mask_nodata is not None:
        pixels = _with_mask(encoding, pixels)
    return np.ascontiguousarray(pixels)


def _with_mask(encoding: Encoding, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Put the mask behind the bands: valid where any band has a valid pixel.

    So does GDAL's dataset mask (rasterio's ``dataset_mask``).
    """
    image = pixels[: encoding.count]
    missing = image == pixels.dtype.type(encoding.mask_nodata)
    if pixels.dtype.kind == "f":
        missing |= np.isnan(image)
    valid = ~missing.all(axis=0)
    if encoding.mask_given:
        valid &= pixels[-1] != 0
    return np.concatenate([image, valid[np.newaxis].astype(pixels.dtype)])


def _valid(encoding: Encoding, pixels: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """Say where mask or alpha let pixels count; None without either."""
    band = encoding.count if encoding.masked else encoding.alpha
    return None if band is None else np.not_equal(pixels[band], 0)


def _statistics(
    encoding: Encoding, pixels: NDArray[np.generic], tile_size: int
) -> NDArray[np.float64]:
    """Summarise each band; an alpha band counts everywhere, as in GDAL."""
    image = pixels[: encoding.count]
    partials = tile_partials(
        image, tile_size, encoding.nodata, _valid(encoding, pixels)
    )
    if encoding.alpha is not None and not encoding.masked:
        alone = slice(encoding.alpha, encoding.alpha + 1)
        partials[alone] = tile_partials(image[alone], tile_size, encoding.nodata)
    return partials


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
    geometry = Geometry(
        source_size=source.size,
        target_size=target.size,
        source_origin=(rows.need[step].start, cols.need[step].start),
        target_origin=(wanted[0].start, wanted[1].start),
        target_shape=(len(wanted[0]), len(wanted[1])),
    )
    return _reduce_bands(task.encoding, pixels, geometry)


class Geometry(TypedDict):
    """Where a piece lies in two levels, as resample takes it."""

    source_size: tuple[int, int]
    target_size: tuple[int, int]
    source_origin: tuple[int, int]
    target_origin: tuple[int, int]
    target_shape: tuple[int, int]


def _reduce_bands(
    encoding: Encoding,
    pixels: NDArray[np.generic],
    geometry: Geometry,
) -> NDArray[np.generic]:
    """Make a piece of the next level, of the image, its alpha band and its mask."""
    reduce = functools.partial(
        resample.reduce, resampling=encoding.resampling, nodata=encoding.nodata
    )
    if encoding.masked:
        image, valid = pixels[: encoding.count], pixels[encoding.count] != 0
        mask = resample.reduce_mask(valid, resampling=encoding.resampling, **geometry)
        bands = mask[np.newaxis].astype(pixels.dtype)
        return np.concatenate([reduce(image, valid=valid, **geometry), bands])
    if encoding.alpha is None:
        return reduce(pixels, **geometry)
    alone = slice(encoding.alpha, encoding.alpha + 1)
    alpha = pixels[encoding.alpha]
    own = resample.own_opacity(alpha, encoding.resampling)
    reduced = reduce(pixels, valid=resample.opacity(alpha), **geometry)
    reduced[alone] = reduce(pixels[alone], valid=own, **geometry)
    return reduced


@dataclass
class _TileWriter:
    """Encodes tile after tile into one buffer, leader and trailer in place."""

    task: ChunkTask
    first: Room
    """Takes the first row of tiles of each level and plane."""
    rest: Room
    runs: list[Run] = field(default_factory=list)
    hashes: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    """Of the tiles of the level that was encoded last."""

    def __post_init__(self) -> None:
        self.room = self.first

    def encode_level(
        self, step: int, pixels: NDArray[np.generic]
    ) -> NDArray[np.uint32]:
        """Encode the chunk's tiles of one level, plane by plane and row by row.

        Returns
        -------
        ndarray, shape (plane, tile row, tile col, tile of position)
            Byte counts, 0 for a tile that is left out.
        """
        level = self.task.stage.levels[step]
        encoding = self.task.encoding
        side = level.tile_size
        _, height, width = pixels.shape
        planes = _planes(
            encoding.interleave, self.task.image_bands, masked=encoding.masked
        )
        shape = (len(planes), -(-height // side), -(-width // side), len(planes[0]))
        sizes = np.zeros(shape, np.uint32)
        self.hashes = np.zeros((*shape, HASH_BYTES), np.uint8)
        scratch = np.empty((side, side, encoding.samples), dtype=pixels.dtype)
        first_plane = self.task.bands.start if encoding.planes else 0
        for plane, tile_row in np.ndindex(shape[:2]):
            self.room = self.rest if tile_row else self.first
            start = self.room.length
            top = tile_row * side
            strips = [
                self._strip(level, pixels[each, top : top + side])
                for each in planes[plane]
            ]
            for tile_col, index in np.ndindex(shape[2:]):
                where = (step, tile_row, tile_col)
                is_mask = planes[plane][index].start == encoding.count
                encode = self._encode_mask_tile if is_mask else self._encode_tile
                size = encode(where, strips[index], scratch)
                sizes[plane, tile_row, tile_col, index] = size
                if size and encoding.deduplicate:
                    payload = self.room.last(size + TRAILER_BYTES)[:size]
                    digest = hashlib.blake2b(payload, digest_size=HASH_BYTES).digest()
                    self.hashes[plane, tile_row, tile_col, index] = bytearray(digest)
            self.room.end_run()
            self.runs.append(
                Run(level.index, first_plane + plane, tile_row, start, self.room.length)
            )
        return sizes

    def _strip(self, level: Level, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Give a row of tiles of some bands, rounded where the caller allows it."""
        encoding = self.task.encoding
        chosen = encoding.compression(level.index)
        if not chosen.quantises:
            return pixels
        return quantise(pixels, chosen.max_z_error, encoding.nodata)

    def _encode_tile(
        self,
        where: tuple[int, int, int],
        strip: NDArray[np.generic],
        scratch: NDArray[np.generic],
    ) -> int:
        """Append one tile of the image; name it when the codec fails."""
        encoding = self.task.encoding
        step, _, tile_col = where
        side = scratch.shape[0]
        left = tile_col * side
        if encoding.sparse and _is_empty(strip[:, :, left : left + side], encoding):
            return 0
        chosen = encoding.compression(self.task.stage.levels[step].index)
        tile = cut_tile(
            strip, 0, left, scratch, chosen.predictor, repeat_edge=not chosen.lossless
        )
        pixels = scratch if chosen.codec.takes_pixels else tile
        payload = self.room.free[LEADER_BYTES:].data
        try:
            size = codecs.encode(pixels, payload, chosen)
        except Exception as error:  # whatever a codec raises, the tile is named
            raise self._failed(where, chosen.codec.name, str(error)) from error
        if not size:
            raise self._failed(where, chosen.codec.name, "it gave no bytes")
        return self._framed(size)

    def _encode_mask_tile(
        self,
        where: tuple[int, int, int],
        strip: NDArray[np.generic],
        scratch: NDArray[np.generic],
    ) -> int:
        """Append one tile of the mask: a bit per pixel, deflated."""
        side = scratch.shape[0]
        left = where[2] * side
        tile = strip[0, :, left : left + side]
        bits = cut_mask_tile(tile, side)
        # GDAL looks for empty bits in tiles of full width alone (gdal_misc.cpp,
        # GDALBufferHasOnlyNoData)
        whole = tile.shape[1] == side
        if self.task.encoding.sparse and whole and not bits.any():
            return 0
        payload = self.room.free[LEADER_BYTES:].data
        return self._framed(codecs.encode_mask(bits, payload))

    def _framed(self, size: int) -> int:
        """Put leader and trailer around the payload that was just written."""
        frame(self.room.free, size)
        self.room.take(FRAME_BYTES + size)
        return size

    def _failed(
        self, where: tuple[int, int, int], codec: str, reason: str
    ) -> TileEncodeError:
        step, tile_row, tile_col = where
        rows, cols = self.task.axes
        level = self.task.stage.levels[step]
        row = rows.own[step].start // level.tile_size + tile_row
        col = cols.own[step].start // level.tile_size + tile_col
        return TileEncodeError(level.index, row, col, f"{codec}: {reason}")


def _is_empty(tile: NDArray[np.generic], encoding: Encoding) -> bool:
    """Whether a tile holds only what GDAL gives for one that is left out."""
    if encoding.nodata is None:
        return not tile.any()
    if math.isnan(encoding.nodata):
        return bool(np.isnan(tile).all())
    return bool((tile == tile.dtype.type(encoding.nodata)).all())


def _planes(interleave: str, count: int, *, masked: bool = False) -> list[list[slice]]:
    """Give the bands of each tile of a position, for each plane of the file.

    The mask is the last tile of each position, and a plane of its own behind planes.

    Examples
    --------
    >>> _planes("pixel", 3), len(_planes("band", 3)), len(_planes("tile", 3)[0])
    ([[slice(0, 3, None)]], 3, 3)
    >>> _planes("pixel", 3, masked=True)
    [[slice(0, 3, None), slice(3, 4, None)]]
    """
    single = [slice(band, band + 1) for band in range(count)]
    mask = [slice(count, count + 1)] * masked
    if interleave == "pixel":
        return [[slice(0, count), *mask]]
    if interleave == "tile":
        return [[*single, *mask]]
    return [[bands] for bands in (*single, *mask)]


def frame(buffer: NDArray[np.uint8], size: int) -> None:
    r"""Put leader and trailer around a payload (GDAL COG driver, ghost area).

    Examples
    --------
    >>> buffer = np.frombuffer(bytearray(b"....abcdef...."), dtype=np.uint8)
    >>> frame(buffer, 6)
    >>> buffer.tobytes()
    b'\x06\x00\x00\x00abcdefcdef'
    """
    start = LEADER_BYTES
    struct.pack_into("<I", buffer.data, 0, size)
    last = buffer[max(start, start + size - TRAILER_BYTES) : start + size]
    trailer = buffer[start + size : start + size + TRAILER_BYTES]
    trailer[: len(last)] = last
    trailer[len(last) :] = 0
