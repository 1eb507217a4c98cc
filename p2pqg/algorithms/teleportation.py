"""Teleportation: Takezawa, Stich, ICLR 2025, arXiv:2501.15259.

Only a few clients are active in a round. Each fetches the model of one that was active in the round
before, takes a step, and gossips with the other active ones on a small graph; so models agree as
if there were few clients, and see the data of all. The network `teleportation<n>:k=4` says who is
active. What is gossiped at the end of a round and fetched at the beginning of the next one is one
message here, which the mean of the neighbors' models is made of where it arrives:

    x_i <- sum_j W_ij x_j,  then  x_i <- x_i - lr g_i(x_i),       of the clients i that are active

    x    [clients, params]  model, after the step; who is not active keeps the last it had
    lr   step size of this round

Others' models are old: read results of few rounds with care. Gradients are computed, and counted,
for all clients. With all clients active (k = n) and slots that do not move it would be DSGD that
mixes before its step.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pqg.algorithms.dsgd import State, start
from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip, neighbors
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float


@algorithm(
    "teleportation",
    params=Params,
    start=start,
    needs=("teleportation",),
    source="Takezawa, Stich, ICLR 2025",
)
def teleportation(s: State, grad: Grad, p: Params) -> Round[State]:
    """DSGD of a few clients at a time, which fetch the models of those before them."""
    peers = yield neighbors()
    active = (peers.senders >= 0).any(1, keepdim=True)
    x = yield gossip(s.x)
    return State(x=torch.where(active, x - p.lr * grad(x), x))
