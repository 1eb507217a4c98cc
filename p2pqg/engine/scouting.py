"""What an algorithm will ask of the network: it is played on no clients, for free."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple

from p2pqg.algorithms.effects import (
    Decide,
    Effect,
    Exchange,
    Gossip,
    Neighbors,
    Peers,
)
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry
from p2pqg.engine.call import ON_NO_CLIENTS, Ask, bare
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import leaves
from p2pqg.engine.traffic import Taken, Traffic, computed, weighed

ROUNDS_TRIED = 2000
"""Rounds that are looked at to see whether an algorithm asks the same in all, and if it gossips:
fewer, where they begin to repeat."""

FIRST = 4
"""Rounds by which is seen whether each has a gradient."""

RULES_KNOWN = 16
"""Rules of which it is remembered what was found out."""

Slots = Callable[[int], int]
"""Round -> the neighbors of whoever has most of them in it."""


def itinerary(
    rule: Rule,
    state: Any,
    first: int,
    until: int,
    taken: list[Taken] | None = None,
    slots: Slots = lambda round: 1,
) -> Generator[tuple[Ask, Effect], float | None, Any]:
    """What rounds first .. until - 1 will ask of the network, in order.

    Runs the rule on a block of no clients: the same code on empty rows asks the same, for free,
    since what an algorithm asks must not depend on values (see `p2pqg.algorithms.effects`).
    `state` has zero rows; the state after the last round is the generator's return value. After a
    `Decide` it must be sent the number that the clients came to. Gradients are put down in `taken`;
    who computes them at the models of neighbors has so many of these as `slots` says.
    """

    def grad(x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
        if taken is not None:
            computed(taken, x.shape[1] if x.dim() == 3 else 1)
        return torch.zeros_like(x)

    for round in range(first, until):
        call = rule.play(state, grad, round, range(0), lambda: torch.zeros(0))
        try:
            effect = call.send(None)
            while True:
                decided = yield call.ask(round, effect), effect
                asked = isinstance(effect, Decide)
                effect = call.send(decided if asked else echo(effect, partial(slots, round)))
        except StopIteration as end:
            state = end.value
        except AlgorithmError as error:
            raise AlgorithmError(f"{error} (on zero rows, [0, params]: {ON_NO_CLIENTS})") from error
    return state


def scouted(
    rule: Rule, nobody: torch.Tensor, rounds: int, slots: Slots = lambda round: 1
) -> Iterator[Traffic]:
    """What each of the first rounds will take; `nobody` has rows [0, params]."""
    return (taken for taken, _ in _tried(rule, nobody, rounds, slots))


def _tried(
    rule: Rule, nobody: torch.Tensor, rounds: int, slots: Slots = lambda round: 1
) -> Iterator[tuple[Traffic, bool]]:
    """What each round takes, and whether that is known: clients may say how long messages are."""
    state = rule.start(nobody)
    for round in range(rounds):
        taken, is_known, state = tried_once(rule, state, round, slots)
        yield taken, is_known


def tried_once(rule: Rule, state: Any, round: int, slots: Slots) -> tuple[Traffic, bool, Any]:
    """The same of one round, and the state after it."""
    taken, is_known = list[Taken](), True
    trip = itinerary(rule, state, round, round + 1, taken, slots)
    try:
        while True:
            _, effect = next(trip)
            if effect.tensors:
                taken.append(weighed(effect))
            own = isinstance(effect, Gossip) and isinstance(effect.message_bytes, torch.Tensor)
            is_known &= not own
    except StopIteration as end:
        return tuple(taken), is_known, end.value


def first_traffic(rule: Rule, num_params: int, dtype: torch.dtype) -> Traffic:
    """What the first round will take, without consensus control, worked out beforehand."""
    plain = rule.with_changes(control=None)
    return next(scouted(plain, torch.empty(0, num_params, dtype=dtype), 1))


def usual_traffic(rule: Rule, nobody: torch.Tensor, slots: Slots, round: int = 1) -> Traffic:
    """What a round takes where all but the first are alike, without consensus control."""
    first, usual = scouted(rule.with_changes(control=None), nobody, 2, lambda _: slots(round))
    return usual if round else first


def idle_round(rule: Rule) -> int | None:
    """The first one, of a few, in which a user's algorithm computes no gradient; None: none."""
    if rule.algorithm.is_ours:
        return None
    plain = rule.with_changes(control=None)
    with suppress(AlgorithmError):  # a mistake is told by the run itself
        for round, taken in enumerate(scouted(plain, nobody_of(rule), FIRST)):
            if not any(kind == "gradient" for kind, _ in taken):
                return round
    return None


