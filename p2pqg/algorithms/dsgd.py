"""DSGD, decentralized SGD in its adapt-then-combine form: Lian et al., NeurIPS 2017.

On the complete graph this is parallel mini-batch SGD; with W = I, every client alone. With several
local steps it is decentralized local SGD.
    x    [clients, params]  model          lr    step size of this round
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.algorithms.local_steps import LocalSteps
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float


@dataclass(frozen=True, kw_only=True)
class LocalParams(LocalSteps, Params):
    pass


class State(NamedTuple):
    x: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0)


@algorithm("dsgd", params=LocalParams, start=start, source="Lian et al., NeurIPS 2017")
def dsgd(s: State, grad: Grad, p: LocalParams) -> Round[State]:
    """Decentralized SGD: a local step, then gossip."""
    half = s.x
    for _ in range(p.local_steps):
        half = half - p.lr * grad(half)
    x = yield gossip(half)
    return State(x=x)
