"""A user's own code travels with the actors: they need not have the file, nor the notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from ray import cloudpickle

from p2pqg.registry import Entry


def is_foreign(algorithm: Entry) -> bool:
    """Whether the algorithm is a user's, so that an actor elsewhere may be unable to import it."""
    return not algorithm.build.__module__.startswith("p2pqg.")


def carry(algorithm: Entry) -> None:
    """Have Ray send a user's algorithm by value, and the modules that lie beside its file.

    What was written in a notebook travels by value anyway.
    """
    home = sys.modules.get(algorithm.build.__module__)
    if not is_foreign(algorithm) or home is None or home.__name__ == "__main__":
        return
    for module in {home, *_beside(home)}:
        cloudpickle.register_pickle_by_value(module)


def _beside(home: ModuleType) -> list[ModuleType]:
    """Modules from the same folder, of those imported; none of an installed package."""
    folder = Path(getattr(home, "__file__", None) or "").parent
    if "site-packages" in folder.parts or not folder.name:
        return []
    return [
        module
        for module in list(sys.modules.values())
        if (path := getattr(module, "__file__", None))
        and Path(path).parent == folder
        and module.__name__ != "__main__"
    ]
