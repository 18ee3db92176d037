"""What the sinks of stores have in common."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from lazycog._parts import PartLimits
from lazycog.errors import DestinationExistsError
from lazycog.sinks._errors import refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class StoreSink(ABC):
    """Plain value; every operation takes the client of its process."""

    path: str
    """URL of the object, without credentials."""
    token: str
    """Marks what belongs to this write."""
    overwrite: bool = True
    limits: PartLimits = field(default_factory=PartLimits)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of the client; never shown, for they may hold credentials."""

    noun: ClassVar[str] = "object"
    """What the store calls it, for messages."""

    @abstractmethod
    def is_there(self) -> bool:
        """Whether there is an object, of whichever write."""

    def check_absent(self) -> None:
        """Refuse an existing object unless it may be replaced.

        Raises
        ------
        DestinationExistsError
            There is one and ``overwrite=False``.
        """
        if not self.overwrite and self.is_there():
            raise self._exists()

    def _exists(self) -> DestinationExistsError:
        return DestinationExistsError(
            errno.EEXIST,
            f"the {self.noun} exists and overwrite=False; remove it or allow it",
            self.path,
        )

    def _refused(self, action: str) -> AbstractContextManager[None]:
        """Turn the store's refusal into one clear error."""
        return refused(action, self.path, f"the {self.noun} is as it was")
