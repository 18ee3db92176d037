"""A killed write goes on: no finished row is computed again, the bytes are the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import dask.array as da
import fsspec
import numpy as np
import pytest

import lazycog
from lazycog.errors import CogWarning, OptionError
from lazycog.sinks.recording import RecordingSink
from oracles import raster

CHUNK, COLS, ROWS = 256, 4, 40
MIB = 2**20
SHARES = [
    pytest.param(0.25, marks=pytest.mark.large),
    0.5,
    pytest.param(0.9, marks=pytest.mark.large),
]
"""How much of the source is computed when a write is killed."""
SCRIPT = """
    import os, signal, sys
    sys.path[:0] = {paths!r}
    import dask
    import lazycog
    import test_resume

    lazycog._plan.MAX_CHUNK_SIZE = test_resume.CHUNK
    count = len(os.listdir({computed!r}))
    stop = {stop!r}

    def chunk(row, col):
        if len(os.listdir({computed!r})) - count >= stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return test_resume.noted({computed!r}, row, col)

    with dask.config.set(scheduler="threads", num_workers=2):
        test_resume.write(chunk, {url!r}, **{options!r})
"""


def pixels_at(row, col):
    """Give the pixels of a chunk, which hardly compress."""
    generator = np.random.default_rng((row, col))
    return generator.integers(0, 60_000, (CHUNK, CHUNK), dtype="uint16")


def noted(folder, row, col):
    """Compute a chunk of the source, and leave a file that says so."""
    (Path(folder) / f"{row}-{col}-{uuid.uuid4()}").touch(exist_ok=False)
    return pixels_at(row, col)


def write(chunk, url, rows=ROWS, **options):
    """Write a scene of many rows of chunks."""

    def block(block_info=None):
        return chunk(*block_info[None]["chunk-location"])

    chunks = ((CHUNK,) * rows, (CHUNK,) * COLS)
    meta = np.empty((0, 0), "uint16")
    # the name that a source with a token would have
    name = f"source-{rows}"
    array = da.map_blocks(block, chunks=chunks, dtype="uint16", meta=meta, name=name)
    settings = {"blocksize": 128, "progress": False, "resume": True, **options}
    return lazycog.to_cog(raster(array), url, **settings)


def run_and_die(url, computed, stop, **options):
    """Write in a process of its own, which is killed after so many chunks."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent)]
    values = {"paths": paths, "computed": str(computed), "stop": stop}
    script = SCRIPT.format(**values, url=str(url), options=options)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make many tasks of a small scene."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)


@pytest.fixture
def computed(tmp_path):
    """A folder with a file per computed chunk."""
    folder = tmp_path / "computed"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of an uninterrupted write."""
    path = tmp_path_factory.mktemp("whole") / "cog.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)
        write(pixels_at, path, resume=False)
    return path.read_bytes()


@pytest.mark.parametrize("share", SHARES)
def test_a_killed_write_to_a_file_goes_on(tmp_path, computed, whole, share):
    """At most a tenth of the source is computed twice."""
    total = ROWS * COLS
    path = tmp_path / "out" / "cog.tif"
    path.parent.mkdir()
    path.write_bytes(b"old")

    run_and_die(path, computed, int(share * total))

    assert path.read_bytes() == b"old"
    before = len(list(computed.iterdir()))
    write(lambda row, col: noted(computed, row, col), path)
    assert path.read_bytes() == whole
    assert total <= len(list(computed.iterdir())) <= 1.1 * total
    assert len(list(computed.iterdir())) - before < total * (1.1 - share)
    assert [each.name for each in path.parent.iterdir()] == ["cog.tif"]


@pytest.fixture(scope="module")
def bucket(s3_server):
    """Give a store's options and a client, with a bucket."""
    client = fsspec.filesystem("s3", **s3_server)
    client.call_s3("create_bucket", Bucket="resume")
    return s3_server, client


@pytest.mark.cloud
@pytest.mark.parametrize("share", SHARES)
def test_a_killed_write_to_s3_goes_on(computed, whole, bucket, share):
    """The same, with parts that are there already."""
    options, client = bucket
    total = ROWS * COLS
    url = f"s3://resume/{share}.tif"
    where = {"storage_options": options, "part_size": 5 * MIB}

    run_and_die(url, computed, int(share * total), **where)

    write(lambda row, col: noted(computed, row, col), url, **where)
    client.invalidate_cache()
    assert client.cat_file(url) == whole
    assert total <= len(list(computed.iterdir())) <= 1.1 * total
    listed = client.call_s3("list_objects_v2", Bucket="resume", Prefix=str(share))
    assert [each["Key"] for each in listed["Contents"]] == [f"{share}.tif"]
    uploads = client.call_s3("list_multipart_uploads", Bucket="resume")
    assert uploads.get("Uploads", []) == []


