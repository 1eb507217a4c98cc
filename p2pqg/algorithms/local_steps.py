"""Local steps: how many gradient steps a client takes between two exchanges.

The key `local_steps` of a recipe sets the parameter of this name where a method has it, and
`local_epochs` says the same in passes over a mean-sized shard. With local_steps = 1 each of these
methods is what it is without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, kw_only=True)
class LocalSteps:
    local_steps: Annotated[int, ">= 1"] = 1
    """Gradient steps between two exchanges, each on a batch of its own, >= 1."""
