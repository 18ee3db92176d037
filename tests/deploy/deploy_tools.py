"""What the checks share: the files, the tools, and the commands that files may name."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
ALL_TOOLS = os.environ.get("LAZYCOG_DEPLOY_TESTS") == "all"
"""Set where lazycog[deploy-test] is installed: what is missing there is an error."""
EXTRA = "install lazycog[deploy-test]"
SECONDS = 120


def missing(name):
    """Skip a test, or fail where nothing may be missing."""
    if ALL_TOOLS:
        pytest.fail(f"{name} is missing; {EXTRA}")
    pytest.skip(f"{name} is not installed; {EXTRA}")


def module(name):
    """Import a module of the extra."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return missing(name)


def tool(name, *arguments, text=None, cwd=None):
    """Run a program of this environment; give what it complains about."""
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        missing(name)
    return run([program, *arguments], text=text, cwd=cwd)


def run(command, *, text=None, cwd=None, env=None):
    """Run a program; give what it says where it fails."""
    done = subprocess.run(
        command,
        input=text,
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return [done.stdout + done.stderr] if done.returncode else []


def command_complaints(argv):
    """Parse a command by the program that it names, which does not run."""
    program, *rest = argv
    if Path(program).name.startswith("python"):
        return _python_complaints(rest)
    if program == "dask" and rest[:1] in (["scheduler"], ["worker"]):
        return _click_complaints(_dask(rest[0]), rest)
    if program == "lazycog":
        from lazycog._cli import cli

        if rest[0] not in cli.commands:
            return [f"lazycog has no command {rest[0]}"]
        return _click_complaints(cli.commands[rest[0]], rest)
    return [f"no such program in the image: {program}"]


def _python_complaints(argv):
    if argv[0] == "-c":
        try:
            compile(argv[1], "<command>", "exec")
        except SyntaxError as error:
            return [f"python -c: {error}"]
        return []
    if argv[:2] == ["-m", "distributed.cli.dask_worker"]:
        return _click_complaints(_dask("worker"), argv[1:])
    return [f"python {argv[0]} is not known here"]


def _dask(name):
    from distributed.cli import dask_scheduler, dask_worker

    return {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[name]


def _click_complaints(command, argv):
    """Dask's own programs leave options that they do not know to preloaded modules."""
    try:
        context = command.make_context(argv[0], list(argv[1:]))
    except click.ClickException as error:
        return [f"{' '.join(argv)}: {error.format_message()}"]
    rest = context.params.get("preload_argv") or ()
    return [f"{' '.join(argv)}: what is {' '.join(rest)}?"] if rest else []
