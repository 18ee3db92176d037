"""Room for the tiles of a chunk: in memory or on disk, the bytes are the same."""

from __future__ import annotations

import gc
import mmap
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazycog import _park, _room
from lazycog._file_range import FileRange
from lazycog._room import Room

RUNS = [[b"a" * 700, b"bc" * 150], [b"d" * 10], [b"", b"e" * 999]]
BYTES = b"".join(tile for run in RUNS for tile in run)


@pytest.fixture(autouse=True)
def ledger(monkeypatch):
    """A budget of 3,000 bytes, of which none is used yet."""
    fresh = _park._Ledger()
    monkeypatch.setattr(_park, "LEDGER", fresh)
    monkeypatch.setattr("lazycog._room.LEDGER", fresh)
    monkeypatch.setattr(_park, "HELD_BYTES", 3000)
    return fresh


def filled(room, runs=RUNS):
    """Take tiles as an encoder does, and finish."""
    with room:
        for run in runs:
            for tile in run:
                room.free[: len(tile)] = np.frombuffer(tile, np.uint8)
                room.take(len(tile))
                assert room.last(len(tile)).tobytes() == tile
            room.end_run()
        return room.finish()


@pytest.mark.parametrize("used", [0, 2900], ids=["held", "parked"])
def test_bytes_and_checksum_are_the_same_wherever_they_wait(tmp_path, ledger, used):
    """Runs follow each other; each range can be had."""
    ledger.take(used)
    room = Room(2500, 1000, str(tmp_path))

    kept = filled(room)

    assert kept.is_parked == bool(used)
    assert kept.read(0, len(kept)) == BYTES
    assert (room.length, room.checksum) == (len(BYTES), zlib.crc32(BYTES))
    piece = kept.piece(699, 702)
    assert len(piece) == 3
    if used:
        (file,) = tmp_path.iterdir()
        assert piece == FileRange(str(file), 699, 702)
        assert file.read_bytes() == BYTES
    else:
        assert piece == b"abc"


def test_what_was_reserved_too_much_is_given_back(tmp_path, ledger):
    """And the next chunk reserves what this one took, not the worst case."""
    kept = filled(Room(4000, 1000, str(tmp_path)))
    assert ledger.held_bytes == len(BYTES)

    small = Room(1600, 1000, str(tmp_path))
    assert ledger.held_bytes - len(BYTES) in range(800, 900)

    both = [kept, filled(small, [[b"x"]])]
    assert not any(each.is_parked for each in both)
    assert ledger.held_bytes == len(BYTES) + 1
    del kept, both, small
    gc.collect()
    assert ledger.held_bytes == 0


def test_a_chunk_of_nothing_does_not_open_the_door(tmp_path, ledger):
    """After sparse chunks the next one is still counted."""
    kept = filled(Room(2800, 1000, str(tmp_path)))
    for _ in range(3):
        filled(Room(2800, 1000, str(tmp_path)), [])

    assert ledger.expected(2800) > 200
    assert len(kept) == ledger.held_bytes


@pytest.mark.parametrize("used", [0, 2900], ids=["held", "parked"])
def test_an_encoder_that_fails_leaves_nothing(tmp_path, ledger, used):
    """No file, no budget."""
    ledger.take(used)
    room = Room(2500, 1000, str(tmp_path))

    def encode():
        room.take(10)
        room.end_run()
        raise LookupError

    with pytest.raises(LookupError), room:
        encode()

    assert ledger.held_bytes == used
    assert not list(tmp_path.iterdir())


def test_without_a_folder_everything_stays_in_memory(ledger):
    """And is nobody's account, as on the way to an object store."""
    ledger.take(3000)

    kept = filled(Room(2500, 1000, None))

    assert kept.read(0, len(kept)) == BYTES
    assert ledger.held_bytes == 3000


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="no such advice")
@pytest.mark.parametrize("parks", [True, False])
def test_pages_behind_the_tiles_go_back(tmp_path, parks):
    """Room for the worst case is many times what tiles take; such pages are zeros."""
    room = Room(4 * mmap.PAGESIZE, 100, str(tmp_path) if parks else None)
    room.free[:] = 1

    room.take(mmap.PAGESIZE + 1)
    kept = room.finish()

    assert bytes(kept.read(0, len(kept))) == b"\1" * (mmap.PAGESIZE + 1)
    assert room.free[: mmap.PAGESIZE - 1].all()
    assert not room.free[mmap.PAGESIZE - 1 :].any()


def test_memory_is_used_again_while_rooms_are_in_use():
    """And never while somebody still reads what is in it."""
    memory = _room._Memory()
    first, second = memory.take(5000)[1], memory.take(5000)[1]
    first[:] = 1
    address, view = first.ctypes.data, memoryview(first)[10:20]
    del first
    _, other = memory.take(5000)
    other[:] = 2

    assert other.ctypes.data != address
    assert bytes(view) == b"\1" * 10
    del view
    assert memory.take(4000)[1].ctypes.data != address
    assert memory.take(5000)[1].ctypes.data == address
    del second, other


def test_no_more_memory_is_kept_free_than_is_in_use():
    """Or a wide scene would keep what a whole row of its chunks took."""
    memory = _room._Memory()
    rooms = [memory.take(5000)[1] for _ in range(9)]

    del rooms[3:]

    assert len(memory._free) == 3


def test_memory_goes_back_when_no_room_is_in_use():
    """A worker that waits for work holds nothing."""
    memory = _room._Memory()
    rooms = [memory.take(5000)[1] for _ in range(3)]
    del rooms[2:]
    assert len(memory._free) == 1

    rooms.clear()

    assert memory._free == []


@settings(max_examples=20)
@given(sizes=st.lists(st.tuples(st.integers(1, 900), st.integers(0, 900)), max_size=20))
def test_the_account_is_right_after_any_chunks(tmp_path_factory, sizes):
    """Whatever they were expected to take."""
    ledger = _park.LEDGER
    before, kept = ledger.held_bytes, []
    folder = tmp_path_factory.mktemp("park")
    for bound, size in sizes:
        tile = b"x" * min(bound, size)
        kept.append(filled(Room(bound, bound, str(folder)), [[tile]]))

    held = sum(len(each) for each in kept if not each.is_parked)
    assert ledger.held_bytes - before == held

    kept.clear()
    gc.collect()
    assert ledger.held_bytes == before
    assert not list(folder.iterdir())


LOCKED = """
import ctypes
import sys

import numpy as np

from lazycog._room import Room

MCL_FUTURE, MCL_ONFAULT = 2, 4
lock = getattr(ctypes.CDLL(None), "mlockall", None)
if lock is None or lock(MCL_FUTURE | MCL_ONFAULT):
    sys.exit("this process may not lock its memory")
with Room(2**22, 2**20, None) as room:
    room.free[:5] = np.frombuffer(b"tiles", np.uint8)
    room.take(5)
    room.end_run()
    kept = room.finish()
print(bytes(kept.read(0, 5)).decode(), len(kept))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_memory_that_the_process_has_locked():
    """The kernel refuses to take pages back, which is no matter."""
    run = subprocess.run(
        [sys.executable, "-c", LOCKED], check=False, capture_output=True, text=True
    )
    if "may not lock" in run.stderr:
        pytest.skip(run.stderr.strip())

    assert run.stdout == "tiles 5\n", run.stderr
