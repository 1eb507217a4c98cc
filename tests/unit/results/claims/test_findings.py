"""How sure a comparison is: intervals, ties, families and seeds still to be run."""

import math
from itertools import count

import numpy as np
import pandas as pd
import pytest
from claimed import CLAIM, runs, verdict_of

from p2pqg.results.claims import judge, lines, read_claims


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
    for frame in (runs(**accuracies), runs(**same)):
        found = verdict_of(frame, by=by, holds_if=worse)
        assert (found.verdict, found.more) == ("undecided", math.inf)


@pytest.mark.parametrize("by", ["difference", "ratio"])
def test_sides_that_agree_to_rounding_are_not_ahead_of_each_other(by):
    """Nor is it more certain than where they agree exactly: sums in another order are no seeds."""
    same = [0.3, 0.5, 0.7]
    frame = runs(qg=[0.1 + 0.2, 0.5 + 1.2e-16, 0.7 + 1.2e-16], dsgd=same)
    base = 0 if by == "difference" else 1
    found = verdict_of(frame, by=by, holds_if={"above": base})
    assert (found.verdict, found.findings[0].mean) == ("undecided", base)
    around = {"within": [base - 0.01, base + 0.01]}
    for seeds, verdict in ((2, "undecided"), (3, "holds")):
        assert verdict_of(frame[frame["seed"] <= seeds], by=by, holds_if=around).verdict == verdict


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


@pytest.mark.parametrize("differences", [[0.0, 0.02, 0.04, -0.02], [0.01, 0.03], [0.3, -0.1, 0.2]])
def test_more_seeds_are_as_many_as_would_decide_with_the_same_mean_and_spread(differences):
    n, base = len(differences), np.array(differences)
    found = verdict_of(runs(qg=0.5 + base, dsgd=[0.5] * n))
    more = _seeds_that_decide(base.mean(), base.std(ddof=1), 0.975, n) - n
    assert found.more == more
    assert found.result == f"undecided (about {more} seeds more)"


def test_more_seeds_in_a_family_are_for_the_share_of_what_is_left():
    """One of three holds; each of the others is held to 5 % / 2, and they have two seeds by now."""
    found = family(0.6, 0.01, 0.8).findings
    assert [one.verdict for one in found] == ["undecided", "holds", "undecided"]
    for p, one in zip((0.6, 0.8), (found[0], found[2]), strict=True):
        mean = math.tan((1 - p) * math.pi / 2)
        assert one.more == _seeds_that_decide(mean, math.sqrt(2), 1 - 0.05 / 2 / 2, 2) - 2


def test_up_to_a_thousand_seeds_more_are_counted():
    for seeds, more in ((1001, 999), (1003, math.inf)):  # beside the two
        mean = _quantile(seeds - 1) / math.sqrt(seeds) * 1.00001
        (one,) = verdict_of(runs(qg=[mean + 0.5**0.5, mean - 0.5**0.5], dsgd=[0, 0])).findings
        assert one.more == more


@pytest.mark.parametrize(("rule", "verdict"), [({"below": 0.6}, "holds"), ({"below": 0.4}, "not")])
def test_a_ratio_may_have_a_bound_on_one_side_only(rule, verdict):
    frame = runs(qg=[0.49, 0.5, 0.51], dsgd=[1.0, 1.0, 1.0])
    assert verdict in verdict_of(frame, by="ratio", holds_if=rule).verdict


def _seeds_that_decide(mean, deviation, share, n):
    """The first number beyond n where the interval of that share keeps to one side of 0."""
    return next(
        n for n in count(n + 1) if _quantile(n - 1, share) * deviation / math.sqrt(n) < mean
    )


def _quantile(freedom, share=0.975):
    from scipy.stats import t

    return t.ppf(share, freedom)
