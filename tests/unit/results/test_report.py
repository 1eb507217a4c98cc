"""Which runs count, and what is averaged with what."""

import io
import math

import pandas as pd
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.paper.tables import table
from p2pqg.results.report import (
    by_seed,
    cells,
    differing,
    export,
    find_runs,
    num_unfinished,
    read_runs,
    recipe_of,
    runs_of,
    settings_of,
    with_runs,
)
from p2pqg.results.run import load


def test_a_directory_without_a_summary_is_not_a_run(tmp_path):
    with pytest.raises(ConfigError, match="no finished run here"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="no run in or below it"):
        find_runs([tmp_path])


def test_runs_are_found_once_however_deep_they_are_and_however_often_named(tmp_path, fake_run):
    deep = fake_run("deep", folder=tmp_path / "a" / "b")
    shallow = fake_run("shallow")
    found = find_runs([tmp_path, tmp_path / "a", shallow.path])
    assert [run.path for run in found] == [deep.path, shallow.path]


@pytest.mark.parametrize(
    ("length", "done", "finished"),
    [
        ({"rounds": 10}, 10, True),
        ({"rounds": 10}, 9, False),
        ({"rounds": None, "epochs": 2.5}, 10, True),  # four rounds are an epoch here
        ({"rounds": None, "epochs": 2.6}, 10, False),
    ],
)
def test_a_run_is_finished_when_it_reached_the_length_it_was_asked_for(
    fake_run, length, done, finished
):
    assert fake_run("a", rounds_done=done, **length).finished is finished


def test_a_failed_run_is_not_finished_and_says_why(fake_run):
    run = fake_run("a", failure="round 3: client 1 has a non-finite loss")
    assert not run.finished
    assert run.failure == "round 3: client 1 has a non-finite loss"


def test_runs_differ_in_the_settings_that_are_not_alike_and_in_no_others(fake_run):
    frame = settings_of([fake_run("a", lr=0.1), fake_run("b", lr=0.2, accuracy=0.7)])
    assert differing(frame) == ["lr"]


def test_a_parameter_counts_only_between_runs_of_the_same_algorithm(fake_run):
    dsgd = fake_run("a")
    qg = [
        fake_run(f"qg{mu}", algorithm={"name": "qg-dsgdm", "beta": 0.9, "mu": mu})
        for mu in (0.5, 0.9)
    ]
    assert "algorithm.mu" not in differing(settings_of([dsgd, qg[0]]))
    shown = differing(settings_of([dsgd, *qg]))
    assert "algorithm.mu" in shown
    assert "algorithm.beta" not in shown


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


def test_networks_of_unlike_sizes_are_no_seeds_of_one_setting(fake_run):
    network = "ring:mixing=lazy"  # a name that does not tell how many clients it has
    runs = [
        fake_run(f"{n}-{seed}", n / 100 + seed / 1000, topology=network, clients=n, seed=seed)
        for n in (4, 8)
        for seed in (1, 2)
    ]
    found = cells(runs)
    assert found["method"].tolist() == ["dsgd clients=4", "dsgd clients=8"]
    assert found["mean"].tolist() == pytest.approx([0.0415, 0.0815])
    assert found["seeds"].tolist() == [2, 2]
    assert [len(group) for group in by_seed(runs)] == [2, 2]
    assert differing(settings_of(runs)) == ["clients", "seed"]
    named = [fake_run(f"ring{n}", topology="ring", clients=n) for n in (4, 8)]
    assert differing(settings_of(named)) == ["topology"]  # ring4 and ring8


def test_code_that_was_edited_between_two_runs_makes_them_unlike(fake_run):
    runs = []
    for seed, code in enumerate(["net = 1", "net = 1", "net = 2"], 1):
        run = fake_run(f"s{seed}", seed / 10, seed=seed, model={"name": "m.py:net"})
        (run.path / "files").mkdir()
        (run.path / "files" / "m.py").write_text(code)
        (run.path / "files" / "weights.bin").write_bytes(bytes(2**20))
        runs.append(run)
    assert [len(group) for group in by_seed(runs)] == [2, 1]
    assert differing(settings_of(runs)) == ["seed", "files.m.py"]
    found = cells(runs)
    assert [name.partition("m.py=")[0] for name in found["method"]] == ["dsgd "] * 2
    assert sorted(found["mean"]) == pytest.approx([0.15, 0.3])
    with pytest.raises(ConfigError, match="these differ in files.m.py; give them one by one"):
        p2pqg.compare(runs)
    names = p2pqg.compare(*runs[1:]).settings["files.m.py"]
    assert names.nunique() == 2
    other = fake_run("other", 0.4, seed=4)  # without a file: its model is another one
    assert "files.m.py" not in differing(settings_of([*runs[:2], other]))


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


