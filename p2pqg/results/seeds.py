"""Runs that differ in their seed only: one directory, a run each, and how far they are apart.

`p2pqg.run(seed=[1, 2, 3], ...)` returns them, and `load` reads them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import whole_number
from p2pqg.base.text import json_text, typed, user_path, write_text
from p2pqg.base.wording import aligned, counted
from p2pqg.results.columns import column
from p2pqg.results.directory import SEEDS
from p2pqg.results.run import Run, mapping
from p2pqg.results.run import load as load_run

if TYPE_CHECKING:
    import pandas as pd

SHARE = 0.95
"""Probability that an interval covers the mean."""


@dataclass(frozen=True, repr=False)
class Runs(Sequence[Run]):
    """Runs on disk that differ in their seed only, in the order of the seeds.

    A sequence of those that have results, be they finished, stopped or diverged.

    Attributes:
        path: the directory that holds them; its seeds.json says which seeds there are.
    """

    path: Path

    @cached_property
    def seeds(self) -> list[int]:
        """All that were asked for, also those that have yet to run."""
        return list(mapping(self.path / SEEDS)["seeds"])

    def of_seed(self, seed: int) -> Run:
        """The run of a seed, whether it has begun or not."""
        return self._known.setdefault(seed, Run(self.path / f"seed{seed}"))

    @cached_property
    def _known(self) -> dict[int, Run]:
        """The run of each seed that was asked for: what it has read need not be read again."""
        return {}

    @property
    def _runs(self) -> list[Run]:
        return [run for run in map(self.of_seed, self.seeds) if run.has_summary]

    @overload
    def __getitem__(self, index: int) -> Run: ...

    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...

    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @property
    def begun(self) -> list[Run]:
        """Those that have results or failed: of all of these there is a mean, or there is none."""
        return [run for run in map(self.of_seed, self.seeds) if run.is_known]

    @property
    def missing(self) -> list[int]:
        """Seeds whose run neither finished nor failed."""
        runs = {seed: self.of_seed(seed) for seed in self.seeds}
        return [seed for seed, run in runs.items() if not run.finished and run.failure is None]

    @property
    def what_next(self) -> str:
        """What a user can do after a stop, and what is done already."""
        done, count = sum(self.of_seed(seed).finished for seed in self.seeds), len(self.seeds)
        if done == count:
            return f"all {count} seeds are done: {self.path}"
        of_all = f"{done} of {counted(count, 'seed')} done"
        if not self.missing:  # the others failed
            return f"{of_all}: {self.path}"
        rest = f"`p2pqg resume {typed(self.path)}` does the rest"
        return f"{rest} ({of_all})" if done else rest

    @property
    def finished(self) -> bool:
        """Whether every seed reached its last round, or ended itself."""
        return all(self.of_seed(seed).finished for seed in self.seeds)

    @property
    def results(self) -> pd.DataFrame:
        """[seeds, metrics]: the last value of each; NaN where a run did not come to its end."""
        import pandas as pd

        from p2pqg.results.standing import Standing  # brings torch

        rows: dict[int, dict[str, Any]] = {}
        for seed in self.seeds:
            run = self.of_seed(seed)
            if run.finished:
                one = Standing.of(run)
                losses = {key: one.final.get(key) for key in ("train_loss", "test_loss")}
                rows[seed] = {**one.results, **losses}
            elif run.is_known:
                rows[seed] = {}
        # Not from_dict: with Pandas 2 that leaves out rows that are empty.
        frame = pd.DataFrame(list(rows.values()), list(rows), dtype=float)
        return frame.dropna(axis="columns", how="all").rename_axis("seed")

    @property
    def summary(self) -> pd.DataFrame:
        """A row per metric, over the seeds: mean, std, low, high.

        std is the sample's (n - 1); low and high are the 95 % interval of the mean, by Student's t
        with n - 1 degrees of freedom, as far as there can be such a mean: a time is not below 0,
        an accuracy not above 1. As the true mean is not there either, nothing of the 95 % is lost.
        NaN where a seed that ran has no such number, because it diverged or was stopped, and for a
        single seed all but the mean.

        Source: Mandelkern, Statistical Science 17, 2002, of intervals cut to the possible values.
        """
        import pandas as pd

        found, count = self.results, len(self.results)
        mean, std = found.mean(skipna=False), found.std(skipna=False)
        half = std * (t_quantile(count - 1) / math.sqrt(count) if count > 1 else math.nan)
        least, most = (
            pd.Series([column(str(key)).range[end] for key in mean.index], mean.index, dtype=float)
            for end in (0, 1)
        )
        beyond = (found.min() < least) | (found.max() > most)  # a user's own accuracy, in percent
        least, most = least.mask(beyond, -math.inf), most.mask(beyond, math.inf)
        low, high = (mean - half).clip(lower=least), (mean + half).clip(upper=most)
        columns = {"mean": mean, "std": std, "low": low, "high": high}
        return pd.DataFrame(columns, dtype=float).rename_axis("metric")

    def as_json(self) -> dict[str, Any]:
        """What `p2pqg run --seed 1,2,3 --json` prints: seeds.json, and the summary of every run."""
        return {
            "seeds": self.seeds,
            "path": str(self.path),
            "summary": self.summary.to_dict("index"),
            "runs": {str(run.config["seed"]): run.summary for run in self},
        }

    def write(self) -> None:
        """seeds.json: the seeds, and the summary over those that ended so far."""
        write(self.path, self.seeds, self.summary.to_dict("index"))

    def lines(self) -> list[str]:
        """The summary as a person reads it, a header first."""
        rows = []
        for key, row in self.summary.iterrows():
            title, say = column(str(key))[:2]
            rows.append([title, *map(say, row)])
        return aligned(["", "mean", "std", "95 % from", "to"], rows)

    def __repr__(self) -> str:
        head = f"{len(self)} of {len(self.seeds)} seeds in {self.path}"
        return "\n".join([head, *self.lines()] if len(self) else [head])


def write(path: Path, seeds: Sequence[int], summary: Mapping[str, Any]) -> None:
    """seeds.json in a directory."""
    write_text(path / SEEDS, json_text({"seeds": [*seeds], "summary": dict(summary)}) + "\n")


def is_of_seeds(path: str | Path) -> bool:
    """Whether a directory holds a run for each of several seeds."""
    return (user_path(path) / SEEDS).is_file()


def load(path: str | Path) -> Run | Any:
    """The run in a directory; of several seeds the same `Runs` that `p2pqg.run` returned.

    Raises:
        ConfigError: there is none, or it has no summary yet.
    """
    if not is_of_seeds(path):
        return load_run(path)
    runs = Runs(user_path(path))
    if not len(runs):
        raise ConfigError(
            f"{path}: none of its seeds has results yet; `p2pqg resume {typed(path)}`"
        )
    return runs


def seeds_of(value: Any) -> list[int] | None:
    """The seeds of several runs: of `[1, 2, 3]`, an array, a range, or the text `1,2,3`.

    None where the value is that of a single run, be it right or wrong.

    Raises:
        ConfigError: they are not different integers, >= 0 and below 2**32.
    """
    if isinstance(value, str):
        if "," not in value:
            return None
        given: list[Any] = [part.strip() for part in value.strip().removesuffix(",").split(",")]
    elif hasattr(value, "tolist"):  # numpy's
        given = value.tolist()
        if not isinstance(given, list):
            return None
    elif isinstance(value, Sequence | set | frozenset):
        given = sorted(value) if isinstance(value, set | frozenset) else list(value)
    else:
        return None
    seeds = []
    for each in given:
        if isinstance(each, str) and each.isdecimal():
            each = int(each)
        if not whole_number(each, 0) or each >= 2**32:
            raise ConfigError(
                f"seed must be integers >= 0 and below 2**32, such as 1,2,3, got {each!r:.60}"
            )
        if each in seeds:
            raise ConfigError(f"seed has {each} twice; every seed makes one run")
        seeds.append(int(each))
    if not seeds:
        raise ConfigError(f"seed must be one integer >= 0 or more, got {value!r:.60}")
    return seeds


def t_quantile(freedom: int, share: float = SHARE) -> float:
    """Where P(|T| <= t) = share, of Student's distribution.

    With an integer number of degrees of freedom the probability is a finite sum in the angle
    atan(t / sqrt(freedom)), which is halved between 0 and pi / 2 until it fits to the last digit.

    >>> round(t_quantile(2), 4), round(t_quantile(1), 4)
    (4.3027, 12.7062)

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2
    while low < (angle := (low + high) / 2) < high:
        low, high = (angle, high) if _within(angle, freedom) < share else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def t_share(t: float, freedom: int) -> float:
    """P(|T| <= t), of Student's distribution with an integer number of degrees of freedom.

    >>> round(t_share(4.3027, 2), 4)
    0.95
    """
    return _within(math.atan(t / math.sqrt(freedom)), freedom)


def _within(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan(angle))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(odd, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (k + 1) / (k + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
