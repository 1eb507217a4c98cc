"""VGG-11 for small images: Simonyan, Zisserman, ICLR 2015, arXiv:1409.1556, configuration A.

As in the QG paper's code: no norm, convolutions with bias, and a single linear layer on top in
place of the three large ones. `vgg11-half` has half the channels: the paper's "VGG-11, width 1/2",
with 2,308,810 parameters at 10 classes.
"""

from __future__ import annotations

from p2pqg.base.lazy import torch
from p2pqg.base.registry import NoParams
from p2pqg.models._registry import MODELS, image_channels

SOURCE = "Simonyan and Zisserman, ICLR 2015; Lin et al., ICML 2021"
POOL = 0
CHANNELS = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL)


def _vgg11(
    name: str, num_classes: int, input_shape: tuple[int, ...], divide: int
) -> torch.nn.Module:
    channels = image_channels(name, input_shape, smallest=32)
    layers: list[torch.nn.Module] = []
    for width in CHANNELS:
        if width == POOL:
            layers.append(torch.nn.MaxPool2d(2))
        else:
            layers += [
                torch.nn.Conv2d(channels, width // divide, 3, padding=1),
                torch.nn.ReLU(inplace=True),
            ]
            channels = width // divide
    pixels = (input_shape[1] // 32) * (input_shape[2] // 32)
    return torch.nn.Sequential(
        *layers, torch.nn.Flatten(), torch.nn.Linear(channels * pixels, num_classes)
    )


@MODELS.register("vgg11", source=SOURCE)
def vgg11(num_classes: int, input_shape: tuple[int, ...], p: NoParams) -> torch.nn.Module:
    """VGG-11 without norm, one linear layer on top."""
    return _vgg11("vgg11", num_classes, input_shape, divide=1)


@MODELS.register("vgg11-half", source=SOURCE)
def vgg11_half(num_classes: int, input_shape: tuple[int, ...], p: NoParams) -> torch.nn.Module:
    """VGG-11 without norm, half the channels."""
    return _vgg11("vgg11-half", num_classes, input_shape, divide=2)
