"""Claims: what a study says of its runs, by a rule that is written down before them.

    claim:
      says: Where clients are unlike, quasi-global momentum is ahead of local momentum.
      metric: test_accuracy                  # a result of the runs; this one if none is named
      left: {algorithm: qg-dsgdm-n}          # runs, by their settings
      right: {algorithm: dsgdm-n}            # without it the metric of `left` is judged by itself
      by: difference                         # left - right; or ratio, left / right
      where: {alpha: 0.1}                    # settings of both sides
      each: {topology: [ring16, social32]}   # one comparison for each of these, and all must hold
      holds_if: {above: 0}                   # or below: X, or within: [low, high]

Several claims are a mapping of names to such mappings. A side may itself be a comparison, {left,
right, by}, so that a difference of differences can be judged. Where a side does not name its
learning rate, runs at the tuned one count, as in tables; `tune: [algorithm.mu]` names more keys of
which each side has its best, all at once, of equally many tries.

How a comparison is judged. It has one value for each seed: left and right of the same seed, which
share their start, and where they have the same clients their shards and batches. The 95 % interval
of the mean is Student's, with n - 1 degrees of freedom; ratios are judged by their logarithms, so
that the mean is geometric. Where the interval keeps to the side of the rule's bounds it holds,
where it keeps to the other side it does not, else it is undecided. All comparisons of a recipe are
one family: by Holm's procedure the probability of even one wrong verdict is at most 5 %. Two seeds
that agree to rounding have an interval without width, which is no evidence: that is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from p2pqg.base import config as machinery
from p2pqg.base.dotted import flat
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.text import user_path
from p2pqg.base.wording import aligned, counted, number, plain_text
from p2pqg.recipe.keys import SELF_EVIDENT
from p2pqg.results.records import Run
from p2pqg.results.report import (
    EXPORTED,
    OUTCOME,
    best_of,
    num_unfinished,
    one_a_seed,
    read_runs,
    recipe_of,
)
from p2pqg.results.seeds import t_quantile, t_share

HOLDS, NOT, OPEN = "holds", "does not hold", "undecided"
ERROR = 0.05
"""Probability of even one wrong verdict in a family."""
MOST_SEEDS = 1000
FEWEST_ALIKE = 3
"""Seeds that may decide where all of them agree: of two it may be chance, as accuracies are counts
of test samples."""
ROUNDING = 1e-9
"""Share of a mean below which its deviation is one of arithmetic, and not of seeds."""
BOUNDS = ("above", "below", "within")
SIDE = ("left", "right", "by")

Side = Mapping[str, Any]
"""Settings of runs, or a comparison {left, right, by}."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of a recipe; the keys are those of the example above."""

    left: dict[str, Any]
    holds_if: dict[str, Any]
    says: str = ""
    right: dict[str, Any] | None = None
    metric: str = "test_accuracy"
    by: Literal["difference", "ratio"] = "difference"
    where: dict[str, Any] = field(default_factory=dict)
    each: dict[str, list[Any]] = field(default_factory=dict)
    tune: list[str] = field(default_factory=list)

    def problems(self) -> Iterator[str]:
        """A line for each rule that is broken; `claim.` stands before them."""
        for key in ("left", "right"):
            side = getattr(self, key)
            if side is not None:
                yield from _side_problems(side, key)
        if self.right is None and self.by != "difference":
            yield "by needs a right side to compare with; set right"
        for key, values in self.each.items():
            if not values:
                yield f"each.{key} must be a list of values, got []"
        kind, bound = next(iter(self.holds_if.items()), ("", None))
        numbers: list[Any] = bound if kind == "within" and isinstance(bound, list) else [bound]
        if (
            len(self.holds_if) != 1
            or kind not in BOUNDS
            or not all(_is_number(one) for one in numbers)
            or (kind == "within" and (len(numbers) != 2 or not numbers[0] < numbers[1]))
        ):
            yield (
                "holds_if must be {above: X}, {below: X} or {within: [low, high]}, "
                f"got {self.holds_if!r:.60}"
            )
        elif self.by == "ratio" and not all(one > 0 for one in numbers):
            yield f"holds_if must be > 0 for a ratio, got {self.holds_if!r:.60}"

    @property
    def bounds(self) -> tuple[float, float]:
        """(low, high) between which the mean is as claimed."""
        ((kind, bound),) = self.holds_if.items()
        if kind == "within":
            return float(bound[0]), float(bound[1])
        return (float(bound), math.inf) if kind == "above" else (-math.inf, float(bound))

    @property
    def rule(self) -> str:
        """What is compared with what, in words."""
        ((kind, bound),) = self.holds_if.items()
        whole: Side = self.left
        if self.right is not None:
            whole = {"left": self.left, "right": self.right, "by": self.by}
        limit = f"{bound[0]:g} to {bound[1]:g}" if kind == "within" else f"{bound:g}"
        place = f" at {_told(self.where)}" if self.where else ""
        best = f", each at its best {' and '.join(self.tune)}" if self.tune else ""
        return f"{self.metric.replace('_', ' ')} of {_told(whole)}{place}{best}, {kind} {limit}"


