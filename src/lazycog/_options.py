"""What the caller may choose, as one frozen value in GDAL's and rasterio's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, TypedDict, get_args

from lazycog._compression import CODECS, compression
from lazycog._profile import did_you_mean, from_profile, remedy
from lazycog._schemes import find_scheme
from lazycog.errors import OptionError

Compress = Literal[
    "none",
    "lzw",
    "deflate",
    "zstd",
    "lzma",
    "packbits",
    "jpeg",
    "webp",
    "lerc",
    "lerc_deflate",
    "lerc_zstd",
    "jxl",
]
Interleave = Literal["auto", "pixel", "band", "tile"]
Resampling = Literal[
    "auto",
    "nearest",
    "average",
    "mode",
    "rms",
    "bilinear",
    "cubic",
    "cubicspline",
    "lanczos",
    "gauss",
]
Predictor = Literal["auto", 1, 2, 3]
WarpResampling = Literal[
    "nearest",
    "bilinear",
    "cubic",
    "cubicspline",
    "lanczos",
    "average",
    "rms",
    "mode",
]

INTERLEAVE = ("auto", "pixel", "band", "tile")
RESAMPLING = get_args(Resampling)
WARP_RESAMPLING = get_args(WarpResampling)

BLOCKSIZE_STEP = 16
"""TileWidth and TileLength are multiples of 16 (TIFF 6.0 §15)."""
QUALITIES = range(1, 101)
"""Of libjpeg and libwebp, which count alike."""
MAX_ALIGNED_LEVELS = 10
"""As many as GDAL's COG driver takes."""
MAX_BLOCKSIZE = 16384
"""Beyond it one tile of the widest type outgrows the 2 GiB that readers allocate."""


