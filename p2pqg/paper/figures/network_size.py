"""Figure 6: does quasi-global momentum still win on larger networks, at every alpha?

Drawn of the runs of the recipe's own sweep: methods x networks x alphas x seeds, each cell at its
best learning rate.

What to see: at small alpha DSGDm-N loses accuracy as the network grows, QG-DSGDm-N hardly; at large
alpha the two are within their spread.
"""

from __future__ import annotations

import pandas as pd

from p2pqg.base.wording import missing
from p2pqg.paper.figures._figure import Recipe, figure, nothing_finished, runs_in
from p2pqg.plots.canvas import PAGE, Picture, colors_of, in_percent, label_ends, panels, styled
from p2pqg.results.cells import cells


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """A panel per kind of network and alpha, error bars of a standard deviation."""
    groups = list(frame.groupby(["network", "alpha"], sort=False, dropna=False))
    picture, axes = panels(len(groups), width=PAGE, height=2.1, sharey=True)
    methods = list(frame["method"].unique())
    colors = dict(zip(methods, colors_of(methods), strict=True))
    for ax, ((network, alpha), rows) in zip(axes.flat, groups, strict=True):
        ends = []
        for shift, (method, line) in enumerate(rows.groupby("method", sort=False)):
            sizes = line["clients"] * 1.03 ** (shift - (len(methods) - 1) / 2)  # bars side by side
            ax.errorbar(
                sizes,
                line["mean"],
                line["std"].fillna(0),
                color=colors[method],
                marker="o",
                markersize=3.5,
                capsize=2,
                elinewidth=0.8,
            )
            ends.append((line["mean"].iloc[-1], method, colors[method]))
        sizes = sorted(rows["clients"].unique())
        ax.set_xscale("log", base=2)
        ax.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        ax.minorticks_off()
        split = "" if missing(alpha) else f", α = {alpha:g}"
        ax.set(title=f"{network}{split}", xlabel="clients")
        in_percent(ax.yaxis)
    label_ends(axes.flat[-1], ends)
    axes[0, 0].set_ylabel("test accuracy (%)")
    return picture


@figure(
    "network-size",
    number=6,
    draw=draw,
    trains=True,
    source="Lin et al., ICML 2021, Section 5.2 and Figure 6",
)
def network_size(p: object, recipe: Recipe) -> pd.DataFrame:
    """Accuracy by number of clients and alpha, of the runs in the folder.

    Returns:
        Columns network (without its number), clients, alpha, method, lr, mean, std, seeds.
    """
    found = cells(runs_in(recipe))
    if found["mean"].isna().all():
        raise nothing_finished(recipe)
    names = found["topology"].str.extract(r"^(?P<network>.*?)(?P<clients>\d+)")
    found = found.assign(network=names["network"], clients=names["clients"].astype(int))
    found = found.sort_values(
        ["network", "alpha", "method", "clients"], ascending=[True, False, True, True]
    )
    return found[["network", "clients", "alpha", "method", "lr", "mean", "std", "seeds"]]
