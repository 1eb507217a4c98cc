"""One algorithm, one file. Importing this package registers all of them."""

import importlib
import pkgutil

from p2pqg.algorithms._effects import (
    ALGORITHMS,
    Draw,
    Grad,
    Round,
    algorithm,
    allreduce,
    exchange,
    gossip,
)

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ALGORITHMS",
    "Draw",
    "Grad",
    "Round",
    "algorithm",
    "allreduce",
    "exchange",
    "gossip",
]
