"""From the host to a device, without waiting for the device."""

from __future__ import annotations

from p2pqg.base.lazy import torch


def uploaded(tensor: torch.Tensor, to: torch.device | torch.Tensor) -> torch.Tensor:
    """A tensor on a device. A GPU reads it when it comes to it, while the host goes on.

    That takes memory which the system does not move; PyTorch keeps it until it has been read.

    Args:
        tensor: of the host's, or there already.
        to: the device, or a tensor whose device and type it is to have.
    """
    dtype = tensor.dtype
    if isinstance(to, torch.Tensor):
        dtype, to = to.dtype, to.device
    if to.type == "cuda" and not tensor.is_cuda:
        tensor = tensor.contiguous().pin_memory().to(to, non_blocking=True)
    return tensor.to(to, dtype)
