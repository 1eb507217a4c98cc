"""What an algorithm will ask of the network: it is played on no clients, for free."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain, count, repeat
from numbers import Real
from threading import Lock
from typing import Any, NamedTuple

from p2pqg.algorithms.effects import (
    AllReduce,
    Decide,
    Effect,
    Exchange,
    Gossip,
    Grad,
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

STEPS_TRIED = 2000
"""Gradients of each client after which no more rounds of an algorithm of ours are looked at: those
that count rounds to ask for something else in each so many of them compute one in a round."""

VALUES_TRIED, FEW = 4, 2
"""Rounds, and clients, by which is seen whether sizes of messages depend on values."""

ENTRIES = 6
"""Entries of the models by which is seen whether rows meet."""

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
                effect = call.send(decided if asked else _echo(effect, partial(slots, round)))
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
        taken, is_known, state = _tried_once(rule, state, round, slots)
        yield taken, is_known


def _tried_once(rule: Rule, state: Any, round: int, slots: Slots) -> tuple[Traffic, bool, Any]:
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


def coming(
    rule: Rule, nobody: torch.Tensor, slots: Slots, round: int, since_the_start: bool = True
) -> Iterator[Traffic]:
    """What each round from that one on will take; nothing where that cannot be known.

    What the last round took does not tell: the first may differ from all others, and who sends
    more in every twelfth round has just done so, or not.

    Args:
        rule: that is played.
        nobody: [0, params].
        slots: of the network.
        round: the next one.
        since_the_start: it has been played in all rounds so far; if not, it is known only of those
            who ask the same in every round.
    """
    habit = _habit(rule)
    if habit.is_steady and habit.by_neighbors:
        return (usual_traffic(rule, nobody, slots, each) for each in count(round))
    if habit.is_steady:
        first, usual = scouted(rule, nobody, 2)
        return chain([] if round else [first], repeat(usual))
    if habit.is_known and since_the_start and not habit.by_neighbors:
        return _foreseen(rule, nobody.shape[1], nobody.dtype).since(round)
    return iter(())


class _Foreseen:
    """What the rounds of a rule take that are not alike, as far as anybody has asked.

    Simulations in several threads may ask, and be interrupted in that.
    """

    def __init__(self, rule: Rule, nobody: torch.Tensor) -> None:
        self._rule = rule
        self._rounds: list[Traffic] = []
        self._state = rule.start(nobody)
        self._turn = Lock()

    def since(self, round: int) -> Iterator[Traffic]:
        for each in count(round):
            with self._turn:
                while len(self._rounds) <= each:
                    self._go_on()
            yield self._rounds[each]

    def _go_on(self) -> None:
        taken, _, state = _tried_once(self._rule, self._state, len(self._rounds), lambda round: 1)
        self._state = state
        self._rounds.append(taken)


@lru_cache(maxsize=RULES_KNOWN)
def _foreseen(rule: Rule, num_params: int, dtype: torch.dtype) -> _Foreseen:
    return _Foreseen(rule, torch.empty(0, num_params, dtype=dtype))


class Habit(NamedTuple):
    """What is known beforehand of the rounds of a rule.

    Attributes:
        is_known: what each takes.
        is_steady: all but the first take the same.
        by_neighbors: how many neighbors there are matters.
    """

    is_known: bool
    is_steady: bool
    by_neighbors: bool


@lru_cache(maxsize=RULES_KNOWN)
def _habit(rule: Rule) -> Habit:
    """As far as ROUNDS_TRIED tell."""
    if rule.control is not None:
        return Habit(False, False, False)
    first, *others = _all_kinds(rule)
    is_known = all(known for _, known in (first, *others)) and not _sized_by_values(rule)
    is_steady = is_known and len(set(others)) <= 1
    return Habit(is_known, is_steady, _goes_by_neighbors(rule, [first[0], others[0][0]]))


def _all_kinds(rule: Rule) -> Iterator[tuple[Traffic, bool]]:
    """What rounds take, as of `_tried`: two at least, and on until there is nothing new to see."""
    state, seen, steps = rule.start(_nobody(rule)), _Seen(rule), 0.0
    for round in range(ROUNDS_TRIED):
        taken, is_known, state = _tried_once(rule, state, round, lambda round: 1)
        yield taken, is_known
        steps += sum(size for kind, size in taken if kind == "gradient")
        if seen.again(state) or (round and rule.algorithm.is_ours and steps >= STEPS_TRIED):
            return


class _Seen:
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


def _goes_by_neighbors(rule: Rule, with_one: list[Traffic]) -> bool:
    """Whether the first two rounds take something else where there are two neighbors."""
    try:
        return list(scouted(rule, _nobody(rule), 2, lambda round: 2)) != with_one
    except AlgorithmError:  # a user's, for networks of pairs
        return True


def is_steady(rule: Rule) -> bool:
    """Every round but the first makes the same exchanges, as far as ROUNDS_TRIED tell."""
    return _habit(rule).is_steady


def _sized_by_values(rule: Rule) -> bool:
    """Whether what a user's algorithm says of its messages, as a number, is another for each value.

    It may count what it sends; no clients send nothing. So it is played on a few, of values that
    are large or small, each as if it were alone.
    """
    if rule.algorithm.is_ours:
        return False
    sizes = [_sizes(rule, _nobody(rule), 1.0)]
    if any(size is not None for size in sizes[0]):
        few = torch.zeros(FEW, _nobody(rule).shape[1])
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
        return _echo(effect)

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
        return _of_the_first(effect) if isinstance(effect, AllReduce) else _echo(effect)

    return rule.model(_played(rule, x0, grad, answer))[:1]


def _of_the_first(effect: AllReduce) -> Any:
    """A mean in which the first client counts alone: all get the same, who takes whose is free."""
    return bare(tuple(t[:1].expand_as(t).clone() for t in effect.tensors))


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
        state = alone.start(_nobody(rule))
        model, seen = alone.model(state), _Seen(alone)
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
            effect = call.send(_echo(effect))
    return max(1, drawn)


def _nobody(rule: Rule) -> torch.Tensor:
    """[0, params]: the rows of no clients."""
    return torch.empty(0, sum(math.prod(shape) for _, shape in rule.shapes) or 1)


def _echo(effect: Effect, slots: Callable[[], int] = lambda: 1) -> Any:
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
