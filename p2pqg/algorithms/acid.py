"""A2CiD2, continuous momentum: Nabli, Belilovsky, Oyallon, NeurIPS 2023, arXiv:2306.08289.

Beside its model a client has a second one; time mixes the two, and a meeting moves the second one
further than the first. On badly connected networks that averages as if there were more meetings.
Between events d/dt (x, xt) = eta (xt - x, x - xt), integrated exactly; the unit of time is that in
which a client makes one gradient on average. The mean of all x + xt changes by gradients only.
    x     [clients, params]  model         eta  1 / (2 sqrt(chi1 chi2)), speed of mixing
    xt    [clients, params]  second model  bt   sqrt(chi1 / chi2) / 2, its step in a meeting
    chi1  1 / smallest eigenvalue > 0 of the Laplacian, weighted by how often pairs meet
    chi2  half of the largest effective resistance of a pair
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import numpy as np

from p2pqg.algorithms.asynchronous import OwnPace, Pairs, Step, meet
from p2pqg.algorithms.effects import Grad, algorithm
from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.ranges import broken

LARGEST = 4096
"""Clients whose network is analysed: that takes their number squared in memory, cubed in time."""


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    chi1: Annotated[float | None, "> 0"] = None
    """> 0. None: that of the network, as is chi2."""
    chi2: Annotated[float | None, "> 0"] = None

    def problems(self) -> Iterator[str]:
        if (self.chi1 is None) != (self.chi2 is None):
            yield broken(
                f"algorithm.chi1 and chi2 go together, got {self.chi1} and {self.chi2}",
                "chi1",
                "chi2",
            )

    @property
    def eta(self) -> float:
        return 0.5 / math.sqrt((self.chi1 or 1.0) * (self.chi2 or 1.0))

    @property
    def bt(self) -> float:
        return 0.5 * math.sqrt((self.chi1 or 1.0) / (self.chi2 or 1.0))


class State(NamedTuple):
    x: torch.Tensor
    xt: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, xt=x0)


def fit(p: Params, pairs: Pairs) -> Params:
    """chi1 and chi2 of the network, unless they are given."""
    n, a, b, rates = pairs
    if p.chi1 is not None or not len(a):
        return p
    if n > LARGEST:
        raise ConfigError(
            f"acid analyses networks of at most {LARGEST:,} clients, got {n:,}; set algorithm.chi1 "
            "and algorithm.chi2"
        )
    laplacian = np.zeros((n, n))
    for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
        np.add.at(laplacian, (i, j), sign * rates)
    eigenvalues, vectors = np.linalg.eigh(laplacian)
    good = eigenvalues > 1e-9 * eigenvalues[-1]
    modes = (vectors[a] - vectors[b])[:, good]
    resistance = (modes**2 / eigenvalues[good]).sum(1)
    return replace(p, chi1=float(1 / eigenvalues[good].min()), chi2=float(resistance.max() / 2))


def share(p: Params, elapsed: torch.Tensor) -> torch.Tensor:
    """Of the way from one model to the other, what time lets each go, [clients, 1]."""
    return (1 - torch.exp(-2 * p.eta * elapsed)) / 2


def mixed(s: State, share: torch.Tensor) -> State:
    """The two models after they have mixed for some time."""
    moved = share * (s.xt - s.x)
    return State(x=s.x + moved, xt=s.xt - moved)


def met(s: State, p: Params, share: torch.Tensor) -> Step[State]:
    """A client that is met while it computes."""
    s = mixed(s, share)
    x = yield meet(s.x)
    return State(x=x, xt=s.xt + 2 * p.bt * (x - s.x))


@algorithm(
    "acid",
    params=Params,
    start=start,
    needs=("undirected",),
    asynchronous=OwnPace(met=met, elapsed=share, fit=fit),
    source="Nabli et al., NeurIPS 2023, and its code",
)
def acid(s: State, grad: Grad, p: Params, share: torch.Tensor) -> Step[State]:
    """A2CiD2: AD-PSGD with a continuous momentum that speeds up averaging."""
    g = grad(s.x)
    s = mixed(s, share)
    half = s.x - p.lr * g
    x = yield meet(half)
    return State(x=x, xt=s.xt - p.lr * g + 2 * p.bt * (x - half))
