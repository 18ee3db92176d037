"""What killed writes left behind in a bucket: uploads of one key, and their notes."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from lazycog.sinks._protocol import Leftover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NOTE = re.compile(r"\.lazycog-([0-9a-f]{12}|resume/.+)")
"""What follows the key in the name of a note or of a record of a journal."""

CLOCK_STEP_SECONDS = 1
"""Stores tell whole seconds, and some round up."""


def stale(
    call: Callable[..., Any], key: str, age: float, *, dry_run: bool
) -> list[Leftover]:
    """Find, and remove but for a dry run, what is older than `age` seconds.

    Parameters
    ----------
    call : callable
        Makes a request: ``call(method, **arguments)``.
    key : str
        The object: exactly this one, though stores list by prefix.
    age : float
        In seconds.
    dry_run : bool
        List only.

    Returns
    -------
    list of Leftover
        Uploads first.
    """
    found = []
    for upload in _uploads(call, key):
        since = _age(upload["Initiated"])
        if upload["Key"] == key and since >= age:
            found.append(Leftover("upload", upload["UploadId"], since))
            if not dry_run:
                name = upload["UploadId"]
                call("abort_multipart_upload", Key=key, UploadId=name)
    for each in objects(call, f"{key}.lazycog-"):
        since = _age(each["LastModified"])
        if NOTE.fullmatch(each["Key"].removeprefix(key)) and since >= age:
            kind = "journal" if "/" in each["Key"].removeprefix(key) else "note"
            found.append(Leftover(kind, each["Key"], since))
            if not dry_run:
                call("delete_object", Key=each["Key"])
    return found


def drop_unanswered(call: Callable[..., Any], key: str, kept: str, age: float) -> None:
    """Abort uploads of a key that were begun in the last seconds, but for one.

    Parameters
    ----------
    call : callable
        Makes a request: ``call(method, **arguments)``.
    key : str
        The object.
    kept : str
        The upload whose answer arrived; empty when none did.
    age : float
        Seconds since the first request that began one.

    Notes
    -----
    A request to begin an upload may reach the store although its answer is lost, and
    is then made again. What it began is told by its age, on the clock of the store.
    """
    answer = call("list_multipart_uploads", Prefix=key, MaxUploads=1)
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    now = parsedate_to_datetime(date) if date else datetime.now(tz=UTC)
    since = now - timedelta(seconds=age + CLOCK_STEP_SECONDS)
    for each in list(_uploads(call, key)):
        is_recent = each["Initiated"] >= since
        if each["Key"] == key and each["UploadId"] != kept and is_recent:
            with suppress(FileNotFoundError):
                call("abort_multipart_upload", Key=key, UploadId=each["UploadId"])


def _uploads(call: Callable[..., Any], key: str) -> Iterator[Mapping[str, Any]]:
    """List uploads whose key begins with `key`."""
    markers = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
    for answer in _pages(call, "list_multipart_uploads", key, markers):
        yield from answer.get("Uploads", [])


def _pages(
    call: Callable[..., Any], method: str, prefix: str, markers: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    """Give the answers of a listing; markers are sent as the last answer told them."""
    marker: dict[str, str] = {}
    while True:
        answer = call(method, Prefix=prefix, **marker)
        yield answer
        if not answer.get("IsTruncated"):
            return
        marker = {sent: answer[told] for sent, told in markers.items()}


def objects(call: Callable[..., Any], prefix: str) -> Iterator[Mapping[str, Any]]:
    """List objects whose key begins with `prefix`.

    Parameters
    ----------
    call : callable
        Makes a request: ``call(method, **arguments)``.
    prefix : str
        What keys begin with.

    Yields
    ------
    mapping
        Key and time, as boto3 tells them.
    """
    markers = {"ContinuationToken": "NextContinuationToken"}
    for answer in _pages(call, "list_objects_v2", prefix, markers):
        yield from answer.get("Contents", [])


def _age(then: datetime) -> float:
    """Give the age in seconds; some stores round the time up."""
    return max(0.0, time.time() - then.timestamp())
