"""S3 and what speaks its language: multipart uploads through s3fs.

Any worker sends any part; the object appears when the upload is completed. Each part
carries its MD5, which every S3 server checks. The object is marked with the token of
the write, so that a lost answer to the completion can be settled by looking.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from lazycog.errors import SinkError
from lazycog.sinks._errors import client_errors
from lazycog.sinks._protocol import CONTENT_TYPE, Receipt
from lazycog.sinks._retry import retried
from lazycog.sinks._s3_client import client, is_refused_condition, is_transient, md5
from lazycog.sinks._s3_stale import drop_unanswered, stale
from lazycog.sinks._state import ObjectState
from lazycog.sinks._store import StoreSink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lazycog._parts import Buffer
    from lazycog.sinks._protocol import Leftover
    from lazycog.sinks._state import State

ABORT_ATTEMPTS = 10
ABORT_WAIT_SECONDS = 0.2
STATE_SUFFIX = ".lazycog-resume"
"""Where a write that can go on keeps its journal."""
MARK = "lazycog-write"
"""Name of the metadata with the token of the write."""


@dataclass(frozen=True)
class S3Sink(StoreSink):
    """An object, of an upload in parts."""

    is_lazy: bool = False
    """Whether a task begins the upload, which may run twice."""

    def __post_init__(self) -> None:
        """Refuse a URL that names no object.

        Raises
        ------
        SinkError
            It has no bucket, no key, or names a folder.
        """
        if not self.bucket or not self.key or self.key.endswith("/"):
            scheme = self.path.partition("://")[0]
            raise SinkError(
                errno.EINVAL,
                f"the URL names no object: {scheme}://bucket/key.tif",
                self.path,
            )

    @property
    def bucket(self) -> str:
        """Where the object is."""
        return self.path.partition("://")[2].partition("/")[0]

    @property
    def key(self) -> str:
        """Name of the object."""
        return self.path.partition("://")[2].partition("/")[2]

    def is_there(self) -> bool:
        """Whether there is an object, of whichever write."""
        return self._head() is not None

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
            if is_refused_condition(error):
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
            if not is_refused_condition(error):
                raise
            self._is_gone(upload)
            return self._noted()
        return upload

    def _forget(self) -> None:
        self._call("delete_object", Key=self._note_key)

    def _call(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - botocore
        """Make a request, again and again while the store is busy."""
        return retried(lambda: self._request(method, **arguments), self._is_transient)

    def _request(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - botocore
        """Make a request once."""
        return client(self.options).call_s3(method, Bucket=self.bucket, **arguments)

    def _is_transient(self, error: Exception) -> bool:
        """Whether the store was busy or the line broke."""
        return is_transient(error)
