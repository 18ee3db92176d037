"""Freed memory goes back to the system once a process has grown."""

import numpy as np
import pytest

from lazycog import _freed
from lazycog._freed import FREED, KEPT_BYTES, Freed


@pytest.fixture
def sizes():
    """Sizes of the process, one for each time it is asked for."""
    return []


@pytest.fixture
def trims():
    """One item for each time that memory went back."""
    return []


@pytest.fixture
def freed(sizes, trims):
    return Freed(lambda: trims.append(1), lambda: sizes.pop(0))


def test_memory_goes_back_when_the_process_has_grown(freed, sizes, trims):
    sizes += [KEPT_BYTES + 1, 100]
    freed.give_back()
    assert len(trims) == 1
    sizes += [KEPT_BYTES + 100]
    freed.give_back()
    assert len(trims) == 1, "it has not grown by more since then"
    sizes += [KEPT_BYTES + 101, 200]
    freed.give_back()
    assert len(trims) == 2


def test_growth_counts_from_the_least_size_since_then(freed, sizes, trims):
    sizes += [2 * KEPT_BYTES, KEPT_BYTES]
    freed.give_back()
    sizes += [1000]
    freed.give_back()
    sizes += [KEPT_BYTES + 1001, 1000]
    freed.give_back()
    assert len(trims) == 2


def test_nothing_is_measured_where_nothing_can_be_given_back(sizes):
    Freed(None, lambda: sizes.pop(0)).give_back()


@pytest.mark.skipif(_freed._trim() is None, reason="the C library cannot give it back")
def test_pages_of_freed_arrays_leave_the_process():
    FREED.give_back()
    # too small to be mapped each on its own; the last one holds the heap's end
    arrays = [np.ones(2**16, np.uint8) for _ in range(3 * KEPT_BYTES // 2**16)]
    grown = _freed._resident()
    del arrays[:-1]
    assert _freed._resident() > grown - KEPT_BYTES, "the C library keeps them"
    FREED.give_back()
    assert _freed._resident() < grown - 2 * KEPT_BYTES
