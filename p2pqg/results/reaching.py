"""What a method takes to an accuracy: rounds, bytes and simulated seconds, a row per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.wording import aligned, plain_text
from p2pqg.results.cells import BLOCK, COLUMN
from p2pqg.results.comparison_text import result, with_spread
from p2pqg.results.run import Run
from p2pqg.results.standing import Standing


def reached(paths: Sequence[str], accuracy: float) -> dict[str, tuple[float, float]]:
    """What runs of one setting take to an accuracy, with how far that is known.

    Args:
        paths: of their directories, one for each seed.
        accuracy: a share of the test set.

    Returns:
        Of `rounds_to_0.9`, `bytes_to_0.9` and, with a simulated clock, `sim_seconds_to_0.9` the
        mean over the seeds (NaN where one of them never came to it), and the larger of their
        standard deviation (n - 1) and half the mean distance of the two evaluations between which
        it happened. `reached` counts the seeds that came to it, and says of how many.
    """
    every = [Standing.of(Run(path)) for path in map(Path, paths)]
    timed = all("sim_seconds" in one.evaluated for one in every)
    found = [one.reached(accuracy, "sim_seconds" if timed else None) for one in every]
    told: dict[str, tuple[float, float]] = {}
    for key in found[0]:
        values, gaps = np.array([one[key] for one in found]).T
        deviation = values.std(ddof=1) if len(values) > 1 else np.nan
        told[key] = float(values.mean()), float(np.fmax(deviation, gaps.mean()))
    came = sum(not np.isnan(one[f"rounds_to_{plain_text(accuracy)}"][0]) for one in found)
    return {"reached": (came, len(found)), **told}


def reaching(cells: pd.DataFrame, accuracies: Sequence[float]) -> list[str]:
    """A line per cell of `report.cells` and accuracy, below a header; nothing without cells.

    Of runs that are only exported it says so: they are in no mean.

    Raises:
        ConfigError: the runs are only exported, which says nothing of how they came to their end.
    """
    if cells.empty:
        return []
    records = cells.to_dict("records")
    reasons = [_without_a_way(cell) for cell in records]
    if "exported" in reasons and "" not in reasons:
        raise ConfigError("--to-accuracy needs the directories of runs; exported ones do not do")
    rows, titles = [], ["rounds", "bytes", "sim_seconds"]
    for cell, why in zip(records, reasons, strict=True):
        place = [plain_text(cell[key]) for key in ["method", *BLOCK, *COLUMN]]
        if why:
            rows += [[*place, plain_text(one), why, *("-" for _ in titles)] for one in accuracies]
            continue
        exported = cell["seeds"] - len(cell["paths"])  # of which only the end is known
        for accuracy in accuracies:
            found = reached(cell["paths"], accuracy)
            came, of = found["reached"]
            texts = []
            for what in titles:
                _, say = result(f"{what}_to_{plain_text(accuracy)}")
                mean, spread = found.get(f"{what}_to_{plain_text(accuracy)}", (np.nan, np.nan))
                texts.append(with_spread(say, mean, spread))
            told = f"{came:.0f} of {of:.0f}" + (f", {exported} exported" if exported > 0 else "")
            rows.append([*place, plain_text(accuracy), told, *texts])
    header = ["method", *BLOCK, *COLUMN, "accuracy", "reached", "rounds", "bytes", "simulated time"]
    shown = [k for k, texts in enumerate(zip(*rows, strict=True)) if k < 1 or set(texts) != {"-"}]
    return aligned([header[k] for k in shown], [[row[k] for k in shown] for row in rows])


def _without_a_way(cell: Mapping[str, Any]) -> str:
    """Why nobody knows of a cell's runs how they came to an accuracy; "" where one does."""
    unknown = np.isnan(cell["mean"])
    if unknown and cell["failed"]:  # at every rate, be they exported or not
        return "failed"
    return "" if cell["paths"] else "no accuracy" if unknown else "exported"
