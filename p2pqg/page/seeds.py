"""Runs that differ in the seed only, as one: mean curves with the range over the seeds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from p2pqg.page.charts import MOST_RUNS
from p2pqg.results.alike import by_seed
from p2pqg.results.seeds import is_of_seeds
from p2pqg.results.standing import Standing


@dataclass(frozen=True)
class Seeds(Standing):
    """Several seeds of one setting.

    Its recipe, clients, events and network are those of the first seed; its rounds and numbers are
    means over the seeds, as far as all of them have come, or of their ends where they all ended.

    Attributes:
        members: a run per seed, at least two.
    """

    members: tuple[Standing, ...] = ()

    @classmethod
    def of_runs(cls, members: Sequence[Standing]) -> Seeds:
        """Runs with something on record first, else in their order."""
        members = sorted(members, key=lambda one: one.rounds.empty)
        first = members[0]
        known = [one.rounds for one in members if not one.rounds.empty]
        mean = pd.DataFrame(columns=first.rounds.columns, dtype=float)
        if known:
            together = pd.concat(known)
            by_round = together.groupby("round")
            mean = by_round.mean()[by_round.size() == len(known)]
            counts = by_round.count().loc[mean.index]  # where a seed has no value there is no mean
            mean = mean.where(counts == len(known)).reset_index()
        told_of = [one for one in members if not one.rounds.empty or not known]
        summary = first.summary | {
            "rounds": min(one.rounds_done for one in told_of),
            "evaluated_rounds": min(one.evaluated_rounds for one in told_of),
        }
        return cls(first.config, summary, mean, first.clients, first.run, members=tuple(members))

    @property
    def seeds(self) -> list[str]:
        """The seeds as recipes have them."""
        return [str(one.config.get("seed")) for one in self.members]

    @property
    def rounds_done(self) -> int:
        """By the seed that has done least."""
        return int(self.summary["rounds"])

    @cached_property
    def recorded(self) -> int:
        """Rounds done at the last row that is told of: of the end of each seed, or of all."""
        if not self._are_ends:
            return int(self.rounds["round"].max()) + 1 if len(self.rounds) else 0
        return min(one.recorded for one in self._known)

    @property
    def home(self) -> Path:
        """The folder that holds its seeds, if it holds nothing else; the run of the first one."""
        return self.path.parent if is_of_seeds(self.path.parent) else self.path

    @property
    def _known(self) -> list[Standing]:
        """The seeds with something on record."""
        return [one for one in self.members if not one.rounds.empty]

    @property
    def _are_ends(self) -> bool:
        """Whether what is told is of the end of each seed; else of where all have come to."""
        return self.finished or len({one.rounds_done for one in self._known}) == 1

    @cached_property
    def _finals(self) -> pd.DataFrame:
        """[seeds, columns]: the last value of each; if some did not end, of where all have it.

        `rounds`: done by then.
        """
        known = self._known
        if self._are_ends:
            return pd.DataFrame([one.final | {"rounds": one.rounds_done} for one in known])
        last = {key: self.rounds.loc[self.rounds[key].last_valid_index()] for key in self._told_of}
        rows = [
            one.rounds.drop_duplicates("round", keep="last").set_index("round", drop=False)
            for one in known
        ]
        return pd.DataFrame(
            [{key: row.loc[at["round"], key] for key, at in last.items()} for row in rows],
            columns=list(self.rounds),
        ).assign(rounds=self.rounds_done)

    @property
    def _told_of(self) -> list[str]:
        """Columns that have a value in a round to which all have come."""
        return [key for key in self.rounds if self.rounds[key].notna().any()]

    @cached_property
    def final(self) -> dict[str, float]:
        """Means over the seeds; NaN where one of them has no value."""
        found = self._finals.mean(skipna=False)
        return {str(key): float(value) for key, value in found.items()}

    @cached_property
    def deviation(self) -> dict[str, float]:
        """Sample standard deviations (n - 1) over the seeds of `final`."""
        found = self._finals.std(skipna=False)
        return {str(key): float(value) for key, value in found.items()}

    @cached_property
    def finished(self) -> bool:
        """Whether all seeds reached their last round."""
        return all(one.finished for one in self.members)

    @property
    def age_of_clients(self) -> str:
        """Of those of the first seed."""
        return self.members[0].age_of_clients

    @property
    def ending(self) -> str:
        """How seeds ended that did not end at their last round, and who is in no mean."""
        told = self._told([one.ending for one in self.members])
        if 0 < (known := len(self._known)) < (count := len(self.members)):
            told += f"; means are over {known} of {count} seeds"
        return told

    @property
    def unsaved(self) -> str:
        """What is left to resume of seeds whose last checkpoint could not be written."""
        return self._told([one.unsaved for one in self.members])

    @property
    def warning(self) -> str:
        """What is the matter with some of the seeds."""
        return self._told([one.warning for one in self.members])

    @property
    def never_came(self) -> list[str]:
        """Items of the scenario that some of the seeds ended before."""
        told = self._told(["; ".join(one.never_came) for one in self.members])
        return [told] if told else []

    def _told(self, texts: Sequence[str]) -> str:
        pairs = zip(self.seeds, texts, strict=True)
        return "; ".join(f"seed {seed}: {text}" for seed, text in pairs if text)

    def range_of(self, key: str) -> pd.DataFrame:
        """Lowest and highest value of a column over the seeds, a row per round of `rounds`."""
        values = [one.rounds.set_index("round")[key] for one in self.members if key in one.rounds]
        at = self.rounds.dropna(subset=key)["round"]
        table = np.stack([one[~one.index.duplicated(keep="last")].reindex(at) for one in values])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a run that failed has none at all
            low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
        return pd.DataFrame({"min": low, "max": high}, index=at)


def by_setting(shown: Sequence[Standing]) -> list[Standing]:
    """Runs of one setting as one, where there are several settings, or more runs than colors.

    Runs stay alone that have their seed in common with another of their setting.
    """
    groups = by_seed(shown)
    if len(groups) == 1 and len(shown) <= MOST_RUNS:
        return list(shown)
    return [Seeds.of_runs(group) if len(group) > 1 else group[0] for group in groups]


def best_first(shown: Sequence[Standing]) -> list[Standing]:
    """The best runs first, if there are more than can be told apart; else as it is."""
    if len(shown) <= MOST_RUNS:
        return list(shown)
    return sorted(shown, key=lambda one: -np.nan_to_num(one.final.get("test_accuracy", 0.0)))
