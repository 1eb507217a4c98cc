"""Rules of gossip: what a receiver makes of its inbox where it need not trust everybody.

Without a rule it is the weighted sum, x_i <- sum_j W[i, j] x_j. There are three kinds of rules:

    weights   other weights, from how far the messages are from the receiver's own row and from
              each other: x_i <- x_i + sum_j c[i, j] (x_j - x_i)                  (`weighing`)
    trimmed   in every entry the largest and smallest values are left out, the mean of the others
              is taken; all weights are equal, the own value is one of them       (`trimming`)
    own       a user's function (own [params], inbox [slots, params], weights [slots]) -> [params],
              for one client; it is vectorised

Where weights are sought, a message that is not finite is not there, and an own model that is not
stays so; where values are trimmed, what is not a number is the largest. Where f is the number of
liars that a receiver reckons with among its neighbors, networks with too few neighbors are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, F, NoParams, Registry
from p2pqg.base.signature import check_takes
from p2pqg.base.user_code import Chosen

GOSSIP_RULES = Registry("rule")
"""Traits: `kind`, see above; `least`, params -> messages that it takes, at least; `timed`, it wants
to know how much of the run is over; `lengths`, it wants the length of the own row; `between`, how
the messages lie to each other; `strict`, more than f liars among a receiver's neighbors can lead
it anywhere."""


@dataclass(frozen=True, eq=False)
class Slots:
    """Where k clients received something; what follows from it is found once.

    Attributes:
        weights: [k, slots], of W; 0 where the slot is empty.
        there: bool [k, slots], there is a message, and it is finite.
    """

    weights: torch.Tensor
    there: torch.Tensor

    @cached_property
    def absent(self) -> torch.Tensor:
        """Bool [k, slots]."""
        return ~self.there

    @cached_property
    def all_absent(self) -> torch.Tensor:
        """Bool [k, 1 + slots]: the own row, which is there, comes first."""
        return torch.nn.functional.pad(self.absent, (1, 0))

    @cached_property
    def all_weights(self) -> torch.Tensor:
        """[k, 1 + slots]: they sum to 1; the first is what W leaves to the own row."""
        return torch.cat([1 - self.weights.sum(1, keepdim=True), self.weights], 1)

    @cached_property
    def counts(self) -> torch.Tensor:
        """int64 [k]: models, the own one among them."""
        return 1 + self.there.sum(1)


class Inbox(NamedTuple):
    """What k clients received, as far as a rule that weighs it wants to know.

    Attributes:
        squares: [k, slots], |x_j - x_i|^2; perhaps less than 0 by rounding.
        products: [k, 1 + slots, 1 + slots], inner products of the own row and the messages, all
            less some row that they have in common; symmetric but for rounding; None unless asked
            for, and then `squares` is None.
        slots: where there is a message, and its weight; not to be written to.
        length: [k], of the own row; not a number unless asked for.
        over: share of the run that is over, in [0, 1].
    """

    squares: torch.Tensor | None
    products: torch.Tensor | None
    slots: Slots
    length: torch.Tensor
    over: float

    @property
    def apart(self) -> torch.Tensor:
        """[k, slots]: |x_j - x_i|^2; 0 where nothing is."""
        assert self.squares is not None
        return self.squares.clamp(min=0).masked_fill_(self.slots.absent, 0)

    @property
    def distances(self) -> torch.Tensor:
        """[k, slots]: |x_j - x_i|; inf where nothing is."""
        assert self.squares is not None
        return self.squares.clamp(min=0).sqrt_().masked_fill_(self.slots.absent, math.inf)

    @property
    def between(self) -> torch.Tensor:
        """The inner products, of a rule that says `between`."""
        assert self.products is not None
        return self.products


class GossipRule(Chosen):
    """A rule with its parameters."""

    registry = GOSSIP_RULES

    @property
    def least(self) -> int:
        """Messages that a receiver must get, if it gets any."""
        return self.entry.traits["least"](self.params)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from other rules, for as long as it lives: objects may have no hash."""
        return id(self.entry.build), self.params


