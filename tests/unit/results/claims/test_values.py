"""Which runs a rule speaks of, and the values it compares."""

import math

import pandas as pd
import pytest
from claimed import CLAIM, runs, verdict_of

from p2pqg.base.errors import ConfigError
from p2pqg.results.claims import check, read_claims


def test_ratios_are_judged_by_their_logarithms():
    (one,) = verdict_of(runs(qg=[2, 8], dsgd=[1, 1]), by="ratio", holds_if={"above": 1}).findings
    assert one.mean == pytest.approx(4)
    assert one.low * one.high == pytest.approx(16)


def test_a_difference_of_differences_is_paired_within_and_without():
    frame = pd.concat(
        [
            runs(qg=[0.9, 0.8], dsgd=[0.8, 0.7]).assign(batch_size=64),  # ahead by 0.1
            runs(qg=[0.6, 0.5], dsgd=[0.5, 0.4 + 1e-3]).assign(batch_size=8),  # by about as much
        ]
    )
    ahead = {"left": {"algorithm": "qg"}, "right": {"algorithm": "dsgd"}}
    left, right = (
        {"left": ahead["left"] | {"batch_size": b}, "right": ahead["right"] | {"batch_size": b}}
        for b in (64, 8)
    )
    (one,) = verdict_of(frame, left=left, right=right).findings
    assert one.mean == pytest.approx(0.0005)


def test_runs_count_at_the_tuned_rate_unless_a_side_names_it():
    frame = pd.concat(
        [
            runs(qg=[0.9, 0.5], dsgd=[0.1, 0.1]).assign(lr=0.4),  # one step from divergence
            runs(qg=[0.6, 0.6], dsgd=[0.2, 0.2]).assign(lr=0.1),
        ]
    )
    assert verdict_of(frame).findings[0].mean == pytest.approx(0.4)
    named = verdict_of(frame, left={"algorithm": "qg", "lr": 0.4})
    assert named.findings[0].mean == pytest.approx(0.7 - 0.2)


@pytest.mark.parametrize(
    ("frame", "changes", "text"),
    [
        (runs(qg=[1, 2], dsgd=[1]), {}, "claim: right lacks seed 2, which the other side has"),
        (runs(qg=[1], dsgd=[2]), {}, "two seeds or more, the runs have only seed 1"),
        (runs(qg=[1, 2], dsgd=[1, math.nan]), {}, r"right \(dsgd\): no test_accuracy of seed 2"),
        (runs(qg=[1, 2]), {}, "right: no run with dsgd; they have qg"),
        (runs(qg=[1, 2], dsgd=[1, 2]), {"metric": "f1"}, "left: the runs have no column f1"),
        (
            runs(qg=[1, 2], dsgd=[1, 2]),
            {"where": {"alhpa": 1}},
            "left: the runs have no column alhpa",
        ),
        (
            pd.concat([runs(qg=[1, 2], dsgd=[1, 2]).assign(alpha=a) for a in (1, 10)]),
            {},
            "left: runs with qg differ in alpha: name it",
        ),
        (runs(qg=[1, 0], dsgd=[1, 2]), {"by": "ratio", "holds_if": {"above": 1}}, "numbers > 0"),
        (runs(qg=[1, 2], dsgd=[1, 0]), {"by": "ratio", "holds_if": {"above": 1}}, "numbers > 0"),
    ],
)
def test_what_a_rule_needs_and_is_not_there_is_named_in_a_line(frame, changes, text):
    with pytest.raises(ConfigError, match=text) as error:
        verdict_of(frame, **changes)
    assert "\n" not in str(error.value) or str(error.value).count("claim") > 1


