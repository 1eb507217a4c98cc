"""Numbers at the ends of what a recipe may say: right numbers, or a line that says why not."""

import dataclasses
import typing
from contextlib import nullcontext

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
    "consensus.phases": {"targets": [1.0, "free"]},
    "consensus.reference": {"targets": [1.0]},
    "impairments.burst": {"loss": 0.5},
    "lr_schedule.decay": {"milestones": [0.5]},
    "lr_schedule.floor": {"kind": "cosine"},
    "lr_schedule.step_epochs": {"kind": "step"},
    "lr_schedule.warmup_from": {"warmup_epochs": 0.1},
    "momentum": {"algorithm": "dsgdm"},
    "privacy.sigma": {"clip": 1.0},
    "stop.min_delta": {"patience": 2},
    "time": {"network": {"compute": "1 s"}},
}
"""Settings without which some mean nothing."""

REFUSED = {"alpha", "impairments.burst", "privacy.sigma", "validation"}
"""Those of which so little cannot be; all others are run with it."""

ELSEWHERE = {"privacy.delta"}
"""The accountant takes seconds to load: tests/equivalence/test_privacy.py."""


def kinds(hint):
    """A type and all that it is made of."""
    return {hint}.union(*map(kinds, typing.get_args(hint)))


def measured(kind):
    """The fields of a data class that are amounts, or lists of them, and the least of each."""
    hints = typing.get_type_hints(kind)
    return {
        f.name: [LEAST] if typing.get_origin(hints[f.name]) is tuple else LEAST
        for f in dataclasses.fields(kind)
        if float in kinds(hints[f.name])
    }


AMOUNTS = [((name,), least) for name, least in measured(RunConfig).items()] + [
    ((key, name), least)
    for key, kind in NESTED.items()
    for name, least in measured(kind).items()
    if f"{key}.{name}" not in ELSEWHERE
]


@pytest.mark.parametrize(
    ("path", "value"), [pytest.param(*one, id=".".join(one[0])) for one in AMOUNTS]
)
def test_the_least_of_each_amount_is_borne_or_refused(path, value):
    refused = ".".join(path) in REFUSED
    for name in reversed(path):
        value = {**(BESIDE.get(".".join(path), {}) if name == path[-1] else {}), name: value}
    recipe = TOY | {"rounds": 4, "algorithm": "dsgd"} | value
    if {"epochs", "time"} & {*path}:
        del recipe["rounds"]
    expected = pytest.raises(ConfigError, match=path[-1]) if refused else nullcontext()
    with expected, p2pqg.Simulation(**recipe, engine="local") as sim:
        sim.finish()
        assert np.isfinite(sim.parameters()).all()
        assert not np.isinf(sim.history.to_numpy(dtype=float)).any()
