"""The sink of files: everything beside the destination, then all at once."""

from __future__ import annotations

import errno
import os
import pickle
import shutil

import pytest

from lazycog.errors import DestinationExistsError, SinkError
from lazycog.sinks import _file_calls
from lazycog.sinks.local import LocalSink, Placed

HEADER = b"H" * 100
SMALL, LARGE = (1, 0), (0, 0)
ALIGNED = 4096
PIECES = {SMALL: os.urandom(300), LARGE: os.urandom(3 * 4096 + 17)}
PLACED = (
    Placed(SMALL, 100, 300, 0, 300),
    Placed(LARGE, ALIGNED, len(PIECES[LARGE]), 0, len(PIECES[LARGE])),
)
SIZE = ALIGNED + len(PIECES[LARGE])
WHOLE = (HEADER + PIECES[SMALL]).ljust(ALIGNED, b"\0") + PIECES[LARGE]


@pytest.fixture
def path(tmp_path):
    """A destination that does not exist."""
    return tmp_path / "cog.tif"


@pytest.fixture
def sink(path):
    """A sink with all tiles in place."""
    return filled(LocalSink.of(path, "token", overwrite=True))


def filled(sink):
    """Begin, and write every section in two pieces, the second first."""
    sink.begin([SMALL, LARGE])
    for section, data in PIECES.items():
        half = len(data) // 2
        sink.write(section, [(half, data[half:])])
        sink.write(section, [(0, memoryview(data)[:half])])
    return sink


@pytest.fixture
def no_insert(monkeypatch):
    """A file system that cannot put bytes in front of a file."""
    monkeypatch.setattr(_file_calls, "insert_range", lambda *_: False)


@pytest.fixture
def no_copy(monkeypatch):
    """A kernel that cannot copy between files."""

    def refused(*_):
        raise OSError(errno.EXDEV, "not here")

    monkeypatch.setattr(os, "copy_file_range", refused)


WAYS = [(), ("no_insert",), ("no_copy",), ("no_insert", "no_copy")]


@pytest.mark.parametrize("ways", WAYS, ids=lambda ways: " and ".join(ways) or "all")
def test_every_way_to_assemble_gives_the_same_bytes(request, path, sink, ways):
    """Header, overviews and full resolution at their places, zeros between."""
    for way in ways:
        request.getfixturevalue(way)

    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE
    assert [each.name for each in path.parent.iterdir()] == ["cog.tif"]


@pytest.mark.usefixtures("no_insert")
def test_a_large_section_is_copied_in_steps(path, sink, monkeypatch):
    """So that Ctrl-C is noticed between two of them."""
    monkeypatch.setattr(_file_calls, "COPY_BYTES", 1000)

    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize("limit", [1, 7, 4096])
def test_a_system_call_may_write_less_than_asked(path, monkeypatch, limit):
    """The rest is written by further calls."""
    original = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda file, data, at: original(file, data[:limit], at)
    )

    sink = filled(LocalSink.of(path, "token", overwrite=True))
    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE


def test_the_same_piece_twice_is_no_matter(path, sink):
    """A task that is run again writes the same bytes to the same place."""
    sink.write(LARGE, [(0, PIECES[LARGE])])

    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE


def test_beginning_again_keeps_what_is_written(path, sink):
    """A cluster repeats the first task when it loses the worker that ran it."""
    sink.begin([SMALL, LARGE])

    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize(("change", "found"), [(-1, 299), (1, 301)])
def test_a_section_of_another_size_is_an_error(path, sink, change, found):
    """Shorter or longer, something else was written than what the header says."""
    section = sink.folder / "level-1-plane-0"
    os.truncate(section, 300 + change)

    with pytest.raises(SinkError, match=f"level 1 .* {found} of 300 bytes.*shared"):
        sink.commit(HEADER, PLACED, SIZE)

    assert not path.exists()


def test_a_section_that_is_missing_is_an_error(path, sink):
    """As after an abort, or on a file system of another worker."""
    (sink.folder / "level-1-plane-0").unlink()

    with pytest.raises(SinkError, match=r"could not commit.*temporary folder is gone"):
        sink.commit(HEADER, PLACED, SIZE)

    assert not path.exists()


def test_nothing_is_at_the_destination_before_the_commit(path, sink):
    """Only the hidden folder beside it."""
    assert not path.exists()
    assert [each.name for each in path.parent.iterdir()] == [".cog.tif.lazycog-token"]
    assert sink.park_folder == str(path.parent / ".cog.tif.lazycog-token")


def test_an_abort_leaves_nothing(path, sink):
    """Parked tiles included; a second abort has nothing to do."""
    path.write_bytes(b"old")
    (sink.folder / "parked-1").write_bytes(b"tiles")

    sink.abort()
    sink.abort()

    assert [each.name for each in path.parent.iterdir()] == ["cog.tif"]
    assert path.read_bytes() == b"old"


def test_an_abort_outlasts_tasks_that_still_park(path, sink, monkeypatch):
    """A file that appears between emptying and removing the folder keeps it once."""
    original, late = shutil.rmtree, [b"one", b"two"]

    def interrupted(folder, **options):
        if late:
            for each in folder.iterdir():
                each.unlink()
            (folder / "parked-late").write_bytes(late.pop())
            return
        original(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)

    sink.abort()

    assert not list(path.parent.iterdir())


