"""One model family, one file; importing this package registers all of them (see `_registry.py`).

The clients' models as rows of a matrix, and their gradients, are in `stacked/`.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, import_parts
from p2pqg.base.seeding import rng
from p2pqg.models._registry import MODELS, Cost, model

import_parts(__name__, __path__)


def build_model(
    name: str, num_classes: int, input_shape: tuple[int, ...], seed: int = 0, **params: Any
) -> torch.nn.Module:
    """A registered model with its starting weights; the same seed gives the same weights.

    Torch's global random state is neither read nor changed.

    Args:
        name: see `p2pqg list models`.
        num_classes: number of logits.
        input_shape: of one sample, e.g. (3, 32, 32).
        seed: of the weights, >= 0.
        params: the model's own parameters, e.g. hidden=(64, 64) for "mlp".

    Returns:
        The module, float32, on the CPU, in training mode.

    Raises:
        ConfigError: unknown name or parameter, broken rule, or samples that do not fit the model.
    """
    from p2pqg.models._weights import initialise

    entry = MODELS[name]
    chosen = _chosen(entry, params)
    input_shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    _check(num_classes, input_shape, seed)
    with torch.random.fork_rng(devices=[]):  # the layers draw weights of their own: not ours
        model = entry.build(num_classes, input_shape, chosen)
    seed_of_weights = int(rng(seed, "model").integers(2**63))
    generator = torch.Generator().manual_seed(seed_of_weights)
    if hasattr(model, "draw_weights"):  # most of its weights are given
        model.draw_weights(generator)
    else:
        initialise(model, generator)
    return model


def model_cost(name: str, num_classes: int, input_shape: tuple[int, ...], **params: Any) -> Cost:
    """The size of a model and what a sample costs; arguments and errors as of `build_model`.

    Only a model that has no formula for it is built and run.
    """
    entry = MODELS[name]
    chosen = _chosen(entry, params)
    if formula := entry.traits.get("cost"):
        return formula(num_classes, tuple(input_shape), chosen)
    from p2pqg.models._cost import cost_of

    return cost_of(build_model(name, num_classes, input_shape, **params), input_shape)


def parameter_shapes(
    name: str, num_classes: int, input_shape: tuple[int, ...], **params: Any
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of the tensors that a client's row is made of, in order.

    Arguments and errors as of `build_model`.
    """
    model = build_model(name, num_classes, input_shape, **params)
    return tuple((name, tuple(tensor.shape)) for name, tensor in model.named_parameters())


def by_path(name: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, params) of a model that may be given as a folder or a name on the Hugging Face hub.

    A registered name stays what it is; names on the hub are those with a slash.
    """
    if name in MODELS or not ("/" in name or Path(name).is_dir()):
        return name, params
    return "transformers", {"path": name} | params


def tokenizer_of(name: str, params: Any) -> str | None:
    """How a model reads texts, for `p2pqg.data.load`; None: it takes numbers.

    Args:
        name: of a registered model.
        params: an object of its params class.
    """
    tokenizer = MODELS[name].traits.get("tokenizer")
    return tokenizer(params) if tokenizer else None


def _check(num_classes: int, input_shape: tuple[int, ...], seed: int) -> None:
    """ConfigError for what no model can be built of."""
    if not _whole(num_classes, 1):
        raise ConfigError(f"num_classes must be a whole number >= 1, got {num_classes!r}")
    if not input_shape or not all(_whole(side, 1) for side in input_shape):
        raise ConfigError(
            "input_shape must be the shape of one sample, whole numbers >= 1 such as (3, 32, 32), "
            f"got {input_shape!r}"
        )
    if not _whole(seed, 0):
        raise ConfigError(f"seed must be a whole number >= 0, got {seed!r}")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, numbers.Integral) and int(value) >= least


def _chosen(entry: Entry, params: dict[str, Any]) -> Any:
    """The model's params; ConfigError for unknown names and broken rules."""
    known = {field.name: field.default for field in dataclasses.fields(entry.params)}
    problems = [
        f"unknown key model.{key}{did_you_mean(key, known)}" for key in params if key not in known
    ]
    problems += [
        f"model.{name} must be an integer, got {params[name]!r}"
        for name, default in known.items()
        if isinstance(default, int) and not isinstance(params.get(name, 0), numbers.Integral)
    ]
    if problems:
        raise ConfigError.of(problems)
    chosen = entry.params(**params)
    problems = list(chosen.problems()) if hasattr(chosen, "problems") else []
    if problems:
        raise ConfigError.of(problems)
    return chosen


__all__ = [
    "MODELS",
    "Cost",
    "build_model",
    "by_path",
    "model",
    "model_cost",
    "parameter_shapes",
    "tokenizer_of",
]
