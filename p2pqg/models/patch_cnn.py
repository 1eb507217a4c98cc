"""A convolutional network cheap enough for hundreds of runs on a laptop: patches, then one layer.

Cutting the image into patches first is how vision transformers start (Dosovitskiy et al., ICLR
2021); everything after works on few positions. Free of batch statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from p2pqg.base.lazy import torch
from p2pqg.models._registry import MODELS, image_channels


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    width: int = 16
    """Channels of the patches, even and >= 2; the convolution after has twice as many."""
    patch: Annotated[int, ">= 1"] = 4
    """Side of a patch in pixels, >= 1."""

    def problems(self) -> Iterator[str]:
        if self.width < 2 or self.width % 2:
            yield f"model.width must be even and >= 2, got {self.width}"


@MODELS.register("patch-cnn", params=Params, source="patches, a convolution, GroupNorm")
def patch_cnn(num_classes: int, input_shape: tuple[int, ...], p: Params) -> torch.nn.Module:
    """Patches, one convolution of stride 2, GroupNorm after both, then one linear layer."""
    from p2pqg.models._norms import GroupNorm

    channels = image_channels("patch-cnn", input_shape, smallest=2 * p.patch)
    height, width = ((side // p.patch + 1) // 2 for side in input_shape[1:])
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, p.width, p.patch, stride=p.patch, bias=False),
        GroupNorm(2, p.width),
        torch.nn.ReLU(inplace=True),
        torch.nn.Conv2d(p.width, 2 * p.width, 3, stride=2, padding=1, bias=False),
        GroupNorm(2, 2 * p.width),
        torch.nn.ReLU(inplace=True),
        torch.nn.Flatten(),
        torch.nn.Linear(2 * p.width * height * width, num_classes),
    )
