"""Which sink a destination gets, by the scheme of its URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lazycog import _location
from lazycog._parts import PartLimits
from lazycog.errors import OptionError
from lazycog.sinks import azure, fsspec_stream, gcs
from lazycog.sinks.azure import AzureSink
from lazycog.sinks.fsspec_stream import StreamSink
from lazycog.sinks.gcs import GcsSink
from lazycog.sinks.s3 import S3Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lazycog._options import CogOptions
    from lazycog.sinks._protocol import Leftover, PartSink

PART_OPTIONS = ("part_size", "min_part", "max_parts", "equal_parts")
S3_SCHEMES = ("s3", "s3a")
AZURE_SCHEMES = ("az", "abfs", "abfss")
GOOGLE_SCHEMES = ("gs", "gcs")
RESUMABLE_SCHEMES = (*S3_SCHEMES, *GOOGLE_SCHEMES)


def is_url(destination: str | os.PathLike[str]) -> bool:
    """Whether a destination is in a store.

    Examples
    --------
    >>> is_url("s3://bucket/key.tif"), is_url("file:///data/a.tif"), is_url("a.tif")
    (True, False, False)
    """
    text = os.fspath(destination)
    return "://" in text and not text.startswith("file://")


def part_limits(options: CogOptions, known: PartLimits | None = None) -> PartLimits:
    """Give what a store takes: what is known of it, and what the caller knows."""
    known = known or PartLimits()
    return PartLimits(
        min_part=options.min_part or known.min_part,
        max_part=known.max_part,
        max_parts=options.max_parts or known.max_parts,
        equal_parts=options.equal_parts,
        max_object=known.max_object,
    )


def check_local(text: str, options: CogOptions) -> None:
    """Refuse options that only stores have.

    Raises
    ------
    OptionError
        One of them is set, or the path was meant to be a URL.
    """
    hint = _location.lost_slash(text)
    if hint:
        raise OptionError(f"dst={text!r}: {hint}")
    if options.storage_options is not None:
        raise OptionError(
            f"storage_options cannot work with the path dst={text!r}; drop them"
        )
    for name in PART_OPTIONS:
        if getattr(options, name):
            raise OptionError(
                f"{name}={getattr(options, name)!r} is for object stores and cannot "
                f"work with the path dst={text!r}; drop it"
            )


def given_sink(sink: PartSink, options: CogOptions) -> PartSink:
    """Take a sink of the caller's, which brings its own options.

    Raises
    ------
    OptionError
        An option of the destination is set beside it.
    """
    for name in (
        "resume",
        "storage_options",
        "lock",
        "min_part",
        "max_parts",
        "equal_parts",
    ):
        if getattr(options, name):
            raise OptionError(
                f"{name}= cannot work with a sink as the destination; give it to the "
                "sink"
            )
    if not options.overwrite:
        raise OptionError(
            "overwrite=False cannot work with a sink as the destination; give it to "
            "the sink"
        )
    return sink


def store_sink(url: str, token: str, options: CogOptions, *, is_lazy: bool) -> PartSink:
    """Give the sink of a URL.

    Parameters
    ----------
    url : str
        Where to.
    token : str
        Names the write.
    options : CogOptions
        Options of the store, limits and whether to overwrite.
    is_lazy : bool
        Whether a task begins the write.

    Returns
    -------
    PartSink
        Nothing is created yet.

    Raises
    ------
    OptionError
        There is no sink for the scheme, or an option does not fit a store.
    """
    scheme = url.partition("://")[0]
    if scheme in {"http", "https"}:
        raise OptionError(
            f"dst={url!r}: a web server takes no uploads in parts; write to a path, or "
            "to an object store (s3://, az://, gs://)"
        )
    if options.resume and scheme not in RESUMABLE_SCHEMES:
        raise OptionError(
            f"resume=True cannot work with dst={url!r} yet; write to a path, s3:// or "
            "gs://"
        )
    if options.lock not in {None, False}:
        raise OptionError(
            f"lock={options.lock!r} cannot work with dst={url!r}: parts of an object "
            "are sent side by side; drop it"
        )
    sink = _sink_of(scheme, url, token, options, is_lazy=is_lazy)
    sink.check_absent()
    return sink


def _sink_of(
    scheme: str, url: str, token: str, options: CogOptions, *, is_lazy: bool
) -> PartSink:
    given = dict(options.storage_options or {})
    if scheme in AZURE_SCHEMES:
        limits = part_limits(options, azure.LIMITS)
        return AzureSink(url, token, options.overwrite, limits, given)
    if scheme in S3_SCHEMES:
        limits = part_limits(options)
        return S3Sink(url, token, options.overwrite, limits, given, is_lazy)
    if scheme in GOOGLE_SCHEMES:
        if gcs.has_uploads(url, given):
            limits = part_limits(options, gcs.LIMITS)
            return GcsSink(url, token, options.overwrite, limits, given, is_lazy)
        _check_plain(url, options)
    limits = part_limits(options, fsspec_stream.LIMITS)
    return StreamSink.of(url, token, given, limits, overwrite=options.overwrite)


def _check_plain(url: str, options: CogOptions) -> None:
    """Refuse what an endpoint without Google's XML API cannot do."""
    for name, is_set in (
        ("resume=True", options.resume),
        (
            "storage_options with metadata",
            "metadata" in (options.storage_options or {}),
        ),
    ):
        if is_set:
            raise OptionError(
                f"{name} cannot work with dst={url!r}: its endpoint has no multipart "
                "uploads of the XML API; drop it, or use Google's own endpoint"
            )


def stale_of_store(
    url: str, storage_options: Mapping[str, Any], age: float, *, dry_run: bool
) -> list[Leftover]:
    """Find, and remove but for a dry run, what killed writes left in a store.

    Raises
    ------
    OptionError
        There is no sink for the scheme, or none that leaves anything.
    """
    scheme = url.partition("://")[0]
    if scheme in S3_SCHEMES:
        return S3Sink(url, "", options=storage_options).stale(age, dry_run=dry_run)
    if scheme in GOOGLE_SCHEMES:
        if not gcs.has_uploads(url, storage_options):
            raise OptionError(
                f"dst={url!r}: its endpoint has no multipart uploads of the XML API, "
                "and abort-stale finds nothing else; remove SCENE.lazycog-* beside it"
            )
        return GcsSink(url, "", options=storage_options).stale(age, dry_run=dry_run)
    raise OptionError(unknown_scheme(url))


def unknown_scheme(url: str) -> str:
    """Say that leftovers at a URL cannot be found."""
    scheme = url.partition("://")[0]
    return f"dst={url!r}: abort-stale does not know {scheme}://; use a path, s3:// or gs://"
