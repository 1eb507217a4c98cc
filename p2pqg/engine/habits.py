"""What the rounds to come will take: an algorithm asks the same in all, or what is played tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, count, repeat
from threading import Lock
from typing import Any, NamedTuple

from p2pqg.base.errors import AlgorithmError
from p2pqg.base.lazy import torch
from p2pqg.engine.few_clients import sized_by_values
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import (
    ROUNDS_TRIED,
    RULES_KNOWN,
    Seen,
    Slots,
    nobody_of,
    scouted,
    tried_once,
    usual_traffic,
)
from p2pqg.engine.traffic import Traffic

STEPS_TRIED = 2000
"""Gradients of each client after which no more rounds of an algorithm of ours are looked at: those
that count rounds to ask for something else in each so many of them compute one in a round."""


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
    known = _known(rule)
    habit = _habit(known)
    if habit.is_steady and habit.by_neighbors:
        return (usual_traffic(rule, nobody, slots, each) for each in count(round))
    if habit.is_steady:
        first, usual = scouted(rule, nobody, 2)
        return chain([] if round else [first], repeat(usual))
    if habit.is_known and since_the_start and not habit.by_neighbors:
        return _foreseen(known, nobody.shape[1], nobody.dtype).since(round)
    return iter(())


@dataclass(frozen=True)
class _Kind:
    """What decides what a rule of ours asks for: neither its step size nor its seed."""

    asks: tuple[Any, ...]
    rule: Rule = field(compare=False)


def _known(rule: Rule) -> Rule:
    """The rule itself, or of ours one that asks the same, about which all is found out once."""
    if not rule.algorithm.is_ours:
        return rule
    params = replace(rule.params, lr=1.0)
    more = rule.control, rule.gossip_rule, rule.num_rounds, rule.personal
    kind = _Kind((rule.algorithm.build, params, rule.shapes, *more), rule)
    try:
        return _first_of(kind)
    except TypeError:  # what cannot be a key
        return rule


@lru_cache(maxsize=RULES_KNOWN)
def _first_of(kind: _Kind) -> Rule:
    return kind.rule.with_changes()  # which no simulation plays meanwhile


class _Foreseen:
    """What the rounds of a rule take that are not alike, as far as anybody has asked.

    Simulations in several threads may ask, and be interrupted in that.
    """

    def __init__(self, rule: Rule, nobody: torch.Tensor) -> None:
        self._rule = rule
        self._rounds: list[Traffic] = []
        self._stand: tuple[int, Any] = (0, rule.start(nobody))
        """How many rounds are known, and the state after them: one thing, which is set at once."""
        self._turn = Lock()

    def since(self, round: int) -> Iterator[Traffic]:
        for each in count(round):
            with self._turn:
                while self._stand[0] <= each:
                    self._go_on()
            yield self._rounds[each]

    def _go_on(self) -> None:
        round, state = self._stand
        taken, _, state = tried_once(self._rule, state, round, lambda round: 1)
        self._rounds[round:] = [taken]
        self._stand = round + 1, state


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
    is_known = all(known for _, known in (first, *others)) and not sized_by_values(rule)
    is_steady = is_known and len(set(others)) <= 1
    return Habit(is_known, is_steady, _goes_by_neighbors(rule, [first[0], others[0][0]]))


def _all_kinds(rule: Rule) -> Iterator[tuple[Traffic, bool]]:
    """What rounds take, as of `_tried`: two at least, and on until there is nothing new to see."""
    state, seen, steps = rule.start(nobody_of(rule)), Seen(rule), 0.0
    for round in range(ROUNDS_TRIED):
        taken, is_known, state = tried_once(rule, state, round, lambda round: 1)
        yield taken, is_known
        steps += sum(size for kind, size in taken if kind == "gradient")
        if seen.again(state) or (round and rule.algorithm.is_ours and steps >= STEPS_TRIED):
            return


def _goes_by_neighbors(rule: Rule, with_one: list[Traffic]) -> bool:
    """Whether the first two rounds take something else where there are two neighbors."""
    try:
        return list(scouted(rule, nobody_of(rule), 2, lambda round: 2)) != with_one
    except AlgorithmError:  # a user's, for networks of pairs
        return True


def is_steady(rule: Rule) -> bool:
    """Every round but the first makes the same exchanges, as far as ROUNDS_TRIED tell."""
    return _habit(_known(rule)).is_steady
