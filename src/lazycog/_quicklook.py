"""A small 8-bit picture of a raster of any size, georeferenced."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from lazycog import _decimate, _reader
from lazycog._decimate import Coarse, Piece
from lazycog._gdal_io import read_mask
from lazycog._georef import IDENTITY
from lazycog._look import COLOURS, FULL
from lazycog._opened import describe
from lazycog.errors import InputError, OptionError, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from lazycog._fetch import Pixels
    from lazycog._georef import Description
    from lazycog._look import Look
    from lazycog._opened import Source
    from lazycog._write import Raster

DRIVERS: Mapping[str, str] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".jp2": "JP2OpenJPEG",
}
OPAQUE = frozenset({"JPEG"})
"""Drivers that know no transparency."""
COLOUR_ALONE = frozenset({"WEBP"})
"""Drivers that know no grey."""
LOSSLESS: Mapping[str, Mapping[str, str]] = {
    "JP2OpenJPEG": {"REVERSIBLE": "YES", "QUALITY": "100"},
}
"""Creation options where no quality is asked for."""
WHITE = (255, 255, 255)
COLOUR_BANDS = frozenset({3, 4})
"""Rasters of so many bands are taken for colour pictures."""


def draw(raster: Raster, dst: str | os.PathLike[str], look: Look) -> Path:
    """Draw a raster.

    Parameters
    ----------
    raster : Raster
        Lazy or not. Of a file that was opened by :func:`lazycog.open_cog`, the smallest
        level that suffices is read.
    dst : path
        Its suffix chooses the format.
    look : Look
        How it is to look.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    InputError
        The raster has no such band.
    OptionError
        The format is unknown, or does not go with an option.
    SinkError
        The picture cannot be written.
    """
    driver = _driver(os.fspath(dst), look)
    path = Path(dst)
    if not path.parent.is_dir():
        raise SinkError(
            errno.ENOENT,
            "the picture's folder does not exist; make it first",
            str(path.parent),
        )
    indexes = _indexes(raster.description, look.bands)
    height, width = raster.size
    pixels, mask = _smaller(raster.pixels, look.size)
    coarse = Coarse.fitting(int(pixels.shape[1]), int(pixels.shape[2]), look.size)
    means, valid = shrink(
        pixels[indexes], coarse, nodata=raster.description.nodata, mask=mask
    )
    picture = stretched(means, valid, look)
    transform = Affine(*raster.description.transform) @ Affine.scale(
        width / coarse.cols, height / coarse.rows
    )
    _write(
        path,
        *_composed(picture, np.any(valid, axis=0, keepdims=True)[0], driver, look),
        driver=driver,
        place=_place(raster.description, transform),
        quality=look.quality,
    )
    return path


# --- what is asked for --------------------------------------------------------------


def _driver(name: str, look: Look) -> str:
    driver = DRIVERS.get(Path(name).suffix.lower())
    if driver is None or "://" in name:
        raise OptionError(
            f"{name}: a picture is a local file that ends in {', '.join(DRIVERS)}"
        )
    if look.quality is not None and driver == "PNG":
        raise OptionError(f"quality={look.quality}: a PNG has no quality; leave it out")
    return driver


def _indexes(description: Description, bands: Sequence[int | str] | None) -> list[int]:
    """Turn 1-based numbers and names into indexes."""
    count = description.count
    if bands is None:
        return list(range(COLOURS if count in COLOUR_BANDS else 1))
    names = [each.description for each in description.bands]
    indexes = []
    for band in bands:
        if isinstance(band, str) and band in names:
            indexes.append(names.index(band))
        elif str(band).isdecimal() and 1 <= int(band) <= count:
            indexes.append(int(band) - 1)
        else:
            listed = ", ".join(name for name in names if name)
            raise InputError(
                f"no band {band!r}: bands are numbered 1 to {count}"
                + (f", and called {listed}" if listed else "")
            )
    return indexes


def _smaller(pixels: Any, size: int) -> tuple[Any, Source | None]:  # noqa: ANN401 - Dask's or NumPy's
    """Take the smallest level that suffices where the pixels are those of a file."""
    source = _reader.source_of(pixels)
    if source is None:
        return pixels, None
    level = source.pixels.level
    for index in range(level + 1, len(source.sizes)):
        if max(source.sizes[index]) >= size:
            level = index
    if level != source.pixels.level:
        opened = source.pixels
        source = describe(opened.location, opened.version, level)
        pixels = _reader.lazy_pixels(source, "auto")
    return pixels, source if source.masked else None


# --- few pixels from many -----------------------------------------------------------


def shrink(
    pixels: Any,  # noqa: ANN401 - Dask's or NumPy's
    coarse: Coarse,
    *,
    nodata: float | None,
    mask: Source | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Average an array to a coarse grid, reading every chunk once.

    Parameters
    ----------
    pixels : dask.array.Array or ndarray, shape (band, height, width)
        The raster.
    coarse : Coarse
        The grid.
    nodata : int, float or None
        Value of pixels without data.
    mask : Source, optional
        File whose mask says which pixels are valid.

    Returns
    -------
    means : ndarray, shape (band, row, col)
        0 where there is none.
    valid : ndarray of bool, of the same shape
        True where a valid pixel was.
    """
    count = int(pixels.shape[0])
    reduce = functools.partial(
        _reduced,
        coarse=coarse,
        nodata=nodata,
        mask=None if mask is None else mask.pixels,
    )
    if not isinstance(pixels, dask.array.Array):
        pieces = [reduce(np.asarray(pixels), (0, 0, 0))]
        return _decimate.add_up(pieces, count, coarse)
    starts = [np.cumsum([0, *sizes[:-1]]) for sizes in pixels.chunks]
    blocks = pixels.to_delayed()
    reduce, merge = dask.delayed(reduce, pure=True), dask.delayed(_decimate.merge)
    rows = [
        merge(
            [
                reduce(blocks[band, row, col], _origin(starts, (band, row, col)))
                for band in range(blocks.shape[0])
                for col in range(blocks.shape[2])
            ],
            count,
            coarse,
        )
        for row in range(blocks.shape[1])
    ]
    return _decimate.add_up(dask.compute(*rows), count, coarse)


