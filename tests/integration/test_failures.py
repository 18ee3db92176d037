"""A write that fails is one clear error, and the destination stays as it was.

After every failure the folder holds exactly what it held before: no file appears, none
changes, and no hidden folder stays behind.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import dask
import dask.array as da
import imagecodecs
import numpy as np
import pytest
import xarray as xr

import lazycog
from lazycog.errors import (
    CogError,
    DestinationExistsError,
    InputError,
    OptionError,
    SinkError,
    SourceChangedError,
    TileEncodeError,
)
from oracles import gdal_levels, raster

cloudpickle.register_pickle_by_value(sys.modules[__name__])

SIZE, CHUNK = 1024, 256
OPTIONS = {"blocksize": 128, "progress": False}


def noise(shape, seed=0):
    """Give pixels that hardly compress."""
    return np.random.default_rng(seed).integers(0, 2**16, shape, dtype="uint16")


def scene(chunk=None):
    """Give a lazy raster of 16 chunks; `chunk` maps a location to pixels."""

    def default(location):
        return noise((CHUNK, CHUNK), 4 * location[0] + location[1])

    def block(block_info=None):
        return (chunk or default)(tuple(block_info[None]["chunk-location"]))

    chunks = ((CHUNK,) * (SIZE // CHUNK),) * 2
    meta = np.empty((0, 0), "uint16")
    pixels = da.map_blocks(block, chunks=chunks, dtype="uint16", meta=meta)
    return raster(pixels, nodata=0)


def contents(folder):
    """Give every name below a folder, with the bytes of files."""
    return {
        str(each.relative_to(folder)): each.read_bytes() if each.is_file() else None
        for each in folder.rglob("*")
    }


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make many tasks of a small scene."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)


@pytest.fixture
def path(tmp_path):
    """An existing COG that a write would replace."""
    path = tmp_path / "cog.tif"
    lazycog.to_cog(raster(np.full((64, 64), 7, "uint16")), path, progress=False)
    return path


@pytest.fixture
def unharmed(path):
    """Give a check that the destination's folder is as it was."""
    before = contents(path.parent)

    def check():
        assert contents(path.parent) == before
        assert (gdal_levels(path)[0] == 7).all()

    return check


IN_PROCESS = ["synchronous", "threads"]
ALL = [
    *IN_PROCESS,
    "processes",
    pytest.param("cluster", marks=pytest.mark.distributed),
]


@pytest.fixture
def scheduler(request):
    """Run the test on the scheduler that it names."""
    if request.param == "cluster":
        with request.getfixturevalue("cluster").as_current():
            yield request.param
    else:
        with dask.config.set(scheduler=request.param, num_workers=2):
            yield request.param


@pytest.mark.parametrize("scheduler", ALL, indirect=True)
def test_a_chunk_of_the_source_that_raises(scheduler, path, unharmed):
    """The source's own error comes through, with a note about the destination."""

    def chunk(location):
        if location == (2, 1):
            raise LookupError("bad sector")
        return noise((CHUNK, CHUNK))

    with pytest.raises(LookupError, match="bad sector") as caught:
        lazycog.to_cog(scene(chunk), path, **OPTIONS)

    assert any("wrote nothing" in note for note in caught.value.__notes__), scheduler
    unharmed()


def break_zstd():
    """Let zstd refuse, in this process, a tile of nothing but 255."""
    real = getattr(imagecodecs.zstd_encode, "real", imagecodecs.zstd_encode)

    def broken(tile, **how):
        # horizontal differences: the first pixel of each row, then zeros
        if tile[0] == 255 and not tile[1:200].any():
            raise ValueError("out of range")
        return real(tile, **how)

    broken.real = real
    imagecodecs.zstd_encode = broken


@pytest.fixture
def restored_zstd(monkeypatch):
    """Undo what a test does to zstd in this process."""
    monkeypatch.setattr(imagecodecs, "zstd_encode", imagecodecs.zstd_encode)


