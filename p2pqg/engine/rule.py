"""A rule: an algorithm with its parameters; and what it will ask of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import numpy as np

from p2pqg.algorithms._effects import Decide, Effect
from p2pqg.engine.control import Controller
from p2pqg.engine.watch import guarded, watched
from p2pqg.errors import AlgorithmError
from p2pqg.lazy import torch
from p2pqg.registry import Entry
from p2pqg.seeding import rng


class Rule:
    """An algorithm with its parameters: what every block and the driver's scout run alike."""

    def __init__(
        self,
        algorithm: Entry,
        params: Any,
        lr: Callable[[int], float],
        seed: int,
        control: Controller | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.params = params
        self.lr = lr
        self.seed = seed
        self.control = control

    def start(self, x0: torch.Tensor) -> Any:
        """The state before the first round; AlgorithmError if the models are not in it."""
        state = guarded(self.algorithm, self.algorithm.traits["start"], x0)
        with suppress(AttributeError):
            if self.model(state).shape == x0.shape:
                return state
        raise AlgorithmError(
            f"{self.algorithm.name}: start must return a state whose x is [clients, params], "
            "or say @algorithm(model=...)"
        )

    def model(self, state: Any) -> torch.Tensor:
        """[clients, params]: the models, of which push-sum, say, keeps only a scaled form."""
        return self.algorithm.traits["model"](state)

    def play(self, state: Any, grad: Callable, round: int, clients: range) -> Generator:
        """The generator of one round, with this round's step size, led by the control."""
        call = self._call(state, grad, round, clients)
        return self.control.lead(call, round) if self.control else call

    def _call(self, state: Any, grad: Callable, round: int, clients: range) -> Generator:
        lr = self.lr(round)
        if lr != self.params.lr:
            self.params = dataclasses.replace(self.params, lr=lr)
        if not self.algorithm.traits["draws"]:
            call = guarded(self.algorithm, self.algorithm.build, state, grad, self.params)
            return watched(self.algorithm, call, len(clients))

        def draw(purpose: str, size: int) -> torch.Tensor:
            rows = [rng(self.seed, purpose, client, round).random(size) for client in clients]
            return torch.from_numpy(np.stack(rows) if rows else np.empty((0, size)))

        call = guarded(self.algorithm, self.algorithm.build, state, grad, self.params, draw)
        return watched(self.algorithm, call, len(clients))


def itinerary(
    rule: Rule, state: Any, first: int, until: int
) -> Generator[tuple[int, Effect], float | None, Any]:
    """What rounds first .. until - 1 will ask of the network, in order: (round, request).

    Runs the rule on a block of no clients: the same code on empty rows asks the same, for free.
    `state` has zero rows; the state after the last round is the generator's return value. After a
    `Decide` it must be sent the number that the clients came to.
    """
    for round in range(first, until):
        call = rule.play(state, torch.zeros_like, round, range(0))
        try:
            effect = next(call)
            while True:
                decided = yield round, effect
                asked = isinstance(effect, Decide)
                effect = call.send(decided if asked else bare(effect.tensors))
        except StopIteration as end:
            state = end.value
        except AlgorithmError as error:
            why = "on zero rows, [0, params], as the driver runs it to learn what will be sent"
            raise AlgorithmError(f"{error} ({why})") from error
    return state


def bare(tensors: tuple[torch.Tensor, ...]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """One tensor was sent: one comes back."""
    return tensors[0] if len(tensors) == 1 else tensors
