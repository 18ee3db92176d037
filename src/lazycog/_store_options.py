"""Options of stores: the names of fsspec's file systems become obstore's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Settings = dict[str, Any]

FILE, HTTP, S3, GCS, AZURE = "file", "http", "s3", "gs", "az"
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


def translate(kind: str, options: Mapping[str, Any]) -> tuple[Settings, Settings]:
    """Give the settings of a store and those of its HTTP client.

    Parameters
    ----------
    kind : str
        Of the store: http, s3, gs or az.
    options : mapping
        Under the names that fsspec's file systems use.

    Raises
    ------
    OptionError
        An option has no counterpart, or a value that it cannot have.
    """
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
