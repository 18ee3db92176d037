"""Warnings that name the caller's own line, whichever way led here."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from lazycog.errors import CogWarning

OWN_FOLDER = str(Path(__file__).parent)


def warn(text: str) -> None:
    """Give a CogWarning at the nearest line that is not lazycog's.

    Parameters
    ----------
    text : str
        What was decided, and the remedy.
    """
    level, frame = 1, sys._getframe()  # noqa: SLF001 - what the module warnings uses
    while frame.f_back and frame.f_code.co_filename.startswith(OWN_FOLDER):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, CogWarning, stacklevel=level)
