"""One algorithm, one file; importing this package registers all of them.

What they are made of: `effects.py` (what a round may ask of the network), `asynchronous.py` (what
clients ask that do not wait), `lr.py` (the step size of a round), `local_steps.py`,
`compressors.py`; `_shortest.py` is the program of `cga`, `_matrices.py` those of `powergossip`.
Around them: `control.py` (consensus control, which leads any of them), `gossip_rules.py` (what a
receiver makes of its inbox), `attacks.py` (what liars send), `privacy.py` (how much noise gradients
get) and `user_code.py` (algorithms from a user's own file).
"""

from p2pqg.algorithms.asynchronous import (
    Inbox,
    OwnPace,
    Step,
    arrived,
    meet,
    push,
)
from p2pqg.algorithms.effects import (
    ALGORITHMS,
    Draw,
    Grad,
    Parameter,
    Peers,
    Round,
    algorithm,
    allreduce,
    exchange,
    gossip,
    neighbors,
)
from p2pqg.base.registry import import_parts

import_parts(__name__, __path__)

__all__ = [
    "ALGORITHMS",
    "Draw",
    "Grad",
    "Inbox",
    "OwnPace",
    "Parameter",
    "Peers",
    "Round",
    "Step",
    "algorithm",
    "allreduce",
    "arrived",
    "exchange",
    "gossip",
    "meet",
    "neighbors",
    "push",
]
