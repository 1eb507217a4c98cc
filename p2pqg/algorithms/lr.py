"""The step size of every round: base, scaling, warm-up, milestones.

The paper's recipe (Section 5.1 and the official code): lr 0.1 per 64 samples, scaled by the local
batch and the number of clients, linear warm-up over 5 epochs from 0.1, divided by 10 at 1/2, 3/4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from p2pqg.base.ranges import out_of_range


@dataclass(frozen=True, kw_only=True)
class LrSchedule:
    scaling: str = "none"
    """"none": lr as given; "linear": lr * clients * batch_size / base_batch_size."""
    base_batch_size: int = 64
    """Samples that the given lr is meant for, with scaling: linear."""
    warmup_epochs: float = 0.0
    """Linear warm-up, evaluated at every round, >= 0."""
    warmup_from: float = 0.1
    """Step size at round 0 of the warm-up; there is none if the target is not larger."""
    milestones: tuple[float, ...] = ()
    """Fractions of the run, rising, in (0, 1); the step size is multiplied by decay at each."""
    decay: float = 0.1

    def problems(self) -> Iterator[str]:
        if self.scaling not in ("none", "linear"):
            yield f"lr_schedule.scaling must be none or linear, got {self.scaling!r}"
        yield from out_of_range(
            self, "lr_schedule.", base_batch_size=">= 1", warmup_epochs=">= 0", warmup_from="> 0"
        )
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < 1 for m in self.milestones
        ):
            yield (
                f"lr_schedule.milestones must be rising fractions in (0, 1), got {self.milestones}"
            )
        yield from out_of_range(self, "lr_schedule.", decay="(0, 1]")


@dataclass(frozen=True)
class LearningRate:
    """round -> step size. Picklable: it travels to the actors.

    >>> lr = LearningRate(target=0.8, warmup_from=0.1, warmup_rounds=7, drops=(10,), decay=0.1)
    >>> [round(lr(t), 3) for t in (0, 1, 7, 9, 10)]
    [0.1, 0.2, 0.8, 0.8, 0.08]
    """

    target: float
    warmup_from: float = 0.1
    warmup_rounds: int = 0
    drops: tuple[int, ...] = ()
    decay: float = 0.1

    def __call__(self, round: int) -> float:
        if round < self.warmup_rounds and self.target > self.warmup_from:
            share = round / self.warmup_rounds
            return self.warmup_from + share * (self.target - self.warmup_from)
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
    return LearningRate(
        target=lr * (scale if schedule.scaling == "linear" else 1.0),
        warmup_from=schedule.warmup_from,
        warmup_rounds=round(schedule.warmup_epochs * rounds_per_epoch),
        drops=tuple(round(m * num_rounds) for m in schedule.milestones),
        decay=schedule.decay,
    )
