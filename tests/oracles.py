"""Independent readers and writers: GDAL through rasterio, tifffile, async-geotiff."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

import lazycog

if TYPE_CHECKING:
    from pathlib import Path

PEAK = """
def peak_bytes():
    import re
    from pathlib import Path

    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""
"""For a program that measures its peak; ru_maxrss begins with its parent's."""
DESCRIBED = (
    "tags",
    "band_tags",
    "descriptions",
    "scales",
    "offsets",
    "units",
    "colormap",
    "colorinterp",
)
TRANSFORM = Affine(30.0, 0.0, 500000.0, 0.0, -30.0, 4000000.0)


def raster(pixels, *, crs="EPSG:32613", transform=TRANSFORM, nodata=None, **attrs):
    """Give a DataArray (band, y, x) as rioxarray would open it."""
    dims = ("y", "x") if pixels.ndim == 2 else ("band", "y", "x")
    array = xr.DataArray(pixels, dims=dims, attrs=attrs)
    if crs is not None:
        array = array.rio.write_crs(crs)
    if transform is not None:
        array = array.rio.write_transform(transform)
    return array if nodata is None else array.rio.write_nodata(nodata)


def gtiff(
    path,
    pixels,
    *,
    crs="EPSG:32613",
    transform=TRANSFORM,
    valid=None,
    inside=True,
    after=None,
    **creation,
):
    """Write with GDAL's plain GeoTIFF driver; a mask stands inside, or beside it."""
    count, height, width = pixels.shape
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=pixels.dtype,
            crs=crs,
            transform=transform,
            **creation,
        ) as dataset:
            dataset.write(pixels)
            if valid is not None:
                dataset.write_mask(valid)
            if after is not None:
                after(dataset)
    return path


def gdal_cog(
    path: Path,
    pixels,
    *,
    crs="EPSG:32613",
    transform=TRANSFORM,
    nodata=None,
    mask=None,
    gcps=None,
    rpcs=None,
    **creation,
):
    """Write pixels (band, y, x) with GDAL's COG driver."""
    described = {name: creation.pop(name, None) for name in DESCRIBED}
    colorinterp = described["colorinterp"]
    if pixels.ndim == 2:
        pixels = pixels[np.newaxis]
    count, height, width = pixels.shape
    profile = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": pixels.dtype,
        "nodata": nodata,
    }
    if crs is not None and gcps is None:
        profile["crs"] = crs
    if transform is not None and gcps is None:
        profile["transform"] = transform
    if colorinterp is not None:
        is_rgb = colorinterp[:3] == ["red", "green", "blue"]
        profile["photometric"] = "RGB" if is_rgb else "MINISBLACK"
    internal = rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES")
    with warnings.catch_warnings(), internal, MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as dataset:
            dataset.write(pixels)
            _describe(dataset, **described)
            if gcps:
                dataset.gcps = (gcps, rasterio.crs.CRS.from_user_input(crs))
            if rpcs:
                dataset.rpcs = rpcs
            if mask is not None:
                dataset.write_mask(mask)
        with memory.open() as dataset:
            rasterio.shutil.copy(dataset, path, driver="COG", **creation)
    return path


def _describe(dataset, *, colormap, colorinterp, **described):
    """Set what the COG driver copies from its source."""
    dataset.update_tags(**(described["tags"] or {}))
    for number, own in enumerate(described["band_tags"] or [], start=1):
        dataset.update_tags(number, **own)
    for number, text in enumerate(described["descriptions"] or [], start=1):
        dataset.set_band_description(number, text)
    for name in ("scales", "offsets", "units"):
        if described[name]:
            setattr(dataset, name, described[name])
    if colormap:
        dataset.write_colormap(1, colormap)
    if colorinterp:
        dataset.colorinterp = [ColorInterp[each] for each in colorinterp]


def gdal_levels(path):
    """Read every level with GDAL: a list of (band, y, x), full resolution first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            count = len(dataset.overviews(1))
            levels = [dataset.read()]
        for level in range(count):
            with rasterio.open(path, overview_level=level) as dataset:
                levels.append(dataset.read())
    return levels


def tifffile_levels(path):
    """Read every level with tifffile: a list of (band, y, x)."""
    import tifffile

    levels = []
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            pixels = page.asarray()
            if pixels.ndim == 2:
                pixels = pixels[np.newaxis]
            elif page.planarconfig == 1:
                pixels = np.moveaxis(pixels, -1, 0)
            levels.append(pixels)
    return levels


def async_geotiff_levels(path):
    """Read every level with async-geotiff: a list of (band, y, x)."""
    from async_geotiff import GeoTIFF
    from obstore.store import LocalStore

    async def read():
        tiff = await GeoTIFF.open(path.name, store=LocalStore(str(path.parent)))
        levels = [(await tiff.read()).data]
        levels += [(await overview.read()).data for overview in tiff.overviews]
        return levels

    return [np.asarray(level) for level in asyncio.run(read())]


def write(array, path, **options):
    """Write with lazycog on the synchronous scheduler."""
    import dask

    with dask.config.set(scheduler="synchronous"):
        return lazycog.to_cog(array, path, progress=False, **options)
