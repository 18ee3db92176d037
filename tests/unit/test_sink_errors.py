"""What clients raise becomes one clear error, and nothing else does."""

from __future__ import annotations

from http.client import IncompleteRead

import fsspec
import pytest
from azure.core.exceptions import ServiceRequestError
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from gcsfs.retry import HttpError

from lazycog.errors import DestinationExistsError, MissingExtraError, SinkError
from lazycog.sinks._errors import refused
from lazycog.sinks._retry import retried
from lazycog.sinks._s3_client import is_transient
from lazycog.sinks.fsspec_stream import StreamSink

RAISED = [
    ClientError({"Error": {"Code": "SlowDown"}}, "UploadPart"),
    EndpointConnectionError(endpoint_url="http://store"),
    IncompleteRead(b"half"),
    HttpError({"message": "gone"}),
    KeyError("UploadId"),
    PermissionError(13, "no"),
    ServiceRequestError("no route"),
    TimeoutError("late"),
    TypeError("unexpected keyword argument"),
    ValueError("no credentials"),
]
names = pytest.mark.parametrize("error", RAISED, ids=lambda each: type(each).__name__)


@names
def test_the_error_says_what_was_tried_and_how_things_are(error):
    """With what the client raised as its cause."""
    message = f"could not look: {type(error).__name__}: .*; all is well"

    with (
        pytest.raises(SinkError, match=message) as caught,
        refused("look", "s3://bucket/key.tif", "all is well"),
    ):
        raise error

    assert caught.value.__cause__ is error
    assert caught.value.errno == getattr(error, "errno", None) or 5
    assert caught.value.filename == "s3://bucket/key.tif"


@names
def test_each_may_be_tried_again(error):
    """Whether it is depends on the sink, which looks at what the store answered."""
    left = [error]

    assert (
        retried(lambda: _raised(left) or "sent", lambda each: each is error) == "sent"
    )


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        (ConnectTimeoutError, True),
        (EndpointConnectionError, True),
        (ReadTimeoutError, True),
        (ConnectionClosedError, True),
        (SSLError, False),
        (NoCredentialsError, False),
    ],
)
def test_s3_is_asked_again_when_the_line_breaks(kind, again):
    """Whether it breaks before or after the request is on its way."""
    assert is_transient(kind(endpoint_url="http://store", error="late")) is again


def _raised(left):
    if left:
        raise left.pop()


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("'NoneType' object has no attribute 'size'"),
        ZeroDivisionError("a bug"),
        MissingExtraError("install it"),
        DestinationExistsError(17, "it exists", "a.tif"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_other_errors_go_on_as_they_are(error):
    """A mistake in our code is not the destination's, and our errors are clear."""
    with pytest.raises(type(error)) as caught, refused("look", "a.tif"):
        raise error

    assert caught.value is error


def test_a_draft_that_cannot_be_removed_is_told(monkeypatch):
    """The first error is the one to tell, with a note of the second."""
    files = fsspec.filesystem("memory")
    sink = StreamSink(
        "memory://draft.tif", "token", protocol="memory", name="/draft.tif"
    )
    opened = type(files.open("/other", "wb"))
    first = OSError(28, "No space left on device")

    def full(*_):
        raise first

    def gone(*_):
        raise ConnectionError("the line broke")

    monkeypatch.setattr(opened, "write", full)
    monkeypatch.setattr(opened, "discard", gone)

    with pytest.raises(SinkError, match="No space left"):
        sink.put_whole("token", [b"pixels"])

    (note,) = first.__notes__
    assert "a draft of memory://draft.tif may be left" in note
    assert "the line broke" in note
