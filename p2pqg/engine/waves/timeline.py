"""A timeline: the events of clients that do not wait, in their order.

A client takes some seconds for a gradient, makes its step when it has it, and begins the next one
at once. Whoever asks plays the same events: two timelines of one routing never differ, however
their rounds are cut into portions, and neither does one that was stored and taken up again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.engine.waves.calls import Asks
from p2pqg.engine.waves.routing import WaveRouting


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """What happens in some rounds; arrays, in the order in which steps are done.

    Its rounds are in portions, which are handed out one by one. No wave has steps of two portions.

    Attributes:
        first: the first round.
        portions: int64 [portions], rounds done at the end of each.
        fresh: bool [clients], who begins anew, at the model as it is before the first round.
        seconds: float64 [rounds], on the clock at the end of each.
        done, used, sent: int64 [rounds], steps done, news used, messages sent by the end of each.
        client, number: int64 [steps], whose, and which of its.
        level: int64 [steps], its wave. What a step depends on is in an earlier one.
        elapsed: float64 [steps], seconds since the client's last event.
        behind: int64 [news], how many versions newer its model was when it was used.
        age: float64 [news], seconds since it was read, or sent.
        senders, receivers: int64 [messages sent].
    """

    first: int
    portions: np.ndarray
    fresh: np.ndarray
    seconds: np.ndarray
    done: np.ndarray
    used: np.ndarray
    sent: np.ndarray
    client: np.ndarray
    number: np.ndarray
    level: np.ndarray
    elapsed: np.ndarray
    behind: np.ndarray
    age: np.ndarray
    senders: np.ndarray
    receivers: np.ndarray

    @property
    def num_rounds(self) -> int:
        return len(self.seconds)

    @property
    def waves(self) -> np.ndarray:
        """int64 [portions]: waves done at the end of each."""
        so_far = np.maximum.accumulate(np.append(-1, self.level)) + 1
        return so_far[self.done[self.portions - 1]]


class Timeline(ABC):
    """Where all clients stand, and what comes next.

    Attributes:
        round: rounds done; now: seconds on the clock.
        steps: done by each client.
        begun, ready: seconds at which each one's gradient was begun, and will be done.
        fresh: who begins anew, from the model as it is now, when the next round begins.
    """

    FLOATS: tuple[str, ...] = ("begun", "ready")
    INTS: tuple[str, ...] = ("steps",)
    """Names of the lists, one number per client, that a timeline is stored as."""

    def __init__(self, routing: WaveRouting, asks: Asks) -> None:
        n = routing.num_clients
        self.routing, self.asks = routing, asks
        self.round, self.now = 0, 0.0
        self.total = self.target = 0
        for name in self.INTS:
            setattr(self, name, [0] * n)
        for name in self.FLOATS:
            setattr(self, name, [0.0] * n)
        self.fresh = np.zeros(n, dtype=bool)
        self.here = [client not in routing.network.absent for client in range(n)]
        self._draw()
        self._begin_anew(np.array(self.here))

    steps: list[int]
    begun: list[float]
    ready: list[float]

    @abstractmethod
    def _draw(self) -> None:
        """Make ready to draw what the clients' steps lead to, on the network as it is."""

    @property
    def missing(self) -> int:
        """Steps of each client on average, rounded up, that the clock's end took from rounds."""
        return max(0, -(-(self.target - self.total) // max(1, sum(self.here))))

    @property
    def num_clients(self) -> int:
        return len(self.steps)

    @abstractmethod
    def play(self, *portions: int) -> Window:
        """The events of the next rounds, so many in each portion."""

    def _begun(self) -> np.ndarray:
        """Who was to begin anew, and now does."""
        fresh, self.fresh = self.fresh, np.zeros_like(self.fresh)
        return fresh

    def rewire(self, routing: WaveRouting) -> None:
        """From now on another network. Gradients and messages that are on their way go on."""
        before = self.here
        self.routing = routing
        self.here = [client not in routing.network.absent for client in range(self.num_clients)]
        self._draw()
        self._part_with(
            [i for i, (was, here) in enumerate(zip(before, self.here, strict=True)) if was > here]
        )
        self._begin_anew(np.array(self.here) & ~np.array(before))

    def _part_with(self, gone: list[int]) -> None:  # noqa: B027 (some have nothing to do)
        """These clients have left."""

    def _begin_anew(self, who: np.ndarray) -> None:
        clients = np.flatnonzero(who)
        seconds = self.routing.timing.compute.seconds_of(clients, np.array(self.steps)[clients])
        for client, takes in zip(clients.tolist(), seconds.tolist(), strict=True):
            self.begun[client], self.ready[client] = self.now, self.now + takes
        self.fresh |= who

    def data(self) -> dict[str, np.ndarray]:
        """All of it as arrays; those with an entry per client are named "client.*"."""
        found = {
            "now": np.array([self.now]),
            "count": np.array([self.round, self.total, self.target]),
            "client.fresh": self.fresh.copy(),
            "client.here": np.array(self.here),
        }
        found |= {f"client.{name}": np.array(getattr(self, name), np.int64) for name in self.INTS}
        found |= {f"client.{name}": np.array(getattr(self, name)) for name in self.FLOATS}
        return found

    def load(self, data: Mapping[str, np.ndarray]) -> None:
        """Go on from `data`; clients that it does not know begin anew."""
        n, known = self.num_clients, len(data["client.here"])
        self.now = float(data["now"][0])
        self.round, self.total, self.target = data["count"].tolist()
        for name in (*self.INTS, *self.FLOATS):
            mine = getattr(self, name)
            mine[:] = data[f"client.{name}"].tolist() + self._of_new(name, n - known)
        self.fresh[:known] = data["client.fresh"]
        self.fresh[known:] = False
        before = np.concatenate([data["client.here"], np.zeros(n - known, dtype=bool)])
        self._load(data)
        self._begin_anew(np.array(self.here) & ~before)

    def _of_new(self, name: str, count: int) -> list[Any]:
        """What a list holds of clients that join."""
        return [0 if name in self.INTS else self.now] * count

    def _load(self, data: Mapping[str, np.ndarray]) -> None:  # noqa: B027 (some store no more)
        """What a kind of timelines stores beside its lists."""

    def copy(self) -> Timeline:
        """One that goes on on its own."""
        return self.at(self.data())

    def at(self, data: Mapping[str, np.ndarray]) -> Timeline:
        """One of the same network, where `data` says."""
        twin = type(self)(self.routing, self.asks)
        twin.load(data)
        return twin


def ints(values: object) -> np.ndarray:
    """As int64; an array that is one already stays itself."""
    return np.asarray(values, dtype=np.int64)
