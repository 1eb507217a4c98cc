"""Claims and the runs that they are about, for tests: a few rows whose verdicts can be derived."""

import pandas as pd

from p2pqg.results.claims import judge, read_claims

CLAIM = {"left": {"algorithm": "qg"}, "right": {"algorithm": "dsgd"}, "holds_if": {"above": 0}}


def runs(**accuracies):
    """A row per run: algorithm -> an accuracy for each of the seeds 1, 2, ..."""
    return pd.DataFrame(
        [
            {"algorithm": name, "seed": seed, "test_accuracy": value, "lr": 0.1}
            for name, values in accuracies.items()
            for seed, value in enumerate(values, 1)
        ]
    )


def verdict_of(frame, **changes):
    """The verdict on CLAIM, with these keys of it changed."""
    (found,) = judge(read_claims(CLAIM | changes), frame)
    return found
