"""The network of `teleportation`: few clients are active in a round, each in a slot.

k clients are drawn in every round, one for each slot, and hear of those of the round before: slot j
takes the mean of the models in slot j and in the slots 1, 2, 4, ... ahead, an exponential graph of
k slots. Gossip among the active ones and the way to the next ones are one message here, so W has
rows that sum to 1, and columns that do not. Who is not active keeps its model, and no slot has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.base.seeding import rng
from p2pqg.topology._registry import Seeded, topology
from p2pqg.topology.graphs import powers_of_two
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.mixing_rules import RULES, Arcs, given
from p2pqg.topology.schedule import Rounds

NAME = "teleportation"


@dataclass(frozen=True, kw_only=True)
class TeleportationParams(Seeded):
    k: Annotated[int | None, ">= 2"] = None
    """Active clients in each round, 2 .. n; nothing: 4, or all of fewer. n: all, and each is in
    another slot every round."""


@RULES.register(NAME, source="Takezawa, Stich, ICLR 2025", columns=False)
def of_slots(graph: nx.DiGraph) -> Mixing:
    """The weights of the network of that name, whose columns need not sum to 1."""
    return given(graph)


def active(num_clients: int, params: TeleportationParams, round: int) -> np.ndarray:
    """int64 [k]: the client in each slot; round -1 is that before the first."""
    draws = rng(params.seed, NAME, round + 1)
    return draws.permutation(num_clients)[: 4 if params.k is None else params.k]


@topology(
    NAME,
    params=TeleportationParams,
    rule=NAME,
    source="Takezawa, Stich, ICLR 2025",
    neighbors=lambda num_clients, params: 2,
)
def teleportation(num_clients: int, params: TeleportationParams) -> Rounds:
    """A few clients, drawn every round, hear of those of the round before: for teleportation."""
    if num_clients < 2:
        raise TopologyError("teleportation needs at least 2 clients. Use teleportation2.")
    if params.k is not None and params.k > num_clients:
        raise TopologyError(
            f"k must be <= clients, got k={params.k} and {num_clients} clients. Use a smaller k."
        )
    return Rounds(partial(_arrivals, num_clients, params), None)


def _arrivals(num_clients: int, params: TeleportationParams, round: int) -> Arcs:
    before, now = (active(num_clients, params, one) for one in (round - 1, round))
    k = len(now)
    ahead = np.array([0, *powers_of_two(k)])
    senders = before[(np.arange(k)[:, None] + ahead) % k]  # [slots, heard]
    receivers = np.broadcast_to(now[:, None], senders.shape)
    # Whoever arrives in a slot keeps nothing of what it had, unless it was there before.
    apart = now[(senders != receivers).all(1)]
    weights = np.full(senders.size, 1 / len(ahead))
    return Arcs(
        num_clients,
        np.concatenate([senders.ravel(), apart]),
        np.concatenate([receivers.ravel(), apart]),
        directed=True,
        weights=np.concatenate([weights, np.zeros(len(apart))]),
    )
