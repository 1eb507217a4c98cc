"""Which runs count, and what is averaged with what."""

import io
import math

import numpy as np
import pandas as pd
import pytest

import p2pqg
from p2pqg.paper.tables import table
from p2pqg.results.cells import cells
from p2pqg.results.run_frames import MEASURED, export, read_runs


def test_a_cell_is_the_mean_and_sample_deviation_over_seeds(fake_run):
    found = cells([fake_run(f"s{seed}", 0.8 + seed / 100, seed=seed) for seed in (1, 2, 3)])
    row = found.iloc[0]
    assert len(found) == 1
    assert row["mean"] == pytest.approx(0.82)
    assert row["std"] == pytest.approx(0.01)
    assert row["seeds"] == 3


def test_what_is_shown_of_files_is_not_the_folders_that_lead_to_them(fake_run):
    runs = [
        fake_run(
            f"{net}-{method}",
            0.5,
            topology=f"/home/ada/{net}/net.csv",
            dataset={"name": "csv", "path": "/home/ada/photos.csv"},
            model={"name": f"/home/ada/{net}.py:net"},
            algorithm={"name": f"/home/ada/{method}.py:mine"},
        )
        for net in "ab"
        for method in ("one", "two")
    ]
    found = cells(runs)
    assert len(found) == 4
    assert set(found["topology"]) == {"a/net.csv", "b/net.csv"}
    assert set(found["model"]) == {"a.py:net", "b.py:net"}
    assert set(found["method"]) == {"one.py:mine", "two.py:mine"}
    for style in ("markdown", "latex", "csv"):
        assert "/home/ada" not in table(found, style)


def test_the_learning_rate_with_the_best_mean_over_seeds_wins(fake_run):
    accuracies = {(0.1, 1): 0.80, (0.1, 2): 0.82, (0.2, 1): 0.95, (0.2, 2): 0.60}
    found = cells(
        [fake_run(f"{lr}-{seed}", a, lr=lr, seed=seed) for (lr, seed), a in accuracies.items()]
    )
    assert found.iloc[0]["lr"] == 0.1


def test_a_learning_rate_at_which_a_seed_failed_is_not_chosen(fake_run):
    found = cells(
        [
            fake_run("a1", 0.5, lr=0.1, seed=1),
            fake_run("a2", 0.5, lr=0.1, seed=2),
            fake_run("b1", 0.9, lr=0.2, seed=1),
            fake_run("b2", lr=0.2, seed=2, failure="diverged"),
        ]
    )
    assert found.iloc[0]["lr"] == 0.1


def test_a_learning_rate_with_fewer_seeds_than_another_is_not_chosen(fake_run):
    found = cells(
        [
            fake_run("a1", 0.5, lr=0.1, seed=1),
            fake_run("a2", 0.5, lr=0.1, seed=2),
            fake_run("b1", 0.9, lr=0.2, seed=1),
        ]
    )
    assert found.iloc[0]["lr"] == 0.1


def test_where_every_learning_rate_failed_there_is_a_cell_without_a_mean(fake_run):
    found = cells([fake_run("a", failure="diverged")])
    assert math.isnan(found.iloc[0]["mean"])
    assert found.iloc[0]["seeds"] == 1


def test_the_only_learning_rate_has_no_mean_over_those_of_its_seeds_that_did_not_fail(fake_run):
    runs = [fake_run("a1", 0.5, seed=1), fake_run("a2", seed=2, failure="diverged")]
    (cell,) = cells(runs).to_dict("records")
    assert math.isnan(cell["mean"])
    assert (cell["seeds"], cell["failed"]) == (2, 1)


def test_runs_that_were_stopped_do_not_count(fake_run):
    found = cells([fake_run("a", 0.9, seed=1), fake_run("b", 0.1, seed=2, rounds_done=5)])
    assert found.iloc[0][["mean", "seeds"]].tolist() == [0.9, 1]


def test_the_same_run_twice_counts_once(fake_run):
    found = cells([fake_run("a", 0.5, engine="ray"), fake_run("b", 0.7, engine="local")])
    assert found[["mean", "seeds"]].to_numpy().tolist() == [[0.7, 1]]


