"""Where a raster is: a path or URL, and the options that open its store.

A location is a plain value that travels to workers; its text form shows no credential.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from lazycog._extras import require
from lazycog._store_options import AZURE, FILE, GCS, HTTP, S3, Settings, translate
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obstore.store import ObjectStore

Pairs = tuple[tuple[str, Any], ...]
"""A mapping as a hashable value, its own mappings turned likewise."""
GDAL = "gdal"
"""A name that GDAL alone resolves, such as /vsitar/..., or a URL with a query."""
SCHEMES: Mapping[str, str] = {
    "file": FILE,
    "http": HTTP,
    "https": HTTP,
    "s3": S3,
    "s3a": S3,
    "gs": GCS,
    "gcs": GCS,
    "az": AZURE,
    "abfs": AZURE,
    "abfss": AZURE,
}
READ_EXTRA = "reading needs async-geotiff and obstore: pip install 'lazycog[read]'"


@dataclass(frozen=True)
class Location:
    """One file in one store."""

    kind: str
    """file, http, s3, gs, az or gdal."""
    root: str
    """Bucket or container, scheme and host of an HTTP URL, folder of a local file."""
    path: str
    """The file in that root; the whole name for gdal."""
    config: Pairs = field(default=(), repr=False)
    """Settings of obstore's store, credentials among them."""
    client: Pairs = field(default=(), repr=False)
    """Settings of obstore's HTTP client."""

    @property
    def gdal_name(self) -> str:
        """What GDAL opens by itself: a local path, or one of its own names."""
        return str(Path(self.root, self.path)) if self.kind == FILE else self.path

    @property
    def by_gdal(self) -> bool:
        """GDAL opens it without help."""
        return self.kind in {FILE, GDAL}

    def __str__(self) -> str:
        """Name it without user, password or signature."""
        if self.by_gdal:
            parts = urlsplit(self.gdal_name)
            if not parts.query or not parts.netloc:
                return self.gdal_name
            host = parts.netloc.rpartition("@")[2]
            return urlunsplit((parts.scheme, host, parts.path, "", ""))
        scheme, _, host = self.root.rpartition("://")
        host = host.rpartition("@")[2]
        return f"{scheme or self.kind}://{host}/{self.path}"


def locate(
    src: str | os.PathLike[str], storage_options: Mapping[str, Any] | None
) -> Location:
    """Split a path or URL, and translate its options.

    Parameters
    ----------
    src : path or URL
        A local path, one of GDAL's names, or a URL of http(s), s3, gs or az.
    storage_options : mapping or None
        Under the names that fsspec's file systems use.

    Returns
    -------
    Location
        Hashable and picklable.

    Raises
    ------
    InputError
        Nothing reads URLs of that kind.
    OptionError
        An option has no counterpart, or a value that it cannot have.

    Examples
    --------
    >>> print(locate("s3://bucket/scene.tif", {"key": "me", "secret": "hidden"}))
    s3://bucket/scene.tif
    """
    name = as_name(src)
    hint = lost_slash(name)
    if hint:
        raise InputError(f"{name}: {hint}")
    options = {
        str(key): value
        for key, value in (storage_options or {}).items()
        if value is not None
    }
    scheme, separator, rest = name.partition("://")
    if not separator or name.startswith(("/vsi", "<")):
        kind = GDAL if name.startswith(("/vsi", "<")) else FILE
        return _without_options(kind, name, options)
    kind = SCHEMES.get(scheme.lower(), "")
    if not kind:
        raise InputError(
            f"{scheme}:// is not read; give a path, or a URL of "
            f"{', '.join(sorted(SCHEMES))}"
        )
    if kind == FILE:
        return _without_options(FILE, unquote(rest), options)
    if kind == HTTP:
        return _locate_http(name, options)
    return _locate_object(kind, name, options)


def as_name(src: str | os.PathLike[str]) -> str:
    """Take a path or URL as text.

    Raises
    ------
    OptionError
        It is something else.

    Examples
    --------
    >>> as_name(Path("a.tif")), as_name("https://host/a.tif")
    ('a.tif', 'https://host/a.tif')
    """
    try:
        return os.fspath(src)
    except TypeError as error:
        raise OptionError(f"give a path or URL, not {type(src).__name__}") from error


