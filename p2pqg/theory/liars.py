"""How many liars a network can bear: what they weigh at a receiver, and whether the honest agree.

delta_i is the sum of W[i, k] over the liars k that an honest i hears. ClippedGossip converges where
its largest value is small against the square of the spectral gap of the honest: that of W among the
honest alone, where each keeps what it gave to liars (He, Karimireddy, Jaggi, arXiv:2202.01545).
Rules that count, such as trimmed-mean, ask for an honest majority at every receiver. No rule helps
where the liars lie between the honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.network.clients import Clients
from p2pqg.network.named import clients_in
from p2pqg.topology import Schedule, spectral_gap
from p2pqg.topology.checks import all_reach_all

MOST_LIARS = 4
MOST_WORK = 4e8
"""Placements tried x clients cubed, at most."""


@dataclass(frozen=True)
class Bearing:
    """What some liars can do to a network, at worst.

    Attributes:
        liars: how many; who: their names, where they were named; else it is the worst placement.
        weight: delta, of all liars that an honest client hears; receiver: whose it is.
        heard: most liars among an honest client's neighbors; majority: everywhere fewer than half
            of what a client has, its own model included.
        connected: the honest stay in one piece.
        gap: spectral gap of the honest; None: not worked out.
    """

    liars: int
    who: tuple[str, ...]
    weight: float
    receiver: str
    heard: int
    majority: bool
    connected: bool
    gap: float | None

    @property
    def borne(self) -> bool:
        """Whether some rule can help."""
        return self.connected and self.majority and self.weight < 0.5


def bearings(schedule: Schedule) -> list[Bearing]:
    """What 1, 2, ... liars can do, wherever they are, as long as all placements can be tried.

    Ends with the first number that cannot be borne. Empty where W changes or is not symmetric.
    """
    if schedule.period != 1 or not schedule.mixing(0).is_symmetric():
        return []
    n, found = schedule.num_clients, list[Bearing]()
    for liars in range(1, min(MOST_LIARS, n - 1) + 1):
        if comb(n, liars) * n**3 > MOST_WORK:
            break
        found.append(_worst(schedule, liars))
        if not found[-1].borne:
            break
    return found


def bearing(schedule: Schedule, liars: Any) -> Bearing:
    """What certain clients can do if they lie.

    Raises:
        ConfigError: there are no such clients, or nobody else.
        TopologyError: W changes, so that there is not one answer.
    """
    if schedule.period != 1:
        raise TopologyError(
            f"{schedule.name!r} must stay the same from round to round for liars to be examined. "
            "Use one such as ring16."
        )
    who = sorted(clients_in(liars, Clients.of(schedule), "liars"))
    if len(who) == schedule.num_clients:
        raise TopologyError("liars: nobody would be honest; leave at least one client out")
    return _of(schedule, schedule.mixing(0).dense(), who, named=True)


def _worst(schedule: Schedule, liars: int) -> Bearing:
    """The worst of all placements, thing by thing."""
    W = schedule.mixing(0).dense()
    every = [_of(schedule, W, who) for who in combinations(range(len(W)), liars)]
    heaviest = max(every, key=lambda one: one.weight)
    return Bearing(
        liars=liars,
        who=(),
        weight=heaviest.weight,
        receiver=heaviest.receiver,
        heard=max(one.heard for one in every),
        majority=all(one.majority for one in every),
        connected=all(one.connected for one in every),
        gap=min(one.gap for one in every if one.gap is not None),
    )


def _of(schedule: Schedule, W: np.ndarray, who: Sequence[int], named: bool = False) -> Bearing:
    honest = np.ones(len(W), dtype=bool)
    honest[list(who)] = False
    to_liars = np.where(honest[:, None], W, 0)[:, ~honest]
    weights, heard = to_liars.sum(1), (to_liars > 0).sum(1)
    apart = W.copy()
    np.fill_diagonal(apart, 0)
    degrees = (apart > 0).sum(1)
    among = W[np.ix_(honest, honest)]
    np.fill_diagonal(among, among.diagonal() + weights[honest])
    receiver = int(weights.argmax())
    symmetric = np.allclose(among, among.T)
    return Bearing(
        liars=len(who),
        who=tuple(schedule.called(client) for client in who) if named else (),
        weight=float(weights.max()),
        receiver=schedule.called(receiver),
        heard=int(heard.max()),
        majority=bool((2 * heard < degrees + 1)[honest].all()),
        connected=_in_one_piece(among),
        gap=max(0.0, float(spectral_gap(among))) if symmetric else None,
    )


def _in_one_piece(W: np.ndarray) -> bool:
    receivers, senders = np.nonzero(W)
    everyone: np.ndarray = np.ones(len(W), dtype=bool)
    if (found := all_reach_all(everyone, senders, receivers)) is not None:
        return found
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(W)))
    graph.add_edges_from(zip(senders.tolist(), receivers.tolist(), strict=True))
    return bool(nx.is_strongly_connected(graph))
