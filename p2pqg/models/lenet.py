"""LeNet-5: LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 1998.

In today's dress: ReLU and max pooling, no norm.
"""

from __future__ import annotations

from p2pqg.base.lazy import torch
from p2pqg.base.registry import NoParams
from p2pqg.models._registry import MODELS, image_channels


@MODELS.register("lenet", source="LeCun et al., Proceedings of the IEEE 1998")
def lenet(num_classes: int, input_shape: tuple[int, ...], p: NoParams) -> torch.nn.Module:
    """LeNet-5 with ReLU and max pooling."""
    channels = image_channels("lenet", input_shape, smallest=16)
    height, width = (((side - 4) // 2 - 4) // 2 for side in input_shape[1:])
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, 6, 5),
        torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 16, 5),
        torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * height * width, 120),
        torch.nn.ReLU(inplace=True),
        torch.nn.Linear(120, 84),
        torch.nn.ReLU(inplace=True),
        torch.nn.Linear(84, num_classes),
    )
