"""The S3 client of a process, and which of its errors may go away."""

from __future__ import annotations

import base64
import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import fsspec

from lazycog._extras import require
from lazycog.errors import CogError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3fs import S3FileSystem

TRANSIENT_CODES = frozenset(
    {
        *("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"),
        *("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),
        *("OperationAborted", "ConditionalRequestConflict", "RequestTimeTooSkewed"),
    }
)
"""Error codes of S3 that may go away; a damaged body is sent again."""
BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


def client(options: Mapping[str, Any]) -> S3FileSystem:
    """Give the S3 client of this process.

    Raises
    ------
    MissingExtraError
        s3fs is not installed.
    """
    require("s3fs", 's3:// needs s3fs; install it: pip install "lazycog[s3]"')
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


def is_refused_condition(error: BaseException) -> bool:
    """Whether the object exists, or appeared, against the condition of a request."""
    code = _answer(error).get("Error", {}).get("Code")
    return code in {"PreconditionFailed", "412"}


def is_transient(error: Exception) -> bool:
    """Whether the store was busy or the line broke."""
    if isinstance(error, CogError):
        return False
    answer = _answer(error)
    if answer:
        return is_busy(answer)
    from botocore import exceptions
    from s3fs.core import S3_RETRYABLE_ERRORS

    # botocore would try them again; s3fs leaves them out
    unreachable = (exceptions.ConnectTimeoutError, exceptions.EndpointConnectionError)
    broken = (ConnectionError, TimeoutError, *unreachable, *S3_RETRYABLE_ERRORS)
    return isinstance(error, broken)


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