def test_what_differs_within_a_cell_becomes_part_of_the_methods_name(fake_run):
    runs = [
        fake_run(f"{mu}", mu, algorithm={"name": "qg-dsgdm", "mu": mu}) for mu in (0.5, 0.9)
    ] + [fake_run("dsgd")]
    assert set(cells(runs)["method"]) == {"qg-dsgdm mu=0.5", "qg-dsgdm mu=0.9", "dsgd"}
    ended_otherwise = [fake_run("a"), fake_run("b", rounds=None, steps=10)]
    assert set(cells(ended_otherwise)["method"]) == {
        "dsgd rounds=10 steps=none",
        "dsgd rounds=none steps=10",
    }


def test_what_differs_only_between_cells_stays_out_of_the_name(fake_run):
    runs = [
        fake_run("a", alpha=0.1, batch_size=32),
        fake_run("b", alpha=10.0, batch_size=64),
    ]
    assert set(cells(runs)["method"]) == {"dsgd"}


def test_runs_without_alpha_are_cells_too(fake_run):
    found = cells([fake_run("a", alpha=None, partition={"name": "iid"})])
    assert found.iloc[0]["partition"] == "iid"
    assert found.iloc[0]["mean"] == 0.9


def test_no_runs_make_no_cells():
    assert cells([]).empty


def test_a_cell_says_what_it_cost(fake_run):
    runs = [fake_run(f"{lr}-{s}", lr=lr, seed=s) for lr in (0.1, 0.2) for s in (1, 2)]
    runs.append(fake_run("c", lr=0.4, seed=1, failure="diverged"))
    (row,) = cells(runs).to_dict("records")
    assert (row["rates"], row["runs"], row["failed"]) == (3, 5, 1)
    assert (row["gradients"], row["bytes"]) == (10, 2e6)
    assert row["settings"]["algorithm"] == "dsgd"
    assert math.isnan(row["epochs"])


def test_what_a_users_metrics_measured_is_in_tables_over_seeds(tmp_path):
    runs = p2pqg.run(
        topology="ring4",
        model="logistic",
        engine="local",
        rounds=4,
        metrics=["top5"],
        seed=[1, 2],
        out=str(tmp_path),
    )
    values = pd.Series([run.summary["top5"] for run in runs])
    frame = read_runs([tmp_path])
    assert len(cells(frame)) == 1  # seeds of one method, whatever they measured
    mean, std = cells(frame)["measured"][0]["top5"]
    assert (mean, std) == (values.mean(), values.std())
    third = frame.iloc[:1].assign(seed=3, **{f"{MEASURED}top5": math.nan})
    lost = cells(pd.concat([frame, third]))["measured"][0]["top5"]
    assert np.isnan(lost).all()  # a mean of the others would flatter
    last = table(cells(frame)).splitlines()[-1]
    assert f"| {mean:.3g} ± {std:.3g} |" in last
    line = pd.read_csv(io.StringIO(table(cells(frame), "csv")))
    assert (line["top5"][0], line["top5_std"][0]) == pytest.approx((mean, std), abs=1e-15)
    export(frame, {}, tmp_path / "exported")
    assert cells(read_runs([tmp_path / "exported"]))["measured"][0]["top5"] == (mean, std)


def test_a_run_without_accuracies_has_not_failed_and_its_metrics_are_shown(tmp_path):
    x = np.random.default_rng(0).standard_normal((60, 3))
    run = p2pqg.run(
        topology="ring4",
        dataset=(x, x @ [1.0, 2.0, 3.0]),
        model="logistic",
        partition="iid",
        engine="local",
        rounds=4,
        out=str(tmp_path),
    )
    found = cells([run])
    assert found[["failed", "runs", "lr"]].to_numpy().tolist() == [[0, 1, run.config["lr"]]]
    text = table(found)
    assert "failed" not in text
    assert f"| {run.summary['r2']:.3g} |" in text
