"""How often a run is evaluated by default, by what that costs."""

from types import SimpleNamespace

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.recipe.settings import RunConfig
from p2pqg.simulation.length import evaluations


@pytest.mark.parametrize(
    ("num_rounds", "samples", "traits", "every"),
    [
        (1000, 100, {}, (10, True)),  # 300 test samples cost as much as a round: 100 times at most
        (10_000, 100, {}, (100, True)),
        (500, 100, {}, (10, True)),  # a tenth of the run: 50 times
        (20, 100, {}, (10, True)),
        (10, 100, {}, (10, False)),  # once, which is at the end
        (5, 100, {}, (5, False)),
        (500, 50, {}, (20, True)),  # half as many samples a round, and an evaluation costs two
        (500, 50, {"cost": 1}, (5, True)),  # linear layers: half a round
    ],
)
def test_by_default_evaluations_take_a_tenth_of_a_run_and_are_a_hundred_at_most(
    num_rounds, samples, traits, every
):
    found = SimpleNamespace(
        arrays=SimpleNamespace(test_y=np.zeros(300)),
        blueprint=SimpleNamespace(entry=SimpleNamespace(traits=traits)),
    )
    assert evaluations(num_rounds, samples, RunConfig(), found) == every
    assert evaluations(num_rounds, samples, RunConfig(eval_every=7), found) == (7, False)
    assert evaluations(num_rounds, samples, RunConfig(eval_first=True), found) == (every[0], True)


def test_a_run_that_ends_by_a_clock_needs_one():
    with pytest.raises(ConfigError, match="time is that of the simulated clock, and there is none"):
        p2pqg.Simulation(**TOY, engine="local", time="10 s")