def weighing(name: str, *, params: type, source: str, **traits: Any) -> Callable[[F], F]:
    """File `(inbox, params) -> [k, slots]`, the coefficients of the differences, as a rule."""
    return GOSSIP_RULES.register(name, params=params, source=source, kind="weights", **traits)


def trimming(name: str, *, params: type, source: str, **traits: Any) -> Callable[[F], F]:
    """File `(num_values, params) -> values to leave out at either end` as a rule."""
    return GOSSIP_RULES.register(name, params=params, source=source, kind="trimmed", **traits)


@dataclass(frozen=True, kw_only=True)
class Liars:
    """Params of a rule that reckons with a number of liars."""

    f: Annotated[int, ">= 0"] = 1
    """Liars among a receiver's neighbors that it reckons with, >= 0."""


@dataclass(frozen=True, kw_only=True)
class ClippedParams(Liars):
    tau: float | Literal["adaptive", "second"] = "adaptive"
    """Largest length of a difference. adaptive: where the error by clipping good messages equals
    what the f farthest can do, see `clipped`; second: the second-largest distance, the default of
    the authors' code; a number > 0: itself, inf is plain gossip."""

    def problems(self) -> Iterator[str]:
        if not isinstance(self.tau, str) and not self.tau > 0:
            yield f"rule.tau must be > 0, adaptive or second, got {self.tau}"


@weighing(
    "clipped",
    params=ClippedParams,
    source="He, Karimireddy, Jaggi 2022, arXiv:2202.01545, and its code",
    least=lambda p: p.f + 1 if p.tau == "adaptive" else 0,
)
def clipped(inbox: Inbox, p: ClippedParams) -> torch.Tensor:
    """ClippedGossip: differences to the own model are cut to a length.

    With d_j = |x_j - x_i| and S all but the f largest of them, the adaptive length is
    tau_i^2 = sum_{j in S} W[i, j] d_j^2 / sum_{j not in S} W[i, j].
    """
    squares, weights, absent = inbox.apart, inbox.slots.weights, inbox.slots.absent
    if p.tau == "adaptive":
        there = squares.masked_fill(absent, -1)
        farthest = there.topk(min(p.f, there.shape[1]), sorted=False).indices
        doubtful = weights.gather(1, farthest).sum(1, keepdim=True)
        spread = (weights * squares).scatter_(1, farthest, 0).sum(1, keepdim=True)
        limit = spread / doubtful  # without liars nothing is doubtful: inf
    elif p.tau == "second":
        far = squares.masked_fill(absent, -1).sort(1, descending=True).values
        second = far[:, 1:2] if far.shape[1] > 1 else far
        limit = torch.where(second >= 0, second, far[:, :1]).clamp_(min=0)
    else:
        limit = torch.full_like(squares[:, :1], p.tau).square()
    return weights * torch.where(squares > limit, (limit / squares).sqrt_(), 1)


