"""A proxy before a store that breaks some of the requests, as seeded."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

FAULTS = ("drop", "lost", "500", "503", "slow", "truncated")


class FaultProxy:
    """Forwards to a server on loopback, and fails on purpose."""

    def __init__(self, port, seed, rate=0.15, dead=""):
        self.port, self.rate, self.dead = port, rate, dead
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.faults = []
        self.received = 0

    def choose(self, kind):
        """Give the fault of a request, None without one."""
        with self.lock:
            if self.dead and kind == self.dead:
                fault = self.random.choice(("drop", "500", "503"))
            elif kind == "complete" and self.random.random() < 3 * self.rate:
                fault = "lost"
            elif self.random.random() < self.rate:
                fault = self.random.choice(FAULTS)
            else:
                return None
            self.faults.append((kind, fault))
            return fault


def kind_of(method, path):
    """Name a request of S3."""
    query = parse_qs(urlsplit(path).query, keep_blank_values=True)
    if "partNumber" in query:
        return "part"
    if "uploadId" in query:
        return {"POST": "complete", "DELETE": "abort"}.get(method, "list")
    return "begin" if "uploads" in query else "other"


def handler_of(proxy):
    """Make the class that handles the requests of a proxy."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = kind_of(self.command, self.path)
            fault = proxy.choose(kind)
            if kind in {"part", "complete"} or self.command == "PUT":
                with proxy.lock:
                    proxy.received += len(body) if fault is None else 0
            if fault == "drop":
                return self.hang_up()
            if fault in {"500", "503"}:
                return self.refuse(int(fault))
            if fault == "slow":
                time.sleep(0.2)
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
            with contextlib.closing(connection):
                headers = {k: v for k, v in self.headers.items() if k != "Expect"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            if fault == "lost":
                return self.hang_up()
            return self.reply(answer, content, cut=fault == "truncated")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

        def reply(self, answer, content, *, cut):
            self.send_response(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            length = len(content)
            if self.command == "HEAD":
                length = answer.getheader("Content-Length", "0")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.hang_up()

        def refuse(self, status):
            code = {500: "InternalError", 503: "SlowDown"}[status]
            content = f"<Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def hang_up(self):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_):
            """Say nothing."""

    return Handler


class Server(ThreadingHTTPServer):
    """Keeps quiet about lines that break: they are meant to."""

    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def proxied(port, seed, **options):
    """Run a fault proxy before a port; gives the proxy and its own port."""
    proxy = FaultProxy(port, seed, **options)
    with Server(("127.0.0.1", 0), handler_of(proxy)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
