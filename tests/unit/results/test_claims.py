"""What is claimed of runs, and how it is judged: numbers that can be derived."""

import math

import numpy as np
import pandas as pd
import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.results.claims import check, judge, judge_folder, lines, read_claims
from p2pqg.results.run_frames import export, runs_of

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
    (found,) = judge(read_claims(CLAIM | changes), frame)
    return found


def test_the_interval_is_that_of_student_over_the_paired_differences():
    frame = runs(qg=[0.81, 0.92, 0.73], dsgd=[0.80, 0.90, 0.70])  # differences 1, 2, 3 points
    (one,) = verdict_of(frame).findings
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert one.mean == pytest.approx(0.02)
    assert (one.low, one.high) == pytest.approx((0.02 - half, 0.02 + half), rel=1e-6)
    t = 0.02 / (0.01 / math.sqrt(3))  # with 2 degrees of freedom p has a closed form
    assert one.p == pytest.approx(1 - t / math.sqrt(2 + t * t))


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ({"above": 0}, "holds"),
        ({"below": 0}, "does not hold"),
        ({"above": 0.03}, "does not hold"),
        ({"above": 0.02}, "undecided"),
        ({"within": [0.01, 0.03]}, "holds"),
        ({"within": [0.03, 0.05]}, "does not hold"),
        ({"within": [0.0199, 0.05]}, "undecided"),
    ],
)
def test_a_claim_holds_where_the_interval_keeps_to_its_side_of_the_bounds(rule, verdict):
    differences = np.array([0.019, 0.02, 0.021])
    frame = runs(qg=0.8 + differences, dsgd=[0.8] * 3)
    assert verdict_of(frame, holds_if=rule).verdict == verdict


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


def test_a_side_alone_is_judged_against_a_number():
    found = verdict_of(runs(qg=[0.91, 0.92]), right=None, holds_if={"above": 0.5})
    assert found.verdict == "holds"
    assert found.numbers[0].startswith("91.50 [85.15, 97.85] %")
    found = verdict_of(runs(qg=[0.95, 0.99]), right=None, holds_if={"above": 0.5})
    assert found.numbers[0].startswith("97.00 [71.59, 100.00] %")  # 97 + 25.41 is no accuracy


def test_nothing_has_no_minus():
    found = verdict_of(runs(qg=[0.5, 0.5], dsgd=[0.5 + 1e-6, 0.5 + 1e-6]))
    assert found.numbers == ["0.00 [0.00, 0.00] points"]


def test_two_seeds_that_agree_exactly_decide_nothing_and_three_do():
    found = verdict_of(runs(qg=[0.5, 0.5], dsgd=[0.25, 0.25]))
    assert (found.verdict, found.findings[0].p, found.more) == ("undecided", 1, 1)
    assert found.result == (
        "undecided (two seeds that agree exactly decide nothing: about 1 seed more)"
    )
    assert lines([found])[2].endswith(found.result)
    found = verdict_of(runs(qg=[0.5] * 3, dsgd=[0.25] * 3))
    assert (found.verdict, found.findings[0].p) == ("holds", 0)
    assert verdict_of(runs(qg=[0.5, 0.5], dsgd=[0.5, 0.5])).result == (
        "undecided (over 1,000 seeds more)"
    )


@pytest.mark.parametrize("by", ["difference", "ratio"])
def test_seeds_that_agree_to_rounding_agree(by):
    accuracies = {"qg": [0.912, 0.873], "dsgd": [0.905, 0.866]}  # 0.007 and 0.007000000000000006
    if by == "ratio":
        accuracies = {"qg": [0.3, 0.9], "dsgd": [0.1, 0.3]}  # 2.9999999999999996 and 3.0
    rule = {"above": 0 if by == "difference" else 1}
    (one,) = verdict_of(runs(**accuracies), by=by, holds_if=rule).findings
    assert (one.verdict, one.p, one.low) == ("undecided", 1, one.high)
    worse = {"above": one.mean * (1 + 1e-15)}  # a bound that is where they all are
    same = {name: [*values, values[-1]] for name, values in accuracies.items()}
    assert verdict_of(runs(**same), by=by, holds_if=worse).verdict == "undecided"


