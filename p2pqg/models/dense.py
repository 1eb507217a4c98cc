"""Models without convolutions: they take samples of any shape, flattened.

Both are a Sequential of Flatten, Linear and ReLU; `stacked/batched.py` runs all clients at once.
What they cost is known without building them, so the driver of a dense run needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from p2pqg.base.lazy import torch
from p2pqg.base.registry import NoParams
from p2pqg.models._registry import MODELS, Cost


@dataclass(frozen=True, kw_only=True)
class MlpParams:
    """What may be set."""

    hidden: tuple[int, ...] = (64,)
    """Width of each hidden layer, >= 1. (): the logistic model."""

    def problems(self) -> Iterator[str]:
        if not all(width >= 1 for width in self.hidden):
            yield f"model.hidden must be a list of widths >= 1, got {self.hidden}"


def _shapes(
    num_classes: int, input_shape: tuple[int, ...], p: MlpParams | NoParams
) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear layer."""
    hidden = p.hidden if isinstance(p, MlpParams) else ()
    return list(pairwise([math.prod(input_shape), *hidden, num_classes]))


def _cost(num_classes: int, input_shape: tuple[int, ...], p: MlpParams | NoParams) -> Cost:
    """Every weight is multiplied once per sample; the biases are added."""
    shapes = _shapes(num_classes, input_shape, p)
    weights = sum(inputs * outputs for inputs, outputs in shapes)
    return Cost(weights + sum(outputs for _, outputs in shapes), multiply_adds=weights)


@MODELS.register("logistic", source="multinomial logistic regression", cost=_cost)
def logistic(num_classes: int, input_shape: tuple[int, ...], p: NoParams) -> torch.nn.Module:
    """One linear layer: a convex problem."""
    return mlp(num_classes, input_shape, p)


@MODELS.register("mlp", params=MlpParams, source="multilayer perceptron, ReLU", cost=_cost)
def mlp(num_classes: int, input_shape: tuple[int, ...], p: MlpParams | NoParams) -> torch.nn.Module:
    """Linear layers with ReLU between them; one hidden layer of 64 unless told otherwise."""
    *hidden, last = _shapes(num_classes, input_shape, p)
    layers: list[torch.nn.Module] = [torch.nn.Flatten()]
    for shape in hidden:
        layers += [torch.nn.Linear(*shape), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(*last))
