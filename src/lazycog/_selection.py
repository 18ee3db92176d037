"""Which variable of an opened dataset, and which bands of a raster."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Opened = xr.DataArray | xr.Dataset
RASTER_DIMS = 2
MAX_DIMS = 3
CF_MARKS = ("grid_mapping_name", "crs_wkt", "spatial_ref")
"""Attributes that tell a grid mapping from a variable with pixels."""


def choose(path: str, opened: Opened, variable: str | None) -> Opened:
    """Take one variable, or all where they share a grid.

    Raises
    ------
    InputError
        There is no such variable, or the choice is not clear.
    """
    if isinstance(opened, xr.DataArray):
        if variable is not None and variable != opened.name:
            raise InputError(f"{path} has bands, not variables; leave out {variable!r}")
        return opened
    names = rasters(opened)
    if variable in opened.data_vars:
        return opened[variable]
    if variable is not None:
        raise InputError(
            f"{path} has no variable {variable!r}{_hint(variable, names)}; it has "
            f"{', '.join(names) or 'none with two dims'}"
        )
    if not names:
        raise InputError(f"{path} has no variable with two or more dims")
    if len(names) == 1:
        return opened[names[0]]
    shapes = {name: opened[name].shape for name in names}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(
            f"{path} has variables of several shapes: {listed}; choose one with "
            "variable= (--variable)"
        )
    return opened[names]


def rasters(dataset: xr.Dataset) -> list[str]:
    """Name the variables that have pixels: no grid mappings, no bounds."""
    return [
        str(name)
        for name, variable in dataset.data_vars.items()
        if variable.ndim >= RASTER_DIMS
        and not any(mark in variable.attrs for mark in CF_MARKS)
    ]


def select_bands(raster: Opened, bands: Sequence[int | str]) -> Opened:
    """Keep bands by 1-based number or by name."""
    if isinstance(raster, xr.Dataset):
        names = [str(name) for name in raster.data_vars]
        return raster[[names[each] for each in _indexes(bands, names)]]
    dim = _band_dim(raster)
    count = 1 if dim is None else raster.sizes[dim]
    indexes = _indexes(bands, _band_names(raster, dim, count))
    if dim is None:
        return raster
    selected = raster.isel({dim: indexes})
    selected.attrs = {
        name: _picked(value, indexes, count) if name in PER_BAND_ATTRS else value
        for name, value in raster.attrs.items()
    }
    return selected


PER_BAND_ATTRS = frozenset({"long_name", "units", "scales", "offsets", "band_tags"})


def _picked(value: object, indexes: Sequence[int], count: int) -> object:
    if isinstance(value, list | tuple | np.ndarray) and len(value) == count:
        return tuple(value[index] for index in indexes)
    return value


def _band_dim(raster: xr.DataArray) -> Hashable | None:
    """Give the dim that is neither row nor column."""
    if raster.ndim < MAX_DIMS:
        return None
    spatial = {raster.rio.y_dim, raster.rio.x_dim}
    others = [dim for dim in raster.dims if dim not in spatial]
    if len(others) != 1:
        raise InputError(
            f"bands cannot be chosen among dims {raster.dims}: there is more than one "
            "besides rows and columns"
        )
    return others[0]


def _band_names(raster: xr.DataArray, dim: Hashable | None, count: int) -> list[str]:
    """Give a name per band: its description, else its label."""
    names = raster.attrs.get("long_name")
    if isinstance(names, list | tuple | np.ndarray) and len(names) == count:
        return [str(name) for name in names]
    if dim is not None and dim in raster.coords:
        return [str(label) for label in raster.coords[dim].values]
    return [str(raster.name)] * count


def _indexes(bands: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Turn 1-based numbers and names into indexes."""
    indexes = []
    for band in bands:
        if isinstance(band, str) and band in names:
            indexes.append(names.index(band))
            continue
        if isinstance(band, str) and not band.isdecimal():
            raise InputError(
                f"no band {band!r}{_hint(band, names)}; there are {', '.join(names)}"
            )
        number = int(band)
        if not 1 <= number <= len(names):
            raise InputError(f"no band {number}: bands are numbered 1 to {len(names)}")
        indexes.append(number - 1)
    return indexes


def _hint(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
