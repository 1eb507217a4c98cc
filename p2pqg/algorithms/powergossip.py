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
of a square matrix nothing is lost: W x - lr m.

    x     [clients, params]          model                  lr    step size of this round
    m     [clients, params]          local momentum         beta  memory of m, no dampening
    v     [clients, slots, numbers]  per neighbor: all [in, r], then all [out, r]
    t     rounds done

In the first round models are not mixed, for there is no difference yet; the ends of an edge agree
on the vectors to begin with, drawn by the one with the lower number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

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
from p2pqg.base.ranges import out_of_range


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: float = 0.0
    """Memory of the local momentum, in [0, 1). 0: without."""
    rank: int = 1
    """Vectors per matrix, >= 1."""
    iterations: int = 1
    """Exchanges in a round, >= 1; each is a step of the power method."""

    def problems(self) -> Iterator[str]:
        yield from out_of_range(self, "algorithm.", beta="[0, 1)", rank=">= 1", iterations=">= 1")


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
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1]
    rest = [tensor for tensor in tensors if len(tensor.shape) < 2]
    peers = yield neighbors()
    lower = peers.clients[:, None] < peers.senders
    if s.t == 0:
        inputs = sum(prod(tensor.shape[1:]) * _rank(tensor, p) for tensor in matrices)
        drawn = torch.special.ndtri(draw("powergossip", inputs)).to(s.x)[:, None]
        theirs = yield exchange(drawn)
        return State(s.x - p.lr * m, m, v=torch.where(lower[..., None], drawn, theirs), t=1)
    x, v = s.x.clone(), s.v
    sign = torch.where(lower, 1.0, -1.0).to(x)  # both ends keep v of X_higher - X_lower
    for k in range(p.iterations):
        from_right = ((s.t - 1) * p.iterations + k) % 2 == 0
        X = [tensor.of(x).flatten(2) for tensor in matrices]  # [clients, out, in]
        X = X if from_right else [matrix.mT for matrix in X]
        ranks = [_rank(tensor, p) for tensor in matrices]
        known = [_orthonormal(part) for part in _cut(v, [M.shape[2] for M in X], ranks)]
        made = [M[:, None] @ vectors for M, vectors in zip(X, known, strict=True)]
        own = torch.cat([v[..., :0], *(part.flatten(2) for part in made)], 2)
        if k == 0:
            whole = torch.cat([x[:, :0], *(x[:, tensor.columns] for tensor in rest)], 1)[:, None]
            theirs, wholes = yield exchange(own, whole)
            mixed = whole[:, 0] + (peers.weights[..., None] * (wholes - whole)).sum(1)
            for tensor, part in zip(rest, _pieces(mixed, rest), strict=True):
                x[:, tensor.columns] = part
        else:
            theirs = yield exchange(own)
        v = sign[..., None] * (theirs - own)
        found = _cut(v, [M.shape[1] for M in X], ranks)
        for tensor, left, right in zip(matrices, found, known, strict=True):
            D = torch.einsum("cs,csor,csir->coi", peers.weights * sign, left, right)
            x[:, tensor.columns] += (D if from_right else D.mT).flatten(1)
    return State(x=x - p.lr * m, m=m, v=v, t=s.t + 1)


def _pieces(rows: torch.Tensor, tensors: list[Parameter]) -> tuple[torch.Tensor, ...]:
    """What belongs to each of these tensors, of rows that are made of them."""
    return rows.split([prod(tensor.shape) for tensor in tensors], 1)


def _rank(tensor: Parameter, p: Params) -> int:
    """How many vectors there are for a matrix: no more than it has rows or columns."""
    return min(tensor.shape[0], prod(tensor.shape[1:]), p.rank)


def _cut(v: torch.Tensor, sizes: list[int], ranks: list[int]) -> list[torch.Tensor]:
    """[clients, slots, numbers] -> [clients, slots, size, rank] of each matrix."""
    both = list(zip(sizes, ranks, strict=True))
    parts = v.split([size * rank for size, rank in both], 2)
    return [part.unflatten(2, shape) for part, shape in zip(parts, both, strict=True)]


def _orthonormal(v: torch.Tensor) -> torch.Tensor:
    """The same columns, made orthonormal: [clients, slots, size, rank]."""
    return torch.linalg.qr(v.to(torch.promote_types(v.dtype, torch.float32))).Q.to(v.dtype)
