"""What a run leaves behind where the disk is full: a resume promises no more than there is."""

import errno
import json
import os

import pytest
from toys import TOY

import p2pqg
from p2pqg.base.errors import StoppedError
from p2pqg.results.checkpoint import CHECKPOINTS, newest
from p2pqg.results.directory import RunDirectory
from p2pqg.results.parquet import read_rows
from p2pqg.running.told import outcome
from p2pqg.running.writer import Writer
from p2pqg.simulation.moment import Moment


def nothing_is_left(*rounds):
    """Stands for a disk that is full whenever so many rounds are done."""
    write = Moment.write

    def until_full(moment, path):
        if moment.log.round in rounds:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(moment, path)

    return until_full


@pytest.mark.parametrize("full", [(1, 2, 3), (3,), (2,)], ids=str)
def test_a_last_checkpoint_that_does_not_fit_is_told_at_the_end(tmp_path, monkeypatch, full):
    monkeypatch.setattr(Moment, "write", nothing_is_left(*full))
    run = p2pqg.run(
        **TOY | {"rounds": 3, "engine": "local", "checkpoint_every": 1e-9, "quiet": True},
        out=str(tmp_path),
    )
    there = [path.name for path in newest(run.path / CHECKPOINTS)]
    then = f"a resume goes on from {there[0]}" if there else "there is no other: nothing is left"
    told = json.loads((run.path / "summary.json").read_text()).get("unsaved", "")
    assert ("round-000000003" in there, bool(there)) == (3 not in full, 1 not in full)
    assert told.startswith("its last checkpoint cannot be written (No sp") == (3 in full)
    assert (then in told) == (3 in full)
    assert dict(outcome(run)).get("checkpoint", "") == told


def test_changes_of_the_network_are_written_when_rows_are(tmp_path, monkeypatch):
    """All of the file is written anew: of a change in every round that grew with their square."""
    written, write = [], RunDirectory.write_table
    monkeypatch.setattr(
        RunDirectory,
        "write_table",
        lambda self, name, rows, columns: (
            written.append((name, len(rows))) or write(self, name, rows, columns)
        ),
    )
    monkeypatch.setattr("p2pqg.results.directory.SECONDS_BETWEEN_WRITES", 1e9)
    scenario = [
        {"every": 2, verb: ["0-1"], "between": [first, 11]}
        for first, verb in ((1, "drop_links"), (2, "restore_links"))
    ]
    settings = TOY | {"rounds": 12, "engine": "local", "quiet": True, "scenario": scenario}
    p2pqg.run(**settings, record_every=1, out=str(tmp_path))
    assert written == [("changes", 2 * 11)]  # both ways of a link, in each round but the first


def test_a_change_before_a_checkpoint_is_there_after_a_kill(tmp_path, monkeypatch):
    """Of the last rows a checkpoint knows; of what became of the network this file alone."""
    rows = Writer.rows

    def killed(writer, sim):
        rows(writer, sim)
        if sim.round >= 8:
            raise KeyboardInterrupt

    monkeypatch.setattr("p2pqg.results.directory.SECONDS_BETWEEN_WRITES", 1e9)
    monkeypatch.setattr("p2pqg.engine.driver.SECONDS_PER_PORTION", 0)
    settings = TOY | {"engine": "local", "quiet": True, "checkpoint_every": 1e-9, "rounds": 12}
    scenario = [{"at": 2, "drop_links": ["0-1"]}, {"at": 5, "drop_links": ["3-4"]}]
    with monkeypatch.context() as patch:
        for kept in ("close", "last_words"):
            patch.setattr(Writer, kept, lambda writer: None)
        patch.setattr(Writer, "rows", killed)
        with pytest.raises(StoppedError):
            p2pqg.run(**settings, scenario=scenario, out=str(tmp_path), name="it")
    run = p2pqg.resume(tmp_path / "it", quiet=True)
    changes = read_rows(run.path / "changes.parquet")
    assert [row["round"] for row in changes] == [2, 2, 5, 5]  # both ways of a link
