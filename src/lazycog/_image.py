"""What is read: a level of a file in one version of it, and a window of that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazycog._location import Location, open_store
from lazycog.errors import InputError, SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Version:
    """Which content a file has: another one gives other pixels."""

    size: int
    """Bytes; 0 where GDAL alone knows."""
    tag: str
    """Entity tag or time of the last change."""


def current_version(location: Location) -> Version:
    """Ask the file system or the store for the version of a file.

    Parameters
    ----------
    location : Location
        Where the file is.

    Returns
    -------
    Version
        The same as long as the file is.

    Raises
    ------
    SourceNotFoundError
        There is no such file.
    InputError
        It cannot be reached.
    MissingExtraError
        obstore is not installed, and the file is remote.
    """
    if location.kind == "gdal":
        return Version(0, "")
    if location.kind == "file":
        try:
            found = os.stat(location.gdal_name)  # noqa: PTH116 - one call, no object
        except FileNotFoundError as error:
            raise SourceNotFoundError(
                f"{location}: no such file; give another path or URL"
            ) from error
        except OSError as error:
            raise InputError(f"{location}: {error.strerror}") from error
        return Version(found.st_size, str(found.st_mtime_ns))
    store = open_store(location)
    import obstore
    from obstore.exceptions import BaseError

    try:
        about = obstore.head(store, location.path)
    except FileNotFoundError as error:
        raise SourceNotFoundError(
            f"{location}: no such file; give another path or URL"
        ) from error
    except (BaseError, OSError, ValueError) as error:
        raise InputError(f"{location} cannot be read: {first_line(error)}") from error
    return Version(about["size"], about["e_tag"] or about["last_modified"].isoformat())


def first_line(error: BaseException) -> str:
    """Give what matters of a long message."""
    return str(error).partition("\n")[0]


@dataclass(frozen=True)
class Image:
    """One level of one file, as it was when it was opened."""

    location: Location
    version: Version
    level: int
    """0 for full resolution, then the overviews."""


@dataclass(frozen=True)
class Window:
    """A rectangle of an image, in some of its bands."""

    bands: Sequence[int]
    """From 0, in the order that is wanted."""
    rows: tuple[int, int]
    """(start, stop), inside the image."""
    cols: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(band, height, width)."""
        height, width = self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]
        return len(self.bands), height, width
