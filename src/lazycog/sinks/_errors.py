"""What file systems and cloud clients raise, and one clear error instead of it."""

from __future__ import annotations

import errno
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lazycog.errors import CogError, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUILT_IN = (
    OSError,  # with timeouts, fsspec's too
    EOFError,
    LookupError,  # an answer that lacks a field
    RuntimeError,  # an operation that is not implemented, a loop that is closed
    TypeError,  # a storage option that a client does not know
    ValueError,
)
CLIENTS = {
    "aiohttp": ("ClientError",),  # under s3fs, gcsfs, adlfs and http
    "azure.core.exceptions": ("AzureError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "botocore.parsers": ("ResponseParserError",),
    "ftplib": ("Error",),
    "gcsfs.retry": ("HttpError", "ChecksumError", "NonRetryableError"),
    "google.auth.exceptions": ("GoogleAuthError",),
    "http.client": ("HTTPException",),
    "paramiko": ("SSHException",),  # sftp
    "pyarrow.lib": ("ArrowException",),  # hdfs
    "smbprotocol.exceptions": ("SMBException",),
}
"""Module -> the classes from which its other errors come, where those are not built in.
"""


NAMED_WORKERS = 3
"""An error names as many of them, and counts the others."""


def listed(workers: Sequence[str]) -> str:
    """List workers in an error.

    Examples
    --------
    >>> listed(["a", "b"]), listed(["a", "b", "c", "d"])
    ('a, b', 'a, b, c and 1 more')
    """
    more = len(workers) - NAMED_WORKERS
    return ", ".join(workers[:NAMED_WORKERS]) + (
        f" and {more} more" if more > 0 else ""
    )


def client_errors() -> tuple[type[Exception], ...]:
    """Give the classes to catch around a call of a file system or client.

    Returns
    -------
    tuple of type
        Of the modules that are loaded: the others cannot have raised anything.

    Examples
    --------
    >>> try:
    ...     raise TimeoutError("the store does not answer")
    ... except client_errors() as error:
    ...     print(error)
    the store does not answer
    """
    loaded = [
        getattr(sys.modules[module], name)
        for module, names in CLIENTS.items()
        if module in sys.modules
        for name in names
        if hasattr(sys.modules[module], name)
    ]
    return (*BUILT_IN, *loaded)


@contextmanager
def refused(action: str, path: str, remark: str = "") -> Iterator[None]:
    """Turn what a file system or client raises into one clear error.

    Parameters
    ----------
    action : str
        What is tried, for "could not ...".
    path : str
        Path or URL, without credentials.
    remark : str
        How things are afterwards.

    Yields
    ------
    None
        Errors of our own, and errors of our code, go on as they are.

    Raises
    ------
    SinkError
        The call failed; what it raised is the cause.
    """
    try:
        yield
    except client_errors() as error:
        if isinstance(error, CogError):
            raise
        reason = str(error).partition("\n")[0]
        raise SinkError(
            getattr(error, "errno", None) or errno.EIO,
            f"could not {action}: {type(error).__name__}: {reason}"
            + (f"; {remark}" if remark else ""),
            path,
        ) from error
