"""A rule: an algorithm with its parameters; and what it will ask of the network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from p2pqg.algorithms.attacks import ATTACKS
from p2pqg.algorithms.control import Controller, Lengths
from p2pqg.algorithms.effects import (
    Decide,
    Effect,
    Exchange,
    Gossip,
    Neighbors,
    Parameter,
    Peers,
)
from p2pqg.algorithms.gossip_rules import GossipRule, find_rule
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.config import plain, read
from p2pqg.base.errors import AlgorithmError, ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.engine.call import ON_NO_CLIENTS, Ask, Call, guarded
from p2pqg.engine.inboxes import check_inboxes
from p2pqg.engine.personal import Personal
from p2pqg.engine.snapshot import with_leaves
from p2pqg.engine.traffic import Traffic, computed, weighed
from p2pqg.engine.waves.routing import check_clock, check_troubles
from p2pqg.network import Network, Timing
from p2pqg.network.changes import rounds_of
from p2pqg.topology import PINNED, Schedule
from p2pqg.topology.checks import TOLERANCE

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of the tensors that a row is made of, in order."""

ROUNDS_TRIED = 2000
"""Rounds that are looked at to see whether an algorithm asks the same in all, and if it gossips."""


class Asks(NamedTuple):
    """What an algorithm asks of the network.

    Attributes:
        gossips: it gossips models.
        exchanges: before that, or instead, it sends every neighbor a message of its own.
        before_steps: the models that it gossips first are those that it started with.
    """

    gossips: bool
    exchanges: bool
    before_steps: bool


