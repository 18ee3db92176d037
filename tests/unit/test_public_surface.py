"""What users and tools may rely on: names, signatures, packaging and layers."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import inspect
import pickle
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import xarray as xr

import lazycog
from lazycog._options import OptionDict

ROOT = Path(__file__).parents[2]
NAMES = [
    "CapacityError",
    "CogError",
    "CogOptions",
    "CogPlan",
    "CogResult",
    "CogWarning",
    "DestinationExistsError",
    "InputError",
    "MissingExtraError",
    "OptionError",
    "Report",
    "SinkError",
    "SourceChangedError",
    "SourceNotFoundError",
    "TileEncodeError",
    "abort",
    "abort_stale",
    "open_cog",
    "plan",
    "quicklook",
    "read_window",
    "to_cog",
    "to_cogs",
    "to_tiled_geotiff",
    "validate",
]
TOP_LEVEL = {
    "LICENSE",
    "README.md",
    "deploy",
    "notebooks",
    "pyproject.toml",
    "src",
    "tests",
}
LEFT_BEHIND = {"build", "dist", "lazycog-demo"}
"""What building and the README's commands may leave in a clone."""
FUNCTIONS = [
    lazycog.to_cog,
    lazycog.to_cogs,
    lazycog.to_tiled_geotiff,
    lazycog.plan,
    lazycog.validate,
    lazycog.open_cog,
    lazycog.quicklook,
    lazycog.read_window,
]
WRITERS = [
    lazycog.to_cog,
    lazycog.to_cogs,
    lazycog.to_tiled_geotiff,
    lazycog.plan,
    lazycog.quicklook,
]
CLASSES = [
    each
    for each in map(lazycog.__dict__.get, lazycog.__all__)
    if isinstance(each, type)
]
ERRORS = [each for each in CLASSES if issubclass(each, lazycog.CogError)]


def _run(*command):
    return subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _sections(thing):
    """Give the sections of a numpydoc docstring: title -> text."""
    parts = re.split(r"^(\w[\w ]*)\n-+$", inspect.getdoc(thing), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_exported_names_are_pinned():
    """A new name is a decision, a lost one breaks somebody."""
    assert lazycog.__all__ == NAMES
    assert all(hasattr(lazycog, name) for name in NAMES)


def test_version_is_that_of_the_distribution():
    """One number, in two files."""
    assert lazycog.__version__ == importlib.metadata.version("lazycog")


@pytest.mark.parametrize(
    "function",
    [
        lazycog.to_cog,
        lazycog.plan,
        xr.DataArray.geo.to_cog,
        xr.DataArray.geo.plan,
    ],
    ids=["to_cog", "plan", "geo.to_cog", "geo.plan"],
)
def test_signature_names_every_option(function):
    """For help() and tab completion: keywords, each with the default of CogOptions."""
    parameters = inspect.signature(function).parameters

    for option in fields(lazycog.CogOptions):
        assert parameters[option.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[option.name].default == option.default


@pytest.mark.parametrize("kind", [xr.DataArray, xr.Dataset])
@pytest.mark.parametrize("function", WRITERS, ids=lambda each: each.__name__)
def test_accessors_have_the_arguments_of_the_functions(function, kind):
    """But for the raster, which is the object; help() shows them all."""
    method = getattr(kind.geo, function.__name__)
    _, *own = inspect.signature(method).parameters.values()
    _, *others = inspect.signature(function).parameters.values()

    assert own == others
    assert f"lazycog.{function.__name__}" in inspect.getdoc(method)


def test_options_for_type_checkers_are_complete():
    """The TypedDict of keywords and the dataclass have the same fields."""
    names = {each.name for each in fields(lazycog.CogOptions)}

    assert set(OptionDict.__annotations__) == names


@pytest.mark.parametrize("function", [lazycog.to_cog, lazycog.plan, lazycog.validate])
def test_at_most_two_arguments_have_a_position(function):
    """Everything else is said by name."""
    positional = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]

    assert len(positional) <= 2


def test_importing_registers_the_accessors():
    """In a fresh interpreter, and without any warning."""
    code = "import lazycog, xarray as xr; xr.DataArray.geo.to_cog; xr.Dataset.geo.plan"

    result = _run(sys.executable, "-W", "error", "-c", code)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_type_information_is_installed():
    """`py.typed` is in the package that is tested, a wheel in CI."""
    assert importlib.resources.files("lazycog").joinpath("py.typed").is_file()


def test_wheel_holds_the_package_alone():
    """No tests or stray modules beside it."""
    files = importlib.metadata.files("lazycog") or []
    tops = {each.parts[0] for each in files if each.suffix in {".py", ".typed"}}

    assert tops <= {"lazycog", "_lazycog.py"}  # the latter in editable installs


def test_top_level_of_the_repository_is_tidy():
    """What a visitor sees first is the README."""
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}

    assert found - LEFT_BEHIND <= TOP_LEVEL


def test_imports_point_down():
    """The contracts in pyproject.toml hold."""
    command = Path(sys.executable).with_name("lint-imports")

    result = _run(str(command), "--no-cache")

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.__name__)
def test_functions_are_documented(function):
    """Every parameter, the result, and an example that doctest runs."""
    sections = _sections(function)
    described = re.findall(r"^\**(\w+)(?: :|$)", sections["Parameters"], re.MULTILINE)
    options = {each.name for each in fields(lazycog.CogOptions)}
    given = set(inspect.signature(function).parameters)

    if "options" in described:
        given = given - options | {"options"}
    assert set(described) == given
    assert sections["Returns"].strip()
    assert ">>> " in sections["Examples"]


@pytest.mark.parametrize("function", [lazycog.to_cog, lazycog.plan])
def test_errors_are_documented(function):
    """Those that a caller may want to handle, by name."""
    raised = re.findall(r"^(\w+)$", _sections(function)["Raises"], re.MULTILINE)

    assert set(raised) >= {"InputError", "OptionError", "CapacityError"}
    assert all(name in lazycog.__all__ for name in raised)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_classes_and_their_public_members_are_documented(cls):
    """A docstring of its own, not an inherited one."""
    members = [
        member
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and isinstance(member, property | classmethod | staticmethod | type(_run))
    ]

    assert cls.__doc__
    assert all(inspect.getdoc(member) for member in members)


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_errors_cross_processes(cls):
    """They come back as they were raised on a worker."""
    arguments = (1, 2, 3, "why") if cls is lazycog.TileEncodeError else ("why",)
    error = cls(*arguments)

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls
    assert str(copy) == str(error)