class OptionDict(TypedDict, total=False):
    """Keyword options of :func:`lazycog.to_cog`, for type checkers."""

    compress: Compress
    level: int | None
    quality: int | None
    lossless: bool | None
    max_z_error: float | None
    predictor: Predictor
    blocksize: int
    interleave: Interleave
    overview_resampling: Resampling
    overview_count: int | None
    overview_compress: Compress | None
    overview_quality: int | None
    overview_predictor: Predictor | None
    nodata: float | Literal["auto"] | None
    mask: Any
    sparse: bool
    deduplicate: bool
    statistics: bool
    promote: bool
    tags: Mapping[str, Any] | None
    band_tags: Sequence[Mapping[str, Any]] | None
    descriptions: Sequence[str | None] | None
    scales: Sequence[float] | None
    offsets: Sequence[float] | None
    units: Sequence[str | None] | None
    colormap: Mapping[int, Sequence[int]] | None
    colorinterp: Sequence[str] | None
    gcps: Any
    rpcs: Any
    tiling_scheme: str | None
    zoom_level: int | None
    aligned_levels: int | None
    warp_resampling: WarpResampling | None
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
    """Codec of the tiles: "none", "lzw", "deflate", "zstd", "lzma", "packbits", "jpeg",
    "webp", "lerc", "lerc_deflate", "lerc_zstd" or "jxl"."""
    level: int | None = None
    """Effort of the codec, None for its default (deflate 6, zstd 3, lzma 6, jxl 5)."""
    quality: int | None = None
    """Quality of a lossy codec, 1 to 100, None for its default (jpeg and webp 75, jxl
    lossless)."""
    lossless: bool | None = None
    """Form of webp (lossy by default) and jxl (lossless by default)."""
    max_z_error: float | None = None
    """Largest error of a pixel, in its units: LERC's own setting, and for the lossless
    codecs a rounding within that bound; None or 0 keeps every bit."""
    predictor: Predictor = "auto"
    """1 none, 2 horizontal differences, 3 floating point; auto takes 2 for integers
    and 3 for floats where the codec has one and bands are interleaved by pixel (async
    readers undo it wrongly in separate bands, so there it is a choice of yours)."""
    blocksize: int = 512
    """Side of a tile in pixels, a multiple of 16; ``to_cog`` takes the tile of the
    ``tiling_scheme``, if one is given and no ``blocksize``."""
    interleave: Interleave = "auto"
    """"pixel", "band" or "tile"; auto takes pixel up to 4 bands and band above."""
    overview_resampling: Resampling = "auto"
    """"nearest", "average", "mode" or "rms"; auto takes average, and nearest for bool
    and complex."""
    overview_count: int | None = None
    """Number of overviews, 0 for none, None until the smallest fits one tile. More
    than there are down to 1 x 1 pixel is an error."""
    overview_compress: Compress | None = None
    """Codec of the overviews, None for that of the image."""
    overview_quality: int | None = None
    """Quality of the overviews, None for that of the image."""
    overview_predictor: Predictor | None = None
    """Predictor of the overviews, None for that of the image."""
    nodata: float | Literal["auto"] | None = "auto"
    """Value of missing pixels, None for none; auto takes the raster's own, and NaN
    for floats without one."""
    mask: Any = field(default=False, repr=False)
    """Write an internal 1-bit mask: True makes it from nodata (or NaN), which it then
    replaces; a 2-D array, lazy or not, says where pixels are valid. A lossy codec gets
    one in place of a nodata value, which it would smear. The mask of a file that
    :func:`lazycog.open_cog` opened goes over in any case; to leave it out, take "mask"
    out of the array's encoding."""
    sparse: bool = False
    """Leave out tiles that hold nothing but nodata (0 without one); GDAL and tifffile
    read them, some other readers do not."""
    deduplicate: bool = False
    """Store identical tiles once. The file then promises no order of tiles, which costs
    readers over a network more requests."""
    statistics: bool = True
    """Write exact minimum, maximum, mean, standard deviation and valid percent."""
    promote: bool = False
    """Cast the variables of a Dataset to their common type; else several types are an
    error."""
    tags: Mapping[str, Any] | None = None
    """Dataset tags, added to the raster's own attributes: text, numbers, dates, lists
    of these, None to leave the raster's own out, or a mapping for a namespace."""
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
    colormap: Mapping[int, Sequence[int]] | None = None
    """Colour table of a single band of uint8 or uint16: value to (red, green, blue) or
    (red, green, blue, alpha), each 0 to 255."""
    colorinterp: Sequence[str] | None = None
    """Meaning of each band in GDAL's words: "gray", "red", "green", "blue", "alpha",
    "undefined", ...; None for what GDAL assumes (RGB and RGBA for 3 and 4 bands of
    uint8). Pixels with alpha 0 are left out of overviews."""
    gcps: Any = None
    """Ground control points in place of a transform: a list of rasterio's
    GroundControlPoint, or (list, crs)."""
    rpcs: Any = None
    """Rational polynomial coefficients: rasterio's RPC, or GDAL's items."""
    tiling_scheme: str | None = None
    """Reproject onto the grid of a tiling scheme: "GoogleMapsCompatible",
    "InspireCRS84Quad" or an id of morecantile's ("WebMercatorQuad", ...). The extent
    grows to whole tiles; pixels beyond the raster are nodata, or masked without one."""
    zoom_level: int | None = None
    """Zoom level of the full resolution, None for the one nearest to the raster's."""
    aligned_levels: int | None = None
    """Number of resolutions, the full one included, whose extent is whole tiles of
    their zoom level; None for the full resolution alone."""
    warp_resampling: WarpResampling | None = None
    """Kernel of the reprojection: "nearest", "bilinear", "cubic", "cubicspline",
    "lanczos", "average", "rms" or "mode"; None takes cubic, and nearest for palettes,
    bool and complex."""
    bigtiff: Literal["auto"] | bool = "auto"
    """True or False to force the format; auto decides from the real size."""
    profile: Mapping[str, Any] | None = None
    """Creation options in GDAL's or rasterio's spelling (``{"COMPRESS": "LZW"}``), or a
    whole profile of rasterio or rio-cogeo, whose facts must be the raster's."""
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
        _one_of("compress", self.compress, tuple(CODECS))
        _one_of("overview_compress", self.overview_compress, (None, *CODECS))
        _one_of("interleave", self.interleave, INTERLEAVE)
        _one_of("overview_resampling", self.overview_resampling, RESAMPLING)
        _one_of("predictor", self.predictor, ("auto", 1, 2, 3))
        _one_of("overview_predictor", self.overview_predictor, (None, "auto", 1, 2, 3))
        _one_of("bigtiff", self.bigtiff, ("auto", True, False))
        _one_of("progress", self.progress, ("auto", True, False))
        for name in (
            "statistics",
            "overwrite",
            "sparse",
            "deduplicate",
            "promote",
            "equal_parts",
            "resume",
        ):
            _one_of(name, getattr(self, name), (True, False))
        _one_of("lossless", self.lossless, (None, True, False))
        self._check_numbers()
        self._check_sizes()
        self._check_nodata()
        self._check_objects()
        self._check_tiling()
        if self.resume and self.deduplicate:
            raise OptionError(
                "resume=True cannot work with deduplicate=True: which tiles are stored "
                "depends on all rows; drop one of the two"
            )
        for compress, predictor in (
            (self.compress, self.predictor),
            (self.overview_compress or self.compress, self.overview_predictor),
        ):
            if predictor in {2, 3} and not CODECS[compress].has_predictor:
                raise OptionError(
                    f"predictor={predictor} cannot work with compress={compress!r}, "
                    "which takes none; drop one of the two"
                )
        compression(
            self.compress,
            level=self.level,
            quality=self.quality,
            lossless=self.lossless,
            max_z_error=self.max_z_error or 0.0,
        )
        if set(self.profile or {}) - set(FACT_NAMES):
            raise OptionError(
                "profile= is merged into the other options by to_cog, plan and "
                "CogOptions.from_mapping; build the options with one of them"
            )

    def _check_numbers(self) -> None:
        for name in ("quality", "overview_quality"):
            value = getattr(self, name)
            if value is not None and not (_is_int(value) and value in QUALITIES):
                raise OptionError(f"{name}={value!r}: give a whole number, 1 to 100")
        bound = self.max_z_error
        if bound is not None and not _is_bound(bound):
            raise OptionError(
                f"max_z_error={bound!r}: give the largest error allowed, 0 for none"
            )

    def _check_objects(self) -> None:
        for name in ("tags", "storage_options", "colormap", "profile"):
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
                f"nodata={self.nodata!r}: give a number, None (none in a shell), or "
                "'auto' for the raster's own"
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

    def _check_tiling(self) -> None:
        _one_of("warp_resampling", self.warp_resampling, (None, *WARP_RESAMPLING))
        if self.tiling_scheme is not None:
            self._check_scheme(self.tiling_scheme)
            return
        for name in ("zoom_level", "aligned_levels", "warp_resampling"):
            value = getattr(self, name)
            if value is not None:
                raise OptionError(
                    f"{name}={value!r} works with tiling_scheme= alone, and "
                    "tiling_scheme is None; name a scheme, or drop it"
                )

    def _check_scheme(self, tiling_scheme: str) -> None:
        scheme = find_scheme(tiling_scheme)
        for name, allowed in (
            ("zoom_level", range(len(scheme.resolutions))),
            ("aligned_levels", range(MAX_ALIGNED_LEVELS + 1)),
        ):
            value = getattr(self, name)
            if value is not None and not (_is_int(value) and value in allowed):
                raise OptionError(
                    f"{name}={value!r} cannot work with tiling_scheme="
                    f"{tiling_scheme!r}: give a whole number, {allowed[0]} to "
                    f"{allowed[-1]}"
                )
        large, small = sorted((self.blocksize, scheme.tile_size), reverse=True)
        ratio, rest = divmod(large, small)
        if rest or ratio & (ratio - 1):
            raise OptionError(
                f"blocksize={self.blocksize} cannot work with tiling_scheme="
                f"{tiling_scheme!r}, whose tiles are {scheme.tile_size} pixels: "
                f"give that times or divided by a power of 2, for example "
                f"{2 * scheme.tile_size}"
            )
        if self.gcps is not None or self.rpcs is not None:
            given = "gcps" if self.gcps is not None else "rpcs"
            raise OptionError(
                f"{given}= cannot work with tiling_scheme={tiling_scheme!r}: the "
                "reprojected raster has a transform; drop one of the two"
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
            Validated; of ``profile`` only what it says about the raster is left.

        Raises
        ------
        OptionError
            An option is unknown or illegal, or ``profile`` contradicts it.
        """
        names = [each.name for each in fields(cls)]
        for name in options:
            if name not in names:
                raise OptionError(f"unknown option {name!r}{remedy(name, names)}")
        merged = dict(options)
        profile = merged.pop("profile", None)
        given, facts = from_profile(profile) if profile is not None else ({}, {})
        if facts:
            merged["profile"] = facts
        for name, value in given.items():
            if name in merged and merged[name] != value:
                raise OptionError(
                    f"{name}={merged[name]!r} contradicts profile, which says "
                    f"{name}={value!r}; give it once"
                )
            merged[name] = value
        if merged.get("tiling_scheme") is not None and "blocksize" not in merged:
            merged["blocksize"] = find_scheme(merged["tiling_scheme"]).tile_size
        return cls(**merged)


FACT_NAMES = (
    "dtype",
    "count",
    "width",
    "height",
    "crs",
    "transform",
    "photometric",
)
"""What a rasterio profile says about the raster itself."""


def _is_bound(value: object) -> bool:
    if not isinstance(value, int | float | Real) or isinstance(value, bool):
        return False
    return 0 <= float(value) < float("inf")


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    matches = [each for each in allowed if type(each) is type(value) and each == value]
    if not matches:
        listed = ", ".join(repr(each) for each in allowed)
        hint = did_you_mean(value, [e for e in allowed if isinstance(e, str)])
        raise OptionError(f"{name}={value!r}: choose one of {listed}{hint}")
