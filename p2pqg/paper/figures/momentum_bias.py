"""How far from the optimum methods come to rest where clients disagree, against the step size.

Yuan et al., ICCV 2021 (DecentLaM, arXiv:2104.11981): momentum multiplies the inconsistency bias of
decentralized SGD, and DecentLaM does not. Full-batch linear regression has no noise: a method's
point of rest is its bias. With W doubly stochastic and g(x) every client's own gradient at its own
model:

    dsgd       rests at x = W (x - lr g(x)).
    dsgdm(-n)  m = beta m + g stands still at g / (1 - beta), and there Nesterov's g + beta m is m,
               too: x = W (x - lr / (1 - beta) g(x)), DSGD with a step 1 / (1 - beta) as long.
    decentlam  m = beta m + (x - W (x - lr g)) / lr, x = x - lr m: at rest m = 0, so what m sums up
               is 0: x = W (x - lr g(x)), DSGD's point.
    qg-dsgdm   m follows (x_old - x_new) / lr, which is 0 at rest, so m = 0: DSGD's point, too.
               Quasi-global momentum has DecentLaM's bias for DecentLaM's reason: it sums up what
               the network let a client move, not where the client wanted to go. In Nesterov's form
               the step is (1 + beta) lr.
    d2, edm, gradient tracking rest at the optimum x*.

To first order in lr the models at rest are x_i = x* + lr u_i with (I - W) u = -W h, where h_i =
grad f_i(x*), which sum to 0: the squared bias mean_i ||x_i - x*||^2 is lr^2 mean_i ||u_i||^2. It
falls with lr^2, and local momentum multiplies it by 1 / (1 - beta)^2: 25 at beta 0.8.

All seeds (problems) are computed side by side, as more parameters of one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd

from p2pqg.base.ranges import broken
from p2pqg.paper.figures._figure import Recipe, figure
from p2pqg.plots.canvas import COLORS, PAGE, Picture, label_ends, panels, styled
from p2pqg.theory.quadratics import Array, Quadratics
from p2pqg.theory.trajectories import trajectory
from p2pqg.topology import build

STEPS = {
    "dsgd": lambda beta: 1.0,
    "dsgdm": lambda beta: 1 / (1 - beta),
    "dsgdm-n": lambda beta: 1 / (1 - beta),
    "decentlam": lambda beta: 1.0,
    "qg-dsgdm": lambda beta: 1.0,
    "qg-dsgdm-n": lambda beta: 1 + beta,
}
"""Method -> the step, in lr, of the DSGD that rests where it does."""
EXACT = ("d2", "edm", "dsgd-gt")
"""Methods that rest at the optimum."""
LAZY = ("d2", "edm")
"""The methods that a ring of an even number of clients needs lazy mixing for."""
PLAIN = ("dsgd", "d2", "dsgd-gt")
"""The methods without momentum."""
REST = 20
"""Rounds times the length of a step in the end, lr or lr / (1 - beta), until all has come to rest:
the curvature is about 1."""
LEAST = 1000
"""Rounds in which momentum, too, has come to rest."""


@dataclass(frozen=True, kw_only=True)
class Params:
    topology: str = "ring8"
    methods: tuple[str, ...] = (*STEPS, *EXACT)
    lrs: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04)
    beta: Annotated[float, "[0, 1)"] = 0.8
    dim: Annotated[int, ">= 1"] = 5
    samples: int = 30
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)

    def problems(self) -> Iterator[str]:
        if self.samples < self.dim:
            yield broken(f"samples must be >= dim {self.dim}, got {self.samples}", "samples", "dim")
        for key in ("methods", "lrs", "seeds"):
            if not getattr(self, key):
                yield f"{key} must be at least one, got none"
        if not all(lr > 0 for lr in self.lrs):
            yield f"lrs must be > 0, got {list(self.lrs)}"
        unknown = [method for method in self.methods if method not in (*STEPS, *EXACT)]
        if unknown:
            known = ", ".join((*STEPS, *EXACT))
            yield f"methods must be of {known}, got {', '.join(unknown)}"


def point_of_rest(method: str, problem: Quadratics, W: Array, lr: float, beta: float) -> Array:
    """[clients, dim]: where a method comes to rest, in closed form."""
    if method in EXACT:
        return np.broadcast_to(problem.optimum(), problem.b.shape)
    return problem.gossip_fixed_point(W, lr * STEPS[method](beta))


def came_to_rest(method: str, problems: list[Quadratics], p: Params, lr: float) -> Array:
    """[problems, clients, dim]: the models at rest, by the actors' own code, started at 0."""
    A = np.stack([problem.A for problem in problems], axis=1)  # [clients, problems, dim, dim]
    b = np.stack([problem.b for problem in problems], axis=1)

    def gradient(x: Array, round: int) -> Array:
        return np.einsum("cpij,cpj->cpi", A, x.reshape(b.shape) - b).reshape(x.shape)

    params: dict[str, Any] = {"lazy": True} if method in LAZY else {}
    rounds = round(REST / lr)
    if method not in PLAIN:
        params["beta"] = p.beta
        rounds = max(LEAST, round(REST * (1 - p.beta) / lr))
    if method.startswith("qg-"):
        params["mu"] = p.beta
    path = trajectory(
        method,
        gradient,
        np.zeros((len(A), b[0].size)),
        topology=p.topology,
        rounds=rounds,
        lr=lr,
        **params,
    )
    return path[-1].reshape(b.shape).swapaxes(0, 1)


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """Dots: what runs came to; lines: the closed forms. A panel with bias, one without."""
    picture, ((biased, exact),) = panels(2, width=PAGE, height=2.6)
    known = {method: COLORS[i % len(COLORS)] for i, method in enumerate((*STEPS, *EXACT))}
    markers = {"dsgd": "o", "decentlam": "+", "qg-dsgdm": "x", "dsgdm": "o", "dsgdm-n": "+"}
    for ax, among in ((biased, tuple(STEPS)), (exact, EXACT)):
        ends = []
        for method in among:
            rows = frame[frame["algorithm"] == method]
            if rows.empty:
                continue
            curve = rows.groupby("lr")[["squared_bias", "closed_form"]].mean()
            if ax is biased:
                ax.plot(curve["closed_form"], color=known[method], lw=0.9)
            marker = markers.get(method, "o")
            shown = curve["squared_bias"].clip(lower=1e-32)
            ax.plot(shown, marker, color=known[method], markersize=5)
            ends.append((shown.iloc[-1], method, known[method]))
        ax.set(xscale="log", yscale="log", xlabel="step size (lr)")
        lrs = sorted(frame["lr"].unique())
        ax.set_xticks(lrs, [f"{lr:g}" for lr in lrs], minor=False)
        ax.minorticks_off()
        label_ends(ax, ends)
    biased.set(title="a bias that falls with lr²")
    exact.set(title="exact methods: what is left in the end")
    biased.set_ylabel("squared bias")
    return picture


@figure(
    "momentum-bias",
    params=Params,
    draw=draw,
    source="Yuan et al., ICCV 2021, arXiv:2104.11981",
)
def momentum_bias(p: Params, recipe: Recipe) -> pd.DataFrame:
    """Squared bias of every method at every step size, of runs and in closed form.

    Returns:
        Columns algorithm, lr, seed, squared_bias (of the run), closed_form.
    """
    W = build(p.topology).mixing(0).dense()
    problems = [Quadratics.regression(len(W), p.dim, p.samples, seed) for seed in p.seeds]
    rows = []
    for method in p.methods:
        for lr in p.lrs:
            found = came_to_rest(method, problems, p, lr)
            for seed, problem, x in zip(p.seeds, problems, found, strict=True):
                rest = point_of_rest(method, problem, W, lr, p.beta)
                bias = problem.squared_bias(x), problem.squared_bias(rest)
                rows.append((method, lr, seed, *bias))
    return pd.DataFrame(rows, columns=["algorithm", "lr", "seed", "squared_bias", "closed_form"])
