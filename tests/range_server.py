"""A small HTTP server of one folder that answers range requests and counts them."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class Handler(BaseHTTPRequestHandler):
    """HEAD, and GET of whole files or one range."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Stay silent."""

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, *, with_body):
        server = self.server
        path = server.folder / unquote(self.path.partition("?")[0]).lstrip("/")
        wanted = self.headers.get("Range")
        with server.guard:
            server.requests.append((self.command, self.path, wanted))
            server.seen_headers.append(dict(self.headers))
        time.sleep(server.latency)
        if server.authorization not in {None, self.headers.get("Authorization")}:
            return self._refuse(401)
        if not path.is_file():
            return self._refuse(404)
        size = path.stat().st_size
        start, stop = 0, size
        if wanted:
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
            start = int(found[1])
            stop = min(size, int(found[2]) + 1) if found[2] else size
        if start >= max(1, size):
            return self._refuse(416)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}-{size}"')
        self.end_headers()
        if with_body:
            with path.open("rb") as file:
                file.seek(start)
                body = file.read(stop - start)
            with server.guard:
                server.sent_bytes += len(body)
            self.wfile.write(body)
        return None

    def _refuse(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()


class RangeServer(ThreadingHTTPServer):
    """Serves `folder` on a free port of the loopback interface."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder, *, latency=0.0, authorization=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = Path(folder)
        self.latency = latency
        self.authorization = authorization
        self.guard = threading.Lock()
        self.reset()

    def reset(self):
        """Forget what was asked for."""
        self.requests = []
        self.seen_headers = []
        self.sent_bytes = 0

    def handle_error(self, *_):
        """A client may hang up."""

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    @property
    def ranges(self):
        """Requests for bytes, HEAD left out."""
        return [each for each in self.requests if each[0] == "GET"]


@contextlib.contextmanager
def serving(folder, **options):
    """Give a running server, and end it."""
    server = RangeServer(folder, **options)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
