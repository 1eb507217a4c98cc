"""round -> W as it really comes out: what is left of the network, and what arrives.

Both steps are plain data that can be called: every process works out the same W by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.network.impairments import Impairments
from p2pqg.network.remains import rebuilt, without
from p2pqg.network.timing import Timing
from p2pqg.network.units import still
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.schedule import Schedule

Arc = tuple[int, int]
"""(sender, receiver)"""


@dataclass(frozen=True, eq=False)
class Remaining:
    """W of the links that are not cut and the clients that are here.

    Attributes:
        base: the network while all is well.
        cut: links that are down, each direction by itself.
        absent: clients that left.
        by_columns: the columns of W stay at 1, not its rows (push-sum).
    """

    base: Schedule
    cut: frozenset[Arc]
    absent: frozenset[int]
    by_columns: bool

    def __call__(self, round: int) -> Mixing:
        W, n = self.base.mixing(round), self.base.num_clients
        if self.cut and not self.base.directed and not W.is_mutual():
            raise TopologyError(
                f"'{self.base.name}, round {round}': links go one way, which none did in its first "
                "rounds, so it counts as undirected, and those that are cut are cut both ways. "
                "Return an nx.DiGraph, which is directed in any case."
            )
        down = np.array([sender * n + receiver for sender, receiver in self.cut], dtype=np.int64)
        gone = np.isin(W.senders * n + W.receivers, down)
        if not self.absent:
            return rebuilt(W, self.base.rule, gone, self.by_columns)
        here = np.ones(n, dtype=bool)
        here[list(self.absent)] = False
        gone |= ~(here[W.senders] & here[W.receivers])
        W = rebuilt(W, self.base.rule, gone, self.by_columns)
        return replace(W, active=here, present=here)


@dataclass(frozen=True, eq=False)
class Impaired:
    """W of the messages that arrive, among those who take part.

    Attributes:
        remaining: the network that is left, see `Remaining`.
        impairments: what goes wrong.
        seed: of what is drawn.
        since: the first round whose delayed messages can arrive.
        by_columns: as of `Remaining`.
        timing: the simulated clock, if there is one.
        deadline: messages that arrive later count as lost, in seconds since the start of the
            round; None: none is too late.
        message_bytes: of each message; gradients: that a client computes before it.
    """

    remaining: Schedule
    impairments: Impairments
    seed: int
    since: int
    by_columns: bool
    timing: Timing | None
    deadline: float | None
    message_bytes: float
    gradients: float = 1.0

    def __call__(self, round: int) -> Mixing:
        W, wrong = self.remaining.mixing(round), self.impairments
        active, present = W.active, W.present
        if wrong.participation < 1:
            active = wrong.takes_part(self.seed, round, np.arange(W.num_clients))
            active = active if present is None else active & present
            gone = ~(active[W.senders] & active[W.receivers])
            W = rebuilt(W, self.remaining.rule, gone, self.by_columns)
        W = replace(W, active=active, present=present)
        missing, ages = self._arrivals(W, round)
        sent = W.out_degrees() if missing.any() else None
        W = replace(W, ages=ages)
        if missing.any():
            keeper = "sender" if self.by_columns else "receiver"
            W = without(W, missing, "nobody" if wrong.on_loss == "renormalise" else keeper)
        return replace(W, sent=sent, active=active, present=present, noise=wrong.noise)

    def _arrivals(self, W: Mixing, round: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Which entries of W do not arrive, and how old the others are; None: all are fresh."""
        wrong, apart = self.impairments, W.receivers != W.senders
        links = W.senders[apart], W.receivers[apart]
        missing: np.ndarray = np.zeros(len(apart), dtype=bool)
        ages = None
        if "delay" in wrong.drawn:
            ages = np.zeros(len(apart), dtype=np.int64)
            ages[apart] = wrong.ages(self.seed, round, *links, since=self.since)
            missing = ages < 0
        else:
            missing[apart] = wrong.lost(self.seed, round, *links)
        if self.timing is not None and self.deadline is not None:
            late = self._late(W, round, missing)
            missing |= late
            if wrong.by == "link":
                missing |= other_way(W, late)
        return missing, ages

    def _late(self, W: Mixing, round: int, lost: np.ndarray) -> np.ndarray:
        """Which entries come after the deadline; what is lost takes nobody's downlink."""
        assert self.timing is not None
        assert self.deadline is not None
        coming = W
        if lost.any():
            coming = replace(without(W, lost, "receiver"), sent=W.out_degrees(), active=W.active)
        at = self.timing.arrivals(coming, round, self.message_bytes, 0, self.gradients)
        late = np.zeros(len(lost), dtype=bool)
        of_others = coming.receivers != coming.senders
        late[(W.receivers != W.senders) & ~lost] = at[of_others] > still(self.deadline)
        return late


def other_way(W: Mixing, entries: np.ndarray) -> np.ndarray:
    """The opposite directions of some entries, bool [entries]; those that W has."""
    codes = W.receivers * W.num_clients + W.senders  # they rise: the order of the entries
    opposite = W.senders * W.num_clients + W.receivers
    return np.isin(codes, opposite[entries])
