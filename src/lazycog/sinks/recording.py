"""A store in memory that writes down every call, for tests.

>>> from lazycog.sinks.recording import RecordingSink
>>> sink = RecordingSink.new("memory")
>>> upload = sink.begin()
>>> receipt = sink.put(upload, 1, [b"abc"])
>>> sink.commit(upload, [receipt])
>>> sink.content, [call.name for call in sink.calls]
(b'abc', ['begin', 'put', 'commit'])
"""

from __future__ import annotations

import errno
import hashlib
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lazycog._parts import PartLimits
from lazycog.errors import DestinationExistsError, SinkError
from lazycog.sinks._protocol import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazycog._parts import Buffer


@dataclass(frozen=True)
class Call:
    """One call of a sink."""

    name: str
    number: int = 0
    """Of the part, where there is one."""
    size: int = 0
    """Bytes that were sent."""


@dataclass
class _Store:
    """What a recording sink holds."""

    content: bytes | None = None
    calls: list[Call] = field(default_factory=list)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class RecordingSink:
    """A destination for ``to_cog`` in this process, on threads.

    It is as strict as the strictest store: parts that are too small, too many, or not
    equal where they should be, are errors.
    """

    path: str
    """How it is called."""
    token: str
    limits: PartLimits = field(default_factory=PartLimits)
    overwrite: bool = True

    _stores: ClassVar[dict[str, _Store]] = {}

    @classmethod
    def new(
        cls, path: str, limits: PartLimits | None = None, *, overwrite: bool = True
    ) -> RecordingSink:
        """Make an empty store.

        Parameters
        ----------
        path : str
            How it is called in results and errors.
        limits : PartLimits or None
            What it accepts, None for S3's limits.
        overwrite : bool
            Whether its object may be replaced.

        Returns
        -------
        RecordingSink
            To be given to ``to_cog`` as the destination.
        """
        token = uuid.uuid4().hex
        cls._stores[token] = _Store()
        return cls(path, token, limits or PartLimits(), overwrite)

    @property
    def content(self) -> bytes | None:
        """Bytes of the object, None while there is none."""
        return self._store.content

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls so far, in their order."""
        return tuple(self._store.calls)

    @property
    def uploads(self) -> tuple[str, ...]:
        """Uploads that were neither completed nor aborted."""
        return tuple(self._store.uploads)

    def fill(self, content: bytes) -> None:
        """Put an object there, as if it had been written before."""
        self._store.content = content

    def check_absent(self) -> None:
        """Refuse an existing object unless it may be replaced.

        Raises
        ------
        DestinationExistsError
            There is an object and ``overwrite=False``.
        """
        if not self.overwrite and self.content is not None:
            raise DestinationExistsError(
                errno.EEXIST, "the object exists and overwrite=False", self.path
            )

    def begin(self) -> str:
        """Start an upload."""
        with self._store.lock:
            upload = f"upload-{len(self._store.calls)}"
            self._store.uploads[upload] = {}
            self._store.calls.append(Call("begin"))
        return upload

    def put(self, upload: str, number: int, data: Sequence[Buffer]) -> Receipt:
        """Take one part.

        Raises
        ------
        SinkError
            The part is not legal, or the upload is gone.
        """
        body = b"".join(data)
        if not 1 <= number <= self.limits.max_parts or len(body) > self.limits.max_part:
            raise self._refused(f"part {number} of {len(body)} bytes is not legal")
        with self._store.lock:
            self._parts(upload)[number] = body
            self._store.calls.append(Call("put", number, len(body)))
        return Receipt(upload, number, len(body), _digest(body))

    def commit(self, upload: str, receipts: Sequence[Receipt]) -> None:
        """Join the parts.

        Raises
        ------
        SinkError
            The parts are not those that were sent, or too small.
        """
        self.check_absent()
        with self._store.lock:
            parts = self._parts(upload)
            numbers = [each.number for each in receipts]
            if numbers != sorted(set(numbers)):
                raise self._refused(f"part numbers do not rise: {numbers}")
            for each in receipts:
                if _digest(parts.get(each.number, b"")) != each.etag:
                    raise self._refused(f"part {each.number} is another one")
            self._check_sizes([each.size for each in receipts])
            self._store.content = b"".join(parts[number] for number in numbers)
            del self._store.uploads[upload]
            self._store.done.add(upload)
            self._store.calls.append(Call("commit"))

    def _check_sizes(self, sizes: Sequence[int]) -> None:
        *body, last = sizes
        if any(size < self.limits.min_part for size in body):
            raise self._refused(f"a part is too small: {sizes}")
        if self.limits.equal_parts and (
            len(set(body)) > 1 or (body and last > body[0])
        ):
            raise self._refused(f"parts are not equal: {sizes}")

    def is_done(self, upload: str, size: int) -> bool:
        """Whether an upload was completed."""
        return upload in self._store.done and len(self.content or b"") == size

    def put_whole(self, upload: str, data: Sequence[Buffer]) -> None:
        """Take a small object at once, and drop the upload."""
        self.check_absent()
        with self._store.lock:
            self._store.content = b"".join(data)
            self._store.uploads.pop(upload, None)
            size = len(self._store.content)
            self._store.calls.append(Call("put_whole", 0, size))

    def abort(self, upload: str = "") -> None:
        """Drop an upload, or all of them."""
        with self._store.lock:
            for each in [upload] if upload else list(self._store.uploads):
                self._store.uploads.pop(each, None)
            self._store.calls.append(Call("abort"))

    @property
    def _store(self) -> _Store:
        try:
            return self._stores[self.token]
        except KeyError:
            raise self._refused(
                "it is in the memory of another process; use a scheduler of threads"
            ) from None

    def _parts(self, upload: str) -> dict[int, bytes]:
        if upload not in self._store.uploads:
            raise self._refused(f"there is no upload {upload!r}")
        return self._store.uploads[upload]

    def _refused(self, reason: str) -> SinkError:
        return SinkError(errno.EINVAL, reason, self.path)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