class Rule:
    """An algorithm with its parameters: what every block and the driver's scout run alike."""

    def __init__(
        self,
        algorithm: Entry,
        params: Any,
        lr: Callable[[int], float],
        seed: int,
        control: Controller | None = None,
        shapes: Shapes = (),
        gossip_rule: GossipRule | None = None,
        num_rounds: int = 0,
        personal: Personal | None = None,
    ) -> None:
        """Say what is run.

        Args:
            algorithm: registered.
            params: of its class; lr is that of the round before.
            lr: round -> step size.
            seed: of what the algorithm draws.
            control: consensus control.
            shapes: what a row is made of.
            gossip_rule: what a receiver makes of its inbox; None: the weighted sum.
            num_rounds: of the run, for what changes as it goes on; 0: nobody knows.
            personal: what never leaves its client.

        Raises:
            ConfigError: they do not go together.
        """
        self.algorithm = algorithm
        self.params = params
        self.lr = lr
        self.seed = seed
        self.control = control
        self.shapes = shapes
        self.gossip_rule = gossip_rule
        self.num_rounds = num_rounds
        self.personal = personal
        if control is not None:
            self._check_that_it_gossips_models("consensus")
        if gossip_rule is not None:
            self._check_that_it_gossips_models("rule")

    def _check_that_it_gossips_models(self, what: str) -> None:
        needs, name = self.algorithm.traits["needs"](self.params), self.algorithm.name
        if self.algorithm.traits.get("asynchronous"):
            reason = "has no rounds in which all exchange, but clients that do not wait"
        elif self.algorithm.traits["centralized"]:
            reason = "does not gossip"
        elif {"static", "tree"} & set(needs):
            reason = "sends what neighbors remember, which must not be sent twice"
            if what == "rule":
                reason = "sends what neighbors remember: all or nothing of it must arrive"
        elif "teleportation" in needs:
            reason = "fetches models of others, and has none of its own to compare them with"
        elif "ceca" in needs:
            reason = "hears of one client a round, and counts on every word of it"
        elif what == "rule" and "column-stochastic" in needs:
            reason = "is push-sum: only sums keep the weights that travel with the models"
        elif not self.asks.gossips:
            reason = "sends every neighbor a message of its own"
            if not self.asks.exchanges:
                reason = f"does not gossip in its first {ROUNDS_TRIED:,} rounds"
        else:
            return
        raise ConfigError(
            f"{what} does not go with {name}, which {reason}; "
            f"leave {what} out or take an algorithm that gossips models, such as dsgdm-n"
        )

    @property
    def parts(self) -> tuple[Entry, ...]:
        """What it is made of: where that is a user's code, it must travel with it."""
        return (self.algorithm, *([self.gossip_rule.entry] if self.gossip_rule else []))

    def over(self, round: int) -> float:
        """Share of the run that is over when a round begins, in [0, 1]; 0: nobody knows."""
        return min(1.0, round / self.num_rounds) if self.num_rounds else 0.0

    def with_changes(self, **changes: Any) -> Rule:
        """Another rule that differs in `params`, `lr`, ..."""
        mine = ("algorithm", "params", "lr", "seed", "control", "shapes", "gossip_rule")
        kept = {name: getattr(self, name) for name in (*mine, "num_rounds", "personal")}
        return Rule(**kept | changes)

    def with_gossip_rule(self, rule: Any) -> Rule:
        """Another rule with this rule of gossip, see `find_rule`; None: the weighted sum.

        Raises:
            ConfigError: unknown, or it does not go with the algorithm.
        """
        return self.with_changes(gossip_rule=None if rule is None else find_rule(rule))

    def with_lr(self, lr: float) -> Rule:
        """Another rule with this step size: no warm-up, no milestones.

        Raises:
            ConfigError: it is not > 0.
        """
        if isinstance(lr, bool) or not isinstance(lr, int | float) or not 0 < lr < math.inf:
            raise ConfigError(f"lr must be > 0, got {lr}")
        return self.with_changes(lr=LearningRate(float(lr)))

    def with_params(self, **params: Any) -> Rule:
        """Another rule with other parameters of the algorithm; those not named stay.

        Raises:
            ConfigError: unknown, out of range, or lr; or what the clients carry depends on it.
        """
        if "lr" in params:
            raise ConfigError("algorithm.lr cannot be set here; use set_lr")
        for name in self.algorithm.traits["fixed"]:
            if name in params and params[name] != getattr(self.params, name):
                raise ConfigError(
                    f"algorithm.{name} of {self.algorithm.name} cannot change in a live run: what "
                    "its clients carry from round to round is made for it; set it from the start"
                )
        given = plain(self.params) | params
        changed, problems = read(self.algorithm.params, given, "algorithm.")
        if problems:
            raise ConfigError.of(problems)
        return self.with_changes(params=changed)

    def check_network(self, network: Network, moved: bool = False) -> list[str]:
        """Whether the algorithm can work on a network.

        Args:
            network: as it is to be.
            moved: it was another one in earlier rounds.

        Returns:
            What should be known about it, a line each.

        Raises:
            ConfigError: it cannot.
        """
        if self.algorithm.traits["centralized"]:
            self.check_attacks(network)
            return self._check_all_reduced(network, moved)
        if self.algorithm.traits.get("asynchronous"):
            timed = isinstance(network.timing, Timing)
            (check_clock if timed else check_troubles)(self.algorithm.name, network)
        needs = self.algorithm.traits["needs"](self.params)
        if moved and PINNED & set(needs):
            reason = "keeps a memory of every neighbor"
            if {"ceca", "teleportation"} & set(needs):
                reason = "counts on every message of the network that is made for it"
            raise ConfigError(
                f"{self.algorithm.name} {reason}: its network cannot change after the first round; "
                "take another algorithm"
            )
        if self.gossip_rule is not None:
            check_inboxes(self.gossip_rule, network)
        self.check_attacks(network)
        self.check_repeats(network.schedule)
        waits = not self.algorithm.traits.get("asynchronous")
        return network.check_needs(needs, self.algorithm.name, waits)

    def _check_all_reduced(self, network: Network, moved: bool) -> list[str]:
        """Whether a centralized method works with a network, of which it only wants the clients."""
        name, idle = self.algorithm.name, [key for key in network.drawn if key != "participation"]
        memory = "static" in self.algorithm.traits["needs"](self.params)
        if memory and (moved or "participation" in network.drawn):
            what = "participation would leave some out"
            if moved:
                what = "its network cannot change after the first round"
            raise ConfigError(
                f"{name} counts on all that it was told by each client, in every round: {what}; "
                "take another algorithm, such as sgd"
            )
        idle += ["noise"] * bool(network.impairments.noise) + ["cut links"] * bool(network.cut)
        told = []
        if idle:
            told.append(
                f"{name} all-reduces, exactly and past the links: nothing changes by "
                f"{', '.join(idle)}"
            )
        if not self.algorithm.traits["shared"] and (
            "participation" in network.drawn or network.absent
        ):
            told.append(
                f"{name} does not say what its clients share: who sits out, or comes back, stays "
                'behind for good; say @algorithm(shared=("x",))'
            )
        return told

    def check_repeats(self, schedule: Schedule) -> None:
        """Whether W repeated averages, where consensus control repeats it; ConfigError if not."""
        if self.control is None or not self.control.repeats:
            return
        for W in rounds_of(schedule):
            off = np.abs(W.row_sums() - 1)
            if off.max() > TOLERANCE:
                client = int(off.argmax())
                raise ConfigError(
                    f"consensus does not go with {schedule.name!r}: it repeats exchanges, and "
                    f"W repeated does not average where row {client} sums to "
                    f"{W.row_sums()[client]:.4g} instead of 1; leave consensus out or take an "
                    "undirected network"
                )

    def check_attacks(self, network: Network) -> None:
        """Whether liars can lie so to this algorithm; ConfigError if not."""
        needs, name = self.algorithm.traits["needs"](self.params), self.algorithm.name
        for attack in network.attacks:
            how = attack.lie
            if self.algorithm.traits.get("asynchronous"):
                raise ConfigError(
                    f"attacks do not go with {name}, whose clients do not wait for each other; "
                    "leave them out or take another, such as dsgdm-n"
                )
            if self.algorithm.traits["centralized"]:
                reason = "all-reduces"
            elif {"static", "tree"} & set(needs):
                reason = "sends what neighbors remember, not models"
            elif how.name == "free-rider" and "column-stochastic" in needs:
                reason = "sends a scaled model"
            elif self.asks.exchanges and not self.asks.gossips:
                reason = "sends every neighbor a message of its own"
            elif how.name == "free-rider" and self.asks.before_steps:
                reason = "sends models as they are before the steps of a round"
            else:
                continue
            if not how.entry.traits["anywhere"]:
                others = ", ".join(n for n, e in ATTACKS.items() if e.traits["anywhere"])
                raise ConfigError(
                    f"attack {how.name} does not go with {name}, which {reason}; take one of "
                    f"{others}, or an algorithm that gossips models, such as dsgdm-n"
                )

    @cached_property
    def asks(self) -> Asks:
        """What it asks of the network up to its first gossip of models, as far as can be told."""
        width = sum(math.prod(shape) for _, shape in self.shapes) or 1
        alone = self.with_changes(control=None, gossip_rule=None)
        exchanges = False
        try:
            state = alone.start(torch.empty(0, width))
            model, reply = alone.model(state), None
            trip = itinerary(alone, state, 0, ROUNDS_TRIED)
            while True:
                _, effect = trip.send(reply)
                if isinstance(effect, Gossip) and effect.models:
                    return Asks(True, exchanges, effect.tensors[0] is model)
                exchanges |= isinstance(effect, Exchange)
                reply = 0.0 if isinstance(effect, Decide) else None
        except StopIteration:
            return Asks(False, exchanges, False)
        except AlgorithmError:  # a mistake is told by the run itself
            return Asks(True, exchanges, False)

    @cached_property
    def is_steady(self) -> bool:
        """Every round but the first makes the same exchanges, as far as ROUNDS_TRIED tell."""
        if self.control is not None:
            return False
        width = sum(math.prod(shape) for _, shape in self.shapes) or 1
        rounds = self.scouted(torch.empty(0, width), ROUNDS_TRIED)
        next(rounds)
        return len(set(rounds)) <= 1

    def traffic(self, num_params: int, dtype: torch.dtype) -> Traffic:
        """What the first round will take, worked out beforehand."""
        plain = self.with_changes(control=None)
        return next(plain.scouted(torch.empty(0, num_params, dtype=dtype), 1))

    def scouted(self, nobody: torch.Tensor, rounds: int) -> Iterator[Traffic]:
        """What each of the first rounds will take; `nobody` has rows [0, params]."""
        state = self.start(nobody)
        for round in range(rounds):
            taken: list[tuple[str, float]] = []
            trip = itinerary(self, state, round, round + 1, taken)
            try:
                while True:
                    _, effect = next(trip)
                    if effect.tensors:
                        taken.append(weighed(effect))
            except StopIteration as end:
                state = end.value
            yield tuple(taken)

    def state_of(self, rows: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> Any:
        """The state whose rows and numbers a snapshot has."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in rows.items()}
        return with_leaves(self.start(torch.empty(0, 1)), {**tensors, **numbers})

    def start(self, x0: torch.Tensor) -> Any:
        """The state before the first round; AlgorithmError if it lacks models or shared fields."""
        state = guarded(self.algorithm, self.algorithm.traits["start"], x0)
        for field in self.algorithm.traits["shared"]:
            if not hasattr(state, field):
                raise AlgorithmError(
                    f"{self.algorithm.name}: shared names {field!r}, which its state does not have"
                )
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
        return Call.of(self.algorithm, self._own(state, grad, round, clients), len(clients))

    @property
    def is_led(self) -> bool:
        """Whether somebody else answers some of the algorithm's requests."""
        return bool(self.personal or self.control)

    @property
    def measures_gradients(self) -> bool:
        """Whether somebody asks how long gradients are."""
        return self.control is not None and self.control.of_gradient

    def led(self, call: Call, round: int, lengths: Lengths | None = None) -> Call:
        """The same round, led by those that lead."""
        if self.personal:
            call.requests = self.personal.lead(call.requests)
        if self.control:
            push_sum = "column-stochastic" in self.algorithm.traits["needs"](self.params)
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


def batches_per_round(algorithm: Entry, params: Any) -> int:
    """Batches that each client draws in a round: what `local_steps` says, else what it asks for."""
    if hasattr(params, "local_steps"):
        return params.local_steps
    if algorithm.build.__module__.startswith("p2pqg."):
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


def itinerary(
    rule: Rule,
    state: Any,
    first: int,
    until: int,
    taken: list[tuple[str, float]] | None = None,
) -> Generator[tuple[Ask, Effect], float | None, Any]:
    """What rounds first .. until - 1 will ask of the network, in order.

    Runs the rule on a block of no clients: the same code on empty rows asks the same, for free,
    since what an algorithm asks must not depend on values (see `p2pqg.algorithms.effects`).
    `state` has zero rows; the state after the last round is the generator's return value. After a
    `Decide` it must be sent the number that the clients came to. Gradients are put down in `taken`.
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
                effect = call.send(decided if asked else _echo(effect))
        except StopIteration as end:
            state = end.value
        except AlgorithmError as error:
            raise AlgorithmError(f"{error} (on zero rows, [0, params]: {ON_NO_CLIENTS})") from error
    return state


def _echo(effect: Effect) -> Any:
    """What a block of no clients is answered."""
    if isinstance(effect, Neighbors):
        nobody = torch.empty(0, 1, dtype=torch.int64)
        return Peers(nobody, nobody, torch.empty(0, 1), torch.empty(0, dtype=torch.int64))
    return bare(effect.tensors)


def bare(tensors: tuple[torch.Tensor, ...]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """The reply to a request: a tensor where one was sent, else a tuple of them."""
    return tensors[0] if len(tensors) == 1 else tensors
