"""Creation options of GDAL's COG and GTiff drivers and rasterio's, turned into ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lazycog.errors import OptionError

Converter = Callable[[str, object], Any]
"""Takes a key and its value as the caller wrote them."""

YES_NO: Mapping[str, bool] = {
    "YES": True,
    "NO": False,
    "TRUE": True,
    "FALSE": False,
    "ON": True,
    "OFF": False,
}


def from_profile(profile: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Translate creation options of GDAL or rasterio into ours.

    Parameters
    ----------
    profile : mapping of str to object
        Keys in any case: those of GDAL's COG and GTiff drivers, of rasterio's and of
        rio-cogeo's profiles.

    Returns
    -------
    options : dict
        Keywords of :class:`lazycog.CogOptions`.
    facts : dict
        What a rasterio profile says about the raster itself (dtype, count, width,
        height, crs, transform, photometric), to be compared with it.

    Raises
    ------
    OptionError
        A key is unknown, has an illegal value, or contradicts another one.

    Examples
    --------
    >>> from_profile({"COMPRESS": "DEFLATE", "ZLEVEL": "6", "BLOCKXSIZE": 256})
    ({'compress': 'deflate', 'level': 6, 'blocksize': 256}, {})
    """
    if not isinstance(profile, Mapping):
        raise OptionError(
            f"profile={profile!r}: give a mapping of creation options, for example "
            "{'COMPRESS': 'ZSTD'}"
        )
    result: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for key, value in profile.items():
        upper = str(key).upper()
        if upper in FACTS:
            facts[FACTS[upper]] = value
            continue
        if upper in FIXED_KEYS:
            _expect(key, value, FIXED_KEYS[upper])
            continue
        if upper not in PROFILE_KEYS:
            remedy = (
                ELSEWHERE.get(upper)
                or did_you_mean(upper, list(PROFILE_KEYS))
                or "; drop it, or see the creation options of GDAL's COG driver"
            )
            raise OptionError(f"unknown creation option {key!r} in profile{remedy}")
        name, convert = PROFILE_KEYS[upper]
        translated = convert(key, value)
        if name in result and result[name] != translated:
            raise OptionError(
                f"profile says both {name}={result[name]!r} and {key}={value!r}; "
                "keep one"
            )
        result[name] = translated
    return result, facts


def did_you_mean(name: object, names: Sequence[object]) -> str:
    """Give a hint at the nearest name, or nothing.

    Examples
    --------
    >>> did_you_mean("compres", ["compress", "level"])
    "; did you mean 'compress'?"
    """
    known = {str(each).lower(): str(each) for each in names}
    close = [known[each] for each in get_close_matches(str(name).lower(), known, n=1)]
    return f"; did you mean {close[0]!r}?" if close else ""


RASTERS: Mapping[str, str] = {
    "DRIVER": ": the file is always a COG, so drop it",
    "DTYPE": ": cast the raster first, for example .astype('uint8')",
    "CRS": ": set it first with .rio.write_crs('EPSG:...')",
    "TRANSFORM": ": set it first with .rio.write_transform(transform)",
    "WINDOWED": ": pixels are always written by chunks, so drop it",
    "RECALC_TRANSFORM": ": the transform is that of the coordinates, so drop it",
}
"""Arguments of rioxarray and rasterio about the raster, not about the file."""


def remedy(name: object, names: Sequence[object]) -> str:
    """Say what may be meant by an unknown option: ours, or GDAL's or rasterio's.

    Examples
    --------
    >>> remedy("tiled", ["compress", "level"])
    "; GDAL's creation options go into profile={'TILED': ...}"
    >>> remedy("driver", ["compress", "level"])
    ': the file is always a COG, so drop it'
    """
    upper = str(name).upper()
    if upper in RASTERS:
        return RASTERS[upper]
    hint = did_you_mean(name, names)
    if hint or upper not in {*FACTS, *FIXED_KEYS, *PROFILE_KEYS}:
        return hint or ELSEWHERE.get(upper, "")
    return f"; GDAL's creation options go into profile={{{upper!r}: ...}}"


def _expect(key: str, value: object, allowed: tuple[str, ...]) -> None:
    if str(value).upper() not in allowed:
        raise OptionError(
            f"profile {key}={value!r} cannot be honoured: a COG has {key}={allowed[0]}"
        )


def _lower(_key: str, value: object) -> str:
    return str(value).lower()


def _codec(_key: str, value: object) -> str | None:
    """Take rio-cogeo's "raw" for no codec, and AUTO for that of the image."""
    text = str(value).lower()
    return {"raw": "none", "auto": None}.get(text, text)


