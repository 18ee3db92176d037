"""Show how far a write is: a bar in a terminal or notebook, or lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lazycog._views import human_bytes, human_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

    from lazycog._watch import ChunkDone

Choice = Literal["auto", True, False]
NOTEBOOK_SECONDS = 0.5
"""Between two updates of a notebook's output, at least."""
LINE_SECONDS = 5.0
"""Between two lines of a log, at least."""
WIDE = 100
"""Columns of a terminal that shows all figures beside the bar."""
NARROW = 50
"""Columns of a terminal that shows the speed, too."""


@dataclass(frozen=True)
class Figures:
    """How far a write is."""

    tiles: int
    total: int
    raw_bytes: int
    encoded_bytes: int
    seconds: float
    unit: str = "tiles"
    """What is counted."""

    @property
    def share(self) -> float:
        """Part of the tiles that is done, 0 to 1."""
        return min(1.0, self.tiles / self.total) if self.total else 1.0

    @property
    def rates(self) -> str:
        """Speed in and out, and the compression ratio."""
        if not self.tiles or self.seconds <= 0:
            return "waiting for the first chunk"
        read = human_bytes(self.raw_bytes / self.seconds)
        if not self.encoded_bytes:
            return f"{read}/s"
        written = human_bytes(self.encoded_bytes / self.seconds)
        ratio = self.raw_bytes / self.encoded_bytes
        return f"{read}/s in, {written}/s out, ratio {ratio:.2f}"

    @property
    def speed(self) -> str:
        """Speed in, for narrow terminals."""
        return self.rates.partition(" in,")[0]

    @property
    def time_left(self) -> str:
        """Expected time to the end, empty where nothing tells it."""
        if not self.tiles:
            return ""
        return f"{human_seconds(self.seconds * (1 / self.share - 1))} left"

    def __str__(self) -> str:
        """One line with everything."""
        done = f"{self.tiles}/{self.total} {self.unit} ({self.share:.0%})"
        return ", ".join(filter(None, (done, self.rates, self.time_left)))


class Display(Protocol):
    """Something that shows figures."""

    def start(self, figures: Figures) -> None:
        """Appear."""

    def update(self, figures: Figures) -> None:
        """Show newer figures; cheap, called once per chunk."""

    def stop(self, figures: Figures, *, finished: bool) -> None:
        """Leave the last figures behind."""


@contextmanager
def shown(
    tiles: int,
    choice: Choice,
    *,
    label: str = "writing",
    unit: str = "tiles",
) -> Iterator[Callable[[ChunkDone], None] | None]:
    """Show the progress of a write while the block runs.

    Parameters
    ----------
    tiles : int
        How many the write makes.
    choice : {"auto", True, False}
        The ``progress`` option.
    label : str
        Stands before the bar.
    unit : str
        What is counted.

    Yields
    ------
    callable or None
        Takes the events of :func:`lazycog._watch.watch`; None when nothing is shown.
    """
    display = choose_display(choice, label)
    if display is None:
        yield None
        return
    meter = Meter(tiles, display, unit)
    display.start(meter.figures())
    finished = False
    try:
        yield meter.add
        finished = True
    finally:
        meter.stop(finished=finished)


def choose_display(choice: Choice, label: str) -> Display | None:
    """Choose how to show progress here.

    Parameters
    ----------
    choice : {"auto", True, False}
        The ``progress`` option.
    label : str
        Stands before the bar.

    Returns
    -------
    Display or None
        None where there is neither a terminal nor a notebook, unless forced.
    """
    if choice is False:
        return None
    if in_notebook():
        return NotebookLine(label)
    if sys.stderr is not None and sys.stderr.isatty():
        return TerminalBar(label)
    return LogLines(label) if choice is True else None


