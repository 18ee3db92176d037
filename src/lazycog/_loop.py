"""One event loop per process, in a thread of its own, for all asynchronous reads."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

Result = TypeVar("Result")

SETTLE_SECONDS = 0.05
"""How long the threads of obstore and async-tiff may hold Python objects after an
answer: they must not do so while the interpreter ends
(https://github.com/PyO3/pyo3-async-runtimes/issues/40)."""


class LoopThread:
    """An event loop that runs in a daemon thread until the process ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(  # decodes what was read
            ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="lazycog-decodes")
        )
        self._last_use = 0.0
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="lazycog-reads", daemon=True
        )
        self._thread.start()
        atexit.register(self._stop)

    def submit(self, work: Coroutine[object, object, Result]) -> Future[Result]:
        """Start a coroutine.

        Parameters
        ----------
        work : coroutine
            Runs in the thread of the loop.

        Returns
        -------
        concurrent.futures.Future
            Of its result.
        """
        self._last_use = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.add_done_callback(self._used)
        return future

    def run(self, work: Coroutine[object, object, Result]) -> Result:
        """Run a coroutine, wait for it and give its result."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # interrupted while waiting: nobody wants the answer
            raise

    def _used(self, _: Future[Result]) -> None:
        self._last_use = time.monotonic()

    def _stop(self) -> None:
        """Stop before the interpreter does."""
        self._loop.call_soon_threadsafe(self._cancel_all)
        self._thread.join(timeout=5)
        rest = SETTLE_SECONDS - (time.monotonic() - self._last_use)
        if rest > 0:
            time.sleep(rest)

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)


def loop_thread() -> LoopThread:
    """Give the loop of this process.

    Returns
    -------
    LoopThread
        A new one in a forked child, where the parent's thread does not run.
    """
    return _loop_thread(os.getpid())


_lock = threading.Lock()


def _loop_thread(process: int) -> LoopThread:
    with _lock:
        return _made(process)


@functools.lru_cache(maxsize=1)
def _made(process: int) -> LoopThread:
    del process  # a key alone
    return LoopThread()