@pytest.mark.usefixtures("restored_zstd")
@pytest.mark.parametrize("scheduler", ALL, indirect=True)
def test_an_encoder_that_raises(scheduler, path, unharmed):
    """The tile is named by level, row and col, also from another process."""

    def chunk(location):
        break_zstd()  # here, since tiles are encoded where chunks are made
        pixels = np.zeros((CHUNK, CHUNK), "uint16")
        if location == (1, 2):
            pixels[128:, :128] = 255
        return pixels

    with pytest.raises(TileEncodeError, match=r"row 3, col 4.*zstd: out of range") as e:
        lazycog.to_cog(scene(chunk), path, **OPTIONS)

    assert e.value.args == (0, 3, 4, "zstd: out of range"), scheduler
    assert "choose another compress=" in str(e.value)
    unharmed()


def test_an_encoder_that_gives_nothing(path, unharmed, monkeypatch):
    """An empty tile would read as nodata, so it is an error."""
    monkeypatch.setattr(imagecodecs, "zstd_encode", lambda *_, **__: b"")

    with pytest.raises(TileEncodeError, match="it gave no bytes"):
        lazycog.to_cog(scene(), path, **OPTIONS)

    unharmed()


def test_a_bug_in_imagecodecs_names_the_tile(path, unharmed, monkeypatch):
    """Whatever the encoder raises."""

    def refused(*_, **__):
        raise imagecodecs.ZstdError("ZSTD_compress", "no memory")

    monkeypatch.setattr(imagecodecs, "zstd_encode", refused)

    with pytest.raises(TileEncodeError, match=r"level 0 .*no memory") as caught:
        lazycog.to_cog(scene(), path, **OPTIONS)

    assert isinstance(caught.value.__cause__, imagecodecs.ZstdError)
    unharmed()


