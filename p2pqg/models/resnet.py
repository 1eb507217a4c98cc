"""The CIFAR ResNets of depth 6n + 2: He, Zhang, Ren, Sun, CVPR 2016, arXiv:1512.03385.

As in the QG paper's code: three stages of n basic blocks with 16, 32 and 64 channels, times the
width factor; a shortcut that changes shape is a 1x1 convolution and a norm. (That code switches to
bottleneck blocks at depth 44; here, as in the article, every depth has basic blocks.)
With 10 classes and 3x32x32 images ResNet-20 has 272,474 parameters, whatever its norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.models._registry import MODELS, image_channels

SOURCE = "He et al., CVPR 2016; Lin et al., ICML 2021"

SPELLED = {
    "bn": "BatchNorm (statistics stay local)",
    "gn": "GroupNorm, 2 groups",
    "evonorm": "EvoNorm-S0, free of batch statistics",
    "evonorm-official": "EvoNorm-S0 and the batch statistics of the paper's code",
}


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    width: Annotated[int, ">= 1"] = 1
    """Factor on the channels of every layer, >= 1."""


@dataclass(frozen=True, kw_only=True)
class WideParams(Params):
    """Params of the names that end in -x2."""

    width: int = 2


@dataclass(frozen=True, kw_only=True)
class OfEvoNorm:
    """What may be set where the norm is EvoNorm-S0."""

    published: bool = False
    """As in its article: learnable v, population variance; else as in the QG paper's code."""


@dataclass(frozen=True, kw_only=True)
class EvoNormParams(OfEvoNorm, Params):
    """Params with EvoNorm-S0."""


@dataclass(frozen=True, kw_only=True)
class WideEvoNormParams(OfEvoNorm, WideParams):
    """Params with EvoNorm-S0 of the names that end in -x2."""


def norm_name(norm: str, p: object) -> str:
    """Which of the NORMS the params ask for."""
    return f"{norm}-published" if getattr(p, "published", False) else norm


def _file(depth: int, norm: str, suffix: str, params: type) -> None:
    name = f"resnet{depth}-{norm}{suffix}"

    def build(num_classes: int, input_shape: tuple[int, ...], p: Params) -> torch.nn.Module:
        from p2pqg.models._norms import NORMS
        from p2pqg.models._residual import stages

        norms = NORMS[norm_name(norm, p)]
        image = image_channels(name, input_shape, smallest=8)
        width = 16 * p.width
        if "evonorm" in norm and width > 32 and width % 32:
            raise ConfigError(f"model.width must be 1 or even for {name}, got {p.width}")
        return torch.nn.Sequential(
            torch.nn.Conv2d(image, width, 3, padding=1, bias=False),
            norms.active(width),
            stages(width, [width, 2 * width, 4 * width], (depth - 2) // 6, norms),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(4 * width, num_classes),
        )

    wide = ", twice as wide" if suffix else ""
    build.__doc__ = f"CIFAR ResNet-{depth} with {SPELLED[norm]}{wide}."
    MODELS.register(name, params=params, source=SOURCE)(build)


for _depth in (20, 32, 44, 56):
    for _norm in SPELLED:
        _evonorm = _norm == "evonorm"
        _file(_depth, _norm, "", EvoNormParams if _evonorm else Params)
        _file(_depth, _norm, "-x2", WideEvoNormParams if _evonorm else WideParams)
