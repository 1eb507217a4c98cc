"""torch, imported when something of it is first used: `from p2pqg.base.lazy import torch`.

The driver of an ordinary run never uses torch, its actors do: so the first round comes two seconds
sooner, and in 300 MB less. What only runs where models live says `import torch`, as anybody would.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any

_HELD = RLock()
_inside: list[bool] = []  # for each `without_collection` under way, whether garbage was collected


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage is collected inside, nor while another thread is inside.

    What an import makes is none: looking for some in all that is there already takes a fifth of
    the time in which torch is imported.
    """
    with _HELD:
        _inside.append(_inside[0] if _inside else gc.isenabled())
        gc.disable()
    try:
        yield
    finally:
        with _HELD:
            was_on = _inside.pop()
            if was_on and not _inside:
                gc.enable()


class Lazy:
    """Stands for a module that may never be needed."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        """Called for what is not here yet: take it from the module, and keep it."""
        if name.startswith("__"):  # somebody looks at what this is, and does not use it
            raise AttributeError(name)
        with without_collection():
            module = import_module(self._module)
        value = getattr(module, name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import torch as torch  # for who imports it from here
else:
    torch = Lazy("torch")
