"""Google's XML API under the names of S3's: the same uploads, parts and answers.

One request per call, with the credentials, the session and the endpoint of gcsfs;
nothing is tried again here. Whatever goes wrong is an OSError: FileNotFoundError for
what is not there, ConnectionError for a broken line, and `GoogleError` for a refusal.
"""

from __future__ import annotations

import errno
import io
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

from fsspec.asyn import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsfs import GCSFileSystem

JSON_API = "/storage/v1"
"""What gcsfs puts behind the endpoint; the XML API has the bucket there."""
GOOGLE_HOSTS = ".googleapis.com"
CALLS = {
    "create_multipart_upload": ("POST", "uploads"),
    "upload_part": ("PUT", ""),
    "list_parts": ("GET", ""),
    "complete_multipart_upload": ("POST", ""),
    "abort_multipart_upload": ("DELETE", ""),
    "put_object": ("PUT", ""),
    "head_object": ("HEAD", ""),
    "get_object": ("GET", ""),
    "delete_object": ("DELETE", ""),
    "list_multipart_uploads": ("GET", "uploads"),
    "list_objects_v2": ("GET", "list-type=2"),
}
"""S3's name of a call -> HTTP method and what the query begins with."""
QUERY = {
    "UploadId": "uploadId",
    "PartNumber": "partNumber",
    "PartNumberMarker": "part-number-marker",
    "Prefix": "prefix",
    "MaxUploads": "max-uploads",
    "KeyMarker": "key-marker",
    "UploadIdMarker": "upload-id-marker",
    "ContinuationToken": "continuation-token",
}
HEADERS = {"ContentType": "Content-Type", "ContentMD5": "Content-MD5"}
METADATA = "x-goog-meta-"
ONLY_IF_ABSENT = {"x-goog-if-generation-match": "0"}
LISTS = {"Part": "Parts", "Upload": "Uploads", "Contents": "Contents"}
"""Elements that an answer may have many of."""
VALUES: Mapping[str, Callable[[str], Any]] = {
    "PartNumber": int,
    "Size": int,
    "NextPartNumberMarker": int,
    "IsTruncated": lambda text: text == "true",
    "Initiated": datetime.fromisoformat,
    "LastModified": datetime.fromisoformat,
}
OK, FORBIDDEN, MISSING, FIRST_ERROR = 200, (401, 403), 404, 400


class GoogleError(OSError):
    """What the store refused; `response` has the form of botocore's."""

    response: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """What is asked, in boto3's words."""

    method: str
    """S3's name of the call."""
    bucket: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def verb(self) -> str:
        """HTTP method."""
        return CALLS[self.method][0]

    @property
    def target(self) -> str:
        """Path and query."""
        key = f"/{quote(self.arguments['Key'])}" if "Key" in self.arguments else ""
        known = {
            name: self.arguments[each]
            for each, name in QUERY.items()
            if each in self.arguments
        }
        query = "&".join(filter(None, [CALLS[self.method][1], urlencode(known)]))
        return f"/{quote(self.bucket)}{key}{'?' if query else ''}{query}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers, but for those of who asks."""
        headers = {
            name: self.arguments[each]
            for each, name in HEADERS.items()
            if self.arguments.get(each)
        }
        for name, text in self.arguments.get("Metadata", {}).items():
            headers[f"{METADATA}{name}"] = text
        if "MultipartUpload" in self.arguments:
            headers["Content-Type"] = "application/xml"
        if "IfNoneMatch" in self.arguments:
            headers.update(ONLY_IF_ABSENT)
        return headers

    @property
    def body(self) -> bytes | None:
        """The bytes that it carries, None without any."""
        if "MultipartUpload" not in self.arguments:
            return self.arguments.get("Body")
        root = ET.Element("CompleteMultipartUpload")
        for each in self.arguments["MultipartUpload"]["Parts"]:
            part = ET.SubElement(root, "Part")
            ET.SubElement(part, "PartNumber").text = str(each["PartNumber"])
            ET.SubElement(part, "ETag").text = each["ETag"]
        content: bytes = ET.tostring(root)
        return content


@dataclass(frozen=True)
class Answer:
    """What came back, whatever the status."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def response(self) -> dict[str, Any]:
        """Status and error in the form of botocore's."""
        root = self.xml()
        told = {} if root is None else _told(root)
        code = told.get("Code", str(self.status))
        message = told.get("Message", f"HTTP status {self.status}")
        return {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": self.status},
        }

    def refusal(self) -> OSError:
        """Give the error that the answer stands for."""
        response = self.response
        text = f"{response['Error']['Code']}: {response['Error']['Message']}"
        if self.status == MISSING:
            return FileNotFoundError(errno.ENOENT, text)
        number = errno.EACCES if self.status in FORBIDDEN else errno.EIO
        error = GoogleError(number, text)
        error.response = response
        return error

    def xml(self) -> ET.Element | None:
        """Give the root of an answer in XML, None of any other."""
        try:
            return ET.fromstring(self.content)  # noqa: S314 - of the user's own store
        except ET.ParseError:
            return None


