"""CGA, cross-gradient aggregation: Esfandiari et al., ICML 2021, arXiv:2103.02051, and its code.

Neighbors tell a client what its model's gradient is on their data, as in ngc. Its step is short,
and goes against no neighbor: a quadratic program chooses how much each cross-gradient counts. As in
the authors' code, with g_j(x_i) the gradient of model i on a batch of client j:

    z   = w_ii g_i(x_i) + sum_j v_j w_ij g_j(x_i),   v >= margin such that |z| is smallest
    m  <- beta m + z,   x <- sum_j w_ij x_j - lr n,   n = z + beta m (Nesterov) or m

That is the z nearest to what v = margin gives, of all with <z, g_j(x_i)> >= 0 for each neighbor j;
with layerwise it is found for each tensor of the model by itself. The authors' code has a margin of
0.5, goes tensor by tensor and is Nesterov's though it says that it is not; it adds 1e-12 to the
diagonal of the program, which we solve as it is. Its `CompCGA` is not here: it compresses the
client's own gradient, which is never sent.

    x    [clients, params]  model           lr    step size of this round
    m    [clients, params]  local momentum  beta  memory of m, no dampening

Each model that is tried counts as a gradient, for every slot of the client with most neighbors.
Values decide when a program is solved: on a GPU the host waits for that in every round.
Where no gradients are at odds and margin = 1, this is SGDm-N on the mean gradient on the complete
graph. It rests where no direction is good for a client and all its neighbors, which need not be
near the optimum of the mean loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from p2pqg.algorithms.effects import Grad, Parameter, Round, algorithm, exchange, neighbors
from p2pqg.base.lazy import torch
from p2pqg.base.ranges import out_of_range


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: float = 0.9
    """Memory of the local momentum, in [0, 1). 0: without."""
    nesterov: bool = True
    """Step along z + beta m rather than m."""
    margin: float = 0.5
    """How much each cross-gradient counts at least, >= 0."""
    layerwise: bool = True
    """Each tensor of the model has a z of its own; false: all together, as in the paper."""

    def problems(self) -> Iterator[str]:
        yield from out_of_range(self, "algorithm.", beta="[0, 1)", margin=">= 0")


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, m=torch.zeros_like(x0))


@algorithm(
    "cga",
    params=Params,
    start=start,
    needs=("symmetric",),
    source="Esfandiari et al., ICML 2021, and its code",
    shapes=True,
)
def cga(s: State, grad: Grad, p: Params, tensors: tuple[Parameter, ...]) -> Round[State]:
    """CGA: clients step where neither they nor their neighbors would lose."""
    peers = yield neighbors()
    inbox = yield exchange(s.x[:, None])
    g = grad(torch.cat([s.x[:, None], inbox], 1))  # [clients, 1 + slots, params], on one batch
    told = yield exchange(g[:, 1:])
    weights = peers.weights[..., None]
    own = 1 - weights.sum(1)
    rows = torch.cat([(own * g[:, 0])[:, None], weights * told], 1)
    layers = [tensor.columns for tensor in tensors] if p.layerwise else [slice(None)]
    # [clients, layers, 1 + slots, 1 + slots]: what a program needs to know of its gradients
    products = torch.stack([_products(rows[..., layer]) for layer in layers], 1)
    v = shares(products, p.margin).to(rows)
    sums = [torch.einsum("cr,crp->cp", v[:, i], rows[..., at]) for i, at in enumerate(layers)]
    z = torch.cat(sums, 1)
    m = p.beta * s.m + z
    mixed = own * s.x + (weights * inbox).sum(1)
    return State(x=mixed - p.lr * (z + p.beta * m if p.nesterov else m), m=m)


def _products(rows: torch.Tensor) -> torch.Tensor:
    """Inner products of rows, [clients, rows, params] -> [clients, rows, rows], in float64."""
    rows = rows.cpu() if rows.device.type == "mps" else rows  # which has no float64
    rows = rows.double()
    return rows @ rows.mT


def shares(products: torch.Tensor, margin: float) -> torch.Tensor:
    """How much each gradient counts: 1 for the own one, v >= margin for the others.

    Args:
        products: [..., 1 + others, 1 + others], float64, inner products of gradients; the first
            is the own one.
        margin: >= 0.

    Returns:
        [..., 1 + others]: what makes the weighted sum shortest.
    """
    F = products.flatten(0, -3)
    length = F.diagonal(dim1=1, dim2=2).sqrt()
    unit = torch.where(length > 0, length, 1.0)[:, 1:]
    counts = torch.ones_like(length)
    counts[:, 1:] = margin
    # z = b + sum_j u_j a_j, u >= 0, of unit vectors a: u K u / 2 - c u is to be smallest.
    K = F[:, 1:, 1:] / (unit[:, :, None] * unit[:, None])
    c = -(F[:, 1:] * counts[:, None]).sum(2) / unit
    u = _smallest(K, c, TOLERANCE * (counts * length).sum(1))
    return torch.cat([counts[:, :1], margin + u / unit], 1).view(products.shape[:-1])


TOLERANCE = 1e-13
"""Slopes up to that part of the gradients' lengths are rounding."""


def _smallest(K: torch.Tensor, c: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """Of all u >= 0 the one with the smallest u K u / 2 - c u: Lawson and Hanson 1974, batched.

    One u after the other is let go, the one with the steepest slope; those that would turn
    negative are held at 0 again. So the free ones never depend on each other, though K may be
    singular.

    Args:
        K: [programs, unknowns, unknowns], positive semidefinite, with a diagonal of 1 (or 0).
        c: [programs, unknowns].
        least: [programs], the smallest slope that counts.

    Returns:
        [programs, unknowns].
    """
    u, eye = torch.zeros_like(c), torch.eye(c.shape[1]).to(c)
    free = new = barred = torch.zeros_like(c, dtype=torch.bool)
    for _ in range(10 * c.shape[1]):
        among = (free[:, :, None] & free[:, None]).to(c)
        best = torch.linalg.solve_ex(among * K + eye * ~free[:, None], free * c)[0]
        best = torch.where(best.isfinite().all(1, keepdim=True), best, 0.0)
        # Towards the best of the free ones, as far as none of them turns negative.
        low = free & ~(best > 0)
        part = torch.where(low, (u / (u - best)).nan_to_num(0.0), 1.0)
        way = part.amin(1, keepdim=True)
        stopped = low & (part <= way)
        u = torch.where(stopped, 0.0, u + way * (best - u))
        barred = torch.where(new.any(1, keepdim=True), stopped & new, False) | (
            barred & ~(new & ~stopped).any(1, keepdim=True)
        )  # let go in vain, as rounding has it, and no other one since
        free = free & ~stopped
        slopes = (c - (K * u[:, None]).sum(2)).masked_fill(free | barred, -torch.inf)
        steepest, which = slopes.max(1)
        goes_on = (steepest > least) & ~low.any(1)
        if not (goes_on | low.any(1)).any():
            break
        new = goes_on[:, None] & (eye[which] > 0)
        free = free | new
    return u
