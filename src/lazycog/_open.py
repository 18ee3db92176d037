"""Open Zarr, NetCDF and everything that GDAL reads as a lazy xarray raster.

Stored values are kept as they are: scale, offset and missing value stay metadata.
"""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from lazycog import _notice
from lazycog._image import Image, current_version
from lazycog._location import GDAL, Location, locate
from lazycog._opened import MASK, has_mask, marks_of, mask_flags
from lazycog._reader import lazy_mask
from lazycog._selection import CF_MARKS, Opened, choose, rasters, select_bands
from lazycog.errors import (
    InputError,
    MissingExtraError,
    OptionError,
    SourceNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from rasterio.io import DatasetReader

ZARR_MARKERS = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")
"""Files that stand at the root of a Zarr store, version 3 or 2."""
NETCDF_SUFFIXES = frozenset({".nc", ".nc4", ".netcdf", ".h5", ".hdf5", ".cdf"})
REMOTE = "://"
CHUNK_SIZE = 2048
"""Side of a chunk in pixels that a file without chunks of its own is read in."""
CHUNK_BYTES = 32 * 2**20
"""Raw bytes of such a chunk, at most, unless one block has more."""
STATISTICS_PREFIX = "STATISTICS_"
"""GDAL's tags about the pixels of a file; a new file gets its own."""


def open_source(
    src: str | os.PathLike[str],
    *,
    variable: str | None = None,
    bands: Sequence[int | str] | None = None,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Opened:
    """Open a raster lazily; no pixel is read.

    Parameters
    ----------
    src : path or URL
        A Zarr store, a NetCDF or HDF5 file, or anything that GDAL opens.
    variable : str, optional
        Which variable to take; needed where the variables have several shapes.
    bands : sequence of int or str, optional
        Bands to keep, in this order: 1-based numbers, or names.
    group : str, optional
        Group of a Zarr store or NetCDF file.
    storage_options : mapping, optional
        For the fsspec file system of a URL.

    Returns
    -------
    DataArray or Dataset
        With Dask arrays. A Dataset where several variables share one grid.

    Raises
    ------
    SourceNotFoundError
        There is no such file.
    InputError
        It has no such variable or band, or the choice is not clear.
    OptionError
        The source has no groups, or takes no options.

    Examples
    --------
    >>> open_source("missing.tif")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    lazycog.errors.SourceNotFoundError: missing.tif: no such file or folder; ...
    """
    path = os.fspath(src)
    if REMOTE not in path and not Path(path).exists() and not _is_gdal_name(path):
        raise SourceNotFoundError(
            f"{path}: no such file or folder; give another path or URL"
        )
    _refuse_unused(path, group, storage_options)
    opened: Opened
    if is_zarr(path):
        opened = _open_dataset(path, "zarr", group, storage_options)
    elif Path(path).suffix.lower() in NETCDF_SUFFIXES:
        opened = _open_dataset(path, None, group, storage_options)
    else:
        opened = _open_gdal(path)
    raster = choose(path, opened, variable)
    return raster if not bands else select_bands(raster, bands)


def is_zarr(path: str) -> bool:
    """Say whether a path or URL is a Zarr store.

    Parameters
    ----------
    path : str
        Path or URL; only local folders are looked into.

    Returns
    -------
    bool
        True for a name that ends in .zarr and for a folder with a marker of Zarr.

    Examples
    --------
    >>> is_zarr("s3://bucket/scene.zarr/"), is_zarr("scene.tif")
    (True, False)
    """
    if path.rstrip("/").lower().endswith(".zarr"):
        return True
    return any((Path(path) / marker).is_file() for marker in ZARR_MARKERS)


def _refuse_unused(
    path: str, group: str | None, storage_options: Mapping[str, Any] | None
) -> None:
    """Refuse choices that the reader of this source does not know."""
    zarr = is_zarr(path)
    if storage_options and not (zarr and REMOTE in path):
        names = ", ".join(map(str, storage_options))
        raise OptionError(
            f"storage_options ({names}) are for URLs of Zarr stores; {path} takes "
            "none, so leave them out (GDAL has AWS_PROFILE and the like from the "
            "environment)"
        )
    if group and not zarr and Path(path).suffix.lower() not in NETCDF_SUFFIXES:
        raise OptionError(
            f"group={group!r} is for Zarr stores and NetCDF files; {path} has none, so "
            "leave it out"
        )


def _is_gdal_name(path: str) -> bool:
    """Names such as /vsis3/..., NETCDF:"a.nc":red or an inline VRT are GDAL's alone."""
    return path.startswith(("/vsi", "<")) or ":" in path[2:]


# --- xarray's own readers -----------------------------------------------------------

NETCDF_ENGINES = {"h5netcdf", "netcdf4"}
"""Of xarray's, those that read NetCDF 4."""


def _open_dataset(
    path: str,
    engine: str | None,
    group: str | None,
    storage_options: Mapping[str, Any] | None,
) -> xr.Dataset:
    options: dict[str, Any] = {
        "engine": engine,
        "group": group,
        "mask_and_scale": False,
        "decode_coords": "all",
    }
    if engine == "zarr":
        options["storage_options"] = dict(storage_options) if storage_options else None
    try:
        with warnings.catch_warnings():
            # many Zarr stores are not consolidated, and one open is cheap
            warnings.filterwarnings("ignore", message="Failed to open Zarr store with")
            # chunks are whole stored chunks of the largest variable
            warnings.filterwarnings("ignore", message="The specified chunks separate")
            with xr.open_dataset(path, chunks=None, cache=False, **options) as header:
                chunks = _dataset_chunks(header)
            dataset = xr.open_dataset(path, chunks=chunks, **options)
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: {error}; pip install 'lazycog[zarr]' for Zarr, netCDF4 or "
            "h5netcdf for NetCDF"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        if group and isinstance(error, OSError | KeyError):
            raise InputError(
                f"{path} has no group {group!r} with variables, or cannot be opened: "
                f"{error}; leave it out, or name one that is there"
            ) from error
        if engine is None and not NETCDF_ENGINES & xr.backends.list_engines().keys():
            raise MissingExtraError(
                f"{path}: no reader of NetCDF is installed; "
                "pip install 'lazycog[netcdf]'"
            ) from error
        raise InputError(f"{path}: xarray cannot open it: {error}") from error
    if engine == "zarr":
        # the order of a store is that of a folder's files, so it is settled here
        dataset = dataset[sorted(dataset.data_vars, key=lambda name: str(name).lower())]
    return _with_grid_mapping(dataset)


def _dataset_chunks(dataset: xr.Dataset) -> dict[Hashable, int]:
    """Choose chunks of whole stored chunks, so that none is decoded twice."""
    found = [dataset[name] for name in rasters(dataset)]
    if not found:
        return {}
    largest = max(found, key=lambda each: each.nbytes)
    *others, y_dim, x_dim = largest.dims
    stored = largest.encoding.get("preferred_chunks")
    pixels = CHUNK_BYTES // largest.dtype.itemsize
    if not stored:
        sizes = dict.fromkeys(others, 1)
        sizes[x_dim] = largest.sizes[x_dim]
        return {**sizes, y_dim: max(1, pixels // sizes[x_dim])}
    sizes = {dim: int(stored.get(dim, largest.sizes[dim])) for dim in largest.dims}
    grown = True
    while grown:
        grown = False
        for dim in (x_dim, y_dim):
            fits = 2 * math.prod(sizes.values()) <= pixels
            if (
                fits
                and 2 * sizes[dim] <= CHUNK_SIZE
                and sizes[dim] < largest.sizes[dim]
            ):
                sizes[dim] *= 2
                grown = True
    return sizes


def _with_grid_mapping(dataset: xr.Dataset) -> xr.Dataset:
    """Let rioxarray find a CRS that the variables do not point to."""
    mappings = [
        name
        for name, variable in dataset.data_vars.items()
        if any(mark in variable.attrs for mark in CF_MARKS)
    ]
    dataset = dataset.set_coords(mappings)
    if len(mappings) == 1:
        for name in rasters(dataset):
            dataset[name].encoding.setdefault("grid_mapping", str(mappings[0]))
    return dataset


# --- GDAL ---------------------------------------------------------------------------


def _open_gdal(path: str) -> Opened:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        # rioxarray: differing scales and offsets are read from `scales` below
        warnings.filterwarnings("ignore", message="(Scales|Offsets) differ")
        # rioxarray multiplies transforms with an operator that affine 3 retires
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        try:
            with rasterio.open(path) as dataset:
                chunks: Any = _gdal_chunks(dataset) if dataset.count else True
                about, marks = _gdal_attrs(dataset), marks_of(dataset)
                flags = mask_flags(dataset)
                masked = dataset.count > 0 and has_mask(flags)
                one_mask = not masked or all(flags)
                # rioxarray takes the tags of band 1 for tags of the dataset
                first_band = dataset.tags(1).keys() if dataset.count else ()
            # lock=False: rioxarray opens one GDAL handle per thread
            opened: Opened | list[xr.Dataset] = rioxarray.open_rasterio(
                path, chunks=chunks, lock=False, mask_and_scale=False
            )
        except RasterioError as error:
            raise InputError(
                f"{path}: GDAL cannot open it: {str(error).rstrip('.')}; a source is a "
                "Zarr store, a NetCDF file, or a raster that GDAL reads"
            ) from error
    if isinstance(opened, list):
        raise InputError(
            f"{path} holds {len(opened)} subdatasets of several shapes; name one as "
            "GDAL does, for example 'HDF4_EOS:EOS_GRID:\"file\":grid:variable'"
        )
    if isinstance(opened, xr.DataArray):
        opened.attrs = {**_without(opened.attrs, first_band), **about}
        opened.encoding.update(marks)
        if masked:
            opened.encoding[MASK] = lazy_mask(opened, _image(path))
        if not one_mask:
            _notice.warn(
                f"{path} has a mask per band, and a GeoTIFF holds one: its pixels are "
                "valid where any band is; to tell bands apart, write a nodata value "
                "into them"
            )
    return opened


def _image(path: str) -> Image:
    """Give the full resolution of what GDAL opens under a name."""
    local = REMOTE not in path and Path(path).exists()
    where = locate(path, None) if local else Location(GDAL, "", path)
    return Image(where, current_version(where), 0)


def _gdal_chunks(dataset: DatasetReader) -> dict[str, int]:
    """Choose chunks of whole blocks, so that no block is decoded twice."""
    block_height, block_width = dataset.block_shapes[0]
    itemsize = np.dtype(dataset.dtypes[0]).itemsize
    together = dataset.count if _pixel_interleaved(dataset) else 1
    pixels = max(1, CHUNK_BYTES // (itemsize * together))
    if block_width >= dataset.width:  # strips
        width = dataset.width
    else:
        side = min(CHUNK_SIZE, math.isqrt(pixels))
        width = max(1, side // block_width) * block_width
    rows = min(CHUNK_SIZE if width < dataset.width else pixels, pixels // width)
    height = max(1, rows // block_height) * block_height
    size = min(width, dataset.width) * min(height, dataset.height)
    band = min(dataset.count, max(together, pixels // max(1, size)))
    return {
        "band": band,
        "y": min(height, dataset.height),
        "x": min(width, dataset.width),
    }


def _pixel_interleaved(dataset: DatasetReader) -> bool:
    interleaving = dataset.interleaving
    return (
        dataset.count > 1 and interleaving is not None and interleaving.name == "pixel"
    )


def _gdal_attrs(dataset: DatasetReader) -> dict[str, Any]:
    """Read the tags of the dataset, and what it says about every band."""
    attrs: dict[str, Any] = _kept(dataset.tags())
    band_tags = tuple(_kept(dataset.tags(number)) for number in dataset.indexes)
    if any(band_tags):
        attrs["band_tags"] = band_tags
    if any(dataset.descriptions):
        attrs["long_name"] = tuple(dataset.descriptions)
    if any(dataset.units):
        attrs["units"] = tuple(unit or None for unit in dataset.units)
    attrs["scales"] = tuple(dataset.scales)
    attrs["offsets"] = tuple(dataset.offsets)
    if dataset.nodata is not None:
        attrs["_FillValue"] = np.dtype(dataset.dtypes[0]).type(dataset.nodata)
    return attrs


def _without(attrs: Mapping[Any, Any], names: Iterable[str]) -> dict[Any, Any]:
    dropped = set(names)
    return {name: value for name, value in attrs.items() if name not in dropped}


def _kept(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Leave out statistics, which belong to the pixels of another file."""
    return {
        name: value
        for name, value in attrs.items()
        if not str(name).startswith(STATISTICS_PREFIX)
    }