def _whole(key: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise OptionError(f"profile {key}={value!r}: give a whole number") from None


def _quality(key: str, value: object) -> int | None:
    """OVERVIEW_QUALITY=AUTO is the image's."""
    return None if str(value).upper() == "AUTO" else _whole(key, value)


def _real(key: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise OptionError(f"profile {key}={value!r}: give a number") from None


def _named(names: Mapping[str, Any]) -> Converter:
    def convert(key: str, value: object) -> object:
        upper = str(value).upper()
        if upper not in names:
            raise OptionError(
                f"profile {key}={value!r}: give one of {', '.join(names)}"
            )
        return names[upper]

    return convert


def _nodata(key: str, value: object) -> float | int | None:
    if value is None or str(value).lower() == "none":
        return None
    text = str(value)
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise OptionError(f"profile {key}={value!r}: give a number or None") from None


def _tiling_scheme(_key: str, value: object) -> str | None:
    return None if str(value).upper() == "CUSTOM" else str(value)


_PREDICTOR = _named(
    {
        "YES": "auto",
        "NO": 1,
        "STANDARD": 2,
        "FLOATING_POINT": 3,
        "1": 1,
        "2": 2,
        "3": 3,
    }
)
_BIGTIFF = _named(
    {
        "YES": True,
        "NO": False,
        "TRUE": True,
        "FALSE": False,
        # the real size is known, so both are exact
        "IF_NEEDED": "auto",
        "IF_SAFER": "auto",
    }
)
_OVERVIEWS = _named({"NONE": 0, "AUTO": None, "IGNORE_EXISTING": None})
_BOOLEAN = _named(YES_NO)

PROFILE_KEYS: Mapping[str, tuple[str, Converter]] = {
    "COMPRESS": ("compress", _codec),
    "LEVEL": ("level", _whole),
    "ZLEVEL": ("level", _whole),
    "ZSTD_LEVEL": ("level", _whole),
    "LZMA_PRESET": ("level", _whole),
    "JXL_EFFORT": ("level", _whole),
    "QUALITY": ("quality", _whole),
    "JPEG_QUALITY": ("quality", _whole),
    "WEBP_LEVEL": ("quality", _whole),
    "WEBP_LOSSLESS": ("lossless", _BOOLEAN),
    "JXL_LOSSLESS": ("lossless", _BOOLEAN),
    "MAX_Z_ERROR": ("max_z_error", _real),
    "PREDICTOR": ("predictor", _PREDICTOR),
    "BLOCKSIZE": ("blocksize", _whole),
    "BLOCKXSIZE": ("blocksize", _whole),
    "BLOCKYSIZE": ("blocksize", _whole),
    "INTERLEAVE": ("interleave", _lower),
    "RESAMPLING": ("overview_resampling", _lower),
    "OVERVIEW_RESAMPLING": ("overview_resampling", _lower),
    "OVERVIEW_COUNT": ("overview_count", _whole),
    "OVERVIEWS": ("overview_count", _OVERVIEWS),
    "OVERVIEW_COMPRESS": ("overview_compress", _codec),
    "OVERVIEW_QUALITY": ("overview_quality", _quality),
    "OVERVIEW_PREDICTOR": ("overview_predictor", _PREDICTOR),
    "BIGTIFF": ("bigtiff", _BIGTIFF),
    "SPARSE_OK": ("sparse", _BOOLEAN),
    "STATISTICS": ("statistics", _named({**YES_NO, "AUTO": True})),
    "NODATA": ("nodata", _nodata),
    "TILING_SCHEME": ("tiling_scheme", _tiling_scheme),
    "ZOOM_LEVEL": ("zoom_level", _whole),
    "ALIGNED_LEVELS": ("aligned_levels", _whole),
    "WARP_RESAMPLING": ("warp_resampling", _lower),
}
"""GDAL's creation option -> our option and its converter."""
FIXED_KEYS: Mapping[str, tuple[str, ...]] = {
    "DRIVER": ("COG", "GTIFF"),
    "TILED": ("YES", "TRUE", "ON"),
    "COPY_SRC_OVERVIEWS": ("YES", "TRUE", "ON"),
    "GEOTIFF_VERSION": ("AUTO", "1.0", "1.1"),
}
"""Creation options that a COG fixes; another value is an error."""
FACTS: Mapping[str, str] = {
    "DTYPE": "dtype",
    "COUNT": "count",
    "WIDTH": "width",
    "HEIGHT": "height",
    "CRS": "crs",
    "TRANSFORM": "transform",
    "PHOTOMETRIC": "photometric",
}
"""Keys of a rasterio profile that describe the raster."""
ELSEWHERE: Mapping[str, str] = {
    "NUM_THREADS": ": Dask's scheduler decides, dask.config.set(num_workers=...)",
    "ADD_MASK": ": use mask=True",
    "ADD_ALPHA": ": use mask=True",
    "TARGET_SRS": ": reproject first, or use tiling_scheme=",
    "ZOOM_LEVEL_STRATEGY": ": the nearest is taken, use zoom_level= for another",
    "NBITS": ": tiles hold whole bytes; compress= gains the same",
    "JPEGTABLESMODE": ": tables are always shared",
}
"""Creation options that something else stands for."""
