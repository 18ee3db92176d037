"""What the caller may choose, as one frozen value in GDAL's and rasterio's words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any, Literal, TypedDict

from lazycog.errors import OptionError

Compress = Literal["none", "lzw", "deflate", "zstd"]
Interleave = Literal["auto", "pixel", "band", "tile"]
Resampling = Literal["auto", "nearest", "average", "mode", "rms"]

COMPRESS = ("none", "lzw", "deflate", "zstd")
INTERLEAVE = ("auto", "pixel", "band", "tile")
RESAMPLING = ("auto", "nearest", "average", "mode", "rms")

LEVEL_RANGES: Mapping[str, tuple[int, int]] = {"deflate": (1, 12), "zstd": (1, 22)}
"""Compression levels of libdeflate and zstd; the other codecs have none."""

BLOCKSIZE_STEP = 16
"""TileWidth and TileLength are multiples of 16 (TIFF 6.0 §15)."""
MAX_BLOCKSIZE = 16384
"""Beyond it one tile of the widest type outgrows the 2 GiB that readers allocate."""


class OptionDict(TypedDict, total=False):
    """Keyword options of :func:`lazycog.to_cog`, for type checkers."""

    compress: Compress
    level: int | None
    predictor: Literal["auto", 1, 2, 3]
    blocksize: int
    interleave: Interleave
    overview_resampling: Resampling
    overview_count: int | None
    nodata: float | Literal["auto"] | None
    statistics: bool
    tags: Mapping[str, Any] | None
    band_tags: Sequence[Mapping[str, Any]] | None
    descriptions: Sequence[str | None] | None
    scales: Sequence[float] | None
    offsets: Sequence[float] | None
    units: Sequence[str | None] | None
    bigtiff: Literal["auto"] | bool
    profile: Mapping[str, Any] | None
    storage_options: Mapping[str, Any] | None
    part_size: int | None
    min_part: int | None
    max_parts: int | None
    equal_parts: bool
    resume: bool
    overwrite: bool
    lock: Any
    progress: Literal["auto"] | bool


@dataclass(frozen=True, kw_only=True)
class CogOptions:
    """How a raster is written; every field is a keyword of ``to_cog``.

    Examples
    --------
    >>> CogOptions(compress="deflate", level=6).blocksize
    512
    """

    compress: Compress = "zstd"
    """Codec of the tiles: "none", "lzw", "deflate" or "zstd"."""
    level: int | None = None
    """Effort of the codec, None for its default (deflate 6, zstd 3)."""
    predictor: Literal["auto", 1, 2, 3] = "auto"
    """1 none, 2 horizontal differences, 3 floating point; auto takes 2 for integers
    and 3 for floats where the codec has one and bands are interleaved by pixel (async
    readers undo it wrongly in separate bands, so there it is a choice of yours)."""
    blocksize: int = 512
    """Side of a tile in pixels, a multiple of 16."""
    interleave: Interleave = "auto"
    """"pixel", "band" or "tile"; auto takes pixel up to 4 bands and band above."""
    overview_resampling: Resampling = "auto"
    """"nearest", "average", "mode" or "rms"; auto takes average, and nearest for bool
    and complex."""
    overview_count: int | None = None
    """Number of overviews, 0 for none, None until the smallest fits one tile."""
    nodata: float | Literal["auto"] | None = "auto"
    """Value of missing pixels, None for none; auto takes the raster's own, and NaN
    for floats without one."""
    statistics: bool = True
    """Write exact minimum, maximum, mean, standard deviation and valid percent."""
    tags: Mapping[str, Any] | None = None
    """Dataset tags, added to the raster's own attributes."""
    band_tags: Sequence[Mapping[str, Any]] | None = None
    """One mapping of tags per band."""
    descriptions: Sequence[str | None] | None = None
    """One name per band."""
    scales: Sequence[float] | None = None
    """Scale per band: physical value = stored value * scale + offset."""
    offsets: Sequence[float] | None = None
    """Offset per band."""
    units: Sequence[str | None] | None = None
    """Unit per band."""
    bigtiff: Literal["auto"] | bool = "auto"
    """True or False to force the format; auto decides from the real size."""
    profile: Mapping[str, Any] | None = None
    """Creation options in GDAL's or rasterio's spelling (``{"COMPRESS": "LZW"}``)."""
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    """Options of the destination's file system, as fsspec takes them."""
    part_size: int | None = None
    """Bytes of a part of an object, None for 16 MiB or as many as it takes."""
    min_part: int | None = None
    """Least bytes of a part, None for what the store is known to take."""
    max_parts: int | None = None
    """Most parts of an object, None for what the store is known to take."""
    equal_parts: bool = False
    """Make all parts but the last of one size, as Cloudflare R2 wants them; levels
    then start at multiples of it, and zeros fill the gaps."""
    resume: bool = False
    """Note finished rows of chunks beside the destination, and go on from those that a
    killed write of the same raster and options has left there."""
    overwrite: bool = True
    """False makes an existing destination an error."""
    lock: Any = field(default=None, repr=False)
    """None for positional writes without a lock, True or a lock object to serialise
    the writes of this process or cluster."""
    progress: Literal["auto"] | bool = "auto"
    """Show a progress bar; auto does in a terminal or notebook."""

    def __post_init__(self) -> None:
        """Check every field on its own and against the others."""
        _one_of("compress", self.compress, COMPRESS)
        _one_of("interleave", self.interleave, INTERLEAVE)
        _one_of("overview_resampling", self.overview_resampling, RESAMPLING)
        _one_of("predictor", self.predictor, ("auto", 1, 2, 3))
        _one_of("bigtiff", self.bigtiff, ("auto", True, False))
        _one_of("progress", self.progress, ("auto", True, False))
        for name in ("statistics", "overwrite", "equal_parts", "resume"):
            _one_of(name, getattr(self, name), (True, False))
        self._check_level()
        self._check_sizes()
        if self.compress == "none" and self.predictor in {2, 3}:
            raise OptionError(
                f"predictor={self.predictor} cannot work with compress='none': an "
                "uncompressed tile takes no predictor; drop one of the two"
            )
        self._check_nodata()
        self._check_objects()
        if self.profile is not None:
            raise OptionError(
                "profile= is merged into the other options by to_cog, plan and "
                "CogOptions.from_mapping; build the options with one of them"
            )

    def _check_objects(self) -> None:
        for name in ("tags", "storage_options"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, Mapping):
                raise OptionError(
                    f"{name}={given!r}: give a mapping of names to values"
                )
        if not (self.lock is None or isinstance(self.lock, bool)) and not (
            hasattr(self.lock, "__enter__") and hasattr(self.lock, "__exit__")
        ):
            raise OptionError(
                f"lock={self.lock!r}: give None, True, or a lock for a with statement"
            )

    def _check_nodata(self) -> None:
        if isinstance(self.nodata, bool) or (
            isinstance(self.nodata, str) and self.nodata != "auto"
        ):
            raise OptionError(
                f"nodata={self.nodata!r}: give a number, None, or 'auto' for the "
                "raster's own"
            )

    def _check_level(self) -> None:
        if self.level is None:
            return
        if self.compress not in LEVEL_RANGES:
            raise OptionError(
                f"level={self.level!r} cannot work with compress={self.compress!r}, "
                f"which has no levels; {', '.join(LEVEL_RANGES)} have"
            )
        low, high = LEVEL_RANGES[self.compress]
        if not _is_int(self.level) or not low <= self.level <= high:
            raise OptionError(
                f"level={self.level!r}: {self.compress} takes {low} to {high}"
            )

    def _check_sizes(self) -> None:
        if (
            not _is_int(self.blocksize)
            or self.blocksize % BLOCKSIZE_STEP
            or not BLOCKSIZE_STEP <= self.blocksize <= MAX_BLOCKSIZE
        ):
            raise OptionError(
                f"blocksize={self.blocksize!r}: a tile side is a multiple of "
                f"{BLOCKSIZE_STEP} between {BLOCKSIZE_STEP} and {MAX_BLOCKSIZE}; "
                "256, 512 and 1024 are usual"
            )
        for name in ("part_size", "min_part", "max_parts"):
            value = getattr(self, name)
            if value is not None and (not _is_int(value) or value < 1):
                raise OptionError(f"{name}={value!r}: give a whole number above 0")
        if self.overview_count is not None and (
            not _is_int(self.overview_count) or self.overview_count < 0
        ):
            raise OptionError(
                f"overview_count={self.overview_count!r}: give a whole number, 0 for "
                "no overviews, or None for as many as it takes to reach one tile"
            )

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> CogOptions:
        """Build options from keywords, merging ``profile`` into them.

        Parameters
        ----------
        options : mapping of str to object
            Keywords as given to ``to_cog``.

        Returns
        -------
        CogOptions
            Validated, with ``profile`` resolved to None.

        Raises
        ------
        OptionError
            An option is unknown, or stands in ``profile`` with another value.
        """
        names = [each.name for each in fields(cls)]
        for name in options:
            if name not in names:
                raise OptionError(f"unknown option {name!r}{_hint(name, names)}")
        merged = dict(options)
        profile = merged.pop("profile", None)
        for name, value in (from_profile(profile) if profile else {}).items():
            if name in merged and merged[name] != value:
                raise OptionError(
                    f"{name}={merged[name]!r} contradicts profile, which says "
                    f"{name}={value!r}; give it once"
                )
            merged[name] = value
        return cls(**merged)


