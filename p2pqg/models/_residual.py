"""The residual blocks of which `resnet.py` and `resnet18.py` are made."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from p2pqg.models._norms import Norms


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, channels_in: int, channels: int, stride: int, norms: Norms) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm1 = norms.active(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norms.plain(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), norms.plain(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels_in, height, width] -> [batch, channels, height, width] / stride."""
        y = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        y += self.shortcut(x)  # in place: no derivative needs what the norm returned
        return F.relu(y, inplace=True)


def stages(channels_in: int, channels: list[int], blocks: int, norms: Norms) -> nn.Sequential:
    """One stage of basic blocks per entry of `channels`; all but the first halve the image."""
    layers = []
    for stage, channels_out in enumerate(channels):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(BasicBlock(channels_in, channels_out, stride, norms))
            channels_in = channels_out
    return nn.Sequential(*layers)
