"""DFedAvgM and DFedSAM: Sun, Li, Wang, IEEE TPAMI 2022; Shi et al., ICML 2023, arXiv:2302.04083.

Several local steps with a momentum that begins at zero in every round, then gossip. DFedSAM takes
the gradient where the loss rises most, at a distance rho, on the same batch: flat minima agree
better. No code of the authors is known; here from their papers and the code of others. With
local_steps = 1 DFedAvgM is DSGD; with rho = 0 and gossips = 1 DFedSAM is DFedAvgM.
    x    [clients, params]  model                     lr           step size of this round
    m    [clients, params]  momentum of this round    beta         its memory, no dampening
                                                      rho          how far the loss is looked at
                                                      local_steps  between two exchanges
                                                      gossips      exchanges in a round (MGS)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from p2pqg.algorithms import dsgd
from p2pqg.algorithms.dsgd import State
from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.algorithms.local_steps import LocalSteps
from p2pqg.base.lazy import torch

TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Params(LocalSteps):
    lr: float
    local_steps: int = 5
    """Gradient steps between two exchanges, each on a batch of its own, >= 1."""
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum within a round, in [0, 1). 0: without."""


@dataclass(frozen=True, kw_only=True)
class SamParams(Params):
    beta: float = 0.0
    """Memory of the momentum within a round, in [0, 1). 0: without, as in the paper."""
    rho: Annotated[float, ">= 0"] = 0.01
    """How far from the model its gradient is taken, >= 0. 0: at the model."""
    gossips: Annotated[int, ">= 1"] = 1
    """Exchanges in a round, with the same W, >= 1."""


@algorithm("dfedavgm", params=Params, start=dsgd.start, source="Sun, Li, Wang, IEEE TPAMI 2022")
def dfedavgm(s: State, grad: Grad, p: Params) -> Round[State]:
    """Decentralized federated averaging: local SGD with fresh momentum, then gossip."""
    half, m = s.x, torch.zeros_like(s.x)
    for _ in range(p.local_steps):
        m = p.beta * m + grad(half)
        half = half - p.lr * m
    x = yield gossip(half)
    return State(x=x)


@algorithm(
    "dfedsam", params=SamParams, start=dsgd.start, source="Shi et al., ICML 2023; code of DA-DPFL"
)
def dfedsam(s: State, grad: Grad, p: SamParams) -> Round[State]:
    """DFedAvgM that looks for flat minima: gradients where the loss rises most nearby."""
    x, m = s.x, torch.zeros_like(s.x)
    for _ in range(p.local_steps):
        g = grad(x)
        worst = x + p.rho * g / (g.norm(dim=1, keepdim=True) + TINY)
        m = p.beta * m + grad(worst, again=True)
        x = x - p.lr * m
    for _ in range(p.gossips):
        x = yield gossip(x)
    return State(x=x)
