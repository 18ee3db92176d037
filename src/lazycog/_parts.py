"""Parts of an object: which bytes of the file each upload carries, and its number.

A store joins numbered parts into one object. Where a section (level, plane) starts in
the file is known last, but positions within it are known row by row. So the body of a
section is cut at fixed positions of its own, and only what stands between two bodies
waits:

    header, small levels | body | tail, head | body | tail, head | body | tail

A body starts `head` bytes into its section, so that what is before it is never smaller
than a store allows. Numbers rise with the position in the file and may have gaps: each
body reserves as many as it could need if nothing compressed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazycog.errors import CapacityError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Section = tuple[int, int]
"""(level, plane): tiles that follow each other in the file, row-major."""
Buffer = bytes | memoryview

MIB = 2**20
DEFAULT_PART_BYTES = 16 * MIB
"""Large enough that a request is worth its round trip, small enough to send again."""
PART_STEP = MIB
"""Parts grow by whole MiB, so that equal parts keep the alignment of the layout."""
ALIGNMENT = 4096
"""Zeros before the full resolution, at most."""


@dataclass(frozen=True)
class PartLimits:
    """What a store accepts; the defaults are those of S3."""

    min_part: int = 5 * MIB
    """Bytes of every part but the last, at least."""
    max_part: int = 5 * 2**30
    max_parts: int = 10_000
    """Numbers run from 1 to it."""
    equal_parts: bool = False
    """All parts have one size but the last, which may be smaller (Cloudflare R2)."""
    max_object: int | None = None
    """Bytes of an object, None where the parts are what limits it (S3: 48.8 TiB)."""

    def __post_init__(self) -> None:
        """Check the limits against each other."""
        for name in ("min_part", "max_part", "max_parts", "max_object"):
            value = getattr(self, name)
            if name == "max_object" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionError(f"{name}={value!r}: give a whole number above 0")
        if self.min_part > self.max_part:
            raise OptionError(
                f"min_part={self.min_part} is above the {self.max_part} bytes that a "
                "part may have; lower it"
            )


@dataclass(frozen=True)
class SectionCuts:
    """Where the body of a section is cut."""

    base: int
    """Number of the first part of the body."""
    head: int
    """Bytes before the body."""
    size: int
    """Bytes of each part of the body."""

    def count(self, length: int) -> int:
        """Count the parts that end within the first `length` bytes of the section.

        Examples
        --------
        >>> cuts = SectionCuts(base=7, head=5, size=10)
        >>> [cuts.count(length) for length in (0, 14, 15, 24, 25)]
        [0, 0, 1, 1, 2]
        """
        return max(0, (length - self.head) // self.size)

    def position(self, count: int) -> int:
        """Give where the section goes on after `count` parts."""
        return self.head + count * self.size if count else 0


@dataclass(frozen=True)
class PartPlan:
    """Sizes and numbers of all parts of an object, fixed before the first task."""

    size: int
    """Bytes of a part of a body; a part between two bodies has less than twice that."""
    head: int
    equal: bool
    """Whether all parts have this size; then sections start at multiples of it."""
    bodies: Mapping[Section, SectionCuts]
    levels: Mapping[int, int]
    """Level -> the first number that its sections may use."""
    max_count: int
    """Upper bound of the numbers used."""

    def start(self, position: int, length: int) -> int:
        """Give where a level or section of a length starts, at `position` or after it.

        Examples
        --------
        >>> plan = PartPlan(10, 0, True, {}, {}, 1)
        >>> plan.start(12, 9), plan.start(12, 10)
        (12, 20)
        """
        if self.equal and length >= self.size:
            return position + -position % self.size
        return position

    def cut(self, length: int) -> list[int]:
        """Give the sizes of the parts that bytes between two bodies become."""
        if self.equal:
            whole, rest = divmod(length, self.size)
            return [self.size] * whole + [rest] * (rest > 0)
        whole = max(1, length // self.size)
        return [self.size] * (whole - 1) + [length - self.size * (whole - 1)]


def plan_parts(
    sections: Sequence[tuple[Section, int]],
    header_bytes: int,
    limits: PartLimits,
    part_size: int | None = None,
) -> PartPlan:
    """Choose the size of parts and give every section its numbers.

    Parameters
    ----------
    sections : sequence of (section, int)
        In the order of the file, each with an upper bound of its bytes.
    header_bytes : int
        Upper bound of what is before the first section.
    limits : PartLimits
        What the store accepts.
    part_size : int or None
        Bytes of a part, None for the smallest from 16 MiB on that the limits allow.

    Returns
    -------
    PartPlan
        Every byte of the file is in exactly one part, whatever the real sizes.

    Raises
    ------
    OptionError
        ``part_size`` is outside the limits.
    CapacityError
        The file may need more or larger parts than the store takes.
    """
    if part_size is not None:
        _check_part_size(part_size, limits)
        plan = _numbered(sections, header_bytes, limits, part_size)
        if plan.max_count > limits.max_parts:
            raise CapacityError(
                f"part_size={part_size}: the file may need {plan.max_count} parts, and "
                f"the store takes {limits.max_parts}; use larger parts"
            )
        return plan
    total = header_bytes + sum(bound for _, bound in sections)
    size = max(DEFAULT_PART_BYTES, limits.min_part, total // limits.max_parts)
    while True:
        size += -size % PART_STEP
        if 2 * size > limits.max_part:
            break
        plan = _numbered(sections, header_bytes, limits, size)
        if plan.max_count <= limits.max_parts:
            return plan
        size += max(PART_STEP, size // 16)
    raise CapacityError(
        f"the file may have {total} bytes, more than {limits.max_parts} parts of "
        f"{limits.max_part // 2} bytes hold; write a smaller raster, or to a store "
        "with other limits"
    )


def _check_part_size(part_size: int, limits: PartLimits) -> None:
    if isinstance(part_size, bool) or not isinstance(part_size, int):
        raise OptionError(f"part_size={part_size!r}: give a whole number of bytes")
    if not limits.min_part <= part_size <= limits.max_part // 2:
        raise OptionError(
            f"part_size={part_size}: this store takes {limits.min_part} to "
            f"{limits.max_part // 2} (two parts may be joined)"
        )
    if limits.equal_parts and part_size % ALIGNMENT:
        raise OptionError(
            f"part_size={part_size}: with equal_parts=True give a multiple of "
            f"{ALIGNMENT}, since levels start at multiples of a part"
        )


def _numbered(
    sections: Sequence[tuple[Section, int]],
    header_bytes: int,
    limits: PartLimits,
    size: int,
) -> PartPlan:
    """Reserve numbers for parts of a size.

    Before each level some are reserved for what is between two bodies. Within one, a
    section's first number follows all that the sections before it could use: one per
    `size` bytes of their bounds, and one more before each body.
    """
    head = 0 if limits.equal_parts else limits.min_part
    bounds: dict[int, list[tuple[Section, int]]] = {}
    for section, bound in sections:
        bounds.setdefault(section[0], []).append((section, bound))
    number = 1 - (-(header_bytes + ALIGNMENT) // size)
    bodies, levels = {}, {}
    for level, own in bounds.items():
        total = sum(bound for _, bound in own)
        number += 2 - (-min(total, head + 2 * size) // size)
        levels[level] = number
        passed = seams = 0
        for section, bound in own:
            seams += bound >= head + size
            bodies[section] = SectionCuts(number + passed // size + seams, head, size)
            passed += bound
        number += passed // size + seams + 1
    return PartPlan(size, head, limits.equal_parts, bodies, levels, number + 2)
