"""Networks that change from round to round, one decorated function each.

A builder returns `Rounds`: a module's function of the round, and the period.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.base.registry import NoParams
from p2pqg.base.seeding import rng
from p2pqg.topology._registry import Seeded, ahead, hops, network, topology
from p2pqg.topology.graphs import binary_tree, dimensions, powers_of_two
from p2pqg.topology.mixing_rules import Arcs
from p2pqg.topology.schedule import Rounds


@dataclass(frozen=True, kw_only=True)
class OnepeerParams:
    start: Annotated[int, ">= 0"] = 0
    """Round 0 uses hop 2^start, >= 0. 1: as the paper's own code, which begins with hop 2."""


@topology(
    "onepeer-exponential",
    params=OnepeerParams,
    rule="uniform",
    source="Assran et al., ICML 2019 (SGP); Ying et al., NeurIPS 2021",
)
def onepeer_exponential(num_clients: int, params: OnepeerParams) -> Rounds:
    """Directed, one message each: hops 1, 2, 4, ... in turn; exact mean if n is a power of 2."""
    sizes = powers_of_two(num_clients) or [0]
    return Rounds(partial(_hop, num_clients, sizes, params.start), len(sizes))


def _hop(num_clients: int, sizes: list[int], start: int, round: int) -> Arcs:
    edges = ahead(num_clients, [sizes[(start + round) % len(sizes)]])
    return Arcs.of(num_clients, edges, directed=True)


@topology("onepeer-hypercube", source="Shi et al., 2016")
def onepeer_hypercube(num_clients: int, params: NoParams) -> Rounds:
    """Pairs along one dimension of a hypercube per round; exact mean after log2 n rounds."""
    d = dimensions(num_clients, "onepeer-hypercube")
    return Rounds(partial(_dimension, num_clients), max(d, 1))


def _dimension(num_clients: int, round: int) -> Arcs:
    i = np.arange(num_clients)
    return Arcs.of(num_clients, np.stack([i, (i ^ (1 << round)) % num_clients], axis=1))


@topology("bipartite-exponential", source="Lin et al., ICML 2021, code")
def bipartite_exponential(num_clients: int, params: NoParams) -> Rounds:
    """Pairs: an odd client i and i + 2^j - 1 < n - 1, j = 1, 2, ... in turn; an even number."""
    if num_clients % 2:
        raise TopologyError(
            f"bipartite-exponential needs an even number of clients, got {num_clients}. "
            f"Use bipartite-exponential{num_clients + 1} or onepeer-exponential{num_clients}."
        )
    if num_clients == 4:
        raise TopologyError(
            "bipartite-exponential of 4 clients has one hop only, and falls into two pairs that "
            "never meet. Use onepeer-hypercube4 or bipartite-exponential6."
        )
    hops = max(1, (num_clients - 1).bit_length() - 1)  # of two clients the only one
    return Rounds(partial(_odd_and_even, num_clients), hops)


def _odd_and_even(num_clients: int, round: int) -> Arcs:
    odd = np.arange(1, num_clients, 2)
    return Arcs.of(num_clients, np.stack([odd, (odd + 2 ** (round + 1) - 1) % num_clients], axis=1))


@dataclass(frozen=True, kw_only=True)
class CecaParams:
    ports: int = 2
    """2: clients send to one and hear another; 1: in pairs, for an even number of them."""

    def problems(self) -> Iterator[str]:
        if self.ports not in (1, 2):
            yield f"ports must be 1 or 2, got {self.ports}"


@topology(
    "ceca",
    params=CecaParams,
    rule="given",
    source="Ding et al., ICML 2023, and its code",
    neighbors=lambda num_clients, params: 1,
)
def ceca(num_clients: int, params: CecaParams) -> Rounds:
    """One message each; dsgd-ceca has the exact mean every ceil(log2 n) rounds, whatever n is."""
    if params.ports == 1 and num_clients % 2 and num_clients > 1:
        raise TopologyError(
            f"ceca with ports=1 needs an even number of clients, got {num_clients}. Use "
            f"ceca{num_clients} or ceca{num_clients + 1}:ports=1."
        )
    return Rounds(partial(_ceca, num_clients, params.ports), max(1, (num_clients - 1).bit_length()))


def _ceca(num_clients: int, ports: int, round: int) -> nx.Graph | nx.DiGraph:
    n, i = num_clients, np.arange(num_clients)
    left = (n - 1).bit_length() - round
    heard, digit = (n - 1) >> left, (n - 1) >> max(left - 1, 0) & 1
    if ports == 2:
        graph = hops(n, [heard + digit], directed=True)
    else:
        odd = i[1::2]
        graph = network(n, np.stack([odd, (odd + 2 * heard + 1) % n], axis=1))
    nx.set_edge_attributes(graph, (heard + digit) / (2 * heard + 1), "weight")
    return graph


@topology("random-matching", params=Seeded, source="Boyd et al., 2006 (randomized gossip)")
def random_matching(num_clients: int, params: Seeded) -> Rounds:
    """Random pairs, drawn every round; with an odd number one client is left idle."""
    return Rounds(partial(_pairs, num_clients, params.seed), None)