def test_each_side_has_its_own_best_of_more_tuned_keys_by_validation_samples():
    tried = [(0.1, 0.5, 0.7), (0.1, 0.9, 0.9), (0.4, 0.5, 0.8), (0.4, 0.9, 0.6)]  # lr, mu, accuracy
    qg = [
        runs(qg=[accuracy, accuracy - 0.1]).assign(lr=lr, mu=mu, validation_accuracy=accuracy)
        for lr, mu, accuracy in tried
    ]
    d2 = [
        runs(d2=[accuracy / 2, accuracy / 2]).assign(lr=lr, mu=mu, validation_accuracy=1 - accuracy)
        for lr, mu, accuracy in tried
    ]
    both = {"left": {"algorithm": "qg"}, "right": {"algorithm": "d2"}, "tune": ["mu"]}
    found = verdict_of(pd.concat([*qg, *d2]), **both)
    assert found.findings[0].mean == pytest.approx(0.85 - 0.3)
    assert found.claim.rule == "test accuracy of qg - d2, each at its best mu, above 0"
    named = both | {"right": {"algorithm": "d2", "mu": 0.5}}
    assert verdict_of(pd.concat([*qg, *d2]), **named).findings[0].mean == pytest.approx(0.85 - 0.35)
    with pytest.raises(ConfigError, match="several runs of a seed with qg; they differ in mu"):
        verdict_of(pd.concat([*qg, *d2]), **both | {"tune": []})
    frame = pd.concat([*qg, *d2]).replace({"mu": {0.9: math.nan}})  # not set: a value, too
    assert verdict_of(frame, **both).findings[0].mean == pytest.approx(0.85 - 0.3)
    unset = both | {"right": {"algorithm": "d2", "mu": None}}
    assert verdict_of(frame, **unset).findings[0].mean == pytest.approx(0.85 - 0.3)


def test_sides_that_are_tuned_with_unequal_budgets_are_refused_before_the_runs():
    planned = pd.concat([runs(qg=[0, 0]).assign(mu=mu) for mu in (0.1, 0.5, 0.9)])
    rival = pd.concat([runs(d2=[0, 0]).assign(mu=mu) for mu in (0.1, 0.5)])
    said = read_claims(CLAIM | {"right": {"algorithm": "d2"}, "tune": ["mu"]})
    with pytest.raises(ConfigError, match="left has 6 runs and right 4; give both equally many"):
        check(said, pd.concat([planned, rival]))
    check(said, pd.concat([planned, planned.assign(algorithm="d2")]))
    with pytest.raises(ConfigError, match="the runs have no column nu; known: .*, mu"):
        check(read_claims(CLAIM | {"tune": ["nu"]}), planned)


def test_a_setting_that_only_some_runs_name_is_looked_for_among_these():
    """Where no run has it, it may be a default; where some have, it is one of theirs or none."""
    planned = pd.concat([runs(qg=[0, 0]).assign(**{"algorithm.mu": 0.5}), runs(dsgd=[0, 0])])
    check(read_claims(CLAIM | {"left": {"algorithm": "qg", "algorithm.mu": 0.5}}), planned)
    with pytest.raises(ConfigError, match="left: no run with algorithm.mu 0.7; they have 0.5"):
        check(read_claims(CLAIM | {"left": {"algorithm": "qg", "algorithm.mu": 0.7}}), planned)


def test_seeds_of_unlike_settings_are_refused_before_they_run_and_after():
    frame = runs(qg=[0.9, 0.8, 0.7], dsgd=[0.5, 0.5, 0.5])
    frame["batch_size"] = [32, 32, 64, 32, 32, 32]  # one run of each seed, of two settings
    with pytest.raises(ConfigError, match="left: runs with qg differ in batch_size: name it"):
        verdict_of(frame)
    with pytest.raises(ConfigError, match="left: runs with qg differ in batch_size: name it"):
        check(read_claims(CLAIM), frame.drop(columns="test_accuracy"))


def test_the_best_rate_is_not_looked_for_among_unlike_settings():
    mild = runs(qg=[0.9, 0.9], dsgd=[0.5, 0.5]).assign(alpha=10.0, lr=0.4)
    hard = runs(qg=[0.6, 0.6], dsgd=[0.2, 0.2]).assign(alpha=0.1, lr=0.1)
    with pytest.raises(ConfigError, match="left: runs with qg differ in alpha: name it"):
        verdict_of(pd.concat([mild, hard]))  # else those of alpha 10 alone would count
    assert verdict_of(pd.concat([mild, hard]), where={"alpha": 0.1}).findings[
        0
    ].mean == pytest.approx(0.4)
