"""S3 and what speaks its language: multipart uploads through s3fs.

Any worker sends any part; the object appears when the upload is completed. Each part
carries its MD5, which every S3 server checks. The object is marked with the token of
the write, so that a lost answer to the completion can be settled by looking.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import time
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import fsspec

from lazycog._parts import PartLimits
from lazycog.errors import (
    CogError,
    DestinationExistsError,
    MissingExtraError,
    SinkError,
)
from lazycog.sinks._errors import client_errors, refused
from lazycog.sinks._protocol import CONTENT_TYPE, Receipt
from lazycog.sinks._retry import retried
from lazycog.sinks._s3_stale import drop_unanswered, stale
from lazycog.sinks._state import ObjectState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from s3fs import S3FileSystem

    from lazycog._parts import Buffer
    from lazycog.sinks._protocol import Leftover
    from lazycog.sinks._state import State

TRANSIENT_CODES = frozenset(
    {
        *("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"),
        *("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),
        *("OperationAborted", "ConditionalRequestConflict", "RequestTimeTooSkewed"),
    }
)
"""Error codes of S3 that may go away; a damaged body is sent again."""
BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
ABORT_ATTEMPTS = 10
ABORT_WAIT_SECONDS = 0.2
STATE_SUFFIX = ".lazycog-resume"
"""Where a write that can go on keeps its journal."""
MARK = "lazycog-write"
"""Name of the metadata with the token of the write."""


@dataclass(frozen=True)
class S3Sink:
    """Plain value; every operation takes the client of its process."""

    path: str
    """URL of the object."""
    bucket: str
    key: str
    token: str
    """Marks the object of this write."""
    overwrite: bool = True
    limits: PartLimits = field(default_factory=PartLimits)
    is_lazy: bool = False
    """Whether a task begins the upload, which may run twice."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of s3fs; never shown, for they may hold credentials."""

    @classmethod
    def of(
        cls,
        url: str,
        token: str,
        options: Mapping[str, Any],
        limits: PartLimits,
        *,
        overwrite: bool,
        is_lazy: bool,
    ) -> Self:
        """Resolve a URL, and refuse one that cannot be written.

        Parameters
        ----------
        url : str
            ``s3://bucket/key``.
        token : str
            Marks the object.
        options : mapping
            Options of s3fs.
        limits : PartLimits
            What the store accepts.
        overwrite : bool
            Whether an existing object may be replaced.
        is_lazy : bool
            Whether a task begins the upload.

        Returns
        -------
        S3Sink
            Nothing is created yet.

        Raises
        ------
        SinkError
            The URL names no object.
        """
        scheme, _, name = url.partition("://")
        bucket, _, key = name.partition("/")
        if not bucket or not key or key.endswith("/"):
            raise SinkError(
                errno.EINVAL, f"the URL names no object: {scheme}://bucket/key.tif", url
            )
        sink = cls(url, bucket, key, token, overwrite, limits, is_lazy, dict(options))
        sink.check_absent()
        return sink

    def check_absent(self) -> None:
        """Refuse an existing object unless it may be replaced.

        Raises
        ------
        DestinationExistsError
            There is an object and ``overwrite=False``.
        """
        if not self.overwrite and self._head() is not None:
            raise self._exists()

    def begin(self) -> str:
        """Start an upload and give its name.

        A task that begins one leaves a small object with that name, so that it gives
        the same one when it runs again, and so that the upload can be found.
        """
        with self._refused("begin the upload"):
            if self.is_lazy:
                known = self._noted()
                if known:
                    return known
            upload = self._create()
            return self._note(upload) if self.is_lazy else upload

    def _create(self) -> str:
        """Create an upload, and drop those whose answer was lost on the way."""
        since = time.monotonic()
        properties = self._properties()
        answers: list[str] = [""]
        tries = 0

        def create() -> None:
            nonlocal tries
            tries += 1
            answer = self._request(
                "create_multipart_upload", Key=self.key, **properties
            )
            answers[0] = str(answer["UploadId"])

        try:
            retried(create, self._is_transient)
        finally:
            if tries > 1:
                age = time.monotonic() - since
                drop_unanswered(self._call, self.key, answers[0], age)
        return answers[0]

    def put(self, upload: str, number: int, data: Sequence[Buffer]) -> Receipt:
        """Send one part; the same call again replaces it."""
        body = b"".join(data)
        with self._refused(f"send part {number}"):
            answer = self._call(
                "upload_part",
                Key=self.key,
                UploadId=upload,
                PartNumber=number,
                Body=body,
                ContentMD5=md5(body),
            )
        return Receipt(upload, number, len(body), str(answer["ETag"]))

    def commit(self, upload: str, receipts: Sequence[Receipt]) -> None:
        """Compare what the store has with what was sent, and join it."""
        size = sum(each.size for each in receipts)
        with self._refused("complete the upload"):
            try:
                self._compare(upload, receipts)
            except FileNotFoundError:
                # another run of this task may have completed it
                if not self._is_ours(size):
                    raise
            else:
                self._complete(upload, receipts, size)
        if self.is_lazy:
            self._forget()

    def is_done(self, upload: str, size: int) -> bool:
        """Whether the object is there as this write made it."""
        del upload  # the mark tells
        return self._is_ours(size)

    @property
    def state(self) -> State:
        """Where the write notes what is finished."""
        prefix = f"{self.bucket}/{self.key}{STATE_SUFFIX}"
        return ObjectState("s3", prefix, self.options)

    def with_token(self, token: str) -> Self:
        """Give the same sink under the token of a killed write."""
        return replace(self, token=token)

    def can_go_on(self, upload: str) -> bool:
        """Whether the upload, or the object that it became, is still there."""
        with self._refused("look for the upload"):
            try:
                self._call("list_parts", Key=self.key, UploadId=upload)
            except FileNotFoundError:
                return self._is_ours()
        return True

    def put_whole(self, upload: str, data: Sequence[Buffer]) -> None:
        """Send a small object at once, and drop the upload."""
        body = b"".join(data)

        def send() -> None:
            self._call(
                "put_object",
                Key=self.key,
                Body=body,
                ContentMD5=md5(body),
                **self._properties(),
                **self._condition(),
            )

        with self._refused("send the object"):
            self._settled(send, len(body))
        self.abort(upload)

    def abort(self, upload: str = "") -> None:
        """Drop the upload and its parts; the old object stays.

        A part that is being sent may arrive after it, so the store is asked until it
        knows nothing of the upload.
        """
        with self._refused("abort the upload"):
            upload = upload or self._noted()
            for _ in range(ABORT_ATTEMPTS if upload else 0):
                if self._is_gone(upload):
                    break
                time.sleep(ABORT_WAIT_SECONDS)
            if self.is_lazy:
                self._forget()

    def stale(self, age: float, *, dry_run: bool) -> list[Leftover]:
        """Find, and remove but for a dry run, what killed writes left behind."""
        with self._refused("look for uploads"):
            return stale(self._call, self.key, age, dry_run=dry_run)

    def _is_gone(self, upload: str) -> bool:
        try:
            self._call("abort_multipart_upload", Key=self.key, UploadId=upload)
            self._call("list_parts", Key=self.key, UploadId=upload)
        except FileNotFoundError:
            return True
        return False

    def _compare(self, upload: str, receipts: Sequence[Receipt]) -> None:
        """Check that the store has every part as it was sent."""
        found: dict[int, tuple[int, str]] = {}
        marker = 0
        while True:
            answer = self._call(
                "list_parts", Key=self.key, UploadId=upload, PartNumberMarker=marker
            )
            for each in answer.get("Parts", []):
                found[each["PartNumber"]] = (each["Size"], each["ETag"])
            following = answer.get("NextPartNumberMarker", 0)
            if not answer.get("IsTruncated") or following <= marker:
                break
            marker = following
        for each in receipts:
            if each.upload != upload:
                raise SinkError(
                    errno.EIO,
                    "parts went to two uploads, since the task that began it ran "
                    "twice; write again",
                    self.path,
                )
            if found.get(each.number) != (each.size, each.etag):
                raise SinkError(
                    errno.EIO,
                    f"the store has another part {each.number} than was sent; write "
                    "again",
                    self.path,
                )

    def _complete(self, upload: str, receipts: Sequence[Receipt], size: int) -> None:
        parts = [{"PartNumber": each.number, "ETag": each.etag} for each in receipts]

        def join() -> None:
            self.check_absent()  # some stores ignore the condition
            self._call(
                "complete_multipart_upload",
                Key=self.key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                **self._condition(),
            )

        self._settled(join, size)

    def _settled(self, operation: Callable[[], None], size: int) -> None:
        """Run the operation that lets the object appear; look when in doubt."""
        try:
            operation()
        except client_errors() as error:  # whatever it was, the object tells
            if self._is_ours(size):
                return
            if _is_refused_condition(error):
                raise self._exists() from error
            raise

    def _is_ours(self, size: int | None = None) -> bool:
        """Whether the object is the one of this write."""
        found = self._head()
        if found is None or found["ContentLength"] != (
            found["ContentLength"] if size is None else size
        ):
            return False
        metadata = {name.lower(): text for name, text in found["Metadata"].items()}
        return bool(metadata.get(MARK) == self.token)

    def _head(self) -> Mapping[str, Any] | None:
        with self._refused("look at the object"):
            try:
                found: Mapping[str, Any] = self._call("head_object", Key=self.key)
            except FileNotFoundError:
                return None
        return found

    def _properties(self) -> dict[str, Any]:
        """Give content type and metadata; ACL and encryption come with the options."""
        extra = self.options.get("s3_additional_kwargs") or {}
        metadata = {**extra.get("Metadata", {}), MARK: self.token}
        return {
            "ContentType": extra.get("ContentType", CONTENT_TYPE),
            "Metadata": metadata,
        }

    def _condition(self) -> dict[str, str]:
        return {} if self.overwrite else {"IfNoneMatch": "*"}

    @property
    def _note_key(self) -> str:
        return f"{self.key}.lazycog-{self.token}"

    def _noted(self) -> str:
        """Give the upload that a task of this write has begun, if any."""
        if not self.is_lazy:
            return ""
        try:
            found = self._call("head_object", Key=self._note_key)
        except FileNotFoundError:
            return ""
        return str(found["Metadata"].get("upload", ""))

    def _note(self, upload: str) -> str:
        """Keep the name of the upload where a second run of the task finds it."""
        try:
            self._call(
                "put_object",
                Key=self._note_key,
                Body=b"",
                Metadata={"upload": upload},
                IfNoneMatch="*",
            )
        except OSError as error:
            if not _is_refused_condition(error):
                raise
            self._is_gone(upload)
            return self._noted()
        return upload

    def _forget(self) -> None:
        self._call("delete_object", Key=self._note_key)

    def _exists(self) -> DestinationExistsError:
        return DestinationExistsError(
            errno.EEXIST,
            "the object exists and overwrite=False; remove it or allow it",
            self.path,
        )

    def _call(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - botocore
        """Make a request, again and again while the store is busy."""
        return retried(lambda: self._request(method, **arguments), self._is_transient)

    def _request(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - botocore
        """Make a request once."""
        return client(self.options).call_s3(method, Bucket=self.bucket, **arguments)

    def _is_transient(self, error: Exception) -> bool:
        """Whether the store was busy or the line broke."""
        return _is_transient(error)

    def _refused(self, action: str) -> AbstractContextManager[None]:
        """Turn the store's refusal into one clear error."""
        return refused(action, self.path, "the object is as it was")


def client(options: Mapping[str, Any]) -> S3FileSystem:
    """Give the S3 client of this process.

    Raises
    ------
    MissingExtraError
        s3fs is not installed.
    """
    try:
        import s3fs  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            's3:// needs s3fs; install it: pip install "lazycog[s3]"'
        ) from error
    config = {"retries": {"max_attempts": 0}, **(options.get("config_kwargs") or {})}
    # an instance of our own, for what is tried again here alone: loops would multiply
    filesystem = fsspec.filesystem("s3", **{**options, "config_kwargs": config})
    filesystem.retries = 1
    return filesystem


def _answer(error: BaseException | None) -> Mapping[str, Any]:
    """Give what the server answered, as botocore tells it."""
    cause = None if error is None else error.__cause__
    found = getattr(error, "response", None) or getattr(cause, "response", None)
    return found if isinstance(found, dict) else {}


def _is_refused_condition(error: BaseException) -> bool:
    code = _answer(error).get("Error", {}).get("Code")
    return code in {"PreconditionFailed", "412"}


def _is_transient(error: Exception) -> bool:
    """Whether the store was busy or the line broke."""
    if isinstance(error, CogError):
        return False
    answer = _answer(error)
    if answer:
        return is_busy(answer)
    from s3fs.core import S3_RETRYABLE_ERRORS  # noqa: PLC0415 - an extra

    return isinstance(error, (ConnectionError, TimeoutError, *S3_RETRYABLE_ERRORS))


def is_busy(answer: Mapping[str, Any]) -> bool:
    """Whether what a server answered may go away.

    Parameters
    ----------
    answer : mapping
        As botocore tells it.

    Returns
    -------
    bool
        True for errors of the server, for throttling and for a damaged body.
    """
    code = answer.get("Error", {}).get("Code", "")
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    busy = server and status != HTTPStatus.NOT_IMPLEMENTED
    return bool(busy or status in BUSY or code in TRANSIENT_CODES)


def md5(body: bytes) -> str:
    """Give the MD5 of a body as a header carries it."""
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
