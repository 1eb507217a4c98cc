"""A network with more clients than before."""

from __future__ import annotations

from functools import partial

import networkx as nx

from p2pqg.base.errors import TopologyError
from p2pqg.network.effective import Arc
from p2pqg.topology import RULES, TOPOLOGIES, Mixing, Schedule, build
from p2pqg.topology.names import split_name
from p2pqg.topology.schedule import in_turn


def longer(name: str | None, n: int) -> Schedule | None:
    """The network of the same name with n clients, ring16 -> ring17; None: there is no such thing.

    Raises:
        TopologyError: there is, but not of that size.
    """
    name = name or ""
    stem = split_name(name)[0]
    if stem not in TOPOLOGIES or TOPOLOGIES[stem].traits["size"] is not None:
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
    rounds = tuple(_with(base.mixing(round), base.rule, n, arcs) for round in range(base.period))
    return Schedule(
        f"{base.name}+{n - base.num_clients}",
        n,
        base.directed,
        base.period,
        partial(in_turn, rounds),
        base.rule,
        labels,
        base.source,
        base.notes,
    )


def _with(W: Mixing, rule: str, n: int, arcs: frozenset[Arc]) -> Mixing:
    graph = W.graph()
    if not {arc[::-1] for arc in arcs} <= arcs:
        graph = nx.DiGraph(graph)
    graph.add_nodes_from(range(n))
    graph.add_edges_from(arcs)
    return RULES[rule].build(graph)