def _pairs(num_clients: int, seed: int, round: int) -> Arcs:
    order = rng(seed, "random-matching", round).permutation(num_clients)
    return Arcs.of(num_clients, order[: num_clients // 2 * 2].reshape(-1, 2))


@topology("random-ring", params=Seeded, source="Lin et al., ICML 2021, code")
def random_ring(num_clients: int, params: Seeded) -> Rounds:
    """A ring whose order is drawn anew every round."""
    return Rounds(partial(_shuffled_ring, num_clients, params.seed), None)


def _shuffled_ring(num_clients: int, seed: int, round: int) -> Arcs:
    order = rng(seed, "random-ring", round).permutation(num_clients)
    return Arcs.of(num_clients, np.stack([order, np.roll(order, -1)], axis=1))


@dataclass(frozen=True, kw_only=True)
class RandomPeerParams(Seeded):
    k: Annotated[int, ">= 1"] = 1
    """Receivers of each client in each round, >= 1 and < n."""


@topology(
    "random-peer",
    params=RandomPeerParams,
    rule="columns",
    source="Kempe et al., FOCS 2003",
    neighbors=lambda num_clients, params: min(params.k, num_clients),
)
def random_peer(num_clients: int, params: RandomPeerParams) -> Rounds:
    """Directed: everyone sends to k others drawn every round; columns sum to 1, for push-sum."""
    if params.k >= max(num_clients, 2):
        raise TopologyError(
            f"k must be < clients, got k={params.k} and {num_clients} clients. Use a smaller k."
        )
    return Rounds(partial(_random_peers, num_clients, params), None)


def _random_peers(num_clients: int, params: RandomPeerParams, round: int) -> Arcs:
    draws = rng(params.seed, "random-peer", round)
    if num_clients == 1:
        return Arcs.of(1, [], directed=True)
    hop = _some_of(num_clients - 1, params.k, num_clients, draws)
    i = np.arange(num_clients)[:, None]
    edges = np.stack(np.broadcast_arrays(i, (i + 1 + hop) % num_clients), axis=-1)
    return Arcs.of(num_clients, edges, directed=True)


def _some_of(n: int, k: int, times: int, draws: np.random.Generator) -> np.ndarray:
    """int64 [times, k], k different numbers < n each: `draws.choice`, so many times.

    Floyd's algorithm, for all at once: the last of those up to j, or j itself if that is taken.
    """
    if n > 10_000 and k > n // 20:  # there NumPy goes another way
        kept = [draws.choice(n, k, replace=False, shuffle=False) for _ in range(times)]
        return np.array(kept)
    last = np.arange(n - k, n)
    found = draws.integers(0, np.broadcast_to(last, (times, k)), endpoint=True)
    for place in range(1, k):
        taken = (found[:, :place] == found[:, place, None]).any(1)
        found[taken, place] = last[place]
    return found


@topology("double-binary-trees", source="Sanders et al., 2009; Vogels et al., NeurIPS 2021")
def double_binary_trees(num_clients: int, params: NoParams) -> Rounds:
    """A binary tree and its mirror image in turn: at most one client is inside of both."""
    return Rounds(partial(_tree_or_mirror, num_clients), 2)


def _tree_or_mirror(num_clients: int, round: int) -> nx.Graph:
    tree = binary_tree(num_clients, NoParams())
    if round == 0:
        return tree
    return network(num_clients, num_clients - 1 - np.array(tree.edges()).reshape(-1, 2))


@dataclass(frozen=True, kw_only=True)
class EquiDynParams(Seeded):
    directed: bool = True
    """true: OD-EquiDyn, everyone sends one offset ahead; false: OU-EquiDyn, pairs."""
    eta: Annotated[float, "(0, 1]"] = 0.5
    """Weight of the drawn matrix, in (0, 1]; the rest stays at home."""


@topology(
    "equidyn", params=EquiDynParams, rule="given", source="Song et al., NeurIPS 2022 (EquiTopo)"
)
def equidyn(num_clients: int, params: EquiDynParams) -> Rounds:
    """One random offset for all per round; with eta = 1/2 it halves the variance, whatever n is."""
    return Rounds(partial(_equidyn, num_clients, params), None)


def _equidyn(num_clients: int, params: EquiDynParams, round: int) -> Arcs:
    draws = rng(params.seed, "equidyn", round)
    n = num_clients
    offset = int(draws.integers(1, n)) if n > 1 else 0
    i = np.arange(n)
    if params.directed:
        edges = np.stack([i, (i + offset) % n], axis=1)
    else:
        edges = np.array(_matching(n, offset, int(draws.integers(n))), dtype=np.int64)
    found = Arcs.of(n, edges, params.directed)
    weight = params.eta * (n - 1) / n
    return replace(found, weights=np.full(len(found.senders), weight))


def _matching(n: int, offset: int, first: int) -> list[tuple[int, int]]:
    """Pairs i, i + offset taken greedily from client `first` on; the others stay idle."""
    taken = [False] * n
    pairs = []
    for i in range(first, first + n):
        one, other = i % n, (i + offset) % n
        if one != other and not taken[one] and not taken[other]:
            taken[one] = taken[other] = True
            pairs.append((one, other))
    return pairs
