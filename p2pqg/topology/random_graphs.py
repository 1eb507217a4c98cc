"""Static networks that are drawn at random once, with the `seed` in their name."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Annotated

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.topology._registry import Seeded, connected_draw, network, topology


def _as_int(draws: np.random.Generator) -> int:
    """A seed for the generators of networkx."""
    return int(draws.integers(2**31))


@dataclass(frozen=True, kw_only=True)
class ErdosRenyiParams(Seeded):
    p: Annotated[float | None, "(0, 1]"] = None
    """Probability of each link, in (0, 1]. Left out: 2 ln(n) / n, likely connected."""


def _probability(num_clients: int, params: ErdosRenyiParams) -> float:
    return min(1.0, 2 * log(num_clients) / num_clients) if params.p is None else params.p


@topology(
    "erdos-renyi",
    params=ErdosRenyiParams,
    source="Erdos, Renyi 1959; Gilbert 1959",
    neighbors=lambda num_clients, params: num_clients * _probability(num_clients, params),
)
def erdos_renyi(num_clients: int, params: ErdosRenyiParams) -> nx.Graph:
    """Every pair is linked with probability p; the first connected draw."""
    p = _probability(num_clients, params)
    return connected_draw(
        "erdos-renyi",
        lambda draws: (
            nx.fast_gnp_random_graph(num_clients, p, seed=_as_int(draws))
            if p < 1 and 1 - p < 1  # it takes the logarithm of 1 - p
            else (nx.complete_graph if p == 1 else nx.empty_graph)(num_clients)
        ),
        params.seed,
        f"Use p > {log(max(num_clients, 2)) / num_clients:.2g} (ln(n) / n), not {p:.2g}.",
    )


@dataclass(frozen=True, kw_only=True)
class RandomRegularParams(Seeded):
    degree: Annotated[int, ">= 1"] = 4
    """Neighbors of each client, >= 1 and < n; n x degree must be even."""


@topology(
    "random-regular",
    params=RandomRegularParams,
    source="Kim, Vu, STOC 2003",
    neighbors=lambda num_clients, params: min(params.degree, num_clients),
)
def random_regular(num_clients: int, params: RandomRegularParams) -> nx.Graph:
    """Every client has `degree` neighbors, else at random: an expander, nearly always."""
    degree = params.degree
    if degree >= num_clients or num_clients * degree % 2:
        even = min(degree, num_clients - 1) // 2 * 2
        raise TopologyError(
            f"degree must be < clients, and clients x degree even; got {num_clients} clients and "
            f"degree {degree}. Use {f'degree={even}' if even else f'complete{num_clients}'}."
        )
    return connected_draw(
        "random-regular",
        lambda draws: nx.random_regular_graph(degree, num_clients, seed=_as_int(draws)),
        params.seed,
        "Use degree=3 or more.",
    )


@dataclass(frozen=True, kw_only=True)
class GeometricParams(Seeded):
    radius: Annotated[float | None, "> 0"] = None
    """Reach of each client in the unit square, > 0. Left out: sqrt(ln(n) / n)."""


def _radius(num_clients: int, params: GeometricParams) -> float:
    return params.radius or max(log(num_clients) / num_clients, 1e-9) ** 0.5


@topology(
    "geometric",
    params=GeometricParams,
    source="Penrose 2003",
    neighbors=lambda num_clients, params: (
        num_clients * min(1.0, pi * _radius(num_clients, params) ** 2)
    ),
)
def geometric(num_clients: int, params: GeometricParams) -> nx.Graph:
    """Clients at random places of the unit square talk within a radius; first connected draw."""
    radius = _radius(num_clients, params)

    def draw(draws: np.random.Generator) -> nx.Graph:
        places = draws.random((num_clients, 2))
        places = places[np.argsort(places[:, 0])]  # left to right: only near ones can be in reach
        ends = np.searchsorted(places[:, 0], places[:, 0] + radius, side="right")
        edges = []
        for i, end in enumerate(ends):
            near = ((places[i + 1 : end] - places[i]) ** 2).sum(axis=1) <= radius**2
            j = i + 1 + np.nonzero(near)[0]
            edges.append(np.stack([np.full_like(j, i), j], axis=1))
        return network(num_clients, np.concatenate(edges))

    return connected_draw("geometric", draw, params.seed, f"Use a radius larger than {radius:.2g}.")


@dataclass(frozen=True, kw_only=True)
class SmallWorldParams(Seeded):
    k: Annotated[int, ">= 2"] = 4
    """Neighbors on the ring before rewiring, >= 2 and < n; an odd k counts as k - 1."""
    p: Annotated[float, "[0, 1]"] = 0.3
    """Probability of rewiring each link, in [0, 1]. 0: a ring lattice."""


@topology(
    "small-world",
    params=SmallWorldParams,
    source="Watts, Strogatz, Nature 1998",
    neighbors=lambda num_clients, params: min(params.k, num_clients),
)
def small_world(num_clients: int, params: SmallWorldParams) -> nx.Graph:
    """A ring lattice with k neighbors, links rewired with probability p; first connected draw."""
    if params.k >= num_clients:
        raise TopologyError(
            f"k must be < clients, got k={params.k} and {num_clients} clients. "
            f"Use complete{num_clients} or a smaller k."
        )
    return connected_draw(
        "small-world",
        lambda draws: nx.watts_strogatz_graph(num_clients, params.k, params.p, seed=_as_int(draws)),
        params.seed,
        "Use a larger k or a smaller p.",
    )
