"""TensorBoard gets every number of every row once, and whoever else watches hears it all."""

import errno
import sys
import threading
from types import SimpleNamespace

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.running.tensorboard import TensorBoard


class Recorder:
    """Somebody who watches; and a file of events."""

    def __init__(self):
        self.heard, self.scalars, self.closed = [], [], False

    def add_scalar(self, name, value, step, *, wall_time):
        self.scalars.append((name, value, step))

    def flush(self):
        pass

    def close(self):
        self.closed = True

    def begin(self, simulation, path):
        self.heard.append("begin")

    def recorded(self, simulation):
        self.heard.append("recorded")

    def noted(self, text):
        self.heard.append(text)

    def end(self, run):
        self.heard.append("end")


@pytest.fixture
def events(monkeypatch):
    """What is written, and where."""
    file = Recorder()

    def writer(folder):
        file.folder = folder
        return file

    monkeypatch.setitem(sys.modules, "tensorboard.summary", SimpleNamespace(Writer=writer))
    return file


def simulation(*rows):
    columns = ("round", "wall_seconds", "train_loss", "test_accuracy")
    return SimpleNamespace(rows=(list(rows), []), columns=columns)


def row(round, loss, **more):
    return {"round": round, "wall_seconds": 1.0 + round, "train_loss": loss} | more


def test_every_number_is_written_once_at_its_round(events, tmp_path):
    first, second = row(0, 2.0), row(1, 1.0, test_accuracy=0.5, not_a_column=7.0)
    with TensorBoard() as board:
        board.begin(simulation(), tmp_path)
        board.recorded(simulation(first))
        board.recorded(simulation(first, second))
        board.recorded(simulation(first))  # a crash: round 1 runs again
        board.recorded(simulation(first, second))
    assert events.folder == str(tmp_path / "tensorboard")
    assert events.scalars == [
        ("train_loss", 2.0, 0),
        ("train_loss", 1.0, 1),
        ("test_accuracy", 0.5, 1),
    ]
    assert events.closed


def test_whoever_else_watches_hears_everything(events, tmp_path):
    screen = Recorder()
    board = TensorBoard(screen)
    board.begin(simulation(), tmp_path)
    board.recorded(simulation())
    board.noted("actor 1 died")
    board.end(None)
    assert screen.heard == ["begin", "recorded", "actor 1 died", "end"]


def test_without_tensorboard_there_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(ConfigError, match="needs the package tensorboard; pip install"):
        TensorBoard()


@pytest.mark.parametrize("fails", ["open", "flush"])
def test_a_disk_that_is_full_at_the_end_is_told_and_no_failure_of_the_run(
    events, tmp_path, monkeypatch, fails
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if fails == "open":
        monkeypatch.setattr(sys.modules["tensorboard.summary"], "Writer", full)
    events.flush = full
    screen = Recorder()
    with TensorBoard(screen) as board:
        board.begin(simulation(row(0, 2.0)), tmp_path)
        board.end(None)
    told = "cannot write to tensorboard (No space left on device); going on"
    assert sorted(screen.heard) == ["begin", told, "end"]


def test_what_ends_tensorboards_thread_is_no_traceback_and_other_threads_are_told(monkeypatch):
    class Theirs(threading.Thread):
        __module__ = "tensorboard.summary.writer"

    heard: list = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    for kind in (Theirs, threading.Thread):
        with TensorBoard():
            one = kind(target=lambda: 1 / 0)
            one.start()
            one.join()
    assert [type(what.thread) for what in heard] == [threading.Thread]
    assert threading.excepthook == heard.append


def test_tensorboard_itself_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard.summary")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seeds = [tmp_path / "seed1", tmp_path / "seed2"]
    with TensorBoard() as board:
        for path in seeds:  # one after the other
            board.begin(simulation(), path)
            board.recorded(simulation(row(0, 2.0), row(3, 1.5)))
    for path in seeds:
        found = EventAccumulator(str(path / "tensorboard")).Reload()
        assert [event.step for event in found.Tensors("train_loss")] == [0, 3]


def test_a_run_that_goes_on_has_each_of_its_rows_once(tmp_path):
    pytest.importorskip("tensorboard.summary")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = [row(round, 1 / (1 + round)) for round in range(4)]
    for done in (2, 3):  # killed, and resumed from a checkpoint one row before its last
        with TensorBoard() as board:
            board.begin(simulation(*rows[: done - 1]), tmp_path)
            board.recorded(simulation(*rows[: done + 1]))
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in found.Tensors("train_loss")] == [0, 1, 2, 3]
