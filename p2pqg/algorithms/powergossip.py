"""PowerGossip: Vogels, Karimireddy, Jaggi, NeurIPS 2020, arXiv:2008.01425.

Two neighbors send each other not their matrices X_i and X_j, but what these make of a few vectors
that both know; so both get (X_j - X_i) v, a step of the power method on their difference, which is
small and nearly of low rank. Nothing is to be tuned, and no copies of neighbors are kept. As in the
authors' code, per edge, of rank r, from left and right in turn:

    D = X_j - X_i                    [out, in], of each matrix of the model; convolutions by filter
    v <- D orth(v)                   v was [in, r] and becomes [out, r]; next time D' orth(v)
    X_i <- X_i + w_ij v orth(v_prev)'       the best that this v can say of D

Gradients are those of the models before they are mixed (combine, then adapt). What is no matrix,
such as a bias, is sent whole. The mean of the models changes by gradients only. Where r is the size
of a square matrix nothing is lost: W x - lr m. Directions of v that only rounding has are replaced,
see `spanning`; the authors' code divides them by their length + 1e-8. The first step is always from
the right; theirs is from the left where there is an even number of them in a round.

    x     [clients, params]          model                  lr    step size of this round
    m     [clients, params]          local momentum         beta  memory of m, no dampening
    v     [clients, slots, numbers]  per neighbor: all [in, r], then all [out, r]
    t     rounds done

In the first round models are not mixed, for there is no difference yet; the ends of an edge agree
on the vectors to begin with, drawn by the one with the lower number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms._matrices import Matrices, orthonormal, spanning
from p2pqg.algorithms.effects import (
    Draw,
    Grad,
    Parameter,
    Round,
    algorithm,
    exchange,
    neighbors,
)
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.0
    """Memory of the local momentum, in [0, 1). 0: without."""
    rank: Annotated[int, ">= 1"] = 1
    """Vectors per matrix, >= 1."""
    iterations: Annotated[int, ">= 1"] = 1
    """Exchanges in a round, >= 1; each is a step of the power method."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor
    v: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    return State(x=x0, m=torch.zeros_like(x0), v=torch.zeros_like(x0[:, None, :1]), t=0)


@algorithm(
    "powergossip",
    params=Params,
    start=start,
    needs=("static", "symmetric"),
    source="Vogels et al., NeurIPS 2020, and its code",
    fixed=("rank", "iterations"),
    draws=True,
    shapes=True,
)
def powergossip(
    s: State, grad: Grad, p: Params, draw: Draw, tensors: tuple[Parameter, ...]
) -> Round[State]:
    """PowerGossip: neighbors send what their matrices make of a few vectors that both know."""
    m = p.beta * s.m + grad(s.x)
    matrices = Matrices(tensors, p.rank)
    peers = yield neighbors()
    lower = peers.clients[:, None] < peers.senders
    if s.t == 0:
        drawn = torch.special.ndtri(draw("powergossip", matrices.inputs)).to(s.x)[:, None]
        theirs = yield exchange(drawn)
        return State(s.x - p.lr * m, m, v=torch.where(lower[..., None], drawn, theirs), t=1)
    x, v = s.x, s.v
    sign = torch.where(lower, 1.0, -1.0).to(x)  # both ends keep v of D = X_higher - X_lower
    signs = sign[..., None, None, None]
    weights = peers.weights[..., None]
    for k in range(p.iterations):
        right = ((s.t - 1) * p.iterations + k) % 2 == 0
        known = orthonormal(matrices.vectors(v, inputs=right))
        own = matrices.products(x, known, inputs=right)
        whole = matrices.whole(x)[:, None]
        if k == 0:  # what is no matrix goes along
            theirs, wholes = yield exchange(own, whole)
            rest = (weights * (wholes - whole)).sum(1)
        else:
            theirs, rest = (yield exchange(own)), torch.zeros_like(whole[:, 0])
        products = [matrices.vectors(some, inputs=not right) for some in (own, theirs)]
        new = signs * (products[1] - products[0])  # D orth(v)
        # sum_j w_ij (+-v) orth(v_prev)', the sign again that of X_j - X_i
        told = weights[..., None, None] * signs * new
        outs, ins = (told, known) if right else (known, told)
        x = x + matrices.row(outs, ins, rest)
        noise = matrices.noise(new, inputs=not right)
        v = matrices.numbers(spanning(new, products, noise), inputs=not right)
    return State(x=x - p.lr * m, m=m, v=v, t=s.t + 1)
