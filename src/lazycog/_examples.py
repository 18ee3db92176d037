"""What stands at the end of the help of every command: calls that work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "convert": (
        "lazycog convert scene.zarr scene.tif",
        "lazycog convert scene.tif red.tif --bands 1 --compress deflate --level 9",
        "lazycog convert cube.nc t2m.tif --variable t2m --nodata -9999",
        "lazycog convert rgb.tif web.tif --co COMPRESS=JPEG --co QUALITY=85 --mask",
        "lazycog convert scene.zarr s3://bucket/scene.tif --workers 4",
    ),
    "plan": (
        "lazycog plan scene.zarr",
        "lazycog plan scene.tif --compress deflate --blocksize 256 --json",
    ),
    "advise": (
        "lazycog advise scene.zarr",
        "lazycog advise dem.tif --max-z-error 0.1 --goal size --plot codecs.png",
    ),
    "info": ("lazycog info scene.tif", "lazycog info scene.tif --json"),
    "validate": (
        "lazycog validate scene.tif && echo fine",
        "lazycog validate https://example.org/scene.tif --quick",
    ),
    "view": (
        "lazycog view scene.tif",
        "lazycog view scene.tif --port 8000 --no-browser",
    ),
    "quicklook": (
        "lazycog quicklook scene.tif scene.png",
        "lazycog quicklook scene.tif nir.jpg --bands 4,3,2 --size 800",
    ),
    "demo": ("lazycog demo", "lazycog demo /tmp/demo --size 2000 --yes"),
    "abort-stale": (
        "lazycog abort-stale scene.tif --older-than 1h --dry-run",
        "lazycog abort-stale s3://bucket/scene.tif",
    ),
}
"""By command."""


def epilog(command: str) -> str:
    """Write the examples of a command.

    Parameters
    ----------
    command : str
        Its name.

    Returns
    -------
    str
        For click, which keeps the lines behind a backspace apart.
    """
    lines = (f"  {line}" for line in EXAMPLES[command])
    return "\n".join(("\b", "Examples:", *lines))
