"""A rule that is listened to: whether what it asks of the network depends on values."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import torch

from p2pqg.algorithms.control import Lengths
from p2pqg.algorithms.effects import Effect, Exchange, Round, led
from p2pqg.engine.call import CONTRACT, ON_NO_CLIENTS, Ask, Call, called, disagreement
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import itinerary
from p2pqg.testing.plays import (
    ROUNDS,
)


class _Request(NamedTuple):
    ask: Ask
    sizes: list[tuple[Any, ...]]
    """Shape and type of each tensor, of one client (of one message, where there are several)."""

    @classmethod
    def of(cls, ask: Ask, effect: Effect) -> _Request:
        shared = 2 if isinstance(effect, Exchange) else 1
        return cls(ask, [(list(t.shape[shared:]), t.dtype) for t in effect.tensors])


class Listener(Rule):
    """A rule that hears what is asked, and compares it with what a block of no clients asks."""

    rounds = ROUNDS + 1
    """SlowMo averages after 12."""

    def __init__(self, rule: Rule, nobody: torch.Tensor) -> None:
        vars(self).update(vars(rule))
        self.expected: list[list[_Request]] = [[] for _ in range(self.rounds)]
        for ask, effect in itinerary(rule, rule.start(nobody), 0, self.rounds):
            self.expected[ask.round].append(_Request.of(ask, effect))

    def play(
        self,
        state: Any,
        grad: Callable[..., Any],
        round: int,
        clients: range,
        lengths: Lengths | None = None,
    ) -> Call:
        call = super().play(state, grad, round, clients, lengths)
        expected = iter(self.expected[round])

        def hear(effect: Effect) -> Generator[Effect, Any, Any]:
            heard = _Request.of(call.ask(round, effect), effect)
            self._compare(heard, next(expected, None), clients)
            return (yield effect)

        def to_the_end(requests: Round[Any]) -> Round[Any]:
            state = yield from led(requests, hear)
            self._compare(None, next(expected, None), clients)
            return state

        call.requests = to_the_end(call.requests)
        return call

    def _compare(self, heard: _Request | None, expected: _Request | None, clients: range) -> None:
        who = called(clients)
        wrong = disagreement(heard and heard.ask, expected and expected.ask, who, ON_NO_CLIENTS)
        assert not wrong, wrong
        if heard is None or expected is None:  # both are done
            return
        assert heard.sizes == expected.sizes, (
            f"{heard.ask.place}: {who} send {heard.sizes} in round {heard.ask.round}, and "
            f"{expected.sizes} is sent by {ON_NO_CLIENTS}; {CONTRACT}"
        )
