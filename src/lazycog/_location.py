"""Where a raster is: a path or URL, and the options that open its store.

fsspec's names of options become obstore's. A location is a plain value that travels to
workers; its text form shows no credential.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from lazycog._extras import require
from lazycog.errors import InputError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Pairs = tuple[tuple[str, Any], ...]
"""A mapping as a hashable value, its own mappings turned likewise."""
Settings = dict[str, Any]

FILE, HTTP, S3, GCS, AZURE = "file", "http", "s3", "gs", "az"
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
    name = os.fspath(src)
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
    config, client = _translate(HTTP, options)
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
    config, client = _translate(kind, options)
    return Location(kind, root, path, _pairs(config), _pairs(client))


@functools.lru_cache(maxsize=64)
def open_store(location: Location) -> Any:  # noqa: ANN401 - one of obstore's stores
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
    from obstore import exceptions, store  # noqa: PLC0415 - an extra

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


# --- fsspec's names -> obstore's ----------------------------------------------------

RENAMED: Mapping[str, Mapping[str, str]] = {
    HTTP: {},
    S3: {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "token": "session_token",
        "anon": "skip_signature",
        "endpoint_url": "endpoint",
        "requester_pays": "request_payer",
    },
    GCS: {"endpoint_url": "base_url"},
    AZURE: {
        "account_name": "account_name",
        "account_key": "account_key",
        "sas_token": "sas_key",
        "client_id": "client_id",
        "client_secret": "client_secret",
        "tenant_id": "tenant_id",
        "anon": "skip_signature",
    },
}
"""Options that only change their name: s3fs, gcsfs, adlfs."""


def _translate(kind: str, options: Mapping[str, Any]) -> tuple[Settings, Settings]:
    """Give the settings of the store and those of its HTTP client."""
    config: Settings = {}
    client: Settings = {}
    special = SPECIAL[kind]
    for name, value in options.items():
        if name in RENAMED[kind]:
            config[RENAMED[kind][name]] = value
        elif name in special:
            special[name](value, config, client)
        else:
            known = sorted({*RENAMED[kind], *special})
            raise OptionError(
                f"storage_options: {name!r} cannot be used for reading from {kind}; "
                f"these can: {', '.join(known)}"
            )
    endpoint = str(config.get("endpoint", config.get("base_url", "")))
    if endpoint.startswith("http://"):
        client["allow_http"] = True
    return config, client


def _http_headers(value: Mapping[str, object], _: Settings, client: Settings) -> None:
    headers = client.setdefault("default_headers", {})
    headers.update({str(key): str(text) for key, text in dict(value).items()})


def _http_client(value: Mapping[str, Any], config: Settings, client: Settings) -> None:
    for name, each in dict(value).items():
        if name != "headers":
            raise OptionError(
                f"storage_options: client_kwargs {name!r} cannot be used; headers can"
            )
        _http_headers(each, config, client)


def _http_timeout(value: float | str, _: Settings, client: Settings) -> None:
    client["timeout"] = f"{float(value):g}s"


def _http_ssl(value: object, _: Settings, client: Settings) -> None:
    if not isinstance(value, bool):
        raise OptionError(f"storage_options: ssl={value!r} must be True or False")
    client["allow_invalid_certificates"] = not value


def _http_proxy(value: object, _: Settings, client: Settings) -> None:
    client["proxy_url"] = str(value)


S3_CLIENT = {
    "endpoint_url": "endpoint",
    "region_name": "region",
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}


def _s3_client(value: Mapping[str, object], config: Settings, client: Settings) -> None:
    for name, each in dict(value).items():
        if name in S3_CLIENT:
            config[S3_CLIENT[name]] = each
        elif name == "verify" and isinstance(each, bool):
            client["allow_invalid_certificates"] = not each
        else:
            raise OptionError(
                f"storage_options: client_kwargs {name!r} cannot be used; these can: "
                f"{', '.join([*S3_CLIENT, 'verify (True or False)'])}"
            )


def _s3_config(value: Mapping[str, Any], config: Settings, _: Settings) -> None:
    rest = {key: dict(each) if key == "s3" else each for key, each in value.items()}
    style = rest.get("s3", {}).pop("addressing_style", None)
    rest = {key: each for key, each in rest.items() if key != "s3" or each}
    if rest or style not in {"path", "virtual"}:
        raise OptionError(
            f"storage_options: config_kwargs={value!r} cannot be used; "
            "{'s3': {'addressing_style': 'path' or 'virtual'}} can"
        )
    config["virtual_hosted_style_request"] = style == "virtual"


def _s3_ssl(value: object, _: Settings, client: Settings) -> None:
    client["allow_http"] = not value


def _gcs_token(value: object, config: Settings, _: Settings) -> None:
    if value == "anon":
        config["skip_signature"] = True
    elif isinstance(value, dict):
        config["service_account_key"] = json.dumps(value)
    elif value in {"google_default", "cloud"}:
        return  # what obstore looks for by itself
    elif isinstance(value, str | os.PathLike) and Path(value).is_file():
        config["application_credentials"] = os.fspath(value)
    else:
        raise OptionError(
            "storage_options: token= must be 'anon', 'google_default', 'cloud', a file "
            "of credentials that exists, or its content as a dict"
        )


def _azure_host(value: object, config: Settings, _: Settings) -> None:
    config["endpoint"] = f"https://{value}"


AZURE_CONNECTION = {
    "AccountName": "account_name",
    "AccountKey": "account_key",
    "SharedAccessSignature": "sas_key",
    "BlobEndpoint": "endpoint",
}


def _azure_parts(value: object, config: Settings, _: Settings) -> None:
    parts = dict(
        each.split("=", 1) for each in str(value).split(";") if each.count("=")
    )
    suffix = parts.pop("EndpointSuffix", "core.windows.net")
    protocol = parts.pop("DefaultEndpointsProtocol", "https")
    found = {AZURE_CONNECTION[k]: v for k, v in parts.items() if k in AZURE_CONNECTION}
    if "account_name" not in found and "endpoint" not in found:
        raise OptionError(
            "storage_options: connection_string= names neither AccountName nor "
            "BlobEndpoint"
        )
    if "endpoint" not in found:
        found["endpoint"] = f"{protocol}://{found['account_name']}.blob.{suffix}"
    config.update(found)


SPECIAL: Mapping[
    str, Mapping[str, Callable[[Any, dict[str, Any], dict[str, Any]], None]]
] = {
    HTTP: {
        "headers": _http_headers,
        "client_kwargs": _http_client,
        "timeout": _http_timeout,
        "ssl": _http_ssl,
        "proxy": _http_proxy,
    },
    S3: {"client_kwargs": _s3_client, "config_kwargs": _s3_config, "use_ssl": _s3_ssl},
    GCS: {"token": _gcs_token},
    AZURE: {"account_host": _azure_host, "connection_string": _azure_parts},
}
"""Options that need more than another name."""
