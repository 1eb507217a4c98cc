"""Sinks have each row once, whatever happened; CSV and JSON lines say what Parquet says."""

import csv
import json
import resource
import sys
import time

import pytest
from click.testing import CliRunner
from toys import Dies, Notes

import p2pqg
from p2pqg.base.errors import ConfigError, Notice, StoppedError
from p2pqg.cli import main
from p2pqg.running.tables import Csv, JsonLines

SETTINGS = {"topology": "ring4", "model": "logistic", "engine": "local", "eval_every": 2}


class Made:
    """A simulation as sinks see it."""

    def __init__(self, *rows, columns=("round", "train_loss")):
        self.rows, self.columns = (list(rows), []), dict.fromkeys(columns, "float64")


def row(round, loss=0.1, **more):
    return {"round": round, "train_loss": loss} | more


def csv_of(path):
    with (path / "rounds.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lines_of(path):
    return [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]


def agree(run):
    """Whether both tables are rounds.parquet, to the last digit."""
    frame = run.rounds
    said, told = csv_of(run.path), lines_of(run.path)
    assert list(said[0]) == list(told[0]) == list(frame.columns)
    for name in frame.columns:
        values = [None if value != value else float(value) for value in frame[name]]
        assert [float(line[name]) if line[name] else None for line in said] == values
        assert [line[name] for line in told] == values


def test_csv_and_json_lines_say_what_parquet_says(tmp_path):
    run = p2pqg.run(**SETTINGS, rounds=5, out=str(tmp_path), record_every=1, sinks=["csv", "jsonl"])
    assert len(run.rounds) == 5
    agree(run)


def test_after_a_stop_and_resume_no_row_is_twice_and_none_missing(tmp_path):
    sinks = ["csv", "jsonl"]
    settings = {**SETTINGS, "rounds": 6, "record_every": 1, "out": str(tmp_path), "name": "a"}
    with pytest.raises(StoppedError):
        p2pqg.run(**settings, sinks=sinks, observer=Dies(3))
    kept = [line["round"] for line in lines_of(tmp_path / "a")]
    assert kept == list(range(len(kept)))
    with (tmp_path / "a" / "rounds.csv").open("a") as file:
        file.write("99,0.1")  # killed in the middle of a line
    run = p2pqg.resume(tmp_path / "a", sinks=sinks)
    assert list(run.rounds["round"]) == list(range(6))
    agree(run)


@pytest.mark.parametrize(("sink", "read"), [(Csv, csv_of), (JsonLines, lines_of)])
def test_rounds_that_run_again_are_not_written_again(sink, read, tmp_path):
    with sink() as table:
        table.begin(Made(row(0)), tmp_path)
        for rows in ([row(0), row(1)], [row(0)], [row(0), row(1), row(2)]):
            table.recorded(Made(*rows))
    assert [int(line["round"]) for line in read(tmp_path)] == [0, 1, 2]


def test_what_came_last_before_a_failure_is_written(tmp_path):
    simulation = Made(row(0))
    table = Csv()
    table.begin(simulation, tmp_path)
    simulation.rows[0].append(row(1))
    table.__exit__(ZeroDivisionError)
    assert [line["round"] for line in csv_of(tmp_path)] == ["0", "1"]


def test_a_column_that_comes_later_is_empty_before(tmp_path):
    with Csv() as table:
        table.begin(Made(row(0)), tmp_path)
        table.recorded(Made(row(0), row(1, liars=2), columns=("round", "train_loss", "liars")))
    assert [line["liars"] for line in csv_of(tmp_path)] == ["", "2"]


def test_what_is_not_finite_is_null_in_json_and_said_in_csv(tmp_path):
    for sink in (Csv, JsonLines):
        with sink() as table:
            table.begin(Made(row(0, float("inf"))), tmp_path)
    assert csv_of(tmp_path)[0]["train_loss"] == "inf"
    assert lines_of(tmp_path)[0]["train_loss"] is None


def test_rows_that_could_not_be_written_come_with_the_next(tmp_path):
    heard = Notes()
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    with JsonLines(heard) as table:
        table.begin(Made(row(0)), home)
        home.rename(away)
        table.recorded(Made(row(0), row(1)))
        table.recorded(Made(row(0), row(1)))
        away.rename(home)
        with (home / "rounds.jsonl").open("a") as file:
            file.write('{"half')
        table.recorded(Made(row(0), row(1), row(2)))
    assert [line["round"] for line in lines_of(home)] == [0, 1, 2]
    assert heard.notes == ["cannot write to jsonl (No such file or directory); going on"]


@pytest.mark.parametrize("sink", [Csv, JsonLines])
def test_half_of_a_line_that_did_not_fit_does_not_stay(sink, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with sink() as table:
        table.begin(Made(row(0)), tmp_path)
        before = (tmp_path / sink.file).read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 2, hard))
        try:
            table.recorded(Made(row(0), row(1)))
            table.close()
            assert (tmp_path / sink.file).read_bytes() == before
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("sink", "read"), [(Csv, csv_of), (JsonLines, lines_of)])
def test_a_table_that_somebody_deleted_is_whole_again_with_the_next_row(sink, read, tmp_path):
    with sink() as table:
        table.begin(Made(row(0)), tmp_path)
        table.recorded(Made(row(0), row(1)))
        (tmp_path / sink.file).unlink()
        table.recorded(Made(row(0), row(1), row(2)))
        table.recorded(Made(row(0), row(1), row(2), row(3)))
    assert [int(line["round"]) for line in read(tmp_path)] == [0, 1, 2, 3]


