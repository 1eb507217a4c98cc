"""ResNet-18 for ImageNet: He, Zhang, Ren, Sun, CVPR 2016, arXiv:1512.03385.

The network of torchvision, whose weights load in the order of parameters(), with the norm swapped.
The stem (7x7, stride 2, then a pooling of stride 2) is kept for small images too.
"""

from __future__ import annotations

from p2pqg.base.lazy import torch
from p2pqg.base.registry import NoParams
from p2pqg.models._registry import MODELS, image_channels
from p2pqg.models.resnet import SOURCE, SPELLED, OfEvoNorm, norm_name


def _file(norm: str) -> None:
    name = f"resnet18-{norm}"

    def build(num_classes: int, input_shape: tuple[int, ...], p: NoParams) -> torch.nn.Module:
        from p2pqg.models._norms import NORMS
        from p2pqg.models._residual import stages

        norms = NORMS[norm_name(norm, p)]
        image = image_channels(name, input_shape, smallest=32)
        return torch.nn.Sequential(
            torch.nn.Conv2d(image, 64, 7, 2, padding=3, bias=False),
            norms.active(64),
            torch.nn.MaxPool2d(3, 2, padding=1),
            stages(64, [64, 128, 256, 512], 2, norms),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(512, num_classes),
        )

    build.__doc__ = f"ImageNet ResNet-18 with {SPELLED[norm]}."
    MODELS.register(name, params=OfEvoNorm if norm == "evonorm" else NoParams, source=SOURCE)(build)


for _norm in SPELLED:
    _file(_norm)
