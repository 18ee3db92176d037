"""Any other file system of fsspec that can be written: parts in a spool, then a stream.

Such file systems know no parts. So workers write each part as a small file beside the
destination, and the commit streams them, in order, into one. Every byte moves twice,
and the second time through one worker.
"""

from __future__ import annotations

import errno
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import fsspec

from lazycog._parts import PartLimits
from lazycog.errors import MissingExtraError, OptionError, SinkError
from lazycog.sinks._errors import client_errors, listed
from lazycog.sinks._protocol import CONTENT_TYPE, Receipt
from lazycog.sinks._retry import retried
from lazycog.sinks._store import StoreSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fsspec import AbstractFileSystem

    from lazycog._parts import Buffer

LIMITS = PartLimits(min_part=1, max_parts=100_000)
"""A part is a file: the only limit is how many of them a folder should hold."""
TYPED = frozenset({"gs", "gcs"})
"""Protocols that take a media type."""
BEGUN = "begun"
"""Stands in the spool while the write may go on."""


@dataclass(frozen=True)
class StreamSink(StoreSink):
    """A file, of parts in a spool that the token names."""

    limits: PartLimits = LIMITS
    protocol: str = field(kw_only=True)
    name: str = field(kw_only=True)
    """Path of the file, without the protocol."""

    noun: ClassVar[str] = "file"

    @classmethod
    def of(
        cls,
        url: str,
        token: str,
        options: Mapping[str, Any],
        limits: PartLimits,
        *,
        overwrite: bool,
    ) -> Self:
        """Resolve a URL, and refuse one that cannot be written.

        Parameters
        ----------
        url : str
            Of any protocol that fsspec knows.
        token : str
            Names the spool.
        options : mapping
            Options of the file system.
        limits : PartLimits
            Sizes of parts.
        overwrite : bool
            Whether an existing file may be replaced.

        Returns
        -------
        StreamSink
            Nothing is created yet.

        Raises
        ------
        OptionError
            fsspec does not know the protocol.
        MissingExtraError
            The protocol's package is not installed.
        SinkError
            The URL names no file.
        """
        protocol = url.partition("://")[0]
        try:
            known = fsspec.get_filesystem_class(protocol)
        except ValueError as error:
            raise OptionError(
                f"dst={url!r}: fsspec knows no protocol {protocol!r}; use a path, or "
                "s3://, az:// or another one of fsspec's"
            ) from error
        except ImportError as error:
            raise MissingExtraError(f"{protocol}:// cannot be used: {error}") from error
        name = str(known._strip_protocol(url))  # noqa: SLF001 - how fsspec resolves
        if url.endswith("/") or not name.strip("/"):
            raise SinkError(errno.EINVAL, "the URL names no file", url)
        own = {**known._get_kwargs_from_urls(url), **options}  # noqa: SLF001 - the same
        return cls(
            _without_password(url),
            token,
            overwrite,
            limits,
            own,
            protocol=protocol,
            name=name,
        )

    @property
    def _spool(self) -> str:
        return f"{self.name}.lazycog-{self.token}"

    def is_there(self) -> bool:
        """Whether there is a file, of whichever write."""
        with self._refused("look at the destination"):
            return bool(self._call("exists", self.name))

    def begin(self) -> str:
        """Make the spool; again, it changes nothing."""
        with self._refused("prepare"):
            self._call("makedirs", self._spool, exist_ok=True)
            self._call("pipe_file", f"{self._spool}/{BEGUN}", b"1")
        return self.token

    def is_seen(self) -> bool:
        """Whether this process sees the spool that `begin` made."""
        return bool(self._call("exists", f"{self._spool}/{BEGUN}"))

    def refuse_blind(self, workers: Sequence[str]) -> None:
        """Refuse to start where some workers would write into a store of their own.

        Parameters
        ----------
        workers : sequence of str
            Names of those that do not see the spool.

        Raises
        ------
        SinkError
            There is one; the spool is removed.
        """
        if workers:
            self.abort()
            raise SinkError(
                errno.ENOENT,
                f"these workers do not share {self.protocol}://: {listed(workers)}. "
                "Write to a store that all of them reach, or on the threads of this "
                "process; no pixel was computed",
                self.path,
            )

    def put(self, upload: str, number: int, data: Sequence[Buffer]) -> Receipt:
        """Write one part; the same call again replaces it.

        Raises
        ------
        SinkError
            The spool is gone, or cannot be written.
        """
        body = b"".join(data)
        digest = hashlib.sha256(body).hexdigest()[:32]
        receipt = Receipt(upload, number, len(body), digest)
        with self._refused(f"write part {number}"):
            if not self._call("exists", f"{self._spool}/{BEGUN}"):
                raise SinkError(
                    errno.ENOENT,
                    "the spool is gone: the write was aborted, or a worker does not "
                    f"share {self.protocol}://",
                    self.path,
                )
            self._call("pipe_file", self._part(receipt), body)
        return receipt

    def commit(self, upload: str, receipts: Sequence[Receipt]) -> None:
        """Stream all parts into the file.

        Raises
        ------
        SinkError
            A part is not there as it was written, or the file cannot be.
        """
        size = sum(each.size for each in receipts)
        with self._refused("commit"):
            for each in receipts:
                if not self._has(each):
                    if self.is_done(upload, size):
                        return
                    raise SinkError(
                        errno.EIO,
                        f"part {each.number} is not in the spool as it was written; do "
                        f"all workers share {self.protocol}://?",
                        self.path,
                    )
            self.check_absent()
            parts = (self._call("cat_file", self._part(each)) for each in receipts)
            self._stream(parts)
        self.abort(upload)

    def is_done(self, upload: str, size: int) -> bool:
        """Whether the file is there, and the spool of its write is not."""
        del upload  # the spool tells
        if self._call("exists", f"{self._spool}/{BEGUN}"):
            return False
        return bool(self._call("exists", self.name)) and size == self._size(self.name)

    def put_whole(self, upload: str, data: Sequence[Buffer]) -> None:
        """Write a small file at once."""
        self.check_absent()
        with self._refused("write"):
            self._stream(data)
        self.abort(upload)

    def abort(self, upload: str = "") -> None:
        """Remove the spool; the destination was never touched."""
        del upload  # the spool has the token's name
        with self._refused("remove the spool"), suppress(FileNotFoundError):
            self._call("rm", self._spool, recursive=True)

    def _stream(self, pieces: Iterable[Buffer]) -> None:
        """Write the file, which appears when it is complete where that is possible."""
        more = {"content_type": CONTENT_TYPE} if self.protocol in TYPED else {}
        file = self._files.open(self.name, "wb", autocommit=False, **more)
        try:
            with file:
                for each in pieces:
                    file.write(each)
            file.commit()
        except BaseException as error:
            try:
                file.discard()
            except client_errors() as left:
                error.add_note(
                    f"a draft of {self.path} may be left: {type(left).__name__}: {left}"
                )
            raise

    def _part(self, receipt: Receipt) -> str:
        return f"{self._spool}/part-{receipt.number:06d}-{receipt.etag}"

    def _has(self, receipt: Receipt) -> bool:
        with suppress(FileNotFoundError):
            return self._size(self._part(receipt)) == receipt.size
        return False

    def _size(self, name: str) -> int:
        self._files.invalidate_cache()
        return int(self._call("size", name))

    def _call(self, method: str, *arguments: object, **more: object) -> Any:  # noqa: ANN401 - its own
        """Ask the file system, again and again while the line is broken."""
        operation: Callable[..., Any] = getattr(self._files, method)
        return retried(lambda: operation(*arguments, **more), _is_transient)

    @property
    def _files(self) -> AbstractFileSystem:
        return fsspec.filesystem(self.protocol, **self.options)


def _is_transient(error: Exception) -> bool:
    return isinstance(error, ConnectionError | TimeoutError)


def _without_password(url: str) -> str:
    """Leave out what stands before the host: sftp://user:password@host/file.

    Examples
    --------
    >>> (
    ...     _without_password("sftp://me:secret@host/a.tif"),
    ...     _without_password("memory://a"),
    ... )
    ('sftp://host/a.tif', 'memory://a')
    """
    protocol, separator, rest = url.partition("://")
    host, slash, name = rest.partition("/")
    return f"{protocol}{separator}{host.rpartition('@')[2]}{slash}{name}"
