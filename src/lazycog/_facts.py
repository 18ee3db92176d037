"""What a rasterio profile says about a raster, compared with the raster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import rasterio.crs
import rasterio.errors

from lazycog.errors import OptionError

if TYPE_CHECKING:
    from lazycog._georef import Description
    from lazycog._options import CogOptions

RGB = 3


def check_facts(
    description: Description, size: tuple[int, int], options: CogOptions
) -> None:
    """Compare what a rasterio profile says about the raster with the raster.

    Parameters
    ----------
    description : Description
        The raster.
    size : (int, int)
        Height and width in pixels.
    options : CogOptions
        Its ``profile`` holds the facts.

    Raises
    ------
    OptionError
        They differ: the profile is another raster's.
    """
    found: dict[str, object] = {
        "dtype": description.dtype,
        "count": description.count,
        "height": size[0],
        "width": size[1],
    }
    for name, said in (options.profile or {}).items():
        if said is None:
            continue
        if name in found:
            same = str(np.dtype(said)) if name == "dtype" else int(said)
            if same != found[name]:
                raise OptionError(
                    f"profile {name}={said!r} is not the raster's {found[name]!r}; "
                    "drop it from the profile, or convert the raster first"
                )
        elif name == "transform" and tuple(said)[:6] != description.transform:
            raise OptionError(
                f"profile transform={tuple(said)[:6]} is not the raster's "
                f"{description.transform}; drop it, or use .rio.write_transform()"
            )
        elif name == "crs":
            _check_crs(said, description)
        elif name == "photometric":
            _check_photometric(str(said).upper(), description, options)


def _check_crs(said: object, description: Description) -> None:
    wkt = description.crs_wkt
    own = None if wkt is None else rasterio.crs.CRS.from_wkt(wkt)
    try:
        wanted = rasterio.crs.CRS.from_user_input(said)
    except rasterio.errors.CRSError as error:
        raise OptionError(f"profile crs={said!r} is no CRS: {error}") from error
    if own != wanted:
        raise OptionError(
            f"profile crs={said!r} is not the raster's; drop it, or use "
            ".rio.write_crs() or .rio.reproject() first"
        )


def _check_photometric(
    said: str, description: Description, options: CogOptions
) -> None:
    rgb = description.count in {RGB, RGB + 1} and description.dtype == "uint8"
    legal = {
        "MINISBLACK": options.compress != "jpeg" or description.count != RGB,
        "RGB": rgb,
        "YCBCR": options.compress == "jpeg" and description.count == RGB,
        "PALETTE": description.colormap is not None,
    }
    if not legal.get(said, False):
        raise OptionError(
            f"profile photometric={said!r} cannot work with {description.count} "
            f"band(s) of {description.dtype} and compress={options.compress!r}; drop "
            "it, colorinterp= and colormap= say what bands mean"
        )
