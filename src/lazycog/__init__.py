"""Write a lazy xarray/Dask raster into one Cloud-Optimized GeoTIFF, in a single pass.

Importing registers the accessors ``DataArray.geo`` and ``Dataset.geo``.
"""

from lazycog import _accessor as _accessor
from lazycog._api import plan, quicklook, to_cog, to_cogs, to_tiled_geotiff
from lazycog._options import CogOptions
from lazycog._plan import CogPlan
from lazycog._reader import open_cog, read_window
from lazycog._report import Report
from lazycog._result import CogResult
from lazycog._stale import abort_stale
from lazycog._validate import validate
from lazycog._write import abort_lazy as abort
from lazycog.errors import (
    CapacityError,
    CogError,
    CogWarning,
    DestinationExistsError,
    InputError,
    MissingExtraError,
    OptionError,
    SinkError,
    SourceChangedError,
    SourceNotFoundError,
    TileEncodeError,
)

__version__ = "0.1.0"

__all__ = [
    "CapacityError",
    "CogError",
    "CogOptions",
    "CogPlan",
    "CogResult",
    "CogWarning",
    "DestinationExistsError",
    "InputError",
    "MissingExtraError",
    "OptionError",
    "Report",
    "SinkError",
    "SourceChangedError",
    "SourceNotFoundError",
    "TileEncodeError",
    "abort",
    "abort_stale",
    "open_cog",
    "plan",
    "quicklook",
    "read_window",
    "to_cog",
    "to_cogs",
    "to_tiled_geotiff",
    "validate",
]