BAD_CHUNKS = {
    "another shape": (np.zeros((3, 3), "uint16"), r"shape \(1, 3, 3\).*mend"),
    "another dtype": (np.zeros((CHUNK, CHUNK)), r"float64.*promised uint16.*\.astype"),
    "masked": (np.ma.zeros((CHUNK, CHUNK), "uint16"), "MaskedArray.*fill it first"),
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_chunk_that_is_not_what_its_array_promised(path, unharmed, name):
    """A silent cast or crop would change values."""
    pixels, message = BAD_CHUNKS[name]

    with pytest.raises(InputError, match=message):
        lazycog.to_cog(scene(lambda _: pixels), path, **OPTIONS)

    unharmed()


BAD_PIECES = {
    "one pixel": (lambda block: block[:1, :1], "has shape"),
    "one row": (lambda block: block[:1], "has shape"),
    "a row too many": (lambda block: np.vstack([block, block[:1]]), "has shape"),
    "a row too few": (lambda block: block[:-1], "has shape"),
    "larger integers": (lambda block: block.astype("int32") + 2**16, "dtype int32"),
    "fractions": (lambda block: block.astype("float32") + 0.5, "dtype float32"),
    "masked": (lambda block: np.ma.masked_equal(block, 0), "MaskedArray"),
}


@pytest.mark.parametrize("name", BAD_PIECES)
@pytest.mark.parametrize("place", [(0, 0), (1, 2)], ids=["first", "later"])
@pytest.mark.parametrize("chunk", [256, 300, (1000, 24)], ids=str)
def test_one_chunk_among_good_ones(path, unharmed, name, place, chunk):
    """Where chunks of the plan are put together, it is not spread, cropped or cast."""
    spoil, message = BAD_PIECES[name]

    def block(pixels, block_info=None):
        here = tuple(block_info[0]["chunk-location"]) == tuple(
            min(index, count - 1)
            for index, count in zip(place, block_info[0]["num-chunks"], strict=True)
        )
        return spoil(pixels) if here else pixels

    good = da.from_array(noise((SIZE, SIZE)), chunks=(chunk, 300))
    meta = np.empty((0, 0), "uint16")
    pixels = da.map_blocks(block, good, dtype="uint16", meta=meta)

    with pytest.raises(InputError, match=message):
        lazycog.to_cog(raster(pixels, nodata=0), path, **OPTIONS)

    unharmed()


@pytest.mark.distributed
@pytest.mark.parametrize("compute", [True, False])
def test_an_asynchronous_client(path, unharmed, compute):
    """It cannot be asked for its workers."""
    distributed = pytest.importorskip("distributed")

    async def attempt():
        async with distributed.Client(
            processes=False, asynchronous=True, dashboard_address=None
        ):
            lazycog.to_cog(scene(), path, compute=compute, **OPTIONS)

    with pytest.raises(OptionError, match="use a Client without asynchronous=True"):
        asyncio.run(attempt())

    unharmed()


def test_a_size_that_dask_does_not_know(path, unharmed):
    pixels = da.from_array(noise((SIZE, SIZE)), chunks=CHUNK)
    unknown = pixels[pixels[:, 0] > 9]

    with pytest.raises(InputError, match=r"size is not known.*compute_chunk_sizes"):
        lazycog.to_cog(xr.DataArray(unknown, dims=("y", "x")), path, **OPTIONS)

    unharmed()


@pytest.fixture
def small_disk(tmp_path):
    """Give a maker of real, small file systems."""
    mounted = []

    def make(size):
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("needs the right to mount")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize(
    "scheduler",
    [*IN_PROCESS, pytest.param("cluster", marks=pytest.mark.distributed)],
    indirect=True,
)
@pytest.mark.parametrize(
    ("size", "action"), [("1m", "write"), ("4m", "commit")], ids=["tiles", "commit"]
)
def test_a_full_disk(scheduler, small_disk, size, action):
    """Whether the tiles or only the assembled file find no room."""
    folder = small_disk(size)
    (folder / "cog.tif").write_bytes(b"old")

    with pytest.raises(SinkError, match=f"could not {action}.*disk is full") as caught:
        lazycog.to_cog(scene(), folder / "cog.tif", **OPTIONS)

    assert caught.value.errno == errno.ENOSPC, scheduler
    assert contents(folder) == {"cog.tif": b"old"}


OPERATIONS = {
    "making the folder": (Path, "mkdir", 1, "could not prepare"),
    "making a section": (Path, "touch", 2, "could not prepare"),
    "the first tiles": (os, "pwrite", 1, "could not write"),
    "later tiles": (os, "pwrite", 9, "could not write"),
    "parking": (Path, "open", 1, "could not park"),
    "parked tiles": (os, "copy_file_range", 1, "could not write"),
    "copying an overview": (os, "copy_file_range", 1, "could not commit"),
    "syncing the file": (os, "fsync", 1, "could not commit"),
    "renaming": (os, "replace", 1, "could not commit"),
}


@pytest.mark.parametrize("scheduler", IN_PROCESS, indirect=True)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_any_operation_that_the_disk_refuses(
    scheduler, path, unharmed, monkeypatch, name, code
):
    """Every one ends in a SinkError that says what was attempted."""
    owner, attribute, number, message = OPERATIONS[name]
    monkeypatch.setattr("lazycog._park.HELD_BYTES", 1 if "park" in name else 2**30)
    original, calls, lock = getattr(owner, attribute), [], threading.Lock()

    def refused(*args, **options):
        with lock:
            calls.append(args)
        if len(calls) >= number:
            raise OSError(code, os.strerror(code))
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, attribute, refused)
        with pytest.raises(SinkError, match=message) as caught:
            lazycog.to_cog(scene(), path, **OPTIONS)

    assert caught.value.errno == code, scheduler
    assert ("free space" in str(caught.value)) == (
        code == errno.ENOSPC or name == "parking"
    )
    unharmed()


def test_an_error_while_the_folder_entry_is_synced(path, monkeypatch):
    """The rename is done by then: the new file is whole."""
    original, calls = os.fsync, []

    def refused(file):
        calls.append(file)
        if len(calls) == 2:
            raise OSError(errno.EIO, "broken")
        return original(file)

    monkeypatch.setattr(os, "fsync", refused)

    with pytest.raises(SinkError, match="could not commit"):
        lazycog.to_cog(scene(), path, **OPTIONS)

    assert contents(path.parent).keys() == {path.name}
    assert lazycog.validate(path).ok


def test_a_worker_that_does_not_share_the_folder(path, unharmed, monkeypatch):
    """Its writes fail with the likely reason, and make no folder of their own."""
    from lazycog.sinks.local import LocalSink

    monkeypatch.setattr(LocalSink, "begin", lambda *_: None)

    with pytest.raises(SinkError, match="does not share the destination's file system"):
        lazycog.to_cog(scene(), path, **OPTIONS)

    unharmed()