def call(filesystem: GCSFileSystem, request: Request) -> dict[str, Any]:
    """Make a request once.

    Parameters
    ----------
    filesystem : gcsfs.GCSFileSystem
        Whose credentials, session and endpoint are used.
    request : Request
        What is asked.

    Returns
    -------
    dict
        As boto3 gives it; the bytes of an object under ``Body``.

    Raises
    ------
    FileNotFoundError, GoogleError
        A refusal.
    ConnectionError
        The line broke, or something on it answered instead of the store.
    """
    answer = send(filesystem, request)
    if answer.status >= FIRST_ERROR:
        raise answer.refusal()
    given: dict[str, Any] = {
        "ResponseMetadata": {"HTTPHeaders": {"date": answer.headers.get("Date", "")}}
    }
    if request.method == "get_object":
        return {**given, "Body": answer.content}
    if request.method == "head_object":
        return {**given, **_properties(answer.headers)}
    if "ETag" in answer.headers:
        given["ETag"] = _tag(answer.headers["ETag"])
    if not answer.content:
        return given
    root = answer.xml()
    if root is None:  # of something between us and the store
        raise ConnectionError(f"{request.method} was answered with what is no XML")
    if _name(root) == "Error":  # an upload may turn out wrong after "200 OK" is sent
        raise answer.refusal()
    return {**given, **_told(root)}


def send(filesystem: GCSFileSystem, request: Request) -> Answer:
    """Make a request once, and give the answer whatever it is.

    Parameters
    ----------
    filesystem : gcsfs.GCSFileSystem
        As in :func:`call`.
    request : Request
        What is asked.

    Returns
    -------
    Answer
        Status, headers and content.

    Raises
    ------
    PermissionError
        The credentials cannot be renewed.
    ConnectionError
        The line broke.
    """
    import aiohttp
    from yarl import URL

    url = URL(f"{_endpoint(filesystem)}{request.target}", encoded=True)
    headers = _signed(request.headers, filesystem)
    body = request.body

    async def ask() -> Answer:
        session = await filesystem._set_session()  # noqa: SLF001 - has no other name
        sent = session.request(
            request.verb,
            url,
            headers=headers,
            # a stream, which is sent piece by piece
            data=None if body is None else io.BytesIO(body),
            timeout=filesystem.requests_timeout,
        )
        async with sent as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    try:
        answer: Answer = sync(filesystem.loop, ask)
    except aiohttp.ClientError as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    return answer


def is_google(filesystem: GCSFileSystem) -> bool:
    """Whether the endpoint is Google's own."""
    host = urlsplit(_endpoint(filesystem)).hostname or ""
    return f".{host}".endswith(GOOGLE_HOSTS)


def _endpoint(filesystem: GCSFileSystem) -> str:
    base: str = filesystem.base
    return base.partition(JSON_API)[0].rstrip("/")


def _signed(headers: dict[str, str], filesystem: GCSFileSystem) -> dict[str, str]:
    """Add who pays, and credentials that are still good."""
    from gcsfs.retry import HttpError
    from google.auth.exceptions import (
        GoogleAuthError,
        TransportError,
    )

    headers = dict(headers)
    if filesystem.requester_pays:
        named = isinstance(filesystem.requester_pays, str)
        payer = filesystem.requester_pays if named else filesystem.project
        headers["x-goog-user-project"] = str(payer)
    try:
        filesystem.credentials.apply(headers)
    except TransportError as error:
        raise ConnectionError(f"no answer to a request for a token: {error}") from error
    except (GoogleAuthError, HttpError) as error:
        raise PermissionError(
            errno.EACCES, f"the credentials cannot be renewed: {error}"
        ) from error
    return headers


def _properties(headers: Mapping[str, str]) -> dict[str, Any]:
    """Give length and metadata of an object."""
    stored = headers.get("x-goog-stored-content-length")
    metadata = {
        name.lower().removeprefix(METADATA): text
        for name, text in headers.items()
        if name.lower().startswith(METADATA)
    }
    return {
        "ContentLength": int(stored or headers["Content-Length"]),
        "Metadata": metadata,
    }


def _told(root: ET.Element) -> dict[str, Any]:
    """Turn elements into values, and those that may repeat into lists."""
    found: dict[str, Any] = {}
    for each in root:
        name, text = _name(each), each.text or ""
        if name in LISTS:
            found.setdefault(LISTS[name], []).append(_told(each))
        elif name == "ETag":
            found[name] = _tag(text)
        elif text.strip():
            found[name] = VALUES.get(name, str)(text)
    return found


def _name(element: ET.Element) -> str:
    """Give the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _tag(text: str) -> str:
    """Write an entity tag in one way, in quotes: headers and lists may differ.

    Examples
    --------
    >>> _tag("abc"), _tag('"abc"')
    ('"abc"', '"abc"')
    """
    return '"' + text.strip('"') + '"'
