"""Find and remove what killed writes to one destination left behind."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazycog._destination import is_url, stale_of_store
from lazycog.errors import OptionError
from lazycog.sinks._protocol import Leftover
from lazycog.sinks.local import LocalSink

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def abort_stale(
    dst: str | os.PathLike[str],
    *,
    older_than: str = "7d",
    storage_options: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> list[Leftover]:
    """Remove uploads, folders and journals that killed writes to a destination left.

    Parameters
    ----------
    dst : path or URL
        The destination; its neighbours are not looked at.
    older_than : str
        Least age, so that a write that is running is left alone: a number with s, m, h
        or d.
    storage_options : mapping, optional
        Options of the destination's file system, as fsspec takes them.
    dry_run : bool
        List, but remove nothing.

    Returns
    -------
    list of Leftover
        What was found, and removed but for a dry run.

    Raises
    ------
    OptionError
        An age that is none, or a URL that lazycog does not write to.

    Examples
    --------
    >>> abort_stale("no-such-file.tif")
    []
    """
    age = seconds(older_than)
    text = os.fspath(dst)
    if is_url(text):
        return stale_of_store(text, storage_options or {}, age, dry_run=dry_run)
    if storage_options is not None:
        raise OptionError(
            f"storage_options cannot work with the path dst={text!r}; drop them"
        )
    return _folders(text.removeprefix("file://"), age, dry_run=dry_run)


def seconds(age: str) -> float:
    """Turn an age into seconds.

    Raises
    ------
    OptionError
        It is none.

    Examples
    --------
    >>> seconds("7d"), seconds("1.5h")
    (604800.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", str(age))
    if found is None:
        raise OptionError(
            f"older_than={age!r}: give a number with s, m, h or d, for example '7d'"
        )
    return float(found[1]) * UNITS[found[2]]


def _folders(path: str, age: float, *, dry_run: bool) -> list[Leftover]:
    """Find temporary folders of a file."""
    whole = Path(os.path.realpath(Path(path).expanduser()))
    pattern = LocalSink(str(whole), "*").folder.name
    found = []
    for folder in sorted(whole.parent.glob(_escaped(pattern))):
        newest = max(
            (each.stat().st_mtime for each in folder.glob("*")),
            default=folder.stat().st_mtime,
        )
        since = time.time() - newest
        if since >= age:
            found.append(Leftover("folder", str(folder), since))
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
    return found


def _escaped(pattern: str) -> str:
    """Take the characters of a name as they are, but for the star at the end."""
    return re.sub(r"([\[\]?*])", r"[\1]", pattern.removesuffix("*")) + "*"
