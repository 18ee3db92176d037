"""Advice on codecs as a table, as plain values and as a plot."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lazycog._extras import require
from lazycog._views import human_bytes
from lazycog.errors import OptionError, SinkError

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from rich.table import Table

    from lazycog._advice import Advice, Candidate, Figures

MEGA = 1e6
COLUMNS = ("", "file", "ratio", "encode, MB/s", "decode, MB/s", "largest error")
RED, BLUE, GREY = "tab:red", "tab:blue", "0.65"
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
    """Draw a row per candidate: the size of the file, and the rates.

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

    names = [str(each.candidate) for each in advice.figures]
    figure = Figure(figsize=(9, 1.4 + 0.24 * len(names)), layout="constrained")
    sizes, rates = figure.subplots(1, 2, sharey=True)
    _draw_sizes(sizes, advice)
    for marker, name, label in (
        ("o", "encode_rate", "encode"),
        ("D", "decode_rate", "decode"),
    ):
        values = [getattr(each, name) / MEGA for each in advice.figures]
        face = "none" if marker == "D" else None
        rates.plot(values, names, marker, markerfacecolor=face, label=label, color=BLUE)
    rates.set_xscale("log")
    rates.set_xlabel("raw MB/s of one core")
    rates.grid(alpha=0.3)
    figure.suptitle(
        f"{advice.goal}: {advice.chosen.candidate}, {advice.rule}", fontsize=10
    )
    for axes in (sizes, rates):
        axes.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1),
            ncols=3,
            fontsize=8,
            frameon=False,
        )
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise SinkError(error.errno, error.strerror, str(path)) from error


def _draw_sizes(axes: Axes, advice: Advice) -> None:
    """Draw a bar per file, smallest at the top, and its length as a number."""
    names = [str(each.candidate) for each in advice.figures]
    megabytes = [each.file_bytes / MEGA for each in advice.figures]
    colours = [
        RED if each == advice.chosen else BLUE if each.candidate.is_eligible else GREY
        for each in advice.figures
    ]
    texts = {RED: "recommended", BLUE: "others", GREY: "lossy, or not for every reader"}
    bars = axes.barh(names, megabytes, color=colours)
    axes.bar_label(
        bars,
        [human_bytes(each.file_bytes) for each in advice.figures],
        padding=3,
        fontsize=8,
    )
    axes.margins(x=0.18, y=0.02)
    axes.invert_yaxis()
    axes.set_xlabel("file, MB")
    for colour in dict.fromkeys(colours):
        axes.barh(names[0], 0, color=colour, label=texts[colour])
