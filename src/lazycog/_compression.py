"""The choice of a codec: what each can hold, and its settings in one write.

Plain values; the encoders are in :mod:`lazycog.codecs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping


HORIZONTAL = 2
"""Predictor tag: differences along the row (TIFF 6.0 §14)."""
FLOATING_POINT = 3
"""Predictor tag: Adobe TIFF Technical Note 3."""


@dataclass(frozen=True)
class Codec:
    """A tile codec."""

    name: str
    compression: int
    """Value of the Compression tag (TIFF 6.0 §8; libtiff's tiff.h for the others)."""
    expansion: float
    """Bound on encoded size over raw size, for data that does not compress."""
    has_predictor: bool = False
    default_level: int | None = None
    levels: tuple[int, int] | None = None
    """Lowest and highest level, None without levels."""
    dtypes: frozenset[str] | None = None
    """Types that it can hold, None for all."""
    samples: tuple[int, ...] | None = None
    """Bands that a tile may hold, None for any number."""
    default_quality: int | None = None
    """Quality of its lossy form, None for a codec without one."""
    lossless: bool = True
    """Whether it keeps every bit unless told otherwise."""
    has_both: bool = False
    """Whether ``lossless=`` chooses between two forms."""

    @property
    def is_plain(self) -> bool:
        """Whether tiles are stored as they are."""
        return self.name == "none"

    @property
    def takes_pixels(self) -> bool:
        """Whether it encodes an image rather than bytes."""
        return self.has_error_bound or self.default_quality is not None

    @property
    def has_error_bound(self) -> bool:
        """Whether ``max_z_error`` is the codec's own setting."""
        return self.name.startswith("lerc")

    def check(self, dtype: str, samples: int) -> None:
        """Refuse pixels that the codec cannot hold.

        Parameters
        ----------
        dtype : str
            Stored type.
        samples : int
            Bands that are encoded together.

        Raises
        ------
        OptionError
            Names the codec, the type, and the codecs that can.
        """
        others = [
            each.name
            for each in CODECS.values()
            if (each.dtypes is None or dtype in each.dtypes)
            and (each.samples is None or samples in each.samples)
        ]
        if self.dtypes is not None and dtype not in self.dtypes:
            raise OptionError(
                f"compress={self.name!r} cannot hold dtype {dtype}, only "
                f"{', '.join(sorted(self.dtypes))}; {', '.join(others)} can"
            )
        if self.samples is not None and samples not in self.samples:
            counts = " or ".join(str(each) for each in self.samples)
            single = "; interleave='band' encodes each band alone"
            raise OptionError(
                f"compress={self.name!r} cannot hold {samples} bands of dtype {dtype} "
                f"in a tile, only {counts}{single if 1 in self.samples else ''}; "
                f"{', '.join(others)} can"
            )


_REALS = frozenset({"uint8", "uint16", "float16", "float32"})
_LERC = frozenset(
    {"int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"}
)
_ZSTD, _DEFLATE = (1, 22), (1, 12)

CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("none", 1, 1.0),
        # 12-bit codes for 8-bit bytes, and a clear code per 4,093 of them
        Codec("lzw", 5, 1.51, has_predictor=True),
        # stored blocks: 5 bytes per 65,535
        Codec(
            "deflate", 8, 1.001, has_predictor=True, default_level=6, levels=_DEFLATE
        ),
        # raw blocks: 3 bytes per 128 KiB; levels as measured in the README
        Codec("zstd", 50000, 1.004, has_predictor=True, default_level=3, levels=_ZSTD),
        # stored chunks: 3 bytes per 64 KiB (LZMA2)
        Codec("lzma", 34925, 1.001, has_predictor=True, default_level=6, levels=(0, 9)),
        # a count byte per 128
        Codec("packbits", 32773, 1.01),
        # 8 x 8 blocks of noise, and up to 15 pixels of padding per side
        Codec(
            "jpeg",
            7,
            4.0,
            dtypes=frozenset({"uint8"}),
            samples=(1, 3),
            default_quality=75,
            lossless=False,
        ),
        Codec(
            "webp",
            50001,
            4.0,
            dtypes=frozenset({"uint8"}),
            samples=(3, 4),
            default_quality=75,
            lossless=False,
            has_both=True,
        ),
        # LERC stores what does not compress as it is, with a header and a mask
        Codec("lerc", 34887, 1.2, dtypes=_LERC),
        Codec(
            "lerc_deflate",
            34887,
            1.2,
            default_level=6,
            levels=_DEFLATE,
            dtypes=_LERC,
        ),
        Codec("lerc_zstd", 34887, 1.2, default_level=9, levels=_ZSTD, dtypes=_LERC),
        # the level is libjxl's effort
        Codec(
            "jxl",
            50002,
            2.0,
            default_level=5,
            levels=(1, 9),
            dtypes=_REALS,
            samples=(1, 2, 3, 4),
            default_quality=90,
            has_both=True,
        ),
    )
}
"""Codecs by the name of the ``compress`` option."""

