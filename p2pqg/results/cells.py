"""The cells of a table: mean and deviation over seeds of runs that are alike but for these.

How tables are set in Markdown and LaTeX is in `p2pqg.paper.tables`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from p2pqg.base.text import without_folders_but_unlike
from p2pqg.base.wording import group_name
from p2pqg.results.alike import OWN_FILES, SAME_NUMBERS, differs
from p2pqg.results.run import Run
from p2pqg.results.run_frames import MEASURED, OUTCOME, runs_of
from p2pqg.results.tuned import chosen_by, tuned

BLOCK = ["dataset", "model"]
COLUMN = ["topology", "partition", "alpha"]


def cells(runs: Iterable[Run] | pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of the test accuracy over seeds, at the rate with most `merit`.

    Settings that differ between runs of one cell become part of the method's name, so that nothing
    unlike is averaged. A learning rate at which a seed failed, or with fewer seeds than another,
    is not chosen. Runs that did not finish and have no reason on record are left out.

    Args:
        runs: in any order, or a frame of them; where a run is there twice, the last counts.

    Returns:
        A row per dataset, model, method, topology, partition and alpha, of files without the
        folders that lead to them, for tables are sent on:
            lr, mean, std (sample, n - 1; NaN for one seed; fractions), seeds: at the best rate;
                mean is NaN where every rate failed, or where there are no accuracies; of these
                several rates are not chosen from.
            rates, runs, failed: how many learning rates were tried, in how many runs, and how many
                of these failed; chosen_by: validation_accuracy or test_accuracy.
            gradients, bytes: of a run at the best rate, each client's and sent by all; counted, so
                that no busy machine distorts them (NaN: not on record).
            epochs: of the recipe, NaN if its length is in rounds.
            measured: name -> (mean, std) of what a user's metrics measured, at the best rate.
            settings: of one of its runs, flat.
            paths: of the runs at the best rate, a list; [] where they are only exported.
    """
    frame = runs if isinstance(runs, pd.DataFrame) else runs_of(runs)
    found = ["lr", "mean", "std", "seeds", "rates", "chosen_by", "runs", "failed"]
    more = ["gradients", "bytes", "epochs", "measured", "settings", "paths"]
    columns = [*BLOCK, "method", *COLUMN, *found, *more]
    if frame.empty:
        return pd.DataFrame(columns=columns)
    cell = ["algorithm", *BLOCK, *COLUMN]
    known = {*cell, *SAME_NUMBERS, *OUTCOME, "versions", "failure", "path", "lr", "seed"}
    frame = frame.reindex(columns=list(dict.fromkeys([*frame, *cell, "epochs", "failure"])))
    own = [key for key in frame if key not in known and not key.startswith(MEASURED)]
    method = _methods(frame, own, cell)
    frame = frame.assign(method=method, alpha=frame["alpha"].astype(float))
    cell = [*BLOCK, "method", *COLUMN]
    frame = frame.drop_duplicates([*cell, "lr", "seed"], keep="last")
    rows = [
        dict(zip(cell, key, strict=True)) | _best(group)
        for key, group in frame.groupby(cell, dropna=False)
    ]
    made = pd.DataFrame(rows, columns=columns)
    for key in (*BLOCK, "topology", "partition"):
        short = without_folders_but_unlike(made[key].dropna())
        made[key] = made[key].map(short, na_action="ignore")
    return made


def _best(group: pd.DataFrame) -> dict[str, Any]:
    """What `cells` says of the runs of one cell."""
    lr, blank = tuned(group), group["test_accuracy"].isna()
    none = blank & group["failure"].isna()  # of numbers, or of a loss of the user's, there is none
    if none.all() and group["lr"].nunique() == 1:
        lr = group["lr"].iloc[0]
    chosen = group[group["lr"] == lr]
    own = chosen.filter(regex=f"^{re.escape(MEASURED)}").dropna(axis="columns", how="all")
    return {
        "lr": lr,
        "mean": chosen["test_accuracy"].mean(),
        "std": chosen["test_accuracy"].std(),
        "seeds": int(group.groupby("lr").size().max()),
        "rates": group["lr"].nunique(),
        "chosen_by": chosen_by(group),
        "runs": len(group),
        "failed": int((blank & ~none).sum()),
        "gradients": chosen["gradients"].mean() if "gradients" in chosen else float("nan"),
        "bytes": chosen["bytes_sent"].mean(),
        "epochs": float(group["epochs"].iloc[0] or float("nan")),
        "measured": {
            key.removeprefix(MEASURED): (own[key].mean(skipna=False), own[key].std(skipna=False))
            for key in own
        },
        "settings": group.iloc[0].dropna().drop("path", errors="ignore").to_dict(),
        "paths": chosen["path"].dropna().tolist() if "path" in chosen else [],
    }


def _methods(frame: pd.DataFrame, keys: list[str], cell: list[str]) -> list[str]:
    """The algorithm, with those of the settings `keys` that differ within a cell."""
    short = without_folders_but_unlike(frame["algorithm"])
    names = [short[name] for name in frame["algorithm"]]
    parts = [
        (rows, frame.iloc[rows]) for rows in frame.groupby("algorithm", sort=False).indices.values()
    ]
    for key in keys:
        # One that only some runs have turns whole numbers of the others into floats.
        values = [group_name(v) if isinstance(v, float | None) else f"{v}" for v in frame[key]]
        called = without_folders_but_unlike(values)
        for rows, part in parts:
            if differs(part, key, cell):
                for row in rows:
                    names[row] += (
                        f" {key.removeprefix('algorithm.').removeprefix(OWN_FILES)}="
                        f"{called[values[row]]}"
                    )
    return names
