"""When a run may end before its last round, as its rows tell."""

import math

import pytest

from p2pqg.recipe.stopping import Stop


@pytest.mark.parametrize(
    ("when", "ends"),
    [
        ("sim_seconds >= 1", True),
        ("sim_seconds > 1", False),
        ("sim_seconds <= 1", True),
        ("sim_seconds < 1", False),
    ],
)
@pytest.mark.parametrize("steps", [[0.1] * 10, [1.0], [math.nextafter(1, 2)]])
def test_a_clock_that_adds_up_seconds_is_at_one_when_it_is_rounded(when, ends, steps):
    stop = Stop(when=when)
    assert (stop.reason([{"sim_seconds": sum(steps), "test_loss": 0.5}]) == when) == ends


def test_other_columns_are_compared_as_they_are():
    row = {"test_loss": 0.5, "test_accuracy": 1 - 1e-12}
    assert Stop(when="test_accuracy >= 1").reason([row]) is None
