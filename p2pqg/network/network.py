"""Network: a topology and what became of it -> the schedule that clients really mix by.

Links are cut, clients leave, messages get lost: all of it ends as the W of each round, see
effective.py. What may be done to a network is in changes.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.config import made, plain
from p2pqg.base.errors import ConfigError
from p2pqg.network import stored
from p2pqg.network.changes import Changes
from p2pqg.network.effective import Arc, Impaired, Remaining
from p2pqg.network.impairments import Impairments
from p2pqg.network.lies import Attack, liars
from p2pqg.network.named import links_told, refuse
from p2pqg.network.neighbors import senders_to
from p2pqg.network.params import ClockParams
from p2pqg.network.timing import Timing
from p2pqg.topology import PINNED, Schedule, check_needs
from p2pqg.topology.checks import TOLERANCE, Promise, all_reach_all, pieces_of
from p2pqg.topology.schedule import ROUNDS_SEEN

CLOCK = ("clock", "timing", "deadline", "message_bytes", "gradients")
"""Fields of a Network that a recipe sets, and `with_network` changes."""


@dataclass(frozen=True, eq=False)
class Network(Changes):
    """A live network, plain data.

    Attributes:
        base: the network while all is well.
        seed: of what is drawn, >= 0.
        cut: links that are down, as (sender, receiver).
        absent: clients that left.
        impairments: what goes wrong by itself.
        attacks: who lies, how and when.
        since: the first round whose delayed messages can arrive.
        by_columns: keep the sums of the columns of W at 1, not those of its rows: for push-sum. To
            be set where the algorithm needs "column-stochastic"; where the rows of W do not sum
            to 1 it is set by itself.
        clock: settings of the simulated clock, if there is one; retimed: they were changed.
        timing: the clock itself.
        deadline: what arrives later counts as lost, in seconds of a round; None: all is waited for.
        message_bytes, gradients: size of a message, and what comes before it, for the deadline.
    """

    base: Schedule
    _: KW_ONLY
    seed: int = 0
    cut: frozenset[Arc] = frozenset()
    absent: frozenset[int] = frozenset()
    impairments: Impairments = Impairments()
    attacks: tuple[Attack, ...] = ()
    since: int = 0
    by_columns: bool = False
    clock: ClockParams | None = None
    retimed: bool = False
    timing: Timing | None = None
    deadline: float | None = None
    message_bytes: float = 0.0
    gradients: float = 1.0

    def __post_init__(self) -> None:
        W, problems = self.base.mixing(0), []
        if np.abs(W.row_sums() - 1).max() > TOLERANCE:
            object.__setattr__(self, "by_columns", True)
        if self.impairments.on_loss == "renormalise" and self.by_columns:
            problems.append(
                "impairments.on_loss must be keep with push-sum, got renormalise: a receiver does "
                "not know what is missing from a column of W"
            )
        elif self.impairments.on_loss == "renormalise" and (W.weights < 0).any():
            problems.append(
                f"impairments.on_loss must be keep with {self.base.name!r}, whose W has negative "
                "weights, got renormalise"
            )
        if {"delay", "deadline"} <= set(self.drawn):
            problems.append(
                "impairments.delay and network.deadline both say when messages arrive; set one"
            )
        refuse(problems)

    # What the clients mix by.

    @property
    def drawn(self) -> tuple[str, ...]:
        """What makes one round's W differ from the next one's: keys of impairments, deadline."""
        late = self.timing is not None and self.deadline is not None
        return (*self.impairments.drawn, *(["deadline"] if late else []))

    @cached_property
    def remaining(self) -> Schedule:
        """W of the links and clients that are left, by round; `base` itself if all are."""
        if not self.cut and not self.absent:
            return self.base
        left = Remaining(self.base, self.cut, self.absent, self.by_columns)
        kept = self._promise if self.base.rule in ("given", "uniform") else self.base.keeps
        return replace(self.base, draw=left, notes=self._notes(), promise=kept)

    @property
    def _promise(self) -> Promise:
        """What W keeps whatever goes wrong: rows that sum to 1, or columns."""
        return replace(self.base.keeps, rows=not self.by_columns, columns=self.by_columns)

    @cached_property
    def schedule(self) -> Schedule:
        """W as it really comes out, by round; `base` itself if nothing is wrong."""
        if not self.drawn and not self.impairments.noise:
            return self.remaining
        impaired = Impaired(
            self.remaining,
            self.impairments,
            self.seed,
            self.since,
            self.by_columns,
            self.timing if "deadline" in self.drawn else None,
            self.deadline,
            self.message_bytes,
            self.gradients,
        )
        return replace(
            self.base,
            period=None if self.drawn else self.base.period,
            draw=impaired,
            notes=self._notes() if "participation" in self.drawn else self.remaining.notes,
            memory=self.impairments.delays[1],
            promise=self._promise,
        )

    def slots(self, round: int) -> int:
        """Neighbors of whoever sends to most of them in a round, or hears from most."""
        W = self.schedule.mixing(round)
        apart = W.receivers != W.senders
        ends = W.senders[apart], W.receivers[apart]
        return max(int(np.bincount(one, minlength=1).max()) for one in ends)

    def mixes_as(self, other: Network) -> bool:
        """Whether W is that of another one in every round, whoever lies, and however fast it is."""
        if self.schedule is other.schedule:
            return True
        if "deadline" in {*self.drawn, *other.drawn}:  # what is in time depends on the speed
            return False
        names = ("cut", "absent", "impairments", "since")
        alike = all(getattr(self, name) == getattr(other, name) for name in names)
        return alike and self.base is other.base

    def timed_as(self, other: Network) -> Network:
        """This network with the clock of another one of as many clients."""
        return replace(self, **{name: getattr(other, name) for name in CLOCK})

    def _notes(self) -> tuple[str, ...]:
        if self.base.rule != "best_constant":
            return self.base.notes
        note = (
            f"{self.base.name!r}: there is no best_constant where what is left of the network is "
            "in pieces; W is metropolis_hastings there"
        )
        return (*self.base.notes, note)

    def liars(self, round: int) -> np.ndarray | None:
        """Who lies in a round, bool [clients]; None: nobody. Who is gone does not."""
        mask = liars(self.attacks, round, self.num_clients)
        if mask is not None and self.absent:
            mask[list(self.absent)] = False
        return mask

    # What is to be said about it.

    def neighbors(self, client: int) -> list[int]:
        """Whom a client hears of in any round, by the links and clients that are left."""
        return senders_to(self.remaining, client)

    def components(self, round: int = 0) -> int:
        """In how many pieces the clients that are here are, by the links that are not cut.

        Over the rounds of a period, or 16 rounds from `round` on. Losses do not count. On a
        directed network two clients are in one piece if each can reach the other.
        """
        if self.base.period is not None:
            return self._components
        return self._count_components(range(round, round + ROUNDS_SEEN))

    @cached_property
    def _components(self) -> int:
        return self._count_components(self.base.rounds())

    def _count_components(self, rounds: Sequence[int]) -> int:
        here: np.ndarray = np.ones(self.num_clients, dtype=bool)
        here[list(self.absent)] = False
        links = [(W.senders, W.receivers) for W in map(self.remaining.mixing, rounds)]
        senders, receivers = map(np.concatenate, zip(*links, strict=True))
        if not self.base.directed:
            return len(np.unique(pieces_of(self.num_clients, senders, receivers)[here]))
        if all_reach_all(here, senders, receivers):
            return 1
        union = nx.DiGraph()
        union.add_nodes_from(np.flatnonzero(here).tolist())
        union.add_edges_from(zip(senders.tolist(), receivers.tolist(), strict=True))
        union.remove_nodes_from(self.absent)
        return nx.number_strongly_connected_components(union)

    def describe(self) -> str:
        """What is wrong, on one line; nothing if all is well.

        >>> from p2pqg.topology import build
        >>> Network(build("ring8")).drop_links(["0-1"]).drop_clients([4]).describe()
        '1 link down (0-1), 1 client absent (4)'
        """
        words = []
        for some, what in (
            (links_told(self.cut, self.base), "link{} down"),
            ([self.base.called(client) for client in sorted(self.absent)], "client{} absent"),
        ):
            if some:
                which = ", ".join(some[:4]) + (", ..." if len(some) > 4 else "")
                words.append(f"{len(some)} {what.format('s' * (len(some) > 1))} ({which})")
        if "deadline" in self.drawn:
            words.append(f"deadline {self.deadline:g} s")
        return ", ".join([*words, *self.impairments.describe()])

    def check_needs(self, needs: tuple[str, ...], algorithm: str, waits: bool = True) -> list[str]:
        """`p2pqg.topology.check_needs` of this network, whatever may still be drawn.

        Args:
            needs: of the algorithm.
            algorithm: its name.
            waits: clients go by rounds, whose W lacks what is lost. Otherwise a message is lost by
                itself, and a meeting for both.

        Returns:
            Warnings, a line each.

        Raises:
            ConfigError: what happens here takes from W what the algorithm relies on.
        """
        if not waits:
            return check_needs(self.remaining, needs, algorithm)
        if self.drawn and not PINNED.isdisjoint(needs):
            raise ConfigError(
                f"{algorithm} needs the same network in every round, which {', '.join(self.drawn)} "
                "would change. Leave that out, or use algorithm qg-dsgdm-n."
            )
        wrong = self.impairments
        uneven = wrong.by == "message" or wrong.on_loss == "renormalise" or self.base.directed
        some_missing = not {"loss", "delay", "deadline"}.isdisjoint(self.drawn)
        if uneven and some_missing and not {"symmetric", "doubly-stochastic"}.isdisjoint(needs):
            raise ConfigError(
                f"{algorithm} needs a doubly stochastic W, messages that are lost or late spoil "
                "it. Use impairments.by: link and on_loss: keep, on an undirected network."
            )
        warnings = check_needs(self.remaining, needs, algorithm)
        if self.schedule is not self.remaining:  # whose first rounds may be lucky: few talk in them
            drawn = check_needs(self.schedule, needs, algorithm)
            warnings += [line for line in drawn if line not in warnings]
        if "delay" in self.drawn:
            warnings.append(f"old models are mixed (delay): {algorithm} does not keep the mean")
        return warnings

    # As plain data.

    def to_data(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What `from_data` makes this network of: texts, numbers and lists; and arrays."""
        topology, arrays = self._stored
        about = {
            "topology": topology,
            "seed": self.seed,
            "cut": sorted(map(list, self.cut)),
            "absent": sorted(self.absent),
            "impairments": plain(self.impairments),
            "attacks": [attack.to_data() for attack in self.attacks],
            "since": self.since,
            "by_columns": self.by_columns,
        }
        if self.retimed and self.clock:
            about["clock"] = plain(self.clock)
        return about, arrays

    @cached_property
    def _stored(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return stored.to_data(self.base)

    @classmethod
    def from_data(
        cls, data: dict[str, Any], arrays: dict[str, np.ndarray], start: Network | None = None
    ) -> Network:
        """The network that `to_data` stored.

        Args:
            data: from `to_data`.
            arrays: the same.
            start: where it all began, as the recipe says: its clock is taken, if it was never
                changed, and its topology if that is a Python function, which cannot be stored.

        Raises:
            ConfigError: the topology is not what it was.
        """
        base = stored.from_data(data["topology"], arrays, start.base if start else None)
        wrong = made(Impairments, data["impairments"], "impairments.")
        known = CLOCK if start else ()
        clock: dict[str, Any] = {name: getattr(start, name) for name in known}
        if "clock" in data:
            clock = {"clock": made(ClockParams, data["clock"], "network."), "retimed": True}
        return cls(
            base,
            seed=data["seed"],
            cut=frozenset((int(a), int(b)) for a, b in data["cut"]),
            absent=frozenset(map(int, data["absent"])),
            impairments=wrong,
            attacks=tuple(Attack.of_data(attack) for attack in data.get("attacks", ())),
            since=data["since"],
            by_columns=data["by_columns"],
            **clock,
        )
