"""One of the networks in a control room: a simulation, what it was, and what was shown of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from p2pqg.base.errors import ConfigError, DivergedError, P2pqgError
from p2pqg.control import frames
from p2pqg.control.moments import Moments, size_of
from p2pqg.control.playable import Playable
from p2pqg.data import label_counts
from p2pqg.page.replay import names_of, points_of
from p2pqg.page.scene import digits, scene, traffic
from p2pqg.page.scene import links as links_now

NAMES = "ABCD"

MOST_UNDONE = 12
"""Actions that can be taken back one after the other."""


class Branch:
    """A simulation with its past.

    Attributes:
        number: from 0 on, the one that all began with.
        name: A, B, C or D.
        sim: it; moments: to go back to.
        looked_at: a moment that is shown in place of now.
        diverged: its clients went on beyond the last round that was finite.
        turns: times that it was acted on, or taken to another moment.
    """

    def __init__(self, number: int, sim: Playable, moments: Moments) -> None:
        self.number, self.name, self.sim, self.moments = number, NAMES[number], sim, moments
        self.looked_at: Any = None
        self.diverged, self.turns = False, 0
        self._before: list[Any] = []  # moments before each of the last actions
        self._scene: tuple[Any, dict[str, Any]] | None = None
        self._now: dict[str, Any] = {}
        self._told = 0  # rows that have been shown
        self._told_values: Any = None
        self._told_events = -1
        self._told_scene: Any = None

    def advance(self, rounds: int) -> None:
        """Play so many rounds.

        Raises:
            As `Simulation.advance`.
        """
        try:
            self.sim.advance(rounds)
        except DivergedError:
            self.diverged = True
            raise

    def check_finite(self) -> None:
        """What has diverged can be looked at, and left for an earlier moment; nothing else.

        Raises:
            ConfigError: it has.
        """
        if self.diverged:
            close = ", or close it" if self.number else ""
            raise ConfigError(
                f"{self.name} has diverged after round {self.sim.round:,}: go back to an earlier "
                f"moment and take a smaller step size{close}"
            )

    def keep(self) -> None:
        """Put this moment by, where there is none yet."""
        if not self.diverged and self.moments.at(self.sim.round) is None:
            self.moments.keep(self.sim.moment())

    def before_action(self) -> None:
        """Remember how it was, so that what comes now can be undone."""
        self.turns += 1
        moment = self.sim.moment()
        if size_of(moment) * MOST_UNDONE <= 4 * self.moments.most_bytes:
            self._before = [*self._before[1 - MOST_UNDONE :], moment]
        if self.moments.at(moment.log.round) is None:
            self.moments.keep(moment)

    def forget_action(self) -> None:
        """Take the last action back: it was refused."""
        self._before = self._before[:-1]

    def undo(self) -> bool:
        """Go back to before the last action; False: there is none that is remembered."""
        if not self._before:
            return False
        *self._before, moment = self._before
        self._return_to(moment)
        return True

    def go_back(self, moment: Any) -> None:
        """Stand where it stood; what was later is forgotten."""
        done = len(moment.log.interventions)
        self._before = [one for one in self._before if len(one.log.interventions) < done]
        self._return_to(moment)

    def _return_to(self, moment: Any) -> None:
        self.sim.go_back(moment)
        self.has_gone_back()

    def has_gone_back(self) -> None:
        """What was later than now is no more."""
        self.turns += 1
        self.moments.forget_after(self.sim.round)
        self.looked_at, self._now, self.diverged = None, {}, False
        self.show_again()  # as many rows and events as were shown may be others by now

    def fork(self, number: int, moment: Any = None) -> Branch:
        """Another branch from here, or from a moment."""
        twin = Branch(number, self.sim.fork(), self.moments.copy())
        twin._before, twin.diverged = list(self._before), self.diverged
        if moment is not None:
            twin.go_back(moment)
        return twin

    def evaluate(self) -> None:
        """Measure every client as it is now; nothing is put on record."""
        with suppress(P2pqgError):  # diverged: what is on record is all there is
            _, rows = self.sim.present()
            self._now = frames.values_of(rows, self.sim.network.num_clients)

    def show_again(self) -> None:
        """The next frame says everything."""
        self._told, self._told_values, self._told_events, self._told_scene = 0, None, -1, None

    def frame(self) -> dict[str, Any]:
        """What is to be seen, and is not known yet."""
        sim, past = self.sim, self.looked_at
        network = sim.network if past is None else past.network
        round = sim.round if past is None else past.log.round
        rule = sim.method if past is None else past.rule
        log = sim if past is None else past.log
        found: dict[str, Any] = {
            "id": self.number,
            "name": self.name,
            "round": round,
            "past": past is not None,
            "seconds": None if sim.experiment.timing is None else digits(log.sim_seconds),
            "moments": self.moments.rounds,
            "every": self.moments.every,
            "undo": len(self._before),
            "ages": frames.ages(sim.network_in, network.num_clients, round)
            if sim.experiment.waits
            else None,
            "settings": frames.settings(network, rule, round),
            **frames.standing(network, round),
        }
        if self._told_scene is not network.base:
            found["scene"] = self._drawn(network.base)
            self._told_scene = network.base
        if network.base.period is None:
            found |= links_now(network.base, max(round - 1, 0))
        rows = sim.rows[1] if past is None else past.log.clients
        key = (past is None, len(rows), bool(self._now), round)
        if key != self._told_values:
            values = frames.values_of(rows, network.num_clients)
            if past is None and self._now.get("round", -1) >= max(values.get("round", 0), round):
                values = self._now
            if values or past is not None:  # else what was seen last stays
                found["values"] = values
                found["measures"] = names_of(list(values.get("of", ())))
            self._told_values = key
        if past is None:
            known, length = sim.rows[0], len(sim.rows[0])
            start = self._told if self._told <= length else 0
            found["points"] = {"from": start, "rows": points_of(known[start:length])}
            self._told = length
        events = sim.events
        if len(events) != self._told_events:
            found["events"] = frames.events_of(events)
            self._told_events = len(events)
        return found

    def _drawn(self, base: Any) -> dict[str, Any]:
        """The network as a picture; worked out once."""
        if self._scene is None or self._scene[0] is not base:
            experiment = self.sim.experiment
            arrays = experiment.arrays
            counts = label_counts(experiment.parts, arrays.train_y, arrays.num_classes)
            self._scene = base, scene(base, counts)
        return self._scene[1]

    def widths(self, what: str) -> list[float | None] | None:
        """A number for each drawn link: bytes that went over it, or how much its ends disagree.

        None where there is none, as of a moment of the past that is looked at.
        """
        if self.looked_at is not None:
            return None
        pairs = self._drawn(self.sim.network.base)["links"]
        if what == "bytes":
            table = self.sim.links
            if not len(table):
                return None
            return traffic(pairs, table)
        x, ends = self.sim.parameters(), np.array(pairs, dtype=int).reshape(-1, 2)
        apart = np.linalg.norm(x[ends[:, 0]] - x[ends[:, 1]], axis=1) if len(ends) else np.empty(0)
        return [digits(value) for value in apart.tolist()]
