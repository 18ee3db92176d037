"""A file on a file system that all workers share.

Runs are written by position into one temporary file per section, in a hidden folder
beside the destination. The commit puts header and overviews in front of the full
resolution, syncs, and renames; until then the destination is as it was.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lazycog._file_range import FileRange
from lazycog.errors import DestinationExistsError, SinkError
from lazycog.sinks import _file_calls
from lazycog.sinks._errors import listed
from lazycog.sinks._state import FolderState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_PLACE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS}
)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NAME_START = 48
"""Characters of the destination's name in that of the temporary folder, which may then
not exceed the 255 bytes of a file name."""
RESUME_TOKEN = "resume"  # noqa: S105 - part of a folder's name
"""Names the temporary folder of a write that can go on."""
ABORT_ATTEMPTS = 20
"""A task that still runs may park tiles while the folder is emptied; each task at most
once, since a folder that is gone takes no file."""


@dataclass(frozen=True)
class Placed:
    """A piece of the file that stands in a section's temporary file."""

    section: tuple[int, int]
    offset: int
    """Position in the file."""
    length: int
    start: int
    """Position in the section's temporary file."""
    section_length: int
    """Length of the section's temporary file."""


@dataclass(frozen=True)
class LocalSink:
    """Plain value; every operation opens what it needs."""

    path: str
    """Absolute path of the destination."""
    token: str
    """Names the temporary folder of this write."""
    overwrite: bool = True

    @classmethod
    def of(
        cls, destination: str | os.PathLike[str], token: str, *, overwrite: bool
    ) -> LocalSink:
        """Resolve a path and refuse one that cannot be written.

        Parameters
        ----------
        destination : path
            Of the file to come; its folder must exist.
        token : str
            Names the temporary folder.
        overwrite : bool
            Whether an existing file may be replaced.

        Returns
        -------
        LocalSink
            Nothing is created yet.

        Raises
        ------
        SinkError
            The folder is missing or not writable, or the path is a folder.
        DestinationExistsError
            The file exists and may not be replaced.
        """
        try:
            path = Path(os.path.realpath(Path(destination).expanduser()))
        except (RuntimeError, ValueError) as error:  # no such home; a null byte
            raise SinkError(
                errno.EINVAL,
                f"the destination is not a path: {error}; name a file",
                str(destination),
            ) from error
        folder = path.parent
        if not folder.is_dir():
            raise SinkError(
                errno.ENOENT,
                "the destination's folder does not exist; make it first",
                str(folder),
            )
        if path.is_dir():
            raise SinkError(
                errno.EISDIR, "the destination is a folder; add a file name", str(path)
            )
        if path.exists() and not path.is_file():
            # the commit would rename over /dev/null or a pipe
            raise SinkError(
                errno.EINVAL,
                "the destination is a device, pipe or socket; name a file",
                str(path),
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SinkError(
                errno.EACCES,
                "the destination's folder is not writable; choose another one",
                str(folder),
            )
        sink = cls(str(path), token, overwrite)
        sink.check_absent()
        return sink

    def check_absent(self) -> None:
        """Refuse an existing destination unless it may be replaced."""
        if not self.overwrite and Path(self.path).exists():
            raise self._exists()

    def _exists(self) -> DestinationExistsError:
        return DestinationExistsError(
            errno.EEXIST,
            "the destination exists and overwrite=False; remove it or allow it",
            self.path,
        )

    @property
    def folder(self) -> Path:
        """The temporary folder of this write."""
        path = Path(self.path)
        return path.with_name(f".{path.name[:NAME_START]}.lazycog-{self.token}")

    @property
    def park_folder(self) -> str:
        """Where workers may put encoded tiles that wait for their place."""
        return str(self.folder)

    def _section(self, section: tuple[int, int]) -> Path:
        return self.folder / "level-{}-plane-{}".format(*section)

    def begin(self, sections: Sequence[tuple[int, int]]) -> None:
        """Make the temporary folder with an empty file per section.

        Again, it changes nothing: a cluster repeats the task when its worker dies, and
        by then others may have written.
        """
        with _refused("prepare", self.path):
            self.folder.mkdir(exist_ok=True)
            for section in sections:
                self._section(section).touch()

    def is_seen(self) -> bool:
        """Whether this process sees the temporary folder that `begin` made."""
        return self.folder.is_dir()

    def refuse_blind(self, workers: Sequence[str]) -> None:
        """Refuse to start where some workers would write to another file system.

        Parameters
        ----------
        workers : sequence of str
            Names of those that do not see the temporary folder.

        Raises
        ------
        SinkError
            There is one.
        """
        if workers:
            raise SinkError(
                errno.ENOENT,
                "these workers do not see the destination's folder: "
                f"{listed(workers)}. Write to a folder that is mounted on all of them, "
                "or to an object store (s3://...), to which each worker uploads by "
                "itself; no pixel was computed",
                str(self.folder.parent),
            )

    @property
    def state(self) -> FolderState:
        """Where the write notes what is finished."""
        return FolderState(str(self.folder))

    def with_token(self, token: str) -> Self:
        """Give the same sink under the token of a killed write."""
        return replace(self, token=token)

    def can_go_on(self, upload: str) -> bool:
        """Whether the temporary folder of a killed write is there; it is tidied."""
        del upload  # a file system has none
        for parked in self.folder.glob("parked-*"):
            parked.unlink(missing_ok=True)
        return self.folder.is_dir()

    def sync(self, sections: Sequence[tuple[int, int]]) -> None:
        """Wait until what was written to sections survives a loss of power."""
        with _refused("write", self.path):
            for section in sections:
                with _file_calls.opened(self._section(section)) as file:
                    os.fsync(file)

    def write(
        self,
        section: tuple[int, int],
        pieces: Sequence[tuple[int, bytes | memoryview | FileRange]],
    ) -> None:
        """Write bytes at positions of a section.

        Parameters
        ----------
        section : (level, plane)
            Which temporary file.
        pieces : sequence of (position, bytes or range of a file)
            What to write where; the same call again writes the same bytes.

        Raises
        ------
        SinkError
            The file system refused, or the folder is not there.
        """
        with (
            _refused("write", self.path),
            _file_calls.opened(self._section(section)) as file,
        ):
            for position, data in pieces:
                if isinstance(data, FileRange):
                    with _file_calls.opened(Path(data.path), os.O_RDONLY) as parked:
                        _file_calls.copy(parked, file, data.start, len(data), position)
                else:
                    _file_calls.write_all(file, data, position)
                if section[0] == 0:  # the others are copied and removed
                    _file_calls.start_writing_back(file, position, len(data))

    def commit(self, header: bytes, placed: Sequence[Placed], size: int) -> None:
        """Assemble the file and let it appear.

        Parameters
        ----------
        header : bytes
            The first bytes of the file.
        placed : sequence of Placed
            All sections, in the order of the file; the last is the largest.
        size : int
            Length of the file.

        Raises
        ------
        SinkError
            A section is shorter than its sizes say, or the file system refused.
        DestinationExistsError
            The destination appeared meanwhile and may not be replaced.
        """
        with _refused("commit", self.path):
            for each in placed:
                found = self._section(each.section).stat().st_size
                # a killed commit may have made room in front of the last one
                if found not in {each.section_length, *self._shifted(each, placed[-1])}:
                    raise SinkError(
                        errno.EIO,
                        f"level {each.section[0]} has {found} of "
                        f"{each.section_length} bytes: a worker's writes were lost; is "
                        "the folder shared by all workers?",
                        str(self.folder),
                    )
            result = self._assemble(header, placed, size)
            self._publish(result)
        self._clear()

    def abort(self, upload: str = "") -> None:
        """Remove everything of this write; the destination was never touched."""
        del upload  # a file system has none
        self._clear()

    def _clear(self) -> None:
        """Remove the temporary folder, while workers may still park or free tiles."""
        for _ in range(ABORT_ATTEMPTS):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return

    def _shifted(self, each: Placed, last: Placed) -> list[int]:
        """Give the length of a section with room in front, where that is possible."""
        may_be = self.token == RESUME_TOKEN and each is last
        return [each.offset + each.length] * may_be

    def _assemble(self, header: bytes, placed: Sequence[Placed], size: int) -> Path:
        *front, last = placed
        base = self._section(last.section)
        with _file_calls.opened(base) as file:
            is_shifted = os.fstat(file).st_size != last.length
            if is_shifted or _file_calls.insert_range(file, last.offset):
                self._fill(file, header, front)
                os.fsync(file)
                return base
        result = self.folder / "result"
        result.touch()
        with _file_calls.opened(result) as file:
            os.truncate(file, size)
            self._fill(file, header, placed)
            os.fsync(file)
        return result

    def _fill(self, file: int, header: bytes, placed: Sequence[Placed]) -> None:
        _file_calls.write_all(file, header, 0)
        for section, pieces in itertools.groupby(placed, lambda each: each.section):
            source = self._section(section)
            with _file_calls.opened(source, os.O_RDONLY) as opened:
                for each in pieces:
                    _file_calls.copy(opened, file, each.start, each.length, each.offset)
            if self.token != RESUME_TOKEN:  # a killed commit may run again
                source.unlink()

    def _publish(self, result: Path) -> None:
        """Give the finished file its name, at once or not at all."""
        if self.overwrite:
            self._keep_permissions(result)
            os.replace(result, self.path)  # noqa: PTH105 - the pair of os.link
        else:
            try:
                os.link(result, self.path)
            except FileExistsError as error:
                raise self._exists() from error
        with _file_calls.opened(Path(self.path).parent, os.O_RDONLY) as folder:
            os.fsync(folder)

    def _keep_permissions(self, result: Path) -> None:
        """Give the finished file those of the file that it replaces."""
        with suppress(FileNotFoundError):  # it replaces none
            old = stat.S_IMODE(Path(self.path).stat().st_mode)
            # file systems without permissions refuse to set even the same ones
            if old != stat.S_IMODE(result.stat().st_mode):
                result.chmod(old)


@contextmanager
def _refused(action: str, path: str) -> Iterator[None]:
    """Turn the file system's refusal into one clear error."""
    try:
        yield
    except SinkError:
        raise
    except OSError as error:
        if error.errno in FULL:
            remedy = "the disk is full: free space or choose another destination"
        elif error.errno == errno.ENOENT and action != "prepare":
            remedy = (
                "the temporary folder is gone: the write was aborted, or a worker does "
                "not share the destination's file system"
            )
        elif action == "prepare" and error.errno in NO_PLACE:
            remedy = (
                "the destination is as it was, and no file can be made beside it: "
                "choose another folder"
            )
        else:
            remedy = "the destination is as it was"
        raise SinkError(
            error.errno, f"could not {action}: {error.strerror}; {remedy}", path
        ) from error
