"""One model family, one file. Importing this package registers all of them."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import Any

import torch
from torch import nn

from p2pqg.errors import ConfigError, did_you_mean
from p2pqg.models._cost import multiply_adds
from p2pqg.models._registry import MODELS
from p2pqg.models._weights import initialise
from p2pqg.models.stacked import Stacked
from p2pqg.seeding import rng

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")


def build_model(
    name: str, num_classes: int, input_shape: tuple[int, ...], seed: int = 0, **params: Any
) -> nn.Module:
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
    entry = MODELS[name]
    known = [field.name for field in dataclasses.fields(entry.params)]
    unknown = [
        f"unknown key model.{key}{did_you_mean(key, known)}" for key in params if key not in known
    ]
    if unknown:
        raise ConfigError.of(unknown)
    chosen = entry.params(**params)
    problems = list(chosen.problems()) if hasattr(chosen, "problems") else []
    if problems:
        raise ConfigError.of(problems)
    with torch.random.fork_rng(devices=[]):  # the layers draw weights of their own: not ours
        model = entry.build(num_classes, tuple(input_shape), chosen)
    seed_of_weights = int(rng(seed, "model").integers(2**63))
    initialise(model, torch.Generator().manual_seed(seed_of_weights))
    return model


__all__ = ["MODELS", "Stacked", "build_model", "multiply_adds"]
