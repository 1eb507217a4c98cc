"""When a run may end before its last round: a condition on its rows, or patience.

    stop: {when: test_accuracy >= 0.95}
    stop: {patience: 5, metric: validation_accuracy}

Whether it is time is a function of the evaluated rows alone: resumed or not, a run stops where it
would have stopped.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.records import OF_TESTS, column_of, last_having
from p2pqg.base.text import is_number
from p2pqg.base.wording import counted
from p2pqg.network.units import still

CONDITION = re.compile(r"\s*([A-Za-z_]\w*)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*")
COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SMALL_IS_GOOD = (
    *("loss", "distance", "error", "mse", "mae", "mape", "perplexity", "divergence", "deviance"),
    *("bytes", "seconds", "epsilon"),
)
"""What is in the names of columns that should fall, a user's own among them."""


def is_better_small(column: str) -> bool:
    """Whether a column of rounds.parquet should fall, as its name tells.

    >>> [is_better_small(key) for key in ("test_loss", "perplexity", "epsilon", "test_accuracy")]
    [True, True, True, False]
    """
    return any(word in column for word in SMALL_IS_GOOD)


Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When a run ends early; neither: never."""

    when: str | None = None
    """COLUMN >= NUMBER, also with <=, >, <; several joined by `and`. It is looked at whenever the
    clients are evaluated."""
    patience: Annotated[int | None, ">= 1"] = None
    """Evaluations in a row without a better metric, >= 1."""
    metric: str = "test_accuracy"
    """What patience looks at: a column of rounds.parquet."""
    best: Literal["auto", "max", "min"] = "auto"
    """Which is better; auto: small for losses, distances, errors, perplexity and the like, else
    large."""
    min_delta: Annotated[float, ">= 0"] = 0.0
    """By how much a metric must be better to count, >= 0."""

    def problems(self) -> Iterator[str]:
        if self.when is not None:
            for part in self.when.split(" and "):
                match = CONDITION.fullmatch(part)
                if not match or not is_number(match[3]):
                    yield (
                        f"stop.when must be COLUMN >= NUMBER (or <=, >, <; joined by and), such as "
                        f"test_accuracy >= 0.95, got {part.strip()!r}"
                    )

    def __bool__(self) -> bool:
        return self.when is not None or self.patience is not None

    def check(self, columns: Collection[str], absent: Mapping[str, str]) -> None:
        """See that rows will have what it looks at.

        Args:
            columns: that there are.
            absent: those that no row of this run has, and why.

        Raises:
            ConfigError: a column that there is not.
        """
        asked = [(name, "stop.when") for name, _, _ in self._conditions]
        asked += [(self.metric, "stop.metric")] if self.patience is not None else []
        for name, key in asked:
            if name not in columns:
                raise ConfigError(f"{key}: no column {name!r}{did_you_mean(name, columns)}")
            if name in absent:
                raise ConfigError(
                    f"{key} goes by {name}, which no row of this run has: {absent[name]}"
                )

    def reason(self, rows: Sequence[Row], tested: Sequence[str] = OF_TESTS) -> str | None:
        """Why the run is over, as its evaluated rows tell; None: it is not.

        Args:
            rows: of rounds.parquet.
            tested: columns of which those that are evaluated have one.
        """
        last = last_having(rows, *tested)
        if last is None:
            return None
        conditions = self._conditions
        if conditions and all(_holds(last, *one) for one in conditions):
            return str(self.when)
        if self.patience is not None and self._waited(rows, tested) >= self.patience:
            return f"{self.metric} has not been better for {counted(self.patience, 'evaluation')}"
        return None

    @property
    def _conditions(self) -> list[tuple[str, str, float]]:
        parts = self.when.split(" and ") if self.when else []
        matches = [match for part in parts if (match := CONDITION.fullmatch(part))]
        return [(match[1], match[2], float(match[3])) for match in matches]

    def _waited(self, rows: Sequence[Row], tested: Sequence[str]) -> int:
        """Evaluations since the last one that was better than all before."""
        small = self.best == "min"
        if self.best == "auto":
            small = is_better_small(self.metric)
        values, known = column_of(rows, self.metric, "float64")
        evaluated = np.any([column_of(rows, key, "float64")[1] for key in tested], axis=0)
        best, waited = None, 0
        for value in values[known & evaluated].tolist():
            value = -value if small else value
            if best is None or value > best + self.min_delta:
                best, waited = value, 0
            else:
                waited += 1
        return waited


def _holds(row: Row, name: str, sign: str, bound: float) -> bool:
    value = row.get(name)
    if value is None:
        return False
    if name == "sim_seconds":  # to what a clock adds up, as wherever it is compared
        value, bound = (still(value), bound) if sign in (">=", "<") else (value, still(bound))
    return COMPARE[sign](value, bound)
