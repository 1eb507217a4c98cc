"""Means, spreads and intervals over seeds, derived by hand and by scipy."""

import json
import math

import numpy as np
import pytest
from scipy.special import stdtrit

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.results import seeds
from p2pqg.results.seeds import Runs, seeds_of, t_quantile


@pytest.fixture
def three(tmp_path, fake_run):
    """A directory with three seeds; called with their accuracies and what else a run has."""

    def make(accuracies, **more):
        folder = tmp_path / "three"
        for seed, accuracy in enumerate(accuracies, 1):
            fake_run(f"seed{seed}", accuracy, folder=folder, seed=seed, **more)
        seeds.write(folder, range(1, len(accuracies) + 1), {})
        return Runs(folder)

    return make


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 101])
def test_the_quantile_is_that_of_scipy(freedom):
    # SciPy 1.15 has ten digits; with 2 degrees of freedom 0.95 sqrt(2 / (1 - 0.95^2)) is exact.
    assert t_quantile(freedom) == pytest.approx(stdtrit(freedom, 0.975), rel=1e-10)
    assert t_quantile(freedom, 0.5) == pytest.approx(stdtrit(freedom, 0.75), rel=1e-10)
    assert t_quantile(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-14)


def test_the_interval_of_a_mean_is_students(three):
    row = three([0.8, 0.9, 0.85]).summary.loc["test_accuracy"]
    assert row["mean"] == pytest.approx(0.85)
    assert row["std"] == pytest.approx(0.05)
    half = 4.302652729911275 * 0.05 / math.sqrt(3)  # t of 2 degrees of freedom
    assert (row["low"], row["high"]) == pytest.approx((0.85 - half, 0.85 + half))


def test_two_seeds_have_the_widest_interval(three):
    row = three([0.49, 0.51]).summary.loc["test_accuracy"]
    half = 12.706204736174705 * 0.01  # t of 1 degree of freedom; the deviation is 0.01 sqrt 2
    assert (row["low"], row["high"]) == pytest.approx((0.5 - half, 0.5 + half))


def test_a_seed_that_was_stopped_leaves_no_mean_and_one_that_has_yet_to_run_does(three):
    runs = three([0.8, 0.9, 0.85])
    told = runs[0].summary | {"rounds": 4}
    (runs.of_seed(1).path / "summary.json").write_text(json.dumps(told))
    assert runs.summary["mean"].isna().all()
    for name in ("summary.json", "rounds.parquet"):
        (runs.of_seed(1).path / name).unlink()
    for there in (runs, Runs(runs.path)):  # who held it while that happened reads it again
        assert there.summary.loc["test_accuracy", "mean"] == pytest.approx(0.875)
    assert len(runs) == 2


def test_no_interval_goes_where_no_mean_can_be(tmp_path, fake_run):
    times, accuracies = [0.0, 1.0, 30.0], [1.0, 0.9, 1.0]
    for seed, (seconds, accuracy) in enumerate(zip(times, accuracies, strict=True)):
        run = fake_run(f"seed{seed}", accuracy, seed=seed)
        told = run.summary | {"wall_seconds": seconds, "consensus_distance": seconds}
        (run.path / "summary.json").write_text(json.dumps(told))
    seeds.write(tmp_path, [0, 1, 2], {})
    found = Runs(tmp_path).summary
    for key, values, (least, most) in [
        ("wall_seconds", times, (0, math.inf)),
        ("consensus_distance", times, (0, math.inf)),
        ("test_accuracy", accuracies, (0, 1)),
    ]:
        half = stdtrit(2, 0.975) * np.std(values, ddof=1) / math.sqrt(3)
        low, high = np.mean(values) - half, np.mean(values) + half
        assert low < least or high > most  # or there is nothing to see here
        assert found.loc[key, ["low", "high"]].tolist() == pytest.approx(
            [max(low, least), min(high, most)]
        )


def test_a_users_accuracy_in_percent_has_the_interval_of_its_own_unit(three, monkeypatch):
    runs = three([0.8, 0.9, 1.0])
    given = runs.results.assign(my_accuracy=[80.0, 90.0, 100.0], adjusted_accuracy=[-0.1, 0.0, 0.1])
    given["other_accuracy"] = [0.5, 10.5, 20.5]  # in percent, too, and one of them below 1
    monkeypatch.setattr(Runs, "results", given)
    half = 4.302652729911275 * 10 / math.sqrt(3)
    for key, mean, unit in (
        ("my_accuracy", 90, 1),
        ("adjusted_accuracy", 0, 0.01),
        ("other_accuracy", 10.5, 1),
    ):
        row = runs.summary.loc[key]
        assert (row["low"], row["high"]) == pytest.approx((mean - half * unit, mean + half * unit))


def test_a_single_seed_has_a_mean_and_no_spread(three):
    row = three([0.8]).summary.loc["test_accuracy"]
    assert row["mean"] == 0.8
    assert row[["std", "low", "high"]].isna().all()


def test_a_seed_that_diverged_makes_the_mean_unknown_instead_of_better(three, fake_run):
    runs = three([0.8, 0.9])
    fake_run("seed3", 0.1, folder=runs.path, seed=3, failure="client 2 has a non-finite loss")
    seeds.write(runs.path, [1, 2, 3], {})
    found = Runs(runs.path)
    assert not found.finished
    assert found.missing == []
    assert found.summary.isna().all(axis=None)  # no deviation of the others, either


def test_a_seed_that_has_not_begun_is_missing(three):
    runs = three([0.8, 0.9])
    seeds.write(runs.path, [1, 2, 7], {})
    found = p2pqg.load(runs.path)
    assert (found.missing, len(found), found.finished) == ([7], 2, False)
    assert found.summary.loc["test_accuracy", "mean"] == pytest.approx(0.85)
    assert [run.config["seed"] for run in found] == [1, 2]


def test_a_directory_without_results_is_told(tmp_path):
    seeds.write(tmp_path, [1, 2], {})
    with pytest.raises(ConfigError, match="none of its seeds has results yet"):
        p2pqg.load(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2], [1, 2]),
        ("3,1", [3, 1]),
        ("4,", [4]),
        ((5,), [5]),
        (range(3), [0, 1, 2]),
        (np.arange(2), [0, 1]),
        ({2, 1}, [1, 2]),
        (7, None),
        ("7", None),
        (np.int64(7), None),
        (None, None),
    ],
)
def test_several_seeds_are_known_from_one(value, expected):
    assert seeds_of(value) == expected


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([1, 1], "seed has 1 twice"),
        ("1,x", "must be integers >= 0 and below .*, such as 1,2,3, got 'x'"),
        ("1,,2", "got ''"),
        ([1, -2], "got -2"),
        ([1, 2**32], "below 2\\*\\*32, .* got 4294967296"),
        ([True], "got True"),
        ([1, 0.5], "got 0.5"),
        ([], "one integer >= 0 or more, got \\[\\]"),
    ],
)
def test_wrong_seeds_are_told_in_a_line(value, problem):
    with pytest.raises(ConfigError, match=problem):
        seeds_of(value)
