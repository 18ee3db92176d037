"""Reprojection of one block of a raster, unit by unit, with odc-geo."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lazycog._windows import Box, Unit, Warp

Block = NDArray[np.generic]
Role = Literal["plain", "checked", "valid", "covered"]
"""What a block holds: pixels, pixels of which some are invalid, whether they are valid,
or where the source is at all."""


@dataclass(frozen=True)
class BlockTask:
    """How to make one block of the target."""

    warp: Warp
    units: tuple[Unit, ...]
    box: Box
    count: int
    """Number of bands."""
    dtype: str
    role: Role
    places: tuple[tuple[int, int, int], ...] = ()
    """First band, row and column of each piece of the pixels."""
    valid_places: tuple[tuple[int, int, int], ...] = ()
    """The same of the band that says which pixels are valid."""
    valid_band: int = 0
    """Its index in those pieces."""
    alpha: int | None = None
    """Band of the block that is taken as it is, since it is what the others obey."""


def warp_block(task: BlockTask, *pieces: Block) -> Block:
    """Reproject one block.

    Parameters
    ----------
    task : BlockTask
        What to make.
    *pieces : ndarray, shape (band, height, width)
        Chunks of the source: those of the pixels, then those that say where they are
        valid.

    Returns
    -------
    ndarray, shape (band, height, width)
        The block.
    """
    _quieten()
    top, bottom, left, right = task.box
    fill = task.warp.nodata or 0
    if task.role in {"valid", "covered"}:
        fill = 0
    out = np.full((task.count, bottom - top, right - left), fill, dtype=task.dtype)
    own = pieces[: len(task.places)]
    checks = pieces[len(task.places) :]
    with rasterio.Env(CHECK_WITH_INVERT_PROJ="YES"):
        for unit in task.units:
            if unit.source[0] == unit.source[1]:
                continue
            rows = slice(unit.target[0] - top, unit.target[1] - top)
            cols = slice(unit.target[2] - left, unit.target[3] - left)
            valid = None
            if task.valid_places:
                window = _window(
                    unit.source, task.valid_band, task.valid_places, checks
                )
                valid = window != 0
            for band in range(task.count):
                pixels = (
                    None
                    if task.role == "covered"
                    else _window(unit.source, band, task.places, own)
                )
                obeyed = None if band == task.alpha else valid
                out[band, rows, cols] = _warp_unit(task, unit, pixels, obeyed)
    return out


def _quieten() -> None:
    """Keep rasterio from warning of its own arrays, which have no place at first.

    It does so itself, but not safely where several threads reproject.
    """
    warnings.filterwarnings(
        "ignore", category=NotGeoreferencedWarning, module=r"rasterio\.warp"
    )


def _window(
    box: Box,
    band: int,
    places: Iterable[tuple[int, int, int]],
    pieces: Iterable[Block],
) -> Block:
    """Put a window of one band together from pieces of the source.

    Raises
    ------
    InputError
        A piece is a masked array, whose mask would be lost.
    """
    top, bottom, left, right = box
    out: Block | None = None
    for (first, row, col), piece in zip(places, pieces, strict=True):
        if isinstance(piece, np.ma.MaskedArray):
            raise InputError(
                "a chunk of the source is a numpy.ma.MaskedArray; fill it first, for "
                "example dask.array.ma.filled(array, nodata)"
            )
        count, height, width = piece.shape
        low, high = max(top, row), min(bottom, row + height)
        start, stop = max(left, col), min(right, col + width)
        if not first <= band < first + count or low >= high or start >= stop:
            continue
        if out is None:
            out = np.empty((bottom - top, right - left), dtype=piece.dtype)
        out[low - top : high - top, start - left : stop - left] = piece[
            band - first, low - row : high - row, start - col : stop - col
        ]
    if out is None:
        raise InputError(
            f"the source has no pixels for rows {top} to {bottom}, columns {left} to "
            f"{right}; its chunks differ from what it announced"
        )
    return out


def _warp_unit(
    task: BlockTask, unit: Unit, pixels: Block | None, valid: NDArray[np.bool_] | None
) -> Block:
    """Reproject one band of a unit."""
    height = unit.source[1] - unit.source[0]
    width = unit.source[3] - unit.source[2]
    if task.role in {"valid", "covered"}:
        there = np.ones((height, width), dtype=np.uint8)
        if pixels is not None:
            there = (pixels != 0).astype(np.uint8)
        return _reproject(task.warp, unit, there, "nearest", None).astype(task.dtype)
    if pixels is None:
        raise ValueError(f"role {task.role!r} needs pixels")
    kernel, nodata = task.warp.kernel, task.warp.nodata
    if valid is None:
        work = pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels
        return _reproject(task.warp, unit, work, kernel, nodata).astype(task.dtype)
    return _warp_checked(task, unit, pixels, valid)


def _warp_checked(
    task: BlockTask, unit: Unit, pixels: Block, valid: NDArray[np.bool_]
) -> Block:
    """Reproject pixels some of which are invalid: as NaN, which no kernel takes in."""
    if pixels.dtype.kind == "c":
        halves = [
            _warp_checked_real(task, unit, half, valid)
            for half in (pixels.real, pixels.imag)
        ]
        return (halves[0] + 1j * halves[1]).astype(task.dtype)
    result = _warp_checked_real(task, unit, pixels, valid)
    if pixels.dtype.kind in "uib":
        kind = np.dtype("uint8" if pixels.dtype.kind == "b" else task.dtype)
        limits = np.iinfo(kind.name)
        result = np.clip(np.floor(result + 0.5), limits.min, limits.max)
    return result.astype(task.dtype)


def _warp_checked_real(
    task: BlockTask, unit: Unit, pixels: Block, valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    if task.warp.nodata is not None:
        valid = valid & (pixels != task.warp.nodata)
    work = np.where(valid, pixels.astype(np.float64), np.nan)
    result = _reproject(task.warp, unit, work, task.warp.kernel, math.nan)
    return np.where(np.isnan(result), task.warp.nodata or 0, result)


def _reproject(
    warp: Warp, unit: Unit, pixels: Block, kernel: str, nodata: float | None
) -> Block:
    from odc.geo.warp import rio_reproject

    height = unit.target[1] - unit.target[0]
    width = unit.target[3] - unit.target[2]
    out = np.zeros((height, width), dtype=pixels.dtype)
    x_scale, y_scale = warp.scale
    result: Block = rio_reproject(
        pixels,
        out,
        warp.source.geobox(unit.source),
        warp.target.geobox(unit.target),
        "cubic_spline" if kernel == "cubicspline" else kernel,
        nodata,
        0 if nodata is None else nodata,
        XSCALE=x_scale,
        YSCALE=y_scale,
    )
    return result
