"""Plans, results and descriptions as plain values, for ``--json``.

Numbers are numbers, and what JSON has no word for (NaN, infinities) is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazycog._plan import CogPlan
    from lazycog._result import CogResult

THREADS = (1, 2, 4, 8)
"""Thread counts whose expected memory is told."""


def to_json(values: object) -> str:
    """Write values as JSON that every parser takes.

    Parameters
    ----------
    values : object
        Mappings, sequences, text, numbers, booleans and None.

    Returns
    -------
    str
        Indented.

    Examples
    --------
    >>> print(to_json({"nodata": float("nan"), "levels": (1, 2.5)}))
    {
      "nodata": null,
      "levels": [
        1,
        2.5
      ]
    }
    """
    return json.dumps(_finite(values), indent=2, allow_nan=False)


def _finite(values: object) -> object:
    """Replace what JSON cannot hold."""
    if isinstance(values, float):  # NumPy's are floats, too
        return float(values) if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [_finite(value) for value in values]
    return values


def nodata_values(nodata: float | None) -> dict[str, Any]:
    """Tell a nodata value, NaN apart from none.

    Parameters
    ----------
    nodata : int, float or None
        Of a raster.

    Returns
    -------
    dict
        Keys nodata and nodata_is_nan; a whole number is an integer.

    Examples
    --------
    >>> nodata_values(0.0), nodata_values(float("nan"))["nodata_is_nan"]
    ({'nodata': 0, 'nodata_is_nan': False}, True)
    """
    is_nan = nodata is not None and math.isnan(nodata)
    whole = nodata is not None and math.isfinite(nodata) and nodata == int(nodata)
    return {
        "nodata": int(nodata) if nodata is not None and whole else nodata,
        "nodata_is_nan": is_nan,
    }


def result_values(result: CogResult, plan: CogPlan) -> dict[str, Any]:
    """Tell what was written, in values for :func:`to_json`."""
    return {
        "path": result.path,
        "size": result.size,
        "bigtiff": result.bigtiff,
        "raw_bytes": result.raw_bytes,
        "duration": result.duration,
        "tiles": result.tiles,
        "levels": [asdict(level) for level in result.levels],
        "statistics": [
            None if each is None else asdict(each) for each in result.statistics
        ],
        "peak_bytes_per_thread": plan.task_bytes,
    }


def plan_values(plan: CogPlan) -> dict[str, Any]:
    """Tell what would be written, in values for :func:`to_json`."""
    return {
        "width": plan.width,
        "height": plan.height,
        "count": plan.count,
        "dtype": plan.encoding.dtype,
        **nodata_values(plan.encoding.nodata),
        "compress": plan.encoding.image.codec.name,
        "predictor": plan.encoding.image.predictor,
        "mask": plan.encoding.masked,
        "interleave": plan.encoding.interleave,
        "overview_resampling": plan.encoding.resampling,
        "tile_size": plan.tile_size,
        "levels": [
            {"width": each.width, "height": each.height, "tiles": plan.tile_count(each)}
            for each in plan.levels
        ],
        "stages": len(plan.stages),
        "chunks": plan.chunk_count,
        "tasks": plan.task_count,
        "task_bytes": plan.task_bytes,
        "peak_bytes": {str(n): plan.peak_bytes(n) for n in THREADS},
        "raw_bytes": plan.raw_bytes,
        "min_bytes": plan.min_bytes,
        "max_bytes": plan.max_bytes,
        "bigtiff": "auto" if plan.bigtiff is None else plan.bigtiff,
    }
