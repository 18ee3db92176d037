"""What a finished write tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazycog import _stac, _views
from lazycog.errors import InputError

if TYPE_CHECKING:
    from pystac import Item

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
        return _views.result_text(self)

    def _repr_html_(self) -> str:
        """Say the same for a notebook, with a small picture."""
        return _views.result_html(self)

    def to_stac_item(
        self,
        id: str | None = None,  # noqa: A002 - STAC's own word
        *,
        datetime: object = None,
        href: str | None = None,
    ) -> Item:
        """Describe the file as a STAC item.

        With the projection, raster and file extensions: footprint, size, transform,
        bands with their statistics, length and SHA-256 of the file.

        Parameters
        ----------
        id : str, optional
            Name of the item, the file's name without its suffix by default.
        datetime : datetime or str, optional
            When the scene was acquired, in ISO 8601; by default the label "time" that
            ``to_cogs`` has put into the file. Times without a zone are UTC.
        href : str, optional
            Where readers find the file, the path that was written by default.

        Returns
        -------
        pystac.Item
            With one asset, "data".

        Raises
        ------
        MissingExtraError
            pystac is not installed.
        OptionError
            There is no time, or it cannot be read.
        InputError
            The raster has no CRS, or no place on Earth.
        """
        if self.plan is None:
            raise InputError("this result has no plan, so there is nothing to describe")
        return _stac.to_item(self, self.plan, id, datetime, href)

    def __fspath__(self) -> str:
        return self.path
