"""``DataArray.geo`` and ``Dataset.geo``: the functions of the library as methods."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import xarray as xr

from lazycog import _api

if TYPE_CHECKING:
    from collections.abc import Callable

    Pixels = xr.DataArray | xr.Dataset

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _method(
    function: Callable[Concatenate[Pixels, Arguments], Result],
) -> Callable[Concatenate[_Geo, Arguments], Result]:
    """Make a method of a function: the object of the accessor is its raster."""

    @functools.wraps(function)
    def method(
        self: _Geo, /, *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        return function(self._obj, *arguments, **options)

    of_function = inspect.signature(function)
    _, *others = of_function.parameters.values()
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__dict__["__signature__"] = of_function.replace(parameters=[this, *others])
    summary = str(function.__doc__).partition("\n")[0]
    name = function.__name__
    method.__doc__ = f"{summary}\n\nThe arguments are those of :func:`lazycog.{name}`."
    method.__qualname__ = f"_Geo.{name}"
    return method


class _Geo:
    """What both accessors do."""

    def __init__(self, xarray_obj: Pixels) -> None:
        self._obj = xarray_obj

    to_cog = _method(_api.to_cog)
    to_cogs = _method(_api.to_cogs)
    to_tiled_geotiff = _method(_api.to_tiled_geotiff)
    plan = _method(_api.plan)
    quicklook = _method(_api.quicklook)


@xr.register_dataarray_accessor("geo")
class GeoDataArray(_Geo):
    """``DataArray.geo``."""


@xr.register_dataset_accessor("geo")
class GeoDataset(_Geo):
    """``Dataset.geo``."""
