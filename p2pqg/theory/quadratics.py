"""Clients whose losses are quadratics: where algorithms go on them can be derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pqg.base.seeding import rng

Array = np.ndarray

CLIENTS, DIM = 8, 5


@dataclass(frozen=True, eq=False)
class Quadratics:
    """Clients that disagree: f_i(x) = (x - b_i)' A_i (x - b_i) / 2.

    Attributes:
        A: [clients, dim, dim], symmetric, eigenvalues 0.5 .. 1.5.
        b: [clients, dim], every client's own optimum.
    """

    A: Array
    b: Array

    @classmethod
    def random(
        cls,
        num_clients: int = CLIENTS,
        dim: int = DIM,
        seed: int = 0,
        *,
        equal_curvature: bool = False,
        equal_data: bool = False,
    ) -> Quadratics:
        """Quadratics drawn from a seed.

        Args:
            num_clients: n.
            dim: number of parameters.
            seed: >= 0.
            equal_curvature: all A_i are the same; the optimum is the mean of the b_i.
            equal_data: the b_i are the same, too.
        """
        draw = rng(seed, "quadratics")
        rotations = np.linalg.qr(draw.standard_normal((num_clients, dim, dim)))[0]
        A = np.einsum("cij,j,ckj->cik", rotations, np.linspace(0.5, 1.5, dim), rotations)
        b = draw.standard_normal((num_clients, dim))
        if equal_curvature or equal_data:
            A = np.broadcast_to(A[0], A.shape)
        if equal_data:
            b = np.broadcast_to(b[0], b.shape)
        return cls(A, b)

    @classmethod
    def regression(
        cls, num_clients: int = CLIENTS, dim: int = DIM, samples: int = 30, seed: int = 0
    ) -> Quadratics:
        """Full-batch linear regression on clients whose true weights differ.

        Client i has features D_i [samples, dim] and targets D_i w_i + noise, all standard normal;
        up to a constant its mean squared error is 2 f_i with A_i = D_i' D_i / samples, and b_i the
        weights that fit it best.

        Args:
            num_clients: n.
            dim: number of parameters.
            samples: of each client, >= dim.
            seed: >= 0.
        """
        draw = rng(seed, "regression")
        features = draw.standard_normal((num_clients, samples, dim))
        weights = draw.standard_normal((num_clients, dim))
        noise = draw.standard_normal((num_clients, samples))
        targets = np.einsum("csi,ci->cs", features, weights) + noise
        A = np.einsum("csi,csj->cij", features, features) / samples
        b = np.linalg.solve(A, np.einsum("csi,cs->ci", features, targets)[..., None] / samples)
        return cls(A, b[..., 0])

    def gradient(self, x: Array, round: int) -> Array:
        """[clients, dim] at [clients, dim], the same in every round."""
        return np.einsum("cij,cj->ci", self.A, x - self.b)

    def optimum(self) -> Array:
        """[dim]: where the mean of the f_i is smallest."""
        return np.linalg.solve(self.A.sum(0), np.einsum("cij,cj->i", self.A, self.b))

    def gossip_fixed_point(self, W: Array, lr: float) -> Array:
        """[clients, dim]: the x with x = W (x - lr gradient(x)), where DSGD comes to rest."""
        n, dim = self.b.shape
        mix = np.kron(W, np.eye(dim))
        blocks = np.zeros((n, dim, n, dim))
        blocks[np.arange(n), :, np.arange(n), :] = self.A
        A = blocks.reshape(n * dim, n * dim)
        rest = np.eye(n * dim) - mix @ (np.eye(n * dim) - lr * A)
        return np.linalg.solve(rest, lr * mix @ A @ self.b.ravel()).reshape(n, dim)

    def squared_bias(self, x: Array) -> float:
        """mean_i ||x_i - x*||^2, of models [clients, dim]."""
        return float(np.square(x - self.optimum()).sum(1).mean())

    def of(self, clients: Sequence[int]) -> Quadratics:
        """These clients only, in this order."""
        return Quadratics(self.A[list(clients)], self.b[list(clients)])


def starts(num_clients: int = CLIENTS, dim: int = DIM, seed: int = 1) -> Array:
    """[clients, dim]: a start of its own for every client."""
    return rng(seed, "starts").standard_normal((num_clients, dim))
