"""What becomes of a claim, and how a person is told."""

import pandas as pd
import pytest
from claimed import CLAIM, runs, verdict_of

from p2pqg.base.errors import ConfigError
from p2pqg.results.claims import check, judge, lines, over_seeds, read_claims


def test_a_side_alone_is_judged_against_a_number():
    found = verdict_of(runs(qg=[0.91, 0.92]), right=None, holds_if={"above": 0.5})
    assert found.verdict == "holds"
    assert found.numbers[0].startswith("91.50 [85.15, 97.85] %")
    found = verdict_of(runs(qg=[0.95, 0.99]), right=None, holds_if={"above": 0.5})
    assert found.numbers[0].startswith("97.00 [71.59, 100.00] %")  # 97 + 25.41 is no accuracy
    found = verdict_of(runs(qg=[60, 62]), right=None, holds_if={"above": 50})  # of a user's own
    assert found.numbers[0].startswith("6100.00 [4829.38, 7370.62] %")  # 61 ± 12.7062


def test_one_comparison_within_a_left_side_is_told_as_it_is_and_not_cut_to_shares():
    frame = runs(qg=[0.80, 0.82], dsgd=[0.90, 0.94])  # 10 and 12 points less; 8/9 and 41/47 of it
    sides = {"left": {"algorithm": "qg"}, "right": {"algorithm": "dsgd"}}
    found = verdict_of(frame, left=sides, right=None)
    assert found.numbers == ["-11.00 [-23.71, 1.71] points"]  # 11 ± 12.7062
    turned = {"left": sides["right"], "right": sides["left"], "by": "ratio"}
    found = verdict_of(frame, left=turned, right=None, holds_if={"above": 1})
    assert found.numbers == ["1.14 [1, 1.27]"]  # 9/8 and 47/41: 1.1357 ± 12.7062 * 0.01067
    against = verdict_of(frame, left=turned, right=turned, holds_if={"below": 1})
    assert against.numbers == ["0 [0, 0]"]


def test_nothing_has_no_minus():
    found = verdict_of(runs(qg=[0.5, 0.5], dsgd=[0.5 + 1e-6, 0.5 + 1e-6]))
    assert found.numbers == ["0.00 [0.00, 0.00] points"]


def test_claims_are_checked_against_the_runs_that_are_planned():
    planned = runs(qg=[0, 0], dsgd=[0, 0]).drop(columns="test_accuracy")
    check(read_claims(CLAIM | {"metric": "f1", "where": {"algorithm.mu": 0.9}}), planned)
    with pytest.raises(ConfigError, match="left: no run with d2; they have dsgd, qg"):
        check(read_claims(CLAIM | {"left": {"algorithm": "d2"}}), planned)


def test_a_verdict_is_told_with_its_rule_its_numbers_and_how_it_was_judged():
    told = lines([verdict_of(runs(qg=[0.81, 0.82], dsgd=[0.5, 0.5]), says="It wins.")])
    assert told == [
        "HOLDS  It wins.",
        "  test accuracy of qg - dsgd, above 0",
        "  all  31.50 [25.15, 37.85] points  holds",
        "mean over 2 seeds, paired, 95 % interval by t",
    ]
    alone = verdict_of(runs(qg=[0.81, 0.82], dsgd=[0.5, 0.5]), right=None)
    assert lines([alone])[-1] == "mean over 2 seeds, 95 % interval by t"


def test_a_family_is_told_claim_by_claim_and_case_by_case():
    """Ten points more and twenty, with two seeds one point apart: 12.7062 times half a point."""
    frame = pd.concat(
        [
            runs(qg=[0.5 + more, 0.51 + more], dsgd=[0.5, 0.5]).assign(alpha=alpha)
            for alpha, more in ((1, 0.1), (0.1, 0.2))
        ]
    )
    each = CLAIM | {"each": {"alpha": [1, 0.1]}, "says": "It wins."}
    found = judge(read_claims({"more": each, "less": each | {"holds_if": {"below": 0}}}), frame)
    told = lines(found)
    cases = [
        ["alpha", "1", "10.50 [4.15, 16.85] points"],
        ["alpha", "0.1", "20.50 [14.15, 26.85] points"],
    ]
    for start, name in ((0, "more"), (4, "less")):
        assert told[start].endswith(f"{name}: It wins.")
        for line, case in zip(told[start + 2 : start + 4], cases, strict=True):
            assert line.split()[:5] == " ".join(case).split()[:5]
    assert told[-1] == "mean over 2 seeds, paired, 95 % interval by t, Holm over 4 comparisons"
    assert found[0].numbers == [f"alpha {a}: {text}" for _, a, text in cases]


def test_a_verdict_says_by_what_learning_rates_were_chosen():
    frame = pd.concat([runs(qg=[a, a + 0.01], dsgd=[0.5, 0.52]).assign(lr=lr)
                       for lr, a in ((0.1, 0.8), (0.2, 0.7))])  # fmt: skip
    told = verdict_of(frame)
    assert told.rule == "test accuracy of qg - dsgd, above 0; lr chosen by the test accuracy itself"
    assert told.rule in "".join(lines([told]))
    held_out = frame.assign(validation_accuracy=frame["test_accuracy"])
    assert verdict_of(held_out).rule.endswith("; lr chosen by validation accuracy")
    named = verdict_of(frame, where={"lr": 0.1})
    assert "chosen" not in named.rule  # it was named


def test_seeds_are_paired_only_where_something_is_compared():
    frame = runs(qg=[0.81, 0.82], dsgd=[0.5, 0.5])
    assert over_seeds([verdict_of(frame)]) == "2 seeds, paired"
    assert over_seeds([verdict_of(frame, right=None)]) == "2 seeds"
