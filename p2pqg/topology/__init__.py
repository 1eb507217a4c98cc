"""Networks: a name, file, array or function -> Schedule (round -> W[receiver, sender])."""

from p2pqg.base.registry import import_parts
from p2pqg.topology._registry import TOPOLOGIES
from p2pqg.topology.build import build, mixing_matrix, shipped
from p2pqg.topology.checks import check, is_doubly_stochastic, lambda_min, spectral_gap
from p2pqg.topology.mixing import RULES, Mixing
from p2pqg.topology.needs import PINNED, check_needs
from p2pqg.topology.schedule import Schedule

import_parts(__name__, __path__)

__all__ = [
    "PINNED",
    "RULES",
    "TOPOLOGIES",
    "Mixing",
    "Schedule",
    "build",
    "check",
    "check_needs",
    "is_doubly_stochastic",
    "lambda_min",
    "mixing_matrix",
    "shipped",
    "spectral_gap",
]
