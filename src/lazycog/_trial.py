"""Try codecs on samples of a raster, with the functions that write it."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog import codecs
from lazycog._advice import Advice, Figures, choose
from lazycog._encode import FRAME_BYTES, ChunkTask, encode_chunk
from lazycog._grid import Span, ceil_div
from lazycog._plan import LEADER_BYTES, plan_cog
from lazycog.errors import OptionError, TileEncodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from lazycog._advice import Candidate, Goal
    from lazycog._encode import EncodedChunk
    from lazycog._encoding import Encoding
    from lazycog._options import CogOptions
    from lazycog._plan import CogPlan
    from lazycog._write import Raster

SAMPLE_BYTES = 16 * 2**20
"""Raw pixels that are sampled, unless a number of samples is given."""
SAMPLE_COUNTS = (4, 64)
"""Fewest and most samples, then."""
TILES = 2
"""A sample has so many tiles on a side: they make one whole tile of the overview."""
WARM_SIDE = 64
"""Side of the first pixels, which let kernels compile and libraries load."""


@dataclass(frozen=True)
class Block:
    """Where a sample lies in the raster."""

    group: int
    """Of the bands that are encoded together."""
    bands: Span
    rows: Span
    cols: Span


@dataclass(frozen=True)
class Sample:
    """Pixels of a block."""

    group: int
    pixels: NDArray[Any]


@dataclass
class Tally:
    """What a sample came to with a candidate."""

    level_bytes: dict[int, int] = field(default_factory=dict)
    """Level -> encoded bytes, without leaders and trailers."""
    level_pixels: dict[int, int] = field(default_factory=dict)
    """Level -> pixels times bands."""
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    max_error: float = 0.0

    def count(self, task: ChunkTask, chunk: EncodedChunk) -> None:
        """Add the tiles of a chunk."""
        rows, cols = task.axes
        for step, level in enumerate(task.stage.levels):
            pixels = len(rows.own[step]) * len(cols.own[step]) * task.image_bands
            size = int(chunk.summary.sizes[level.index].sum())
            known = self.level_pixels.get(level.index, 0)
            self.level_pixels[level.index] = known + pixels
            known = self.level_bytes.get(level.index, 0)
            self.level_bytes[level.index] = known + size


def advise(
    raster: Raster,
    options: CogOptions,
    tried: Sequence[Candidate],
    goal: Goal,
    *,
    samples: int | None = None,
    threads: int = 1,
) -> Advice:
    """Measure candidates on samples, and choose one.

    Parameters
    ----------
    raster : Raster
        What is to be written; only the samples are read.
    options : CogOptions
        Tile size, interleave, predictor, nodata and overviews.
    tried : sequence of Candidate
        Codecs; one that cannot hold the raster is left out.
    goal : "size", "balance" or "speed"
        What matters.
    samples : int, optional
        Number of samples; by default as many as make 16 MiB, 4 at least.
    threads : int
        Samples at a time. Rates are those of one core, whatever it is.

    Returns
    -------
    Advice
        Sizes are the same in every run; rates are as measured.
    """
    plain = _plan(raster, raster.size, options)
    read = [_read(raster, block) for block in sample_blocks(plain, samples)]
    figures = []
    skipped: dict[str, str] = {}
    with ThreadPoolExecutor(min(threads, len(read))) as pool:
        for candidate in tried:
            try:
                trial = _Trial.of(raster, options, candidate, plain)
                trial.warm(read[0])
            except (OptionError, TileEncodeError) as error:
                skipped.setdefault(candidate.compress, str(error))
                continue
            figures.append(trial.figures(candidate, list(pool.map(trial.run, read))))
    figures.sort(key=lambda each: each.file_bytes)
    return Advice(
        goal=goal,
        raw_bytes=plain.raw_bytes,
        sampled_bytes=sum(each.pixels.nbytes for each in read),
        samples=len(read),
        figures=tuple(figures),
        chosen=choose(figures, goal),
        skipped=skipped,
    )


def sample_blocks(plan: CogPlan, samples: int | None) -> Iterator[Block]:
    """Spread samples evenly over a raster; the same for the same plan.

    Parameters
    ----------
    plan : CogPlan
        Of the raster.
    samples : int or None
        About how many.

    Yields
    ------
    Block
        Whole tiles, row by row; of bands that are stored one by one, another group
        in each block.
    """
    side = TILES * plan.levels[0].tile_size
    stage = plan.stages[0]
    if samples is None:
        fewest, most = SAMPLE_COUNTS
        raw = plan.itemsize * stage.band_group * side**2
        samples = min(most, max(fewest, SAMPLE_BYTES // raw))
    rows, cols = (ceil_div(each, side) for each in (plan.height, plan.width))
    down = min(rows, max(1, round(math.sqrt(samples * rows / cols))))
    across = min(cols, max(1, ceil_div(samples, down)))
    for number, (row, col) in enumerate(np.ndindex(down, across)):
        top = (2 * row + 1) * rows // (2 * down) * side
        left = (2 * col + 1) * cols // (2 * across) * side
        group = number % stage.groups
        yield Block(
            group,
            stage.bands(group),
            _even(Span(top, min(top + side, plan.height))),
            _even(Span(left, min(left + side, plan.width))),
        )


def _even(span: Span) -> Span:
    """Drop the last of an odd number, so that the overview is two by two."""
    return Span(span.start, max(span.stop - len(span) % 2, span.start + 1))


def _read(raster: Raster, block: Block) -> Sample:
    """Read the pixels of a sample, and its mask if there is one."""
    bands, rows, cols = (
        slice(span.start, span.stop) for span in (block.bands, block.rows, block.cols)
    )
    return Sample(block.group, np.ascontiguousarray(raster.pixels[bands, rows, cols]))


@dataclass(frozen=True)
class _Trial:
    """One candidate, on all samples."""

    raster: Raster
    options: CogOptions
    whole: CogPlan

    @classmethod
    def of(
        cls, raster: Raster, options: CogOptions, candidate: Candidate, plain: CogPlan
    ) -> _Trial:
        """Settle a candidate; refuse one that cannot hold the raster.

        Raises
        ------
        OptionError
            It would need a mask that is made of bands in several groups.
        """
        chosen = replace(options, **candidate.options, statistics=False)  # type: ignore[arg-type] # options of CogOptions' own types
        trial = cls(raster, chosen, _plan(raster, raster.size, chosen))
        if trial.whole.stages[0].groups != plain.stages[0].groups:
            raise OptionError(
                f"compress={candidate.compress!r} would need a mask made of all bands, "
                "which are sampled in groups; say nodata=None, or interleave='pixel'"
            )
        return trial

    def warm(self, sample: Sample) -> None:
        """Let kernels compile and libraries load, on a few pixels."""
        few = sample.pixels[:, :WARM_SIDE, :WARM_SIDE]
        self.run(replace(sample, pixels=np.ascontiguousarray(few)))

    def run(self, sample: Sample) -> Tally:
        """Encode and decode one sample, as a raster of its own."""
        _, height, width = sample.pixels.shape
        plan = _plan(self.raster, (height, width), self.options)
        stage = plan.stages[0]
        tally = Tally()
        for row, col in np.ndindex(stage.chunk_rows, stage.chunk_cols):
            task = ChunkTask(stage, plan.encoding, sample.group, row, col)
            rows, cols = (
                slice(each.need[0].start, each.need[0].stop) for each in task.axes
            )
            pixels = sample.pixels[:, rows, cols]
            start = time.thread_time()
            chunk = encode_chunk(task, pixels)
            tally.encode_seconds += time.thread_time() - start
            tally.count(task, chunk)
            _read_back(task, chunk, pixels, tally)
        return tally

    def figures(self, candidate: Candidate, tallies: Sequence[Tally]) -> Figures:
        """Put the samples together, and predict the file."""
        plan = self.whole
        rates = {
            level: sum(each.level_bytes.get(level, 0) for each in tallies)
            / sum(each.level_pixels.get(level, 0) for each in tallies)
            for level in {level for each in tallies for level in each.level_pixels}
        }
        size = plan.header_bytes + plan.alignment / 2
        for level in plan.levels:
            size += FRAME_BYTES * plan.tile_count(level)
            if plan.encoding.image.codec.is_plain:  # what pads a tile counts, too
                size += plan.image_tiles(level) * plan.tile_bytes(level)
                continue
            # overviews beyond the first are taken to be like it
            rate = rates.get(min(level.index, 1), rates[0])
            size += rate * level.height * level.width * plan.count
        raw = plan.itemsize * sum(each.level_pixels[0] for each in tallies)
        return Figures(
            candidate=candidate,
            file_bytes=round(size),
            ratio=plan.raw_bytes / size,
            encode_rate=raw / _seconds(each.encode_seconds for each in tallies),
            decode_rate=raw / _seconds(each.decode_seconds for each in tallies),
            max_error=max(each.max_error for each in tallies),
        )


def _plan(raster: Raster, size: tuple[int, int], options: CogOptions) -> CogPlan:
    return plan_cog(raster.description, size, options, mask_given=raster.mask_given)


def _seconds(parts: Iterable[float]) -> float:
    """Add up, never to nothing: a clock may not have ticked."""
    return max(sum(parts), 1e-9)


# --- back again -----------------------------------------------------------------------


def _read_back(
    task: ChunkTask, chunk: EncodedChunk, pixels: NDArray[Any], tally: Tally
) -> None:
    """Decode the tiles of the full resolution, and compare them with the source."""
    encoding = task.encoding
    first = task.bands.start if encoding.planes else 0
    side = task.stage.levels[0].tile_size
    rows, cols = task.axes
    own = pixels[:, rows.own_slice(0), cols.own_slice(0)]
    chosen = encoding.image
    for run in chunk.runs:
        if run.level:
            continue
        position = run.start
        sizes = chunk.summary.sizes[0][run.plane - first, run.tile_row]
        for (tile_col, index), size in np.ndenumerate(sizes):
            payload = chunk.data.read(
                position + LEADER_BYTES, position + LEADER_BYTES + int(size)
            )
            position += int(size) + FRAME_BYTES
            bands = _bands(encoding, run.plane - first, index)
            if bands.start >= task.image_bands:  # the mask
                continue
            start = time.thread_time()
            tile = codecs.decode(
                payload, (side, side, encoding.samples), encoding.dtype, chosen
            )
            tally.decode_seconds += time.thread_time() - start
            top, left = run.tile_row * side, tile_col * side
            wanted = own[bands, top : top + side, left : left + side]
            found = tile.transpose(2, 0, 1)[:, : wanted.shape[1], : wanted.shape[2]]
            tally.max_error = max(tally.max_error, _error(found, wanted, encoding))


def _bands(encoding: Encoding, plane: int, index: int) -> slice:
    """Give the bands of a tile within its chunk."""
    if encoding.interleave == "pixel":
        return slice(index * encoding.count, (index + 1) * encoding.count)
    band = plane if encoding.planes else index
    return slice(band, band + 1)


def _error(found: NDArray[Any], wanted: NDArray[Any], encoding: Encoding) -> float:
    """Give the largest error of a valid pixel."""
    wanted = wanted.astype(found.dtype)
    differs = found != wanted
    if wanted.dtype.kind in "fc":
        differs &= ~np.isnan(wanted)
    for nodata in (encoding.nodata, encoding.mask_nodata):
        if nodata is not None and not math.isnan(nodata):
            differs &= wanted != wanted.dtype.type(nodata)
    if not differs.any():
        return 0.0
    wide = np.complex128 if wanted.dtype.kind == "c" else np.float64
    errors = np.abs(found[differs].astype(wide) - wanted[differs].astype(wide))
    return float(errors.max())
