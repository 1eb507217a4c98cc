"""The keys of a recipe as keywords of `p2pqg.run`: what an editor offers and a type checker checks.

Types and sentences are those of `RunConfig`; a test keeps them together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal, TypeVar

import networkx as nx
import numpy as np
from typing_extensions import TypedDict

from p2pqg.algorithms.control import Target
from p2pqg.recipe.settings import Part, RunConfig

F = TypeVar("F", bound=Callable[..., Any])

Object = Any
"""A user's own data: many kinds of objects, of libraries that may be missing."""

Own = Callable[..., Any]
"""A user's own function, class or module, where a recipe has a name; see `p2pqg.recipe.own`."""


class Restart(TypedDict, total=False):
    """What may differ when a run goes on, see `p2pqg.recipe.keys.RESTART`."""

    epochs: float | None
    rounds: int | None
    steps: int | None
    time: float | str | None
    out: str
    name: str | None
    data_dir: str | None
    device: Literal["auto", "cpu", "cuda"]
    engine: Literal["ray", "local"]
    clients_per_actor: int | Literal["auto"]
    transport: Literal["object-store", "direct"]
    capture: Literal["auto", "off", "rehearse"]
    address: str | None
    checkpoint_every: float
    max_restarts: int
    profile: bool


class Resumed(Restart, total=False):
    """What may differ, and objects of Python that a run could not keep and is given again."""

    topology: nx.Graph | np.ndarray | Sequence[Any] | Callable[[int], Any]
    dataset: Object
    test: Object
    partition: Sequence[Sequence[int] | np.ndarray] | Own
    model: Own
    loss: Own
    metrics: list[Own] | dict[str, Own] | Own
    callbacks: list[Any]
    lr: Own


class LrScheduleKeys(TypedDict, total=False):
    """`lr_schedule:`, see `p2pqg.algorithms.lr.LrSchedule`."""

    scaling: Literal["none", "linear"]
    base_batch_size: int
    warmup_epochs: float
    warmup_from: float
    milestones: tuple[float, ...]
    decay: float
    kind: Literal["milestones", "step", "cosine"]
    step_epochs: float
    floor: float
    function: str | None


class ConsensusKeys(TypedDict, total=False):
    """`consensus:`, see `p2pqg.algorithms.control.Consensus`."""

    targets: tuple[Target, ...]
    phases: tuple[float, ...]
    reference: tuple[float, ...]
    of: Literal["reference", "gradient"]
    measure: Literal["distance", "exchange"]
    max_exchanges: int


class ImpairmentKeys(TypedDict, total=False):
    """`impairments:`, see `p2pqg.network.Impairments`."""

    loss: float
    burst: float | None
    by: Literal["message", "link"]
    on_loss: Literal["keep", "renormalise"]
    delay: int | tuple[int, int]
    participation: float
    noise: float


class PrivacyKeys(TypedDict, total=False):
    """`privacy:`, see `p2pqg.algorithms.privacy.Privacy`."""

    clip: float | None
    sigma: float
    delta: float


class StopKeys(TypedDict, total=False):
    """`stop:`, see `p2pqg.recipe.stopping.Stop`."""

    when: str | None
    patience: int | None
    metric: str
    best: Literal["auto", "max", "min"]
    min_delta: float


class OfAnySeed(Restart, total=False):
    """The keys of a recipe but the seed, of which there may be several."""

    topology: str | Path | nx.Graph | np.ndarray | Sequence[Any] | Callable[[int], Any]
    clients: int | None
    alpha: float | None
    partition: Part | Sequence[Sequence[int] | np.ndarray] | Own | None
    algorithm: Part | None
    dataset: Part | Object | None
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
    test: Literal["common", "own"] | Object
    validation: float
    personal: list[str]
    stop: StopKeys | Mapping[str, Any]
    callbacks: list[str] | list[Any]
    batch_size: int
    lr: float | Own
    lr_schedule: LrScheduleKeys | Mapping[str, Any]
    momentum: float | None
    local_steps: int | None
    local_epochs: float | None
    consensus: ConsensusKeys | Mapping[str, Any]
    rule: Part | None
    privacy: PrivacyKeys | Mapping[str, Any]
    weight_decay: float
    precision: Literal["float32", "bf16", "fp16", "float64"]
    planned_rounds: int | None
    planned_epochs: float | None
    eval_every: int | None
    eval_first: bool | None
    record_every: int | None
    network: dict[str, Any] | None
    impairments: ImpairmentKeys | Mapping[str, Any]
    attacks: list[Any] | dict[str, Any]
    scenario: list[Any]


class Settings(OfAnySeed, total=False):
    """The keys of a recipe. `p2pqg.run` says what they mean; their defaults are in `RunConfig`."""

    seed: int


def with_keywords(keys: Collection[str], of: type = RunConfig) -> Callable[[F], F]:
    """Decorator of a function that takes `**settings`: it names them to who asks for its signature.

    A notebook completes them then, and `help` shows them with their defaults; an editor knows them
    by their TypedDict.

    Args:
        keys: those that it takes.
        of: the data class that has them, with types and defaults.
    """

    def told(function: F) -> F:
        own = [p for p in signature(function).parameters.values() if p.kind != p.VAR_KEYWORD]
        known = {p.name for p in own}
        more = [
            Parameter(f.name, Parameter.KEYWORD_ONLY, default=_default(f), annotation=f.type)
            for f in dataclasses.fields(of)
            if f.name in keys and f.name not in known
        ]
        seen = signature(function).replace(parameters=[*own, *more])
        function.__dict__["__signature__"] = seen
        return function

    return told


def _default(field: dataclasses.Field[Any]) -> Any:
    """A key's default; None where it is made anew for every run."""
    return None if field.default is dataclasses.MISSING else field.default
