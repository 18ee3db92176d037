"""A small HTTP server of one file and one page, on the loopback interface alone.

Single ranges, HEAD and validators are those of RFC 9110. Every path that is served
stands in a table: nothing of a request becomes a path of the file system.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"
NAMES = frozenset({LOOPBACK, "localhost"})
"""Hosts by which a browser on this machine asks; others are pages of other sites."""
HEADERS: Mapping[str, str] = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-cache",  # asks again, and gets 304 while the file is the same
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer."""
BLOCK = 2**20
"""Bytes that are sent at a time."""
IDLE_SECONDS = 60
"""A connection that asks for nothing is closed."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Served:
    """A file under a path of the server."""

    path: Path
    media_type: str


class PageServer(ThreadingHTTPServer):
    """Serves a table of files, and answers that are made when they are asked for.

    Parameters
    ----------
    port : int
        0 for any that is free.
    files : mapping of str to Served
        By path of the URL, "/" included.
    documents : mapping of str to callable
        By path of the URL: gives a status and JSON.

    Raises
    ------
    OSError
        The port is taken or not allowed.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        port: int,
        files: Mapping[str, Served],
        documents: Mapping[str, Callable[[], tuple[HTTPStatus, bytes]]],
    ) -> None:
        self.files = files
        self.documents = documents
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def handle_error(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        """Say nothing: a browser hangs up on tiles that it no longer needs."""


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD; everything else is refused."""

    protocol_version = "HTTP/1.1"
    server_version = "lazycog"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: PageServer

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Refuse every other method in the same way."""
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own word
        """Stay silent."""

    def _answer(self) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in NAMES:  # a name of another site that was made to lead here
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return
        path = urlsplit(self.path).path
        if path in self.server.documents:
            status, body = self.server.documents[path]()
            self._head(status, {"Content-Type": "application/json"}, len(body))
            self._body(body)
        elif path in self.server.files:
            self._send(self.server.files[path])
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def _send(self, served: Served) -> None:
        try:
            file = served.path.open("rb")
        except OSError:  # removed since the server began
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with file:
            self._send_open(file, served)

    def _send_open(self, file: IO[bytes], served: Served) -> None:
        about = os.fstat(file.fileno())  # of what was opened, not of its name
        size = about.st_size
        etag = f'"{about.st_mtime_ns:x}-{size:x}"'
        headers = {"Content-Type": served.media_type, "ETag": etag}
        if etag in _etags(self.headers.get("If-None-Match", "")):
            self._head(HTTPStatus.NOT_MODIFIED, headers, None)
            return
        wanted = self.headers.get("Range")
        if self.headers.get("If-Range", etag) != etag:
            wanted = None  # parts of an older file: the whole new one
        span = None if wanted is None else parse_range(wanted, size)
        if span is None:
            self._head(HTTPStatus.OK, headers, size)
            self._copy(file, (0, size))
            return
        start, stop = span
        if start >= stop:
            headers["Content-Range"] = f"bytes */{size}"
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers, 0)
            return
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._head(HTTPStatus.PARTIAL_CONTENT, headers, stop - start)
        self._copy(file, span)

    def _copy(self, file: IO[bytes], span: Span) -> None:
        if self.command == "HEAD":
            return
        file.seek(span[0])
        left = span[1] - span[0]
        while left:
            block = file.read(min(BLOCK, left))
            if not block:  # cut while it is read: the browser sees a short answer
                self.close_connection = True
                return
            self.wfile.write(block)
            left -= len(block)

    def _refuse_method(self) -> None:
        self.close_connection = True  # a body may follow
        self._head(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"}, 0)

    def _refuse(self, status: HTTPStatus) -> None:
        body = f"{status.value} {status.phrase}\n".encode()
        self._head(status, {"Content-Type": "text/plain"}, len(body))
        self._body(body)

    def _head(
        self, status: HTTPStatus, headers: Mapping[str, str], length: int | None
    ) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _body(self, body: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(body)


def parse_range(header: str, size: int) -> Span | None:
    """Turn the header Range into positions.

    Parameters
    ----------
    header : str
        As a client sent it.
    size : int
        Bytes of the file.

    Returns
    -------
    (int, int) or None
        First byte and the one behind the last; equal when the file has no such bytes.
        None where the header is malformed or asks for several ranges: the whole file
        is the right answer then.

    Examples
    --------
    >>> parse_range("bytes=2-4", 10), parse_range("bytes=-3", 10)
    ((2, 5), (7, 10))
    >>> parse_range("bytes=10-", 10), parse_range("bytes=0-1,3-4", 10)
    ((10, 10), None)
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip(), re.ASCII)
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None
    return min(first, size), min(max(last + 1, first), size)


def _etags(header: str) -> list[str]:
    return [each.strip().removeprefix("W/") for each in header.split(",")]
