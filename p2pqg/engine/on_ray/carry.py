"""A user's own code travels with the actors: they need not have the file, nor the notebook."""

from __future__ import annotations

import sys

from ray import cloudpickle

from p2pqg.base.registry import Entry
from p2pqg.base.user_code import beside


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
    for module in {home, *beside(home)}:
        cloudpickle.register_pickle_by_value(module)
