"""A timeline: the events of clients that do not wait, one after the other.

A client takes some seconds for a gradient, makes its step when it has it, and begins the next one
at once. Whoever asks plays the same events: two timelines of one routing never differ, however
their rounds are cut into portions, and neither does one that was stored and taken up again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from p2pqg.engine.waves.calls import Asks
from p2pqg.engine.waves.draws import Draws
from p2pqg.engine.waves.routing import WaveRouting


@dataclass
class Window:
    """What happens in some rounds. Lists in the order in which steps are done.

    Attributes:
        first: the first round.
        seconds: on the clock at the end of each round.
        done: steps done at the end of each round.
        client, number: of each step: whose, and which of its.
        level: of each step: its wave. What a step depends on is in an earlier one.
        elapsed: of each step: seconds since the client's last event.
        behind: of each piece of news: how many versions newer its model was when it was used.
        age: of each piece of news: seconds since it was read, or sent.
        news: pieces of news used at the end of each round.
        senders, receivers: of each message sent.
        sent: messages sent at the end of each round.
    """

    first: int
    seconds: list[float] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    client: list[int] = field(default_factory=list)
    number: list[int] = field(default_factory=list)
    level: list[int] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    age: list[float] = field(default_factory=list)
    news: list[int] = field(default_factory=list)
    senders: list[int] = field(default_factory=list)
    receivers: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    @property
    def num_rounds(self) -> int:
        return len(self.seconds)

    def close_round(self, now: float) -> None:
        """A round is over."""
        self.seconds.append(now)
        self.done.append(len(self.client))
        self.news.append(len(self.age))
        self.sent.append(len(self.senders))


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
        self.draws = self._draws()
        self._begin_anew(np.array(self.here))

    steps: list[int]
    begun: list[float]
    ready: list[float]

    @abstractmethod
    def _draws(self) -> Draws:
        """What the clients' next steps take and lead to."""

    @property
    def num_clients(self) -> int:
        return len(self.steps)

    def play(self, rounds: int) -> Window:
        """The events of the next rounds."""
        window = self._window()
        self._open()
        for _ in range(rounds):
            self.target += sum(self.here)
            self._play(window)
            window.close_round(self.now)
        self.round += rounds
        return window

    def _window(self) -> Window:
        """An empty one."""
        return Window(self.round)

    def _open(self) -> None:
        """Make ready to play."""
        self.fresh[:] = False

    @abstractmethod
    def _play(self, window: Window) -> None:
        """Go on until `total` steps are as many as the `target`, or the end is there."""

    def rewire(self, routing: WaveRouting) -> None:
        """From now on another network. Gradients and messages that are on their way go on."""
        before = self.here
        self.routing = routing
        self.here = [client not in routing.network.absent for client in range(self.num_clients)]
        self.draws = self._draws()
        self._part_with(
            [i for i, (was, here) in enumerate(zip(before, self.here, strict=True)) if was > here]
        )
        self._begin_anew(np.array(self.here) & ~np.array(before))

    def _part_with(self, gone: list[int]) -> None:  # noqa: B027 (some have nothing to do)
        """These clients have left."""

    def _begin_anew(self, who: np.ndarray) -> None:
        self.draws.draw(self.steps)
        for client in np.flatnonzero(who).tolist():
            self.begun[client] = self.now
            self.ready[client] = self.now + self.draws.seconds[client][0]
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
        twin = type(self)(self.routing, self.asks)
        twin.load(self.data())
        return twin

    def until(self, reached: Any, most: int) -> int:
        """Rounds done when `reached(timeline)` first holds, looking ahead; at most `most`."""
        ahead = self.copy()
        while ahead.round < most and not reached(ahead):
            ahead.play(1)
        return ahead.round
