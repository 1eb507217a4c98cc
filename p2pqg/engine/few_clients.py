"""What shows only on values: a user's algorithm is played on a few clients, each as if alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Real
from typing import Any

from p2pqg.algorithms.effects import AllReduce, Effect, Grad
from p2pqg.base.errors import AlgorithmError
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


def _played(rule: Rule, x0: torch.Tensor, grad: Grad, answer: Callable[[Effect], Any]) -> Any:
    """The state after a few rounds of clients that are as if alone: `answer` is their network."""
    state = rule.start(x0)
    for round in range(VALUES_TRIED):
        call, reply = rule.alone(state, grad, round, range(len(x0))), None
        try:
            while True:
                reply = answer(call.send(reply))
        except StopIteration as end:
            state = end.value
    return state


@lru_cache(maxsize=RULES_KNOWN)
def mixes_rows(rule: Rule) -> bool:
    """Whether a user's algorithm lets rows meet that no network has brought together.

    As x.mean(0) does: then numbers depend on which process hosts whom. It is played on a few
    clients whom the network answers with what they sent (all-reduces: with what the first one
    sent), once more with another second one.
    """
    traits = rule.algorithm.traits
    if rule.algorithm.is_ours or traits.get("asynchronous"):
        return False
    alone = rule.with_changes(control=None, gossip_rule=None, personal=None, shapes=())
    try:
        one, other = (_first_models(alone, second) for second in (1.0, -3.0))
    except Exception:  # it needs neighbors, or another model; a mistake is told by the run itself
        return False
    return not torch.allclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True)


def _first_models(rule: Rule, second: float) -> torch.Tensor:
    """[1, entries]: what the first of a few clients comes to; `second`: how others start."""
    x0 = torch.linspace(-1, 1, ENTRIES, dtype=torch.float64).repeat(FEW, 1)
    x0[1:] *= second
    slope = torch.linspace(1, 2, ENTRIES, dtype=torch.float64)

    def grad(x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
        return x * slope + 0.1

    def answer(effect: Effect) -> Any:
        return _of_the_first(effect) if isinstance(effect, AllReduce) else echo(effect)

    return rule.model(_played(rule, x0, grad, answer))[:1]


def _of_the_first(effect: AllReduce) -> Any:
    """A mean in which the first client counts alone: all get the same, who takes whose is free."""
    return bare(tuple(t[:1].expand_as(t).clone() for t in effect.tensors))
