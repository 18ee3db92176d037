"""Progress of a write: what is counted, and how it is shown."""

from __future__ import annotations

import io
import re
import sys
import types

import dask
import numpy as np
import pytest

import lazycog
import oracles
from lazycog import _progress, _raster, _watch, _write
from lazycog._watch import ChunkDone

PIXELS = np.arange(2 * 700 * 900, dtype="uint16").reshape(2, 700, 900)


def lazy_raster(pixels=PIXELS):
    return oracles.raster(pixels).chunk({"y": 300, "x": 300})


class Recorder:
    """A display that keeps what it is told."""

    def __init__(self):
        self.calls = []

    def start(self, figures):
        self.calls.append(("start", figures))

    def update(self, figures):
        self.calls.append(("update", figures))

    def stop(self, figures, *, finished):
        self.calls.append(("finished" if finished else "stopped", figures))

    @property
    def names(self):
        return [name for name, _ in self.calls]


@pytest.fixture
def recorder(monkeypatch):
    display = Recorder()
    monkeypatch.setattr(_progress, "choose_display", lambda *_: display)
    return display


class Screen(io.StringIO):
    def __init__(self, *, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


def in_kernel(monkeypatch, handle=None):
    """Pretend that an IPython kernel runs this."""
    shell = type("ZMQInteractiveShell", (), {})()
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    display = types.ModuleType("IPython.display")
    display.display = lambda data, **_: handle.shown.append(data) or handle
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_all_tiles_and_source_bytes_are_counted_once(tmp_path, recorder, scheduler):
    with dask.config.set(scheduler=scheduler, num_workers=2):
        result = lazycog.to_cog(lazy_raster(), tmp_path / "a.tif", blocksize=128)

    assert recorder.names[0] == "start"
    assert recorder.names[-1] == "finished"
    last = [figures for name, figures in recorder.calls if name == "update"][-1]
    assert last.tiles == last.total == result.tiles
    assert last.raw_bytes == PIXELS.nbytes
    assert last.encoded_bytes == sum(level.encoded_bytes for level in result.levels)


def test_progress_does_not_change_the_file(tmp_path, recorder):
    lazycog.to_cog(lazy_raster(), tmp_path / "a.tif")
    lazycog.to_cog(lazy_raster(), tmp_path / "b.tif", progress=False)

    assert recorder.names[-1] == "finished"
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_display_stops_when_the_write_fails(tmp_path, recorder, error):
    def fail(_):
        raise error("no pixels today")

    pixels = lazy_raster().data.map_blocks(fail, meta=np.empty((0, 0, 0), "uint16"))

    with dask.config.set(scheduler="synchronous"), pytest.raises(error, match="today"):
        lazycog.to_cog(lazy_raster(pixels), tmp_path / "a.tif")

    assert recorder.names[-1] == "stopped"
    assert not list(tmp_path.iterdir())


def test_lazy_write_shows_nothing(tmp_path, recorder):
    lazycog.to_cog(lazy_raster(), tmp_path / "a.tif", compute=False)

    assert recorder.calls == []


def test_other_writes_at_the_same_time_are_not_counted(tmp_path):
    events = []
    options = lazycog.CogOptions(progress=False)
    raster = _raster.as_raster(lazy_raster(), options)
    plan = _write.plan(raster, options)

    with _watch.watch(plan, "another", events.append):
        _write.write(raster, tmp_path / "a.tif", options, compute=True)

    assert events == []


def test_message_that_comes_twice_or_late_is_ignored():
    events = []
    plan = lazycog.plan(lazy_raster())
    counter = _watch._Counter(plan, events.append)

    counter.receive((0.0, [0, 0, 0, 0, 8, 100]))
    counter.receive((0.1, [0, 0, 0, 0, 8, 100]))
    counter.receive((0.2, [1, 0, 0, 0, 1, 10]))
    counter.close()
    counter.receive((0.3, [0, 0, 0, 1, 8, 100]))

    assert events == [ChunkDone(0, 8, PIXELS.nbytes, 100), ChunkDone(1, 1, 0, 10)]


@pytest.mark.distributed
def test_workers_of_a_cluster_tell_the_client(tmp_path, recorder):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    )

    with cluster, distributed.Client(cluster):
        result = lazycog.to_cog(lazy_raster(), tmp_path / "a.tif", blocksize=128)

    assert recorder.names[-1] == "finished"
    assert recorder.calls[-1][1].tiles == result.tiles


