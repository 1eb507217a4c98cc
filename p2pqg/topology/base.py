"""Base-(k+1) graphs: the exact mean of any number of clients after finitely many rounds.

Takezawa, Sato, Bao, Niwa, Yamada, NeurIPS 2023, arXiv:2305.11420; built anew from the paper's idea.
Every round is a symmetric, doubly stochastic W with at most k neighbors; the product is J. A phase
is a list of rounds; a round is a list of edges (client, client, weight).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated

import networkx as nx

from p2pqg.topology._registry import topology
from p2pqg.topology.schedule import Rounds

Edge = tuple[int, int, float]
Phase = list[list[Edge]]
Build = Callable[[Sequence[int], int], Phase]


@lru_cache(maxsize=4096)
def _factors(n: int, k: int) -> tuple[int, ...] | None:
    """The fewest factors in 2 .. k+1 whose product is n; None if n has a larger prime factor."""
    if n == 1:
        return ()
    ways = [(f, _factors(n // f, k)) for f in range(min(k + 1, n), 1, -1) if n % f == 0]
    return min(((f, *rest) for f, rest in ways if rest is not None), key=len, default=None)


def hyper_hypercube(clients: Sequence[int], factors: Sequence[int]) -> Phase:
    """Means over the digits of the clients' positions, one digit (of base f) per round."""
    phase: Phase = []
    stride = 1
    for f in factors:
        edges: list[Edge] = []
        for i in range(len(clients)):
            later = range(i // stride % f + 1, f)
            digit = i // stride % f
            edges += [(clients[i], clients[i + (d - digit) * stride], 1 / f) for d in later]
        phase.append(edges)
        stride *= f
    return phase


def exact(clients: Sequence[int], k: int) -> Phase:
    """Their mean, of a number of clients that has no prime factor above k+1."""
    factors = _factors(len(clients), k)
    assert factors is not None
    return hyper_hypercube(clients, factors)


def simple_base(clients: Sequence[int], k: int) -> Phase:
    """The exact mean for any number of clients, from its digits in base k+1.

    n = sum_l a_l (k+1)^p_l, p falling. Group l has a_l (k+1)^p_l clients and a_l equal subgroups.
    First every group finds its mean. Then group by group, each client of the later groups meets
    one client in each subgroup, with weights that bring the mean of every subgroup, and of the
    later groups, to the mean of all; at last the subgroups average.
    """
    if _factors(len(clients), k) is not None:
        return exact(clients, k)
    groups = []  # (clients of the group, size of its subgroups)
    size, rest = 1, list(clients)
    while size * (k + 1) <= len(clients):
        size *= k + 1
    while size:
        count = len(rest) // size * size
        if count:
            groups.append((rest[:count], size))
        rest, size = rest[count:], size // (k + 1)

    within = [exact(group, k) for group, _ in groups]
    first = len(within[0])
    phase: Phase = [[] for _ in range(first + len(groups) - 1)]
    for rounds in within:
        _add(phase, 0, rounds)
    for j, (group, size) in enumerate(groups[:-1]):
        later = [client for other, _ in groups[j + 1 :] for client in other]
        weight = size / (len(group) + len(later))
        _add(phase, first + j, [_meetings(group, size, later, weight)])
        for at in range(0, len(group), size):
            subgroup = group[at : at + size]
            _add(phase, first + j + 1, exact(subgroup, k))
    return phase


def _meetings(group: list[int], size: int, later: list[int], weight: float) -> list[Edge]:
    """The i-th later client meets the i-th client of every subgroup."""
    return [
        (client, group[at + i], weight)
        for i, client in enumerate(later)
        for at in range(0, len(group), size)
    ]


def _add(phase: Phase, start: int, rounds: Phase) -> None:
    """Let `rounds` happen from round `start` on, beside what happens there already."""
    phase += [[] for _ in range(start + len(rounds) - len(phase))]
    for round, edges in enumerate(rounds, start):
        phase[round] = phase[round] + edges


def base(clients: Sequence[int], k: int) -> Phase:
    """Simple Base within `smooth` equal groups, then means across them, if that is shorter.

    n = smooth x rough, where no prime factor of rough is <= k+1.
    """
    simple = simple_base(clients, k)
    smooth, rough = 1, len(clients)
    for f in range(2, k + 2):
        while rough % f == 0:
            smooth, rough = smooth * f, rough // f
    groups = [clients[at : at + rough] for at in range(0, len(clients), rough)]
    phase: Phase = []
    for group in groups:
        _add(phase, 0, simple_base(group, k))
    end = len(phase)
    for across in zip(*groups, strict=True):
        _add(phase, end, exact(across, k))
    return phase if len(phase) < len(simple) else simple


@dataclass(frozen=True, kw_only=True)
class BaseParams:
    k: Annotated[int, ">= 1"] = 1
    """Most neighbors in a round, >= 1. 1: pairs; n - 1: complete."""


@lru_cache(maxsize=8)
def _phase(build: Build, num_clients: int, k: int) -> Phase:
    return build(range(num_clients), k) or [[]]


def _round_of(build: Build, num_clients: int, k: int, round: int) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(num_clients))
    graph.add_weighted_edges_from(_phase(build, num_clients, k)[round])
    return graph


def _rounds(build: Build, num_clients: int, k: int) -> Rounds:
    period = len(_phase(build, num_clients, k))
    return Rounds(partial(_round_of, build, num_clients, k), period)


@topology("base", params=BaseParams, rule="given", source="Takezawa et al., NeurIPS 2023")
def base_graph(num_clients: int, params: BaseParams) -> Rounds:
    """Base-(k+1) graph: at most k neighbors a round, exact mean in about 2 log_(k+1) n rounds."""
    return _rounds(base, num_clients, params.k)


@topology("simple-base", params=BaseParams, rule="given", source="Takezawa et al., NeurIPS 2023")
def simple_base_graph(num_clients: int, params: BaseParams) -> Rounds:
    """Simple Base-(k+1) graph: as base, sometimes a few rounds longer."""
    return _rounds(simple_base, num_clients, params.k)
