"""What it takes to come to an accuracy, and runs that differ in their seed only."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from p2pqg.base.errors import ConfigError
from p2pqg.cli import main
from p2pqg.results.alike import by_seed
from p2pqg.results.cells import cells
from p2pqg.results.parquet import write_parquet
from p2pqg.results.reaching import reached, reaching
from p2pqg.results.schemas import ROUND_COLUMNS
from p2pqg.results.search import find_runs
from p2pqg.results.standing import crossing


@pytest.fixture
def run_to(fake_run):
    """A run evaluated after 10, 20, 30 rounds of 1 kB and 1 s: (name, accuracies, clock=, ...)."""

    def make(name, accuracies, clock=False, **settings):
        run = fake_run(name, accuracies[-1], **settings)
        rows = [
            {"round": 10 * k - 1, "bytes_sent": 10_000 * k, "test_accuracy": accuracy}
            | ({"sim_seconds": 10.0 * k} if clock else {})
            for k, accuracy in enumerate(accuracies, 1)
        ]
        columns = ROUND_COLUMNS | ({"sim_seconds": "float64"} if clock else {})
        write_parquet(run.path / "rounds.parquet", rows, columns)
        return run

    return make


def test_one_seed_is_known_as_well_as_evaluations_are_apart(run_to):
    run = run_to("a", [0.4, 0.8, 0.9])
    found = reached([str(run.path)], 0.6)
    assert found["reached"] == (1, 1)
    assert found["rounds_to_0.6"] == pytest.approx((15, 5))
    assert found["bytes_to_0.6"] == pytest.approx((15_000, 5_000))
    assert "sim_seconds_to_0.6" not in found  # no clock was simulated


def test_seconds_of_a_simulated_clock_are_told_where_all_seeds_have_one(run_to):
    timed = [str(run_to(f"s{seed}", [0.4, 0.8], True, seed=seed).path) for seed in (1, 2)]
    assert reached(timed, 0.6)["sim_seconds_to_0.6"] == pytest.approx((15, 5))
    without = str(run_to("s3", [0.4, 0.8], seed=3).path)
    assert "sim_seconds_to_0.6" not in reached([*timed, without], 0.6)


def test_seeds_far_apart_say_so(run_to):
    one, two = run_to("a", [0.4, 0.8, 0.9], seed=1), run_to("b", [0.4, 0.4, 0.8], seed=2)
    found = reached([str(one.path), str(two.path)], 0.6)
    assert found["rounds_to_0.6"] == pytest.approx((20, np.std([15, 25], ddof=1)))


def test_an_accuracy_that_a_seed_never_came_to_has_no_mean(run_to):
    one, two = run_to("a", [0.4, 0.8, 0.9], seed=1), run_to("b", [0.4, 0.4, 0.5], seed=2)
    found = reached([str(one.path), str(two.path)], 0.6)
    assert found["reached"] == (1, 2)
    assert np.isnan(found["rounds_to_0.6"][0])


def test_a_curve_goes_on_from_the_last_accuracy_before_one_that_is_lacking():
    frame = pd.DataFrame({"test_accuracy": [0.4, np.nan, 0.8], "rounds": [10, 20, 30]})
    assert crossing(frame, 0.6, "rounds") == pytest.approx((20, 10))
    assert np.isnan(crossing(frame, 0.6, "sim_seconds")).all()


def test_the_table_says_what_each_method_takes_at_its_best_rate(run_to, tmp_path):
    run_to("a", [0.4, 0.8, 0.9], lr=0.1)
    run_to("b", [0.7, 0.7, 0.7], lr=0.2)
    run_to("c", [0.5, 0.5, 0.5], algorithm={"name": "dsgdm"})
    run_to("d", [0.5, 0.9], algorithm={"name": "sgd"}, failure="round 20: non-finite")
    outcome = CliRunner().invoke(main, ["table", str(tmp_path), "--to-accuracy", "60%"])
    assert outcome.exit_code == 0, outcome.output
    lines = [line.split() for line in outcome.stdout.splitlines()[-4:]]
    assert lines[0][-3:] == ["reached", "rounds", "bytes"]
    told = {line[0]: " ".join(line) for line in lines[1:]}
    assert told["dsgd"].endswith("0.6 1 of 1 15 ± 5 15.0 ± 5.0 kB")
    assert told["dsgdm"].endswith("0.6 0 of 1 - -")
    assert told["sgd"].endswith("0.6 failed - -")
    assert reaching(cells(find_runs([tmp_path / "d"])), [0.6])[1].endswith("failed")
    assert reaching(cells([]), [0.6]) == []
    exported = cells(find_runs([tmp_path]))
    exported.at[1, "paths"] = []
    (line,) = [line for line in reaching(exported, [0.6]) if line.startswith("dsgdm ")]
    assert line.split()[-3:] == ["exported", "-", "-"]
    measured = exported.assign(mean=exported["mean"].where(exported["method"] != "dsgdm"))
    assert any(" no accuracy " in line for line in reaching(measured, [0.6]))
    exported.loc[0, "seeds"] = 3  # of which two are in no directory
    assert " 1 of 1, 2 exported " in reaching(exported, [0.6])[1]
    exported["paths"] = [[] for _ in exported.index]  # who failed beside them is no reason to go on
    with pytest.raises(ConfigError, match="exported ones do not do"):
        reaching(exported, [0.6])


@pytest.mark.parametrize("text", ["0", "101%", "many", "-1"])
def test_a_share_is_one(text, tmp_path):
    outcome = CliRunner().invoke(main, ["table", str(tmp_path), "--to-accuracy", text])
    assert outcome.exit_code == 2
    assert "must be a share in (0, 1], e.g. 0.9 or 90%" in outcome.stderr


def test_runs_that_differ_in_their_seed_are_a_group(fake_run, tmp_path):
    for name, more in {
        "a": {"seed": 1},
        "b": {"seed": 2},
        "c": {"seed": 1, "lr": 0.2},
        "d": {"seed": 3, "momentum": 0.5},
        "e": {"seed": 3, "momentum": 0.5},  # the same once more: not another seed
    }.items():
        fake_run(name, **more)
    groups = by_seed(find_runs([tmp_path]))
    assert [[run.path.name for run in group] for group in groups] == [
        ["a", "b"],
        ["c"],
        ["d"],
        ["e"],
    ]
    assert sorted(cells(find_runs([tmp_path]))["seeds"]) == [1, 2]


def test_compare_shows_the_spread_over_seeds(run_to, tmp_path):
    run_to("s1", [0.4, 0.8], seed=1)
    run_to("s2", [0.4, 0.9], seed=2)
    run_to("t1", [0.4, 0.7], seed=1, lr=0.2)
    outcome = CliRunner().invoke(main, ["compare", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.stdout.splitlines()
    assert len(lines) == 3
    assert "85.00 ± 7.07 %" in lines[1]
    assert lines[1].endswith(f"{tmp_path} (2 seeds)")
    assert lines[2].endswith("t1")
    one_by_one = CliRunner().invoke(main, ["compare", str(tmp_path / "s1"), str(tmp_path / "s2")])
    assert "±" not in one_by_one.stdout.replace("± clients", "")
