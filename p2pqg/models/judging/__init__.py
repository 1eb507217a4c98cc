"""What models are trained for, and how they are judged: `losses.py`, `metrics.py`, `answers.py`.

`answers.py` is about models that return several things. All need torch only when they compute. A
user's own losses and metrics stand beside the registered ones.
"""

from p2pqg.models.judging.answers import Answer, in_columns
from p2pqg.models.judging.losses import (
    USUAL,
    Objective,
    find_loss,
    objective_of,
)
from p2pqg.models.judging.metrics import Metric, metrics_of

__all__ = [
    "USUAL",
    "Answer",
    "Metric",
    "Objective",
    "find_loss",
    "in_columns",
    "metrics_of",
    "objective_of",
]
