"""Advice on codecs as a table, as plain values and as a plot."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lazycog._extras import require
from lazycog._views import human_bytes
from lazycog.errors import OptionError, SinkError

if TYPE_CHECKING:
    import os

    from rich.table import Table

    from lazycog._advice import Advice, Candidate, Figures

MEGA = 1e6
COLUMNS = ("", "file", "ratio", "encode, MB/s", "decode, MB/s", "largest error")
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


def table(advice: Advice) -> Table:
    """Lay the figures out for a terminal, smallest file first.

    Parameters
    ----------
    advice : Advice
        The figures.

    Returns
    -------
    Table
        Of rich; the recommended row has a mark.
    """
    from rich.table import Table  # noqa: PLC0415 - only in a terminal

    sampled = human_bytes(advice.sampled_bytes)
    shown = Table(
        title=f"{human_bytes(advice.raw_bytes)} raw, {advice.samples} samples of "
        f"{sampled} together; rates of one core",
        title_justify="left",
    )
    for number, column in enumerate(COLUMNS):
        shown.add_column(column, justify="right" if number else "left")
    for each in advice.figures:
        mark = "> " if each == advice.chosen else "  "
        shown.add_row(
            mark + str(each.candidate),
            human_bytes(each.file_bytes),
            f"{each.ratio:.2f}",
            f"{each.encode_rate / MEGA:.0f}",
            f"{each.decode_rate / MEGA:.0f}",
            f"{each.max_error:g}",
        )
    return shown


def verdict(advice: Advice) -> str:
    """Say what is recommended, and by which rule."""
    text = f"{advice.goal}: {flags(advice.chosen.candidate)}\n({advice.rule})"
    for name, reason in advice.skipped.items():
        text += f"\nnot tried: {name}: {reason.partition(';')[0]}"
    return text


def flags(candidate: Candidate) -> str:
    """Write a candidate as flags of the command line.

    Examples
    --------
    >>> from lazycog._advice import Candidate
    >>> flags(Candidate("zstd", 9, max_z_error=0.5))
    '--compress zstd --level 9 --max-z-error 0.5'
    >>> flags(Candidate("webp", lossless=True))
    '--compress webp --lossless'
    """
    words = []
    for name, value in candidate.options.items():
        flag = "--" + name.replace("_", "-")
        words.append(flag if value is True else f"{flag} {value}")
    return " ".join(words)


def values(advice: Advice) -> dict[str, Any]:
    """Give plain values that go through JSON.

    Parameters
    ----------
    advice : Advice
        The figures.

    Returns
    -------
    dict
        Rates in bytes per second.
    """
    return {
        "goal": advice.goal,
        "rule": advice.rule,
        "recommended": advice.chosen.candidate.options,
        "raw_bytes": advice.raw_bytes,
        "sampled_bytes": advice.sampled_bytes,
        "samples": advice.samples,
        "candidates": [_figures_values(each) for each in advice.figures],
        "skipped": dict(advice.skipped),
    }


def _figures_values(each: Figures) -> dict[str, Any]:
    found = asdict(each)
    return {
        "options": each.candidate.options,
        **found,
        "candidate": str(each.candidate),
    }


def check_plot(path: str | os.PathLike[str]) -> None:
    """Refuse a plot that cannot be drawn, before anything is measured.

    Parameters
    ----------
    path : path
        Of the picture.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    OptionError
        The name has another ending.
    """
    require(
        "matplotlib",
        "a plot needs matplotlib ({error}): pip install 'lazycog[plot]', or "
        "drop --plot",
    )
    if not str(path).lower().endswith(PLOT_SUFFIXES):
        raise OptionError(
            f"plot {str(path)!r}: the name must end in {', '.join(PLOT_SUFFIXES)}"
        )


def plot(advice: Advice, path: str | os.PathLike[str]) -> None:
    """Draw the size of the file against the rate of encoding.

    Parameters
    ----------
    advice : Advice
        The figures.
    path : path
        A picture that ends in .png, .svg or .pdf.

    Raises
    ------
    SinkError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for each in advice.figures:
        place = each.encode_rate / MEGA, each.file_bytes / MEGA
        colour = "tab:red" if each == advice.chosen else "tab:blue"
        axes.plot(*place, "o" if each.candidate.is_bounded else "x", color=colour)
        axes.annotate(
            str(each.candidate),
            place,
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=7,
            color=colour,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("encode, MB/s of one core")
    axes.set_ylabel("file, MB")
    axes.set_title(f"red: {advice.rule}", loc="left", fontsize=9)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise SinkError(error.errno, error.strerror, str(path)) from error
