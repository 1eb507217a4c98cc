"""Which runs are found in folders."""

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.results.directory import LOCK
from p2pqg.results.search import begun_below, find_runs, num_unfinished, with_runs


def test_runs_are_found_once_however_deep_they_are_and_however_often_named(tmp_path, fake_run):
    deep = fake_run("deep", folder=tmp_path / "a" / "b")
    shallow = fake_run("shallow")
    found = find_runs([tmp_path, tmp_path / "a", shallow.path])
    assert [run.path for run in found] == [deep.path, shallow.path]


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


def test_runs_that_did_not_finish_are_counted(tmp_path, fake_run):
    fake_run("a")
    fake_run("b", rounds_done=3)
    fake_run("c", rounds_done=3, failure="diverged")
    killed = fake_run("d").path
    (killed / "summary.json").unlink()  # written at the end
    assert num_unfinished([tmp_path]) == num_unfinished([tmp_path, killed]) == 2
    (tmp_path / "config.yaml").write_text("topology: ring8")  # of a user's
    assert begun_below(tmp_path) == [killed]
    assert begun_below(tmp_path, surely=False) == [tmp_path, killed]
    (begun := tmp_path / "e").mkdir()
    (begun / "config.yaml").write_text("topology: ring8")
    (begun / LOCK).touch()  # it has no row yet
    assert begun_below(tmp_path) == [killed, begun]
