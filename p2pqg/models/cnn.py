"""A small convolutional network for trying things out; free of batch statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from p2pqg.base.lazy import torch
from p2pqg.models._registry import MODELS, image_channels


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    width: int = 16
    """Channels of the first layer, even and >= 2; the second has twice as many."""

    def problems(self) -> Iterator[str]:
        if self.width < 2 or self.width % 2:
            yield f"model.width must be even and >= 2, got {self.width}"


@MODELS.register("cnn", params=Params, source="two convolutions with GroupNorm")
def cnn(num_classes: int, input_shape: tuple[int, ...], p: Params) -> torch.nn.Module:
    """Two convolutions with GroupNorm and pooling, then one linear layer."""
    from p2pqg.models._norms import GroupNorm

    channels = image_channels("cnn", input_shape, smallest=4)
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, p.width, 3, padding=1, bias=False),
        GroupNorm(2, p.width),
        torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(p.width, 2 * p.width, 3, padding=1, bias=False),
        GroupNorm(2, 2 * p.width),
        torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(2 * p.width * (input_shape[1] // 4) * (input_shape[2] // 4), num_classes),
    )