def family(*ps):
    """Claims whose comparisons have such p, by two seeds: p = 1 - 2 / pi atan t."""
    ts = [math.tan((1 - p) * math.pi / 2) for p in ps]
    frame = pd.concat(
        [runs(qg=[t + 1, t - 1], dsgd=[0, 0]).assign(alpha=i) for i, t in enumerate(ts)]
    )
    return judge(read_claims(CLAIM | {"each": {"alpha": list(range(len(ps)))}}), frame)[0]


def test_the_family_is_held_to_five_percent_by_holms_procedure():
    found = family(0.04, 0.024, 0.016)
    assert [one.p for one in found.findings] == pytest.approx([0.04, 0.024, 0.016])
    assert found.verdict == "holds"  # 0.016 < 0.05 / 3, 0.024 < 0.05 / 2, 0.04 < 0.05
    assert [one.verdict for one in family(0.03, 0.026, 0.016).findings] == [
        "undecided",
        "undecided",
        "holds",
    ]
    assert family(0.017, 0.017, 0.017).verdict == "undecided"  # each by itself would be decided


def test_more_seeds_are_as_many_as_would_decide_with_the_same_mean_and_spread():
    base = np.array([0.0, 0.02, 0.04, -0.02])
    found = verdict_of(runs(qg=0.5 + base, dsgd=[0.5] * 4))
    n = next(
        n for n in range(5, 99) if _quantile(n - 1) * base.std(ddof=1) / math.sqrt(n) < base.mean()
    )
    assert found.more == n - 4
    assert found.result == f"undecided (about {n - 4} seeds more)"


def _quantile(freedom):
    from scipy.stats import t

    return t.ppf(0.975, freedom)


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
    ],
)
def test_what_a_rule_needs_and_is_not_there_is_named_in_a_line(frame, changes, text):
    with pytest.raises(ConfigError, match=text) as error:
        verdict_of(frame, **changes)
    assert "\n" not in str(error.value) or str(error.value).count("claim") > 1


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (3, "claim must be a mapping with left and holds_if, got 3"),
        ({"a": 3}, "claim.a must be a mapping"),
        ({"left": {"algorithm": "d2"}}, "claim.holds_if is missing"),
        (CLAIM | {"rihgt": {}}, "unknown key claim.rihgt; did you mean right"),
        (CLAIM | {"by": "factor"}, "claim.by must be difference or ratio"),
        (CLAIM | {"holds_if": {"over": 0}}, r"holds_if must be \{above: X\}"),
        (CLAIM | {"holds_if": {"within": [2, 1]}}, "holds_if must be"),
        (CLAIM | {"by": "ratio"}, "holds_if must be > 0 for a ratio"),
        (CLAIM | {"metric": "rounds"}, "claim.metric must be a result .*, and rounds is a setting"),
        (CLAIM | {"left": {}}, "claim.left must be settings of runs"),
        (CLAIM | {"left": {"left": {"lr": 1}}}, "claim.left.right must be a mapping"),
        (CLAIM | {"each": {"alpha": []}}, "claim.each.alpha must be a list of values"),
        ({"left": {"lr": 1}, "holds_if": {"above": 1}, "by": "ratio"}, "by needs a right side"),
    ],
)
def test_a_wrong_claim_is_refused(claim, text):
    with pytest.raises(ConfigError, match=text):
        read_claims(claim)


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


def test_sides_that_are_tuned_with_unequal_budgets_are_refused_before_the_runs():
    planned = pd.concat([runs(qg=[0, 0]).assign(mu=mu) for mu in (0.1, 0.5, 0.9)])
    rival = pd.concat([runs(d2=[0, 0]).assign(mu=mu) for mu in (0.1, 0.5)])
    said = read_claims(CLAIM | {"right": {"algorithm": "d2"}, "tune": ["mu"]})
    with pytest.raises(ConfigError, match="left has 6 runs and right 4; give both equally many"):
        check(said, pd.concat([planned, rival]))
    check(said, pd.concat([planned, planned.assign(algorithm="d2")]))
    with pytest.raises(ConfigError, match="the runs have no column nu; known: .*, mu"):
        check(read_claims(CLAIM | {"tune": ["nu"]}), planned)


