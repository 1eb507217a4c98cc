"""The claims of a folder: of a sweep's runs, of what was exported of them, or of a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import user_path
from p2pqg.base.wording import counted
from p2pqg.results.claims.claim import Claim, read_claims
from p2pqg.results.claims.verdicts import Verdict, judge
from p2pqg.results.run import Run
from p2pqg.results.run_frames import read_runs, recipe_of
from p2pqg.results.search import EXPORTED, num_unfinished


def numbers_in(folder: str | Path, claims: Mapping[str, Claim]) -> pd.DataFrame:
    """What claims are judged by: the runs below a folder, else the numbers of its figure.

    A metric of the user's own is read from the runs' summaries.

    Raises:
        ConfigError: there is neither, or some runs have yet to be done.
    """
    folder = user_path(folder)
    has_runs = any(True for name in (EXPORTED, "summary.json") for _ in folder.rglob(name))
    if not has_runs:
        files = sorted(folder.glob("*.csv"))
        if len(files) != 1:
            raise ConfigError(f"{folder}: no runs and no numbers of a figure to judge a claim by")
        return pd.read_csv(files[0])
    left = num_unfinished([folder])
    if left:
        raise ConfigError(f"{folder}: {counted(left, 'run')} did not finish; do them first")
    frame = read_runs([folder])
    for metric in {claim.metric for claim in claims.values()} - set(frame):
        if "path" in frame and frame["path"].notna().all():
            runs = map(Run, map(Path, frame["path"]))
            values = [run.summary.get(metric) if run.finished else None for run in runs]
            if any(value is not None for value in values):
                frame[metric] = pd.Series(values, dtype=float, index=frame.index)
    return frame


def judge_folder(folder: str | Path, claims: Mapping[str, Claim] | None = None) -> list[Verdict]:
    """What becomes of the claims of a sweep, or of a figure; [] where it makes none.

    Args:
        folder: of its runs, or of what was exported of them.
        claims: default: those of the recipe in the folder.

    Raises:
        ConfigError: as of `read_claims`, `numbers_in` and `judge`.
    """
    if claims is None:
        claims = read_claims(recipe_of([folder]).get("claim"))
    return judge(claims, numbers_in(folder, claims)) if claims else []