def test_tiles_that_were_lost(path, unharmed, monkeypatch):
    """Sections shorter than their sizes are noticed before anything appears."""
    from lazycog.sinks.local import LocalSink

    monkeypatch.setattr(LocalSink, "write", lambda *_: None)

    with pytest.raises(SinkError, match=r"has 0 of \d+ bytes.*is the folder shared"):
        lazycog.to_cog(scene(), path, **OPTIONS)

    unharmed()


@pytest.mark.parametrize("scheduler", IN_PROCESS, indirect=True)
def test_the_folder_is_made_by_the_caller(scheduler, path, monkeypatch):
    """A task that made it might run after the abort, and nobody would remove it."""
    from lazycog.sinks.local import LocalSink

    original, makers = LocalSink.begin, []

    def begin(*args):
        makers.append(threading.current_thread())
        original(*args)

    monkeypatch.setattr(LocalSink, "begin", begin)

    lazycog.to_cog(scene(), path, **OPTIONS)

    assert makers == [threading.main_thread()], scheduler


class Running:
    """A chunk that is still being computed while another one raises."""

    def __init__(self):
        self.started = threading.Event()
        self.released = threading.Event()

    def chunk(self, location):
        """Raise in the first chunk as soon as the second has started."""
        if location == (0, 0):
            assert self.started.wait(30)
            raise LookupError("bad sector")
        if location == (0, 1):
            self.started.set()
            assert self.released.wait(30)
        return noise((CHUNK, CHUNK))


@pytest.mark.parametrize("held_bytes", [1, 2**30], ids=["parked", "in memory"])
def test_tasks_that_run_on_after_the_error(path, unharmed, monkeypatch, held_bytes):
    """Dask's threads go on for a while; what they do then leaves nothing behind."""
    monkeypatch.setattr("lazycog._park.HELD_BYTES", held_bytes)
    running = Running()
    with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
        with pytest.raises(LookupError):
            lazycog.to_cog(scene(running.chunk), path, **OPTIONS)

        unharmed()
        running.released.set()

    unharmed()


def test_an_encoder_that_runs_on_after_the_error(path, unharmed, monkeypatch):
    """Tiles that would be parked after the abort are not."""
    running = Running()
    monkeypatch.setattr("lazycog._park.HELD_BYTES", 1)

    real = imagecodecs.zstd_encode

    def waiting(tile, **how):
        running.started.set()
        assert running.released.wait(30)
        return real(tile, **how)

    calls = itertools.count()

    def chunk(_location):
        if next(calls):
            assert running.started.wait(30)
            raise LookupError("bad sector")
        return noise((CHUNK, CHUNK))

    monkeypatch.setattr(imagecodecs, "zstd_encode", waiting)
    with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
        with pytest.raises(LookupError):
            lazycog.to_cog(scene(chunk), path, **OPTIONS)

        unharmed()
        running.released.set()

    unharmed()


def _tasks(delayed):
    from dask._task_spec import convert_legacy_graph

    return convert_legacy_graph(dict(delayed.__dask_graph__()))


def _run(tasks, results, keys=None):
    """Run tasks in the order of their dependencies, like a cluster would."""
    waiting = [key for key in (keys or tasks) if key not in results]
    while waiting:
        for key in list(waiting):
            if tasks[key].dependencies <= results.keys():
                needs = {each: results[each] for each in tasks[key].dependencies}
                results[key] = tasks[key](needs)
                waiting.remove(key)


def _keys(tasks, *names, row=None):
    """Give the keys of tasks by name; "source" is what is not lazycog's."""
    found = []
    for key in tasks:
        first, *index = key if isinstance(key, tuple) else (key,)
        ours = first.startswith("cog-")
        name = first.split("-")[1] if ours else "source"
        # (group, row, ...) is ours, (..., row, col) the source's
        at_row = row in (index[1:2] if ours else index[-2:-1])
        if name in names and (row is None or at_row):
            found.append(key)
    return found


class Changing:
    """A source that gives other pixels when its seed has changed."""

    seed = 0

    def chunk(self, location):
        """Give the pixels of this run, which compress as no other run's do."""
        return noise((CHUNK, CHUNK), (self.seed, *location)) % (50 + 100 * self.seed)


