"""Paths, URLs and fsspec's options, as obstore takes them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import lazycog
from lazycog._location import locate, open_store


def settings(location):
    return {**dict(location.config), **dict(location.client)}


@pytest.mark.parametrize(
    ("src", "kind", "root", "path"),
    [
        ("/data/a b#c.tif", "file", "/data", "a b#c.tif"),
        (Path("/data/a.tif"), "file", "/data", "a.tif"),
        ("file:///data/a%20b.tif", "file", "/data", "a b.tif"),
        ("http://host:81/x/a%20b.tif", "http", "http://host:81", "x/a b.tif"),
        ("https://host/a.tif", "http", "https://host", "a.tif"),
        ("s3://bucket/x/a.tif", "s3", "bucket", "x/a.tif"),
        ("s3a://bucket/a.tif", "s3", "bucket", "a.tif"),
        ("gs://bucket/a.tif", "gs", "bucket", "a.tif"),
        ("gcs://bucket/a.tif", "gs", "bucket", "a.tif"),
        ("az://container/x/a.tif", "az", "container", "x/a.tif"),
        ("/vsizip/a.zip/a.tif", "gdal", "", "/vsizip/a.zip/a.tif"),
        ("https://host/a.tif?sig=1", "gdal", "", "https://host/a.tif?sig=1"),
    ],
    ids=str,
)
def test_names_are_split_into_store_and_path(src, kind, root, path):
    location = locate(src, None)

    assert (location.kind, location.root, location.path) == (kind, root, path)


def test_relative_paths_are_those_of_the_caller(monkeypatch, tmp_path):
    """A worker may be in another folder."""
    monkeypatch.chdir(tmp_path)

    assert locate("x/../a.tif", None).gdal_name == str(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        (
            "s3://b/a.tif",
            {"key": "k", "secret": "s", "token": "t"},
            {"access_key_id": "k", "secret_access_key": "s", "session_token": "t"},
        ),
        ("s3://b/a.tif", {"anon": True}, {"skip_signature": True}),
        ("s3://b/a.tif", {"requester_pays": True}, {"request_payer": True}),
        (
            "s3://b/a.tif",
            {"endpoint_url": "http://127.0.0.1:9000"},
            {"endpoint": "http://127.0.0.1:9000", "allow_http": True},
        ),
        (
            "s3://b/a.tif",
            {"client_kwargs": {"region_name": "eu-north-1", "verify": False}},
            {"region": "eu-north-1", "allow_invalid_certificates": True},
        ),
        (
            "s3://b/a.tif",
            {"config_kwargs": {"s3": {"addressing_style": "virtual"}}},
            {"virtual_hosted_style_request": True},
        ),
        ("s3://b/a.tif", {"use_ssl": False}, {"allow_http": True}),
        ("s3://b/a.tif", {"key": None}, {}),
        ("gs://b/a.tif", {"token": "anon"}, {"skip_signature": True}),
        ("gs://b/a.tif", {"token": "google_default"}, {}),
        (
            "gs://b/a.tif",
            {"token": {"type": "service_account"}},
            {"service_account_key": '{"type": "service_account"}'},
        ),
        (
            "az://c/a.tif",
            {"account_name": "me", "sas_token": "sv=1&sig=x"},
            {"account_name": "me", "sas_key": "sv=1&sig=x"},
        ),
        (
            "abfs://c@me.dfs.core.windows.net/a.tif",
            {"account_key": "eA=="},
            {"account_name": "me", "account_key": "eA=="},
        ),
        (
            "az://c/a.tif",
            {
                "connection_string": "DefaultEndpointsProtocol=http;AccountName=me;"
                "AccountKey=eA==;BlobEndpoint=http://127.0.0.1:10000/me;"
            },
            {
                "account_name": "me",
                "account_key": "eA==",
                "endpoint": "http://127.0.0.1:10000/me",
                "allow_http": True,
            },
        ),
        (
            "az://c/a.tif",
            {
                "connection_string": "AccountName=me;AccountKey=eA==;"
                "EndpointSuffix=e.net"
            },
            {
                "account_name": "me",
                "account_key": "eA==",
                "endpoint": "https://me.blob.e.net",
            },
        ),
        (
            "http://h/a.tif",
            {"headers": {"A": "b"}, "client_kwargs": {"headers": {"C": 1}}},
            {"default_headers": (("A", "b"), ("C", "1")), "allow_http": True},
        ),
        (
            "https://h/a.tif",
            {"timeout": 2.5, "ssl": False, "proxy": "http://p"},
            {
                "timeout": "2.5s",
                "allow_invalid_certificates": True,
                "proxy_url": "http://p",
            },
        ),
    ],
    ids=str,
)
def test_options_of_fsspec_become_those_of_obstore(url, options, expected):
    """And obstore takes them."""
    location = locate(url, options)

    assert settings(location) == expected
    if "service_account_key" not in expected:
        open_store(location)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://b/a.tif", {"profile": "me"}),
        ("s3://b/a.tif", {"client_kwargs": {"verify": "/ca.pem"}}),
        ("s3://b/a.tif", {"config_kwargs": {"max_pool_connections": 4}}),
        ("gs://b/a.tif", {"project": "p"}),
        ("gs://b/a.tif", {"token": "browser"}),
        ("az://c/a.tif", {"credential": object()}),
        ("az://c/a.tif", {"connection_string": "AccountKey=x"}),
        ("http://h/a.tif", {"cache_type": "none"}),
        ("http://h/a.tif", {"client_kwargs": {"auth": 1}}),
        ("http://h/a.tif?x=1", {"headers": {}}),
        ("/data/a.tif", {"anon": True}),
    ],
    ids=str,
)
def test_options_without_a_counterpart_are_refused(url, options):
    """None is accepted and ignored."""
    with pytest.raises(lazycog.OptionError, match="storage_options"):
        locate(url, options)


@pytest.mark.parametrize("src", ["ftp://host/a.tif", "s3://bucket", "http://host/"])
def test_urls_that_name_no_file_are_refused(src):
    with pytest.raises(lazycog.InputError, match=r"is not read|names no file"):
        locate(src, None)


def test_what_obstore_refuses_is_an_error_that_names_it():
    location = locate(
        "az://c/a.tif", {"account_name": "me", "account_key": "no base64"}
    )

    with pytest.raises(lazycog.OptionError, match=r"refuses its options \(account_key"):
        open_store(location)


def test_locations_travel_and_show_no_credential():
    location = locate("http://me:hidden@host/a.tif", {"headers": {"A": "hidden"}})

    copy = pickle.loads(pickle.dumps(location))

    assert copy == location
    assert str(copy) == "http://host/a.tif"
    signed = locate("http://me:hidden@host/a.tif?key=hidden", None)
    assert str(signed) == "http://host/a.tif"
