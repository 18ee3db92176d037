"""Sources as the command line names them: flags, and the raster that they choose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import rasterio.crs
import rasterio.errors

from lazycog import _flags, _location, _open, _reader
from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

GEOTIFF_SUFFIXES = frozenset({".tif", ".tiff", ".gtiff"})
"""What a picture is drawn of without opening the full resolution."""


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that choose a part of a source."""
    for option in (
        click.option(
            "--source-option",
            type=_flags.KeyValue(),
            multiple=True,
            help="Option of the source's fsspec file system, repeatable.",
        ),
        click.option("--group", help="Group of a Zarr store or NetCDF file."),
        click.option(
            "--bands", multiple=True, help="Bands to take: 1-based numbers or names."
        ),
        click.option("--variable", help="Variable of a Zarr store or NetCDF file."),
    ):
        command = option(command)
    return command


crs_option = click.option("--crs", help="CRS of a source that has none, as EPSG:32632.")


def opened(parameters: dict[str, Any]) -> xr.DataArray | xr.Dataset:
    """Open what the flags of a command choose.

    Raises
    ------
    OptionError
        The URL has lost a slash, or ``--crs`` is no CRS or not the source's.
    """
    bands = [band for text in parameters["bands"] for band in names(text)]
    hint = _location.lost_slash(parameters["src"])
    if hint:
        raise OptionError(f"{parameters['src']}: {hint}")
    raster = _open.open_source(
        parameters["src"],
        variable=parameters["variable"],
        bands=bands or None,
        group=parameters["group"],
        storage_options=dict(parameters["source_option"]) or None,
    )
    return _placed(raster, parameters.get("crs"))


def _placed(
    raster: xr.DataArray | xr.Dataset, crs: str | None
) -> xr.DataArray | xr.Dataset:
    """Give a raster without a CRS the one of the caller."""
    if crs is None:
        return raster
    try:
        wanted = rasterio.crs.CRS.from_user_input(crs)
    except rasterio.errors.CRSError as error:
        raise OptionError(
            f"--crs {crs} is no CRS: {error}; give one as EPSG:32632"
        ) from error
    own = raster.rio.crs
    if own is not None and own != wanted:
        raise OptionError(
            f"--crs {crs} is not the source's {own.to_string()}: it is for a source "
            "without one, and nothing is reprojected; drop it"
        )
    placed: xr.DataArray | xr.Dataset = raster.rio.write_crs(wanted)
    return placed


def opened_for_picture(parameters: dict[str, Any]) -> xr.DataArray | xr.Dataset:
    """Open a GeoTIFF with its overviews, anything else as for a conversion."""
    geotiff = Path(parameters["src"]).suffix.lower() in GEOTIFF_SUFFIXES
    if not geotiff or parameters["variable"] or parameters["group"]:
        return opened({**parameters, "bands": ()})
    options = dict(parameters["source_option"]) or None
    return _reader.open_cog(parameters["src"], storage_options=options)


def names(text: str) -> Sequence[str]:
    """Split a flag's list at its commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


def refuse_same_file(src: str, dst: str) -> None:
    """Refuse to replace the file that is being read.

    Raises
    ------
    OptionError
        They are the same file.
    """
    source, target = Path(src), Path(dst)
    if source.exists() and target.exists() and source.samefile(target):
        raise OptionError(f"{dst} is the source itself; choose another destination")