@trimming(
    "trimmed-mean",
    params=Liars,
    source="Yin et al., ICML 2018; with the own model as in code of He et al. 2022",
    least=lambda p: 2 * p.f,
    strict=True,
)
def trimmed_mean(num_values: int, p: Liars) -> int:
    """Coordinate-wise trimmed mean: the f largest and f smallest values are left out."""
    return min(p.f, (num_values - 1) // 2)  # where messages are lost, as many as there can be


@trimming(
    "median",
    params=NoParams,
    source="Yin et al., ICML 2018; with the own model as in code of He et al. 2022",
    least=lambda p: 0,
)
def median(num_values: int, p: NoParams) -> int:
    """Coordinate-wise median; the mean of the two in the middle where their number is even."""
    return (num_values - 1) // 2


@weighing(
    "krum",
    params=Liars,
    source="Blanchard et al., NeurIPS 2017; with the own model as in code of He et al. 2022",
    least=lambda p: 2 * p.f + 2,
    between=True,
    strict=True,
)
def krum(inbox: Inbox, p: Liars) -> torch.Tensor:
    """Krum: the one model, perhaps the own, that is nearest to its n - f - 2 nearest ones.

    Of n models, the own one among them; near is the sum of squared distances.
    """
    products, absent = inbox.between, inbox.slots.all_absent
    lengths = products.diagonal(dim1=1, dim2=2)
    squares = lengths[:, :, None] + lengths[:, None, :]
    squares -= products + products.transpose(1, 2)  # a to b is as b to a
    squares.clamp_(min=0).masked_fill_(absent[:, None, :], math.inf)
    squares.diagonal(dim1=1, dim2=2).fill_(math.inf)
    nearest = squares.sort(2).values.cumsum(2)
    # At least one is near, even where messages are lost.
    last = (inbox.slots.counts - (p.f + 3)).clamp_(min=0)[:, None, None]
    scores = nearest.gather(2, last.expand(-1, squares.shape[1], 1))[..., 0]
    chosen = scores.masked_fill_(absent, math.inf).argmin(1, keepdim=True)  # of equals the first
    return torch.zeros_like(scores).scatter_(1, chosen, 1)[:, 1:]


@weighing(
    "ios",
    params=Liars,
    source="Wu, Chen, Ling, IEEE TSP 2023, and its code",
    least=lambda p: 2 * p.f,
    between=True,
    strict=True,
)
def ios(inbox: Inbox, p: Liars) -> torch.Tensor:
    """Iterative outlier scissor: f times the message farthest from the weighted mean is cut off.

    The mean is that of what is left, with the own model, by the weights of W; the own model stays
    where nothing is left that has a weight.
    """
    products, weights, gone = inbox.between, inbox.slots.all_weights, inbox.slots.absent
    lengths = products.diagonal(dim1=1, dim2=2)[:, :, None]
    for _ in range(min(p.f, gone.shape[1])):
        # |x_j - mean|^2 but for |mean|^2, which all have in common.
        squares = torch.baddbmm(lengths, products, weights[:, :, None], alpha=-2)[:, 1:, 0]
        farthest = squares.masked_fill(gone, -math.inf).argmax(1, keepdim=True)
        gone = gone.scatter(1, farthest, True)
        weights = weights.scatter(1, farthest + 1, 0)
        weights /= weights.sum(1, keepdim=True).clamp_(min=torch.finfo(weights.dtype).tiny)
    return weights[:, 1:]


@dataclass(frozen=True, kw_only=True)
class BalanceParams:
    gamma: float = 0.3
    """Largest distance of a model that is accepted, in lengths of the own one, at first; > 0."""
    kappa: float = 1.0
    """How much smaller it gets: by exp(-kappa) until the end of the run, >= 0."""
    alpha: Annotated[float, "[0, 1]"] = 0.5
    """Weight of the own model, in [0, 1]."""

    def problems(self) -> Iterator[str]:
        if not self.gamma > 0:
            yield f"rule.gamma must be > 0, got {self.gamma}"
        if not self.kappa >= 0:
            yield f"rule.kappa must be >= 0, got {self.kappa}"


@weighing(
    "balance",
    params=BalanceParams,
    source="Fang et al., CCS 2024",
    least=lambda p: 0,
    timed=True,
    lengths=True,
)
def balance(inbox: Inbox, p: BalanceParams) -> torch.Tensor:
    """BALANCE: the mean of the models near enough to the own one, and less near as time goes on.

    |x_j - x_i| <= gamma exp(-kappa t / T) |x_i|; nobody is near enough: the own model stays.
    """
    limit = p.gamma * math.exp(-p.kappa * inbox.over) * inbox.length
    near = (inbox.slots.there & (inbox.distances <= limit[:, None])).to(limit)
    return (1 - p.alpha) * near / near.sum(1, keepdim=True).clamp_(min=1)


def find_rule(given: str | Mapping[str, Any] | Callable[..., Any] | GossipRule) -> GossipRule:
    """The rule that a recipe, keyword or algorithm names.

    Args:
        given: a registered name; a mapping of `name` and parameters; FILE.py:NAME, a function of
            that file; or a function itself.

    Raises:
        ConfigError: no such rule, file or parameter.
    """
    return GossipRule.find(given, _entry_of, such_as="clipped", where="rule.")


def _entry_of(function: Callable[..., Any], name: str) -> Entry:
    """A rule that applies a user's function to each client."""
    check_takes(function, ("own", "inbox", "weights"), f"rule {name}")
    return Entry(name, function, traits={"kind": "own", "least": lambda params: 0})
