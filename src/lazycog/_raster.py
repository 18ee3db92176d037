"""From an xarray object to the raster that is written."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from rioxarray.exceptions import RioXarrayError

from lazycog import _carried, _notice, _tiling
from lazycog._attributes import bands_of, describe, label_text, tags_of
from lazycog._content import with_options
from lazycog._facts import check_facts
from lazycog._write import Raster
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from lazycog._georef import BandInfo, Description
    from lazycog._options import CogOptions


TAKEN_FOR_ALPHA = (
    "the last of four bands of uint8 is taken for alpha, of which JPEG keeps a mask "
    "alone; say colorinterp=['red', 'green', 'blue', 'alpha'] if it is, and else "
    "interleave='band' with colorinterp=['red', 'green', 'blue', 'undefined']"
)


def as_raster(
    raster: xr.DataArray | xr.Dataset, options: CogOptions, *, carry: bool = True
) -> Raster:
    """Read an xarray object: pixels as (band, row, col), and what they mean.

    Parameters
    ----------
    raster : DataArray or Dataset
        What to write.
    options : CogOptions
        Metadata given here goes before the raster's own.
    carry : bool
        Whether the mask of the file that it was opened from becomes its last band.

    Returns
    -------
    Raster
        Lazy where the object is lazy.

    Raises
    ------
    InputError
        The object has no raster in it, or one that a GeoTIFF cannot hold.
    OptionError
        `options` ask for a type in common of variables that are not there.
    """
    if isinstance(raster, xr.Dataset):
        found = _from_dataset(raster, promote=options.promote)
    elif isinstance(raster, xr.DataArray):
        if options.promote:
            raise OptionError(
                "promote=True casts the variables of a Dataset to one type; this is "
                "a DataArray, which has one: leave it out, or use .astype()"
            )
        found = _from_array(raster)
    else:
        raise InputError(
            f"to_cog takes a DataArray or Dataset, not {type(raster).__name__}; "
            "wrap arrays: xarray.DataArray(array, dims=('y', 'x'))"
        )
    if any(map(math.isnan, found.pixels.shape)):
        raise InputError(
            f"the raster's size is not known: shape {found.pixels.shape} (band, row, "
            "col), since Dask does not know its chunks; call .compute_chunk_sizes() on "
            "the Dask array, or use .where() in place of a selection by a mask"
        )
    if not all(found.pixels.shape):
        raise InputError(
            f"the raster is empty: shape {found.pixels.shape} (band, row, col); look "
            "at the selection that made it"
        )
    carried = _carried.NOTHING
    if carry:
        carried = _carried.of(_arrays(raster), found.description, options)
    description = replace(found.description, **carried.facts)
    description = with_options(description, carried.without_doubles(options))
    lost = (found.lost, carried.lost, _points_lost(description, found.size, options))
    lost_here = "; ".join(filter(None, lost))
    found = replace(found, description=description, lost=lost_here)
    check_facts(found.description, found.size, options)
    count = found.description.count
    found = _with_mask(found, options, carried.mask)
    if found.description.count < count and not carried.says_colours:
        found = replace(
            found, lost="; ".join(filter(None, (found.lost, TAKEN_FOR_ALPHA)))
        )
    return found if options.tiling_scheme is None else _tiling.project(found, options)


def _points_lost(
    description: Description, size: tuple[int, int], options: CogOptions
) -> str:
    """Tell of control points that count rows and columns of a larger raster."""
    height, width = size
    row = max((each.row for each in description.gcps), default=0.0)
    col = max((each.col for each in description.gcps), default=0.0)
    if options.gcps is not None or (row <= height and col <= width):
        return ""
    return (
        f"control points of this raster of {height} x {width} pixels (row, col) lie at "
        f"up to row {row:g} and column {col:g}: if it was cut from a larger one, they "
        "are not where its pixels are; count them from its corner and give gcps="
    )


def _arrays(raster: xr.DataArray | xr.Dataset) -> list[xr.DataArray]:
    """Give what becomes bands."""
    if isinstance(raster, xr.DataArray):
        return [raster]
    return [raster[name] for name in raster.data_vars if _has_raster(raster[name])]


def _with_mask(raster: Raster, options: CogOptions, own: Any) -> Raster:  # noqa: ANN401 - Dask's or NumPy's
    """Put a given mask last, or the raster's own.

    An alpha band becomes one where the codec holds none.

    Raises
    ------
    OptionError
        It is no mask of this raster.
    """
    mask = options.mask
    if isinstance(mask, bool):
        if own is None:
            return raster if mask else _alpha_as_mask(raster, options)
        mask = own
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
    bands = bands_of(array, other, int(pixels.shape[0]))
    return Raster(pixels, describe(array, y_dim, x_dim, bands))


def _from_dataset(dataset: xr.Dataset, *, promote: bool) -> Raster:
    names = [name for name in dataset.data_vars if _has_raster(dataset[name])]
    if not names:
        raise InputError(
            f"no variable of the Dataset has spatial dims (dims: {list(dataset.sizes)}"
            f"): {_naming(tuple(dataset.sizes))}"
        )
    variables = [_located(dataset, name) for name in names]
    if promote:
        common = np.result_type(*(each.dtype for each in variables))
        with xr.set_options(keep_attrs=True):
            variables = [each.astype(common) for each in variables]
    rasters = [_from_array(each) for each in variables]
    _check_alike(names, rasters)
    bands: list[BandInfo] = []
    for variable, raster in zip(variables, rasters, strict=True):
        bands += _named(variable, raster.description.bands, alone=len(names) == 1)
    first = rasters[0]
    pixels = first.pixels
    if len(rasters) > 1:
        pixels = _stack([each.pixels for each in rasters])
    tags = tags_of(dataset.attrs)
    description = replace(first.description, bands=tuple(bands), tags=tags)
    return Raster(pixels, description, lost=_left_out(dataset, names))


def _named(
    variable: xr.DataArray, bands: Sequence[BandInfo], *, alone: bool
) -> Sequence[BandInfo]:
    """Let bands say which variable they are of."""
    if len(bands) == 1:
        return [replace(bands[0], description=str(variable.name))]
    if alone or isinstance(variable.attrs.get("long_name"), str):
        return bands
    return [
        replace(band, description=f"{variable.name} {band.description or number}")
        for number, band in enumerate(bands, start=1)
    ]


def _left_out(dataset: xr.Dataset, names: Sequence[Hashable]) -> str:
    """Tell of variables with two dims or more that are not those of the raster."""
    bounds = {each.attrs.get("bounds") for each in dataset.variables.values()}
    left = {
        str(name): tuple(map(str, variable.dims))
        for name, variable in dataset.data_vars.items()
        if variable.ndim > 1 and name not in {*names, *bounds}
    }
    if not left:
        return ""
    told = ", ".join(f"{name} ({', '.join(dims)})" for name, dims in left.items())
    y_dim, x_dim = _spatial_dims(dataset[names[0]])
    return (
        f"variables left out, since their dims are not {y_dim!r} and {x_dim!r}: {told}"
        "; give their dims the same names, or drop them: .drop_vars()"
    )


def _check_alike(names: Sequence[Hashable], rasters: Sequence[Raster]) -> None:
    """Refuse variables that one file cannot hold together."""
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
    grids = {
        (each.size, each.description.crs_wkt, each.description.transform)
        for each in rasters
    }
    if len(grids) > 1:
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


def _stack(arrays: Sequence[Any]) -> Any:  # noqa: ANN401 - Dask's or NumPy's
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
            f"no spatial dims among {array.dims}: {_naming(array.dims)}"
        ) from error


def _naming(dims: tuple[Hashable, ...]) -> str:
    """Say how dims are told; .rio.set_spatial_dims() is forgotten by every copy."""
    short = {"lat": "latitude", "lon": "longitude"}
    names: dict[Hashable, str] = {dim: short[dim] for dim in dims if dim in short}
    if not names and len(dims) > 1 and not {"x", "y"} & set(dims):
        names = dict(zip(dims[-2:], ("y", "x"), strict=True))
    return (
        "name them 'y' and 'x', or 'latitude' and 'longitude'"
        f"{f', for example .rename({names})' if names else ''}; in a NetCDF file or "
        "Zarr store, CF's attributes axis or standard_name of their coordinates tell, "
        "too"
    )


def slices_of(
    raster: xr.DataArray | xr.Dataset, dim: Hashable | None
) -> tuple[str, list[object], list[xr.DataArray | xr.Dataset]]:
    """Give the field's name, the labels, and what is written for each.

    Raises
    ------
    OptionError
        The dim is not there, or a DataArray has no variables.
    """
    if dim is None:
        if not isinstance(raster, xr.Dataset):
            raise OptionError(
                "dim=None takes a file per variable, and a DataArray has none; say "
                f"dim=, one of {[*map(str, raster.dims)]}"
            )
        names = [each for each in raster.data_vars if _has_raster(raster[each])]
        left_out = _left_out(raster, names) if names else ""
        if left_out:
            _notice.warn(left_out)
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
        stamp = {str(dim): label_text(label)}
        slices.append(one.assign_attrs({**stamp, **one.attrs}))
    return str(dim), labels, slices
