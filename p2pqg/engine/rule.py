"""A rule: an algorithm with its parameters, and what leads it or replaces its gossip."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from p2pqg.algorithms.control import Controller, Lengths
from p2pqg.algorithms.effects import Parameter, Traits
from p2pqg.algorithms.gossip_rules import GossipRule, find_rule
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.config import made, plain
from p2pqg.base.errors import AlgorithmError, ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.engine.call import Call, guarded, watched, wrong_leaf
from p2pqg.engine.personal import Personal
from p2pqg.engine.snapshot import with_leaves

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of the tensors that a row is made of, in order."""


@dataclass(eq=False)
class Rule(Traits):
    """An algorithm with its parameters: what every block and the driver's scout run alike.

    Attributes:
        algorithm: registered.
        params: of its class; lr is that of the round before.
        lr: round -> step size.
        seed: of what the algorithm draws.
        control: consensus control.
        shapes: what a row is made of.
        gossip_rule: what a receiver makes of its inbox; None: the weighted sum.
        num_rounds: of the run, for what changes as it goes on; 0: nobody knows.
        personal: what never leaves its client.
    """

    algorithm: Entry
    params: Any
    lr: Callable[[int], float]
    seed: int
    control: Controller | None = None
    shapes: Shapes = ()
    gossip_rule: GossipRule | None = None
    num_rounds: int = 0
    personal: Personal | None = None

    @property
    def parts(self) -> tuple[Entry, ...]:
        """What it is made of: where that is a user's code, it must travel with it."""
        return (self.algorithm, *([self.gossip_rule.entry] if self.gossip_rule else []))

    def over(self, round: int) -> float:
        """Share of the run that is over when a round begins, in [0, 1]; 0: nobody knows."""
        return min(1.0, round / self.num_rounds) if self.num_rounds else 0.0

    def with_changes(self, **changes: Any) -> Rule:
        """Another rule that differs in `params`, `lr`, ..."""
        return Rule(**{field.name: getattr(self, field.name) for field in fields(Rule)} | changes)

    def with_gossip_rule(self, rule: Any) -> Rule:
        """Another rule with this rule of gossip, see `find_rule`; None: the weighted sum.

        Raises:
            ConfigError: unknown.
        """
        return self.with_changes(gossip_rule=None if rule is None else find_rule(rule))

    def with_lr(self, lr: float) -> Rule:
        """Another rule with this step size: no warm-up, no milestones.

        Raises:
            ConfigError: it is not > 0.
        """
        if isinstance(lr, bool) or not isinstance(lr, numbers.Real) or not 0 < lr < math.inf:
            raise ConfigError(f"lr must be > 0, got {lr!r}")
        return self.with_changes(lr=LearningRate(float(lr)))

    def with_params(self, **params: Any) -> Rule:
        """Another rule with other parameters of the algorithm; those not named stay.

        Raises:
            ConfigError: unknown, out of range, or lr; or what the clients carry depends on it.
        """
        if "lr" in params:
            raise ConfigError("algorithm.lr cannot be set here; use set_lr")
        for name in self.algorithm.traits["fixed"](self.params):
            if name in params and params[name] != getattr(self.params, name):
                raise ConfigError(
                    f"algorithm.{name} of {self.algorithm.name} cannot change in a live run: what "
                    "its clients carry from round to round is made for it; set it from the start"
                )
        given = plain(self.params) | params
        steps = getattr(self.params, "local_steps", None)
        if getattr(self.lr, "by_epoch", False) and given.get("local_steps") != steps:
            raise ConfigError(
                "algorithm.local_steps cannot change while lr goes by epochs, which would be of "
                "other numbers of rounds; set_lr first, or give lr by rounds from the start"
            )
        return self.with_changes(params=made(self.algorithm.params, given, "algorithm."))

    def state_of(self, rows: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> Any:
        """The state whose rows and numbers a snapshot has."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in rows.items()}
        return with_leaves(self.start(torch.empty(0, 1)), {**tensors, **numbers})

    def start(self, x0: torch.Tensor) -> Any:
        """The state before the first round; AlgorithmError if it lacks models or shared fields."""
        start = self.algorithm.traits["start"]
        more = (self.params,) if _takes_params(start) else ()
        state = guarded(self.algorithm, start, x0, *more)
        for field in self.algorithm.traits["shared"]:
            if not hasattr(state, field):
                raise AlgorithmError(
                    f"{self.algorithm.name}: shared must be names of its state's fields, got "
                    f"{field!r}"
                )
        with suppress(AttributeError):
            if self.model(state).shape == x0.shape:
                if not self.algorithm.is_ours and (wrong := wrong_leaf(state, len(x0))):
                    raise AlgorithmError(f"{self.algorithm.name}, start: {wrong}")
                return state
        raise AlgorithmError(
            f"{self.algorithm.name}: start must return a state whose x is [clients, params], "
            "or say @algorithm(model=...)"
        )

    def model(self, state: Any) -> torch.Tensor:
        """[clients, params]: the models, of which push-sum, say, keeps only a scaled form."""
        return self.algorithm.traits["model"](state)

    def play(
        self,
        state: Any,
        grad: Callable[..., Any],
        round: int,
        clients: range,
        lengths: Lengths | None = None,
    ) -> Call:
        """One round, with this round's step size, led by the control, see `Controller.lead`."""
        return self.led(self.alone(state, grad, round, clients), round, lengths)

    def alone(self, state: Any, grad: Callable[..., Any], round: int, clients: range) -> Call:
        """One round as the algorithm plays it by itself."""
        grad, watch = watched(self.algorithm, grad, round)
        own = self._own(state, grad, round, clients)
        return Call.of(self.algorithm, own, len(clients), watch, state)

    @property
    def is_led(self) -> bool:
        """Whether somebody else answers some of the algorithm's requests."""
        return bool(self.personal or self.control)

    @property
    def measures_gradients(self) -> bool:
        """Whether somebody asks how long gradients are."""
        return self.control is not None and self.control.of_gradient

    def led(self, call: Call, round: int, lengths: Lengths | None = None) -> Call:
        """A round, led by consensus control and by what is personal."""
        if self.personal:
            call.requests = self.personal.lead(call.requests)
        if self.control:
            push_sum = "column-stochastic" in self.needs
            call.requests = self.control.lead(call.requests, round, push_sum, lengths)
        return call

    def _own(self, state: Any, grad: Callable[..., Any], round: int, clients: range) -> Any:
        """What the algorithm's function returns: a generator, if it keeps the rules."""
        lr = self.lr(round)
        if lr != self.params.lr:
            self.params = dataclasses.replace(self.params, lr=lr)
        traits, more = self.algorithm.traits, list[Any]()

        def draw(purpose: str, size: int) -> torch.Tensor:
            rows = [rng(self.seed, purpose, client, round).random(size) for client in clients]
            return torch.from_numpy(np.stack(rows) if rows else np.empty((0, size)))

        if traits["draws"]:
            more.append(draw)
        if traits["shapes"](self.params):
            # Unless somebody says more, a row is one vector.
            row = [("x", (self.model(state).shape[1],))]
            more.append(Parameter.in_order(self.shapes or row))
        return guarded(self.algorithm, self.algorithm.build, state, grad, self.params, *more)


def _takes_params(start: Callable[..., Any]) -> bool:
    """Whether it wants the algorithm's parameters, too: behind x0, without a default."""
    try:
        known = inspect.signature(start).parameters.values()
    except (TypeError, ValueError):  # built in
        return False
    taken = [p for p in known if p.kind <= p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    return len(taken) > 1
