"""A network with more clients than before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import networkx as nx

from p2pqg.base.errors import TopologyError
from p2pqg.network import stored
from p2pqg.network.effective import Arc
from p2pqg.topology import RULES, TOPOLOGIES, Mixing, Schedule, build
from p2pqg.topology.build import of_size
from p2pqg.topology.names import split_name


def longer(base: Schedule, n: int) -> Schedule | None:
    """The same network with n clients, ring16 -> ring17, or a user's function that is told n.

    Returns:
        None: there is no such thing.

    Raises:
        TopologyError: there is, but not of that size.
    """
    if (before := of_size(base, base.num_clients)) is not None:
        same = stored.fingerprint(before) == stored.fingerprint(base)
        return of_size(base, n) if same else None
    name = stored.name_of(base) or ""
    stem = split_name(name)[0]
    if stem not in TOPOLOGIES or TOPOLOGIES.named(stem).traits["size"] is not None:
        return None
    tail = name.partition(":")[2]
    return build(f"{stem}{n}{':' + tail if tail else ''}")


def joined(base: Schedule, labels: tuple[str, ...], n: int, arcs: frozenset[Arc]) -> Schedule:
    """The network with n clients and more links in every round; W by its rule.

    Raises:
        TopologyError: there is no rule that would weigh the new links.
    """
    if base.rule == "given" or base.period is None:
        why = "its weights are given" if base.rule == "given" else "it is drawn in every round"
        raise TopologyError(
            f"{base.name!r} cannot take new links, {why}. Give topology instead: a network of all "
            f"{n} clients."
        )
    return replace(
        base,
        name=f"{base.name}+{n - base.num_clients}" if n > base.num_clients else base.name,
        num_clients=n,
        draw=Joined(base, n, arcs),
        labels=labels,
    )


@dataclass(frozen=True, eq=False)
class Joined:
    """W of a round with more links, by the rule of the network that they join.

    Attributes:
        base: the network before.
        num_clients: n, afterwards.
        arcs: the new links, each direction by itself.
    """

    base: Schedule
    num_clients: int
    arcs: frozenset[Arc]

    def __call__(self, round: int) -> Mixing:
        graph = self.base.mixing(round).graph()
        if not {arc[::-1] for arc in self.arcs} <= self.arcs:
            graph = nx.DiGraph(graph)
        graph.add_nodes_from(range(self.num_clients))
        graph.add_edges_from(self.arcs)
        return RULES[self.base.rule].build(graph)
