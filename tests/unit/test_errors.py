"""The exception tree: by what a caller would do, and able to cross processes."""

from __future__ import annotations

import errno
import inspect
import pickle
import re

import cloudpickle
import pytest

import lazycog
from lazycog import errors

PARENTS = {
    "CogError": (Exception,),
    "InputError": (errors.CogError, ValueError),
    "SourceNotFoundError": (errors.InputError, FileNotFoundError),
    "OptionError": (errors.CogError, ValueError),
    "MissingExtraError": (errors.CogError, ImportError),
    "CapacityError": (errors.CogError,),
    "TileEncodeError": (errors.CogError,),
    "SourceChangedError": (errors.CogError,),
    "SinkError": (errors.CogError, OSError),
    "DestinationExistsError": (errors.SinkError, FileExistsError),
    "CogWarning": (UserWarning,),
}
ARGUMENTS = {
    "TileEncodeError": (2, 10, 3, "zstd: out of memory"),
    "SinkError": (errno.ENOSPC, "could not write", "/data/cog.tif"),
    "DestinationExistsError": (errno.EEXIST, "the destination exists", "/data/a.tif"),
}


def _example(name):
    return getattr(errors, name)(*ARGUMENTS.get(name, ("what is wrong; what to do",)))


def test_the_table_covers_every_class():
    """A new class needs a row here."""
    found = {
        name
        for name, each in inspect.getmembers(errors, inspect.isclass)
        if each.__module__ == errors.__name__
    }

    assert found == set(PARENTS)


@pytest.mark.parametrize("name", PARENTS)
def test_parents(name):
    """Ours first, then Python's own, so that both kinds of except clause work."""
    assert getattr(errors, name).__bases__ == PARENTS[name]


def test_the_docstring_draws_the_tree():
    """Each class once, with its builtin base in brackets."""
    drawn = dict(re.findall(r"[*+-] (\w+)(?: \((\w+)\))?\s", f"{errors.__doc__} "))
    expected = {
        name: "".join(
            base.__name__ for base in bases if base.__module__ == "builtins"
        ).replace("Exception", "")
        for name, bases in PARENTS.items()
        if name != "CogWarning"
    }

    assert drawn | {"CogError": ""} == expected


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("name", PARENTS)
def test_every_class_crosses_processes(name, protocol, pickler):
    """With class, text, arguments, notes and the fields of OSError."""
    error = _example(name)
    error.add_note("lazycog wrote nothing")

    found = pickle.loads(pickler.dumps(error, protocol=protocol))

    assert type(found) is type(error)
    assert (str(found), found.args) == (str(error), error.args)
    assert found.__notes__ == error.__notes__
    for field in ("errno", "strerror", "filename"):
        assert getattr(found, field, None) == getattr(error, field, None)


def test_a_tile_is_named_with_the_remedy():
    """Level, row, col and reason are also arguments, for programs."""
    error = errors.TileEncodeError(2, 10, 3, "zstd: out of memory")

    assert error.args == (2, 10, 3, "zstd: out of memory")
    assert str(error) == (
        "tile (row 10, col 3) of level 2 could not be encoded: zstd: out of memory. "
        "Nothing was written; choose another compress= or level="
    )


def test_a_sink_error_is_an_os_error():
    """With number, text and file name where Python keeps them."""
    error = errors.SinkError(errno.ENOSPC, "could not write", "/data/cog.tif")

    assert (error.errno, error.filename) == (errno.ENOSPC, "/data/cog.tif")
    assert str(error) == "[Errno 28] could not write: '/data/cog.tif'"


@pytest.mark.parametrize("name", sorted(set(PARENTS) & set(lazycog.__all__)))
def test_the_package_exports_the_same_classes(name):
    """No second class of the same name."""
    assert getattr(lazycog, name) is getattr(errors, name)
