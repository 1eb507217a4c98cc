"""Random numbers that somebody's code takes from a state that a whole process shares.

`draws_from` sees whether a call does, `Watch` whether anything between two moments does; `keyed`
makes them depend on a key alone, and so does `torch_keyed` where torch's are all that is asked for.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

LOOKS = 3
"""Another thread may draw in between; it hardly does so each time."""

_one_at_a_time = RLock()
"""A function of the user's may have others of theirs called, in the same thread."""


def draws_from(call: Callable[[], object]) -> set[str]:
    """Whose numbers a call takes: "torch", "Python's random", "numpy.random".

    Args:
        call: is made once, and again where it seems to draw.
    """
    found: set[str] | None = None
    for _ in range(LOOKS):
        before = _states()
        call()
        moved = {whose for whose, state in _states().items() if before.get(whose) != state}
        found = moved if found is None else found & moved
        if not found:
            break
    return found or set()


class Watch:
    """Sees from whose numbers somebody's code takes, inside `with`.

    What a library draws that is imported there, or what a card begins with that is asked for the
    first time, it does not count as theirs.

    Attributes:
        drawn: whose they were: "torch", "numpy.random", ...
        round: in which of their rounds, for whoever looks at several.
    """

    def __init__(self, round: int = 0) -> None:
        self.drawn, self.round = set[str](), round
        self._before: dict[str, tuple[Any, ...]] = {}
        self._num_modules = 0

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *error: object) -> None:
        self._look()

    def except_in(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, for them to call; what it draws is not theirs."""

        @wraps(call)
        def unwatched(*args: Any, **more: Any) -> Any:
            self._look()
            try:
                return call(*args, **more)
            finally:
                self._begin()

        return unwatched

    def _begin(self) -> None:
        self._before, self._num_modules = _states(), len(sys.modules)

    def _look(self) -> None:
        if len(sys.modules) == self._num_modules:
            now = _states()
            self.drawn |= {w for w, old in self._before.items() if now[w][: len(old)] != old}


@contextmanager
def keyed(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside, `random`, `numpy.random` and torch draw what belongs to a seed.

    Outside they go on as if nothing had been drawn. So a user's function that draws gives the same
    again, in another process, too. Of several threads one is inside at a time.

    Args:
        seed: 0 .. 2**63 - 1.
        device: where torch may draw beside the CPU; of other cards the draws are left alone.
    """
    card = device is not None and device.type != "cpu"
    with _one_at_a_time, _on_card(seed, device) if card else nullcontext():
        torch = sys.modules.get("torch")
        before = random.getstate(), np.random.get_state()  # noqa: NPY002  to be put back
        torchs = torch.get_rng_state() if torch else None
        try:
            random.seed(seed)  # noqa: TID251  users' code knows no generator of ours; put back
            np.random.seed(seed % 2**32)  # noqa: NPY002  the same
            if torch:
                torch.default_generator.manual_seed(seed)  # that of cards is left alone
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002  the same
            if torch:
                torch.set_rng_state(torchs)


@contextmanager
def usual_torch() -> Iterator[None]:
    """Inside, what torch makes is float32, on the CPU, whatever a script has set as its default.

    Else weights drawn for the same seed would be others: a float64 is drawn in another way.
    """
    import torch

    with _one_at_a_time, torch.device("cpu"):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def torch_keyed(
    seed: int | None = None, devices: Sequence[torch.device | str] = ()
) -> Iterator[None]:
    """Inside, torch draws what belongs to a seed; outside as if nothing had been drawn.

    Of several threads one is inside at a time, of this and of `keyed`: simulations in threads of
    one process would draw from each other's seeds.

    Args:
        seed: 0 .. 2**63 - 1; None: whatever, as nobody looks at what is drawn.
        devices: cards on which it may draw; on the CPU it always may.
    """
    import torch

    with _one_at_a_time, torch.random.fork_rng(devices):
        if seed is not None:
            torch.manual_seed(seed)  # noqa: TID251  of the fork
        yield


def _on_card(seed: int, device: Any) -> AbstractContextManager[None]:
    return torch_keyed(seed, [device] if device.type == "cuda" else [])


def _states() -> dict[str, tuple[Any, ...]]:
    with _one_at_a_time:  # another thread may be inside `keyed`, and puts them back
        numpys: Any = np.random.get_state()  # noqa: NPY002  whether somebody took from it
        numpy, python = (numpys[1].tobytes(), numpys[2], numpys[3]), random.getstate()
        found: dict[str, tuple[Any, ...]] = {"Python's random": python, "numpy.random": numpy}
        if torch := sys.modules.get("torch"):
            cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
            torchs = [torch.get_rng_state(), *cards]
            found["torch"] = tuple(state.numpy().tobytes() for state in torchs)
        return found
