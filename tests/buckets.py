"""A bucket of a server that speaks S3, looked at past the sink and past any proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

import fsspec

NAME = "bucket"


class Bucket:
    """Made when it is asked for."""

    def __init__(self, options):
        self.options = options
        self.client = fsspec.filesystem("s3", **options)
        self.call("create_bucket")

    @property
    def port(self):
        """Where the server listens."""
        return urlsplit(self.options["endpoint_url"]).port

    def call(self, method, **arguments):
        """Make a request of S3's."""
        return self.client.call_s3(method, Bucket=NAME, **arguments)

    def head(self, key):
        """Give an object's properties, None without the object."""
        try:
            return self.call("head_object", Key=key)
        except FileNotFoundError:
            return None

    def content(self, key):
        """Give an object's bytes, None without the object."""
        if self.head(key) is None:
            return None
        self.client.invalidate_cache()
        return self.client.cat_file(f"{NAME}/{key}")

    def fill(self, key, content):
        """Put an object."""
        self.call("put_object", Key=key, Body=content)

    def left(self, key):
        """List uploads of a key, and objects whose names begin with it."""
        uploads = self.call("list_multipart_uploads", Prefix=key).get("Uploads", [])
        found = self.call("list_objects_v2", Prefix=key).get("Contents", [])
        return [each["Key"] for each in uploads] + [
            each["Key"] for each in found if each["Key"] != key
        ]