def test_a_write_that_fails_goes_on(tmp_path, computed):
    """An error keeps finished rows, too, and says so."""
    path = tmp_path / "cog.tif"

    def chunk(row, col):
        if row == 9 and not path.with_name("mended").exists():
            raise ZeroDivisionError("source")
        return noted(computed, row, col)

    with pytest.raises(ZeroDivisionError) as caught:
        write(chunk, path, rows=10)
    assert any("resume=True" in note for note in caught.value.__notes__)
    before = len(list(computed.iterdir()))
    path.with_name("mended").touch()
    write(chunk, path, rows=10)

    assert len(list(computed.iterdir())) - before < 20
    assert lazycog.validate(path).ok


@pytest.mark.parametrize("change", [{"level": 5}, {"rows": 9}], ids=["plan", "source"])
def test_another_raster_or_option_starts_over(tmp_path, change):
    """With a warning; nothing of the old write is used."""
    path = tmp_path / "cog.tif"

    def chunk(row, col):
        if row == 8 and not path.with_name("mended").exists():
            raise ZeroDivisionError("source")
        return pixels_at(row, col)

    with pytest.raises(ZeroDivisionError):
        write(chunk, path, rows=10)
    path.with_name("mended").touch()
    options = {"rows": 10, **change}
    with pytest.warns(CogWarning, match="another raster or had other options"):
        write(chunk, path, **options)

    again = tmp_path / "again.tif"
    write(pixels_at, again, **{**options, "resume": False})
    assert path.read_bytes() == again.read_bytes()
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["again.tif", "cog.tif", "mended"]


def test_a_commit_that_was_killed_runs_again(tmp_path, monkeypatch):
    """Room for the header may be there already."""
    path, again = tmp_path / "cog.tif", tmp_path / "again.tif"
    from lazycog.sinks.local import LocalSink

    original = LocalSink._publish

    def refused(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalSink, "_publish", refused)
    with pytest.raises(KeyboardInterrupt):
        write(pixels_at, path, rows=6)
    monkeypatch.setattr(LocalSink, "_publish", original)

    def never(row, col):
        raise AssertionError((row, col))

    write(never, path, rows=6)

    write(pixels_at, again, rows=6, resume=False)
    assert path.read_bytes() == again.read_bytes()


def test_bands_and_handed_up_pixels_go_on(tmp_path, monkeypatch):
    """Several groups of bands, several stages, odd sizes."""
    monkeypatch.setattr("lazycog._plan.CHUNK_BYTES", 2**18)
    pixels = np.random.default_rng(0).integers(0, 9999, (5, 2051, 1027), dtype="uint16")
    path, again = tmp_path / "cog.tif", tmp_path / "again.tif"
    options = {"blocksize": 64, "progress": False, "interleave": "band"}

    def lazy(last):
        def block(block, block_info=None):
            if block_info[0]["chunk-location"][1] >= last:
                raise ZeroDivisionError
            return block

        base = da.from_array(pixels, chunks=(2, 256, 256), name="base")
        return raster(base.map_blocks(block, dtype="uint16", name="blocks"))

    for last in (3, 6):
        with pytest.raises(ZeroDivisionError):
            lazycog.to_cog(lazy(last), path, resume=True, **options)
    lazycog.to_cog(lazy(99), path, resume=True, **options)

    lazycog.to_cog(lazy(99), again, **options)
    assert path.read_bytes() == again.read_bytes()


def test_resume_needs_a_write_of_its_own(tmp_path):
    """Lazy writes and sinks without a journal are refused."""
    array = raster(np.zeros((600, 600), "uint8"))

    with pytest.raises(OptionError, match="compute=False"):
        lazycog.to_cog(array, tmp_path / "a.tif", resume=True, compute=False)
    with pytest.raises(OptionError, match="resume= cannot work"):
        lazycog.to_cog(array, RecordingSink.new("memory"), resume=True)
