"""Settings that do nothing are told, those that do something are not."""

import numpy as np
import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.recipe.settings import read_config, read_settings
from p2pqg.simulation.build import build

BASE = {"topology": "ring4", "model": "logistic", "rounds": 4, "lr": 0.2, "algorithm": "dsgd"}


def told(**settings):
    """The lines on what is ignored."""
    return [w for w in build(read_config(BASE | settings)).warnings if "is ignored" in w]


CLOCK = {"rounds": None, "time": 60, "network": {"compute": 1.0}}
NUMBERS = tuple(np.random.default_rng(0).normal(size=shape) for shape in ((200, 3), 200))
CHOCO = {"name": "choco-sgd"}
LOSS = [{"at": 2, "set_impairments": {"loss": 0.1}}]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"lr_schedule": {"decay": 0.5}}, "lr_schedule.decay 0.5 is ignored: there are no"),
        ({"lr_schedule": {"kind": "cosine", "decay": 0.5}}, "lr_schedule.decay 0.5 is ignored"),
        ({"lr_schedule": {"floor": 0.5}}, "lr_schedule.floor 0.5 is ignored: kind is milestones"),
        ({"lr_schedule": {"step_epochs": 2.0}}, "lr_schedule.step_epochs 2 is ignored"),
        ({"lr_schedule": {"base_batch_size": 8}}, "base_batch_size 8 is ignored: scaling is none"),
        ({"lr_schedule": {"warmup_from": 0.01}}, "warmup_from 0.01 is ignored"),
        (
            {"lr_schedule": {"warmup_epochs": 5, "warmup_from": 0.3}},
            "warmup_epochs 5 is ignored: lr 0.2 is not above warmup_from 0.3",
        ),
        ({"impairments": {"by": "link"}}, "impairments.by link is ignored: nothing is lost"),
        ({"impairments": {"burst": 3}}, "impairments.burst 3 is ignored: there is no loss"),
        ({"consensus": {"max_exchanges": 3}}, "consensus.max_exchanges 3 is ignored: no phase"),
        (
            {"consensus": {"targets": ["exact"], "reference": [2.0]}},
            "consensus.reference [2.0] is ignored: no phase has a number",
        ),
        (
            {"consensus": {"targets": ["exact"], "measure": "exchange"}},
            "consensus.measure exchange is ignored",
        ),
        ({"stop": {"min_delta": 0.1}}, "stop.min_delta 0.1 is ignored: they are of stop.patience"),
        (
            {"stop": {"patience": 2}, "eval_every": 2},
            "stop.patience 2 is ignored: the run has 2 evaluations; set eval_every",
        ),
        ({"privacy": {"clip": 1.0, "delta": 1e-3}}, "privacy.delta 0.001 is ignored"),
        ({"algorithm": CHOCO | {"bits": 8}}, "algorithm.bits 8 is ignored: compressor top-k"),
        (
            {"algorithm": CHOCO | {"compressor": "sign", "ratio": 0.5}},
            "algorithm.ratio 0.5 is ignored: compressor sign",
        ),
        (
            {"algorithm": {"name": "noloco", "inner": "sgd", "eps": 0.1}},
            "algorithm.eps 0.1 is ignored: inner sgd makes no use of it",
        ),
        (
            {"impairments": {"delay": 1, "on_loss": "renormalise"}},
            "on_loss renormalise is ignored: nothing is lost, and all messages are equally late",
        ),
        ({"impairments": {"delay": [2, 2], "by": "link"}}, "impairments.by link is ignored"),
        (
            {"lr_schedule": {"warmup_epochs": 1e-4}},
            "lr_schedule.warmup_epochs 0.0001 is ignored: it is under half a round",
        ),
        (
            {"lr_schedule": {"kind": "step"}},
            "lr_schedule.kind step is ignored: the first step is after 3",
        ),
        (
            {"lr_schedule": {"milestones": [0.5, 0.9]}},
            "lr_schedule.milestones 0.9 is ignored: it comes after the last round",
        ),
        ({"planned_rounds": 9}, "planned_rounds 9 is ignored: there are no milestones, cosine or"),
        ({"planned_epochs": 1.5}, "planned_epochs 1.5 is ignored: there are no milestones"),
        (
            {"planned_rounds": 9, "lr_schedule": {"kind": "step", "step_epochs": 0.1}},
            "planned_rounds 9 is ignored",
        ),
        ({"network": {}}, "network is ignored: nothing takes time; set network.compute or"),
        ({"network": {"synchrony": "neighbors"}}, "network is ignored: nothing takes time"),
        ({"network": {"deadline": 2.0}}, "network.deadline is ignored: nothing takes time"),
        (
            {"algorithm": "sgdm-n", "network": {"compute": 1.0, "synchrony": "neighbors"}},
            "network.synchrony neighbors is ignored: an all-reduce waits for everybody",
        ),
        (
            {"attacks": [{"who": [1], "how": "noise", "when": 4}]},
            "attacks[0] is ignored: it begins in round 4, and the last one is 3",
        ),
        (
            {**CLOCK, "scenario": [{"at": "60 s", "set_lr": 0.1}]},
            "scenario[0] is ignored: it is due at 60 s, and the run ends at 60 s",
        ),
    ],
)
def test_what_does_nothing_is_told(settings, line):
    (said,) = told(**settings)
    assert line in said


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr_schedule": {"milestones": [0.5], "decay": 0.5}},
        {"lr_schedule": {"kind": "step", "step_epochs": 0.1, "decay": 0.5}},
        {"lr_schedule": {"kind": "cosine", "floor": 0.5, "warmup_epochs": 5}},
        {"lr_schedule": {"scaling": "linear", "base_batch_size": 8}},
        {"impairments": {"by": "link", "loss": 0.1, "burst": 3, "on_loss": "renormalise"}},
        {"impairments": {"by": "link", "burst": 3}, "scenario": LOSS},
        {"consensus": {"targets": [0.1], "measure": "exchange", "max_exchanges": 3}},
        {"stop": {"patience": 3, "min_delta": 0.1}, "eval_every": 1},
        {"algorithm": CHOCO | {"compressor": "qsgd", "bits": 8}},
        {"algorithm": CHOCO | {"ratio": 0.5}},
        {"impairments": {"delay": (0, 2), "by": "link", "on_loss": "renormalise"}},
        {"impairments": {"delay": 1, "loss": 0.1, "by": "link", "on_loss": "renormalise"}},
        {"impairments": {"delay": 1, "participation": 0.5, "on_loss": "renormalise"}},
        {
            "impairments": {"delay": 1, "on_loss": "renormalise"},
            "scenario": [{"at": 1, "drop_clients": [1]}],
        },
        {"planned_rounds": 9, "lr_schedule": {"milestones": [0.5]}},
        {"planned_rounds": 9, "lr_schedule": {"kind": "cosine"}},
        {"planned_rounds": 9, "rule": "balance"},
        {"planned_rounds": 9, "consensus": {"targets": ["free", 0.1], "phases": [0.5]}},
        {"network": {"links": "wan", "synchrony": "neighbors"}},
        {"network": {"links": "wan", "deadline": 2.0}},
        {"network": {}, "scenario": [{"at": 2, "set_network": {"compute": 1.0}}]},
        {"attacks": [{"who": [1], "how": "noise", "when": 3}]},
        {**CLOCK, "attacks": [{"who": [1], "how": "noise", "when": 99}]},
        {**CLOCK, "scenario": [{"at": "59 s", "set_lr": 0.1}]},
    ],
    ids=str,
)
def test_what_does_something_is_not(settings):
    assert told(**settings) == []


