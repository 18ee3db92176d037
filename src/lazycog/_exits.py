"""How a command ends: one clear line for every exception, and an exit code."""

from __future__ import annotations

import contextlib
import errno
import sys
import traceback
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from lazycog.errors import (
    CapacityError,
    CogError,
    CogWarning,
    InputError,
    MissingExtraError,
    OptionError,
    SinkError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_FAILED = 1
EXIT_WRONG_CALL = 2
EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count."""
WRONG_DESTINATION = frozenset(
    {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EACCES}
)
"""What is wrong with a destination before anything is written to it."""


class JobError(CogError):
    """The call was right, and the work failed."""


@dataclass
class Session:
    """What one call of the command line knows from its start."""

    traceback: bool = False
    """Show Python's traceback of an error."""


class Commands(click.Group):
    """A group that turns every exception into one line and an exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the whole help to whoever says nothing, which is no error's one line."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(EXIT_WRONG_CALL)
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ANN401 - click's own signature
        """Run a command and exit.

        Raises
        ------
        SystemExit
            Always.
        """
        session = Session()
        kwargs = {**kwargs, "standalone_mode": False, "obj": session}
        try:
            with _one_line_warnings():
                code = super().main(*args, **kwargs)
        except click.Abort:  # Ctrl-C, or "no" to a question
            sys.exit(_complain("interrupted", EXIT_INTERRUPTED))
        except click.ClickException as error:
            hint = ""
            if isinstance(error, click.UsageError) and error.ctx is not None:
                hint = f" (see {error.ctx.command_path} --help)"
            sys.exit(_complain(error.format_message() + hint, EXIT_WRONG_CALL))
        except BrokenPipeError:  # the reader of our output has gone
            sys.stderr.close()
            sys.exit(EXIT_FAILED)
        except Exception as error:  # whatever it is, the process ends with one line
            if session.traceback:
                traceback.print_exception(error)
            code = _complain(_message(error), _exit_code(error))
            raise SystemExit(code) from error
        sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show what lazycog warns of as one line, without a place in the code."""
    with warnings.catch_warnings():
        show = warnings.showwarning
        told: set[str] = set()

        def shown(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, CogWarning):
                text = " ".join(str(message).split())
                if text not in told:  # a plan and its write warn alike
                    click.echo(f"warning: {text}", err=True)
                told.add(text)
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = shown
        warnings.simplefilter("always", CogWarning)
        yield


def _complain(text: str, code: int) -> int:
    one_line = " ".join(text.split())
    click.echo(f"error: {one_line}", err=True)
    return code


def _message(error: BaseException) -> str:
    known = isinstance(error, CogError | OSError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"  # no error numbers
    notes = getattr(error, "__notes__", [])
    causes = [] if isinstance(error, CogError) else _causes(error)  # ours say it all
    return "; ".join([text or type(error).__name__, *causes, *notes])


def _causes(error: BaseException) -> list[str]:
    """Say what an error came from: rasterio's speak of a "previous exception"."""
    found = [error]
    while (cause := found[-1].__cause__) is not None and cause not in found:
        found.append(cause)
    return [str(each) for each in found[1:]]


def _exit_code(error: BaseException) -> int:
    if isinstance(error, JobError):
        return EXIT_FAILED
    wrong = isinstance(
        error, OptionError | InputError | MissingExtraError | CapacityError
    )
    if isinstance(error, SinkError):
        wrong = error.errno in WRONG_DESTINATION
    return EXIT_WRONG_CALL if wrong else EXIT_FAILED


def _show_traceback(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's own signature
    if value:
        ctx.find_object(Session).traceback = True  # type: ignore[union-attr]


traceback_option = click.option(
    "--traceback",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_traceback,
    help="Show Python's traceback of an error.",
)


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Tell errors of the work from errors of the call.

    Yields
    ------
    None
        What is done meanwhile is the work.

    Raises
    ------
    JobError
        The raster cannot be read or written.
    """
    try:
        yield
    except InputError as error:
        job = JobError(str(error))
        job.__notes__ = getattr(error, "__notes__", [])
        raise job from error
