"""Show a GeoTIFF in the browser, read by range requests as it would be on the web."""

from __future__ import annotations

import errno
import json
import math
from contextlib import contextmanager
from http import HTTPStatus
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import MaskFlags

from lazycog import _info, _picture
from lazycog._page_server import PageServer, Served
from lazycog.errors import CogError, InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from affine import Affine
    from rasterio.io import DatasetReader

PAGE: Mapping[str, tuple[str, str]] = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/view.css": ("view.css", "text/css; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/decoder.js": ("decoder.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/licenses.txt": ("LICENSES.txt", "text/plain; charset=utf-8"),
}
"""Path of the URL, and the asset behind it with its media type."""
FILE_PATH = "/file.tif"
INFO_PATH = "/info.json"
READABLE_CODECS = frozenset(
    {"none", "lzw", "deflate", "zstd", "packbits", "jpeg", "webp", "lerc"}
)
"""What geotiff.js decodes."""
READABLE_KINDS = frozenset("uif")
MAX_ITEMSIZE = 4
"""Bytes of an integer, at most."""
MAX_COLOURS = 256
IMAGES = ("image", "overview")
WRONG_PORT = frozenset({errno.EADDRINUSE, errno.EACCES, errno.EPERM})


@contextmanager
def serving(path: str, port: int = 0) -> Iterator[PageServer]:
    """Serve a GeoTIFF and the page that shows it.

    Parameters
    ----------
    path : str
        A local file.
    port : int
        On the loopback interface; 0 for any that is free.

    Yields
    ------
    PageServer
        Answers once its ``serve_forever`` runs.

    Raises
    ------
    InputError
        There is no such file, or a browser cannot decode it.
    OptionError
        The port is taken or not allowed.
    OSError
        There is no socket to be had.
    """
    describe(path)
    with as_file(files("lazycog") / "_assets") as folder:
        served = {
            url: Served(folder / name, media_type)
            for url, (name, media_type) in PAGE.items()
        }
        served[FILE_PATH] = Served(Path(path).resolve(), "image/tiff")
        try:
            server = PageServer(port, served, {INFO_PATH: lambda: _document(path)})
        except OSError as error:
            if error.errno not in WRONG_PORT:
                raise
            raise OptionError(
                f"port {port} cannot be used: {error.strerror}; choose another one "
                "with --port, or none for any that is free"
            ) from error
        with server:
            yield server


def describe(path: str) -> dict[str, Any]:
    """Say what the page has to know of a file.

    Parameters
    ----------
    path : str
        A local file.

    Returns
    -------
    dict
        Goes through JSON; NaN and infinities are text, as JavaScript reads them.

    Raises
    ------
    InputError
        There is no such file, or a browser cannot decode it.
    """
    if "://" in path:
        raise InputError(
            f"{path}: only local files can be viewed; download it, or draw it with "
            "lazycog quicklook"
        )
    about = _info.describe_file(path)
    levels = [each for each in about.get("levels", ()) if each["kind"] in IMAGES]
    if not levels:
        raise InputError(f"{path} is no TIFF file; lazycog view shows GeoTIFFs alone")
    _refuse_undecodable(path, about, levels)
    main = levels[0]
    return {
        "name": Path(path).name,
        "url": FILE_PATH.removeprefix("/"),
        "size": about["size"],
        "width": main["width"],
        "height": main["height"],
        "compression": main["compression"],
        "interleave": f"{about['interleave']} interleaved",
        "levels": levels,
        **_from_gdal(path),
    }


def _document(path: str) -> tuple[HTTPStatus, bytes]:
    """Describe the file as it is now: it may have been written anew."""
    try:
        return HTTPStatus.OK, json.dumps(describe(path), allow_nan=False).encode()
    except (CogError, OSError) as error:
        body = json.dumps({"error": str(error)}).encode()
        return HTTPStatus.INTERNAL_SERVER_ERROR, body


