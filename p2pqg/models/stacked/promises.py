"""What holds on a GPU too: the same numbers when repeated, float32 where it is asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def keep_promises() -> None:
    """Set torch's switches so.

    They are those of a whole process: with the local engine, of the user's own.
    """
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def attention_repeats(device: torch.device) -> AbstractContextManager[object]:
    """Inside, the gradient of attention is the same when it is computed again.

    Of the kernels that a GPU has for it only the plain products are so without further switches
    (PyTorch's notes on randomness).
    """
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels: AbstractContextManager[object] = sdpa_kernel(SDPBackend.MATH)
    return kernels
