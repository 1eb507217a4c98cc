"""Numbers at the ends of what a recipe may say: right numbers, or a line that says why not."""

import dataclasses
import typing
from contextlib import suppress

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.errors import ConfigError
from p2pqg.recipe.settings import NESTED, RunConfig

LEAST = 5e-324
"""No number that is not 0 is less."""

BESIDE = {
    "alpha": {"partition": "dirichlet"},
    "lr_schedule.decay": {"milestones": [0.5]},
    "lr_schedule.floor": {"kind": "cosine"},
    "lr_schedule.step_epochs": {"kind": "step"},
    "lr_schedule.warmup_from": {"warmup_epochs": 0.1},
    "privacy.delta": {"clip": 1.0, "sigma": 1.0},
    "privacy.sigma": {"clip": 1.0},
    "stop.min_delta": {"patience": 2},
}
"""Settings without which some mean nothing."""


def measured(kind):
    """Fields of a data class that are amounts."""
    hints = typing.get_type_hints(kind)
    return [
        f.name
        for f in dataclasses.fields(kind)
        if float in (hints[f.name], *typing.get_args(hints[f.name]))
    ]


AMOUNTS = [(name,) for name in measured(RunConfig)] + [
    (key, name) for key, kind in NESTED.items() for name in measured(kind)
]


@pytest.mark.parametrize("path", AMOUNTS, ids=".".join)
def test_the_least_of_each_amount_is_borne_or_refused(path):
    value = LEAST
    for name in reversed(path):
        value = {**(BESIDE.get(".".join(path), {}) if name == path[-1] else {}), name: value}
    recipe = TOY | {"rounds": 4, "algorithm": "dsgd"} | value
    if {"epochs", "time"} & {*path}:
        del recipe["rounds"]
    with suppress(ConfigError), p2pqg.Simulation(**recipe, engine="local") as sim:
        sim.finish()
        assert np.isfinite(sim.parameters()).all()
        assert not np.isinf(sim.history.to_numpy(dtype=float)).any()
