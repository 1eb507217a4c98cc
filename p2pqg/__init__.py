"""p2pqg: peer-to-peer learning on simulated networks, with quasi-global momentum and its rivals.

    run = p2pqg.run(topology="social32", alpha=0.1, algorithm="qg-dsgdm-n", rounds=200)
    run.summary, run.rounds, run.clients

Names are loaded when first used, so that `import p2pqg` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Comparison": "results.comparison",
    "Run": "results.records",
    "Simulation": "simulation.simulation",
    "algorithm": "algorithms",
    "allreduce": "algorithms",
    "average_consensus": "theory.consensus",
    "build_model": "models",
    "compare": "results.comparison",
    "exchange": "algorithms",
    "gossip": "algorithms",
    "load": "results.records",
    "mixing_matrix": "topology",
    "partition": "data",
    "resume": "running.single",
    "run": "running.single",
    "trajectory": "theory.trajectories",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'p2pqg' has no attribute {name!r}")
    value = getattr(import_module(f"p2pqg.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
