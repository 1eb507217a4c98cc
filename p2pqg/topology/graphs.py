"""name -> nx.Graph: the static networks, one decorated function each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.base.registry import NoParams
from p2pqg.topology._registry import hops, network, topology, two_factors


def everyone_else(num_clients: int, params: object) -> float:
    """Neighbors where everyone talks to everyone."""
    return num_clients - 1


def logarithm(num_clients: int, params: object) -> float:
    """log2 of the clients, rounded up."""
    return len(powers_of_two(num_clients))


@topology("ring", source="Lian et al., NeurIPS 2017")
def ring(num_clients: int, params: NoParams) -> nx.Graph:
    """A cycle: everyone talks to the client before and the client after, weights 1/3."""
    return hops(num_clients, [1])


@topology("chain", source="textbook")
def chain(num_clients: int, params: NoParams) -> nx.Graph:
    """A path: a ring with one link cut."""
    i = np.arange(num_clients - 1)
    return network(num_clients, np.stack([i, i + 1], axis=1))


@topology("star", source="textbook")
def star(num_clients: int, params: NoParams) -> nx.Graph:
    """Client 0 in the middle talks to everyone, the others only to it."""
    others = np.arange(1, num_clients)
    return network(num_clients, np.stack([0 * others, others], axis=1))


@topology("complete", source="textbook", neighbors=everyone_else)
def complete(num_clients: int, params: NoParams) -> nx.Graph:
    """Everyone talks to everyone: W = J, the exact mean in every round."""
    return network(num_clients, np.stack(np.triu_indices(num_clients, 1), axis=1))


@dataclass(frozen=True, kw_only=True)
class MixParams:
    rho: Annotated[float, "(0, 1]"] = 0.1
    """Spectral gap, in (0, 1]. 1: complete."""


@topology(
    "mix",
    params=MixParams,
    rule="given",
    source="Vogels et al., NeurIPS 2022 (null model)",
    neighbors=everyone_else,
)
def mix(num_clients: int, params: MixParams) -> nx.Graph:
    """W = rho J + (1 - rho) I, a null model whose spectral gap is exactly rho."""
    graph = complete(num_clients, NoParams())
    nx.set_edge_attributes(graph, params.rho / num_clients, "weight")
    return graph


@dataclass(frozen=True, kw_only=True)
class RowsParams:
    rows: int = 0
    """Rows of the lattice; must divide the number of clients. 0: as square as possible."""

    def problems(self) -> Iterator[str]:
        if self.rows < 0 or self.rows == 1:
            yield f"rows must be >= 2, or 0 for as square as possible, got {self.rows}"


def _sides(num_clients: int, rows: int, kind: str, flat: str) -> tuple[int, int]:
    """Rows and columns of a lattice with at least two of each."""
    if rows:
        if num_clients % rows or num_clients < 2 * rows:
            raise TopologyError(
                f"rows must divide {num_clients} with at least 2 columns, got {rows}. "
                "Leave rows out for the most square lattice."
            )
        return rows, num_clients // rows
    sides = two_factors(num_clients)
    if sides is None:
        near = next(n for n in range(num_clients + 1, num_clients + 5) if two_factors(n))
        raise TopologyError(
            f"a {kind} is rows x columns, both >= 2; {num_clients} is no such product. "
            f"Use {kind}{near} or {flat}{num_clients}."
        )
    return sides


def _lattice(rows: int, columns: int, wrap: bool) -> nx.Graph:
    i = np.arange(rows * columns).reshape(rows, columns)
    right = np.stack([i, np.roll(i, -1, axis=1)], axis=-1)
    down = np.stack([i, np.roll(i, -1, axis=0)], axis=-1)
    if not wrap:
        right, down = right[:, :-1], down[:-1]
    edges = np.concatenate([right.reshape(-1, 2), down.reshape(-1, 2)])
    return network(rows * columns, edges)


@topology("torus", params=RowsParams, source="Koloskova et al., ICML 2019")
def torus(num_clients: int, params: RowsParams) -> nx.Graph:
    """A rows x columns lattice that wraps around: 4 neighbors, weights 1/5."""
    return _lattice(*_sides(num_clients, params.rows, "torus", "ring"), wrap=True)


@topology("grid", params=RowsParams, source="BlueFog (mesh)")
def grid(num_clients: int, params: RowsParams) -> nx.Graph:
    """A rows x columns lattice with borders."""
    return _lattice(*_sides(num_clients, params.rows, "grid", "chain"), wrap=False)


def dimensions(num_clients: int, name: str) -> int:
    """log2 of a power of two.

    Raises:
        TopologyError: it is none; the message names the powers around it.
    """
    d = num_clients.bit_length() - 1
    if num_clients != 2**d:
        raise TopologyError(
            f"a hypercube has a power of two of clients, got {num_clients}. "
            f"Use {name}{2**d} or {name}{2 ** (d + 1)}."
        )
    return d


@topology("hypercube", source="textbook", neighbors=logarithm)
def hypercube(num_clients: int, params: NoParams) -> nx.Graph:
    """Clients whose numbers differ in one bit talk; a power of two of them."""
    i = np.arange(num_clients)
    bits = range(dimensions(num_clients, "hypercube"))
    return network(num_clients, [np.stack([i, i ^ (1 << bit)], axis=1) for bit in bits])


@topology("exponential", rule="uniform", source="Ying et al., NeurIPS 2021", neighbors=logarithm)
def exponential(num_clients: int, params: NoParams) -> nx.DiGraph:
    """Static, directed: everyone sends 1, 2, 4, ... clients ahead."""
    return hops(num_clients, powers_of_two(num_clients), directed=True)


def powers_of_two(num_clients: int) -> list[int]:
    """The hops 1, 2, 4, ... < n: ceil(log2 n) of them."""
    return [1 << j for j in range((num_clients - 1).bit_length())]


@topology("ring-skips", source="Lin et al., ICML 2021, code (ring-ext)")
def ring_skips(num_clients: int, params: NoParams) -> nx.Graph:
    """A ring plus a link to the client opposite, weights 1/4; an even number > 3."""
    if num_clients % 2 or num_clients < 4:
        even = max(4, num_clients + num_clients % 2)
        raise TopologyError(
            f"ring-skips needs an even number of clients > 3, got {num_clients}. "
            f"Use ring-skips{even} or ring{num_clients}."
        )
    return hops(num_clients, [1, num_clients // 2])


@topology("binary-tree", source="Vogels et al., NeurIPS 2021 (RelaySGD)")
def binary_tree(num_clients: int, params: NoParams) -> nx.Graph:
    """Client w talks to w // 2, 2 w and 2 w + 1; client 0 hangs on client 1."""
    w = np.arange(1, num_clients)
    return network(num_clients, np.stack([w, w // 2], axis=1))


@topology(
    "margulis",
    source="Margulis 1973; Gabber, Galil 1981",
    neighbors=lambda num_clients, params: 8,
)
def margulis(num_clients: int, params: NoParams) -> nx.Graph:
    """Margulis-Gabber-Galil expander on the m x m torus; m^2 clients, degree up to 8."""
    m = round(num_clients**0.5)
    if m * m != num_clients:
        raise TopologyError(
            f"margulis needs a square number of clients, got {num_clients}. "
            f"Use margulis{m * m} or erdos-renyi{num_clients}."
        )
    edges = nx.margulis_gabber_galil_graph(m).edges()
    return network(num_clients, [(a * m + b, c * m + d) for (a, b), (c, d) in edges])


@topology("expander", rule="given", source="Lubotzky, Phillips, Sarnak 1988; Lin et al., ICML 2021")
def expander(num_clients: int, params: NoParams) -> nx.Graph:
    """A cycle plus links to the inverse modulo n, weights 1/3; a prime number of clients.

    0, 1 and n-1 are (taken as) their own inverse and keep that third. Where an inverse is a
    neighbor on the cycle too, its two thirds add up: rows always sum to 1.
    """
    n = num_clients
    if n < 2 or any(n % q == 0 for q in range(2, int(n**0.5) + 1)):
        raise TopologyError(
            f"expander needs a prime number of clients, got {n}. Use expander{_next_prime(n)} "
            f"or erdos-renyi{n}."
        )
    graph = network(n, [])
    inverses = {(i, pow(i, -1, n)) for i in range(1, n)}
    for i, j in [*((i, (i + 1) % n) for i in range(n)), *((i, j) for i, j in inverses if i < j)]:
        already = graph.get_edge_data(i, j, {"weight": 0.0})["weight"]
        graph.add_edge(i, j, weight=already + 1 / 3)
    return graph


def _next_prime(n: int) -> int:
    n += 1
    while n < 2 or any(n % q == 0 for q in range(2, int(n**0.5) + 1)):
        n += 1
    return n
