"""Gradients of clients that do not wait, and what comes with them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Computed(NamedTuple):
    """Gradients, and what comes with them and counts when they are applied.

    Attributes:
        g: [rows, params], weight decay included.
        more: name -> [rows, ...]; "loss", "buffers".
    """

    g: Tensor
    more: dict[str, Tensor]
