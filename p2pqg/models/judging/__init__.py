"""What models are trained for, and how they are judged: `losses.py`, `metrics.py`.

Both need torch only when they compute. A user's own stand beside the registered ones.
"""

from p2pqg.models.judging.losses import (
    LOSSES,
    USUAL,
    Objective,
    find_loss,
    objective_of,
)
from p2pqg.models.judging.metrics import Metric, metrics_of

__all__ = [
    "LOSSES",
    "USUAL",
    "Metric",
    "Objective",
    "find_loss",
    "metrics_of",
    "objective_of",
]
