"""Runs as rows: of directories and of what was exported, and of old versions."""

import pandas as pd

from p2pqg.results.alike import differing, settings_of
from p2pqg.results.cells import cells
from p2pqg.results.run_frames import export, read_runs, recipe_of, runs_of
from p2pqg.results.search import find_runs


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


def test_runs_that_are_exported_again_among_themselves_are_there_once(tmp_path, fake_run):
    fake_run("a", 0.5, folder=tmp_path, alpha=None, clients_per_actor="auto")
    fake_run("b", 0.7, folder=tmp_path, alpha=0.1, seed=2, clients_per_actor=4)
    fake_run("c", folder=tmp_path, lr=0.2, failure="diverged")
    for _ in range(3):
        export(read_runs([tmp_path]), {}, tmp_path / "small")
    assert sorted(read_runs([tmp_path / "small"])["lr"]) == [0.1, 0.1, 0.2]


def test_a_run_that_was_not_even_built_is_in_no_table(tmp_path, fake_run):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "failed.json").write_text('{"message": "no such data"}')
    assert len(runs_of(find_runs([tmp_path]))) == 0
    fake_run("a")
    assert len(read_runs([tmp_path])) == 1


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


def test_a_data_set_of_before_is_in_the_same_cell_where_folders_are_read_one_by_one(
    tmp_path, fake_run
):
    data = {"name": "table", "path": "a.csv"}
    fake_run("before", 0.5, folder=tmp_path / "before", dataset=data)
    data |= {"standardise": False, "tokens": False}
    fake_run("now", 0.7, seed=2, folder=tmp_path / "now", dataset=data)
    found = cells(read_runs([tmp_path / "before", tmp_path / "now"]))
    assert found[["mean", "seeds"]].to_numpy().tolist() == [[0.6, 2]]
