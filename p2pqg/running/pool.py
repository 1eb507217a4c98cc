"""Processes side by side, each on its own share of the cores and GPUs: runs of a sweep, or seeds.

They are begun anew, not forked, and do not run the user's script again: it needs no
`if __name__ == "__main__"`. When their parent is stopped they are stopped politely, and keep what
they have; when it is killed they end with it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.base.errors import StoppedError, UserCodeError
from p2pqg.base.wording import seen
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.machine import this_machine

if TYPE_CHECKING:
    from p2pqg.results.run import Run
    from p2pqg.simulation.simulation import Simulation

SECONDS_BETWEEN_WORDS = 2.0
"""How often a run under way says where it stands."""

SECONDS_TO_END = 60.0
"""How long processes may take to keep what they have; Ctrl-C once more ends them at once."""

Tell = Callable[..., None]
"""Told what a process says with `say`."""


class Inside:
    """Watches one run of several, and tells now and then where it stands (see Observer)."""

    def __init__(self, name: str, tell: Tell) -> None:
        self._name, self._tell, self._last = name, tell, time.monotonic()

    def begin(self, simulation: Simulation, path: Path) -> None: ...

    def recorded(self, simulation: Simulation) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_WORDS:
            self._last = now
            self._tell(self._name, standing(simulation))

    def noted(self, text: str) -> None: ...

    def end(self, run: Run) -> None: ...


def standing(simulation: Simulation) -> str:
    """Where a run stands, in a few words."""
    total, news = simulation.num_rounds, seen(simulation.rows[0], simulation.round)
    return "  ".join(filter(None, [f"round {simulation.round:,}/{total:,}", news]))


class Pool:
    """So many processes; a context manager that has ended them when it is left."""

    def __init__(self, jobs: int, cores: Sequence[int], gpus: Sequence[str]) -> None:
        """They start with the first work.

        Args:
            jobs: processes.
            cores: that they share.
            gpus: that they share, as CUDA_VISIBLE_DEVICES names them; none: [].
        """
        context = multiprocessing.get_context("spawn")
        shares, self._said = context.SimpleQueue(), context.SimpleQueue()
        for job in range(jobs):
            mine = set(cores[job::jobs]) or {cores[job % len(cores)]}
            shares.put((mine, gpus[job % len(gpus)] if gpus else None))
        self._executor = ProcessPoolExecutor(jobs, context, _take_share, (shares, self._said))
        self._processes: set[Any] = set()
        self._futures: dict[Future[Any], str] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is not None:
            self.stop()
        self._executor.shutdown()

    def carry_out(
        self, do: Callable[..., None], todo: Mapping[str, Sequence[Any]], tell: Tell
    ) -> Iterator[tuple[str, BaseException | None]]:
        """Have a function called for each; yields names as they end, and what they raised.

        Args:
            do: of this package, as processes find it by its name.
            todo: name -> its arguments.
            tell: hears what processes say.

        Raises:
            BrokenProcessPool: one was killed; the others were stopped.
        """
        # Else each would run it; and a Ctrl-C in between would leave some that nobody knows of.
        with uninterrupted(), _no_script():
            before = set(multiprocessing.active_children())
            self._futures = {
                self._executor.submit(_done, do, arguments): name
                for name, arguments in todo.items()
            }
            self._processes |= set(multiprocessing.active_children()) - before
        left = set(self._futures)
        while left:
            try:
                ended, left = wait(left, SECONDS_BETWEEN_WORDS / 2, FIRST_COMPLETED)
            finally:  # Ctrl-C, too, comes after what was said before it
                self.hear(tell)
            for future in ended:
                if isinstance(error := future.exception(), BrokenProcessPool):
                    raise error
                yield self._futures[future], _come_home(error)

    def hear(self, tell: Tell) -> None:
        """Pass on what processes have said."""
        while not self._said.empty():
            tell(*self._said.get())

    def stop(self) -> dict[str, BaseException]:
        """Stop them all, and wait until they have kept what they have.

        Returns:
            Name -> how it ended, of what was under way.
        """
        with suppress(KeyboardInterrupt):  # once more: at once
            # What has not begun is not cancelled: if a process dies that was about to start, Python
            # (3.11) stumbles over that, and hangs. They begin nothing any more, see `_done`.
            for process in self._processes:
                process.terminate()
            for _ in range(int(SECONDS_TO_END / 0.1)):
                self.hear(lambda *said: None)  # else they may wait for somebody to listen
                if not wait(self._futures, 0.1).not_done:
                    break
        for process in self._processes:
            with suppress(ValueError):  # it has ended, and is forgotten
                process.kill()
        return {
            name: error
            for future, name in self._futures.items()
            if future.done() and (error := _come_home(future.exception()))
        }


@contextmanager
def _no_script() -> Iterator[None]:
    """Processes that start inside take nothing from the user's script."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


