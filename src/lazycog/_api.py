"""The functions that take an xarray object; the ``.geo`` accessors have the same."""

from __future__ import annotations

import inspect
import os
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from lazycog import _notice, _quicklook, _reader, _write, _write_many
from lazycog._look import Look
from lazycog._options import CogOptions
from lazycog._raster import as_raster, slices_of
from lazycog._template import paths_of
from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path
    from typing import Literal, Unpack

    import xarray as xr

    from lazycog._options import OptionDict
    from lazycog._plan import CogPlan
    from lazycog._write import Raster

Function = TypeVar("Function", bound="Callable[..., Any]")


def _spelled_out(function: Function, without: str = " ") -> Function:
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
    changed: Any = function
    changed.__signature__ = signature.replace(parameters=[*kept, *spelled])
    return function


@_spelled_out
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
    found = as_raster(raster, chosen)
    _tell_what_lacks([found])
    return _write.write(found, dst, chosen, compute=compute)


@partial(_spelled_out, without="overview_")
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


@_spelled_out
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
    name, labels, slices = slices_of(raster, dim)
    paths = paths_of(os.fspath(template), name, labels)
    rasters = [as_raster(each, chosen) for each in slices]
    _tell_what_lacks(rasters)
    return _write_many.write_many(rasters, paths, chosen, compute=compute)


def _tell_what_lacks(rasters: Sequence[Raster]) -> None:
    """Warn once of each thing that was lost on the way here."""
    lacks = next(filter(None, (each.description.lacks for each in rasters)), None)
    lost = next(filter(None, (each.lost for each in rasters)), None)
    for told in filter(None, (lacks, lost)):
        _notice.warn(told)


@_spelled_out
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
    gamma: float = 1.0,
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
    gamma : float
        Above 1 brightens what lies between black and white: 2 shows dark ground beside
        clouds.
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
    look = Look(
        bands=None if bands is None else tuple(bands),
        stretch=stretch,
        percentiles=percentiles,
        gamma=gamma,
        size=size,
        background=background,
        quality=quality,
    )
    if isinstance(raster, str | os.PathLike):
        raster = _reader.open_cog(raster, storage_options=storage_options)
    elif storage_options is not None:
        raise OptionError("storage_options are for a URL; this raster is open already")
    return _quicklook.draw(as_raster(raster, CogOptions(), carry=False), dst, look)
