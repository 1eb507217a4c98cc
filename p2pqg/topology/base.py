"""Base-(k+1) graphs: the exact mean of any number of clients after finitely many rounds.

Takezawa, Sato, Bao, Niwa, Yamada, NeurIPS 2023, arXiv:2305.11420; built anew, W for W those of the
authors' code (but where the rounding of a logarithm costs it a digit, as with 3^5 clients). Every
round is a symmetric, doubly stochastic W with at most k neighbors; the product is J. A phase is a
list of rounds; a round is a list of edges (client, client, weight).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations
from typing import Annotated

import networkx as nx

from p2pqg.topology._registry import topology
from p2pqg.topology.schedule import Rounds

Edge = tuple[int, int, float]
Phase = list[list[Edge]]
Build = Callable[[Sequence[int], int], Phase]


@lru_cache(maxsize=4096)
def _factors(n: int, k: int) -> tuple[int, ...] | None:
    """The fewest factors in 2 .. k+1 whose product is n, the largest ones first.

    None if n has a prime factor above k+1.
    """
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
    return hyper_hypercube(clients, factors[::-1])


class _Group:
    """Clients that find their mean, in equal subgroups that do so again in the end.

    Attributes:
        clients: a (k+1)^p of them.
        subgroups: a of (k+1)^p clients each.
        whole: the phase of all.
        ends: that of the subgroups side by side; of a group of up to k clients, `whole`.
    """

    def __init__(self, clients: Sequence[int], size: int, k: int) -> None:
        self.clients = clients
        self.subgroups = [clients[at : at + size] for at in range(0, len(clients), size)]
        self.whole = exact(clients, k)
        parts = [exact(one, k) for one in self.subgroups] if size > 1 else [self.whole]
        self.ends = [
            [edge for part in rounds for edge in part] for rounds in zip(*parts, strict=True)
        ]

    @property
    def length(self) -> int:
        """Rounds of its subgroups."""
        return len(self.ends)


def simple_base(clients: Sequence[int], k: int) -> Phase:
    """The exact mean for any number of clients, from its digits in base k+1.

    n = sum_l a_l (k+1)^p_l, p falling. Group l has a_l (k+1)^p_l clients and a_l equal subgroups.
    First every group finds its mean. Then group by group, each client of the later groups meets
    one client in each subgroup, with weights that bring the mean of every subgroup, and of the
    later groups, to the mean of all; at last the subgroups average. Who has nothing to do repeats
    its averages, or averages with others who have not, which the exact mean does not need.
    """
    if _factors(len(clients), k) is not None:
        return exact(clients, k)
    groups: list[_Group] = []
    size, rest = 1, list(clients)
    while size * (k + 1) <= len(clients):
        size *= k + 1
    while size:
        count = len(rest) // size * size
        if count:
            groups.append(_Group(rest[:count], size, k))
        rest, size = rest[count:], size // (k + 1)

    first, last = len(groups[0].whole), len(groups) - 1
    phase: Phase = [
        [edge for group in groups for edge in _turn(group.whole, round)] for round in range(first)
    ]
    for round in range(1 + groups[0].length):
        edges: list[Edge] = []
        if round < last:
            edges += _meetings(groups[round], groups[round + 1 :], k)
        for at, group in enumerate(groups):
            done = round - at - (at < last)
            if done >= 0:
                edges += _turn(group.ends, done)
        phase.append(edges)
    return phase


def _turn(phase: Phase, round: int) -> list[Edge]:
    """The edges of a round of a phase that is repeated."""
    return phase[round % len(phase)] if phase else []


def _meetings(group: _Group, later: Sequence[_Group], k: int) -> list[Edge]:
    """Each later client meets one of every subgroup; who is left over averages, k + 1 at a time."""
    partners = [list(one) for one in group.subgroups]
    others = [client for one in reversed(later) for client in one.clients]
    weight = len(group.clients) / (len(group.clients) + len(others)) / len(partners)
    edges = [(client, one.pop(), weight) for client in others for one in partners]
    left = [client for one in partners for client in one]
    for at in range(0, len(left), k + 1):
        some = left[at : at + k + 1]
        edges += [(i, j, 1 / len(some)) for i, j in combinations(some, 2)]
    return edges


def _add(phase: Phase, start: int, rounds: Phase) -> None:
    """Let `rounds` happen from round `start` on, beside what happens there already."""
    phase += [[] for _ in range(start + len(rounds) - len(phase))]
    for round, edges in enumerate(rounds, start):
        phase[round] = phase[round] + edges


def base(clients: Sequence[int], k: int) -> Phase:
    """Simple Base within `smooth` equal groups, then means across them, unless that is longer.

    n = smooth x rough, where no prime factor of rough is <= k+1.
    """
    simple = simple_base(clients, k)
    smooth, rough = 1, len(clients)
    for f in range(2, min(k + 1, rough) + 1):
        while rough % f == 0:
            smooth, rough = smooth * f, rough // f
    if 1 in (smooth, rough):
        return simple
    groups = [clients[at : at + rough] for at in range(0, len(clients), rough)]
    phase: Phase = []
    for group in groups:
        _add(phase, 0, simple_base(group, k))
    end = len(phase)
    for across in zip(*groups, strict=True):
        _add(phase, end, exact(across, k))
    return phase if len(phase) <= len(simple) else simple


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