@pytest.fixture
def uncommitted(path):
    """A lazy write that is done but for the commit, from a source that changes."""
    source = Changing()
    delayed = lazycog.to_cog(scene(source.chunk), path, compute=False, **OPTIONS)
    tasks = _tasks(delayed)
    results = {}
    _run(tasks, results, set(tasks) - set(_keys(tasks, "commit")))
    return source, tasks, results


def test_a_chunk_that_is_encoded_again_from_other_pixels(path, uncommitted):
    """The place task compares them with those whose sizes are in use."""
    source, tasks, results = uncommitted
    before = path.read_bytes()
    for key in _keys(tasks, "source", "encode0", "place0", "placed0", row=0):
        del results[key]
    source.seed = 1

    with pytest.raises(SourceChangedError, match=r"row 0, col \d of stage 0.*seed it"):
        _run(tasks, results)

    assert path.read_bytes() == before


POSITIONS = ("source", "encode0", "summary0", "sizes0", "row0")
LOST = {
    "positions, same sizes": ("none", POSITIONS),
    "positions, other sizes": ("zstd", POSITIONS),
    "positions and tiles, other sizes": ("zstd", (*POSITIONS, "place0", "placed0")),
}


@pytest.mark.parametrize("name", LOST)
def test_a_row_that_is_computed_again_from_other_pixels(path, name):
    """A lost worker takes some results along; those that stay do not fit the new ones.

    With ``compress="none"`` every size is the same, so only the checksums tell.
    """
    compress, names = LOST[name]
    source = Changing()
    options = {**OPTIONS, "compress": compress, "compute": False}
    tasks = _tasks(lazycog.to_cog(scene(source.chunk), path, **options))
    results = {}
    _run(tasks, results, set(tasks) - set(_keys(tasks, "commit")))
    before = path.read_bytes()
    for key in _keys(tasks, *names, row=1):
        del results[key]
    source.seed = 1

    with pytest.raises(SourceChangedError, match=r"row \d of stage 0.*seed it"):
        _run(tasks, results)

    assert path.read_bytes() == before


def test_a_row_that_is_computed_again_from_the_same_pixels(path, uncommitted):
    """What a cluster repeats changes nothing, the first task included."""
    _, tasks, results = uncommitted
    for key in (*_keys(tasks, "begin"), *_keys(tasks, *POSITIONS, "place0", row=1)):
        del results[key]

    _run(tasks, results)

    assert lazycog.validate(path).ok
    expected = scene(Changing().chunk).to_numpy()
    np.testing.assert_array_equal(gdal_levels(path)[0][0], expected)


def test_a_lazy_write_that_fails_can_be_computed_again(path, tmp_path):
    """Nobody waits for it who could clean up, so its hidden folder stays until then."""
    before = contents(tmp_path)
    broken = [True]

    def chunk(_location):
        if broken:
            raise LookupError("bad sector")
        return noise((CHUNK, CHUNK))

    delayed = lazycog.to_cog(scene(chunk), path, compute=False, **OPTIONS)
    with pytest.raises(LookupError), dask.config.set(scheduler="synchronous"):
        delayed.compute()
    kept = contents(tmp_path)

    assert {name: kept[name] for name in kept if not name.startswith(".")} == before
    broken.clear()
    delayed.compute()
    assert contents(tmp_path).keys() == before.keys()
    assert lazycog.validate(path).ok


def test_every_failure_is_ours_or_the_sources(path, unharmed):
    """One ``except CogError`` is enough for what lazycog refuses."""
    with pytest.raises(CogError):
        lazycog.to_cog(scene(), path, overwrite=False)

    unharmed()


def test_a_destination_that_appears_during_the_write(tmp_path):
    """``overwrite=False`` holds until the last moment."""
    path = tmp_path / "cog.tif"

    def chunk(_location):
        path.write_bytes(b"another writer's")
        return noise((CHUNK, CHUNK))

    with pytest.raises(DestinationExistsError, match="overwrite=False; remove it"):
        lazycog.to_cog(scene(chunk), path, overwrite=False, **OPTIONS)

    assert contents(tmp_path) == {"cog.tif": b"another writer's"}
