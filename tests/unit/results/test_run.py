"""When a directory holds a run, when that is finished, and how it is shown."""

import json

import pytest

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.results.run import Run, load
from p2pqg.results.search import find_runs
from p2pqg.results.standing import Standing


def test_a_directory_without_a_summary_is_not_a_run(tmp_path):
    with pytest.raises(ConfigError, match="no finished run here"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="no run in or below it"):
        find_runs([tmp_path])


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


def test_a_run_in_epochs_has_not_finished_while_its_summary_is_of_before_a_resume(fake_run):
    """Killed in the last checkpoint, it stood in tables with the numbers of its first end."""
    run = fake_run("a", rounds=None, epochs=2.5)  # its rows are of ten rounds
    (run.path / "summary.json").write_text(json.dumps(run.summary | {"rounds": 9}))
    assert not Run(run.path).finished


@pytest.mark.parametrize(
    ("seconds", "finished"), [(None, False), (59.9, False), (60.0, True), (60.5, True)]
)
def test_a_run_that_ends_by_the_clock_is_finished_when_that_shows_so_much(
    fake_run, seconds, finished
):
    """None is of one that was stopped before its first row: a traceback ended `compare`."""
    run = fake_run("a", rounds=None, time="1 min")
    (run.path / "summary.json").write_text(json.dumps(run.summary | {"sim_seconds": seconds}))
    assert run.finished is finished


def test_a_run_that_goes_on_elsewhere_is_read_as_it_is_now_and_a_comparison_of_before_stays(
    tmp_path,
):
    """A notebook that held it told the accuracy of its old end beside the rows of the new one."""
    settings = {"topology": "ring4", "engine": "local", "model": "logistic", "out": str(tmp_path)}
    run = p2pqg.run(**settings, rounds=1)
    first, other = run.summary, p2pqg.run(**settings, rounds=2)
    both = p2pqg.compare(run, other)
    p2pqg.resume(run.path, rounds=2)
    assert (run.config["rounds"], run.summary["rounds"], len(run.rounds)) == (2, 2, 2)
    assert list(run.clients["round"]) == [0] * 4 + [1] * 4
    assert (first["rounds"], run.finished) == (1, True)
    assert run.summary is run.summary  # what stays the same is read once
    assert (list(both.table["rounds"]), both.notes) == ([1, 2], [])
    stood = Standing.of(run)
    run.path.joinpath("failed.json").write_text('{"message": "it did not"}')
    assert (run.finished, run.failure) == (False, "it did not")
    assert (stood.finished, stood.failure) == (True, None)


def test_a_failed_run_is_not_finished_and_says_why(fake_run):
    run = fake_run("a", failure="round 3: client 1 has a non-finite loss")
    assert not run.finished
    assert run.failure == "round 3: client 1 has a non-finite loss"


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("config.yaml", None, "config.yaml is missing"),
        ("config.yaml", "", "config.yaml: must be a mapping"),
        ("summary.json", "[1]", "summary.json: must be a mapping"),
        ("clients.parquet", None, "clients.parquet is missing"),
        ("failed.json", "", "failed.json: cannot be read"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_named_in_a_line(fake_run, file, content, told):
    run = fake_run("a")
    (run.path / file).unlink(missing_ok=True)
    if content is not None:
        (run.path / file).write_text(content)
    with pytest.raises(ConfigError, match=told):
        assert p2pqg.compare(run.path).notes
    # As a sweep finds it that was killed while it cleared it away, to do it again.
    assert file != "config.yaml" or content is not None or not Run(run.path).finished


def test_a_run_shows_what_it_was_and_what_came_of_it_as_far_as_that_is_on_record(tmp_path):
    run = Run(tmp_path / "mine")
    assert repr(run) == f"<Run {run.path}: nothing to be read>"
    run.path.mkdir()
    (run.path / "config.yaml").write_text("{algorithm: {name: d2}, topology: ring8}")
    assert repr(run) == f"<Run {run.path}: d2 on ring8>"
    (run.path / "summary.json").write_text('{"rounds": 1200, "test_accuracy": 0.5}')
    assert repr(run) == f"<Run {run.path}: d2 on ring8, 1,200 rounds, test accuracy 50.00 %>"
    (run.path / "config.yaml").write_text("{")
    assert repr(Run(run.path)) == f"<Run {run.path}: nothing to be read>"


def test_a_run_of_so_many_steps_is_finished_where_clients_wait_for_each_other_too(tmp_path):
    """It could not be asked: only clients that do not wait had their steps on record."""
    settings = {"topology": "ring4", "engine": "local", "model": "logistic", "algorithm": "dsgd"}
    run = p2pqg.run(**settings, steps=5, local_steps=2, out=str(tmp_path))
    assert (run.summary["rounds"], run.summary["steps"], run.finished) == (3, 6, True)
    assert p2pqg.compare(run).notes == []
    summary = run.summary | {"rounds": 2}
    del summary["steps"]  # as of before
    (run.path / "summary.json").write_text(json.dumps(summary))
    assert not Run(run.path).finished
