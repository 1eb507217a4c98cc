"""The keys of a recipe as keywords of `p2pqg.run`: what an editor offers and a type checker checks.

Types and sentences are those of `RunConfig`; a test keeps them together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, signature
from typing import Any, Literal, TypeVar

from typing_extensions import TypedDict

from p2pqg.recipe.settings import Part, RunConfig

F = TypeVar("F", bound=Callable[..., Any])

Own = Callable[..., Any]
"""A user's own function, class or module, where a recipe has a name; see `p2pqg.recipe.own`."""


class Restart(TypedDict, total=False):
    """What may differ when a run goes on, see `p2pqg.recipe.keys.RESTART`."""

    epochs: float | None
    rounds: int | None
    out: str
    name: str | None
    data_dir: str | None
    device: Literal["auto", "cpu", "cuda"]
    engine: Literal["ray", "local"]
    clients_per_actor: int | Literal["auto"]
    transport: Literal["object-store", "direct"]
    address: str | None
    checkpoint_every: float
    max_restarts: int
    profile: bool


class Settings(Restart, total=False):
    """The keys of a recipe. `p2pqg.run` says what they mean; their defaults are in `RunConfig`."""

    topology: str
    clients: int | None
    alpha: float | None
    partition: Part | None
    algorithm: Part | None
    dataset: Part | None
    model: Part | Own | None
    loss: Part | Own | None
    metrics: (
        list[str]
        | dict[str, str]
        | list[Own]
        | list[str | Own]
        | dict[str, Own]
        | dict[str, str | Own]
        | Own
    )
    test: Literal["common", "own"]
    validation: float
    personal: list[str]
    stop: Mapping[str, Any]
    callbacks: list[str] | list[Any]
    batch_size: int
    lr: float | Own
    lr_schedule: Mapping[str, Any]
    momentum: float | None
    consensus: Mapping[str, Any]
    rule: Part | None
    weight_decay: float
    seed: int
    precision: Literal["float32", "bf16", "fp16", "float64"]
    planned_rounds: int | None
    planned_epochs: float | None
    eval_every: int | None
    eval_first: bool | None
    record_every: int | None
    network: dict[str, Any] | None
    impairments: Mapping[str, Any]
    scenario: list[Any]


def with_keywords(keys: Collection[str]) -> Callable[[F], F]:
    """Decorator of a function that takes `**settings`: it names them to who asks for its signature.

    A notebook completes them then, and `help` shows them with their defaults; an editor knows them
    by their TypedDict.
    """

    def told(function: F) -> F:
        own = [p for p in signature(function).parameters.values() if p.kind != p.VAR_KEYWORD]
        known = {p.name for p in own}
        more = [
            Parameter(f.name, Parameter.KEYWORD_ONLY, default=_default(f), annotation=f.type)
            for f in dataclasses.fields(RunConfig)
            if f.name in keys and f.name not in known
        ]
        seen = signature(function).replace(parameters=[*own, *more])
        function.__dict__["__signature__"] = seen
        return function

    return told


def _default(field: dataclasses.Field[Any]) -> Any:
    """As it is given: None where it is made anew for every run."""
    return None if field.default is dataclasses.MISSING else field.default
