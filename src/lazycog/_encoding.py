"""How pixels become tiles: type, codecs, interleave, nodata and mask of one write."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lazycog._compression import FLOATING_POINT, Compression, codec, compression
from lazycog._georef import nodata_fits
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from lazycog._georef import Description
    from lazycog._options import CogOptions

MAX_PIXEL_BANDS = 4
"""Up to this count ``interleave="auto"`` takes pixel (grey, RGB, RGBA)."""
MASK_BITS = 8
"""Pixels of a mask per byte."""
PICKING = ("nearest", "mode")
"""Kernels that give a pixel of the source, and mix none."""

DTYPES = frozenset(
    {
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    }
)
"""Types that GeoTIFF readers know."""
CASTS = {
    "float128": "float64",
    "longdouble": "float64",
    "complex256": "complex128",
    "datetime64": "int64",
    "timedelta64": "int64",
}
"""What to cast other types to."""

Nodata = float | int | None


@dataclass(frozen=True)
class Encoding:
    """What a task needs to know to encode tiles: small, plain and picklable."""

    dtype: str
    """Stored type."""
    count: int
    """Bands of the image, the mask not among them."""
    image: Compression
    overview: Compression
    interleave: str
    """"pixel", "band" or "tile"."""
    resampling: str
    nodata: Nodata
    """As the file says it, in the type of the pixels."""
    fill_nan: bool
    """Write NaN as the nodata value: the caller chose a finite one."""
    statistics: bool
    valid_size: tuple[int, int]
    """Height and width of the full resolution."""
    sparse: bool = False
    """Leave out tiles without any valid pixel."""
    deduplicate: bool = False
    """Identical tiles are stored once."""
    masked: bool = False
    """Each level has a mask, which travels as one more band behind the image's."""
    mask_given: bool = False
    """The source has the mask as its last band."""
    mask_nodata: Nodata = None
    """Pixels of this value (NaN: and no other) in every band are not valid."""
    alpha: int | None = None
    """Index of the alpha band; where it is 0, the others are left out of overviews."""

    @property
    def planes(self) -> bool:
        """Whether each band is a plane of its own in the file."""
        return self.interleave == "band"

    @property
    def samples_are_tiles(self) -> bool:
        """Whether each band of a tile position is a tile of its own."""
        return self.interleave != "pixel"

    @property
    def samples(self) -> int:
        """Bands of the image in a tile."""
        return 1 if self.samples_are_tiles else self.count

    @property
    def carried(self) -> int:
        """Bands that travel from stage to stage: the image's, and the mask."""
        return self.count + self.masked

    @property
    def sourced(self) -> int:
        """Bands that the source has: the image's, and the mask if it is given."""
        return self.count + self.mask_given

    def compression(self, level: int) -> Compression:
        """Give codec and settings of a level."""
        return self.overview if level else self.image

    def tile_bytes(self, tile_size: int) -> int:
        """Raw bytes of a tile of the image."""
        return tile_size**2 * np.dtype(self.dtype).itemsize * self.samples


def stored_dtype(dtype: str) -> str:
    """Give the type in the file for a type of the source.

    Parameters
    ----------
    dtype : str
        NumPy name.

    Returns
    -------
    str
        The same, but uint8 for bool.

    Raises
    ------
    InputError
        GeoTIFF has no such type.
    """
    if dtype not in DTYPES:
        stem = dtype.split("[", maxsplit=1)[0]
        remedy = CASTS.get(stem, "float64")
        raise InputError(
            f"dtype {dtype!r} cannot be stored in a GeoTIFF; cast it first, for "
            f"example .astype({remedy!r})"
        )
    return "uint8" if dtype == "bool" else dtype


