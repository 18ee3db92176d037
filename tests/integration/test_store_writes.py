"""Whole writes to stores: the bytes of the local file, or nothing at all."""

from __future__ import annotations

import threading

import dask
import dask.array as da
import numpy as np
import pytest

import lazycog
from lazycog._parts import PartLimits
from lazycog.errors import (
    DestinationExistsError,
    MissingExtraError,
    OptionError,
    SinkError,
)
from lazycog.sinks.recording import RecordingSink
from oracles import raster

MIB = 2**20
SMALL_PARTS = PartLimits(min_part=20_000)
SIZE, CHUNK = 1200, 256


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make many tasks of a small scene."""
    monkeypatch.setattr("lazycog._plan.MAX_CHUNK_SIZE", CHUNK)


def scene(count=1, size=(SIZE, SIZE), dtype="uint16", noise=60_000):
    """Give a lazy raster that hardly compresses, but for one band."""
    pixels = np.random.default_rng(0).integers(0, noise, (count, *size), dtype=dtype)
    if count > 1:
        pixels[1] = 7
    return raster(da.from_array(pixels, chunks=(count, CHUNK, CHUNK)))


def local(array, path, **options):
    """Give the bytes of the file that a local write makes."""
    result = lazycog.to_cog(array, path, progress=False, **options)
    return path.read_bytes(), result


def sink(limits=SMALL_PARTS, **options):
    """Give a store in memory."""
    return RecordingSink.new("memory", limits, **options)


@pytest.mark.parametrize("interleave", ["pixel", "band", "tile"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("wide", [False, True], ids=["one range", "ranges"])
def test_an_object_has_the_bytes_of_the_file(
    tmp_path, monkeypatch, interleave, count, wide
):
    """However bands are interleaved, and however a row is split."""
    if wide:
        monkeypatch.setattr("lazycog._gather.RANGE_BYTES", 200_000)
        monkeypatch.setattr("lazycog._part_graph.STRIP_CHUNKS", 2)
    array, options = scene(count), {"interleave": interleave, "blocksize": 64}
    store = sink()

    result = lazycog.to_cog(array, store, part_size=30_000, progress=False, **options)

    wanted, reference = local(array, tmp_path / "a.tif", **options)
    assert store.content == wanted
    assert store.uploads == ()
    assert (result.path, result.size) == ("memory", len(wanted))
    assert result.statistics == reference.statistics
    puts = [call for call in store.calls if call.name == "put"]
    assert len(puts) > 20
    assert puts[-1].number == 1  # the header goes last
    assert sum(call.size for call in puts) == len(wanted)


@pytest.mark.parametrize("size", [(1, 1), (64, 1300), (1031, 777)], ids=str)
def test_odd_shapes_have_the_bytes_of_the_file(tmp_path, size):
    """Small, narrow and odd."""
    array = scene(size=size)
    store = sink()

    lazycog.to_cog(array, store, part_size=30_000, progress=False, blocksize=64)

    assert store.content == local(array, tmp_path / "a.tif", blocksize=64)[0]


def test_bands_in_groups_have_the_bytes_of_the_file(tmp_path, monkeypatch):
    """Groups of bands follow each other within a level."""
    monkeypatch.setattr("lazycog._plan.CHUNK_BYTES", 2**18)
    array = scene(7)
    options = {"interleave": "band", "blocksize": 64}
    store = sink()

    result = lazycog.to_cog(array, store, part_size=30_000, progress=False, **options)

    assert result.plan.stages[0].groups > 1
    assert store.content == local(array, tmp_path / "a.tif", **options)[0]


def test_a_small_result_is_one_request(tmp_path):
    """And the upload that was begun is dropped."""
    array = scene(size=(300, 300))
    store = sink(PartLimits())

    lazycog.to_cog(array, store, progress=False)

    assert [call.name for call in store.calls] == ["begin", "put_whole"]
    assert store.content == local(array, tmp_path / "a.tif")[0]


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_equal_parts_are_equal_and_the_file_is_valid(tmp_path, interleave):
    """Levels start at multiples of a part; the pixels are the same."""
    array = scene(3)
    store = sink(PartLimits(min_part=8192, equal_parts=True))
    path = tmp_path / "a.tif"

    lazycog.to_cog(
        array,
        store,
        part_size=32_768,
        interleave=interleave,
        blocksize=64,
        progress=False,
    )

    path.write_bytes(store.content)
    report = lazycog.validate(path)
    assert report.ok, report.errors
    import rasterio

    with rasterio.open(path) as found:
        assert (found.read() == array.values).all()
    sizes = {call.size for call in store.calls if call.name == "put"}
    assert len(sizes) <= 2


def test_a_lazy_write_computes_to_the_same_object(tmp_path):
    """The first task begins the upload."""
    array = scene()
    store = sink()

    lazy = lazycog.to_cog(array, store, part_size=30_000, compute=False)

    assert store.calls == ()
    (result,) = dask.compute(lazy)
    assert store.content == local(array, tmp_path / "a.tif")[0]
    assert result.path == "memory"


class Failing(RecordingSink):
    """A store that refuses one kind of call."""

    fails = "put"
    error = SinkError(5, "refused", "memory")

    def put(self, upload, number, data):
        """Refuse the fifth part."""
        if self.fails == "put" and len(self.calls) == 5:
            raise self.error
        return super().put(upload, number, data)

    def commit(self, upload, receipts):
        """Refuse."""
        if self.fails == "commit":
            raise self.error
        super().commit(upload, receipts)


@pytest.mark.parametrize("fails", ["put", "commit"])
@pytest.mark.parametrize(
    "error",
    [
        SinkError(5, "refused", "memory"),
        SinkError(5, "refused; the object is as it was", "memory"),
        KeyboardInterrupt(),
    ],
    ids=["", "told", "^C"],
)
def test_a_failed_write_is_aborted(monkeypatch, fails, error):
    """The old object stays, and nothing of the upload."""
    monkeypatch.setattr(Failing, "fails", fails)
    monkeypatch.setattr(Failing, "error", error)
    store = Failing.new("memory", SMALL_PARTS)
    store.fill(b"old")

    with pytest.raises(type(error)) as caught:
        lazycog.to_cog(scene(), store, part_size=30_000, progress=False)

    notes = caught.value.__notes__
    assert any("wrote nothing" in note for note in notes)
    # said once, and the error may be raised by several tests
    assert f"{caught.value} {notes[-1]}".count("is as it was") == 1
    assert store.content == b"old"
    assert store.uploads == ()
    assert any(call.name == "abort" for call in store.calls)


def test_a_source_that_fails_aborts_the_upload():
    """Its own error goes on."""

    def fail(block, block_info=None):
        if block_info[None]["chunk-location"] == (0, 3, 3):
            raise ZeroDivisionError("source")
        return block

    array = scene()
    store = sink()

    with pytest.raises(ZeroDivisionError, match="source"):
        lazycog.to_cog(
            array.copy(data=array.data.map_blocks(fail, dtype="uint16")),
            store,
            part_size=30_000,
            progress=False,
        )

    assert (store.content, store.uploads) == (None, ())


def test_overwrite_false_is_checked_first():
    """No upload is begun, no pixel is computed."""
    store = sink(overwrite=False)
    store.fill(b"old")

    with pytest.raises(DestinationExistsError):
        lazycog.to_cog(scene(), store, progress=False)

    assert {call.name for call in store.calls} <= {"abort"}
    assert store.content == b"old"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lock": True}, "lock= cannot work"),
        ({"storage_options": {"key": "k"}}, "storage_options= cannot work"),
        ({"min_part": 5}, "min_part= cannot work"),
        ({"overwrite": False}, "give it to the sink"),
    ],
)
def test_a_sink_brings_its_own_options(options, message):
    """Nothing is accepted and ignored."""
    with pytest.raises(OptionError, match=message):
        lazycog.to_cog(scene(), sink(), **options)


def test_resume_needs_a_store_that_can_go_on():
    """Before anything else."""
    with pytest.raises(OptionError, match="resume=True cannot work with dst='az://"):
        lazycog.to_cog(scene(), "az://bucket/key.tif", resume=True)


def test_a_missing_client_of_another_store_is_named(monkeypatch):
    """As fsspec tells it, which knows what to install."""

    def missing(_protocol):
        raise ImportError("install paramiko")

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)

    with pytest.raises(MissingExtraError, match="install paramiko"):
        lazycog.to_cog(scene(), "sftp://host/key.tif")


def test_a_missing_client_is_named_with_its_remedy(monkeypatch):
    """The line to install it."""
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)

    with pytest.raises(MissingExtraError, match=r'pip install "lazycog\[s3\]"'):
        lazycog.to_cog(scene(), "s3://bucket/key.tif", overwrite=False)


def test_few_tasks_per_chunk():
    """At most 4 on average, and a few per row."""
    array = raster(
        da.zeros((4, 16384, 16384), chunks=(4, CHUNK, CHUNK), dtype="uint16")
    )
    lazy = lazycog.to_cog(array, sink(PartLimits()), compute=False, blocksize=64)
    own = [key for key in dict(lazy.__dask_graph__()) if "cog-" in str(key)]
    plan = lazycog.plan(array, blocksize=64)

    rows = sum(stage.groups * stage.chunk_rows for stage in plan.stages)
    assert len(own) <= 4 * plan.chunk_count + 6 * rows + 2


def test_threads_may_send_side_by_side():
    """No lock is held while a part is sent."""
    seen, together = threading.Barrier(2, timeout=20), []

    class Meeting(RecordingSink):
        def put(self, upload, number, data):
            if not together and number != 1:
                try:
                    seen.wait()
                except threading.BrokenBarrierError:
                    pass
                else:
                    together.append(number)
            return super().put(upload, number, data)

    store = Meeting.new("memory", SMALL_PARTS)

    lazycog.to_cog(scene(), store, part_size=30_000, blocksize=64, progress=False)

    assert together
