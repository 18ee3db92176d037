"""Try a request again when the store is busy or the line broke, and only then."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from lazycog.sinks._errors import client_errors

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
ATTEMPTS = 7
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 20.0


def retried(
    operation: Callable[[], Result],
    is_transient: Callable[[Exception], bool],
    attempts: int = ATTEMPTS,
) -> Result:
    """Call until it works, with longer and longer waits.

    Parameters
    ----------
    operation : callable
        Safe to repeat.
    is_transient : callable
        Whether an error may go away by itself.
    attempts : int
        How often to call at most.

    Returns
    -------
    object
        What the operation returned; its last error goes on.

    Examples
    --------
    >>> retried(lambda: 3, lambda error: True)
    3
    """
    wait = FIRST_WAIT_SECONDS
    for _ in range(attempts - 1):
        try:
            return operation()
        except client_errors() as error:
            if not is_transient(error):
                raise
        # not all workers at once
        time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)
    return operation()
