"""Source windows of the targets along one axis, from absolute positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPSILON = 1e-8
"""Slack of a window's ends (GDAL overview.cpp, GDALResampleChunk_AverageOrRMS_T)."""


@dataclass(frozen=True)
class Axis:
    """
    Targets ``[target_origin, target_origin + count)`` of one axis of a level.

    Every array below has one row per target. Its pixel positions count from
    ``source_origin`` but are computed from the absolute ones in GDAL's own double
    arithmetic, so that they do not depend on how the level is cut.
    """

    source_size: int
    """Pixels of the whole source level."""

    target_size: int
    """Pixels of the whole target level."""

    source_origin: int
    """Absolute position of the first source pixel at hand."""

    target_origin: int
    """Absolute position of the first target wanted."""

    count: int
    """Targets wanted."""

    def __post_init__(self) -> None:
        last = self.target_origin + self.count
        if not 0 <= self.target_origin <= last <= self.target_size:
            raise ValueError(
                f"targets {self.target_origin} to {last} are outside "
                f"the level's {self.target_size}"
            )

    @property
    def halves(self) -> bool:
        """True where every window is two whole pixels."""
        return self.source_size == 2 * self.target_size

    @cached_property
    def regular_width(self) -> int:
        """Width of the windows where all are 2 or all 3 wide and 2 apart, else 0."""
        windows = self.windows()
        start, width = windows[:, 0], windows[:, 1] - windows[:, 0]
        even = np.array_equal(start, start[0] + 2 * np.arange(self.count))
        same = bool((width == width[0]).all()) and int(width[0]) in {2, 3}
        return int(width[0]) if even and same else 0

    @property
    def pair_origin(self) -> int:
        """First source pixel at hand of the first target, where ``halves``."""
        return 2 * self.target_origin - self.source_origin

    @property
    def ratio(self) -> float:
        """Source pixels per target."""
        return self.source_size / self.target_size

    @property
    def _index(self) -> NDArray[np.float64]:
        return np.arange(self.count, dtype=np.float64) + self.target_origin

    @property
    def centers(self) -> NDArray[np.float64]:
        """Absolute position of the middle of every window."""
        return (self._index + 0.5) * self.ratio

    @property
    def level(self) -> tuple[int, int]:
        """``[start, stop)`` of the whole source level, from the first at hand."""
        return -self.source_origin, self.source_size - self.source_origin

    @property
    def ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._index * self.ratio, (self._index + 1.0) * self.ratio

    @cached_property
    def _absolute(self) -> NDArray[np.int64]:
        lower, upper = self.ends
        start = (lower + EPSILON).astype(np.int64)
        stop = np.ceil(upper - EPSILON).astype(np.int64)
        stop = np.minimum(np.maximum(stop, start + 1), self.source_size)
        return np.stack([start, stop], axis=1)

    def windows(self) -> NDArray[np.int64]:
        """Return ``[start, stop)`` of every source pixel a target touches."""
        return self._absolute - self.source_origin

    def weights(self) -> NDArray[np.float64]:
        """Return the weights of the first and last pixel, and the window's total."""
        start, stop = self._absolute.T
        lower, upper = self.ends
        single = stop == start + 1
        first = np.where(single, 1.0, 1.0 - (lower - start))
        last = 1.0 - (stop - upper)
        total = np.where(single, first, first + (stop - start - 2) + last)
        return np.stack([first, last, total], axis=1)

    def nearest(self) -> NDArray[np.int64]:
        """Return the source pixel of every target (GDALResampleChunk_Near)."""
        lower, _ = self.ends
        return (0.5 + lower).astype(np.int64) - self.source_origin

    def rounded_windows(self) -> NDArray[np.int64]:
        """Return ``[start, stop)`` rounded to whole pixels (GDALResampleChunkC32R)."""
        lower, upper = self.ends
        start = (0.5 + lower).astype(np.int64)
        stop = np.maximum((0.5 + upper).astype(np.int64), start + 1)
        last = np.arange(self.target_origin + 1, self.target_origin + self.count + 1)
        stop[(last == self.target_size) | (stop > self.source_size)] = self.source_size
        return np.stack([start, stop], axis=1) - self.source_origin
