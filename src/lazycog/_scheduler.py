"""The scheduler that computes: its threads, its workers, a lock that reaches them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import dask
import dask.base
import dask.config
import dask.system

from lazycog.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask.delayed import Delayed

    from distributed import Client


def worker_threads() -> int:
    """Count the threads that would compute on the scheduler configured now."""
    client = _client()
    if client is not None:
        workers: dict[str, int] = client.nthreads()
        return max(1, sum(workers.values()))
    threads: int = dask.config.get("num_workers", None) or dask.system.CPU_COUNT
    return threads


def is_cluster() -> bool:
    """Whether a distributed client would compute."""
    return _client() is not None


def make_lock(lock: Any, token: str) -> Any:  # noqa: ANN401 - anything with the context protocol
    """Turn the ``lock`` option into a lock that reaches every worker, or None."""
    if lock is None or lock is False:
        return None
    if lock is not True:
        return lock
    if is_cluster():
        from distributed import Lock

        return Lock(f"lazycog-{token}")
    from dask.utils import SerializableLock  # noqa: PLC0415

    return SerializableLock(f"lazycog-{token}")


def _client() -> Client | None:
    """Give the distributed client that would compute, or None."""
    if "distributed" not in sys.modules:  # which Dask would import to look for one
        return None
    from dask.base import get_scheduler  # noqa: PLC0415

    try:
        compute = get_scheduler()
    except RuntimeError as error:  # of an asynchronous client
        raise OptionError(
            f"{error}: to_cog cannot ask it for its workers; use a Client without "
            "asynchronous=True, or choose threads with "
            "dask.config.set(scheduler='threads')"
        ) from error
    client = getattr(compute, "__self__", None)
    return client if hasattr(client, "scheduler_info") else None


def workers_without(found: Callable[[], bool]) -> list[str]:
    """Ask every worker of the cluster; give those that answer False.

    Parameters
    ----------
    found : callable
        Quick; runs on each worker.

    Returns
    -------
    list of str
        Addresses; empty where there is no cluster.
    """
    client = _client() or _client_of_task()
    if client is None:
        return []
    answers = client.run(found, on_error="return")
    return sorted(worker for worker, answer in answers.items() if answer is False)


def _client_of_task() -> Client | None:
    """Give a client of the cluster whose task this is, or None."""
    if "distributed.worker" not in sys.modules:
        return None
    from distributed import get_client, get_worker

    try:
        get_worker()
    except ValueError:  # distributed is loaded, but this thread is no worker
        return None
    return get_client()


def compute(lazy: Delayed) -> Any:  # noqa: ANN401
    """Compute a lazy write on whatever scheduler is configured."""
    scheduler = dask.config.get("scheduler", None)
    if "distributed" not in sys.modules:
        # there is no client, but Dask would import all of distributed to find out
        named = dask.base.named_schedulers
        scheduler = named.get(str(scheduler or "threads").lower(), scheduler)
    (result,) = dask.compute(lazy, scheduler=scheduler)
    return result