def test_claims_are_checked_against_the_runs_that_are_planned():
    planned = runs(qg=[0, 0], dsgd=[0, 0]).drop(columns="test_accuracy")
    check(read_claims(CLAIM | {"metric": "f1", "where": {"algorithm.mu": 0.9}}), planned)
    with pytest.raises(ConfigError, match="left: no run with d2; they have dsgd, qg"):
        check(read_claims(CLAIM | {"left": {"algorithm": "d2"}}), planned)


def test_a_folder_is_judged_by_its_own_recipe_and_exported_runs_alike(tmp_path, fake_run):
    claim = {"left": {"algorithm": "dsgd"}, "holds_if": {"above": 0.5}, "where": {"alpha": 0.1}}
    found = [fake_run(f"s{s}", 0.9, seed=s, folder=tmp_path / "sweep") for s in (1, 2, 3)]
    assert judge_folder(tmp_path / "sweep") == []
    export(runs_of(found), {"claim": claim}, tmp_path / "small")
    (small,) = judge_folder(tmp_path / "small")
    (whole,) = judge_folder(tmp_path / "sweep", read_claims(claim))
    assert small.result == whole.result == "holds"
    cost = read_claims(claim | {"metric": "client_steps_per_second", "holds_if": {"below": 2000}})
    assert judge_folder(tmp_path / "sweep", cost)[0].verdict == "holds"
    with pytest.raises(ConfigError, match="no column client_steps_per_second"):
        judge_folder(tmp_path / "small", cost)


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


def kept(fake_run, folder, name, accuracy, code="pace = 1", **settings):
    """A run that kept a file of the user's."""
    run = fake_run(name, accuracy, folder=folder, **settings)
    (run.path / "files").mkdir()
    (run.path / "files" / "mine.py").write_text(code)
    return run


def test_seeds_that_ran_with_code_edited_in_between_are_no_evidence(tmp_path, fake_run):
    claim = read_claims({"left": {"algorithm": "mine.py:own"}, "holds_if": {"above": 0.5}})
    own = {"algorithm": {"name": "mine.py:own"}}
    for seed in (1, 2, 3):
        kept(fake_run, tmp_path / "sweep", f"s{seed}", 0.9, seed=seed, **own)
    assert judge_folder(tmp_path / "sweep", claim)[0].verdict == "holds"
    (tmp_path / "sweep" / "s3" / "files" / "mine.py").write_text("pace = 2")
    with pytest.raises(
        ConfigError, match=r"left: runs with mine.py:own differ in mine.py \(edited"
    ):
        judge_folder(tmp_path / "sweep", claim)


def test_code_that_was_edited_between_the_sides_is_told(tmp_path, fake_run):
    claim = read_claims(
        {
            "left": {"algorithm": "mine.py:own"},
            "right": {"algorithm": "mine.py:rival"},
            "holds_if": {"above": 0},
        }
    )
    for seed in (1, 2, 3):
        for name, accuracy in (("own", 0.9), ("rival", 0.8)):
            one = {"algorithm": {"name": f"mine.py:{name}"}, "seed": seed}
            kept(fake_run, tmp_path / "sweep", f"{name}{seed}", accuracy, **one)
    (verdict,) = judge_folder(tmp_path / "sweep", claim)
    assert [one.about for one in verdict.findings] == [""]
    for seed in (1, 2, 3):
        (tmp_path / "sweep" / f"own{seed}" / "files" / "mine.py").write_text("pace = 2")
    (verdict,) = judge_folder(tmp_path / "sweep", claim)
    assert [one.about for one in verdict.findings] == ["mine.py was edited between its sides"]
    assert verdict.verdict == "holds"


def test_files_of_one_name_in_two_folders_are_two_files(tmp_path, fake_run):
    sides = {"left": {"algorithm": "a/mine.py:own"}, "right": {"algorithm": "b/mine.py:own"}}
    for seed in (1, 2, 3):
        for folder, accuracy in (("a", 0.9), ("b", 0.8)):
            one = {"algorithm": {"name": f"{folder}/mine.py:own"}, "seed": seed}
            kept(fake_run, tmp_path / "sweep", f"{folder}{seed}", accuracy, folder, **one)
    (verdict,) = judge_folder(tmp_path / "sweep", read_claims(sides | {"holds_if": {"above": 0}}))
    assert [one.about for one in verdict.findings] == [""]


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
