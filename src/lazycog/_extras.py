"""Optional dependencies: whether they are there, told before they are used."""

from __future__ import annotations

from importlib import import_module

from lazycog.errors import MissingExtraError


def require(module: str, message: str) -> None:
    """Import an optional dependency.

    Parameters
    ----------
    module : str
        Its full name.
    message : str
        What needs it and how it is installed; "{error}" stands for what the import
        said.

    Raises
    ------
    MissingExtraError
        It cannot be imported.
    """
    try:
        import_module(module)
    except ImportError as error:
        raise MissingExtraError(message.replace("{error}", str(error))) from error