def _side_problems(side: Side, where: str) -> Iterator[str]:
    if "left" not in side:
        if not side:
            yield f"{where} must be settings of runs, such as {{algorithm: dsgd}}, got {{}}"
        return
    for key in ("left", "right"):
        if not isinstance(side.get(key), Mapping):
            yield f"{where}.{key} must be a mapping, got {side.get(key)!r:.60}"
        else:
            yield from _side_problems(side[key], f"{where}.{key}")
    if side.get("by", "difference") not in ("difference", "ratio"):
        yield f"{where}.by must be difference or ratio, got {side['by']!r:.60}"
    yield from (
        f"unknown key {where}.{key}{did_you_mean(key, SIDE)}" for key in set(side) - {*SIDE}
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _told(side: Side, inner: bool = False) -> str:
    """A side in words.

    >>> _told({"left": {"algorithm": "d2", "batch_size": 8}, "right": {"algorithm": "dsgd"}})
    'd2, batch_size 8 - dsgd'
    """
    if "left" not in side:
        texts = [
            plain_text(value) if key in SELF_EVIDENT else f"{key} {plain_text(value)}"
            for key, value in flat(side).items()
        ]
        return ", ".join(texts)
    sign = "/" if side.get("by") == "ratio" else "-"
    text = f"{_told(side['left'], True)} {sign} {_told(side['right'], True)}"
    return f"({text})" if inner else text


def read_claims(values: Any) -> dict[str, Claim]:
    """Name -> claim of what a recipe has under `claim`; a single claim is called "".

    Raises:
        ConfigError: with every problem.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(f"claim must be a mapping with left and holds_if, got {values!r:.60}")
    one = bool({"left", "holds_if"} & set(values))
    found, problems = {}, []
    for name, said in ({"": values} if one else values).items():
        prefix = f"claim.{name}." if name else "claim."
        if not isinstance(said, Mapping):
            problems.append(
                f"{prefix[:-1]} must be a mapping with left and holds_if, got {said!r:.60}"
            )
            continue
        made, wrong = machinery.read(Claim, said)
        problems += [_placed(line, prefix) for line in wrong]
        if made:
            found[str(name)] = made
    if problems:
        raise ConfigError.of(problems)
    return found


def _placed(line: str, prefix: str) -> str:
    """A problem of a claim, with where that stands."""
    unknown = "unknown key "
    return unknown + prefix + line[len(unknown) :] if line.startswith(unknown) else prefix + line


@dataclass(frozen=True)
class Finding:
    """One comparison of a claim.

    Attributes:
        about: what sets it apart from the others of the claim; "" for the only one.
        seeds: of which there are values.
        mean, low, high: of the difference or ratio, and its 95 % interval.
        p: of the mean being as far from the nearest bound by chance.
        verdict: holds, does not hold, undecided.
        more: seeds that it would take beside these, if mean and spread stay; None where it is
            decided, infinity for more than MOST_SEEDS.
        alike: its seeds agree to rounding, so that nothing is known of their spread.
    """

    about: str
    seeds: tuple[int, ...]
    mean: float
    low: float
    high: float
    p: float
    verdict: str = OPEN
    more: float | None = None
    alike: bool = False

    @property
    def result(self) -> str:
        """The verdict in words, with the seeds that are wanting, and why."""
        return self.verdict + _wanting(self.more, [self])


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        name: in its recipe; "" for the only one.
        claim: with its rule.
        findings: its comparisons.
    """

    name: str
    claim: Claim
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """It holds if all comparisons do, and does not if one does not."""
        found = {one.verdict for one in self.findings}
        return NOT if NOT in found else OPEN if OPEN in found else HOLDS

    @property
    def more(self) -> float | None:
        """Seeds that it would take to decide all comparisons."""
        if self.verdict != OPEN:
            return None
        return max(one.more for one in self.findings if one.more is not None)

    @property
    def result(self) -> str:
        """The verdict in words, with the seeds that are wanting, and why."""
        return self.verdict + _wanting(self.more, self.findings)

    @property
    def numbers(self) -> list[str]:
        """A text for each comparison: mean and interval."""
        return [f"{one.about}: " * bool(one.about) + self._say(one) for one in self.findings]

    def _say(self, one: Finding) -> str:
        points = self.claim.metric.endswith("accuracy") and self.claim.by == "difference"

        def say(value: float) -> str:
            # + 0: no minus before a zero
            return f"{round(100 * value, 2) + 0:.2f}" if points else number(value)

        unit = " %" if points and self.claim.right is None else " points" * points
        return f"{say(one.mean)} [{say(one.low)}, {say(one.high)}]{unit}"


def check(claims: Mapping[str, Claim], planned: pd.DataFrame) -> None:
    """Whether the runs of a sweep will be those that the rules of its claims need.

    Args:
        claims: from `read_claims`.
        planned: a row per run, settings under dotted keys; parameters that a part has by default
            may be missing.

    Raises:
        ConfigError: no such run, only one seed, or not the same seeds on both sides.
    """
    metrics = {claim.metric for claim in claims.values()}
    _found(claims, planned.assign(**dict.fromkeys(metrics, 1.0)), planned=True)


def judge(claims: Mapping[str, Claim], frame: pd.DataFrame) -> list[Verdict]:
    """What becomes of the claims of a recipe, which are one family.

    Args:
        claims: from `read_claims`.
        frame: a row per run, or per number of a figure: settings under dotted keys, a column
            `seed`, and the metrics.

    Raises:
        ConfigError: runs, seeds or columns that a rule needs are not there.
    """
    found = _found(claims, frame)
    family = [
        (claims[name], _measured(claims[name], about, values))
        for name, cases in found.items()
        for about, values in cases
    ]
    decided = iter(_holm(family))
    return [
        Verdict(name, claims[name], tuple(next(decided) for _ in cases))
        for name, cases in found.items()
    ]


def _found(
    claims: Mapping[str, Claim], frame: pd.DataFrame, planned: bool = False
) -> dict[str, list[tuple[str, pd.Series]]]:
    """Claim -> (what sets it apart, its values by seed) of each comparison."""
    problems = machinery.Problems()
    found: dict[str, list[tuple[str, pd.Series]]] = {}
    for name, claim in claims.items():
        for case in product(*claim.each.values()):
            apart = dict(zip(claim.each, case, strict=True))
            with problems:
                values = _values(claim, frame, apart, f"claim {name}".strip(), planned)
                found.setdefault(name, []).append((_told(apart), values))
    problems.refuse()
    return found


def _values(claim: Claim, frame: pd.DataFrame, apart: Side, where: str, planned: bool) -> pd.Series:
    """The difference or ratio, by seed."""
    common = {**flat(claim.where), **flat(apart)}
    for key in claim.tune:
        if key not in frame:
            raise ConfigError(f"{where}: the runs have no column {key}{did_you_mean(key, frame)}")
    left = _side(claim.left, common, claim, frame, f"{where}: left", planned)
    if claim.right is None:
        values = left
    else:
        right = _side(claim.right, common, claim, frame, f"{where}: right", planned)
        values = _compared(left, right, claim.by, where)
        if planned and claim.tune:
            _equally_tuned(claim, common, frame, where)
    if len(values) < 2:
        seeds = ", ".join(map(str, values.index))
        raise ConfigError(f"{where} needs two seeds or more, the runs have only seed {seeds}")
    return values


def _equally_tuned(claim: Claim, common: Side, frame: pd.DataFrame, where: str) -> None:
    """Refuse sides of which one is tuned over more runs than the other."""
    sides = [side for side in (claim.left, claim.right) if side and "left" not in side]
    runs = [len(_planned({**common, **flat(side)}, frame, where)) for side in sides]
    if len(set(runs)) > 1:
        raise ConfigError(
            f"{where}: left has {runs[0]} runs and right {runs[1]}; give both equally many to be "
            f"tuned by {', '.join(claim.tune)}"
        )


def _side(
    side: Side, common: Side, claim: Claim, frame: pd.DataFrame, where: str, planned: bool
) -> pd.Series:
    """The metric of one side, by seed."""
    metric = claim.metric
    if "left" in side:
        left, right = (
            _side(side[key], common, claim, frame, f"{where}.{key}", planned)
            for key in ("left", "right")
        )
        return _compared(left, right, side.get("by", "difference"), where)
    wanted = {**common, **flat(side)}
    if planned:
        rows = _planned(wanted, frame, where).drop_duplicates("seed")
    else:
        rows = _at_best(wanted, _selected(wanted, frame, where), ["lr", *claim.tune])
        rows = one_a_seed(rows, where, _told(wanted), "name it")
    if metric not in rows:
        known = [key for key in (*OUTCOME, *frame) if key in frame]
        raise ConfigError(f"{where}: the runs have no column {metric}{did_you_mean(metric, known)}")
    values = rows.set_index("seed")[metric].astype(float)
    lost = values.index[~np.isfinite(values)]
    if len(lost):
        seeds = ", ".join(map(str, lost))
        raise ConfigError(f"{where} ({_told(wanted)}): no {metric} of seed {seeds}")
    return values


def _compared(left: pd.Series, right: pd.Series, by: str, where: str) -> pd.Series:
    """Left - right, or left / right, of the same seeds."""
    apart = {
        "left": sorted(set(right.index) - set(left.index)),
        "right": sorted(set(left.index) - set(right.index)),
    }
    for side, seeds in apart.items():
        if seeds:
            told = ", ".join(map(str, seeds))
            raise ConfigError(f"{where}: {side} lacks seed {told}, which the other side has")
    if by == "difference":
        return left - right
    if not ((left > 0).all() and (right > 0).all()):
        raise ConfigError(f"{where}: a ratio needs numbers > 0; compare by difference")
    return left / right


def _selected(wanted: Side, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The runs of those settings."""
    rows = frame
    for key, value in wanted.items():
        if key not in frame:
            raise ConfigError(f"{where}: the runs have no column {key}{did_you_mean(key, frame)}")
        same = rows[key].map(_comparable) == _comparable(value)
        if not same.any():
            known = ", ".join(sorted({plain_text(one) for one in rows[key]}))
            raise ConfigError(f"{where}: no run with {_told({key: value})}; they have {known}")
        rows = rows[same]
    return rows.sort_values("seed")


def _planned(wanted: Side, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The same of runs that have yet to be done; what is by default is not known of them."""

    def by_default(key: str) -> bool:
        return frame[key].isna().all() if key in frame else "." in key

    return _selected({k: v for k, v in wanted.items() if not by_default(k)}, frame, where)


def _at_best(wanted: Side, rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """At the best of the tuned keys that are not named."""
    keys = [key for key in keys if key not in wanted and key in rows and rows[key].nunique() > 1]
    if not keys or "test_accuracy" not in rows:
        return rows
    for key, value in best_of(rows, keys).items():
        rows = rows[rows[key] == value]
    return rows


def _comparable(value: Any) -> Any:
    """A setting so that 10 is 10.0, and a list is its text."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return float(value)
    return plain_text(value)


def _measured(claim: Claim, about: str, values: pd.Series) -> Finding:
    """Mean, interval and p of a comparison."""
    scale = np.log if claim.by == "ratio" else np.asarray
    back = math.exp if claim.by == "ratio" else float
    found, n = scale(values.to_numpy()), len(values)
    mean, deviation = float(found.mean()), float(found.std(ddof=1))
    alike = deviation <= ROUNDING * float(np.abs(found).max())
    error = 0.0 if alike else deviation / math.sqrt(n)
    half = t_quantile(n - 1) * error
    distance = _distance(claim, mean)
    if alike:
        p = 0.0 if n >= FEWEST_ALIKE and distance > ROUNDING * abs(mean) else 1.0
    else:
        p = 1 - t_share(distance / error, n - 1)
    seeds = tuple(int(seed) for seed in values.index)
    low, high = back(mean - half), back(mean + half)
    return Finding(about, seeds, back(mean), low, high, p, alike=alike)


def _distance(claim: Claim, mean: float) -> float:
    """How far a mean, on the scale on which it is judged, is from the nearest bound."""
    low, high = claim.bounds
    if claim.by == "ratio":
        low = math.log(low) if math.isfinite(low) else low
        high = math.log(high) if math.isfinite(high) else high
    return min(abs(mean - low), abs(mean - high))


def _holm(family: Sequence[tuple[Claim, Finding]]) -> list[Finding]:
    """Verdicts, by Holm's procedure: the smallest p at 5 % / n, the next at 5 % / (n - 1), ...

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    order = sorted(range(len(family)), key=lambda index: family[index][1].p)
    decided = 0
    for index in order:
        if family[index][1].p > ERROR / (len(family) - decided):
            break
        decided += 1
    left = len(family) - decided
    found = [one for _, one in family]
    for rank, index in enumerate(order):
        claim, one = family[index]
        low, high = claim.bounds
        if rank < decided:
            found[index] = replace(one, verdict=HOLDS if low <= one.mean <= high else NOT)
        else:
            found[index] = replace(one, more=_more_seeds(claim, one, 1 - ERROR / left))
    return found


def _more_seeds(claim: Claim, one: Finding, share: float) -> float:
    """Seeds beside these after which an interval of that share would keep to one side."""
    n = len(one.seeds)
    mean, high = (math.log(v) if claim.by == "ratio" else v for v in (one.mean, one.high))
    spread = (high - mean) / t_quantile(n - 1) * math.sqrt(n)
    distance = _distance(claim, mean)
    if one.alike:
        return max(FEWEST_ALIKE - n, 1) if distance > ROUNDING * abs(mean) else math.inf

    def decides(count: int) -> bool:
        return t_quantile(count - 1, share) * spread / math.sqrt(count) < distance

    low, count = n, n + MOST_SEEDS
    if not decides(count):
        return math.inf
    while count - low > 1:
        middle = (low + count) // 2
        low, count = (low, middle) if decides(middle) else (middle, count)
    return count - n


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


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Verdicts as a person reads them: a block for each."""
    if not verdicts:
        return []
    family = sum(len(one.findings) for one in verdicts)
    told = []
    for one in verdicts:
        name = f"{one.name}: " if one.name else ""
        told.append(f"{one.verdict.upper()}  {name}{one.claim.says}".rstrip())
        told.append(f"  {one.claim.rule}")
        rows = [
            [found.about or "all", text, found.result]
            for found, text in zip(one.findings, (one._say(f) for f in one.findings), strict=True)
        ]
        told += [f"  {line}" for line in aligned(["", "mean [95 %]", "verdict"], rows)[1:]]
    seeds = {len(found.seeds) for one in verdicts for found in one.findings}
    counts = " to ".join(str(count) for count in sorted({min(seeds), max(seeds)}))
    holm = f", Holm over {family} comparisons" if family > 1 else ""
    return [*told, f"mean over {counts} seeds, paired, 95 % interval by t{holm}"]


def _wanting(more: float | None, findings: Sequence[Finding]) -> str:
    """How many seeds comparisons are short of, in brackets."""
    if more is None:
        return ""
    if more == math.inf:
        return f" (over {MOST_SEEDS:,} seeds more)"
    few = any(one.alike and len(one.seeds) < FEWEST_ALIKE for one in findings if one.more)
    why = "two seeds that agree exactly decide nothing: " if few else ""
    return f" ({why}about {counted(int(more), 'seed')} more)"
