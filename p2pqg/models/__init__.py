"""One model family, one file; importing this package registers all of them (see `_registry.py`).

What a model is before it is built: `_blueprint.py`, with `_weights.py` (the start), `_cost.py` and
`_capture.py`. What families are made of: `_norms.py`, `_residual.py`, `_transformer.py`;
`_pretrained.py`, `_reading.py` and `_frozen.py` are of those that read texts. A user's own:
`_own.py`, kept by a run as `_keeping.py` says.

The clients' models as rows of a matrix, and their gradients, are in `stacked/`; losses and metrics
are in `judging/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from p2pqg.base import config
from p2pqg.base.lazy import torch
from p2pqg.base.registry import import_parts
from p2pqg.models._blueprint import Blueprint
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
    input_shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    return blueprint(name, **params).build(num_classes, input_shape, seed)


def blueprint(name: str, **params: Any) -> Blueprint:
    """A registered model with its parameters, to be built wherever it is needed."""
    entry = MODELS.named(name)
    return Blueprint(entry, config.made(entry.params, params, "model."))


def by_path(name: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, params) of a model that may be given as a folder or a name on the Hugging Face hub.

    A registered name stays what it is; names on the hub are those with a slash.
    """
    if name in MODELS or not ("/" in name or os.path.isdir(name)):
        return name, params
    return "transformers", {"path": name} | params


def tokenizer_of(name: str, params: Any) -> str | None:
    """How a model reads texts, for `p2pqg.data.load`; None: it takes numbers.

    Args:
        name: of a registered model.
        params: an object of its params class.
    """
    tokenizer = MODELS.named(name).traits.get("tokenizer")
    return tokenizer(params) if tokenizer else None


def encoder_of(name: str, params: Any, device: str = "auto") -> Any:
    """What of a model is frozen and computed once per text, for `p2pqg.data`; None: nothing.

    Args:
        name: of a registered model.
        params: an object of its params class.
        device: it may use: "cpu", "cuda" or "auto".
    """
    encoder = MODELS.named(name).traits.get("encoder")
    return encoder(params, device) if encoder else None


__all__ = [
    "MODELS",
    "Blueprint",
    "Cost",
    "blueprint",
    "build_model",
    "by_path",
    "encoder_of",
    "model",
    "tokenizer_of",
]
