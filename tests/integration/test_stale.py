"""What killed writes leave behind is found by the exact destination, and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
from lazycog.errors import OptionError
from oracles import raster


def left_behind(folder, name, token, hours):
    """Make the temporary folder of a killed write."""
    left = folder / f".{name}.lazycog-{token}"
    left.mkdir()
    (left / "level-0-plane-0").write_bytes(b"x")
    then = time.time() - hours * 3600
    os.utime(left / "level-0-plane-0", (then, then))
    return left


def test_old_folders_of_a_file_are_removed(tmp_path):
    """Young ones, and those of other files, stay."""
    old = left_behind(tmp_path, "a.tif", "0123456789ab", hours=200)
    young = left_behind(tmp_path, "a.tif", "resume", hours=1)
    other = left_behind(tmp_path, "a.tif.ovr", "0123456789ab", hours=200)

    (listed,) = lazycog.abort_stale(tmp_path / "a.tif", dry_run=True)
    assert old.exists()
    (removed,) = lazycog.abort_stale(tmp_path / "a.tif")

    assert (listed.kind, removed.name) == ("folder", str(old))
    assert [old.exists(), young.exists(), other.exists()] == [False, True, True]


def test_the_command_says_what_it_removes(tmp_path):
    """As text and as JSON."""
    left_behind(tmp_path, "a.tif", "0123456789ab", hours=3)
    entry = "import sys; from lazycog._cli import main; sys.exit(main())"
    command = [sys.executable, "-c", entry, "abort-stale", str(tmp_path / "a.tif")]

    def run(*more):
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run() == "nothing was left behind\n"
    assert run("--older-than", "2h", "--dry-run").startswith("would remove folder")
    assert json.loads(run("--older-than", "2h", "--json"))[0]["kind"] == "folder"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("age", ["7", "a week", "-1d", ""])
def test_an_age_that_is_none(tmp_path, age):
    """Rule and example."""
    with pytest.raises(OptionError, match="for example '7d'"):
        lazycog.abort_stale(tmp_path / "a.tif", older_than=age)


@pytest.fixture(scope="module")
def bucket(swift_server):
    """Give Swift's options and a call to it, with a bucket."""
    client = fsspec.filesystem("s3", **swift_server)
    client.call_s3("create_bucket", Bucket="stale")

    def call(method, **arguments):
        return client.call_s3(method, Bucket="stale", **arguments)

    return swift_server, call


@pytest.mark.cloud
def test_uploads_of_exactly_one_key_are_aborted(bucket):
    """Stores list by prefix: a neighbour's upload stays."""
    options, call = bucket
    for key in ("a.tif", "a.tif", "a.tif.ovr"):
        call("create_multipart_upload", Key=key)
    call("put_object", Key="a.tif.lazycog-resume/head", Body=b"{}")
    call("put_object", Key="a.tif.lazycog-mine", Body=b"{}")
    url = "s3://stale/a.tif"

    assert lazycog.abort_stale(url, storage_options=options) == []
    found = lazycog.abort_stale(url, storage_options=options, older_than="0s")

    assert [each.kind for each in found] == ["upload", "upload", "journal"]
    left = call("list_multipart_uploads")["Uploads"]
    assert [each["Key"] for each in left] == ["a.tif.ovr"]
    names = call("list_objects_v2")["Contents"]
    assert [each["Key"] for each in names] == ["a.tif.lazycog-mine"]


@pytest.mark.cloud
def test_a_lazy_write_that_failed_is_cleaned_with_one_call(bucket):
    """Its upload and the note of it."""
    options, call = bucket

    def fail(block, block_info=None):
        if block_info[None]["chunk-location"] == (0, 1, 1):
            raise ZeroDivisionError("source")
        return block

    pixels = np.random.default_rng(0).integers(0, 60_000, (1, 4096, 4096), "uint16")
    lazy_pixels = da.from_array(pixels, chunks=(1, 2048, 2048))
    array = raster(lazy_pixels.map_blocks(fail, dtype="uint16"))
    lazy = lazycog.to_cog(
        array, "s3://stale/lazy.tif", storage_options=options, compute=False
    )
    with pytest.raises(ZeroDivisionError):
        lazy.compute()
    uploads = call("list_multipart_uploads", Prefix="lazy")["Uploads"]
    assert [each["Key"] for each in uploads] == ["lazy.tif"]

    lazycog.abort(lazy)
    lazycog.abort(lazy)

    assert call("list_multipart_uploads", Prefix="lazy").get("Uploads", []) == []
    assert call("list_objects_v2", Prefix="lazy").get("Contents", []) == []


def test_a_lazy_write_to_a_file_is_cleaned_with_one_call(tmp_path):
    """Its temporary folder."""

    def fail(_block):
        raise ZeroDivisionError("source")

    pixels = da.zeros((1, 600, 600), chunks=300, dtype="uint8")
    meta = np.empty((0, 0, 0), "uint8")
    array = raster(pixels.map_blocks(fail, dtype="uint8", meta=meta))
    lazy = lazycog.to_cog(array, tmp_path / "a.tif", compute=False)
    with pytest.raises(ZeroDivisionError):
        lazy.compute()
    assert len(list(tmp_path.iterdir())) == 1

    lazycog.abort(lazy)

    assert list(tmp_path.iterdir()) == []


def test_abort_takes_lazy_writes_alone():
    """Nothing else has a destination."""
    with pytest.raises(OptionError, match="abort takes what"):
        lazycog.abort(da.zeros(3))
