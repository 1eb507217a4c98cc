"""Up to which consensus distance is decentralized training as good as all-reduce, by phase?

Kong et al., ICML 2021: below a critical distance nothing is lost, and what is lost is lost in the
first phase. Drawn of the runs of the recipe's own sweep, of which each controls one phase
(`consensus.targets`) and all-reduces in the others. The critical distance is the largest that is
found to lose no more than is allowed, as all smaller ones are, by the judge of claims: pairs of
equal seeds, Student's interval, Holm over all distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd

from p2pqg.base import yaml_text
from p2pqg.base.errors import ConfigError
from p2pqg.paper.figures._figure import Recipe, figure, runs_in
from p2pqg.plots.canvas import COLORS, COLUMN, FAINT, Picture, panels, styled
from p2pqg.results.claims import HOLDS, Claim, judge

TARGETS = "consensus.targets"


@dataclass(frozen=True, kw_only=True)
class Params:
    allowed: Annotated[float, "(0, 1)"] = 0.005
    """Accuracy that may be lost against all-reduce, > 0."""


def controlled(targets: list[Any]) -> tuple[int, float] | None:
    """(phase, share of the free distance) of the one phase without all-reduce; None: not one.

    >>> controlled(["exact", 0.25, "exact"]), controlled(["free", "exact"])
    ((1, 0.25), (0, 1.0))
    >>> controlled(["exact", "exact"]), controlled(["free", "free"])
    (None, None)
    """
    apart = [(phase, target) for phase, target in enumerate(targets) if target != "exact"]
    if len(apart) != 1:
        return None
    ((phase, target),) = apart
    return phase, 1.0 if target == "free" else float(target)


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """A line per phase with 95 % intervals, the loss allowed, the first phase's critical one."""
    picture, ((ax,),) = panels(width=COLUMN * 1.4, height=2.4)
    for color, (phase, line) in zip(COLORS, frame.groupby("phase"), strict=False):
        shares = line["share"] * 1.03 ** (phase - 2)  # bars side by side
        errors = 100 * (line["mean"] - line["low"]), 100 * (line["high"] - line["mean"])
        ax.errorbar(
            shares,
            100 * line["mean"],
            errors,
            color=color,
            marker="o",
            markersize=3.5,
            capsize=2,
            elinewidth=0.8,
            label=f"phase {phase}",
        )
    allowed = -100 * frame["allowed"].iloc[0]
    ax.axhline(0, color=FAINT, lw=0.8)
    ax.axhline(allowed, color=FAINT, lw=0.8, ls="--")
    critical = frame.loc[frame["critical"] & (frame["phase"] == 1), "share"]
    if len(critical):
        ax.axvline(critical.iloc[0], color=COLORS[0], lw=0.8, ls=":")
        ax.set_title(f"critical in phase 1: {critical.iloc[0]:g} of the free distance")
    else:
        ax.set_title("critical in phase 1: below all that were tried")
    shares = sorted(frame["share"].unique())
    ax.set_xscale("log")
    ax.set_xticks(shares, [f"{share:g}" for share in shares], minor=False)
    ax.minorticks_off()
    ax.set(xlabel="largest consensus distance / that of the free run")
    ax.set_ylabel("test accuracy,\npoints ahead of all-reduce")
    ax.legend()
    return picture


@figure("critical-distance", params=Params, draw=draw, trains=True, source="Kong et al., ICML 2021")
def critical_distance(p: Params, recipe: Recipe) -> pd.DataFrame:
    """Accuracy against that of all-reduce, by phase and consensus distance, of runs in the folder.

    Returns:
        Columns phase (from 1), share (of the free distance), mean, low, high (of the difference to
        all-reduce, a fraction), verdict (of its being above -allowed), allowed, critical (whether
        the share is the phase's critical one).

    Raises:
        ConfigError: no run controls one phase, or none all-reduces in all of them.
    """
    runs = runs_in(recipe, TARGETS)
    claims, exact = {}, None
    for text in runs[TARGETS].dropna().unique():
        targets = yaml_text.parse(text)
        found = controlled(targets)
        if set(targets) == {"exact"}:
            exact = targets
        elif found:
            claims[found] = targets
    if exact is None or not claims:
        raise ConfigError(f"{recipe.folder}: no runs with one phase controlled, and with none")
    rows = judged(runs, claims, exact, p.allowed)
    for _, line in rows.groupby("phase"):
        good = line[(line["verdict"] == HOLDS).cummin()]
        if len(good):
            rows.loc[good.index[-1], "critical"] = True
    return rows


def judged(
    runs: pd.DataFrame,
    targets: dict[tuple[int, float], list[Any]],
    exact: list[Any],
    allowed: float,
) -> pd.DataFrame:
    """A row per phase and share, in this order; none is critical yet."""
    order = sorted(targets)
    verdicts = judge(
        {
            str(place): Claim(
                left={TARGETS: targets[place]},
                right={TARGETS: exact},
                holds_if={"above": -allowed},
            )
            for place in order
        },
        runs,
    )
    rows = [
        (phase + 1, share, one.mean, one.low, one.high, one.verdict, allowed, False)
        for (phase, share), verdict in zip(order, verdicts, strict=True)
        for one in verdict.findings
    ]
    columns = ["phase", "share", "mean", "low", "high", "verdict", "allowed", "critical"]
    return pd.DataFrame(rows, columns=columns)
