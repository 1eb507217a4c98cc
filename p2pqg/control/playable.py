"""What the control room needs of a simulation; `p2pqg.Simulation` has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from p2pqg.network import Network
from p2pqg.results.standing import Live


class Playable(Live, Protocol):
    """A live simulation that can be led.

    Attributes:
        method: the algorithm with its parameters, as it is now.
        stopped: why it ended before its last round, if it did.
        cursor: how many events of its scenario, by round and by seconds, are over.
        on_note: called with a line of text when something happens that a user should know.
        on_change: called when it has come further, was changed or is closed, with whether it has
            gone back.
        restored: the checkpoint or folder that it was restored from, and with which settings.
        turn: held by the thread that uses it.
    """

    method: Any
    stopped: str | None
    cursor: tuple[int, int]
    on_note: Callable[[str], None]
    on_change: Callable[[bool], None]
    restored: tuple[Path, dict[str, Any]] | None
    turn: Any

    @classmethod
    def restore(cls, path: str | Path, **settings: Any) -> Playable: ...

    @property
    def interventions(self) -> list[dict[str, Any]]: ...

    @property
    def links(self) -> Any: ...

    def advance(self, rounds: int) -> None: ...

    def do(self, verb: str, **given: Any) -> None: ...

    def fork(self) -> Playable: ...

    def moment(self) -> Any: ...

    def checkpoint(self, path: str | Path) -> Path: ...

    def go_back(self, moment: Any) -> None: ...

    def parameters(self) -> np.ndarray: ...

    def network_in(self, round: int) -> Network | None: ...

    def close(self) -> None: ...

    def _repr_html_(self) -> str: ...