@pytest.mark.parametrize("given", ["array", "function"])
def test_links_take_time_where_nobody_sends_in_the_first_rounds(given):
    W = np.stack([np.eye(4)] * 9 + [np.full((4, 4), 0.25)])
    topology = W if given == "array" else lambda round: W[round % 10]
    config, own = read_settings(BASE | {"topology": topology, "network": {"links": "wan"}})
    assert not [line for line in build(config, own).warnings if "nothing takes time" in line]


HALF = {"lr_schedule": {"milestones": [0.5]}}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"validation": 0.1, "stop": {"patience": 3}, "eval_every": 1},
            "patience goes by test_accuracy: the run",
        ),
        ({**CLOCK, **HALF, "consensus": {"targets": [0.1]}}, "fractions of 60 rounds"),
    ],
)
def test_what_may_not_be_as_it_seems_is_told(settings, line):
    said = build(read_config(BASE | settings)).warnings
    assert [line in one for one in said] == [True]


@pytest.mark.parametrize(
    "settings",
    [
        {"stop": {"patience": 3}, "eval_every": 1},
        {"validation": 0.1, "stop": {"patience": 3, "metric": "validation_loss"}, "eval_every": 1},
        {**CLOCK, **HALF},
        {**CLOCK, "consensus": {"targets": [0.1]}},
        {**HALF, "network": {"compute": 1.0}, "consensus": {"targets": [0.1]}},
    ],
    ids=str,
)
def test_what_is_as_it_seems_is_not_told(settings):
    assert build(read_config(BASE | settings)).warnings == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"rounds": None, "steps": 4, "impairments": {"participation": 0.5}},
            "steps 4 are those of a client that takes part in every round",
        ),
        ({"algorithm": {"name": "slowmo", "tau": 5}}, "what is done after 5 never is"),
        (
            {"consensus": {"targets": [0.1, "free"], "phases": [0.99]}},
            "consensus.targets free is ignored: its phase has none of 4 rounds",
        ),
        (
            {"lr_schedule": {"warmup_epochs": 50}},
            "and the run has 4: lr 0.2 is never reached",
        ),
    ],
)
def test_what_does_not_come_to_what_it_says_is_told(settings, line):
    assert any(line in warning for warning in build(read_config(BASE | settings)).warnings)
    assert not any(line in warning for warning in build(read_config(BASE)).warnings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"stop": {"when": "sim_seconds >= 3"}}, "no row of this run has: there is no simulated"),
        ({"stop": {"when": "staleness_max >= 3"}}, "its clients wait for each other"),
        ({"stop": {"patience": 1}, "dataset": NUMBERS}, "targets are numbers; take test_loss"),
    ],
)
def test_a_rule_to_stop_by_what_a_run_never_measures_is_refused(settings, why):
    """Such a run had gone on to its last round without a word."""
    with pytest.raises(ConfigError, match=why):
        build(*read_settings(BASE | {"eval_every": 1} | settings))


@pytest.mark.parametrize(
    ("algorithm", "steep"), [("qg-dsgdm", True), ("d2-plus", True), ("dsgd", False)]
)
def test_step_sizes_whose_rounding_a_method_divides_by_and_multiplies_again_are_told(
    algorithm, steep
):
    """With a warm-up from 1e-8 the rounding of float32 came to a fifth of a model, or more."""
    base = BASE | {"algorithm": algorithm, "rounds": 9}
    small = {"lr_schedule": {"warmup_epochs": 0.2, "warmup_from": 1e-8}}
    large = {"lr_schedule": {"warmup_epochs": 0.2, "warmup_from": 1e-4}}

    def lines(**settings):
        return [w for w in build(*read_settings(base | settings)).warnings if "divides" in w]

    told = lines(**small, precision="bf16")  # with which models are float32
    assert ["rounding errors of float32" in line for line in told] == [True] * steep
    assert not lines(**large)
    assert not lines(**small, precision="float64")
    (*_, said) = ["", *lines(lr=lambda round: 1e-9 if round == 3 else 0.1)]
    assert said.startswith("lr 1e-09 in round 3 is too small: ") is steep
