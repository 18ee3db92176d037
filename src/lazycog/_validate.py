"""Check that a file is a Cloud-Optimized GeoTIFF and that its own claims are true.

The rules stand in `_structure_rules` and `_tile_rules`; here is what asks them.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fsspec.core import url_to_fs

from lazycog import _structure_rules, _tile_rules
from lazycog._location import as_name
from lazycog._report import Finding, Report, error
from lazycog._structure import RangeReader, Structure
from lazycog.errors import InputError, SourceNotFoundError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, BinaryIO


LOCAL_GAP_BYTES = 2**16
REMOTE_GAP_BYTES = 2**20
"""Nearer ranges are read as one: a disk seek or a request costs more than the gap."""


def validate(
    src: str | os.PathLike[str],
    full: bool = True,  # noqa: FBT001, FBT002 - the pinned signature
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Check that `src` is a valid Cloud-Optimized GeoTIFF.

    The rules are those of GDAL's validator with its full check, those of rio-cogeo, and
    stricter ones about what the ghost area promises. The pixels are never decoded.

    Parameters
    ----------
    src : str or os.PathLike
        Path, or any URL that fsspec opens.
    full : bool
        Also read the 4 bytes before and behind every tile, where the file claims them.
    storage_options : mapping, optional
        For the fsspec file system of a URL.

    Returns
    -------
    Report
        True when there is no error. A file that is no TIFF at all gives a report too.

    Raises
    ------
    InputError
        The file cannot be opened; a SourceNotFoundError where there is none.

    Notes
    -----
    Memory: at most 64 MB, plus some 100 bytes per tile of the file.
    External ``.ovr`` overviews are looked for next to local files only.

    Examples
    --------
    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile(suffix=".tif") as file:
    ...     report = validate(file.name)
    >>> report.ok, report.errors
    (False, ("not a TIFF file: it starts with neither 'II' nor 'MM'",))
    """
    path = as_name(src)
    with _open(path, storage_options) as read:
        details: dict[str, Any] = {"path": path, "size": read.size}
        findings: list[Finding] = []
        try:
            structure = Structure.read(
                path, read, external_overviews=Path(path + ".ovr").exists()
            )
        except InputError as invalid:
            findings.append(error(str(invalid)))
        else:
            details = structure.details()
            for rule in RULES:
                findings += rule(structure)
            if full:
                findings += _tile_rules.leaders_and_trailers(structure, read)
    errors = tuple(text for severity, text in findings if severity == "error")
    warnings = tuple(text for severity, text in findings if severity == "warning")
    return Report(not errors, errors, warnings, details)


@contextmanager
def _open(
    path: str, storage_options: Mapping[str, Any] | None
) -> Iterator[RangeReader]:
    if "://" not in path and "::" not in path:
        with _opened(path, lambda: Path(path).open("rb")) as local:
            yield RangeReader(local, gap_bytes=LOCAL_GAP_BYTES)
        return
    filesystem, key = url_to_fs(path, **(storage_options or {}))
    opening = partial(filesystem.open, key, "rb", block_size=REMOTE_GAP_BYTES)
    with _opened(path, opening) as remote:
        yield RangeReader(remote, gap_bytes=REMOTE_GAP_BYTES)


def _opened(path: str, opening: Callable[[], BinaryIO]) -> BinaryIO:
    """Open a file, or say as the other readers do why not."""
    try:
        return opening()
    except FileNotFoundError as missing:
        raise SourceNotFoundError(
            f"{path}: no such file; give another path or URL"
        ) from missing
    except IsADirectoryError as folder:
        raise InputError(
            f"{path} is a folder, not a GeoTIFF; give the path of a file"
        ) from folder
    except PermissionError as refused:
        raise InputError(
            f"{path} may not be read; give another path, or ask for permission"
        ) from refused


RULES: tuple[Callable[[Structure], Iterator[Finding]], ...] = (
    _structure_rules.known_edition,
    _structure_rules.tiled,
    _structure_rules.internal_overviews,
    _tile_rules.tiles_inside,
    _structure_rules.first_ifd_position,
    _structure_rules.ghost_shape,
    _structure_rules.ghost_interleave,
    _structure_rules.overview_sizes,
    _structure_rules.tile_sizes,
    _structure_rules.tile_counts,
    _structure_rules.masks,
    _structure_rules.mask_pairs,
    _structure_rules.mask_levels,
    _structure_rules.pages,
    _structure_rules.nodata,
    _structure_rules.ifd_order,
    _structure_rules.level_order,
    _structure_rules.metadata_order,
    _tile_rules.half_sparse,
    _tile_rules.row_major,
    _tile_rules.mask_interleaved,
    _tile_rules.overlaps,
)
"""In the order in which their messages help a user most."""
