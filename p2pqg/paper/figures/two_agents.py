"""Figure 2: two agents in the plane. Why local momentum fails where data differ, QG does not.

Both start at (0, 0) and average after every step. The gradient of each points to its own minimum,
(0, 5) or (4, 0), and always has length 1. So nothing pulls on the average anywhere on the line
between the minima, and it reaches that line where the difference of the two distances is what it
was at the start.

What to see: local momentum carries each agent 1 / (1 - beta) steps towards its own minimum, round
after round; quasi-global momentum is the same for both, so that they part by their gradients alone.
The average itself overshoots with either.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch

from p2pqg.algorithms.user_code import find_algorithm
from p2pqg.paper.figures._figure import Recipe, figure
from p2pqg.plots.canvas import (
    BLUE,
    FAINT,
    GREEN,
    PAGE,
    Picture,
    colors_of,
    label_ends,
    panels,
    styled,
)

MINIMA = np.array([[0.0, 5.0], [4.0, 0.0]])
METHODS = {"dsgd": "no momentum", "dsgdm": "local momentum", "qg-dsgdm": "quasi-global momentum"}


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: Annotated[float, "> 0"] = 0.1
    """Length of a step without momentum, > 0. The paper does not say its own."""
    rounds: Annotated[int, ">= 1"] = 60
    """Steps, >= 1."""
    beta: Annotated[float, "[0, 1)"] = 0.9
    mu: Annotated[float, "[0, 1)"] = 0.9


def gradient(x: torch.Tensor) -> torch.Tensor:
    """Unit vectors from the minima to the models, [2, 2]."""
    away = x - torch.from_numpy(MINIMA)
    return away / away.norm(dim=1, keepdim=True)


def steps(algorithm: str, rounds: int, lr: float, **params: Any) -> tuple[np.ndarray, np.ndarray]:
    """Play an algorithm with exact averaging, and look into every round.

    Returns:
        (the agents after their local step, [rounds, 2, 2]; the average, [rounds + 1, 2]).
    """
    entry = find_algorithm(algorithm)
    p = entry.params(lr=lr, **params)
    state = entry.traits["start"](torch.zeros(2, 2, dtype=torch.float64))
    local, average = [], [state.x.mean(0)]
    for _ in range(rounds):
        call = entry.build(state, gradient, p)
        (half,) = next(call).tensors
        try:
            call.send(half.mean(0).expand(2, 2))
        except StopIteration as end:
            state = end.value
        local.append(half)
        average.append(state.x[0])
    return torch.stack(local).numpy(), torch.stack(average).numpy()


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """The paths in the plane, and how far apart the agents are; columns as of `two_agents`."""
    fig, ((*planes, ax),) = panels(4, width=PAGE, height=1.9)
    ends = []
    colors = dict(zip(METHODS, colors_of(list(METHODS)), strict=True))
    for plane, (method, title) in zip(planes, METHODS.items(), strict=True):
        rows = frame[frame["method"] == method]
        path = rows.pivot(index="step", columns="who", values=["x", "y"])
        plane.plot(*MINIMA.T, ":", color=FAINT, linewidth=0.8)
        size = 0.5 + 8 * path.index.to_numpy() / path.index.max()
        for who, color in (("agent 1", BLUE), ("agent 2", GREEN)):
            x, y = path["x"], path["y"]
            plane.plot(
                [x[who], x["average"]], [y[who], y["average"]], color=color, lw=0.4, alpha=0.5
            )
            plane.scatter(x[who], y[who], s=size, color=color, linewidths=0)
        plane.plot(path["x"]["average"], path["y"]["average"], color="black", linewidth=0.8)
        plane.scatter(path["x"]["average"], path["y"]["average"], s=size, color="black", lw=0)
        plane.scatter(*MINIMA.T, marker="*", s=45, color=(BLUE, GREEN), zorder=4)
        plane.set_title(title, color=colors[method])
        plane.set(aspect="equal", xlim=(-0.6, 4.6), ylim=(-0.6, 5.6))
        plane.set(xticks=[0, 2, 4], yticks=[0, 2, 4])
        gap = path.xs("agent 1", axis=1, level="who") - path.xs("agent 2", axis=1, level="who")
        distance = np.hypot(gap["x"], gap["y"]).dropna()
        ax.plot(distance, color=colors[method])
        ends.append((distance.iloc[-1], title.removesuffix(" momentum"), colors[method]))
    planes[0].text(0.35, 5, "minimum of agent 1", color=BLUE, size=7, va="center")
    planes[0].text(4.5, 0.4, "of agent 2", color=GREEN, size=7, ha="right")
    planes[1].text(4.5, 5, "black: average", size=7, ha="right", va="center")
    ax.set(xlabel="step", title="between the agents", ylabel="distance", ylim=(0, None))
    ax.margins(x=0)
    label_ends(ax, ends)
    return fig


@figure("two-agents", number=2, params=Params, draw=draw, source="Lin et al., ICML 2021, Figure 2")
def two_agents(p: Params, recipe: Recipe) -> pd.DataFrame:
    """Two agents in the plane, without, with local and with quasi-global momentum.

    Returns:
        Columns method, step (from 0, the start), who (agent 1 and agent 2: after their local step;
        average: of both, where the next step begins), x, y.
    """
    rows = []
    for method in METHODS:
        known = {field.name for field in dataclasses.fields(find_algorithm(method).params)}
        momentum = {key: value for key, value in (("beta", p.beta), ("mu", p.mu)) if key in known}
        local, average = steps(method, p.rounds, p.lr, **momentum)
        rows += [(method, step, "average", *xy) for step, xy in enumerate(average)]
        for agent in (0, 1):
            rows += [
                (method, step, f"agent {agent + 1}", *xy)
                for step, xy in enumerate(local[:, agent], start=1)
            ]
    return pd.DataFrame(rows, columns=["method", "step", "who", "x", "y"])
