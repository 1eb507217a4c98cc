"""Attacks: what a liar sends instead of its own rows. It is, computes and receives as any other.

There are four kinds:

    sent    what it sends, the same to everybody, made of what it would send honestly
    told    what it tells one receiver, made of the rows of that one and of its honest neighbors
    data    what it learns from; it sends what it then has
    own     a user's function of the honest rows of all, W and the round

A lie replaces the model in a message and whatever rows are with it (a momentum, a tracked gradient,
each by itself), not single numbers, such as a push-sum weight. A liar mixes its own honest row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, F, NoParams, Registry
from p2pqg.base.signature import check_takes, parameters
from p2pqg.base.user_code import Chosen

ATTACKS = Registry("attack")
"""Traits: `kind`, see above; `anywhere`, it suits whatever is sent, not only models that are
gossiped; `first`, it is about the first tensor of a message alone, the model."""


class Sent(NamedTuple):
    """What liars would send, and what they may make their lies of.

    Attributes:
        rows: [liars, ...], honestly.
        before: [liars, params], their models before the steps of this round.
        normal: a function of nothing, standard normal numbers like `rows`, keyed by liar and round.
    """

    rows: torch.Tensor
    before: torch.Tensor
    normal: Callable[[], torch.Tensor]


class Target(NamedTuple):
    """k receivers, as a liar sees them.

    Attributes:
        own: [k, params], their own rows.
        good: [k, slots, params], those of their honest neighbors.
        there: [k, slots], 1 where there is one, else 0 (and `good` is the own row).
        weights: [k, slots], of these in W.
        bad: [k], of all liars among their neighbors.
    """

    own: torch.Tensor
    good: torch.Tensor
    there: torch.Tensor
    weights: torch.Tensor
    bad: torch.Tensor


class Lie(Chosen):
    """An attack with its parameters."""

    registry = ATTACKS


def attack(
    name: str,
    kind: str,
    *,
    params: type = NoParams,
    source: str = "",
    anywhere: bool = False,
    first: bool = False,
) -> Callable[[F], F]:
    """File a function of its kind as an attack: (Sent, params), or (Target, params) -> rows."""
    traits = {"kind": kind, "anywhere": anywhere, "first": first}
    return ATTACKS.register(name, params=params, source=source, **traits)


# Sent to everybody


@attack("sign-flip", "sent", source="bit flipping in code of He et al. 2022", anywhere=True)
def sign_flip(sent: Sent, p: NoParams) -> torch.Tensor:
    """The opposite of what it has."""
    return -sent.rows


@dataclass(frozen=True, kw_only=True)
class NoiseParams:
    sigma: Annotated[float, "> 0"] = 1.0
    """Standard deviation, > 0."""


@attack("noise", "sent", params=NoiseParams, source="Gaussian noise", anywhere=True)
def noise(sent: Sent, p: NoiseParams) -> torch.Tensor:
    """What it has, and normal noise."""
    return sent.rows + p.sigma * sent.normal()


@dataclass(frozen=True, kw_only=True)
class ScaleParams:
    factor: float = 10.0
    """What all that it sends is multiplied by; 1: no lie, -1: sign-flip."""


@attack("scale", "sent", params=ScaleParams, source="boosting", anywhere=True)
def scale(sent: Sent, p: ScaleParams) -> torch.Tensor:
    """What it has, times the factor."""
    return p.factor * sent.rows


@dataclass(frozen=True, kw_only=True)
class FreeRiderParams:
    sigma: Annotated[float, ">= 0"] = 0.0
    """Standard deviation of noise that disguises it, >= 0. 0: plain."""


@attack(
    "free-rider", "sent", params=FreeRiderParams, source="Fraboni et al., AISTATS 2021", first=True
)
def free_rider(sent: Sent, p: FreeRiderParams) -> torch.Tensor:
    """The model that it had before its own steps, as if it had taken none."""
    return sent.before + (p.sigma * sent.normal() if p.sigma else 0)


# Told to one receiver


def _moments(t: Target) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the receiver's and its honest neighbors' rows, entrywise."""
    there = t.there[:, :, None]
    count = 1 + there.sum(1)
    mean = (t.own + (there * t.good).sum(1)) / count
    squares = (t.own - mean).square() + (there * (t.good - mean[:, None]).square()).sum(1)
    return mean, (squares / (count - 1).clamp(min=1)).sqrt()


@dataclass(frozen=True, kw_only=True)
class AlieParams:
    z: float = 1.5
    """Standard deviations from the mean. Of n clients with m liars the paper, and the code of He et
    al. unless told otherwise, take the normal quantile of (n - m - s) / (n - m) with
    s = floor(n / 2 + 1) - m."""


@attack("alie", "told", params=AlieParams, source="Baruch et al., NeurIPS 2019; code of He et al.")
def alie(target: Target, p: AlieParams) -> torch.Tensor:
    """A little is enough: the honest mean less z standard deviations, of what the receiver sees."""
    mean, deviation = _moments(target)
    return mean - p.z * deviation


@dataclass(frozen=True, kw_only=True)
class EpsilonParams:
    epsilon: Annotated[float, "> 0"] = 0.1
    """How strong, > 0."""


@attack("ipm", "told", params=EpsilonParams, source="Xie et al., UAI 2020; code of He et al.")
def ipm(target: Target, p: EpsilonParams) -> torch.Tensor:
    """Inner-product manipulation: -epsilon times the honest mean of what the receiver sees."""
    return -p.epsilon * _moments(target)[0]


@dataclass(frozen=True, kw_only=True)
class DissensusParams(EpsilonParams):
    epsilon: float = 1.5
    """How strong, > 0. 1: what plain gossip with honest neighbors does is undone."""


@attack("dissensus", "told", params=DissensusParams, source="He et al. 2022, and its code")
def dissensus(target: Target, p: DissensusParams) -> torch.Tensor:
    """Away from agreement: x_i - epsilon sum_good W[i, j] (x_j - x_i) / sum_bad W[i, k]."""
    apart = target.good - target.own[:, None]  # 0 where nobody is
    pull = (target.weights[:, None] @ apart)[:, 0]
    return target.own - p.epsilon * pull / target.bad[:, None]


# Learned from


@attack("label-flip", "data", source="code of He et al. 2022", anywhere=True)
def label_flip(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """It learns that class c is class C - 1 - c, and sends what comes of it."""
    return num_classes - 1 - labels


def find_attack(given: str | Mapping[str, Any] | Callable[..., Any] | Lie) -> Lie:
    """The attack that a recipe or keyword names.

    Args:
        given: a registered name; a mapping of `name` and parameters; FILE.py:NAME; or a function
            (honest [clients, params], W [clients, clients], round) -> rows: [params], sent by all
            liars to everybody; [liars, params]; or [liars, clients, params], what each tells whom.
            With a fourth argument it is told who lies, int64 [liars].

    Raises:
        ConfigError: no such attack, file or parameter.
    """
    return Lie.find(given, _entry_of, such_as="sign-flip", where="attack NAME: ")


def _entry_of(function: Callable[..., Any], name: str) -> Entry:
    """An attack by a user's function."""
    more = ("liars",) if len(parameters(function)) > 3 else ()
    check_takes(function, ("honest", "W", "round", *more), f"attack {name}")
    return Entry(name, function, traits={"kind": "own", "anywhere": False})
