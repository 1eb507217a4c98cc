"""What shows only on values: a user's algorithm is played on a few clients, each as if alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Real
from typing import Any

from p2pqg.algorithms.effects import AllReduce, Effect, Grad
from p2pqg.base.errors import AlgorithmError, ConfigError
from p2pqg.base.lazy import torch
from p2pqg.engine.call import bare
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import RULES_KNOWN, echo, nobody_of

VALUES_TRIED, FEW = 4, 2
"""Rounds, and clients, by which is seen whether sizes of messages depend on values."""

ENTRIES = 6
"""Entries of the models by which is seen whether rows meet."""


def sized_by_values(rule: Rule) -> bool:
    """Whether what a user's algorithm says of its messages, as a number, is another for each value.

    It may count what it sends; no clients send nothing. So it is played on a few, of values that
    are large or small, each as if it were alone.
    """
    if rule.algorithm.is_ours:
        return False
    sizes = [_sizes(rule, nobody_of(rule), 1.0)]
    if any(size is not None for size in sizes[0]):
        few = torch.zeros(FEW, nobody_of(rule).shape[1])
        sizes += [_sizes(rule, few, scale) for scale in (0.0, 1e-3, 1e3)]
    return any(other != sizes[0] for other in sizes)


def _sizes(rule: Rule, x0: torch.Tensor, scale: float) -> list[float | None]:
    """What messages of the first rounds are said to cost; None where nothing is said."""
    slope = scale * torch.linspace(-1, 1, x0.shape[1])

    def grad(x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
        return scale * x + slope

    said: list[float | None] = []

    def answer(effect: Effect) -> Any:
        size = getattr(effect, "message_bytes", None)
        said.append(float(size) if isinstance(size, Real) else None)
        return echo(effect)

    try:
        _played(rule, x0, grad, answer)
    except AlgorithmError:  # it needs neighbors, whom it has not here
        return [*said, math.nan]
    return said


def _played(
    rule: Rule,
    x0: torch.Tensor,
    grad: Grad,
    answer: Callable[[Effect], Any],
    clients: range | None = None,
) -> Any:
    """The state after a few rounds of clients that are as if alone: `answer` is their network."""
    state = rule.start(x0)
    for round in range(VALUES_TRIED):
        call, reply = rule.alone(state, grad, round, clients or range(len(x0))), None
        try:
            while True:
                reply = answer(call.send(reply))
        except StopIteration as end:
            state = end.value
    return state


def check_rows(rule: Rule) -> None:
    """Whether a user's algorithm makes of a client's row the same in whatever block it is.

    It is played on a few clients whom the network answers with what they sent (all-reduces: with
    what the first one sent), once more with another second one, and with the second one before
    the first.

    Raises:
        ConfigError: rows meet that no network has brought together, as by x.mean(0); or it counts
            the rows of its block. Numbers would depend on which process hosts whom.
    """
    if problem := _wrong_of_rows(rule):
        raise ConfigError(f"algorithm {rule.algorithm.name}: what becomes of a client {problem}")


@lru_cache(maxsize=RULES_KNOWN)
def _wrong_of_rows(rule: Rule) -> str | None:
    traits = rule.algorithm.traits
    if rule.algorithm.is_ours or traits.get("asynchronous"):
        return None
    alone = rule.with_changes(control=None, gossip_rule=None, personal=None, shapes=())
    try:
        one, other, behind = (
            _first_models(alone, second, place) for second, place in ((1.0, 0), (-3.0, 0), (1.0, 1))
        )
    except Exception:  # it needs neighbors, or another model; a mistake is told by the run itself
        return None
    if not _alike(one, other):
        return (
            "depends on rows of others that nobody sent it, as by x.mean(0), and so on which "
            "process hosts whom; rows meet in yield alone: gossip(...), allreduce(...)"
        )
    if not _alike(one, behind):
        return (
            "depends on which row of its block it is, as by torch.arange(len(x)), and so on which "
            "process hosts whom; clients have their numbers in (yield neighbors()).clients"
        )
    return None


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True)


def _first_models(rule: Rule, second: float, place: int) -> torch.Tensor:
    """[entries]: what the first of a few clients comes to.

    Args:
        rule: that they play.
        second: how others start.
        place: of the first one among the rows.
    """
    x0 = torch.linspace(-1, 1, ENTRIES, dtype=torch.float64).repeat(FEW, 1)
    x0[torch.arange(FEW) != place] *= second
    slope = torch.linspace(1, 2, ENTRIES, dtype=torch.float64)

    def grad(x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
        return x * slope + 0.1

    def answer(effect: Effect) -> Any:
        return _of_one(effect, place) if isinstance(effect, AllReduce) else echo(effect)

    clients = range(FEW) if place == 0 else range(place, -1, -1)
    return rule.model(_played(rule, x0, grad, answer, clients))[place]


def _of_one(effect: AllReduce, place: int) -> Any:
    """A mean in which one client counts alone: all get the same, who takes whose is free."""
    rows = slice(place, place + 1)
    return bare(tuple(t[rows].expand_as(t).clone() for t in effect.tensors))
