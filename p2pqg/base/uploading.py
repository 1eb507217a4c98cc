"""From the host to a device, without waiting for the device."""

from __future__ import annotations

from p2pqg.base.lazy import torch


def uploaded(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """It on the device. A GPU reads it when it comes to it, while the host goes on.

    That takes memory which the system does not move; PyTorch keeps it until it has been read.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
