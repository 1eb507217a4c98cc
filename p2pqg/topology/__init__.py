"""Networks: a name, file, array or function -> Schedule (round -> W[receiver, sender]).

`build.py` makes a `schedule.py` of whatever users call a topology: each round a W, `mixing.py`, by
one of the `mixing_rules.py`. `admission.py` refuses what nobody should train on; `checks.py` is
what can be said of W (its spectral gap, too), `needs.py` what algorithms rely on.
By name (`names.py`, `_registry.py`): `graphs.py`, `random_graphs.py`, `social.py`, `changing.py`
(from round to round), `base.py`, `teleportation.py`; those that look at labels are `d_cliques.py`,
`stl_fw.py`, `heterogeneity_aware.py`, told of them by `label_counts.py`.
Functions of the user's: `user_code.py`.
From files (`files.py`): `yaml_file.py`, `csv_file.py`, `matrix_file.py`, `graph_files.py`,
`_edges.py`; `keeping.py` writes one of an object.
To people: `labels.py`, `words.py`, `drawing.py`; `convergence.py` is how fast a network agrees.
"""

from p2pqg.base.registry import import_parts
from p2pqg.topology._registry import TOPOLOGIES
from p2pqg.topology.build import build, mixing_matrix, shipped
from p2pqg.topology.checks import check, is_doubly_stochastic, lambda_min, spectral_gap
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.mixing_rules import RULES
from p2pqg.topology.needs import PINNED, check_needs, check_round
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
    "check_round",
    "is_doubly_stochastic",
    "lambda_min",
    "mixing_matrix",
    "shipped",
    "spectral_gap",
]