def in_notebook() -> bool:
    """Say whether an IPython kernel runs this, as in Jupyter.

    Returns
    -------
    bool
        False in a terminal, with or without IPython.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Meter:
    """Adds events up, from any thread, and hands figures to a display."""

    def __init__(self, total: int, display: Display, unit: str = "tiles") -> None:
        self._display = display
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._figures = Figures(0, total, 0, 0, 0.0, unit)
        self._stopped = False

    def figures(self) -> Figures:
        """Give the figures of now."""
        return replace(self._figures, seconds=time.monotonic() - self._started)

    def add(self, event: ChunkDone) -> None:
        """Count a chunk."""
        with self._lock:
            before = self._figures
            self._figures = replace(
                before,
                tiles=before.tiles + event.tiles,
                raw_bytes=before.raw_bytes + event.raw_bytes,
                encoded_bytes=before.encoded_bytes + event.encoded_bytes,
            )
            if not self._stopped:
                self._display.update(self.figures())

    def stop(self, *, finished: bool) -> None:
        """End the display; events that come late are counted no more."""
        with self._lock:
            self._stopped = True
            figures = self.figures()
            if finished:  # the last events of a cluster may still be on their way
                figures = replace(figures, tiles=figures.total)
            self._display.stop(figures, finished=finished)


class TerminalBar:
    """A bar of rich on standard error."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._progress: Progress | None = None
        self._columns = WIDE

    def start(self, figures: Figures) -> None:
        """Draw the empty bar; rich redraws it from a thread of its own."""
        from rich.console import Console  # noqa: PLC0415 - only when shown
        from rich.progress import (  # noqa: PLC0415 - only when shown
            BarColumn,
            Progress,
            TextColumn,
        )

        console = Console(stderr=True)
        self._columns = console.width
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[rates]}", markup=False),
            TextColumn("{task.fields[time_left]}", markup=False),
            console=console,
            # what goes to a pipe must not come out of standard error
            redirect_stdout=sys.stdout.isatty(),
        )
        self._progress.add_task(
            self._label,
            total=figures.total,
            rates=self._rates(figures),
            time_left=figures.time_left,
            unit=figures.unit,
        )
        self._progress.start()

    def update(self, figures: Figures) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(
                self._progress.task_ids[0],
                completed=figures.tiles,
                rates=self._rates(figures),
                time_left=figures.time_left,
            )

    def stop(self, figures: Figures, *, finished: bool) -> None:
        """Draw the bar for the last time and give the cursor back."""
        if self._progress is None:
            return
        self.update(figures)
        ended = f"in {human_seconds(figures.seconds)}" if finished else "stopped"
        self._progress.update(self._progress.task_ids[0], time_left=ended)
        self._progress.stop()

    def _rates(self, figures: Figures) -> str:
        if self._columns < NARROW:
            return ""
        return figures.rates if self._columns >= WIDE else figures.speed


class NotebookLine:
    """An output of a notebook that updates itself; it needs no widgets."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._handle: Any = None
        self._shown = 0.0

    def start(self, figures: Figures) -> None:
        """Show the empty bar."""
        from IPython.display import display  # noqa: PLC0415 - only in a notebook

        self._handle = display(
            self._bundle(figures, str(figures)), raw=True, display_id=True
        )
        self._shown = figures.seconds

    def update(self, figures: Figures) -> None:
        """Replace the output, twice a second at most."""
        if figures.seconds - self._shown >= NOTEBOOK_SECONDS:
            self._shown = figures.seconds
            self._handle.update(self._bundle(figures, str(figures)), raw=True)

    def stop(self, figures: Figures, *, finished: bool) -> None:
        """Replace the output for the last time."""
        text = _last_words(figures, finished=finished)
        self._handle.update(self._bundle(figures, text), raw=True)

    def _bundle(self, figures: Figures, text: str) -> dict[str, str]:
        line = f"{self._label}: {text}"
        bar = f'<progress max="1" value="{figures.share:.4f}"></progress>'
        return {"text/plain": line, "text/html": f"<div>{bar} {escape(line)}</div>"}


class LogLines:
    """A line every few seconds on standard error."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._shown = 0.0

    def start(self, figures: Figures) -> None:
        """Write the first line."""
        self._write(f"{figures.total} {figures.unit} to go")

    def update(self, figures: Figures) -> None:
        """Write a line when the last one is old enough."""
        if figures.seconds - self._shown >= LINE_SECONDS:
            self._shown = figures.seconds
            self._write(str(figures))

    def stop(self, figures: Figures, *, finished: bool) -> None:
        """Write the last line."""
        self._write(_last_words(figures, finished=finished))

    def _write(self, text: str) -> None:
        print(f"{self._label}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its purpose


def _last_words(figures: Figures, *, finished: bool) -> str:
    seconds = human_seconds(figures.seconds)
    if finished:
        return f"{figures.total} {figures.unit} in {seconds}, {figures.rates}"
    done = f"{figures.tiles}/{figures.total} {figures.unit}"
    return f"stopped at {done} after {seconds}"
