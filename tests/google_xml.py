"""Google's XML API on loopback: moto's S3 under Google's names, and as strict.

No emulator of Google's store has multipart uploads. They are those of S3, so a proxy
before moto renames headers, and refuses what Google refuses: a request without the
token, a body that is not the one of its checksum, a condition on a multipart upload,
and S3's own headers.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from faults import Handler

TOKEN = "testing"  # noqa: S105 - of no one
SIGNED = "AWS4-HMAC-SHA256 Credential=me/20260101/us-east-1/s3/aws4_request"
"""What moto wants, which checks no signature."""
GOOGLE, AMAZON = "x-goog-meta-", "x-amz-meta-"
BEGUN = re.compile(rb"<Initiated>[^<]*")
GENERATION = "x-goog-if-generation-match"


def line(port):
    """Give gcsfs's options for a proxy's port."""
    endpoint = f"http://127.0.0.1:{port}"
    return {"token": TOKEN, "project": "project", "endpoint_url": endpoint}


@dataclass
class Refusal:
    """An answer of the proxy itself, in the form of `http.client`'s."""

    status: int
    code: str
    reason: str = "refused"
    headers: dict[str, str] = field(default_factory=dict)

    def getheaders(self):
        """Give no headers of its own."""
        return []

    def getheader(self, _name, default=None):
        """The same."""
        return default


class GoogleHandler(Handler):
    """Renames what passes, and refuses what Google would."""

    def ask(self, port, body):
        """Ask moto, if Google would take the request."""
        refusal = self.refusal(body)
        if refusal is not None:
            return refusal, f"<Error><Code>{refusal.code}</Code></Error>".encode()
        condition = self.headers[GENERATION]
        for name, text in list(self.headers.items()):
            if name.lower().startswith(GOOGLE):
                self.headers[AMAZON + name.lower().removeprefix(GOOGLE)] = text
        self.headers.replace_header("Authorization", SIGNED)
        if condition:
            self.headers["If-None-Match"] = "*"
        answer, content = super().ask(port, body)
        now = datetime.now(tz=UTC).isoformat(timespec="milliseconds").encode()
        # moto begins every upload on one day of 2010
        content = BEGUN.sub(rb"<Initiated>" + now.replace(b"+00:00", b"Z"), content)
        return Renamed(answer), content

    def refusal(self, body):
        """Give the refusal of a request, None of a good one."""
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return Refusal(401, "AuthenticationRequired")
        if self.headers.get("Content-MD5", digest.decode()) != digest.decode():
            return Refusal(400, "BadDigest")
        if GENERATION in self.headers and {"uploads", "uploadId"} & set(query):
            return Refusal(400, "NotImplemented")
        if any(name.lower().startswith("x-amz-") for name in self.headers):
            return Refusal(400, "InvalidArgument")
        return None


class Renamed:
    """An answer of moto's with Google's headers."""

    def __init__(self, answer):
        self.answer, self.status, self.reason = answer, answer.status, answer.reason

    def getheaders(self):
        """Give the headers under Google's names."""
        return [
            (name.lower().replace(AMAZON, GOOGLE), text)
            for name, text in self.answer.getheaders()
        ]

    def getheader(self, name, default=None):
        """Give one header."""
        return self.answer.getheader(name, default)
