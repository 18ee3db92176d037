"""Google Cloud Storage: multipart uploads of its XML API, with gcsfs's credentials.

The uploads are those of S3 under other names, so this is the sink of S3 with another
client. Two things differ: the completion takes no condition, so `overwrite=False` looks
for the object just before, and a lost answer to it is settled by looking, too.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import fsspec

from lazycog._extras import require
from lazycog._parts import PartLimits
from lazycog.errors import OptionError
from lazycog.sinks import _google_xml as google
from lazycog.sinks._errors import refused
from lazycog.sinks._google_xml import Request
from lazycog.sinks._protocol import CONTENT_TYPE
from lazycog.sinks._retry import retried
from lazycog.sinks._s3_client import is_busy, md5
from lazycog.sinks._s3_stale import objects
from lazycog.sinks.s3 import MARK, STATE_SUFFIX, S3Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from gcsfs import GCSFileSystem

LIMITS = PartLimits(max_object=5 * 2**40)
"""Of the XML API, which are those of S3, with objects of 5 TiB at most."""
METADATA = "metadata"
"""Our own among the options: the user's metadata of the object."""
LIST = "list_multipart_uploads"
LISTED = b"ListMultipartUploadsResult"


@dataclass(frozen=True)
class GcsSink(S3Sink):
    """The same over Google's XML API; the options may hold the object's metadata."""

    def __post_init__(self) -> None:
        """Refuse a URL that names no object, and metadata that no header takes.

        Raises
        ------
        OptionError
            The metadata is not text of ASCII.
        SinkError
            The URL has no bucket, no key, or names a folder.
        """
        _check_metadata(self.options.get(METADATA) or {})
        super().__post_init__()

    @property
    def state(self) -> ObjectRecords:
        """Where the write notes what is finished."""
        return ObjectRecords(f"{self.key}{STATE_SUFFIX}/", self._call)

    def _properties(self) -> dict[str, Any]:
        """Give content type and metadata."""
        metadata = {**(self.options.get(METADATA) or {}), MARK: self.token}
        return {"ContentType": CONTENT_TYPE, "Metadata": metadata}

    def _request(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - as S3's
        """Make a request once."""
        if method == "complete_multipart_upload":
            # the API takes no condition here; the object was looked for just before
            arguments.pop("IfNoneMatch", None)
        request = Request(method, self.bucket, arguments)
        return google.call(client(self.options), request)

    def _is_transient(self, error: Exception) -> bool:
        """Whether the store was busy or the line broke."""
        return _is_transient(error)


@dataclass(frozen=True)
class ObjectRecords:
    """Records of a write that can go on, as objects below a prefix."""

    prefix: str
    call: Callable[..., Any]
    """Makes a request: ``call(method, **arguments)``."""

    def keep(self, name: str, data: bytes) -> None:
        """Write a record; again, it replaces it."""
        key = f"{self.prefix}{name}"
        with self._refused("write"):
            self.call("put_object", Key=key, Body=data, ContentMD5=md5(data))

    def load(self, name: str) -> bytes | None:
        """Read a record, None where there is none."""
        with self._refused("read"), suppress(FileNotFoundError):
            return bytes(self.call("get_object", Key=f"{self.prefix}{name}")["Body"])
        return None

    def names(self) -> list[str]:
        """List the records."""
        with self._refused("list"):
            found = list(objects(self.call, self.prefix))
        return [each["Key"].removeprefix(self.prefix) for each in found]

    def clear(self) -> None:
        """Remove all records."""
        for name in self.names():
            with self._refused("remove"), suppress(FileNotFoundError):
                self.call("delete_object", Key=f"{self.prefix}{name}")

    def _refused(self, action: str) -> AbstractContextManager[None]:
        """Turn the store's refusal into one clear error."""
        return refused(f"{action} the journal of the write", self.prefix)


def has_uploads(url: str, options: Mapping[str, Any]) -> bool:
    """Whether an endpoint has the XML API, with its multipart uploads.

    Parameters
    ----------
    url : str
        ``gs://bucket/key``.
    options : mapping
        Options of gcsfs.

    Returns
    -------
    bool
        True for Google's own hosts. Another one, such as an emulator, is asked for the
        uploads of the bucket, and has the API if it lists them.

    Raises
    ------
    SinkError
        The endpoint does not answer.
    """
    filesystem = client(options)
    if google.is_google(filesystem):
        return True
    bucket = url.partition("://")[2].partition("/")[0]

    def ask() -> bool:
        answer = google.send(filesystem, Request(LIST, bucket, {"MaxUploads": 1}))
        if is_busy(answer.response):
            raise answer.refusal()
        return answer.status == google.OK and LISTED in answer.content

    with refused("ask the endpoint for uploads", url, "nothing was written"):
        return retried(ask, _is_transient)


def client(options: Mapping[str, Any]) -> GCSFileSystem:
    """Give the client of this process.

    Raises
    ------
    MissingExtraError
        gcsfs is not installed.
    """
    require("gcsfs", 'gs:// needs gcsfs; install it: pip install "lazycog[gcs]"')
    own = {name: value for name, value in options.items() if name != METADATA}
    return fsspec.filesystem("gs", **own)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse what cannot stand in a header."""
    for name, text in metadata.items():
        whole = f"{name}{text}"
        if not (isinstance(text, str) and whole.isascii() and whole.isprintable()):
            raise OptionError(
                f"storage_options: metadata {name!r}: {text!r} must be printable ASCII "
                f"text, for example {quote(str(text))!r}"
            )


def _is_transient(error: Exception) -> bool:
    if isinstance(error, google.GoogleError):
        return is_busy(error.response)
    return isinstance(error, (ConnectionError, TimeoutError))
