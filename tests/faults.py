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

    def __init__(self, port, seed, rate=0.15, dead="", lost=0):
        self.port, self.rate, self.dead = port, rate, dead
        self.lost = lost
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.faults = []
        self.received = 0
        self.answers = []  # (method, bytes of the body)

    def count(self, size):
        """Count the bytes of a request."""
        with self.lock:
            self.received += size

    def choose(self, kind):
        """Give the fault of a request, None without one."""
        with self.lock:
            if self.dead and kind == self.dead:
                fault = self.random.choice(("drop", "500", "503"))
            elif kind == "complete" and (
                self.lost or self.random.random() < 3 * self.rate
            ):
                self.lost = max(0, self.lost - 1)
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


class Handler(BaseHTTPRequestHandler):
    """Handles the requests of the proxy of its server."""

    protocol_version = "HTTP/1.1"

    def forward(self):
        """Pass a request on, or break it."""
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = proxy.choose(kind_of(self.command, self.path))
        if fault is None:
            proxy.count(len(body))
        if fault == "drop":
            self.hang_up()
        elif fault in {"500", "503"}:
            self.refuse(int(fault))
        else:
            if fault == "slow":
                time.sleep(0.2)
            answer, content = self.ask(proxy.port, body)
            if fault == "lost":
                self.hang_up()
            else:
                self.reply(answer, content, cut=fault == "truncated")

    def ask(self, port, body):
        """Ask the server behind."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, self.passed(port))
            answer = connection.getresponse()
            return answer, answer.read()

    def passed(self, port):
        """Give the headers of a request to the server behind."""
        del port  # a signature is for the client's address
        return {k: v for k, v in self.headers.items() if k != "Expect"}

    def reply(self, answer, content, *, cut):
        """Give the answer back, or half of it."""
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "content-length"}:
                self.send_header(name, value)
        length = len(content)
        if self.command == "HEAD":
            length = answer.getheader("Content-Length", "0")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        body = content[: len(content) // 2] if cut else content
        self.server.proxy.answers.append((self.command, len(body)))
        self.wfile.write(body)
        if cut:
            self.hang_up()

    def refuse(self, status):
        """Answer that the store is busy."""
        code = {500: "InternalError", 503: "SlowDown"}[status]
        content = f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def hang_up(self):
        """Close the line."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        """Say nothing."""


for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
    setattr(Handler, f"do_{method}", Handler.forward)


class Server(ThreadingHTTPServer):
    """Keeps quiet about lines that break: they are meant to."""

    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def proxied(port, seed, handler=Handler, own_port=0, **options):
    """Run a fault proxy before a port; gives the proxy and its own port."""
    proxy = FaultProxy(port, seed, **options)
    with Server(("127.0.0.1", own_port), handler) as server:
        server.proxy = proxy
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
