"""Figure 5: the effective step size lr / |x|^2 of one worker, with SGDm and with QG-SGDm.

Behind a normalisation the length of the weights does not matter, only their direction: a step of lr
turns a long vector less than a short one (Hoffer et al., 2018; Zhang et al., 2019). |x| is over all
parameters of the model. The paper does not print its learning rate and schedule for this figure;
ours are those of its Section 5.1 and its code.

What the paper sees: a larger effective step size with QG-SGDm. It takes a whole training: weight
decay and the growth of the weights balance after (1 - beta) / (2 lr weight_decay) rounds, and until
then the start decides.

A curve that is in figure5.csv already, with the very same settings, is not trained again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import draft_of
from p2pqg.paper.figures._figure import Recipe, figure
from p2pqg.plots.canvas import BLUE, COLUMN, PAGE, VERMILLION, Picture, label_ends, panels, styled
from p2pqg.results.alike import SAME_NUMBERS

METHODS = {"SGDm": ("dsgdm", VERMILLION), "QG-SGDm": ("qg-dsgdm", BLUE)}


@dataclass(frozen=True, kw_only=True)
class Params:
    models: tuple[str, ...] = ("resnet20-bn", "resnet20-gn")
    seeds: tuple[int, ...] = (1,)

    def problems(self) -> Iterator[str]:
        for key in ("models", "seeds"):
            if not getattr(self, key):
                yield f"{key} must be at least one, got none"


def effective_step_size(lr: float, x: np.ndarray) -> float:
    """Lr / |x|^2, of one model [params].

    >>> effective_step_size(0.1, np.array([3.0, 4.0]))
    0.004
    """
    return lr / float(np.square(x, dtype=np.float64).sum())


OURS = ("topology", "clients", "algorithm", "model", "seed")
"""Keys of a run that the figure sets itself."""


def train(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Train, and measure about a hundred times; columns as of `step_size`."""
    from p2pqg.recipe.settings import read_config
    from p2pqg.simulation.build import build
    from p2pqg.simulation.simulation import Simulation

    experiment = build(read_config(settings))
    rows = []
    with Simulation(experiment) as sim:
        while sim.round < experiment.num_rounds:
            sim.advance(min(experiment.config.record_every, experiment.num_rounds - sim.round))
            (x,) = sim.parameters()
            lr = experiment.rule.lr(sim.round - 1)
            rows.append(
                {
                    "round": sim.round,
                    "epoch": sim.round / experiment.rounds_per_epoch,
                    "lr": lr,
                    "effective_step_size": effective_step_size(lr, x),
                }
            )
    return pd.DataFrame(rows)


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """A panel per model, a line per method, bands over seeds; columns as of `step_size`."""
    models = list(frame["model"].unique())
    width = COLUMN if len(models) == 1 else PAGE
    picture, axes = panels(len(models), width=width, height=2.0, sharey=True)
    for ax, model in zip(axes.flat, models, strict=True):
        ends = []
        for method, (_, color) in METHODS.items():
            curve = frame[(frame["model"] == model) & (frame["method"] == method)]
            found = curve.groupby("epoch")["effective_step_size"].agg(["mean", "min", "max"])
            ax.plot(found["mean"], color=color)
            ax.fill_between(found.index, found["min"], found["max"], color=color, alpha=0.2, lw=0)
            ends.append((found["mean"].iloc[-1], method, color))
        ax.set(title=model, xlabel="epoch")
        ax.margins(x=0)
    if frame["effective_step_size"].max() > 4 * frame["effective_step_size"].min():
        axes[0, 0].set_yscale("log")
    else:
        axes[0, 0].ticklabel_format(axis="y", scilimits=(0, 0))
    label_ends(axes.flat[-1], ends)
    axes[0, 0].set_ylabel("effective step size\nη / |x|²")
    return picture


@figure(
    "step-size",
    number=5,
    params=Params,
    draw=draw,
    trains=True,
    source="Lin et al., ICML 2021, Section 4.2 and Figure 5",
)
def step_size(p: Params, recipe: Recipe) -> pd.DataFrame:
    """The effective step size of one worker, by epoch, with SGDm and with QG-SGDm.

    Returns:
        Columns model, method, seed, settings (a fingerprint), round, epoch, lr,
        effective_step_size.

    Raises:
        ConfigError: the recipe sets what the figure sets itself, or a run cannot be built.
    """
    given = [key for key in OURS if key in recipe.settings]
    if given:
        raise ConfigError.of([f"{key} cannot be set, the figure sets it" for key in given])
    wanted = {}
    for model, (method, (algorithm, _)), seed in product(p.models, METHODS.items(), p.seeds):
        settings = {"engine": "local", **recipe.settings, "topology": "complete1"}
        settings |= {"model": model, "algorithm": algorithm, "seed": seed}
        about = {"model": model, "method": method, "seed": seed, "settings": fingerprint(settings)}
        wanted[about["settings"]] = settings, about
    path = recipe.folder / "figure5.csv"
    curves = dict(list(pd.read_csv(path).groupby("settings"))) if path.exists() else {}
    curves = {known: curve for known, curve in curves.items() if known in wanted}
    for new in [one for one in wanted if one not in curves]:
        settings, about = wanted[new]
        curves[new] = train(settings)
        for place, (key, value) in enumerate(about.items()):
            curves[new].insert(place, key, value)
        with draft_of(path) as draft:  # half of a curve would be read as all of it
            pd.concat(curves.values()).to_csv(draft, index=False)
    return pd.concat([curves[one] for one in wanted])


def fingerprint(settings: Mapping[str, Any]) -> str:
    """A few characters that tell settings apart, where it matters to the numbers."""
    telling = {key: value for key, value in settings.items() if key not in SAME_NUMBERS}
    return "s" + blake2b(json.dumps(telling, sort_keys=True).encode(), digest_size=4).hexdigest()