def settle_encoding(
    description: Description,
    size: tuple[int, int],
    options: CogOptions,
    *,
    mask_given: bool = False,
) -> Encoding:
    """Take every decision about the encoding, from what `plan_cog` is given.

    Raises
    ------
    InputError
        The type cannot be stored.
    OptionError
        Two options, or an option and the type, cannot work together.
    """
    dtype = stored_dtype(description.dtype)
    kind = np.dtype(dtype).kind
    interleave = _interleave(options, description.count)
    samples = description.count if interleave == "pixel" else 1
    separate = interleave != "pixel"
    image = _image_compression(options, dtype, samples, separate=separate)
    overview = _overview_compression(options, dtype, samples, separate=separate)
    stated = settle_nodata(description, options)
    nodata = _pixel_nodata(stated, dtype)
    # a raster with a mask of its own, and no nodata, has what mask=True asks for
    wanted = options.mask is True and not (mask_given and nodata is None)
    from_nodata = wanted or (
        nodata is not None and any(map(_smears, (image, overview), (nodata, nodata)))
    )
    if from_nodata:
        _check_mask_from(nodata, dtype)
    return Encoding(
        dtype=dtype,
        count=description.count,
        image=image,
        overview=overview,
        interleave=interleave,
        resampling=_resampling(options, description),
        nodata=None if from_nodata else nodata,
        fill_nan=not from_nodata and _fills_nan(options, nodata, kind),
        statistics=options.statistics and kind != "c",
        valid_size=size,
        sparse=options.sparse,
        deduplicate=options.deduplicate,
        masked=from_nodata or mask_given,
        mask_given=mask_given,
        mask_nodata=nodata if from_nodata else None,
        alpha=description.alpha,
    )


def _fills_nan(options: CogOptions, nodata: float | None, kind: str) -> bool:
    """Whether NaN becomes the nodata value, which the caller has chosen."""
    if kind != "f" or nodata is None or options.nodata == "auto":
        return False
    return math.isfinite(nodata)


def _interleave(options: CogOptions, count: int) -> str:
    if count == 1:
        return "pixel"  # with one band all three are the same bytes
    if options.interleave == "auto":
        return "pixel" if count <= MAX_PIXEL_BANDS else "band"
    return options.interleave


def _check_mask_from(nodata: float | None, dtype: str) -> None:
    """Refuse to make a mask from nodata where that cannot be."""
    if nodata is None:
        raise OptionError(
            "mask=True cannot work with nodata=None: there is nothing to make it from; "
            "say nodata=, or give a 2-D bool array as mask="
        )
    if np.dtype(dtype).kind == "c":
        raise OptionError(f"mask=True cannot work with dtype {dtype}; give an array")


def _smears(chosen: Compression, nodata: float | int) -> bool:
    """Whether a codec may change missing pixels into valid ones."""
    if not chosen.lossless:
        return True
    # LERC keeps NaN by a mask of its own; our rounding leaves nodata alone
    return chosen.is_lossy and not chosen.quantises and not math.isnan(nodata)


def _image_compression(
    options: CogOptions, dtype: str, samples: int, *, separate: bool
) -> Compression:
    found = codec(options.compress)
    found.check(dtype, samples)
    return _checked(
        compression(
            options.compress,
            level=options.level,
            quality=options.quality,
            lossless=options.lossless,
            max_z_error=options.max_z_error or 0.0,
            predictor=_predictor(
                options.predictor, options.compress, dtype, separate=separate
            ),
        ),
        dtype,
    )


OVERVIEW_OWN = ("compress=", "quality=", "predictor=")
"""How errors begin that are about an option which overviews have, too."""


def _overview_compression(
    options: CogOptions, dtype: str, samples: int, *, separate: bool
) -> Compression:
    """Settle the overviews' codec; an error names the option of the overviews."""
    try:
        return _as_image_or_own(options, dtype, samples, separate=separate)
    except OptionError as error:
        if not str(error).startswith(OVERVIEW_OWN):
            raise
        raise OptionError(f"overview_{error}") from error