def test_tiles_that_are_freed_while_the_folder_is_removed(path, sink, monkeypatch):
    """The file is there by then, so this is no failure."""
    original = shutil.rmtree

    def interrupted(folder, *, ignore_errors=False):
        if not ignore_errors:
            raise FileNotFoundError(errno.ENOENT, "freed meanwhile")
        original(folder, ignore_errors=True)

    monkeypatch.setattr(shutil, "rmtree", interrupted)

    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE
    assert [each.name for each in path.parent.iterdir()] == ["cog.tif"]


@pytest.mark.parametrize(
    "action",
    [
        lambda sink: sink.write(LARGE, [(0, b"late")]),
        lambda sink: sink.commit(HEADER, PLACED, SIZE),
    ],
    ids=["write", "commit"],
)
def test_nothing_is_made_after_an_abort(path, sink, action):
    """A task that still runs finds no folder and makes none."""
    sink.abort()

    with pytest.raises(SinkError, match="the temporary folder is gone"):
        action(sink)

    assert not list(path.parent.iterdir())


def test_a_destination_that_appears_before_the_commit(path):
    """The other writer's file stays."""
    sink = filled(LocalSink.of(path, "token", overwrite=False))
    path.write_bytes(b"another writer's")

    with pytest.raises(DestinationExistsError, match="overwrite=False; remove it"):
        sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == b"another writer's"


def test_a_destination_that_appears_and_goes_again(path, monkeypatch):
    """The file is never dropped in silence: no success without a file."""
    sink = filled(LocalSink.of(path, "token", overwrite=False))

    def taken(*_):
        raise FileExistsError(errno.EEXIST, "just now")

    monkeypatch.setattr(os, "link", taken)

    with pytest.raises(DestinationExistsError, match="the destination exists"):
        sink.commit(HEADER, PLACED, SIZE)


def test_without_overwrite_a_new_file_appears(path):
    """With one name, and the same bytes."""
    sink = filled(LocalSink.of(path, "token", overwrite=False))

    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE
    assert path.stat().st_nlink == 1


def test_a_sink_is_a_plain_value(path, sink):
    """Every worker opens what it needs."""
    there = pickle.loads(pickle.dumps(sink))

    assert there == sink
    there.commit(HEADER, PLACED, SIZE)
    assert path.read_bytes() == WHOLE


def test_two_sinks_of_one_destination_do_not_meet(path):
    """Each token has a folder of its own."""
    sinks = [LocalSink.of(path, token, overwrite=True) for token in ("one", "two")]
    for sink in sinks:
        filled(sink)

    sinks[0].abort()
    sinks[1].commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "the disk is full: free space"),
        (errno.EDQUOT, "the disk is full: free space"),
        (errno.EFBIG, "the disk is full: free space"),
        (errno.EACCES, "the destination is as it was"),
        (errno.EIO, "the destination is as it was"),
    ],
    ids=errno.errorcode.get,
)
def test_the_file_systems_refusal_is_one_clear_error(sink, monkeypatch, code, remedy):
    """With its number, what was attempted, and what to do."""

    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwrite", refused)

    with pytest.raises(SinkError, match=f"could not write.*{remedy}") as caught:
        sink.write(LARGE, [(0, b"tile")])

    assert caught.value.errno == code
    assert caught.value.filename == sink.path


def test_insert_range_reports_what_is_not_a_missing_feature(sink, monkeypatch):
    """A full disk is no reason to try the slower way."""

    class Library:
        class fallocate:  # noqa: N801 - the name in the C library
            argtypes = None

            def __new__(cls, *_):
                return -1

    monkeypatch.setattr(_file_calls.ctypes, "CDLL", lambda *_, **__: Library)
    monkeypatch.setattr(_file_calls.ctypes, "get_errno", lambda: errno.ENOSPC)

    with pytest.raises(SinkError, match=r"could not commit.*disk is full"):
        sink.commit(HEADER, PLACED, SIZE)


def test_without_fallocate_the_file_is_copied(path, sink, monkeypatch):
    """As outside Linux."""

    def missing(*_, **__):
        raise OSError(errno.ENOENT, "no C library")

    monkeypatch.setattr(_file_calls.ctypes, "CDLL", missing)

    sink.commit(HEADER, PLACED, SIZE)

    assert path.read_bytes() == WHOLE


def test_pieces_of_a_section_close_up(sink, path):
    """What was written but stands elsewhere is left out of the file."""
    large = PIECES[LARGE]
    placed = (
        Placed(SMALL, 100, 10, 20, 300),
        Placed(SMALL, 110, 5, 295, 300),
        Placed(LARGE, ALIGNED, len(large), 0, len(large)),
    )

    sink.commit(b"h" * 100, placed, ALIGNED + len(large))

    small, data = PIECES[SMALL], path.read_bytes()
    assert data[100:110] == small[20:30]
    assert data[110:115] == small[295:300]
    assert data[115:ALIGNED] == bytes(ALIGNED - 115)
    assert data[ALIGNED:] == large
