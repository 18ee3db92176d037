"""Encoded bytes that wait: within a budget in memory, beyond it on disk."""

from __future__ import annotations

import errno
import gc
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from lazycog import _park
from lazycog._park import EncodedBytes, WaitingPixels
from lazycog.errors import SinkError

DATA = np.arange(1000, dtype=np.uint16).view(np.uint8)


@pytest.fixture(autouse=True)
def ledger(monkeypatch):
    """A budget of 3,000 bytes, of which none is used yet."""
    fresh = _park._Ledger()
    monkeypatch.setattr(_park, "LEDGER", fresh)
    monkeypatch.setattr(_park, "HELD_BYTES", 3000)
    return fresh


@pytest.fixture
def parked(tmp_path, ledger):
    """Bytes that found no room in memory."""
    ledger.take(2000)
    return EncodedBytes.keep(DATA, str(tmp_path))


def test_bytes_stay_in_memory_within_the_budget(tmp_path, ledger):
    """Nothing touches the disk."""
    kept = EncodedBytes.keep(DATA, str(tmp_path))

    assert not kept.is_parked
    assert ledger.held_bytes == len(DATA)
    assert not list(tmp_path.iterdir())


def test_bytes_beyond_the_budget_are_parked(tmp_path, parked):
    """In one file per chunk, without using the budget."""
    assert parked.is_parked
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [DATA.tobytes()]


def test_one_chunk_is_always_held(tmp_path, ledger):
    """However large: parking all would be slower and save nothing."""
    kept = EncodedBytes.keep(np.zeros(10_000, np.uint8), str(tmp_path))

    assert not kept.is_parked
    assert ledger.held_bytes == 10_000


@pytest.mark.parametrize("shape", [(2, 3, 50), (2, 0, 50)], ids=str)
def test_pixels_wait_as_bytes_do(tmp_path, ledger, shape):
    """In memory or on disk, and in another process, they come back as they were."""
    pixels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    held = WaitingPixels.keep(pixels, str(tmp_path))
    ledger.take(2400)
    parked = WaitingPixels.keep(pixels, str(tmp_path))

    for each in (held, parked, pickle.loads(pickle.dumps(parked))):
        np.testing.assert_array_equal(each.read(), pixels)
        assert each.read().dtype == pixels.dtype
    assert (held.data.is_parked, parked.data.is_parked) == (False, pixels.size > 0)


def test_without_a_folder_bytes_stay_in_memory(ledger):
    """And are nobody's account, as on their way between processes."""
    ledger.take(5000)

    assert not EncodedBytes.keep(DATA).is_parked
    assert ledger.held_bytes == 5000


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("span", [(0, 2000), (3, 17), (1999, 2000), (5, 5)])
def test_any_range_can_be_read(tmp_path, ledger, where, span):
    """Wherever the bytes are."""
    ledger.take(2000 if where == "disk" else 0)
    kept = EncodedBytes.keep(DATA, str(tmp_path))

    found = kept.read(*span)

    assert kept.is_parked == (where == "disk")
    assert found == DATA[slice(*span)].tobytes()
    assert len(kept) == len(DATA)


def test_the_budget_comes_back_with_the_bytes(tmp_path, ledger):
    """As soon as nothing refers to them."""
    kept = EncodedBytes.keep(DATA, str(tmp_path))
    assert ledger.held_bytes == len(DATA)

    del kept
    gc.collect()

    assert ledger.held_bytes == 0


def test_the_file_goes_with_the_bytes(tmp_path, ledger):
    """No list of files to clean up later."""
    ledger.take(2000)
    kept = EncodedBytes.keep(DATA, str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1

    del kept
    gc.collect()

    assert not list(tmp_path.iterdir())


def test_a_file_that_is_gone_already_is_no_matter(tmp_path, ledger):
    """An abort removes the folder under everything that waits."""
    ledger.take(2000)
    kept = EncodedBytes.keep(DATA, str(tmp_path / "."))
    for each in tmp_path.iterdir():
        each.unlink()

    del kept
    gc.collect()

    assert not list(tmp_path.iterdir())


def test_parked_bytes_travel_as_bytes(parked):
    """The other process needs no access to the file, and has no account of them."""
    there = pickle.loads(pickle.dumps(parked))

    assert not there.is_parked
    assert there.read(0, len(there)) == DATA.tobytes()


def test_dask_is_told_what_is_in_memory(tmp_path, parked, ledger):
    """It decides from the sizes what to spill."""
    ledger.give_back(2000)
    held = EncodedBytes.keep(DATA, str(tmp_path))

    assert sys.getsizeof(parked) < 500
    assert sys.getsizeof(held) > len(DATA)


def test_a_folder_that_is_gone_takes_nothing(tmp_path, ledger):
    """After an abort no file may appear, nor its folder again."""
    ledger.take(2000)

    with pytest.raises(SinkError, match=r"could not park.*free space") as caught:
        EncodedBytes.keep(DATA, str(tmp_path / "gone"))

    assert caught.value.errno == errno.ENOENT
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_half_file(tmp_path, ledger, monkeypatch):
    """What was written of it is removed again."""
    if sys.platform != "linux":
        pytest.skip("needs /dev/full")
    ledger.take(2000)
    real = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, _mode: path.symlink_to("/dev/full") or real(path, "wb"),
    )

    with pytest.raises(SinkError, match="No space left") as caught:
        EncodedBytes.keep(DATA, str(tmp_path))

    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_cut_short(tmp_path, parked):
    """It is noticed where it is read."""
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"short")

    with pytest.raises(SinkError, match="too short"):
        parked.read(0, len(parked))


def test_threads_share_one_budget(tmp_path, ledger):
    """However many encode at once, no more than the budget is held."""
    kept, lock = [], threading.Lock()

    def encode():
        for _ in range(50):
            each = EncodedBytes.keep(np.zeros(100, np.uint8), str(tmp_path))
            with lock:
                kept.append(each)

    threads = [threading.Thread(target=encode) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert ledger.held_bytes == 3000
    assert sum(each.is_parked for each in kept) == 170
    assert len(list(tmp_path.iterdir())) == 170
