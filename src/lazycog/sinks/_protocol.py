"""What every destination can do.

A write has one life: ``begin``, bytes, ``commit`` or ``abort``. Bytes go in one of two
ways. A file system takes them by position (``LocalSink``), an object store as numbered
parts (``PartSink``). A sink is a plain frozen value that pickles; every call opens what
it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazycog._parts import Buffer, PartLimits
    from lazycog.sinks._state import State

CONTENT_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
"""Media type of a COG (OGC 21-026, requirement on the media type)."""


@dataclass(frozen=True)
class Receipt:
    """What a store says about a part that it has taken."""

    upload: str
    """Of which upload it is a part."""
    number: int
    size: int
    etag: str
    """What the store wants to see again at the commit."""


class Sink(Protocol):
    """A destination: what is there stays as it is until the commit."""

    @property
    def path(self) -> str:
        """Path or URL of the destination, without credentials."""

    def check_absent(self) -> None:
        """Refuse an existing destination where ``overwrite=False``."""

    def abort(self, upload: str = "") -> None:
        """Remove everything of this write; a second call changes nothing."""


@runtime_checkable
class ResumableSink(Sink, Protocol):
    """A destination at which a killed write can go on."""

    token: str

    @property
    def state(self) -> State:
        """Where the write notes what is finished."""

    def with_token(self, token: str) -> Self:
        """Give the same sink under the token of a killed write."""

    def can_go_on(self, upload: str) -> bool:
        """Whether what an upload has sent so far is still there."""


@runtime_checkable
class PartSink(Sink, Protocol):
    """A store that joins numbered parts."""

    @property
    def limits(self) -> PartLimits:
        """What the store accepts."""

    def begin(self) -> str:
        """Start an upload and give its name; again, it gives the same name."""

    def put(self, upload: str, number: int, data: Sequence[Buffer]) -> Receipt:
        """Send one part; the same call again replaces it."""

    def commit(self, upload: str, receipts: Sequence[Receipt]) -> None:
        """Join the parts; the object appears at once or not at all."""

    def is_done(self, upload: str, size: int) -> bool:
        """Whether the object is there as this upload made it, `size` bytes long."""

    def put_whole(self, upload: str, data: Sequence[Buffer]) -> None:
        """Send a small object at once, and drop the upload."""


@dataclass(frozen=True)
class Leftover:
    """Something that a killed write left behind."""

    kind: str
    """upload, journal, note or folder."""
    name: str
    age_seconds: float
