"""Exceptions and warnings that users meet; what they say and when is told in `p2pqg.base.errors`.

from p2pqg.errors import ConfigError
"""

from p2pqg.base.errors import (
    AlgorithmError,
    ClusterError,
    ConfigError,
    DataError,
    DivergedError,
    Notice,
    P2pqgError,
    RunError,
    StoppedError,
    StorageError,
    TopologyError,
    UserCodeError,
    did_you_mean,
)

__all__ = [
    "AlgorithmError",
    "ClusterError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "Notice",
    "P2pqgError",
    "RunError",
    "StoppedError",
    "StorageError",
    "TopologyError",
    "UserCodeError",
    "did_you_mean",
]
