"""First rows of tiles: written once, as soon as the chunks to the left are known."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from lazycog._ahead import FirstRows
from lazycog._encode import Run, Summary
from lazycog._layout import first_starts, join_summaries, place_row
from lazycog._park import EncodedBytes
from lazycog.errors import SourceChangedError

FRAME = 8
RUNS = (Run(0, 0, 0, 0, 3), Run(0, 0, 1, 0, 9), Run(1, 2, 0, 3, 5))
STARTS = {(0, 0): 100, (1, 2): 7}


class Written:
    """A sink that remembers."""

    def __init__(self):
        self.pieces = []

    def write(self, section, pieces):
        for position, data in pieces:
            self.pieces.append((section, position, bytes(data)))


def first_rows():
    data = np.frombuffer(b"abcde", np.uint8)
    return FirstRows(EncodedBytes.keep(data), len(data))


def test_the_first_row_of_each_level_and_plane_goes_to_its_place():
    """And nothing else."""
    sink = Written()

    first_rows().write(sink, RUNS, STARTS)

    assert sink.pieces == [((0, 0), 100, b"abc"), ((1, 2), 7, b"de")]


@pytest.mark.parametrize("moved", [False, True], ids=["here", "on another worker"])
def test_what_was_written_is_let_go_and_not_written_again(moved):
    """A cluster asks again when it lost what came of it."""
    rows = first_rows()
    before = rows.__sizeof__()
    rows.write(Written(), RUNS, STARTS)
    rows = pickle.loads(pickle.dumps(rows)) if moved else rows
    sink = Written()

    rows.write(sink, RUNS, dict(STARTS))

    assert sink.pieces == []
    assert len(rows) == 5
    assert rows.__sizeof__() <= before - 5
    with pytest.raises(SourceChangedError, match="computed twice"):
        rows.write(sink, RUNS, {**STARTS, (0, 0): 101})


def test_what_waits_travels():
    """To the worker that writes it."""
    sink = Written()

    pickle.loads(pickle.dumps(first_rows())).write(sink, RUNS, STARTS)

    assert [data for *_, data in sink.pieces] == [b"abc", b"de"]


def summary(*sizes, starts=()):
    """Summarise a chunk of two tile rows on level 0 and none on level 1."""
    array = np.array(sizes, np.uint32).reshape(1, 2, -1, 1)
    nothing = np.zeros((1, 0, array.shape[2], 1), np.uint32)
    return Summary({0: array, 1: nothing}, None, 0, None, None, dict(starts))


def test_a_chunk_begins_behind_the_row_above_or_the_chunk_to_the_left():
    """Tiles that are left out take nothing."""
    above = {(0, 4): 50, (1, 4): 9}
    left = summary(10, 0, 20, 30)

    starts = first_starts(above, None, 4, left)
    assert starts == {(0, 4): 50}

    left = summary(10, 0, 20, 30, starts=starts)
    assert first_starts(above, left, 4, summary(1, 2)) == {(0, 4): 50 + 10 + FRAME}


@pytest.mark.parametrize("shift", [0, 1])
def test_a_row_of_chunks_checks_what_was_written_ahead(shift):
    """A chunk that was computed again, with other sizes, moves those beside it."""
    left = summary(10, 20, starts={(0, 0): 50})
    right = summary(1, 2, starts={(0, 0): 50 + 10 + FRAME + shift})
    row = join_summaries([left, right])

    if shift:
        with pytest.raises(SourceChangedError, match="left of chunk 1"):
            place_row({(0, 0): 50}, [row], 0)
        return
    placed = place_row({(0, 0): 50}, [row], 0)
    assert placed.starts[0][0, 0].tolist() == [50, 68]
