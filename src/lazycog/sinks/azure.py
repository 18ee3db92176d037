"""Azure Blob Storage: blocks of a block blob, through adlfs.

Blocks belong to the name of the blob, not to an upload. So their ids carry the token of
the write and a digest of their bytes: two writes never mix, and the commit names
exactly the bytes that were sent.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
from fsspec.asyn import sync

from lazycog._extras import require
from lazycog._parts import MIB, PartLimits
from lazycog.errors import SinkError
from lazycog.sinks._errors import client_errors
from lazycog.sinks._protocol import CONTENT_TYPE, Receipt
from lazycog.sinks._retry import retried
from lazycog.sinks._store import StoreSink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adlfs import AzureBlobFileSystem
    from azure.storage.blob import BlobProperties

    from lazycog._parts import Buffer

LIMITS = PartLimits(min_part=1, max_part=4000 * MIB, max_parts=50_000)
"""Of block blobs since service version 2019-12-12."""
MARK = "lazycog_write"
"""Name of the metadata with the token of the write: an identifier, as Azure wants."""
ATTEMPTS = 4
"""On top of the client's own."""
CONFLICT = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})
"""A condition that does not hold: the blob exists."""
BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True)
class AzureSink(StoreSink):
    """A blob, of blocks; its URL may name the account."""

    limits: PartLimits = LIMITS

    noun: ClassVar[str] = "blob"

    def __post_init__(self) -> None:
        """Refuse a URL that names no blob.

        Raises
        ------
        SinkError
            It has no container, no blob, or names a folder.
        """
        if not self.container or not self.blob or self.blob.endswith("/"):
            raise SinkError(
                errno.EINVAL,
                "the URL names no blob: az://container/name.tif",
                self.path,
            )

    @property
    def container(self) -> str:
        """Where the blob is: ``container@account.host`` stands before its name."""
        return self._parted[0].partition("@")[0]

    @property
    def blob(self) -> str:
        """Name of the blob."""
        return self._parted[2]

    @property
    def client_options(self) -> dict[str, Any]:
        """Options of adlfs, with the account that the URL names."""
        account = self._parted[0].partition("@")[2].partition(".")[0]
        known = {"account_name": account} if account else {}
        return {**known, **self.options}

    @property
    def _parted(self) -> tuple[str, str, str]:
        return self.path.partition("://")[2].partition("/")

    def is_there(self) -> bool:
        """Whether there is a blob, of whichever write."""
        return self._properties() is not None

    def begin(self) -> str:
        """Name the upload: blocks need nothing to be begun."""
        return self.token

    def put(self, upload: str, number: int, data: Sequence[Buffer]) -> Receipt:
        """Send one block; the same call again replaces it."""
        body = b"".join(data)
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        # ids of one blob have one length, at most 64
        name = f"{upload:.12}-{number:05d}-{digest:.24}"
        identity = base64.b64encode(name.encode()).decode()
        with self._refused(f"send block {number}"):
            self._call(
                "stage_block", identity, body, length=len(body), validate_content=True
            )
        return Receipt(upload, number, len(body), identity)

    def commit(self, upload: str, receipts: Sequence[Receipt]) -> None:
        """Compare what the store has with what was sent, and join it.

        Raises
        ------
        SinkError
            A block is not there as it was sent, or the store refused.
        """
        from azure.storage.blob import BlobBlock

        size = sum(each.size for each in receipts)
        with self._refused("commit the blocks"):
            if self.is_done(upload, size):
                return
            found = self._blocks()
            for each in receipts:
                if found.get(each.etag) != each.size:
                    raise SinkError(
                        errno.EIO,
                        f"the store does not have block {each.number} as it was sent; "
                        "write again",
                        self.path,
                    )
            identities = [BlobBlock(block_id=each.etag) for each in receipts]
            self._settled("commit_block_list", identities, upload, size)

    def is_done(self, upload: str, size: int) -> bool:
        """Whether the blob is there as this write made it."""
        found = self._properties()
        if found is None or found.size != size:
            return False
        return bool((found.metadata or {}).get(MARK) == upload)

    def put_whole(self, upload: str, data: Sequence[Buffer]) -> None:
        """Send a small blob at once."""
        body = b"".join(data)
        with self._refused("send the blob"):
            self._settled(
                "upload_blob", body, upload, len(body), overwrite=self.overwrite
            )

    def abort(self, upload: str = "") -> None:
        """Drop the blocks of a blob that did not exist; others expire by themselves.

        Azure has no request for it: an empty blob is committed where there is none,
        and deleted. Blocks beside an existing blob are kept for a week.
        """
        del upload  # blocks belong to the name

        with self._refused("drop the blocks"):
            if self._properties() is not None:
                return
            try:
                self._call("commit_block_list", [], **_if_missing())
            except client_errors() as error:
                if _status(error) in CONFLICT:
                    return
                raise
            self._call("delete_blob")

    def _blocks(self) -> dict[str, int]:
        """Give the ids and sizes of the blocks that wait for a commit."""
        try:
            _, blocks = self._call("get_block_list", "all")
        except client_errors() as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                return {}
            raise
        return {each.id: each.size for each in blocks}

    def _settled(
        self, method: str, body: object, upload: str, size: int, **more: object
    ) -> None:
        """Run the operation that lets the blob appear; look when in doubt."""
        from azure.storage.blob import ContentSettings

        condition = {} if self.overwrite or more else _if_missing()
        try:
            self._call(
                method,
                body,
                content_settings=ContentSettings(content_type=CONTENT_TYPE),
                metadata={MARK: upload},
                **condition,
                **more,
            )
        except client_errors() as error:  # whatever it was, the blob tells
            if self.is_done(upload, size):
                return
            if _status(error) in CONFLICT:
                raise self._exists() from error
            raise

    def _properties(self) -> BlobProperties | None:
        """Give the blob's properties, None without a committed blob."""
        with self._refused("look at the blob"):
            try:
                return self._call("get_blob_properties")
            except client_errors() as error:
                if _status(error) == HTTPStatus.NOT_FOUND:
                    return None
                raise

    def _call(self, method: str, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - azure's
        """Make a request, again and again while the store is busy."""
        filesystem = client(self.client_options)

        async def request() -> object:
            service = filesystem.service_client
            # a stream, which the client sends piece by piece, and a new one each time
            sent = [
                io.BytesIO(each) if isinstance(each, bytes) else each
                for each in arguments
            ]
            async with service.get_blob_client(self.container, self.blob) as blob:
                return await getattr(blob, method)(*sent, **more)

        return retried(
            lambda: sync(filesystem.loop, request), _is_transient, attempts=ATTEMPTS
        )


def client(options: Mapping[str, Any]) -> AzureBlobFileSystem:
    """Give the Azure client of this process.

    Raises
    ------
    MissingExtraError
        adlfs is not installed.
    """
    require(
        "adlfs",
        'az:// and abfs:// need adlfs; install it: pip install "lazycog[azure]"',
    )
    return fsspec.filesystem("abfs", **options)


def _if_missing() -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"match_condition": MatchConditions.IfMissing}


def _status(error: BaseException) -> int:
    return int(getattr(error, "status_code", 0) or 0)


def _is_transient(error: Exception) -> bool:
    """Whether the store was busy or the line broke."""
    from azure.core.exceptions import (
        ServiceRequestError,
        ServiceResponseError,
    )

    status = _status(error)
    if status:
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in BUSY
    broken = (ConnectionError, TimeoutError, ServiceRequestError, ServiceResponseError)
    return isinstance(error, broken)
