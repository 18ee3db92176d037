"""Object stores on loopback, for tests: Swift's S3 API, moto, Google's and Azure's.

They live in a virtual environment of their own, since Swift brings eventlet. It is made
on first use in ``.pytest_cache``; ``LAZYCOG_SERVERS`` names the Python of one that is
there already. ``LAZYCOG_S3``, as ``http://KEY:SECRET@127.0.0.1:5104``, names a store
that runs already, such as Ceph's: the contract of sinks is checked there, too, and
workers die while they write to it instead of to Swift.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

REQUIREMENTS = [
    "swift==2.38.3",
    "moto[server]==5.2.5",
    "gcp-storage-emulator==2026.7.19",
]
START_SECONDS = 60
RING = """
import sys
from swift.common.ring import RingBuilder
root = sys.argv[1]
for name, port in zip(("account", "container", "object"), map(int, sys.argv[2:])):
    ring = RingBuilder(4, 1, 1)
    ring.add_dev(dict(
        id=0, region=1, zone=1, ip="127.0.0.1", port=port, device="d1", weight=1,
        replication_ip="127.0.0.1", replication_port=port, meta="",
    ))
    ring.rebalance()
    ring.get_ring().save(f"{root}/{name}.ring.gz")
"""
BACKEND = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {root}
devices = {root}/dev
mount_check = false
log_address = /dev/null
recon_cache_path = {root}/cache
user = {user}
disable_fallocate = true
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
FILTERS = (
    "catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo "
    "dlo proxy-logging"
)
PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {root}
user = {user}
log_address = /dev/null
[pipeline:main]
pipeline = {filters} proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
"""
SETTINGS = {
    "tempauth": "user_test_tester = testing .admin\n",
    "s3api": (
        "location = us-east-1\nmax_upload_part_num = {parts}\n"
        "min_segment_size = 5242880\n"
    ),
    "slo": "max_manifest_segments = {parts}\nmax_manifest_size = 8388608\n",
}


def free_port():
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def python_of_servers(cache):
    """Give the Python of the servers' environment, made when it is missing."""
    named = os.environ.get("LAZYCOG_SERVERS")
    if named:
        return Path(named)
    folder = Path(cache) / "servers"
    python, done = folder / "bin" / "python", folder / "done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", *REQUIREMENTS]
        subprocess.run(pip, check=True)
        done.touch()
    return python


@contextlib.contextmanager
def running(*commands, ready, cwd=None):
    """Start processes, wait until a URL answers, and end them."""
    processes = [
        subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=cwd,
        )
        for command in commands
    ]
    try:
        _wait(ready, processes)
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _wait(ready, processes):
    last = time.monotonic() + START_SECONDS
    while time.monotonic() < last:
        for process in processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args} ended with {process.returncode}")
        try:
            urllib.request.urlopen(ready, timeout=1).close()  # noqa: S310 - loopback
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(ready)


def s3_options(port, **more):
    """Give s3fs's options for a server."""
    return {
        "key": "test:tester",
        "secret": "testing",
        "endpoint_url": f"http://127.0.0.1:{port}",
        "client_kwargs": {"region_name": "us-east-1"},
        "config_kwargs": {"s3": {"addressing_style": "path"}},
        **more,
    }


def named_s3():
    """Give s3fs's options for the store that the environment names, if any."""
    url = urlsplit(os.environ.get("LAZYCOG_S3", ""))
    if not url.netloc:
        return None
    options = s3_options(url.port, key=url.username, secret=url.password)
    return {**options, "endpoint_url": f"{url.scheme}://{url.hostname}:{url.port}"}


@contextlib.contextmanager
def swift(python, root, max_parts=10_000):
    """Run Swift with one replica; gives s3fs's options."""
    root = Path(root)
    for name in ("dev/d1", "cache"):
        (root / name).mkdir(parents=True)
    (root / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = test\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    names = ("account", "container", "object")
    ports = [free_port() for _ in names]
    subprocess.run([python, "-c", RING, root, *map(str, ports)], check=True)
    user = os.environ.get("USER", "root")
    commands = []
    for name, port in zip(names, ports, strict=True):
        config = root / f"{name}.conf"
        config.write_text(BACKEND.format(name=name, port=port, root=root, user=user))
        commands.append([python.parent / f"swift-{name}-server", config])
    port = free_port()
    text = PROXY.format(port=port, root=root, user=user, filters=FILTERS)
    for name in FILTERS.split():
        egg = {"catch_errors": name, "listing_formats": name}.get(
            name, name.replace("-", "_")
        )
        settings = SETTINGS.get(name, "").format(parts=max_parts)
        text += f"[filter:{name}]\nuse = egg:swift#{egg}\n{settings}"
    (root / "proxy.conf").write_text(text)
    commands.append([python.parent / "swift-proxy-server", root / "proxy.conf"])
    with running(*commands, ready=f"http://127.0.0.1:{port}/healthcheck"):
        yield s3_options(port)


@contextlib.contextmanager
def moto(python, port=None):
    """Run moto; gives s3fs's options."""
    port = port or free_port()
    command = [python.parent / "moto_server", "-H", "127.0.0.1", "-p", port]
    with running(command, ready=f"http://127.0.0.1:{port}/moto-api/"):
        yield s3_options(port)


@contextlib.contextmanager
def google(python):
    """Run an emulator of Google's JSON API; gives gcsfs's options."""
    port = free_port()
    command = [
        *(python.parent / "gcp-storage-emulator", "start", "--host", "127.0.0.1"),
        *("--port", port, "--in-memory", "--default-bucket", "bucket"),
    ]
    with running(command, ready=f"http://127.0.0.1:{port}/storage/v1/b"):
        url = f"http://127.0.0.1:{port}"
        yield {"token": "anon", "project": "project", "endpoint_url": url}


AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeks"
    "oGMGw=="
)
"""Microsoft's published account of all emulators."""


@contextlib.contextmanager
def azurite(program):
    """Run Azurite; gives adlfs's options."""
    port = free_port()
    command = [
        *(program, "--blobHost", "127.0.0.1", "--blobPort", port),
        *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
    ]
    with running(command, ready=f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"):
        yield {
            "connection_string": (
                f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};"
                f"AccountKey={AZURE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_ACCOUNT};"
            )
        }