MIN_BOUND = 4096
"""Frame and block headers, and tables, of the smallest tiles."""


@dataclass(frozen=True)
class Compression:
    """A codec with the settings of a write: small, plain and picklable."""

    codec: Codec
    level: int | None = None
    quality: int | None = None
    lossless: bool = True
    max_z_error: float = 0.0
    """Largest error of a pixel; 0 keeps every bit."""
    predictor: int = 1

    @property
    def is_lossy(self) -> bool:
        """Whether pixels may come back changed."""
        return not self.lossless or self.max_z_error > 0

    @property
    def quantises(self) -> bool:
        """Whether pixels are rounded within their bound before a lossless codec."""
        return self.max_z_error > 0 and not self.codec.has_error_bound

    def bound(self, tile_bytes: int) -> int:
        """Give the most bytes that a tile can encode to."""
        return math.ceil(tile_bytes * self.codec.expansion) + MIN_BOUND


def codec(name: str) -> Codec:
    """Look a codec up.

    Parameters
    ----------
    name : str
        Value of the ``compress`` option.

    Returns
    -------
    Codec
        The codec.

    Raises
    ------
    OptionError
        No such codec.
    """
    if name not in CODECS:
        raise OptionError(f"compress={name!r}: choose one of {', '.join(CODECS)}")
    return CODECS[name]


def compression(
    name: str,
    *,
    level: int | None = None,
    quality: int | None = None,
    lossless: bool | None = None,
    max_z_error: float = 0.0,
    predictor: int = 1,
) -> Compression:
    """Settle a codec and its settings.

    Parameters
    ----------
    name : str
        Value of the ``compress`` option.
    level, quality, lossless, max_z_error : number, bool or None
        Options of the same name, None for the codec's default.
    predictor : int
        1, 2 or 3.

    Returns
    -------
    Compression
        Ready to encode.

    Raises
    ------
    OptionError
        The codec does not have what is asked of it.

    Examples
    --------
    >>> compression("jpeg", quality=90).is_lossy, compression("zstd").level
    (True, 3)
    """
    found = codec(name)
    _check_quality(found, quality)
    _check_lossless(found, quality, lossless=lossless)
    _check_level(found, level)
    keeps = found.lossless if lossless is None else lossless
    if quality is not None and found.has_both and lossless is None:
        keeps = False
    lossy = not keeps
    if max_z_error and lossy:
        raise OptionError(
            f"max_z_error={max_z_error!r} cannot work with the lossy "
            f"compress={name!r}, which bounds no error; use lerc or a lossless codec"
        )
    return Compression(
        found,
        level=found.default_level if level is None else level,
        quality=(quality or found.default_quality) if lossy else None,
        lossless=keeps,
        max_z_error=float(max_z_error),
        predictor=predictor,
    )


def _check_level(found: Codec, level: int | None) -> None:
    if level is None:
        return
    if found.levels is None:
        having = ", ".join(each.name for each in CODECS.values() if each.levels)
        raise OptionError(
            f"level={level!r} cannot work with compress={found.name!r}, which has no "
            f"levels; {having} have"
        )
    low, high = found.levels
    if level not in range(low, high + 1) or isinstance(level, bool):
        raise OptionError(
            f"level={level!r}: {found.name} takes a whole number, {low} to {high}"
        )


def _check_quality(found: Codec, quality: int | None) -> None:
    if quality is not None and found.default_quality is None:
        having = ", ".join(
            each.name for each in CODECS.values() if each.default_quality
        )
        raise OptionError(
            f"quality={quality!r} cannot work with compress={found.name!r}, which is "
            f"lossless; {having} have a quality, max_z_error= bounds an error"
        )


def _check_lossless(
    found: Codec,
    quality: int | None,
    *,
    lossless: bool | None,
) -> None:
    if lossless is False and found.lossless and not found.has_both:
        raise OptionError(
            f"lossless=False cannot work with compress={found.name!r}, which is "
            "lossless; use jpeg, webp or jxl, or max_z_error= to bound an error"
        )
    if lossless and not found.lossless and not found.has_both:
        raise OptionError(
            f"lossless=True cannot work with compress={found.name!r}, which is lossy"
        )
    if lossless and quality is not None:
        raise OptionError(
            f"lossless=True cannot work with quality={quality!r}; keep one of the two"
        )
