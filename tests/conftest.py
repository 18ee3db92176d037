"""Fixtures for every test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore = ["benchmarks"]  # run by hand: `python tests/benchmarks`
# how long an example takes tells of the machine, not of the code
settings.register_profile("lazycog", deadline=None)
settings.load_profile("lazycog")
# read when gcsfs is imported: an emulator has no gRPC that tells the kind of a bucket
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@pytest.fixture(autouse=True, scope="module")
def untouched_dask_config():
    """No file of tests may leave a scheduler to the next."""
    import dask

    before = dask.config.get("scheduler", None)
    yield
    assert dask.config.get("scheduler", None) == before


@pytest.fixture(scope="session")
def cluster():
    """A client of two worker processes."""
    import workers

    with workers.two_workers(memory_limit="2GiB") as client:
        yield client


@pytest.fixture(scope="session")
def servers_python(request):
    """The Python that has the object stores."""
    import servers

    cache = request.config.cache.mkdir("lazycog")
    return servers.python_of_servers(cache)


@pytest.fixture(scope="session")
def swift_server(servers_python, tmp_path_factory):
    """OpenStack Swift with its S3 API; gives s3fs's options."""
    import servers

    with servers.swift(servers_python, tmp_path_factory.mktemp("swift")) as options:
        yield options


@pytest.fixture(scope="session")
def moto_server(servers_python):
    """Run moto; gives s3fs's options."""
    import servers

    with servers.moto(servers_python) as options:
        yield options


@pytest.fixture(scope="session")
def s3_server(request):
    """Swift, or the store that LAZYCOG_S3 names; gives s3fs's options."""
    import servers

    named = servers.named_s3()
    return named or request.getfixturevalue("swift_server")


@pytest.fixture(scope="session")
def google_server(servers_python):
    """Google's JSON API, emulated; gives gcsfs's options."""
    import servers

    with servers.google(servers_python) as options:
        yield options


@pytest.fixture(scope="session")
def azurite_program():
    """Azurite, where npm has put it."""
    import shutil

    program = os.environ.get("LAZYCOG_AZURITE") or shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no azurite-blob: npm install -g azurite, or set LAZYCOG_AZURITE")
    return program


@pytest.fixture(scope="session")
def azurite_server(azurite_program):
    """Run Azurite; gives adlfs's options."""
    import servers

    with servers.azurite(azurite_program) as options:
        yield options
