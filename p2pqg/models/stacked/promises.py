"""What holds on a GPU too: the same numbers when repeated, float32 where it is asked for."""

from __future__ import annotations

import torch


def keep_promises() -> None:
    """Set torch's switches so.

    They are those of a whole process: with the local engine, of the user's own.
    """
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
