"""Our exception tree, grouped by what the caller would do about the error.

* CogError
  + InputError (ValueError)         fix the raster: dims, dtype, CRS, coordinates
    - SourceNotFoundError (FileNotFoundError)
  + OptionError (ValueError)        fix the call: an option or two that clash
  + MissingExtraError (ImportError) install an optional dependency
  + CapacityError                   change the plan or the machine: classic TIFF, memory
  + TileEncodeError                 a codec refused a tile
  + SourceChangedError              the source gave other pixels on a second run
  + SinkError (OSError)             retry, or mend the destination
    - DestinationExistsError (FileExistsError)

Every class pickles, so that it crosses processes and clusters unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class CogError(Exception):
    """Base of every error that lazycog raises on purpose."""


class InputError(CogError, ValueError):
    """The raster cannot be written as it is."""


class SourceNotFoundError(InputError, FileNotFoundError):
    """There is no file where one is to be read."""

    def __new__(cls, *args: object) -> Self:
        """Make an OSError: ValueError's own way comes first, and refuses to."""
        return FileNotFoundError.__new__(cls, *args)


class OptionError(CogError, ValueError):
    """An option has a value outside its rule, or two options contradict each other."""


class MissingExtraError(CogError, ImportError):
    """A feature needs an optional dependency that is not installed."""


class CapacityError(CogError):
    """The plan does not fit: the 4 GiB of a classic TIFF, or the memory allowed."""


class TileEncodeError(CogError):
    """A codec failed on a tile.

    Parameters
    ----------
    level, row, col : int
        Pyramid level (0 is full resolution) and tile position in that level.
    reason : str
        What the codec said.
    """

    def __init__(self, level: int, row: int, col: int, reason: str) -> None:
        super().__init__(level, row, col, reason)

    def __str__(self) -> str:
        """Name the tile, the reason and the remedy."""
        level, row, col, reason = self.args
        return (
            f"tile (row {row}, col {col}) of level {level} could not be encoded: "
            f"{reason}. Nothing was written; choose another compress= or level="
        )


class SourceChangedError(CogError):
    """A chunk was computed twice and gave different pixels.

    Parameters
    ----------
    chunk : str
        Which one.
    """

    def __init__(self, chunk: str) -> None:
        super().__init__(chunk)

    def __str__(self) -> str:
        """Name the chunk and the remedy."""
        return (
            f"{self.args[0]} was computed twice and gave different pixels, so nothing "
            "was written; make the source deterministic (seed it), or persist it first"
        )


class SinkError(CogError, OSError):
    """The destination refused an operation."""


class DestinationExistsError(SinkError, FileExistsError):
    """The destination exists and ``overwrite=False``."""


class CogWarning(UserWarning):
    """Something was decided for the user that the user may want to decide."""
