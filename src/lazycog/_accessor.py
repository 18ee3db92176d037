"""The xarray side: ``.geo`` accessors, and what an object says about its raster."""

from __future__ import annotations

import inspect
import itertools
import math
import os
import re
import warnings
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from rioxarray.exceptions import RioXarrayError

from lazycog import _quicklook, _reader, _tiling, _write, _write_many
from lazycog._content import check_band_nodata, check_facts, text, with_options
from lazycog._encoding import stored_dtype
from lazycog._georef import IDENTITY, BandInfo, Description, GroundControlPoint
from lazycog._options import CogOptions
from lazycog._template import paths_of
from lazycog._write import Raster
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from pathlib import Path
    from typing import Literal, Unpack

    from affine import Affine

    from lazycog._options import OptionDict
    from lazycog._plan import CogPlan

UNIFORMITY = 1e-3
"""Largest departure of a coordinate from an even spacing, in pixels: float32 longitudes
of a global 1 km grid stay below it."""
CURVILINEAR = frozenset(
    {
        *("lat", "latitude", "lon", "longitude", "xc", "yc", "x", "y"),
        *("projection_x_coordinate", "projection_y_coordinate"),
        *("grid_latitude", "grid_longitude"),
    }
)
"""Names of coordinates that say where a pixel is; with two dims they are a swath's."""
DASK_NAME = re.compile(r".+-[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
"""xarray names an array after its Dask array: a hash that differs from run to run."""
OWN_ATTRS = frozenset(
    {
        "_FillValue",
        "missing_value",
        "fill_value",
        "nodata",
        "scale_factor",
        "add_offset",
        "units",
        "long_name",
        "grid_mapping",
        "coordinates",
        "scales",
        "offsets",
        "descriptions",
        "band_tags",
        "crs",
        "transform",
        "nodatavals",
        "res",
        "is_tiled",
    }
)
"""Attributes that have a place of their own in the file, or that rasterio objects carry
as a copy of it; the others become tags."""


def to_cog(
    raster: xr.DataArray | xr.Dataset,
    dst: str | os.PathLike[str],
    *,
    compute: bool = True,
    **options: Unpack[OptionDict],
) -> Any:  # noqa: ANN401 - a CogResult, or a Delayed of one
    """Write a lazy raster as one Cloud-Optimized GeoTIFF, in a single pass.

    Parameters
    ----------
    raster : DataArray or Dataset
        Dims (y, x), (band, y, x) or (y, x, band) under the names that rioxarray takes.
        The variables of a Dataset become bands.
    dst : path or URL
        Destination. The folder of a path must exist and be seen by all workers; to a
        URL (``s3://bucket/key.tif``) the workers upload.
    compute : bool
        False gives a :class:`dask.delayed.Delayed` of the whole write.
    **options
        Fields of :class:`lazycog.CogOptions`.

    Returns
    -------
    CogResult or dask.delayed.Delayed
        What was written, or what computes to it.

    Raises
    ------
    InputError
        The raster cannot be written as it is.
    OptionError
        An option is unknown, illegal, or contradicts another.
    CapacityError
        The file cannot be a classic TIFF as ``bigtiff=False`` asks.
    SinkError
        The destination cannot be written.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib, xarray as xr
    >>> raster = xr.DataArray(np.eye(600, dtype="uint8"), dims=("y", "x"))
    >>> folder = tempfile.TemporaryDirectory()
    >>> result = to_cog(raster, pathlib.Path(folder.name) / "eye.tif", progress=False)
    >>> [level.width for level in result.levels]
    [600, 300]
    >>> folder.cleanup()
    """
    chosen = CogOptions.from_mapping(options)
    return _write.write(as_raster(raster, chosen), dst, chosen, compute=compute)


def to_tiled_geotiff(
    raster: xr.DataArray | xr.Dataset,
    dst: str | os.PathLike[str],
    *,
    compute: bool = True,
    **options: Unpack[OptionDict],
) -> Any:  # noqa: ANN401 - a CogResult, or a Delayed of one
    """Write a lazy raster as a tiled GeoTIFF: a COG without overviews.

    Parameters
    ----------
    raster : DataArray or Dataset
        As in :func:`to_cog`.
    dst : path or URL
        As in :func:`to_cog`.
    compute : bool
        As in :func:`to_cog`.
    **options
        Fields of :class:`lazycog.CogOptions` but for those of overviews.

    Returns
    -------
    CogResult or dask.delayed.Delayed
        What was written, or what computes to it.

    Raises
    ------
    OptionError
        As in :func:`to_cog`, and for an option about overviews.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib, xarray as xr
    >>> raster = xr.DataArray(np.eye(600, dtype="uint8"), dims=("y", "x"))
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "eye.tif"
    >>> len(to_tiled_geotiff(raster, path, progress=False).levels)
    1
    >>> folder.cleanup()
    """
    for name in options:
        if name.startswith("overview_"):
            raise OptionError(
                f"{name}= cannot work with to_tiled_geotiff, which makes no overviews; "
                "drop it, or use to_cog"
            )
    profile = options.get("profile") or {}
    for key in profile:
        if str(key).upper().startswith(("OVERVIEW", "RESAMPLING")):
            raise OptionError(
                f"profile {key}= cannot work with to_tiled_geotiff, which makes no "
                "overviews; drop it, or use to_cog"
            )
    options["overview_count"] = 0
    return to_cog(raster, dst, compute=compute, **options)


def to_cogs(
    raster: xr.DataArray | xr.Dataset,
    template: str | os.PathLike[str],
    dim: Hashable | None = None,
    *,
    compute: bool = True,
    **options: Unpack[OptionDict],
) -> Any:  # noqa: ANN401 - a list of CogResult, or a Delayed of one
    """Write one COG per label of a dim, or per variable, from one graph.

    Parameters
    ----------
    raster : DataArray or Dataset
        As in :func:`to_cog`, with one dim more.
    template : path
        ``{dim}`` or ``{dim:format}`` in it stands for the label, as in
        ``"out/{time:%Y%m%d}.tif"``; ``{variable}`` for the name of a variable.
    dim : hashable, optional
        Dim with a file per label; None takes a file per variable of a Dataset.
    compute : bool
        False gives a :class:`dask.delayed.Delayed` of all writes.
    **options
        Fields of :class:`lazycog.CogOptions`, the same for all files.

    Returns
    -------
    list of CogResult, or dask.delayed.Delayed
        In the order of the labels. A chunk of the source that several files share is
        read once; such files are written at the same time.

    Raises
    ------
    InputError
        A raster cannot be written as it is.
    OptionError
        The dim is not there, or the template does not suit the labels.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib, xarray as xr
    >>> days = np.array(["2024-05-01", "2024-05-02"], "M8[ns]")
    >>> pixels = np.ones((2, 64, 64), "uint8")
    >>> cube = xr.DataArray(pixels, {"time": days}, dims=("time", "y", "x"))
    >>> folder = tempfile.TemporaryDirectory()
    >>> template = pathlib.Path(folder.name) / "{time:%Y%m%d}.tif"
    >>> [pathlib.Path(each).name for each in to_cogs(cube, template, dim="time")]
    ['20240501.tif', '20240502.tif']
    >>> folder.cleanup()
    """
    chosen = CogOptions.from_mapping(options)
    name, labels, slices = _slices(raster, dim)
    paths = paths_of(os.fspath(template), name, labels)
    rasters = [as_raster(each, chosen) for each in slices]
    return _write_many.write_many(rasters, paths, chosen, compute=compute)


def _slices(
    raster: xr.DataArray | xr.Dataset, dim: Hashable | None
) -> tuple[str, list[object], list[xr.DataArray | xr.Dataset]]:
    """Give the field's name, the labels, and what is written for each."""
    if dim is None:
        if not isinstance(raster, xr.Dataset):
            raise OptionError(
                "dim=None takes a file per variable, and a DataArray has none; say "
                f"dim=, one of {[*map(str, raster.dims)]}"
            )
        names = [each for each in raster.data_vars if _has_raster(raster[each])]
        return "variable", [*map(str, names)], [raster[[each]] for each in names]
    if dim not in raster.dims:
        raise OptionError(
            f"dim={dim!r} is not a dim of the raster, which has "
            f"{[*map(str, raster.dims)]}"
        )
    labels = list(raster[dim].values)
    slices = []
    for index, label in enumerate(labels):
        one = raster.isel({dim: index}, drop=True)
        stamp = {str(dim): _label_text(label)}
        slices.append(one.assign_attrs({**stamp, **one.attrs}))
    return str(dim), labels, slices


def plan(raster: xr.DataArray | xr.Dataset, **options: Unpack[OptionDict]) -> CogPlan:
    """Plan a write: levels, chunks, tasks, memory and size; nothing is computed.

    Parameters
    ----------
    raster : DataArray or Dataset
        As in :func:`to_cog`.
    **options
        Fields of :class:`lazycog.CogOptions`.

    Returns
    -------
    CogPlan
        Printable, with an HTML view in notebooks.

    Raises
    ------
    InputError
        The raster cannot be written as it is.
    OptionError
        An option is unknown, illegal, or contradicts another.
    CapacityError
        The file cannot be a classic TIFF as ``bigtiff=False`` asks.

    Examples
    --------
    >>> import dask.array as da, xarray as xr
    >>> raster = xr.DataArray(da.zeros((10980, 10980), "uint16"), dims=("y", "x"))
    >>> [level.height for level in plan(raster).levels]
    [10980, 5490, 2745, 1372, 686, 343]
    """
    chosen = CogOptions.from_mapping(options)
    return _write.plan(as_raster(raster, chosen), chosen)


def quicklook(  # noqa: PLR0913 - all but two by name
    raster: xr.DataArray | xr.Dataset | str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    bands: Sequence[int | str] | None = None,
    stretch: Literal["percentile", "minmax"] | None = "percentile",
    percentiles: tuple[float, float] = (2.0, 98.0),
    size: int = 1024,
    background: tuple[int, int, int] | None = None,
    quality: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Path:
    """Draw a small 8-bit picture of a raster of any size, georeferenced.

    Parameters
    ----------
    raster : DataArray, Dataset, path or URL
        As in :func:`to_cog`, or a GeoTIFF. Of a GeoTIFF, also of one opened by
        :func:`open_cog`, the smallest overview that suffices is read; every chunk of
        another raster is read once.
    dst : path
        Ends in .png, .jpg, .webp or .jp2. CRS and transform stand in the side file
        .aux.xml, those of a .jp2 inside.
    bands : sequence of int or str, optional
        One for grey, three for colour: 1-based numbers or names. By default the first
        three of 3 or 4 bands, else the first.
    stretch : "percentile", "minmax" or None
        What becomes black and white in each band of the small picture. None takes
        values as they are, cut off below 0 and above 255.
    percentiles : (low, high)
        For the stretch of that name.
    size : int
        Longest side in pixels; a smaller raster keeps its size.
    background : (red, green, blue), optional
        Colour of missing pixels. By default they are transparent, in a JPEG white.
    quality : int, optional
        1-100 for JPEG and WebP (75 by default) and JPEG 2000 (lossless by default).
    storage_options : mapping, optional
        For a URL, as in :func:`open_cog`.

    Returns
    -------
    Path
        The picture; an older one is replaced when it is complete.

    Raises
    ------
    InputError
        The raster cannot be read, or has no such band.
    OptionError
        An option has a value outside its rule, or the format is unknown.
    SinkError
        The picture cannot be written.

    Notes
    -----
    A pixel of the picture is the mean of the valid source pixels that fall into it;
    NaN, infinity, nodata and pixels masked in the file are not valid. Of complex pixels
    the magnitude is shown.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile, xarray as xr
    >>> raster = xr.DataArray(np.eye(600, dtype="uint8"), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     quicklook(raster, pathlib.Path(folder) / "eye.png", size=100).name
    'eye.png'
    """
    look = _quicklook.Look(
        bands=None if bands is None else tuple(bands),
        stretch=stretch,
        percentiles=percentiles,
        size=size,
        background=background,
        quality=quality,
    )
    if isinstance(raster, str | os.PathLike):
        raster = _reader.open_cog(raster, storage_options=storage_options)
    elif storage_options is not None:
        raise OptionError("storage_options are for a URL; this raster is open already")
    return _quicklook.draw(as_raster(raster, CogOptions()), dst, look)


def as_raster(raster: xr.DataArray | xr.Dataset, options: CogOptions) -> Raster:
    """Read an xarray object: pixels as (band, row, col), and what they mean.

    Parameters
    ----------
    raster : DataArray or Dataset
        What to write.
    options : CogOptions
        Metadata given here goes before the raster's own.

    Returns
    -------
    Raster
        Lazy where the object is lazy.

    Raises
    ------
    InputError
        The object has no raster in it, or one that a GeoTIFF cannot hold.
    """
    if isinstance(raster, xr.Dataset):
        found = _from_dataset(raster, promote=options.promote)
    elif isinstance(raster, xr.DataArray):
        found = _from_array(raster)
    else:
        raise InputError(
            f"to_cog takes a DataArray or Dataset, not {type(raster).__name__}; "
            "wrap arrays: xarray.DataArray(array, dims=('y', 'x'))"
        )
    if not all(found.pixels.shape):
        raise InputError(
            f"the raster is empty: shape {found.pixels.shape} (band, row, col)"
        )
    found = replace(found, description=with_options(found.description, options))
    check_facts(found.description, found.size, options)
    found = _with_mask(found, options)
    return found if options.tiling_scheme is None else _tiling.project(found, options)


def _with_mask(raster: Raster, options: CogOptions) -> Raster:
    """Put a given mask last; an alpha band becomes one where the codec holds none."""
    mask = options.mask
    if isinstance(mask, bool):
        return raster if mask else _alpha_as_mask(raster, options)
    if isinstance(mask, xr.DataArray):
        mask = mask.transpose(*_spatial_dims(mask)).data
    if not hasattr(mask, "shape") or not hasattr(mask, "dtype"):
        raise OptionError(
            f"mask={mask!r}: give True, False, or a 2-D bool array, True where valid"
        )
    if tuple(mask.shape) != raster.size or mask.dtype != np.bool_:
        raise OptionError(
            f"mask= has shape {tuple(mask.shape)} and dtype {mask.dtype}; give a 2-D "
            f"bool array of the raster's {raster.size} (row, col), True where valid"
        )
    band = xr.Variable(("band", "y", "x"), mask[np.newaxis])
    chunks = getattr(raster.pixels, "chunks", None)
    if chunks is not None:
        band = band.chunk({"band": 1, "y": chunks[1], "x": chunks[2]})
    band = band.astype(raster.pixels.dtype)
    return replace(raster, pixels=_stack([raster.pixels, band]), mask_given=True)


def _alpha_as_mask(raster: Raster, options: CogOptions) -> Raster:
    """Let JPEG keep transparency: GDAL's COG driver makes the same of an alpha band."""
    description = raster.description
    last = description.count - 1
    packed = options.interleave in {"auto", "pixel"}
    if (
        options.compress != "jpeg"
        or not packed
        or description.alpha != last
        or not last
    ):
        return raster
    names = description.colorinterp
    kept = replace(
        description,
        bands=description.bands[:-1],
        colorinterp=None if names is None else names[:-1],
    )
    return replace(raster, description=kept, mask_given=True)


def _from_array(array: xr.DataArray) -> Raster:
    y_dim, x_dim = _spatial_dims(array)
    other = [dim for dim in array.dims if dim not in {y_dim, x_dim}]
    ordered = array.transpose(*other, y_dim, x_dim)
    pixels = ordered.data
    if not other:
        pixels = pixels[np.newaxis]
    elif len(other) > 1:
        # further dims become bands, the last of them fastest
        count = math.prod(pixels.shape[:-2])
        pixels = pixels.reshape(count, *pixels.shape[-2:])
    bands = _bands(array, other, int(pixels.shape[0]))
    return Raster(pixels, _describe(array, y_dim, x_dim, bands))


def _from_dataset(dataset: xr.Dataset, *, promote: bool) -> Raster:
    names = [name for name in dataset.data_vars if _has_raster(dataset[name])]
    if not names:
        raise InputError(
            f"no variable of the Dataset has spatial dims (dims: {list(dataset.sizes)}"
            "): name them 'y' and 'x' (or latitude and longitude), or call "
            ".rio.set_spatial_dims(x_dim=..., y_dim=...)"
        )
    variables = [_located(dataset, name) for name in names]
    if promote:
        common = np.result_type(*(each.dtype for each in variables))
        with xr.set_options(keep_attrs=True):
            variables = [each.astype(common) for each in variables]
    rasters = [_from_array(each) for each in variables]
    dtypes = {
        str(name): each.description.dtype
        for name, each in zip(names, rasters, strict=True)
    }
    if len(set(dtypes.values())) > 1:
        raise InputError(
            f"the variables have several dtypes: {dtypes}; one file holds one, so cast "
            "first, for example dataset.astype('float32'), or say promote=True for "
            f"their common type {np.result_type(*dtypes.values())}"
        )
    sizes = {each.size for each in rasters}
    places = {
        (each.description.crs_wkt, each.description.transform) for each in rasters
    }
    if len(sizes) > 1 or len(places) > 1:
        raise InputError(
            "the variables do not share one grid (size, CRS and transform); align them "
            "first, for example with .rio.reproject_match()"
        )
    nodata = {str(each.description.nodata) for each in rasters}
    if len(nodata) > 1:
        raise InputError(
            f"the variables have several nodata values: {sorted(nodata)}; a GeoTIFF "
            "holds one, so unify them first"
        )
    bands = tuple(
        band
        if len(each.description.bands) > 1
        else replace(band, description=str(name))
        for name, each in zip(names, rasters, strict=True)
        for band in each.description.bands
    )
    first = rasters[0].description
    pixels = rasters[0].pixels
    if len(rasters) > 1:
        pixels = _stack([each.pixels for each in rasters])
    tags = _tags(dataset.attrs)
    return Raster(pixels, replace(first, bands=bands, tags=tags))


def _stack(arrays: Sequence[Any]) -> Any:  # noqa: ANN401
    variables = [
        each if isinstance(each, xr.Variable) else xr.Variable(("band", "y", "x"), each)
        for each in arrays
    ]
    return xr.Variable.concat(variables, dim="band").data


def _has_raster(array: xr.DataArray) -> bool:
    """Whether a variable has spatial dims; bounds and grid mappings have none."""
    try:
        return {array.rio.y_dim, array.rio.x_dim} <= set(array.dims)
    except RioXarrayError:
        return False


def _located(dataset: xr.Dataset, name: Hashable) -> xr.DataArray:
    """Give a variable with the Dataset's grid mapping, which xarray may not attach."""
    array = dataset[name]
    if array.rio.crs is not None:
        return array
    mapping = dataset.rio.grid_mapping
    if mapping in dataset.variables:
        array = array.assign_coords({mapping: dataset[mapping].variable})
        array = array.rio.write_grid_mapping(mapping)
    return array


def _spatial_dims(array: xr.DataArray) -> tuple[Hashable, Hashable]:
    try:
        return array.rio.y_dim, array.rio.x_dim
    except RioXarrayError as error:
        raise InputError(
            f"no spatial dims among {array.dims}: name them 'y' and 'x' (or latitude "
            "and longitude), or call .rio.set_spatial_dims(x_dim=..., y_dim=...)"
        ) from error


def _bands(
    array: xr.DataArray, band_dims: Sequence[Hashable], count: int
) -> tuple[BandInfo, ...]:
    """Read what the object says about each band."""
    attrs = {**array.attrs}
    encoding = array.encoding if not _is_decoded(array) else {}
    names = _per_band(attrs.get("long_name"), count, "long_name")
    if band_dims:
        columns = [_labels(array, dim, alone=len(band_dims) == 1) for dim in band_dims]
        labels = [
            " ".join(each for each in row if each is not None) or None
            for row in itertools.product(*columns)
        ]
        names = [name or label for name, label in zip(names, labels, strict=True)]
    elif names == [None] and array.name is not None:
        name = str(array.name)
        names = [None if DASK_NAME.fullmatch(name) else name]
    scales = attrs.get(
        "scales", attrs.get("scale_factor", encoding.get("scale_factor"))
    )
    offsets = attrs.get("offsets", attrs.get("add_offset", encoding.get("add_offset")))
    return tuple(
        BandInfo(
            description=None if name is None else str(name),
            scale=1.0 if scale is None else float(scale),
            offset=0.0 if offset is None else float(offset),
            unit=None if unit is None else str(unit),
            tags=_tags(tags or {}),
        )
        for name, scale, offset, unit, tags in zip(
            names,
            _per_band(scales, count, "scale_factor"),
            _per_band(offsets, count, "add_offset"),
            _per_band(attrs.get("units"), count, "units"),
            _per_band(attrs.get("band_tags"), count, "band_tags"),
            strict=True,
        )
    )


def _is_decoded(array: xr.DataArray) -> bool:
    """Whether xarray has applied scale and offset already: then they are dropped."""
    packed = array.encoding.get("dtype")
    return packed is not None and np.dtype(packed) != array.dtype


def _labels(
    array: xr.DataArray, band_dim: Hashable, *, alone: bool
) -> list[str | None]:
    """Give a name per band from the coordinate of a band dim."""
    count = array.sizes[band_dim]
    if band_dim not in array.coords:
        # two unnamed dims need something to be told apart by
        return [None if alone else f"{band_dim}={index}" for index in range(count)]
    values = array.coords[band_dim].values
    if values.dtype.kind in "iu" and str(band_dim) == "band" and alone:
        return [None] * count  # plain band numbers say nothing
    if values.dtype.kind == "M":
        return [_label_text(each) for each in values]
    return [str(each) for each in values]


def _label_text(label: object) -> str:
    """Write a label as a tag's text; a date as short as it is exact."""
    if isinstance(label, np.datetime64):
        return str(np.datetime_as_string(label, unit="auto"))
    return str(label)


def _per_band(value: object, count: int, name: str) -> list[Any]:
    """Spread a value over bands: one per band, or one for all."""
    if isinstance(value, list | tuple | np.ndarray):
        if len(value) != count:
            raise InputError(
                f"attribute {name} has {len(value)} values for {count} bands; give one "
                "per band, or one for all"
            )
        return list(value)
    return [value] * count


def _describe(
    array: xr.DataArray, y_dim: Hashable, x_dim: Hashable, bands: tuple[BandInfo, ...]
) -> Description:
    dtype = array.dtype.name
    stored_dtype(dtype)
    check_band_nodata(array.attrs.get("nodatavals"))
    try:
        crs = array.rio.crs
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the raster's CRS cannot be read: {error}; set it with .rio.write_crs()"
        ) from error
    try:
        nodata = array.rio.nodata
    except (OverflowError, ValueError) as error:
        raise InputError(
            f"the raster's own nodata does not fit its dtype {dtype}: {error} Set one "
            "that does with .rio.write_nodata(), or delete the attribute _FillValue"
        ) from error
    return Description(
        dtype=dtype,
        crs_wkt=None if crs is None else crs.to_wkt(),
        transform=_transform(array, y_dim, x_dim),
        nodata=_plain_number(nodata),
        tags=_tags(array.attrs),
        bands=bands,
        gcps=_gcps(array),
        gcps_crs_wkt=None if crs is None else crs.to_wkt(),
    )


def _gcps(array: xr.DataArray) -> tuple[GroundControlPoint, ...]:
    """Read ground control points as rioxarray keeps them."""
    return tuple(
        GroundControlPoint(each.row, each.col, each.x, each.y, each.z or 0.0)
        for each in array.rio.get_gcps() or ()
    )


def _plain_number(value: Any) -> float | int | None:  # noqa: ANN401 - NumPy scalars
    if value is None:
        return None
    number = value.item() if hasattr(value, "item") else value
    return number if isinstance(number, int | float) else float(number)


def _tags(attrs: Mapping[Hashable, Any]) -> dict[str, str]:
    """Turn attributes into dataset tags, but for those with a place of their own."""
    return {
        str(name): text(value)
        for name, value in sorted(attrs.items(), key=lambda item: str(item[0]))
        if name not in OWN_ATTRS
        and value is not None
        # GDAL's statistics of another file, as rioxarray opens it
        and not str(name).startswith("STATISTICS_")
    }


def _transform(
    array: xr.DataArray, y_dim: Hashable, x_dim: Hashable
) -> tuple[float, float, float, float, float, float]:
    """Give the six numbers of the transform, from coordinates or GeoTransform."""
    try:
        stored = array.rio._cached_transform()  # noqa: SLF001 - no public reader of it
    except ValueError as error:
        raise InputError(
            f"the raster's GeoTransform cannot be read: {error}; set it with "
            ".rio.write_transform(transform)"
        ) from error
    for dim in (x_dim, y_dim):
        if dim not in array.coords:
            if stored is None:
                _check_not_curvilinear(array, y_dim, x_dim)
            return IDENTITY if stored is None else _checked(_six(stored))
        _check_uniform(array, dim)
        if array.sizes[dim] == 1 and stored is None:
            raise InputError(
                f"dim {dim!r} has a single coordinate, so its pixel size is not known; "
                "say it with .rio.write_transform(transform)"
            )
    rotated = stored is not None and (stored.b != 0 or stored.d != 0)
    if rotated:
        return _checked(_six(stored))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _checked(
            _six(
                array.rio.transform(
                    recalc=min(array.sizes[x_dim], array.sizes[y_dim]) > 1
                )
            )
        )


def _checked(
    transform: tuple[float, float, float, float, float, float],
) -> tuple[float, float, float, float, float, float]:
    """Refuse a transform that puts pixels nowhere, or all in one place."""
    a, b, _, d, e, _ = transform
    if not all(map(math.isfinite, transform)) or a * e == b * d:
        raise InputError(
            f"the transform {transform} gives pixels no place or no size; set a finite "
            "one with .rio.write_transform(transform)"
        )
    return transform


def _check_not_curvilinear(
    array: xr.DataArray, y_dim: Hashable, x_dim: Hashable
) -> None:
    """Refuse a place per pixel, which would be lost."""
    for name, values in array.coords.items():
        axis = values.attrs.get("standard_name", str(name).lower())
        if set(values.dims) == {y_dim, x_dim} and axis in CURVILINEAR:
            raise InputError(
                f"the coordinate {name!r} is 2-D, one value per pixel, which no affine "
                "transform describes; regrid the raster first, or drop it: "
                f".drop_vars({name!r})"
            )


def _six(transform: Affine) -> tuple[float, float, float, float, float, float]:
    return tuple(float(each) for each in transform[:6])  # type: ignore[return-value]


def _check_uniform(array: xr.DataArray, dim: Hashable) -> None:
    """Refuse coordinates that no affine transform describes."""
    values = array.coords[dim].values
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise InputError(
            f"the coordinate of dim {dim!r} must be 1-D numbers, not {values.dtype} "
            f"with {values.ndim} dims"
        )
    if len(values) == 1:
        return
    values = values.astype(np.float64)
    step = (values[-1] - values[0]) / (len(values) - 1)
    even = values[0] + step * np.arange(len(values))
    departure = np.abs(values - even).max()
    if not step or not departure <= UNIFORMITY * abs(step):
        raise InputError(
            f"the coordinate of dim {dim!r} is not evenly spaced (off by {departure:g} "
            f"at a step of {step:g}); regrid it first, for example with .interp()"
        )


class _Geo:
    """What both accessors do."""

    def __init__(self, xarray_obj: Any) -> None:  # noqa: ANN401 - either kind
        self._obj = xarray_obj

    def to_cog(
        self,
        dst: str | os.PathLike[str],
        *,
        compute: bool = True,
        **options: Unpack[OptionDict],
    ) -> Any:  # noqa: ANN401 - a CogResult, or a Delayed of one
        """Write as one Cloud-Optimized GeoTIFF; see :func:`lazycog.to_cog`."""
        return to_cog(self._obj, dst, compute=compute, **options)

    def to_tiled_geotiff(
        self,
        dst: str | os.PathLike[str],
        *,
        compute: bool = True,
        **options: Unpack[OptionDict],
    ) -> Any:  # noqa: ANN401 - a CogResult, or a Delayed of one
        """Write as a tiled GeoTIFF; see :func:`lazycog.to_tiled_geotiff`."""
        return to_tiled_geotiff(self._obj, dst, compute=compute, **options)

    def to_cogs(
        self,
        template: str | os.PathLike[str],
        dim: Hashable | None = None,
        *,
        compute: bool = True,
        **options: Unpack[OptionDict],
    ) -> Any:  # noqa: ANN401 - a list of CogResult, or a Delayed of one
        """Write one COG per label or variable; see :func:`lazycog.to_cogs`."""
        return to_cogs(self._obj, template, dim, compute=compute, **options)

    def plan(self, **options: Unpack[OptionDict]) -> CogPlan:
        """Plan the write; see :func:`lazycog.plan`."""
        return plan(self._obj, **options)

    def quicklook(
        self,
        dst: str | os.PathLike[str],
        *,
        bands: Sequence[int | str] | None = None,
        stretch: Literal["percentile", "minmax"] | None = "percentile",
        percentiles: tuple[float, float] = (2.0, 98.0),
        size: int = 1024,
        background: tuple[int, int, int] | None = None,
        quality: int | None = None,
    ) -> Path:
        """Draw a small picture; see :func:`lazycog.quicklook`."""
        return quicklook(
            self._obj,
            dst,
            bands=bands,
            stretch=stretch,
            percentiles=percentiles,
            size=size,
            background=background,
            quality=quality,
        )


@xr.register_dataarray_accessor("geo")
class GeoDataArray(_Geo):
    """``DataArray.geo``."""


@xr.register_dataset_accessor("geo")
class GeoDataset(_Geo):
    """``Dataset.geo``."""


def _spell_out(function: Any, without: str = " ") -> None:  # noqa: ANN401 - any function
    """Put every option into a signature, for help() and tab completion."""
    signature = inspect.signature(function)
    kept = [
        each
        for each in signature.parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    spelled = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=each.type,
        )
        for each in fields(CogOptions)
        if not each.name.startswith(without)
    ]
    function.__signature__ = signature.replace(parameters=[*kept, *spelled])


for _function in (
    *(to_cog, to_cogs, plan),
    *(_Geo.to_cog, _Geo.to_cogs, _Geo.plan),
):
    _spell_out(_function)
for _function in (to_tiled_geotiff, _Geo.to_tiled_geotiff):
    _spell_out(_function, without="overview_")