@pytest.mark.parametrize(("sink", "read"), [(Csv, csv_of), (JsonLines, lines_of)])
def test_a_table_that_could_not_be_made_comes_with_the_next_row(sink, read, tmp_path):
    """A disk that was full for a moment, when a run began, cost it all of its table."""
    home = tmp_path / "home"
    with sink() as table:
        table.begin(Made(row(0)), home)
        home.mkdir()
        (home / sink.file).write_text("of before\n")
        table.recorded(Made(row(0), row(1)))
    assert [int(line["round"]) for line in read(home)] == [0, 1]


def test_an_unknown_sink_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match="unknown sink 'cvs'; did you mean csv"):
        p2pqg.run(**SETTINGS, rounds=1, out=str(tmp_path), sinks=["cvs"])
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line_and_exit_code_2(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    words = ["run", "--rounds", "1", "--out", str(tmp_path), "--tensorboard"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert done.stderr == (
        "ConfigError: --tensorboard needs the package tensorboard; "
        "pip install 'p2pqg[tensorboard]', or leave it\n"
    )
    assert not list(tmp_path.iterdir())


def test_each_of_several_seeds_has_its_table(tmp_path):
    runs = p2pqg.run(**SETTINGS, rounds=2, seed=[1, 2], out=str(tmp_path), sinks=["csv", "jsonl"])
    for run in runs:
        agree(run)


def test_that_a_table_gets_no_more_rows_is_told(tmp_path):
    one = p2pqg.run(**SETTINGS, rounds=2, out=str(tmp_path), sinks=["csv", "jsonl"])
    runs = p2pqg.run(**SETTINGS, rounds=2, seed=[1, 2], out=str(tmp_path), sinks=["csv", "jsonl"])
    for done, times in ((one, 1), (runs, 2)):
        notes = Notes()
        p2pqg.resume(done.path, rounds=3, sinks=["csv"], observer=notes)
        told = "--jsonl was given before, and is not now: it gets no rows from here on"
        assert [line for line in notes.notes if "gets no rows" in line] == [told] * times
    with pytest.warns(Notice, match="--csv was given before"):
        p2pqg.resume(one.path, rounds=4, sinks=["jsonl"])


def test_what_a_sink_takes_to_open_and_to_write_is_no_waiting(tmp_path):
    class Slow:
        def begin(self, simulation, path):
            time.sleep(0.1)

        def recorded(self, simulation):
            time.sleep(0.1)

        def noted(self, text): ...
        def end(self, run): ...

    def slowly(sim, row):
        time.sleep(0.1)

    settings = SETTINGS | {"rounds": 1, "out": str(tmp_path), "profile": True}
    run = p2pqg.run(**settings, observer=Slow(), callbacks=slowly)
    assert run.profile["driver"]["recording"] > 0.3