class Seen:
    """What the rounds of a rule left behind, on no clients: where that comes again, they repeat.

    Without clients a state is shapes and numbers, and a round is a function of those and of its
    step size, by which none of ours asks for anything.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._left = set[Any]()

    def again(self, state: Any) -> bool:
        """Whether the rounds to come will do what those before that state have done."""
        key = tuple(_essence(value) for value in leaves(state).values())
        if key not in self._left:
            self._left.add(key)
            return False
        to_come = (self._rule.lr(later) for later in range(ROUNDS_TRIED))
        return self._rule.algorithm.is_ours or len(set(to_come)) == 1


def _essence(value: Any) -> Any:
    """What a number is, or a tensor: one of a user may have entries where there are no clients."""
    if isinstance(value, torch.Tensor):
        return value.shape, value.dtype, *value.flatten().tolist()
    return type(value), value


class Opening(NamedTuple):
    """What an algorithm asks of the network up to its first gossip of models.

    Attributes:
        gossips: it gossips models.
        exchanges: before that, or instead, it sends every neighbor a message of its own.
        before_steps: the models that it gossips first are those that it started with.
    """

    gossips: bool
    exchanges: bool
    before_steps: bool


@lru_cache(maxsize=RULES_KNOWN)
def opening_of(rule: Rule) -> Opening:
    """How a rule's algorithm opens by itself, as far as ROUNDS_TRIED tell."""
    alone = rule.with_changes(control=None, gossip_rule=None)
    exchanges = False
    try:
        state = alone.start(nobody_of(rule))
        model, seen = alone.model(state), Seen(alone)
        for round in range(ROUNDS_TRIED):
            trip, reply = itinerary(alone, state, round, round + 1), None
            try:
                while True:
                    _, effect = trip.send(reply)
                    if isinstance(effect, Gossip) and effect.models:
                        return Opening(True, exchanges, effect.tensors[0] is model)
                    exchanges |= isinstance(effect, Exchange)
                    reply = 0.0 if isinstance(effect, Decide) else None
            except StopIteration as end:
                state = end.value
            if seen.again(state):
                break
    except AlgorithmError:  # a mistake is told by the run itself
        return Opening(True, exchanges, False)
    return Opening(False, exchanges, False)


def batches_per_round(algorithm: Entry, params: Any) -> int:
    """Batches that each client draws in a round: what `local_steps` says, else what it asks for."""
    if hasattr(params, "local_steps"):
        return params.local_steps
    if algorithm.is_ours:
        return 1
    drawn = 0

    def grad(x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
        nonlocal drawn
        drawn += not again
        return torch.zeros_like(x)

    rule = Rule(algorithm, params, LearningRate(params.lr), seed=0)
    with suppress(StopIteration, AlgorithmError):  # a mistake is told by the run itself
        call = rule.play(rule.start(torch.empty(0, 1)), grad, 0, range(0))
        effect = call.send(None)
        while True:
            effect = call.send(echo(effect))
    return max(1, drawn)


def nobody_of(rule: Rule) -> torch.Tensor:
    """[0, params]: the rows of no clients."""
    return torch.empty(0, sum(math.prod(shape) for _, shape in rule.shapes) or 1)


def echo(effect: Effect, slots: Callable[[], int] = lambda: 1) -> Any:
    """What a block is answered whose clients are as if alone, or are none."""
    if isinstance(effect, Neighbors):
        nobody = torch.empty(0, slots(), dtype=torch.int64)
        weights = torch.empty(nobody.shape)
        return Peers(nobody, nobody, weights, torch.empty(0, dtype=torch.int64))
    if isinstance(effect, Exchange):
        return bare(tuple(_to_each(t, slots) for t in effect.tensors))
    return bare(effect.tensors)


def _to_each(message: torch.Tensor, slots: Callable[[], int]) -> torch.Tensor:
    """[clients, slots, ...] of what is for all neighbors alike; what has slots of its own is so."""
    alike = message.shape[1:2] == (1,)
    return message.expand(-1, slots(), *message.shape[2:]) if alike else message
