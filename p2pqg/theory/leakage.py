"""Who learns how much about whom, where noise is added once and gossip follows (Muffliato).

All numbers are shares of what a client tells by sending its own noisy value, which costs a Renyi
divergence of alpha clip^2 / (2 sigma^2) at order alpha: 1 is all of that, 0 is nothing. In T rounds
v sees the messages (W^t x)_w of its neighbors w, t = 0 .. T - 1, where x are the noisy values.

    bound   sum_t sum_w (W^t)_wu^2 / |(W^t)_w|^2, at most 1: the messages one by one, as Cyffers,
            Even, Bellet, Massoulie (NeurIPS 2022) count them
    joint   of all that v sees together, its own value with it. They are A (x + noise), so it is
            entry u of the diagonal of the projection on the rows of A (derived here). Who can solve
            for u's noisy value has 1, which the first number may miss: noise is drawn only once,
            and each message removes a part of it from the others. Accelerated gossip tells the same
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.theory.doctor import admit
from p2pqg.topology import Schedule

MOST_CLIENTS = 256
SMALLEST = float(np.finfo(np.float32).eps)
"""Of what messages of float32 tell, in shares of the largest part: less is lost in rounding."""


@dataclass(frozen=True)
class Exposure:
    """What clients of a network learn about each other.

    Attributes:
        rounds: of gossip, after the noise.
        distances: [clients, clients], links between them.
        bound, joint: [of whom, who], see above.
        labels: the clients' names.
    """

    topology: str
    rounds: int
    distances: np.ndarray
    bound: np.ndarray
    joint: np.ndarray
    labels: tuple[str, ...]

    def by_distance(self) -> list[tuple[int, float, float, float]]:
        """Links between two clients; means of bound and joint over such pairs; largest joint."""
        found = []
        for links in range(1, int(self.distances.max()) + 1):
            pairs = self.distances == links
            bound, joint = self.bound[pairs], self.joint[pairs]
            found.append((links, float(bound.mean()), float(joint.mean()), float(joint.max())))
        return found


def exposure(topology: Any, clients: int | None = None, rounds: int | None = None) -> Exposure:
    """Who learns how much of whom on a network.

    Args:
        topology: as of `build`.
        clients: their number, where the name leaves it out.
        rounds: of gossip; None: as many as the paper takes where sigma is 1.

    Raises:
        TopologyError: W changes, is not symmetric, or does not bring everybody together; or there
            are too many clients.
    """
    network = admit(topology, clients)
    W = _checked(network)
    steps = dict(nx.all_pairs_shortest_path_length(nx.from_numpy_array(W != 0)))
    n = len(W)
    distances = np.array([[steps[u].get(v, -1) for v in range(n)] for u in range(n)])
    if (distances < 0).any():
        raise TopologyError(
            f"{network.name!r} must be connected, or who is apart learns nothing. Add an edge "
            "between the pieces."
        )
    if rounds is None:
        rounds = rounds_of(W)
    bound, joint = leakage(W, rounds)
    return Exposure(
        topology=network.name,
        rounds=rounds,
        distances=distances,
        bound=bound,
        joint=joint,
        labels=tuple(network.called(client) for client in range(n)),
    )


def _checked(network: Schedule) -> np.ndarray:
    """W, dense."""
    name = repr(network.name)
    if network.period != 1:
        raise TopologyError(
            f"{name} must stay the same from round to round for its privacy to be examined. Use "
            "one such as ring16."
        )
    if network.num_clients > MOST_CLIENTS:
        raise TopologyError(
            f"{name} must have at most {MOST_CLIENTS} clients for its privacy to be examined, pair "
            "by pair. Use fewer."
        )
    if not network.mixing(0).is_symmetric():
        raise TopologyError(
            f"{name}: W must be symmetric for its privacy to be examined. Use mixing: "
            "metropolis_hastings."
        )
    return network.mixing(0).dense()


def rounds_of(W: np.ndarray) -> int:
    """Gossips until noise of sigma 1 has averaged out: ceil(ln(n) / sqrt(gap))."""
    gap = 1 - float(np.linalg.eigvalsh(W)[-2]) if len(W) > 1 else 1.0
    return max(1, ceil(log(len(W)) / sqrt(gap)))


def leakage(W: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Bound and joint, [of whom, who]; on the diagonal 1, everybody knows itself.

    Args:
        W: [clients, clients], symmetric, rows sum to 1.
        rounds: >= 1.
    """
    n = len(W)
    sent = [np.eye(n)]  # row w: of which values the message of w is made
    for _ in range(rounds - 1):
        sent.append(sent[-1] @ W)
    told = sum(S**2 / (S**2).sum(1, keepdims=True) for S in sent)  # [w, u]
    bound, joint = np.eye(n), np.eye(n)
    for v in range(n):
        heard = np.flatnonzero(W[v])
        heard = heard[heard != v]
        bound[:, v] = np.minimum(told[heard].sum(0), 1)
        rows = np.concatenate([np.eye(n)[[v]], *(S[heard] for S in sent)])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
        joint[:, v] = (directions[sizes > SMALLEST * sizes[0]] ** 2).sum(0)
    np.fill_diagonal(bound, 1)
    return bound, np.where(joint < SMALLEST**2, 0, joint)
