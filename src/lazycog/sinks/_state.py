"""Small records beside a destination, from which a killed write goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import fsspec

from lazycog.sinks._errors import refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from fsspec import AbstractFileSystem


class State(Protocol):
    """Named records: each appears whole or not at all."""

    def keep(self, name: str, data: bytes) -> None:
        """Write a record; again, it replaces it."""

    def load(self, name: str) -> bytes | None:
        """Read a record, None where there is none."""

    def names(self) -> list[str]:
        """List the records."""

    def clear(self) -> None:
        """Remove all records."""


@dataclass(frozen=True)
class FolderState:
    """Records as files of a folder."""

    folder: str
    prefix: str = "state-"

    def keep(self, name: str, data: bytes) -> None:
        """Write a record; again, it replaces it."""
        path = self._path(name)
        draft = path.with_name(f"draft-{os.getpid()}-{name}")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def load(self, name: str) -> bytes | None:
        """Read a record, None where there is none."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """List the records."""
        found = Path(self.folder).glob(f"{self.prefix}*")
        return [each.name.removeprefix(self.prefix) for each in found]

    def clear(self) -> None:
        """Remove all records."""
        for name in self.names():
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return Path(self.folder) / f"{self.prefix}{name}"


@dataclass(frozen=True)
class ObjectState:
    """Records as objects below a prefix, in any file system that fsspec knows."""

    protocol: str
    prefix: str
    """Path of the records, without the protocol."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of the file system; never shown, for they may hold credentials."""

    def keep(self, name: str, data: bytes) -> None:
        """Write a record; again, it replaces it."""
        with self._refused("write"):
            self._files.pipe_file(self._path(name), data)

    def load(self, name: str) -> bytes | None:
        """Read a record, None where there is none."""
        with self._refused("read"), suppress(FileNotFoundError):
            return bytes(self._files.cat_file(self._path(name)))
        return None

    def names(self) -> list[str]:
        """List the records."""
        with self._refused("list"), suppress(FileNotFoundError):
            files = self._files
            files.invalidate_cache()
            found: list[str] = files.find(self.prefix)
            return [each.rpartition("/")[2] for each in found]
        return []

    def clear(self) -> None:
        """Remove all records."""
        for name in self.names():
            with self._refused("remove"), suppress(FileNotFoundError):
                self._files.rm_file(self._path(name))
        with self._refused("list"):
            self._files.invalidate_cache()

    def _refused(self, action: str) -> AbstractContextManager[None]:
        """Turn the store's refusal into one clear error."""
        return refused(f"{action} the journal of the write", self.prefix)

    def _path(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    @property
    def _files(self) -> AbstractFileSystem:
        return fsspec.filesystem(self.protocol, **self.options)
