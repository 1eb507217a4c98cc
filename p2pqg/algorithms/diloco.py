"""DiLoCo and NoLoCo: Douillard et al. 2023, arXiv:2311.08105; Kolehmainen et al., arXiv:2506.10911.

Many inner steps (of Adam) by each client alone, then one outer step with momentum along what they
did. DiLoCo all-reduces it and takes a Nesterov step. NoLoCo asks only some neighbors, random pairs
in the paper (topology random-matching), and its step also pulls the clients' models together. With
inner = sgd, local_steps = 1, outer_beta = 0 and outer_lr = gamma = 1 DiLoCo is SGD, NoLoCo DSGD.
Weight decay is part of the gradient, as everywhere here and in torch's Adam of NoLoCo's code; the
paper of DiLoCo has AdamW's. What that code calls DiLoCo is not this: it steps by heavy ball, and
without pipelines averages Adam's moments as well.

    DiLoCo   b <- outer_beta b - mean d         x <- x - outer_lr (outer_beta b - mean d)
    NoLoCo   b <- outer_beta b + outer_lr W d + gamma (W x - x)                  x <- x + b

    x    [clients, params]  model of the last outer step    lr           of an inner step
    d    [clients, params]  what the inner steps did        outer_lr     of an outer step
    b    [clients, params]  outer momentum                  outer_beta   its memory
    m v  [clients, params]  moments of Adam, never mixed    beta1 beta2  their memory; t  steps done
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from p2pqg.algorithms import adam
from p2pqg.algorithms.adam import adam_step
from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(adam.LocalParams):
    local_steps: int = 50
    """Inner steps between two exchanges, each on a batch of its own, >= 1."""
    inner: Literal["adam", "sgd"] = "adam"
    """The method of inner steps; sgd has no momentum."""
    beta2: float = 0.999
    """Memory of the second moment, in [0, 1)."""
    outer_lr: Annotated[float, "> 0"] = 0.7
    """Step size of the outer step, > 0."""
    outer_beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the outer momentum, in [0, 1). 0: without."""

    def ignored(self) -> Iterator[tuple[str, str]]:
        """Names of what the inner method has no use for, and why."""
        if self.inner == "sgd":
            for name in ("beta1", "beta2", "eps"):
                yield name, "inner sgd makes no use of it"


@dataclass(frozen=True, kw_only=True)
class NoLoCoParams(Params):
    gamma: Annotated[float, "> 0"] = 0.7
    """How fast models are pulled together, > 0; outer_lr in the authors' code."""


class State(NamedTuple):
    x: torch.Tensor
    b: torch.Tensor
    m: torch.Tensor
    v: torch.Tensor
    t: torch.Tensor


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    return State(x=x0, b=zero, m=zero, v=zero, t=adam.start(x0).t)


def _inner(s: State, grad: Grad, p: Params) -> adam.State:
    """Every client by itself."""
    mine = adam.State(x=s.x, m=s.m, v=s.v, t=s.t)
    for _ in range(p.local_steps):
        g, adaptive = grad(mine.x), p.inner == "adam"
        mine = adam_step(mine, g, p) if adaptive else mine._replace(x=mine.x - p.lr * g)
    return mine


@algorithm(
    "diloco",
    params=Params,
    start=start,
    centralized=True,
    shared=("x", "b"),
    source="Douillard et al. 2023",
)
def diloco(s: State, grad: Grad, p: Params) -> Round[State]:
    """DiLoCo: many local steps of Adam, then a Nesterov step along their all-reduced sum."""
    mine = _inner(s, grad, p)
    g = yield allreduce(s.x - mine.x)
    b = p.outer_beta * s.b + g
    x = s.x - p.outer_lr * (g + p.outer_beta * b)
    return State(x=x, b=b, m=mine.m, v=mine.v, t=mine.t)


@algorithm(
    "noloco",
    params=NoLoCoParams,
    start=start,
    source="Kolehmainen et al. 2025, and its code",
)
def noloco(s: State, grad: Grad, p: NoLoCoParams) -> Round[State]:
    """NoLoCo: many local steps of Adam, then a momentum step with some neighbors."""
    mine = _inner(s, grad, p)
    mixed, d = yield gossip(s.x, mine.x - s.x)
    b = p.outer_beta * s.b + p.outer_lr * d + p.gamma * (mixed - s.x)
    return State(x=s.x + b, b=b, m=mine.m, v=mine.v, t=mine.t)
