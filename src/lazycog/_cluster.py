"""Where the command line computes: threads, local processes, or a cluster."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazycog._extras import require
from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_SHARE = 0.8
"""Part of the machine's memory that the workers of a local cluster may use together."""
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Resources:
    """What the caller chose."""

    threads: int | None = None
    """Of this process, or of each worker process."""
    workers: int | None = None
    """Processes on this machine."""
    scheduler: str | None = None
    """Address of a scheduler that runs already."""
    scheduler_file: str | None = None
    """JSON file that such a scheduler has written."""

    def __post_init__(self) -> None:
        """Refuse choices that exclude each other."""
        chosen = [
            "--" + name.replace("_", "-")
            for name in ("workers", "scheduler", "scheduler_file")
            if getattr(self, name) is not None
        ]
        if self.threads is not None and (self.scheduler or self.scheduler_file):
            chosen.insert(0, "--threads")
        if len(chosen) > 1:
            raise OptionError(
                f"{' and '.join(chosen)} contradict each other: a cluster that runs "
                "already has its workers and threads; keep one"
            )

    @property
    def process_threads(self) -> int:
        """Threads of one process, 1 at least."""
        return self.threads or (1 if self.workers else cpu_count())


def cpu_count() -> int:
    """Count the cores that this process may use.

    Returns
    -------
    int
        1 at least.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def computing(resources: Resources, *, quiet: bool = True) -> Iterator[None]:
    """Compute on the chosen resources inside the block.

    Parameters
    ----------
    resources : Resources
        Where.
    quiet : bool
        Keep the workers' logs of failed tasks back: the error itself arrives here.

    Yields
    ------
    None
        Compute inside.

    Raises
    ------
    MissingExtraError
        A cluster is asked for, and distributed is not installed.
    OptionError
        The scheduler does not answer.
    """
    import dask  # noqa: PLC0415 - only where something is computed

    if not (resources.workers or resources.scheduler or resources.scheduler_file):
        with dask.config.set(
            scheduler="threads", num_workers=resources.process_threads
        ):
            yield
        return
    require(
        "distributed",
        "a cluster needs distributed ({error}): pip install 'lazycog[distributed]'",
    )
    import distributed

    level = logging.CRITICAL if quiet else logging.WARNING
    for name in ("distributed", "asyncio"):  # asyncio tells of what Ctrl-C cut off
        logging.getLogger(name).setLevel(level)
    if resources.workers:
        with (
            distributed.LocalCluster(
                n_workers=resources.workers,
                threads_per_worker=resources.process_threads,
                memory_limit=int(
                    MEMORY_SHARE * distributed.system.MEMORY_LIMIT / resources.workers
                ),
                dashboard_address=":0",
                silence_logs=level,
            ) as cluster,
            distributed.Client(cluster),
        ):
            yield
        return
    try:
        client = distributed.Client(
            resources.scheduler,
            scheduler_file=resources.scheduler_file,
            timeout=CONNECT_SECONDS,
        )
    except (OSError, ValueError) as error:
        address = resources.scheduler or resources.scheduler_file
        raise OptionError(
            f"the scheduler {address} does not answer: {error}"
        ) from error
    with client:
        yield
