"""RelaySGD (RelaySum): Vogels et al., NeurIPS 2021.

On a tree every client passes on what it heard, to each neighbor all but that neighbor's own
words: after as many rounds as the tree is wide, everybody's model of some past round has been
counted exactly once. With relay = model the fixed point is the exact optimum. On one or two clients
this is SGDm(-N).

    own_i     = x_i after its local step
    M[i -> j] = own_i + sum of M[k -> i] of the last round over the other neighbors k
    x_i      <- (own_i + sum_j M[j -> i] + missing_i * fill) / n

    x       [clients, params]             model            lr    step size of this round
    m       [clients, params]             local momentum   beta  memory of m, no dampening
    inbox   [clients, neighbors, params]  M, last round    n     [clients, 1] how many we are
    counts  [clients, neighbors, 1]       models in M      t     rounds done
    x0      [clients, params]             first model
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce, exchange
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the local momentum, in [0, 1). 0: without."""
    nesterov: bool = True
    """Step along g + beta m rather than m."""
    relay: Literal["model", "update"] = "model"
    """model: RelaySum/Model; update: RelaySum/Grad, the local steps are relayed and added."""
    fill: Literal["initial", "own", "count"] = "initial"
    """For clients not heard yet: the first model (no step, if steps are relayed), as the authors
    ran it; the client's own, as they explain it; or divide by the number of those heard."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor
    inbox: torch.Tensor
    counts: torch.Tensor
    x0: torch.Tensor
    n: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    nothing = torch.zeros_like(x0[:, None, :1], dtype=torch.int64)
    return State(x=x0, m=zero, inbox=zero[:, None], counts=nothing, x0=x0, n=nothing[:, 0], t=0)


@algorithm(
    "relay-sgd",
    params=Params,
    start=start,
    needs=("tree",),
    fixed=("relay",),
    source="Vogels et al., NeurIPS 2021, and its code",
)
def relay_sgd(s: State, grad: Grad, p: Params) -> Round[State]:
    """RelaySGD: sums relayed along a tree reach everyone exactly, a little late."""
    g = grad(s.x)
    m = p.beta * s.m + g
    step = p.lr * (g + p.beta * m if p.nesterov else m)
    own = s.x - step if p.relay == "model" else -step
    inbox, counts = yield exchange(  # M[i -> j], and how many models are in it
        own[:, None] + s.inbox.sum(1, keepdim=True) - s.inbox,
        1 + s.counts.sum(1, keepdim=True) - s.counts,
    )
    heard = counts.sum(1)
    n = s.n if s.t > 0 else (yield from _how_many(heard))
    total = own + inbox.sum(1)
    if p.fill == "count":
        mean = total / (1 + heard)
    else:
        first = s.x0 if p.relay == "model" else torch.zeros_like(own)
        fill = own if p.fill == "own" else first
        mean = (total + (n - 1 - heard) * fill) / n
    x = mean if p.relay == "model" else s.x + mean
    return State(x=x, m=m, inbox=inbox, counts=counts, x0=s.x0, n=n, t=s.t + 1)


def _how_many(neighbors: torch.Tensor) -> Round[torch.Tensor]:
    """[clients, 1]: n, of how many neighbors each has: a tree of n has mean degree 2 - 2 / n."""
    degree = yield allreduce(neighbors.double())
    return (2 / (2 - degree)).round().long()
