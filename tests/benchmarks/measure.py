"""Run a command as a process, and measure it and everything that it starts.

Linux alone: the figures come from ``/proc`` and ``wait4``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INTERVAL = 0.05
"""Seconds between two looks at the memory of the tree."""
ERROR_CHARACTERS = 400
"""Kept of what a failed process says last."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What a process took, its children included."""

    wall: float
    """Seconds from start to end, Python's own start among them."""
    cpu: float
    """Seconds, user and system, of the process and of every child."""
    peak_rss: int
    """Largest sum of the resident bytes of all processes at one time; pages that
    processes share count once for each."""
    written: int
    """Bytes that a disk was or will be given: ``write_bytes`` of /proc/PID/io, less the
    ``cancelled_write_bytes`` of files that were removed before they got there."""
    output: str
    """What the process printed."""
    error: str | None
    """Its last words, None after a success."""


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float
) -> Usage:
    """Run a command to its end and measure it.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    env : mapping, optional
        Added to this process's environment.
    timeout : float
        Seconds until the tree is killed, and the run has failed.

    Returns
    -------
    Usage
        Also of a run that failed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        ended = threading.Event()
        threading.Thread(target=_wait, args=(process.pid, ended), daemon=True).start()
        peak, late = 0, False
        while not ended.wait(INTERVAL):
            peak = max(peak, sum(map(_resident, _tree(process.pid))))
            if time.perf_counter() - start > timeout and not late:
                late = True
                os.killpg(process.pid, signal.SIGKILL)
        wall = time.perf_counter() - start
        # the counters of a process that is not yet reaped hold those of its children
        written = _written(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output, said = (_text(each) for each in (out, err))
    error = None
    if late:
        error = f"killed after {timeout:g} s"
    elif process.returncode:
        last = said.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        error = last[0][:ERROR_CHARACTERS]
    scale = 1 if sys.platform == "darwin" else 1024
    return Usage(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        # the kernel knows the peak of a single process between two looks
        peak_rss=max(peak, usage.ru_maxrss * scale),
        written=written,
        output=output,
        error=error,
    )


def cpu_seconds(pid: int) -> float:
    """Give user and system seconds of a process that runs."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait(pid: int, ended: threading.Event) -> None:
    """Tell when a process has ended, and leave it to be reaped."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    ended.set()


def _tree(pid: int) -> Iterator[int]:
    """Give a process and all below it."""
    yield pid
    for task in _listed(f"/proc/{pid}/task"):
        for child in _read(f"/proc/{pid}/task/{task}/children").split():
            yield from _tree(int(child))


def _resident(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE if fields else 0


def _written(pid: int) -> int:
    """Give what is on a disk, or will be: not what was removed before it got there."""
    found = dict.fromkeys(("write_bytes", "cancelled_write_bytes"), 0)
    for line in _read(f"/proc/{pid}/io").splitlines():
        name, _, value = line.partition(": ")
        if name in found:
            found[name] = int(value)
    return found["write_bytes"] - found["cancelled_write_bytes"]


def _listed(folder: str) -> list[str]:
    try:
        return [each.name for each in Path(folder).iterdir()]
    except OSError:  # it has ended meanwhile
        return []


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:  # it has ended meanwhile
        return ""


def _text(file: object) -> str:
    file.seek(0)  # type: ignore[attr-defined]
    return file.read().decode(errors="replace")  # type: ignore[attr-defined,no-any-return]
