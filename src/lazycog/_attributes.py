"""What the attributes and coordinates of an array say about its raster."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from lazycog._content import check_band_nodata, text
from lazycog._encoding import stored_dtype
from lazycog._georef import (
    IDENTITY,
    BandInfo,
    Description,
    GroundControlPoint,
)
from lazycog._inherited import Inherited
from lazycog.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import xarray as xr
    from affine import Affine
    from numpy.typing import NDArray

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
PER_BAND: Mapping[str, str] = {
    "long_name": "descriptions",
    "units": "units",
    "scales": "scales",
    "scale_factor": "scales",
    "offsets": "offsets",
    "add_offset": "offsets",
    "band_tags": "band_tags",
}
"""Attributes with a value per band, and the options that go before them."""


def bands_of(
    array: xr.DataArray, band_dims: Sequence[Hashable], count: int
) -> tuple[BandInfo, ...]:
    """Read what the object says about each band."""
    encoding = array.encoding if not _is_decoded(array) else {}
    kept = kept_bands(array, count)
    attrs = {
        name: value
        for name, value in array.attrs.items()
        if name not in PER_BAND or _fits(value, count, kept)
    }
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
            tags=tags_of(tags or {}),
        )
        for name, scale, offset, unit, tags in zip(
            _names(array, band_dims, _per_band(attrs.get("long_name"), count, kept)),
            _per_band(scales, count, kept),
            _per_band(offsets, count, kept),
            _per_band(attrs.get("units"), count, kept),
            _per_band(attrs.get("band_tags"), count, kept),
            strict=True,
        )
    )


def _names(
    array: xr.DataArray, band_dims: Sequence[Hashable], names: list[Any]
) -> list[Any]:
    """Give a name per band: long_name, or the labels of its dims, or the array's."""
    if band_dims:
        return _labelled(array, band_dims, names)
    if names == [None] and array.name is not None:
        name = str(array.name)
        return [None if DASK_NAME.fullmatch(name) else name]
    return names


def _labelled(
    array: xr.DataArray, band_dims: Sequence[Hashable], names: list[Any]
) -> list[Any]:
    """Put the labels of dims where there is no long_name.

    One long_name for all bands does not tell them apart: the labels follow it.
    """
    columns = [_labels(array, dim, alone=len(band_dims) == 1) for dim in band_dims]
    labels = [
        " ".join(each for each in row if each is not None) or None
        for row in itertools.product(*columns)
    ]
    pairs = zip(names, labels, strict=True)
    if isinstance(array.attrs.get("long_name"), str) and len(labels) > 1:
        return [" ".join(filter(None, pair)) for pair in pairs]
    return [name or label for name, label in pairs]


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
        return [label_text(each) for each in values]
    return [str(each) for each in values]


def label_text(label: object) -> str:
    """Write a label as a tag's text; a date as short as it is exact."""
    if isinstance(label, np.datetime64):
        return str(np.datetime_as_string(label, unit="auto"))
    return str(label)


def kept_bands(array: xr.DataArray, count: int) -> list[int] | None:
    """Give which bands of an opened file a selection has kept, by their numbers.

    rioxarray numbers bands from 1, and a selection leaves the attributes as they were.
    """
    if "band" not in array.coords:
        return None
    numbers = np.atleast_1d(array.coords["band"].values)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu" or min(numbers) < 1:
        return None
    return [int(each) - 1 for each in numbers]


def _fits(value: object, count: int, kept: Sequence[int] | None) -> bool:
    """Whether there is a value per band, or one for all."""
    if not isinstance(value, list | tuple | np.ndarray) or len(value) == count:
        return True
    return kept is not None and max(kept) < len(value)


def _per_band(value: object, count: int, kept: Sequence[int] | None) -> list[Any]:
    """Spread a value that fits over bands: one per band, or one for all."""
    if not isinstance(value, list | tuple | np.ndarray):
        return [value] * count
    if len(value) == count:
        return list(value)
    return [value[index] for index in kept or ()]


