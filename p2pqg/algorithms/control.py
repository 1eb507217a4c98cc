"""Consensus control: Kong, Lin, Koloskova, Jaggi, Stich, ICML 2021, arXiv:2102.04828.

The consensus distance is what separates decentralized from centralized training: below a critical
value there is no difference, and it matters most in the first phase. The controller leads any
gossip algorithm: within a round it repeats the exchange, with the same W, until the distance of
what is mixed falls below a target. target = infinity is the algorithm itself. Distances are squared
here, as everywhere in p2pqg: mean_i ||x_i - mean x||^2 is the paper's Xi^2, so half of its Xi is a
quarter of this. Of push-sum methods, which mix a scaled model and a weight, the quotient of the two
is measured. What a method gossips by itself beside its models, such as gradients, goes out once, as
without control. What a method does with what was mixed comes afterwards: with `lazy` half of the
model before is added, so that models stay half as far apart as that, whatever the target is.

The critical distance falls with the gradient, so a target may be a share of it (`of: gradient`):
that is the paper's advice for practice, which needs no run without control to know the distances.
There the norm is averaged over rounds; here over the clients in this round, and nothing is kept.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Annotated, Any, Literal

from p2pqg.algorithms.effects import AllReduce, Decide, Effect, Gossip, led
from p2pqg.base.ranges import broken

Target = float | Literal["free", "exact"]

Model = Callable[[tuple[Any, ...]], Any]
"""What is mixed together -> [clients, params], the models in it."""

Lengths = Callable[[], Any]
"""-> [clients], ||g||^2 of each client's last gradient."""


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """The keys of `consensus:` in a recipe."""

    targets: tuple[Target, ...] = ()
    """For each phase: a number (times the reference: the largest consensus distance), "free" (plain
    gossip), or "exact" (all-reduce instead of gossip). Empty: no control."""
    phases: tuple[float, ...] = ()
    """Where one phase ends and the next begins, as rising fractions of the run in (0, 1)."""
    reference: tuple[float, ...] = (1.0,)
    """What the targets are fractions of, for each phase or one for all; 1: targets are absolute.
    In the paper: the distance of the uncontrolled algorithm in that phase."""
    of: Literal["reference", "gradient"] = "reference"
    """What targets are fractions of. gradient: mean_i ||g_i||^2, where g_i is the last gradient
    that client i has computed in this round."""
    measure: Literal["distance", "exchange"] = "distance"
    """distance: the exact one, mean_i ||x_i - mean x||^2 of what was mixed (where a method is
    `lazy`, models are further apart), which the simulation sees for free.
    exchange: mean_i ||(W x)_i - x_i||^2, what clients can know: one number each is all-reduced, and
    one more for the gradient where targets are of it."""
    max_exchanges: Annotated[int, ">= 1"] = 10
    """In one round, >= 1."""

    def problems(self) -> Iterator[str]:
        num_phases = len(self.phases) + 1
        if not self.targets and (self.phases or self.reference != (1.0,)):
            yield broken(
                "consensus.phases and reference do nothing without consensus.targets; add targets",
                "phases",
                "reference",
                "targets",
            )
        if self.of == "gradient" and (not self.targets or self.reference != (1.0,)):
            yield broken(
                "consensus.of: gradient needs targets and no reference; set targets alone",
                "of",
                "reference",
                "targets",
            )
        if self.targets and len(self.targets) != num_phases:
            yield broken(
                f"consensus.targets must be one for each phase ({num_phases}), "
                f"got {len(self.targets)}",
                "targets",
                "phases",
            )
        if any(not isinstance(t, str) and not t > 0 for t in self.targets):
            yield f"consensus.targets must be > 0, free or exact, got {list(self.targets)}"
        if list(self.phases) != sorted(set(self.phases)) or not all(0 < p < 1 for p in self.phases):
            yield f"consensus.phases must be rising fractions in (0, 1), got {list(self.phases)}"
        if len(self.reference) not in (1, num_phases) or not all(r > 0 for r in self.reference):
            yield (
                f"consensus.reference must be one number > 0, or one for each phase "
                f"({num_phases}), got {list(self.reference)}"
            )


@dataclass(frozen=True)
class Controller:
    """Leads rounds.

    Attributes:
        borders: rounds at which the next phase begins.
        targets: for each phase, the largest distance, "free" or "exact".
    """

    borders: tuple[int, ...]
    targets: tuple[Target, ...]
    measure: str
    max_exchanges: int
    of_gradient: bool = False

    @classmethod
    def of(cls, settings: Consensus, num_rounds: int) -> Controller | None:
        """The controller of a run, or None where nothing is controlled."""
        if not settings.targets:
            return None
        scale = settings.reference * (len(settings.targets) if len(settings.reference) == 1 else 1)
        return cls(
            borders=tuple(round(share * num_rounds) for share in settings.phases),
            targets=tuple(
                target if isinstance(target, str) else target * unit
                for target, unit in zip(settings.targets, scale, strict=True)
            ),
            measure=settings.measure,
            max_exchanges=settings.max_exchanges,
            of_gradient=settings.of == "gradient",
        )

    @property
    def repeats(self) -> bool:
        """Exchanges may be repeated in some phase."""
        return self.max_exchanges > 1 and any(
            not isinstance(t, str) and t < inf for t in self.targets
        )

    def lead(
        self,
        call: Generator[Any, Any, Any],
        round: int,
        push_sum: bool = False,
        lengths: Lengths | None = None,
    ) -> Generator[Any, Any, Any]:
        """One round of an algorithm, its gossip repeated or replaced as the phase wants it.

        Args:
            call: the round.
            round: its number.
            push_sum: the first tensor that is mixed is a model times the second, its weight.
            lengths: of the gradients, where targets are fractions of them.
        """
        target = self.targets[bisect(self.borders, round)]
        model = _quotient if push_sum else _first
        return led(call, partial(self._answer, target, model, lengths))

    def _answer(
        self, target: Target, model: Model, lengths: Lengths | None, effect: Effect
    ) -> Generator[Any, Any, Any]:
        if target in ("free", inf) or not isinstance(effect, Gossip):
            return (yield effect)
        if target == "exact":
            return (yield AllReduce(effect.tensors))
        if not effect.models:
            return (yield effect)
        assert not isinstance(target, str)
        if self.of_gradient and self.max_exchanges > 1:
            assert lengths is not None
            length: float = yield Decide(lengths(), free=self.measure == "distance")
            target = target * length
        return (yield from self._repeat(effect, target, model))

    def _repeat(self, effect: Gossip, target: float, model: Model) -> Generator[Any, Any, Any]:
        for count in range(1, self.max_exchanges + 1):
            before = model(effect.tensors)
            reply = yield effect
            mixed = reply if isinstance(reply, tuple) else (reply,)
            if count == self.max_exchanges:
                break
            if (yield from self._distance(before, model(mixed))) <= target:
                break
            effect = replace(effect, tensors=mixed)
        return reply

    def _distance(self, before: Any, after: Any) -> Generator[Any, Any, float]:
        if self.measure == "exchange":
            return (yield Decide((after - before).square().sum(1)))
        mean = yield AllReduce((after,), free=True)
        return (yield Decide((after - mean).square().sum(1), free=True))


def _first(mixed: tuple[Any, ...]) -> Any:
    return mixed[0]


def _quotient(mixed: tuple[Any, ...]) -> Any:
    return mixed[0] / mixed[1]
