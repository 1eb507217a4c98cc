"""DSGD-CECA, exact consensus in log2 n rounds: Ding, Jin, Ying, Yuan, Yin, ICML 2023, 2306.00256.

A client has two models: the mean of what it has heard and its own, and the mean of the others
alone. On the network `ceca<n>` it hears of one other client a round, and after tau = ceil(log2 n)
rounds the first is the mean of all clients, whatever n is, and the next tau rounds begin. In a
round k others were heard already, and the next binary digit of n - 1 says what is sent:

    digit 1:  h = x heard,  x <- (x + h) / 2,                   v <- (k v + (k + 1) h) / (2 k + 1)
    digit 0:  h = v heard,  x <- ((k + 1) x + k h) / (2 k + 1),  v <- (v + h) / 2

Both models first take a step along the gradient of the one that is sent.
    x    [clients, params]  model, of all that was heard        lr    step size of this round
    v    [clients, params]  of the others alone (x^ in the paper)

The weight that W gives to the sender is (k + 1) / (2k + 1) where the digit is 1 and k / (2k + 1)
where it is 0, so a client sees from W what to do. (The authors' script multiplies lr by n.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip, neighbors
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float


class State(NamedTuple):
    x: torch.Tensor
    v: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, v=x0)


@algorithm(
    "dsgd-ceca",
    params=Params,
    start=start,
    needs=("ceca",),
    source="Ding et al., ICML 2023, and its code",
)
def dsgd_ceca(s: State, grad: Grad, p: Params) -> Round[State]:
    """DSGD on two models: with one message a round the exact mean every log2 n rounds."""
    peers = yield neighbors()
    weight = peers.weights.sum(1, keepdim=True)
    one = weight > 0.5
    step = p.lr * grad(torch.where(one, s.x, s.v))
    x, v = s.x - step, s.v - step
    sent = torch.where(one, x, v)
    # Half of the sum, or a weighted mean: W does what suits the model that is not sent.
    mixed = yield gossip(sent)
    heard = sent + (mixed - sent) / torch.where(weight > 0, weight, 1)
    half, other = (sent + heard) / 2, torch.where(one, v, x)
    other = other + weight * (heard - other)
    return State(x=torch.where(one, half, other), v=torch.where(one, other, half))