def _inherited(array: xr.DataArray, count: int) -> Inherited:
    """Tell what xarray's arithmetic has kept of the raster that it began with."""
    kept = kept_bands(array, count)
    fill = array.attrs.get("_FillValue")
    nodata_dtype = None
    if array.dtype.kind == "f" and isinstance(fill, np.integer):
        nodata_dtype = fill.dtype.name
    return Inherited(
        nodata_dtype=nodata_dtype,
        lengths=tuple(
            (option, name, len(array.attrs[name]))
            for name, option in PER_BAND.items()
            if not _fits(array.attrs.get(name), count, kept)
        ),
    )


def describe(
    array: xr.DataArray, y_dim: Hashable, x_dim: Hashable, bands: tuple[BandInfo, ...]
) -> Description:
    """Read everything but the pixels.

    Parameters
    ----------
    array : DataArray
        What to write.
    y_dim, x_dim : hashable
        Its spatial dims.
    bands : tuple of BandInfo
        What :func:`bands_of` found.

    Returns
    -------
    Description
        Independent of xarray.

    Raises
    ------
    InputError
        A GeoTIFF cannot hold the dtype, CRS, transform or nodata value.
    """
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
        tags=tags_of(array.attrs),
        bands=bands,
        gcps=_gcps(array),
        gcps_crs_wkt=None if crs is None else crs.to_wkt(),
        inherited=_inherited(array, len(bands)),
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


def tags_of(attrs: Mapping[Hashable, Any]) -> dict[str, str]:
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
                return IDENTITY
            return _checked(_where_cut(array, stored, y_dim, x_dim))
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


def _where_cut(
    array: xr.DataArray, stored: Affine, y_dim: Hashable, x_dim: Hashable
) -> tuple[float, float, float, float, float, float]:
    """Move and scale a transform to where a selection of its pixels is.

    rioxarray gives pixels of a rotated raster the coordinates xc and yc, which are cut
    along; the transform stays that of the whole.
    """
    places = [array.coords.get(name) for name in ("xc", "yc")]
    if any(each is None or set(each.dims) != {y_dim, x_dim} for each in places):
        return _six(stored)
    xc, yc = (
        each.transpose(y_dim, x_dim).values for each in places if each is not None
    )
    rows, cols = xc.shape
    size = max(map(abs, (stored.a, stored.b, stored.d, stored.e)))
    found = []
    for values, along, down in ((xc, stored.a, stored.b), (yc, stored.d, stored.e)):
        per_col = (values[0, -1] - values[0, 0]) / (cols - 1) if cols > 1 else along
        per_row = (values[-1, 0] - values[0, 0]) / (rows - 1) if rows > 1 else down
        found += [per_col, per_row, values[0, 0] - (per_col + per_row) / 2]
    a, b, c, d, e, f = map(float, found)
    off = max(
        abs(c + a * (cols - 0.5) + b * (rows - 0.5) - xc[-1, -1]),
        abs(f + d * (cols - 0.5) + e * (rows - 0.5) - yc[-1, -1]),
    )
    if not off <= UNIFORMITY * size:
        _check_not_curvilinear(array, y_dim, x_dim)
    cut = (a, b, c, d, e, f)
    same = np.allclose(cut, _six(stored), rtol=1e-9, atol=UNIFORMITY * size / 1000)
    return _six(stored) if same else cut


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
        _check_sorted(values, dim)
        raise InputError(
            f"the coordinate of dim {dim!r} is not evenly spaced (off by {departure:g} "
            f"at a step of {step:g}); regrid it first, for example with .interp()"
        )


def _check_sorted(values: NDArray[np.float64], dim: Hashable) -> None:
    """Refuse coordinates that only stand in another order, as after a roll."""
    steps = np.diff(np.sort(values))
    even = np.abs(steps - steps.mean()).max() <= UNIFORMITY * steps.mean()
    if steps.mean() > 0 and even:
        raise InputError(
            f"the coordinate of dim {dim!r} is evenly spaced, but not in order: sort "
            f"it first, .sortby({dim!r})"
        )
