"""p2pqg: peer-to-peer learning on simulated networks, with quasi-global momentum and its rivals.

    run = p2pqg.run(topology="social32", alpha=0.1, algorithm="qg-dsgdm-n", rounds=200)
    run.summary, run.rounds, run.clients

Where is what? Each room says in its `__init__.py` what is in its files.

    cli         the command line                     page        the HTML report
    running     p2pqg.run, resume, sweeps, seeds     plots       figures
    simulation  p2pqg.Simulation; what build() does  paper       the paper's tables and figures
    control     the control room of notebooks        theory      trajectory(), topology doctor
    engine      how rounds are played; on Ray        testing     checks for an algorithm of yours
    network     links, time, what goes wrong         algorithms  one method a file
    recipe      settings and their defaults          topology    graphs, and W of every round
    results     what is on disk; compare(), claims   data        data sets, shards, batches
    base        errors, seeds, registries, files     models      models, and their gradients

Imports go downwards only (docs/design.md has the levels). Names are loaded when first used, so that
`import p2pqg` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AlgorithmError": "base.errors",
    "ClusterError": "base.errors",
    "Comparison": "results.comparison",
    "ConfigError": "base.errors",
    "DataError": "base.errors",
    "DivergedError": "base.errors",
    "Notice": "base.errors",
    "OwnPace": "algorithms",
    "P2pqgError": "base.errors",
    "Run": "results.run",
    "Runs": "results.seeds",
    "RunError": "base.errors",
    "Settings": "recipe.keywords",
    "Simulation": "simulation.simulation",
    "StoppedError": "base.errors",
    "StorageError": "base.errors",
    "TopologyError": "base.errors",
    "UserCodeError": "base.errors",
    "algorithm": "algorithms",
    "allreduce": "algorithms",
    "arrived": "algorithms",
    "average_consensus": "theory.consensus",
    "build_model": "models",
    "compare": "results.comparison",
    "dataset": "data",
    "exchange": "algorithms",
    "gossip": "algorithms",
    "load": "results.seeds",
    "meet": "algorithms",
    "mixing_matrix": "topology",
    "model": "models",
    "neighbors": "algorithms",
    "partition": "data",
    "push": "algorithms",
    "resume": "running.single",
    "run": "running.single",
    "trajectory": "theory.trajectories",
}
_MODULES = ("errors", "testing")
"""Found as `p2pqg.errors` without an import of their own, too."""

__all__ = sorted(_HOMES)

if TYPE_CHECKING:  # the same names, for editors and type checkers; a test keeps them together
    from p2pqg.algorithms import OwnPace as OwnPace
    from p2pqg.algorithms import algorithm as algorithm
    from p2pqg.algorithms import allreduce as allreduce
    from p2pqg.algorithms import arrived as arrived
    from p2pqg.algorithms import exchange as exchange
    from p2pqg.algorithms import gossip as gossip
    from p2pqg.algorithms import meet as meet
    from p2pqg.algorithms import neighbors as neighbors
    from p2pqg.algorithms import push as push
    from p2pqg.base.errors import AlgorithmError as AlgorithmError
    from p2pqg.base.errors import ClusterError as ClusterError
    from p2pqg.base.errors import ConfigError as ConfigError
    from p2pqg.base.errors import DataError as DataError
    from p2pqg.base.errors import DivergedError as DivergedError
    from p2pqg.base.errors import Notice as Notice
    from p2pqg.base.errors import P2pqgError as P2pqgError
    from p2pqg.base.errors import RunError as RunError
    from p2pqg.base.errors import StoppedError as StoppedError
    from p2pqg.base.errors import StorageError as StorageError
    from p2pqg.base.errors import TopologyError as TopologyError
    from p2pqg.base.errors import UserCodeError as UserCodeError
    from p2pqg.data import dataset as dataset
    from p2pqg.data import partition as partition
    from p2pqg.models import build_model as build_model
    from p2pqg.models import model as model
    from p2pqg.recipe.keywords import Settings as Settings
    from p2pqg.results.comparison import Comparison as Comparison
    from p2pqg.results.comparison import compare as compare
    from p2pqg.results.run import Run as Run
    from p2pqg.results.seeds import Runs as Runs
    from p2pqg.results.seeds import load as load
    from p2pqg.running.single import resume as resume
    from p2pqg.running.single import run as run
    from p2pqg.simulation.simulation import Simulation as Simulation
    from p2pqg.theory.consensus import average_consensus as average_consensus
    from p2pqg.theory.trajectories import trajectory as trajectory
    from p2pqg.topology import mixing_matrix as mixing_matrix

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        value: Any
        if name == "__version__":
            value = import_module("p2pqg.base.own_version").own_version()
        elif name in _MODULES:
            value = import_module(f"p2pqg.{name}")
        elif name in _HOMES:
            value = getattr(import_module(f"p2pqg.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module 'p2pqg' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
