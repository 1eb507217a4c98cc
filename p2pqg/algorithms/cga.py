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

Weight decay, which that code does not have, is part of every gradient, of the model it is taken at.
Each model that is tried counts as a gradient, for every slot of the client with most neighbors.
Values decide when a program is solved: on a GPU the host waits for that in every round.
Where no gradients are at odds and margin = 1, this is SGDm-N on the mean gradient on the complete
graph. It rests where no direction is good for a client and all its neighbors, which need not be
near the optimum of the mean loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from p2pqg.algorithms._shortest import shortest
from p2pqg.algorithms.dsgdm import State, start
from p2pqg.algorithms.effects import Grad, Parameter, Round, algorithm, exchange, neighbors
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the local momentum, in [0, 1). 0: without."""
    nesterov: bool = True
    """Step along z + beta m rather than m."""
    margin: Annotated[float, ">= 0"] = 0.5
    """How much each cross-gradient counts at least, >= 0."""
    layerwise: bool = True
    """Each tensor of the model has a z of its own; false: all together, as in the paper."""


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
    inbox = yield exchange(s.x[:, None])  # x_j
    g = grad(torch.cat([s.x[:, None], inbox], 1))  # g_i(x_i), then g_i(x_j), on one batch
    told = yield exchange(g[:, 1:])  # g_j(x_i)
    w = peers.weights[..., None]
    w_ii = 1 - w.sum(1)
    weighted = torch.cat([(w_ii * g[:, 0])[:, None], w * told], 1)  # [clients, 1 + slots, params]
    layers = [tensor.columns for tensor in tensors] if p.layerwise else [slice(None)]
    z = shortest(weighted, layers, p.margin)
    m = p.beta * s.m + z
    mixed = w_ii * s.x + (w * inbox).sum(1)
    n = z + p.beta * m if p.nesterov else m
    return State(x=mixed - p.lr * n, m=m)