PREDICTOR_NAMES: Mapping[str, Any] = {
    "YES": "auto",
    "NO": 1,
    "STANDARD": 2,
    "FLOATING_POINT": 3,
    "1": 1,
    "2": 2,
    "3": 3,
}
"""Values of PREDICTOR in GDAL's COG and GTiff drivers."""
BIGTIFF_NAMES: Mapping[str, Any] = {
    "YES": True,
    "NO": False,
    "TRUE": True,
    "FALSE": False,
    "IF_NEEDED": "auto",
    "IF_SAFER": "auto",
}
"""Values of BIGTIFF in GDAL; we know the real size, so both IFs are exact."""
YES_NO: Mapping[str, bool] = {
    "YES": True,
    "NO": False,
    "TRUE": True,
    "FALSE": False,
    "ON": True,
    "OFF": False,
}


def from_profile(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Translate creation options of GDAL or rasterio into ours.

    Parameters
    ----------
    profile : mapping of str to object
        Keys in any case: those of GDAL's COG and GTiff drivers, or of rasterio.

    Returns
    -------
    dict
        Keywords of :class:`CogOptions`.

    Raises
    ------
    OptionError
        A key is unknown, has an illegal value, or contradicts another one.

    Examples
    --------
    >>> from_profile({"COMPRESS": "DEFLATE", "ZLEVEL": "6", "BLOCKXSIZE": 256})
    {'compress': 'deflate', 'level': 6, 'blocksize': 256}
    """
    if not isinstance(profile, Mapping):
        raise OptionError(
            f"profile={profile!r}: give a mapping of creation options, for example "
            "{'COMPRESS': 'ZSTD'}"
        )
    result: dict[str, Any] = {}
    for key, value in profile.items():
        upper = str(key).upper()
        if upper in FIXED_KEYS:
            _expect(key, value, FIXED_KEYS[upper])
            continue
        if upper not in PROFILE_KEYS:
            raise OptionError(
                f"unknown creation option {key!r} in profile"
                f"{_hint(upper, list(PROFILE_KEYS))}"
            )
        name, convert = PROFILE_KEYS[upper]
        translated = convert(key, value)
        if name in result and result[name] != translated:
            raise OptionError(
                f"profile says both {name}={result[name]!r} and {key}={value!r}; "
                "keep one"
            )
        result[name] = translated
    return result


def _expect(key: str, value: object, allowed: tuple[str, ...]) -> None:
    if str(value).upper() not in allowed:
        raise OptionError(
            f"profile {key}={value!r} cannot be honoured: a COG has {key}={allowed[0]}"
        )


def _lower(_key: str, value: object) -> str:
    return str(value).lower()


def _whole(key: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise OptionError(f"profile {key}={value!r}: give a whole number") from None


def _named(names: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a converter
    def convert(key: str, value: object) -> object:
        upper = str(value).upper()
        if upper not in names:
            raise OptionError(
                f"profile {key}={value!r}: give one of {', '.join(names)}"
            )
        return names[upper]

    return convert


def _overviews(key: str, value: object) -> int | None:
    choice: int | None = _named({"NONE": 0, "AUTO": None, "IGNORE_EXISTING": None})(
        key, value
    )
    return choice


def _nodata(key: str, value: object) -> float | int | None:
    if value is None or str(value).lower() == "none":
        return None
    text = str(value)
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise OptionError(f"profile {key}={value!r}: give a number or None") from None


PROFILE_KEYS: Mapping[str, tuple[str, Any]] = {
    "COMPRESS": ("compress", _lower),
    "LEVEL": ("level", _whole),
    "ZLEVEL": ("level", _whole),
    "ZSTD_LEVEL": ("level", _whole),
    "PREDICTOR": ("predictor", _named(PREDICTOR_NAMES)),
    "BLOCKSIZE": ("blocksize", _whole),
    "BLOCKXSIZE": ("blocksize", _whole),
    "BLOCKYSIZE": ("blocksize", _whole),
    "INTERLEAVE": ("interleave", _lower),
    "RESAMPLING": ("overview_resampling", _lower),
    "OVERVIEW_RESAMPLING": ("overview_resampling", _lower),
    "OVERVIEW_COUNT": ("overview_count", _whole),
    "OVERVIEWS": ("overview_count", _overviews),
    "BIGTIFF": ("bigtiff", _named(BIGTIFF_NAMES)),
    "STATISTICS": ("statistics", _named({**YES_NO, "AUTO": True})),
    "NODATA": ("nodata", _nodata),
}
"""GDAL's creation option -> our option and its converter."""
FIXED_KEYS: Mapping[str, tuple[str, ...]] = {
    "DRIVER": ("COG", "GTIFF"),
    "TILED": ("YES", "TRUE", "ON"),
    "COPY_SRC_OVERVIEWS": ("YES", "TRUE", "ON"),
}
"""Creation options that a COG fixes; another value is an error."""


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    matches = [each for each in allowed if type(each) is type(value) and each == value]
    if not matches:
        listed = ", ".join(repr(each) for each in allowed)
        hint = _hint(value, [e for e in allowed if isinstance(e, str)])
        raise OptionError(f"{name}={value!r}: choose one of {listed}{hint}")


def _hint(name: object, names: Sequence[object]) -> str:
    close = difflib.get_close_matches(str(name), [str(each) for each in names], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