@pytest.mark.parametrize(
    ("choice", "tty", "kind"),
    [
        ("auto", True, _progress.TerminalBar),
        ("auto", False, type(None)),
        (True, True, _progress.TerminalBar),
        (True, False, _progress.LogLines),
        (False, True, type(None)),
    ],
)
def test_display_suits_standard_error(monkeypatch, choice, tty, kind):
    monkeypatch.setattr(sys, "stderr", Screen(tty=tty))

    assert type(_progress.choose_display(choice, "writing")) is kind


@pytest.mark.parametrize("choice", ["auto", True])
def test_notebook_shows_its_own_output(monkeypatch, choice):
    in_kernel(monkeypatch)

    display = _progress.choose_display(choice, "writing")

    assert type(display) is _progress.NotebookLine


def test_terminal_bar_shows_tiles_and_ends_with_a_new_line(monkeypatch):
    screen = Screen(tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    plan = lazycog.plan(lazy_raster())

    with _progress.shown(plan.total_tiles, choice=True) as on_chunk:
        on_chunk(ChunkDone(0, 1, 2_000_000, 1_000_000))

    assert f"{plan.total_tiles}/{plan.total_tiles} tiles" in screen.getvalue()
    assert "ratio 2.00" in screen.getvalue()
    assert screen.getvalue().endswith(("\n", "\x1b[?25h"))


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
def test_terminal_bar_fits_one_line(monkeypatch, columns):
    screen = Screen(tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")

    with _progress.shown(1000, choice=True) as on_chunk:
        on_chunk(ChunkDone(0, 400, 200_000_000, 61_000_000))

    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = re.split(r"[\r\n]+", text.rstrip())[-1]
    assert "1000/1000 tiles" in last
    assert ("B/s" in last) == (columns >= 60)
    assert "left" not in last  # it says how long it took
    assert re.search(r" in \d\S* s\s*$", last)
    assert "\u2026" not in last  # nothing is cut
    assert len(last.rstrip()) <= columns


def test_log_lines_begin_at_once_and_end_with_a_sum(monkeypatch):
    screen = Screen(tty=False)
    monkeypatch.setattr(sys, "stderr", screen)
    plan = lazycog.plan(lazy_raster())

    with _progress.shown(plan.total_tiles, choice=True):
        first = screen.getvalue()

    assert first == f"writing: {plan.total_tiles} tiles to go\n"
    assert f"writing: {plan.total_tiles} tiles in " in screen.getvalue()


def test_log_lines_say_where_they_stopped(monkeypatch):
    screen = Screen(tty=False)
    monkeypatch.setattr(sys, "stderr", screen)
    plan = lazycog.plan(lazy_raster())

    def interrupted():
        with _progress.shown(plan.total_tiles, choice=True) as on_chunk:
            on_chunk(ChunkDone(0, 1, 10, 5))
            raise KeyboardInterrupt("now")

    with pytest.raises(KeyboardInterrupt, match="now"):
        interrupted()

    assert f"stopped at 1/{plan.total_tiles} tiles" in screen.getvalue()


def test_log_lines_are_seconds_apart(capsys):
    lines = _progress.LogLines("writing")

    for seconds in (0.5, 4.9, 5.1, 6.0, 10.2):
        lines.update(_progress.Figures(1, 10, 100, 50, seconds))

    assert capsys.readouterr().err.count("\n") == 2


def test_notebook_output_replaces_itself(monkeypatch):
    handle = types.SimpleNamespace(shown=[])
    handle.update = lambda data, **_: handle.shown.append(data)
    in_kernel(monkeypatch, handle)
    line = _progress.NotebookLine("<writing>")

    line.start(_progress.Figures(0, 10, 0, 0, 0.0))
    line.update(_progress.Figures(1, 10, 100, 50, 0.1))
    line.stop(_progress.Figures(10, 10, 1000, 500, 2.0), finished=True)

    assert len(handle.shown) == 2
    assert 'value="1.0000"' in handle.shown[-1]["text/html"]
    assert "&lt;writing&gt;: 10 tiles in 2.0 s" in handle.shown[-1]["text/html"]


def test_figures_give_rates_ratio_and_time_left():
    figures = _progress.Figures(25, 100, 8_000_000, 2_000_000, 2.0)

    assert str(figures) == (
        "25/100 tiles (25%), 4.00 MB/s in, 1.00 MB/s out, ratio 4.00, 6.0 s left"
    )