def _as_image_or_own(
    options: CogOptions, dtype: str, samples: int, *, separate: bool
) -> Compression:
    """Take the image's settings where the overviews have none of their own."""
    name = options.overview_compress or options.compress
    found = codec(name)
    found.check(dtype, samples)
    same = name == options.compress
    predictor = options.overview_predictor
    if predictor is None:
        predictor = options.predictor if same else "auto"
    quality = options.overview_quality
    if quality is None and same:
        quality = options.quality
    bounded = found.lossless or found.has_error_bound
    return _checked(
        compression(
            name,
            level=options.level if same else None,
            quality=quality,
            lossless=options.lossless
            if same and options.overview_quality is None
            else None,
            max_z_error=(options.max_z_error or 0.0) if bounded else 0.0,
            predictor=_predictor(predictor, name, dtype, separate=separate),
        ),
        dtype,
    )


def _checked(chosen: Compression, dtype: str) -> Compression:
    kind = np.dtype(dtype).kind
    if kind == "c" and chosen.max_z_error:
        raise OptionError(
            f"max_z_error={chosen.max_z_error!r} cannot work with dtype {dtype}: an "
            "error is bounded for real numbers"
        )
    if chosen.codec.name == "jxl" and not chosen.lossless and kind == "f":
        raise OptionError(
            f"quality={chosen.quality!r} with compress='jxl' cannot work with dtype "
            f"{dtype}; use lossless=True, or lerc with max_z_error="
        )
    return chosen


def _predictor(wanted: str | int, name: str, dtype: str, *, separate: bool) -> int:
    kind = np.dtype(dtype).kind
    if wanted == "auto":
        if not codec(name).has_predictor or kind == "c":
            return 1
        if separate:
            # async-geotiff 0.5 undoes it with a stride of all bands: wrong pixels
            return 1
        return 3 if kind == "f" else 2
    if wanted == FLOATING_POINT and kind != "f":
        raise OptionError(
            f"predictor=3 is for floating point and cannot work with dtype {dtype}; "
            "use predictor=2 or 'auto'"
        )
    if wanted != 1 and kind == "c":
        raise OptionError(f"predictor={wanted} cannot work with dtype {dtype}; use 1")
    return int(wanted)


def _resampling(options: CogOptions, description: Description) -> str:
    kind = np.dtype(description.dtype).kind
    if options.overview_resampling == "auto":
        discrete = kind in "bc" or description.colormap is not None
        return "nearest" if discrete else "average"
    if description.colormap is not None and options.overview_resampling not in PICKING:
        raise OptionError(
            f"overview_resampling={options.overview_resampling!r} cannot work with "
            "colormap=: numbers of a palette cannot be mixed; use 'nearest' or 'mode'"
        )
    if kind == "c" and options.overview_resampling not in {"nearest", "average"}:
        raise OptionError(
            f"overview_resampling={options.overview_resampling!r} cannot work with "
            f"dtype {description.dtype}; use 'nearest' or 'average'"
        )
    return options.overview_resampling


def settle_nodata(description: Description, options: CogOptions) -> Nodata:
    """Settle the nodata value and check that the file's type can hold it.

    Parameters
    ----------
    description : Description
        The raster and its own nodata.
    options : CogOptions
        The caller's.

    Returns
    -------
    number or None
        NaN for floats without one.

    Raises
    ------
    OptionError
        The type cannot hold it.
    """
    dtype = stored_dtype(description.dtype)
    nodata = description.nodata if options.nodata == "auto" else options.nodata
    kind = np.dtype(dtype).kind
    if nodata is None:
        return math.nan if kind == "f" and options.nodata == "auto" else None
    if not isinstance(nodata, int | float | np.number):
        raise OptionError(f"nodata={nodata!r}: give a number or None")
    if not nodata_fits(nodata, dtype):
        raise OptionError(
            f"nodata={nodata!r} does not fit dtype {dtype}; choose a value of that "
            "type, or nodata=None for none"
        )
    return int(nodata) if kind in "ui" else float(nodata)


def _pixel_nodata(nodata: Nodata, dtype: str) -> Nodata:
    """Round a nodata value to the type of the pixels, so that it equals them."""
    if nodata is None or np.dtype(dtype).kind != "f":
        return nodata
    return float(np.dtype(dtype).type(nodata))