def lost_slash(name: str) -> str:
    """Say what is meant by a URL that has lost a slash, as in a ``pathlib.Path``.

    Examples
    --------
    >>> lost_slash("s3:/bucket/a.tif")
    "a URL has two slashes: 's3://bucket/a.tif', as text (pathlib.Path drops one)"
    >>> lost_slash("s3://bucket/a.tif"), lost_slash("/data/a.tif")
    ('', '')
    """
    scheme, _, rest = name.partition(":")
    if scheme.lower() not in SCHEMES or rest[:1] != "/" or rest[:2] == "//":
        return ""
    url = f"{scheme}:/{rest}" if scheme.lower() != FILE else f"{scheme}://{rest}"
    return f"a URL has two slashes: {url!r}, as text (pathlib.Path drops one)"


def _without_options(kind: str, name: str, options: Settings) -> Location:
    if options:
        raise OptionError(
            f"storage_options ({', '.join(sorted(options))}) are for URLs; {name} "
            "takes none, so leave them out"
        )
    if kind == GDAL:
        return Location(GDAL, "", name)
    path = Path(os.path.abspath(name))  # noqa: PTH100 - resolve() would follow links
    return Location(FILE, str(path.parent), path.name)


def _locate_http(name: str, options: Settings) -> Location:
    parts = urlsplit(name)
    if parts.query:  # signed URLs: obstore would take the query for a part of the path
        if options:
            raise OptionError(
                "storage_options do not go with a URL that has a query; leave them "
                "out, or give the URL without its query"
            )
        return Location(GDAL, "", name)
    path = unquote(parts.path).lstrip("/")
    if not path:
        raise InputError(f"{name} names no file: give http(s)://host/path/file.tif")
    config, client = translate(HTTP, options)
    if parts.scheme == "http":
        client["allow_http"] = True
    root = f"{parts.scheme}://{parts.netloc}"
    return Location(HTTP, root, path, _pairs(config), _pairs(client))


def _locate_object(kind: str, name: str, options: Settings) -> Location:
    scheme, _, rest = name.partition("://")
    root, _, path = rest.partition("/")
    if not root or not path:
        raise InputError(f"{name} names no file: give {scheme}://bucket/path/file.tif")
    if kind == AZURE:
        # abfs://container@account.dfs.core.windows.net/path
        root, _, host = root.partition("@")
        if host:
            options.setdefault("account_name", host.partition(".")[0])
    config, client = translate(kind, options)
    return Location(kind, root, path, _pairs(config), _pairs(client))


@functools.lru_cache(maxsize=64)
def open_store(location: Location) -> ObjectStore:
    """Open the store of a location, once per process.

    Parameters
    ----------
    location : Location
        Any kind but gdal.

    Returns
    -------
    obstore.store.ObjectStore
        For the paths of this location.

    Raises
    ------
    MissingExtraError
        obstore is not installed.
    OptionError
        obstore refuses the options.
    """
    require("obstore", READ_EXTRA)
    from obstore import exceptions, store

    config, client = _settings(location.config), _settings(location.client)
    try:
        if location.kind == FILE:
            return store.LocalStore(location.root)
        if location.kind == HTTP:
            return store.HTTPStore(location.root, client_options=client)
        classes = {S3: store.S3Store, GCS: store.GCSStore, AZURE: store.AzureStore}
        opener: Callable[..., Any] = classes[location.kind]
        return opener(location.root, config=config, client_options=client)
    except (exceptions.BaseError, ValueError, TypeError) as error:
        raise OptionError(
            f"{location}: obstore refuses its options "
            f"({', '.join(sorted({*config, *client}))}): {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _pairs(settings: Mapping[str, Any]) -> Pairs:
    return tuple(
        (key, _pairs(value) if isinstance(value, dict) else value)
        for key, value in sorted(settings.items())
    )


def _settings(pairs: Pairs) -> Settings:
    return {
        key: _settings(value) if isinstance(value, tuple) else value
        for key, value in pairs
    }
