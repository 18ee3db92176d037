"""How a small picture is to look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lazycog.errors import OptionError

MAX_SIZE = 16383
"""WebP holds no longer side."""
COLOURS = 3
FULL = 255
MAX_QUALITY = 100
PER_CENT = 100
"""GDAL's, for all its lossy formats."""


@dataclass(frozen=True)
class Look:
    """How a picture is to look."""

    bands: tuple[int | str, ...] | None = None
    """One or three: 1-based numbers or names."""
    stretch: Literal["percentile", "minmax"] | None = "percentile"
    percentiles: tuple[float, float] = (2.0, 98.0)
    """Become black and white."""
    gamma: float = 1.0
    """Above 1, what is between them gets brighter: share ** (1 / gamma)."""
    size: int = 1024
    """Longest side in pixels, at most."""
    background: tuple[int, int, int] | None = None
    """Colour of missing pixels; None for transparent, and white in a JPEG."""
    quality: int | None = None
    """1-100 for lossy formats."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises
        ------
        OptionError
            A field has a value outside its rule.
        """
        if self.stretch not in {"percentile", "minmax", None}:
            raise OptionError(
                f"stretch={self.stretch!r} must be 'percentile', 'minmax' or None"
            )
        self._check_percentiles()
        self._check_gamma()
        if not _is_whole(self.size, 1, MAX_SIZE):
            raise OptionError(
                f"size={self.size!r} must be a whole number, 1 to {MAX_SIZE}"
            )
        if self.bands is not None and len(self.bands) not in {1, COLOURS}:
            raise OptionError(
                f"bands={self.bands}: give one (grey) or three (red, green, blue)"
            )
        if self.background is not None and (
            len(self.background) != COLOURS
            or not all(_is_whole(each, 0, FULL) for each in self.background)
        ):
            raise OptionError(
                f"background={self.background} must be three whole numbers, 0 to 255"
            )
        if self.quality is not None and not _is_whole(self.quality, 1, MAX_QUALITY):
            raise OptionError(f"quality={self.quality!r} must be 1 to {MAX_QUALITY}")

    def _check_percentiles(self) -> None:
        try:
            low, high = map(float, self.percentiles)
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"percentiles={self.percentiles!r} must be two numbers"
            ) from error
        if not 0 <= low < high <= PER_CENT:
            raise OptionError(
                f"percentiles={self.percentiles} must be two numbers with "
                "0 <= low < high <= 100"
            )

    def _check_gamma(self) -> None:
        is_number = isinstance(self.gamma, int | float) and self.gamma is not True
        if not is_number or not 0 < self.gamma < math.inf:
            raise OptionError(
                f"gamma={self.gamma!r} must be a number above 0; 1 changes nothing, 2 "
                "brightens dark ground beside clouds"
            )


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and low <= value <= high
