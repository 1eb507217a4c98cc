"""A thread that lives as long as the Ray it has started.

Linux ends Ray's processes when the *thread* ends that started them (they ask for it, so as not to
outlive their driver). Started by one of several threads of a user, Ray would go with that thread,
under the simulations of the others.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Keeper:
    """Does what it is asked to, one thing after the other, in a thread of its own."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        # A daemon, as an end of the program must come to Ray before it comes to its thread.
        self._thread = threading.Thread(target=self._work, name="p2pqg-ray", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, task = job
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)

    def call(self, task: Callable[[], Any]) -> Any:
        """What the task returns or raises; a Ctrl-C meanwhile is raised when it is done."""
        future: Future[Any] = Future()
        self._jobs.put((future, task))
        try:
            return future.result()
        except KeyboardInterrupt:
            future.exception()  # Ray cannot be left half-way; who is in a hurry says it again
            raise

    def end(self) -> None:
        """The thread ends, and all that it has started."""
        self._jobs.put(None)
        self._thread.join()
