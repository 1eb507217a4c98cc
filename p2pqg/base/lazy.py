"""torch, imported when something of it is first used: `from p2pqg.base.lazy import torch`.

The driver of an ordinary run never uses torch, its actors do: so the first round comes two seconds
sooner, and in 300 MB less. What only runs where models live says `import torch`, as anybody would.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class Lazy:
    """Stands for a module that may never be needed."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        """Called for what is not here yet: take it from the module, and keep it."""
        if name.startswith("__"):  # somebody looks at what this is, and does not use it
            raise AttributeError(name)
        value = getattr(import_module(self._module), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import torch as torch  # for who imports it from here
else:
    torch = Lazy("torch")
