"""Models without convolutions: they take samples of any shape, flattened.

Both are a Sequential of Flatten, Linear and ReLU, which `stacked.py` runs for all clients at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from p2pqg.models._registry import MODELS
from p2pqg.registry import NoParams


@dataclass(frozen=True, kw_only=True)
class MlpParams:
    """What may be set."""

    hidden: tuple[int, ...] = (64,)
    """Width of each hidden layer, >= 1. (): the logistic model."""

    def problems(self) -> Iterator[str]:
        """Every rule that is broken."""
        if not isinstance(self.hidden, (tuple, list)) or any(width < 1 for width in self.hidden):
            yield f"model.hidden must be a list of widths >= 1, got {self.hidden}"


@MODELS.register("logistic", source="multinomial logistic regression")
def logistic(num_classes: int, input_shape: tuple[int, ...], p: NoParams) -> nn.Module:
    """One linear layer: a convex problem."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))


@MODELS.register("mlp", params=MlpParams, source="multilayer perceptron, ReLU")
def mlp(num_classes: int, input_shape: tuple[int, ...], p: MlpParams) -> nn.Module:
    """Linear layers with ReLU between them; one hidden layer of 64 unless told otherwise."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(input_shape)
    for hidden in p.hidden:
        layers += [nn.Linear(width, hidden), nn.ReLU()]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