def test_a_run_of_a_version_that_did_not_know_a_setting_had_its_default(fake_run, tmp_path):
    old = fake_run("old", 0.5)
    impairments = {"loss": 0.0, "by": "message", "on_loss": "keep", "delay": 0}
    impairments |= {"participation": 1.0, "noise": 0.0}
    new = fake_run("new", 0.7, seed=2, impairments=impairments, checkpoint_every=0.0)
    lossy = fake_run("lossy", 0.3, impairments=impairments | {"loss": 0.1})
    assert len(cells([old, new])) == 1
    assert len(cells([old, new, lossy])) == 2
    assert differing(settings_of([old, new])) == ["seed"]
    export(runs_of([old]).drop(columns="impairments.loss"), {}, tmp_path / "small")
    assert read_runs([tmp_path / "small"])["impairments.loss"].tolist() == [0.0]


def test_what_differs_only_between_cells_stays_out_of_the_name(fake_run):
    runs = [
        fake_run("a", alpha=0.1, batch_size=32),
        fake_run("b", alpha=10.0, batch_size=64),
    ]
    assert set(cells(runs)["method"]) == {"dsgd"}


def test_a_topology_without_its_size_gets_it(fake_run):
    found = cells([fake_run("a", topology="ring"), fake_run("b", topology="ring16", seed=2)])
    assert found[["topology", "seeds"]].to_numpy().tolist() == [["ring16", 2]]


def test_runs_without_alpha_are_cells_too(fake_run):
    found = cells([fake_run("a", alpha=None, partition={"name": "iid"})])
    assert found.iloc[0]["partition"] == "iid"
    assert found.iloc[0]["mean"] == 0.9


def test_paths_without_a_run_are_skipped_and_said(tmp_path, fake_run):
    run, swept = fake_run("a"), fake_run("b", folder=tmp_path / "sweep")
    (tmp_path / "report.html").write_text("<p>")
    (tmp_path / "empty").mkdir()
    told = []
    found = with_runs(sorted(tmp_path.iterdir()), told.append)
    assert found == [run.path, swept.path.parent]
    assert told == [f"skipped {tmp_path / name}: no run in it" for name in ("empty", "report.html")]
    with pytest.raises(ConfigError, match="no such run directory"):
        with_runs([run.path, tmp_path / "typo"], told.append)
    with pytest.raises(ConfigError, match="no run in or below it"):
        with_runs([tmp_path / "empty"], told.append)


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


def test_exported_runs_make_the_same_cells(tmp_path, fake_run):
    runs = [
        fake_run("a", 0.5, folder=tmp_path / "runs", alpha=None, clients_per_actor="auto"),
        fake_run("b", 0.7, folder=tmp_path / "runs", alpha=None, seed=2, clients_per_actor=4),
        fake_run("c", folder=tmp_path / "runs", lr=0.2, failure="diverged", epochs=2.5),
    ]
    export(read_runs([tmp_path / "runs"]), {"lr": 0.1, "data_dir": "/mine"}, tmp_path / "small")
    pd.testing.assert_frame_equal(
        cells(read_runs([tmp_path / "small"])).drop(columns=["settings", "paths"]),
        cells(runs).drop(columns=["settings", "paths"]),
    )
    assert read_runs([tmp_path / "small"])["failure"].dropna().tolist() == ["diverged"]
    assert recipe_of([tmp_path / "small"]) == {"lr": 0.1}


def test_exported_runs_and_run_directories_may_be_read_together(tmp_path, fake_run):
    fake_run("a", 0.5, folder=tmp_path / "here")
    export(runs_of([fake_run("b", 0.7, seed=2)]), {}, tmp_path / "here" / "small")
    found = cells(read_runs([tmp_path / "here"]))
    assert found[["mean", "seeds"]].to_numpy().tolist() == [[0.6, 2]]


def test_a_run_that_was_not_even_built_is_in_no_table(tmp_path, fake_run):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "failed.json").write_text('{"message": "no such data"}')
    assert len(runs_of(find_runs([tmp_path]))) == 0
    fake_run("a")
    assert len(read_runs([tmp_path])) == 1


def test_runs_that_did_not_finish_are_counted(tmp_path, fake_run):
    fake_run("a")
    fake_run("b", rounds_done=3)
    fake_run("c", rounds_done=3, failure="diverged")
    assert num_unfinished([tmp_path]) == 1


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
    last = table(cells(frame)).splitlines()[-1]
    assert f"| {mean:.3g} ± {std:.3g} |" in last
    line = pd.read_csv(io.StringIO(table(cells(frame), "csv")))
    assert (line["top5"][0], line["top5_std"][0]) == pytest.approx((mean, std), abs=1e-15)
    export(frame, {}, tmp_path / "exported")
    assert cells(read_runs([tmp_path / "exported"]))["measured"][0]["top5"] == (mean, std)
