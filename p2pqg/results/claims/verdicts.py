"""What becomes of claims, and how a person is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from p2pqg.base.wording import aligned, number
from p2pqg.results.claims.claim import Claim
from p2pqg.results.claims.findings import HOLDS, NOT, OPEN, Finding, holm, measured, wanting
from p2pqg.results.claims.values import comparisons
from p2pqg.results.columns import column


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        name: in its recipe; "" for the only one.
        claim: with its rule.
        findings: its comparisons.
        chosen: which tuned keys have their best value in them, and by which column.
    """

    name: str
    claim: Claim
    findings: tuple[Finding, ...]
    chosen: tuple[tuple[str, str], ...] = ()

    @property
    def rule(self) -> str:
        """What is compared with what, and by what tuned keys were chosen, in words."""
        return "; ".join([self.claim.rule, *self._choices])

    @property
    def _choices(self) -> list[str]:
        by: dict[str, list[str]] = {}
        for key, column_name in self.chosen:
            by.setdefault(column_name, []).append(key)
        own = " itself" if self.claim.metric == "test_accuracy" else ""
        words = {"test_accuracy": f"the test accuracy{own}"}
        return [
            f"{' and '.join(keys)} chosen by {words.get(name, name.replace('_', ' '))}"
            for name, keys in by.items()
        ]

    @property
    def is_paired(self) -> bool:
        """Whether something is compared, and not judged by itself."""
        return self.claim.right is not None or "left" in self.claim.left

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
        return self.verdict + wanting(self.more, self.findings)

    @property
    def numbers(self) -> list[str]:
        """A text for each comparison: mean and interval."""
        return [f"{one.about}: " * bool(one.about) + self._say(one) for one in self.findings]

    def _say(self, one: Finding) -> str:
        points = self.claim.metric.endswith("accuracy") and not self.claim.is_of_ratios

        def say(value: float) -> str:
            # + 0: no minus before a zero
            return f"{round(100 * value, 2) + 0:.2f}" if points else number(value)

        low, high = one.low, one.high
        least, most = column(self.claim.metric).range
        # A mean is where such a number can be; a user's own accuracy, in percent, is elsewhere.
        if not self.is_paired and least <= one.mean <= most:
            low, high = max(low, least), min(high, most)
        unit = (" points" if self.is_paired else " %") * points
        return f"{say(one.mean)} [{say(low)}, {say(high)}]{unit}"


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
    comparisons(claims, planned.assign(**dict.fromkeys(metrics, 1.0)), planned=True)


def judge(claims: Mapping[str, Claim], frame: pd.DataFrame) -> list[Verdict]:
    """What becomes of the claims of a recipe, which are one family.

    Args:
        claims: from `read_claims`.
        frame: a row per run, or per number of a figure: settings under dotted keys, a column
            `seed`, and the metrics.

    Raises:
        ConfigError: runs, seeds or columns that a rule needs are not there.
    """
    found = comparisons(claims, frame)
    family = [
        (claims[name], measured(claims[name], about, values))
        for name, cases in found.items()
        for about, values, _ in cases
    ]
    decided = iter(holm(family))
    return [
        Verdict(
            name,
            claims[name],
            tuple(next(decided) for _ in cases),
            tuple(sorted(set().union(*(one.chosen for one in cases)))),
        )
        for name, cases in found.items()
    ]


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Verdicts as a person reads them: a block for each."""
    if not verdicts:
        return []
    family = sum(len(one.findings) for one in verdicts)
    told = []
    for one in verdicts:
        name = f"{one.name}: " if one.name else ""
        told.append(f"{one.verdict.upper()}  {name}{one.claim.says}".rstrip())
        told.append(f"  {one.rule}")
        rows = [
            [found.about or "all", text, found.result]
            for found, text in zip(one.findings, (one._say(f) for f in one.findings), strict=True)
        ]
        told += [f"  {line}" for line in aligned(["", "mean [95 %]", "verdict"], rows)[1:]]
    by_holm = f", Holm over {family} comparisons" if family > 1 else ""
    return [*told, f"mean over {over_seeds(verdicts)}, 95 % interval by t{by_holm}"]


def over_seeds(verdicts: Sequence[Verdict]) -> str:
    """How many seeds there are of each comparison, and whether they are paired."""
    seeds = {len(found.seeds) for one in verdicts for found in one.findings}
    counts = " to ".join(str(count) for count in sorted({min(seeds), max(seeds)}))
    return f"{counts} seeds{', paired' * any(one.is_paired for one in verdicts)}"
