"""Buckets of S3 and containers of Azure, looked at past the sink and past any proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

import fsspec
from fsspec.asyn import sync

NAME = "bucket"


class Bucket:
    """Made when it is asked for."""

    def __init__(self, options, name=NAME):
        self.options, self.name = options, name
        self.client = fsspec.filesystem("s3", **options)
        self.call("create_bucket")

    @property
    def port(self):
        """Where the server listens."""
        return urlsplit(self.options["endpoint_url"]).port

    def call(self, method, **arguments):
        """Make a request of S3's."""
        return self.client.call_s3(method, Bucket=self.name, **arguments)

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
        return self.client.cat_file(f"{self.name}/{key}")

    def fill(self, key, content):
        """Put an object."""
        self.call("put_object", Key=key, Body=content)

    def remove(self, key):
        """Delete an object."""
        self.call("delete_object", Key=key)

    def left(self, key):
        """List uploads of a key, and objects whose names begin with it."""
        uploads = self.call("list_multipart_uploads", Prefix=key).get("Uploads", [])
        found = self.call("list_objects_v2", Prefix=key).get("Contents", [])
        return [each["Key"] for each in uploads] + [
            each["Key"] for each in found if each["Key"] != key
        ]


class Container:
    """Made when it is asked for."""

    def __init__(self, options, name):
        self.options, self.name = options, name
        self.client = fsspec.filesystem("abfs", **options)
        self.client.mkdir(name)

    def ask(self, key, method, *arguments):
        """Make a request for a blob."""

        async def request():
            service = self.client.service_client
            async with service.get_blob_client(self.name, key) as blob:
                return await getattr(blob, method)(*arguments)

        return sync(self.client.loop, request)

    def content(self, key):
        """Give a blob's bytes, None without the blob."""
        self.client.invalidate_cache()
        if not self.client.exists(f"{self.name}/{key}"):
            return None
        return self.client.cat_file(f"{self.name}/{key}")

    def fill(self, key, content):
        """Put a blob."""
        self.client.pipe_file(f"{self.name}/{key}", content, overwrite=True)

    def remove(self, key):
        """Delete a blob."""
        self.ask(key, "delete_blob")

    def names(self):
        """List all blobs, and names that have nothing but uncommitted blocks."""

        async def listed():
            service = self.client.service_client
            async with service.get_container_client(self.name) as container:
                found = container.list_blobs(include=["uncommittedblobs"])
                return [each.name async for each in found]

        return sync(self.client.loop, listed)

    def left(self, key):
        """List uncommitted blocks beside a blob, and all other names."""
        _, blocks = self.ask(key, "get_block_list", "uncommitted")
        return [each.id for each in blocks] + [
            name for name in self.names() if name != key
        ]
