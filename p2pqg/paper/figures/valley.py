"""Figure 4: one worker in a valley. Does quasi-global momentum swing less than local momentum?

The function is the paper's, f(x, y) = (y - x^2)^2 + 100 (x - 1)^2, least at (1, 1); it is not
Rosenbrock's, which has the 100 at the first term. Steep in x, nearly flat in y.

What to see: QG-SGDm overshoots x = 1 by less and swings fewer times, as the paper says. It is not
the sooner one at the minimum: y follows more slowly, and then overshoots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd

from p2pqg.paper.figures._figure import Recipe, figure
from p2pqg.plots.canvas import BLUE, FAINT, PAGE, VERMILLION, Picture, label_ends, panels, styled
from p2pqg.theory.trajectories import trajectory

METHODS = {"SGDm": ("dsgdm", VERMILLION), "QG-SGDm": ("qg-dsgdm", BLUE)}
"""With one worker the decentralized methods are those of a single machine."""


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: Annotated[float, "> 0"] = 0.001
    beta: float = 0.9
    mu: float = 0.9
    rounds: Annotated[int, ">= 1"] = 300
    """Steps, >= 1. The paper does not say how many it shows."""
    start: tuple[float, float] = (0.0, 0.0)


def loss(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y - x**2) ** 2 + 100 * (x - 1) ** 2


def gradient(at: np.ndarray, round: int) -> np.ndarray:
    """The gradient of the loss, [1, 2]."""
    x, y = at.T
    off = y - x**2
    return np.stack([-4 * x * off + 200 * (x - 1), 2 * off], axis=1)


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """The plane, x by step, and the loss by step; columns as of `valley`."""
    picture, ((plane, swing, fall),) = panels(3, width=PAGE, height=2.0)
    low, high = frame[["x", "y"]].min(), frame[["x", "y"]].max()
    margin = 0.12 * (high - low)
    xs, ys = (np.linspace(low[k] - margin[k], high[k] + margin[k], 200) for k in "xy")
    heights = loss(xs[None, :], ys[:, None])
    levels = np.geomspace(0.05, heights.max(), 10)
    plane.contour(xs, ys, heights, levels=levels, colors=FAINT, linewidths=0.5, alpha=0.7)
    ends: dict[Any, list[tuple[float, str, str]]] = {swing: [], fall: []}
    for name, (_, color) in METHODS.items():
        path = frame[frame["method"] == name]
        plane.plot(path["x"], path["y"], "o-", color=color, markersize=1.2, linewidth=0.8)
        for ax, column in ((swing, "x"), (fall, "loss")):
            ax.plot(path["step"], path[column], color=color, linewidth=1)
            ends[ax].append((path[column].iloc[-1], name, color))
    plane.plot(1, 1, "*", color="black", markersize=7, zorder=5)
    plane.set(xlabel="x", ylabel="y", xlim=xs[[0, -1]], ylim=ys[[0, -1]])
    swing.axhline(1, color=FAINT, linewidth=0.6, zorder=0)
    swing.set(xlabel="step", ylabel="x")
    fall.set(xlabel="step", ylabel="f(x, y)", yscale="log")
    for ax, names in ends.items():
        ax.margins(x=0)
        label_ends(ax, names)
    return picture


@figure(
    "valley",
    number=4,
    params=Params,
    draw=draw,
    source="Lin et al., ICML 2021, Section 4.2 and Figure 4",
)
def valley(p: Params, recipe: Recipe) -> pd.DataFrame:
    """A worker alone in a valley, with momentum and with quasi-global momentum.

    Returns:
        Columns method, step (from 0, the start), x, y, loss.
    """
    frames = []
    for name, (algorithm, _) in METHODS.items():
        memory: dict[str, Any] = {"mu": p.mu} if algorithm == "qg-dsgdm" else {}
        (x, y) = trajectory(
            algorithm,
            gradient,
            np.array(p.start),
            topology="complete1",
            rounds=p.rounds,
            lr=p.lr,
            beta=p.beta,
            **memory,
        )[:, 0].T
        steps = np.arange(len(x))
        frames.append(
            pd.DataFrame({"method": name, "step": steps, "x": x, "y": y, "loss": loss(x, y)})
        )
    return pd.concat(frames)
