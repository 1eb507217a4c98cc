"""The step size of every round: base, scaling, warm-up; milestones, steps, cosine, or one's own.

The paper's recipe (Section 5.1 and the official code): lr 0.1 per 64 samples, scaled by the local
batch and the number of clients, linear warm-up over 5 epochs from 0.1, divided by 10 at 1/2, 3/4.
There an epoch is a whole number of batches, and so all of it begins and ends with an iteration: the
same ones as here, where shards are. Else an epoch here is a mean shard over the batch, no whole
number, and the nearest round is taken; within a round the step size stays. Milestones are the
nearest rounds here, of two the even one, and whole epochs there, halves rounded up: of 300 epochs
150 and 225 in both, of 5 epochs 2.5 and 3.75 here, 3 and 4 there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from p2pqg.base.draws import keyed
from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import MOST_COUNTED, broken
from p2pqg.base.signature import check_takes, parameters
from p2pqg.base.source import blamed

ROUNDING = 1e-9
"""Rounding of a quotient of two lengths: a step that is due at a round is not missed by it."""


@dataclass(frozen=True, kw_only=True)
class LrSchedule:
    scaling: Literal["none", "linear"] = "none"
    """"none": lr as given; "linear": lr * clients * batch_size / base_batch_size."""
    base_batch_size: Annotated[int, ">= 1"] = 64
    """Samples that the given lr is meant for, with scaling: linear."""
    warmup_epochs: Annotated[float, ">= 0"] = 0.0
    """Linear warm-up, evaluated at every round, over the nearest whole number of them, >= 0."""
    warmup_from: Annotated[float, "> 0"] = 0.1
    """Step size at round 0 of the warm-up; there is none if the target is not larger."""
    milestones: tuple[float, ...] = ()
    """Fractions of the run, rising, in (0, 1); the step size is multiplied by decay at each, at the
    nearest round."""
    decay: Annotated[float, "(0, 1]"] = 0.1
    """What lr is multiplied by at each milestone or step, in (0, 1]."""
    kind: Literal["milestones", "step", "cosine"] = "milestones"
    """Step: times decay whenever so many epochs are over; cosine: half a period of it, from the end
    of the warm-up, if there is one, down to that of the run; one that goes on beyond that stays at
    the floor, or without one at its last step size."""
    step_epochs: Annotated[float, "> 0"] = 30.0
    """Epochs from one step to the next, > 0, of kind step."""
    floor: Annotated[float, "[0, 1)"] = 0.0
    """Share of lr that a cosine ends at, in [0, 1)."""
    function: str | None = None
    """FILE.py:NAME of a function of the round, or of `epoch`, that returns lr itself."""

    def problems(self) -> Iterator[str]:
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < 1 for m in self.milestones
        ):
            yield (
                f"lr_schedule.milestones must be rising fractions in (0, 1), got {self.milestones}"
            )
        if self.milestones and self.kind != "milestones":
            yield broken(
                f"lr_schedule.milestones are for kind milestones, got kind {self.kind}",
                "milestones",
                "kind",
            )


@dataclass(frozen=True)
class LearningRate:
    """round -> step size. Picklable: it travels to the actors.

    >>> lr = LearningRate(target=0.8, warmup_from=0.1, warmup_rounds=7, drops=(10,), decay=0.1)
    >>> [round(lr(t), 3) for t in (0, 1, 7, 9, 10)]
    [0.1, 0.2, 0.8, 0.8, 0.08]
    >>> [round(LearningRate(1.0, kind="cosine", length=4, floor=0.5)(t), 3) for t in range(5)]
    [1.0, 0.927, 0.75, 0.573, 0.5]
    >>> [LearningRate(1.0, kind="step", length=2, decay=0.5)(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    >>> [LearningRate(1.0, kind="step", length=1.5, decay=0.5)(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.25, 0.25]
    >>> [LearningRate(0.3, values=(0.3, 0.2))(t) for t in range(3)]
    [0.3, 0.2, 0.2]

    Attributes:
        length: rounds from one step to the next, not always whole, or of the whole run, of kinds
            step and cosine.
        values: of the first rounds, of a user's own function; the last one stays.
        by_epoch: it goes by epochs, of as many rounds each as were planned.
    """

    target: float
    warmup_from: float = 0.1
    warmup_rounds: int = 0
    drops: tuple[int, ...] = ()
    decay: float = 0.1
    kind: str = "milestones"
    length: float = 1
    floor: float = 0.0
    values: tuple[float, ...] = ()
    by_epoch: bool = False

    def __call__(self, round: int) -> float:
        if self.values:
            return self.values[min(round, len(self.values) - 1)]
        if round < self.warmup_rounds and self.target > self.warmup_from:
            share = round / self.warmup_rounds
            return self.warmup_from + share * (self.target - self.warmup_from)
        if self.kind == "cosine":
            left = max(1, self.length - self.warmup_rounds)
            end = left if self.floor else left - 1  # beyond it no step size is 0: some divide by it
            share = min(end, max(0, round - self.warmup_rounds)) / left
            down = (1 + math.cos(math.pi * share)) / 2
            return self.target * (self.floor + (1 - self.floor) * down)
        if self.kind == "step":
            steps = math.floor(min(round / self.length + ROUNDING, MOST_COUNTED))
            return self.target * self.decay**steps
        return self.target * self.decay ** sum(round >= drop for drop in self.drops)


def learning_rate(
    lr: float,
    schedule: LrSchedule,
    num_clients: int,
    batch_size: int,
    num_rounds: int,
    rounds_per_epoch: float,
) -> LearningRate:
    """The step sizes of a run of `num_rounds` rounds."""
    scale = num_clients * batch_size / schedule.base_batch_size
    target = lr * (scale if schedule.scaling == "linear" else 1.0)
    rises = target > schedule.warmup_from
    return LearningRate(
        target=target,
        warmup_from=schedule.warmup_from,
        warmup_rounds=round(schedule.warmup_epochs * rounds_per_epoch) if rises else 0,
        drops=tuple(round(m * num_rounds) for m in schedule.milestones),
        decay=schedule.decay,
        kind=schedule.kind,
        length=num_rounds if schedule.kind == "cosine" else schedule.step_epochs * rounds_per_epoch,
        floor=schedule.floor,
        by_epoch=schedule.kind == "step",
    )


def tabled(
    function: Callable[..., Any], num_rounds: int, rounds_per_epoch: float, name: str
) -> LearningRate:
    """The step sizes that a user's function says.

    Args:
        function: of the round, or of the epoch if that is what its parameter is called.
        num_rounds: of the run.
        rounds_per_epoch: in one pass over a mean-sized shard.
        name: what it is called, for messages.

    Raises:
        ConfigError: it fails, a step size is not > 0, or is another when it is asked for again.
    """
    by_epoch = next(iter(parameters(function)), "") == "epoch"
    check_takes(function, ("epoch" if by_epoch else "round",), f"lr {name}")
    what = "epoch" if by_epoch else "round"

    def asked(round: int) -> tuple[float, float]:
        at = round / rounds_per_epoch if by_epoch else round
        try:
            with keyed(round):
                return at, float(function(at))
        except Exception as error:
            raise ConfigError(blamed(error, f"lr {name}")) from error

    values = []
    for round in range(num_rounds):
        at, lr = asked(round)
        if not 0 < lr < math.inf:
            raise ConfigError(f"lr {name} must return numbers > 0, got {lr:g} for {what} {at:g}")
        values.append(lr)
    for round in {0, num_rounds // 2, num_rounds - 1}:
        at, again = asked(round)
        if again != values[round]:
            raise ConfigError(
                f"lr {name} is {values[round]:g} for {what} {at:g}, and {again:g} when it is asked "
                "again; it must depend on that alone, not on how often it was called: make a list "
                "of the step sizes first, lr=lambda round: rates[round]"
            )
    return LearningRate(values[0], values=tuple(values), by_epoch=by_epoch)
