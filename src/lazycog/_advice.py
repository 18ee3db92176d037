"""Which codec suits a raster: figures of each candidate, and the rule that chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from lazycog._compression import codec
from lazycog._options import CogOptions
from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Goal = Literal["size", "balance", "speed"]
GOALS = get_args(Goal)
REFERENCE = ("deflate", 6)
"""What "balance" compares with: most GeoTIFFs are written with it."""
LARGER = 1.25
""""speed" accepts files up to this much larger than the smallest."""
WIDELY_READ = frozenset(
    {"none", "lzw", "deflate", "zstd", "lerc", "lerc_deflate", "lerc_zstd"}
)
"""Codecs that every reader of the README's table has."""
RULES: Mapping[Goal, str] = {
    "size": "the smallest file",
    "balance": "the smallest file of those that encode at least as fast as deflate 6",
    "speed": (
        "the fastest to encode of those whose file is at most "
        f"{LARGER:g} times the smallest"
    ),
}
"""What is recommended, among lossless codecs and those within ``max_z_error`` that
every reader has."""
LEVELS: Mapping[str, tuple[int, ...]] = {
    "deflate": (1, 6, 9, 12),
    "zstd": (1, 3, 6, 9, 15),
    "lzma": (1,),
    "lerc_deflate": (6,),
    "lerc_zstd": (9,),
    "jxl": (1, 3),
}
"""Levels that are tried unless others are asked for: none that takes a second for a
megabyte. A codec that is not here has no levels."""
LOSSLESS = (
    *("none", "lzw", "packbits", "deflate", "zstd", "lzma"),
    *("lerc", "lerc_deflate", "lerc_zstd", "webp", "jxl"),
)
QUALITIES: Mapping[str, tuple[int, ...]] = {
    "jpeg": (75, 90),
    "webp": (75, 90),
    "jxl": (75, 90),
}
"""Qualities of lossy codecs that are tried."""


@dataclass(frozen=True)
class Candidate:
    """A codec and its settings, as options of a write."""

    compress: str
    level: int | None = None
    quality: int | None = None
    lossless: bool | None = None
    max_z_error: float | None = None

    @property
    def options(self) -> dict[str, object]:
        """Those that are given, as keywords of ``to_cog``."""
        fields = {
            "compress": self.compress,
            "level": self.level,
            "quality": self.quality,
            "lossless": self.lossless,
            "max_z_error": self.max_z_error,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def is_bounded(self) -> bool:
        """Whether every pixel comes back as it was, or within ``max_z_error``."""
        return self.quality is None

    @property
    def is_eligible(self) -> bool:
        """Whether it may be recommended: no loss beyond the bound, read everywhere."""
        return self.is_bounded and self.compress in WIDELY_READ

    def __str__(self) -> str:
        """Say the codec and its number, as in a table.

        Examples
        --------
        >>> str(Candidate("zstd", 3)), str(Candidate("webp", quality=90))
        ('zstd 3', 'webp quality 90')
        """
        words = [self.compress]
        if self.level is not None:
            words.append(str(self.level))
        if self.quality is not None:
            words.append(f"quality {self.quality}")
        if self.compress == "webp" and self.lossless:
            words.append("lossless")
        if self.max_z_error:
            words.append(f"max_z_error {self.max_z_error:g}")
        return " ".join(words)


@dataclass(frozen=True)
class Figures:
    """What a candidate came to."""

    candidate: Candidate
    file_bytes: int
    """Predicted for the whole raster, overviews included."""
    ratio: float
    """Raw bytes of the full resolution over those of the file."""
    encode_rate: float
    """Raw bytes of the full resolution that one core writes in a second."""
    decode_rate: float
    """Raw bytes that one core reads in a second."""
    max_error: float
    """Largest error of a sampled pixel."""


@dataclass(frozen=True)
class Advice:
    """Figures of all candidates, and the one to take."""

    goal: Goal
    raw_bytes: int
    sampled_bytes: int
    """Raw bytes that were looked at."""
    samples: int
    figures: tuple[Figures, ...]
    """Smallest file first."""
    chosen: Figures
    skipped: Mapping[str, str]
    """Codec -> why it cannot hold the raster."""

    @property
    def rule(self) -> str:
        """What was chosen, in words."""
        return RULES[self.goal]


def candidates(names: Sequence[str] = (), max_z_error: float = 0.0) -> list[Candidate]:
    """List what is tried.

    Parameters
    ----------
    names : sequence of str
        Only these codecs, as ``"zstd"`` for all its usual levels or ``"zstd:5"``.
    max_z_error : float
        Add candidates that keep pixels within it.

    Returns
    -------
    list of Candidate
        The reference of "balance" is always among them.

    Raises
    ------
    OptionError
        There is no such codec, or no such level.

    Examples
    --------
    >>> [str(each) for each in candidates(["lzw", "zstd:5"], max_z_error=0.5)]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['lzw', 'lzw max_z_error 0.5', 'zstd 5', 'zstd 5 max_z_error 0.5', 'deflate 6']
    """
    found = []
    for text in names or (*LOSSLESS, "jpeg"):
        name, _, number = text.partition(":")
        codec(name)
        if number and not number.isdecimal():
            raise OptionError(f"codec {text!r}: write a name, or NAME:LEVEL as zstd:5")
        levels = (int(number),) if number else LEVELS.get(name, (None,))
        if name in LOSSLESS:
            found += _lossless(name, levels, max_z_error)
        if not number:
            found += [Candidate(name, quality=each) for each in QUALITIES.get(name, ())]
    for each in found:
        CogOptions(**each.options)  # type: ignore[arg-type] # it checks what it is given
    reference = Candidate(*REFERENCE)
    return found if reference in found else [*found, reference]


def _lossless(
    name: str, levels: Sequence[int | None], max_z_error: float
) -> list[Candidate]:
    """List the levels of a codec, each also within the bound."""
    kept = True if name == "webp" else None
    found = []
    for level in levels:
        found.append(Candidate(name, level, lossless=kept))
        if max_z_error and name != "none":
            found.append(Candidate(name, level, lossless=kept, max_z_error=max_z_error))
    return found


def choose(figures: Sequence[Figures], goal: Goal) -> Figures:
    """Choose by the rule of a goal.

    Parameters
    ----------
    figures : sequence of Figures
        Of all candidates, the reference of "balance" among them.
    goal : "size", "balance" or "speed"
        See :data:`RULES`.

    Returns
    -------
    Figures
        One of them.
    """
    eligible = [each for each in figures if each.candidate.is_eligible]
    smallest = min(eligible, key=lambda each: each.file_bytes)
    if goal == "size":
        return smallest
    if goal == "speed":
        small = [
            each for each in eligible if each.file_bytes <= LARGER * smallest.file_bytes
        ]
        return max(small, key=lambda each: each.encode_rate)
    reference = Candidate(*REFERENCE)
    limit = next(each for each in eligible if each.candidate == reference).encode_rate
    fast = [each for each in eligible if each.encode_rate >= limit]
    return min(fast, key=lambda each: each.file_bytes)