def _refuse_undecodable(
    path: str, about: Mapping[str, Any], levels: list[dict[str, Any]]
) -> None:
    """Refuse what geotiff.js cannot decode, with a way that works."""
    remedy = "draw it with lazycog quicklook, or convert it"
    for codec in {level["compression"] for level in levels} - READABLE_CODECS:
        raise InputError(
            f"{path} is compressed with {codec}, which browsers cannot decode; "
            f"{remedy} with --compress zstd"
        )
    name = about["bands"][0]["dtype"]
    dtype = np.dtype(name if not name.startswith("complex_int") else "complex64")
    wide = dtype.kind in "ui" and dtype.itemsize > MAX_ITEMSIZE
    if dtype.kind not in READABLE_KINDS or wide:
        raise InputError(
            f"{path} has pixels of {name}, which browsers cannot decode; {remedy} to "
            "another type first"
        )


def _from_gdal(path: str) -> dict[str, Any]:

    with _picture.quiet_gdal(), rasterio.open(path) as dataset:
        crs, transform = dataset.crs, dataset.transform
        flags = dataset.mask_flag_enums[0]
        placed = not transform.is_identity
        return {
            "dtype": dataset.dtypes[0],
            "nodata": _number(dataset.nodata),
            "masked": MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
            "crs": None if crs is None else crs.to_string(),
            "transform": list(transform)[:6] if placed else None,
            "aspect": _aspect(transform) if placed else 1.0,
            "colormap": _colormap(dataset),
            "bands": _bands(path, dataset),
        }


def _aspect(transform: Affine) -> float:
    """Give height by width of a pixel on the ground."""
    width = math.hypot(transform.a, transform.d)
    height = math.hypot(transform.b, transform.e)
    return height / width if width and height else 1.0


def _colormap(dataset: DatasetReader) -> list[tuple[int, ...]] | None:
    """List the colours of a palette, from value 0 on."""
    if dataset.colorinterp[0].name != "palette" or dataset.dtypes[0] != "uint8":
        return None
    colours = dataset.colormap(1)
    return [colours.get(value, (0, 0, 0, 0)) for value in range(MAX_COLOURS)]


def _bands(path: str, dataset: DatasetReader) -> list[dict[str, Any]]:
    tags = [dataset.tags(number) for number in dataset.indexes]
    measured = _measured(path, len(dataset.overviews(1)) - 1)
    return [
        {
            "description": dataset.descriptions[index],
            "unit": dataset.units[index],
            "scale": dataset.scales[index],
            "offset": dataset.offsets[index],
            "colorinterp": dataset.colorinterp[index].name,
            **measured[index],
            **_statistics(tags[index]),
        }
        for index in range(dataset.count)
    ]


def _statistics(tags: Mapping[str, str]) -> dict[str, Any]:
    """Read those of a band from its tags, if they are there."""
    names = ("minimum", "maximum", "mean", "stddev")
    try:
        found = {name: float(tags[f"STATISTICS_{name.upper()}"]) for name in names}
    except (KeyError, ValueError):
        return {}
    return {"statistics": found} if all(map(math.isfinite, found.values())) else {}


def _measured(path: str, level: int) -> list[dict[str, Any]]:
    """Measure the smallest level: percentiles, which no file tells, and statistics."""
    options = {"overview_level": level} if level >= 0 else {}
    with _picture.quiet_gdal(), rasterio.open(path, **options) as dataset:
        if dataset.width * dataset.height * dataset.count > _picture.MAX_SOURCE:
            return [{"statistics": None, "percentiles": None}] * dataset.count
        pixels = dataset.read(masked=True)
    return [_measured_band(band) for band in pixels]


def _measured_band(band: np.ma.MaskedArray[Any, Any]) -> dict[str, Any]:
    valid = band.compressed().astype(np.float64)
    valid = valid[np.isfinite(valid)]
    if not valid.size:
        return {"statistics": None, "percentiles": None}
    statistics = {
        "minimum": float(valid.min()),
        "maximum": float(valid.max()),
        "mean": float(valid.mean()),
        "stddev": float(valid.std()),
        "estimated": True,
    }
    percentiles = np.percentile(valid, _picture.PERCENTILES).tolist()
    return {"statistics": statistics, "percentiles": percentiles}


def _number(value: float | None) -> float | int | str | None:
    """Give a number as JSON has it, or as JavaScript's Number reads it."""
    if value is None or math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
