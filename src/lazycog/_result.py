"""What a finished write tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lazycog._plan import CogPlan
    from lazycog._statistics import BandStatistics


@dataclass(frozen=True)
class LevelResult:
    """One level as written."""

    index: int
    height: int
    width: int
    tiles: int
    encoded_bytes: int


@dataclass(frozen=True)
class CogResult:
    """A COG that was written.

    Examples
    --------
    >>> str(CogResult("a.tif", 10, False, (), 0, 0.5, ()))
    'a.tif'
    """

    path: str
    """Where the file is."""
    size: int
    """Length of the file in bytes."""
    bigtiff: bool
    levels: tuple[LevelResult, ...]
    """Full resolution first."""
    raw_bytes: int
    """Bytes of the source pixels."""
    duration: float
    """Seconds from the first task to the commit, 0 when not known."""
    statistics: tuple[BandStatistics | None, ...]
    """Per band, None without valid pixels or with ``statistics=False``."""
    plan: CogPlan | None = None

    @property
    def tiles(self) -> int:
        """Number of tiles in the file."""
        return sum(level.tiles for level in self.levels)

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        """Size, compression ratio, levels and speed."""
        from lazycog import _views  # noqa: PLC0415 - only when shown

        return _views.result_text(self)

    def _repr_html_(self) -> str:
        """Say the same for a notebook, with a small picture."""
        from lazycog import _views  # noqa: PLC0415 - only when shown

        return _views.result_html(self)

    def __fspath__(self) -> str:
        return self.path