_said: Any = None
"""In a process of the pool: the queue to its parent."""

_working = _stopped = False
"""In a process of the pool: it does something; it was stopped, and begins nothing any more."""


def say(*words: Any) -> None:
    """Tell the parent, from a process of the pool; a message is said whole or not at all."""
    with uninterrupted():
        _said.put(words)


def _take_share(shares: Any, said: Any) -> None:
    """Keep to its cores and GPU; Ctrl-C and a closed terminal are its parent's business."""
    global _said
    _said = said
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    cores, gpu = shares.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _done(do: Callable[..., None], arguments: Sequence[Any]) -> None:
    """Do it, so that a polite kill stops it as Ctrl-C does; then nothing comes after it."""
    global _working
    _working = True
    try:
        if _stopped:
            raise StoppedError("stopped before it began")
        do(*arguments)
    except KeyboardInterrupt:
        raise StoppedError("stopped") from None
    except Exception as error:
        raise _Abroad.of(error) from error
    finally:
        _working = False


class _Abroad(Exception):
    """Carries an error home, be it of a class that only the user's script knows.

    Left to the pool, one that cannot be read again would count as a process that died.
    """

    def __init__(self, told: str, data: bytes) -> None:
        super().__init__(told, data)

    @classmethod
    def of(cls, error: Exception) -> _Abroad:
        """As much of it as can travel: all, without what its own `__init__` does, or its text."""
        from p2pqg.engine.on_ray.carry import packed  # brings Ray

        told = " ".join(f"{type(error).__name__}: {error}".split())
        for how in (
            (_itself, error),
            (_anew, type(error), error.args, vars(error)),
            (_anew, type(error), error.args, {}),
        ):
            with suppress(Exception):
                data = packed(how)
                same = _unpacked(data)
                # An `__init__` that makes a sentence of what it is given would do so twice.
                if isinstance(same, type(error)) and str(same) == str(error):
                    return cls(told, data)
        return cls(told, b"")


def _itself(error: BaseException) -> BaseException:
    return error


def _anew(kind: type[BaseException], args: tuple[Any, ...], kept: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(kept)
    return error


def _unpacked(data: bytes) -> Any:
    make, *parts = pickle.loads(data)
    return make(*parts)


def _come_home(error: BaseException | None) -> BaseException | None:
    """The error that was raised in a process of the pool, with that process's traceback."""
    if not isinstance(error, _Abroad):
        return error
    told, data = error.args
    own: BaseException = UserCodeError(told)
    with suppress(Exception):  # nothing of it could travel, or it is read otherwise here
        own = _unpacked(data)
    own.__cause__ = error.__cause__
    return own


def _stop(*_: object) -> None:
    """A polite kill; a run that keeps what it has is not stopped again."""
    global _stopped
    first, _stopped = not _stopped, True
    if _working and first:
        raise KeyboardInterrupt


def gpus_for(device: str) -> list[str]:
    """The GPUs that runs on a device may use, as CUDA_VISIBLE_DEVICES names them."""
    count = this_machine(device).num_gpus
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] or [str(index) for index in range(count)]