def _origin(
    starts: Sequence[NDArray[np.intp]], block: tuple[int, ...]
) -> tuple[int, ...]:
    return tuple(int(each[index]) for each, index in zip(starts, block, strict=True))


def _reduced(
    pixels: NDArray[Any],
    origin: tuple[int, int, int],
    *,
    coarse: Coarse,
    nodata: float | None,
    mask: Pixels | None,
) -> Piece:
    read = None
    if mask is not None:
        read = functools.partial(read_mask, mask)
    return _decimate.reduce_block(pixels, origin, coarse, nodata, read)


# --- 8 bits -------------------------------------------------------------------------


def stretched(
    means: NDArray[np.float64], valid: NDArray[np.bool_], look: Look
) -> NDArray[np.uint8]:
    """Bring every band to 0..255.

    Parameters
    ----------
    means : ndarray, shape (band, row, col)
        Pixels.
    valid : ndarray of bool, of the same shape
        Which of them count; the others become 0.
    look : Look
        Says between what.

    Returns
    -------
    ndarray, of the same shape
        Rounded, and cut off at both ends.
    """
    result = np.zeros(means.shape, np.uint8)
    for band, known, target in zip(means, valid, result, strict=True):
        values = band[known]
        if not values.size:
            continue
        low, high = _ends(values, look)
        scaled = (values - low) * (FULL / ((high - low) or 1.0))
        scaled = np.clip(scaled, 0, FULL)
        if look.gamma != 1:
            scaled = FULL * (scaled / FULL) ** (1 / look.gamma)
        target[known] = scaled.round()
    return result


def _ends(values: NDArray[np.float64], look: Look) -> tuple[float, float]:
    """Give what becomes 0 and 255."""
    if look.stretch is None:
        return 0.0, float(FULL)
    if look.stretch == "minmax":
        return float(values.min()), float(values.max())
    low, high = np.percentile(values, look.percentiles)
    return float(low), float(high)


def _composed(
    picture: NDArray[np.uint8], valid: NDArray[np.bool_], driver: str, look: Look
) -> tuple[NDArray[np.uint8], list[ColorInterp]]:
    """Add transparency, or paint what is missing."""
    background = look.background
    if background is None and driver in OPAQUE and not valid.all():
        background = WHITE
    coloured = background is not None and len(set(background)) > 1
    if len(picture) == 1 and (coloured or driver in COLOUR_ALONE):
        picture = np.repeat(picture, COLOURS, axis=0)
    kinds = [ColorInterp.gray]
    if len(picture) == COLOURS:
        kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    if background is not None:
        colour = np.array(background[: len(picture)], np.uint8)
        return np.where(valid, picture, colour[:, np.newaxis, np.newaxis]), kinds
    if driver in OPAQUE:
        return picture, kinds
    alpha = np.where(valid, FULL, 0).astype(np.uint8)
    return np.concatenate([picture, alpha[np.newaxis]]), [*kinds, ColorInterp.alpha]


# --- the file -----------------------------------------------------------------------


def _place(description: Description, transform: Affine) -> dict[str, Any]:
    """Say where the picture is, if the raster does."""
    place: dict[str, Any] = {}
    if description.crs_wkt is not None:
        place["crs"] = description.crs_wkt
    if description.crs_wkt is not None or description.transform != IDENTITY:
        place["transform"] = transform
    return place


def _write(
    path: Path,
    bands: NDArray[np.uint8],
    kinds: Sequence[ColorInterp],
    *,
    driver: str,
    place: Mapping[str, Any],
    quality: int | None,
) -> None:
    """Let GDAL write the picture and its side file, then move both into place."""
    count, height, width = bands.shape
    creation = dict(LOSSLESS.get(driver, {}))
    if quality is not None:
        creation = {"QUALITY": str(quality)}
    try:
        with _folder_beside(path) as folder, _quiet_gdal():
            made = folder / path.name
            with rasterio.open(
                made,
                "w",
                driver=driver,
                count=count,
                height=height,
                width=width,
                dtype="uint8",
                **place,
                **creation,
            ) as dataset:
                dataset.colorinterp = kinds
                dataset.write(bands)
            _move(made, path)
    except RasterioError as error:
        raise SinkError(f"{path}: GDAL cannot write it: {error}") from error
    except OSError as error:
        raise SinkError(error.errno, error.strerror or str(error), str(path)) from error


def _move(made: Path, path: Path) -> None:
    """Replace a picture; what is said beside it comes first."""
    side, old_side = (Path(f"{each}.aux.xml") for each in (made, path))
    if side.exists():
        side.replace(old_side)
    else:
        old_side.unlink(missing_ok=True)  # it told about the picture replaced
    made.replace(path)


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """Give a hidden folder on the same file system."""
    folder = tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _quiet_gdal() -> Iterator[None]:
    """Let side files be written, whatever the settings, and no bare raster be noted."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="YES"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
