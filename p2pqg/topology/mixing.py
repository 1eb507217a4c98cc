"""Mixing: a sparse W, which round by round says who gives what weight to whose message."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Mixing:
    """A sparse W: entry k says that `receivers[k]` gives `weights[k]` to what `senders[k]` sent.

    Attributes:
        num_clients: n; W is [clients, clients].
        receivers: int64 [entries], rising.
        senders: int64 [entries], rising within one receiver. Own weights are entries too.
        weights: float64 [entries], none zero.

    A network where things go wrong says more; None is the rule:

    Attributes:
        sent: int64 [clients], messages that each client sends, if not all of them arrive.
        ages: int64 [entries], how many rounds ago the sender sent what is mixed.
        active: bool [clients], who takes part in the round; the others stand still.
        present: bool [clients], who belongs to the network; the others count in no mean.
        noise: standard deviation of what is added to every entry of every message, >= 0.
        rule: mixing rule that this W comes from, where not all rounds of its network have one.
    """

    num_clients: int
    receivers: np.ndarray
    senders: np.ndarray
    weights: np.ndarray
    sent: np.ndarray | None = None
    ages: np.ndarray | None = None
    active: np.ndarray | None = None
    present: np.ndarray | None = None
    noise: float = 0.0
    rule: str | None = None

    @classmethod
    def of(
        cls,
        num_clients: int,
        receivers: ArrayLike,
        senders: ArrayLike,
        weights: ArrayLike,
        ages: ArrayLike | None = None,
    ) -> Mixing:
        """W from entries in any order, each (receiver, sender) once; zeros are left out."""
        receivers = np.asarray(receivers, dtype=np.int64)
        senders = np.asarray(senders, dtype=np.int64)
        weights = np.asarray(weights, dtype=np.float64)
        order = np.lexsort((senders, receivers))
        order = order[weights[order] != 0]
        ages = None if ages is None else np.asarray(ages, dtype=np.int64)[order]
        return cls(num_clients, receivers[order], senders[order], weights[order], ages=ages)

    @property
    def is_perfect(self) -> bool:
        """Everyone is there, and every message arrives at once and as it was sent."""
        return self.noise == 0 and all(
            part is None for part in (self.sent, self.ages, self.active, self.present)
        )

    @classmethod
    def from_dense(cls, W: np.ndarray) -> Mixing:
        """W from an array [clients, clients]."""
        W = np.asarray(W, dtype=np.float64)
        receivers, senders = np.nonzero(W)
        return cls(len(W), receivers, senders, W[receivers, senders])

    def dense(self) -> np.ndarray:
        """float64 [clients, clients], W[receiver, sender]."""
        W = np.zeros((self.num_clients, self.num_clients))
        W[self.receivers, self.senders] = self.weights
        return W

    def transposed(self) -> Mixing:
        """Receivers and senders change places."""
        return Mixing.of(self.num_clients, self.senders, self.receivers, self.weights)

    def lazy(self) -> Mixing:
        """(W + I) / 2: everyone keeps half; all eigenvalues of a symmetric W become >= 0."""
        everyone = np.arange(self.num_clients)
        own = np.zeros(self.num_clients)
        itself = self.receivers == self.senders
        own[self.receivers[itself]] = self.weights[itself]
        return Mixing.of(
            self.num_clients,
            np.concatenate([self.receivers[~itself], everyone]),
            np.concatenate([self.senders[~itself], everyone]),
            np.concatenate([self.weights[~itself], own + 1]) / 2,
        )

    def apply(self, x: np.ndarray) -> np.ndarray:
        """W x for x [clients]."""
        return np.bincount(self.receivers, self.weights * x[self.senders], self.num_clients)

    def row_sums(self) -> np.ndarray:
        """float64 [clients]: what each receiver's weights sum to."""
        return np.bincount(self.receivers, self.weights, self.num_clients)

    def column_sums(self) -> np.ndarray:
        """float64 [clients]: what the weights given to each sender sum to."""
        return np.bincount(self.senders, self.weights, self.num_clients)

    def out_degrees(self) -> np.ndarray:
        """int64 [clients]: to how many others each client sends."""
        if self.sent is not None:
            return self.sent
        return np.bincount(self.senders[self.senders != self.receivers], minlength=self.num_clients)

    def is_symmetric(self, tolerance: float = 1e-9) -> bool:
        """Whether W equals its transpose, entry by entry."""
        other = self.transposed()
        return (
            np.array_equal(self.receivers, other.receivers)
            and np.array_equal(self.senders, other.senders)
            and np.allclose(self.weights, other.weights, rtol=0, atol=tolerance)
        )

    def is_mutual(self) -> bool:
        """Whether everyone who sends to somebody hears of them, too: its pattern is symmetric."""
        others = self.receivers != self.senders
        receivers, senders = self.receivers[others], self.senders[others]
        codes = receivers * self.num_clients + senders
        return np.array_equal(np.sort(senders * self.num_clients + receivers), codes)

    def graph(self) -> nx.Graph | nx.DiGraph:
        """Who talks to whom: undirected where W's pattern is symmetric, else sender -> receiver."""
        others = self.receivers != self.senders
        receivers, senders = self.receivers[others], self.senders[others]
        graph = nx.Graph() if self.is_mutual() else nx.DiGraph()
        graph.add_nodes_from(range(self.num_clients))
        graph.add_edges_from(zip(senders.tolist(), receivers.tolist(), strict=True))
        return graph
