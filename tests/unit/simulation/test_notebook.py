"""A bar in a notebook follows a simulation, and does not get in the way."""

import re
from types import SimpleNamespace

import pytest

import p2pqg
from p2pqg.simulation import notebook

TINY = {"topology": "florentine15", "engine": "local", "rounds": 20, "eval_every": 5, "alpha": 1.0}


class Shell:
    """A kernel's shell: runs cells, and calls who asked to be called after one."""

    def __init__(self):
        self.kernel, self.execution_count, self.called = object(), 0, []
        self.events = SimpleNamespace(
            register=lambda event, call: self.called.append(call),
            unregister=lambda event, call: self.called.remove(call),
        )

    def run(self, cell):
        self.execution_count += 1
        cell()
        for call in list(self.called):
            call()


@pytest.fixture
def shell(monkeypatch):
    """A notebook that notes what its cells display: shell.shown is a list of lists of HTML."""
    display = pytest.importorskip("IPython.display")
    shell, shown = Shell(), []

    def show(html, display_id):
        shown.append([html.data])
        return SimpleNamespace(update=lambda html: shown[-1].append(html.data))

    monkeypatch.setattr(display, "display", show)
    monkeypatch.setattr(notebook, "notebook_shell", lambda: shell)
    shell.shown = shown
    return shell


@pytest.fixture
def sim():
    with p2pqg.Simulation(**TINY) as sim:
        yield sim


def test_outside_of_a_notebook_there_is_no_bar(sim):
    assert notebook.notebook_shell() is None
    assert notebook.watched(None, sim, 10) is None
    assert notebook.watched(print, sim, 10) is print


def test_a_bar_ends_where_the_simulation_ends(sim, shell):
    shell.run(lambda: sim.advance(7))
    (bars,) = shell.shown
    assert "starting" in bars[0]
    assert "round 7 of 7" in bars[-1]
    assert notebook.GREEN in bars[-1]


def test_a_bar_goes_on_through_the_events_of_a_scenario(shell, monkeypatch):
    monkeypatch.setattr(notebook, "SECONDS_BETWEEN_LOOKS", 0)
    with p2pqg.Simulation(**TINY, scenario=[{"at": 10, "drop_clients": [0]}]) as sim:
        shell.run(sim.finish)
    (bars,) = shell.shown
    widths = [float(re.search(r"width:([\d.]+)%", bar)[1]) for bar in bars]
    assert widths == sorted(widths)
    assert widths[-1] == 100


def test_bars_of_one_cell_follow_each_other_in_one_place_a_few_times_a_second(sim, shell):
    def cell():
        for _ in range(10):
            sim.advance(2)

    shell.run(cell)
    (bars,) = shell.shown
    assert len(bars) < 10
    assert "round 20 of 20" in bars[-1]


def test_every_cell_has_a_place_of_its_own_and_leaves_nothing_behind(sim, shell):
    for _ in range(2):
        shell.run(lambda: sim.advance(1))
    assert len(shell.shown) == 2
    assert shell.called == []


def test_who_watches_besides_the_bar_is_still_told(sim, shell):
    told = []
    shell.run(lambda: sim.advance(3, after=lambda sim: told.append(sim.round)))
    assert told[-1] == 3


def test_nothing_to_do_is_nothing_to_show(sim, shell):
    shell.run(lambda: sim.advance(0))
    assert shell.shown == []


def test_the_pace_leaves_out_what_came_before_the_first_report(monkeypatch):
    times = iter([60.0, 61.0, 64.0])  # a minute until the actors have started
    monkeypatch.setattr(notebook.time, "monotonic", lambda: next(times))
    way = notebook.Way(0, 100)
    way.pass_by(1)
    assert way.rounds_per_second is None
    way.pass_by(11)
    assert way.rounds_per_second == 10
    way.pass_by(41)
    assert way.rounds_per_second == 10


def test_a_bar_says_what_is_left_and_escapes_what_users_wrote(sim):
    sim.advance(10)
    sim.experiment.config.algorithm["name"] = "<i>mine</i>"
    way = notebook.Way(0, 20, reports=[(5, 100.0), (10, 101.0)])
    html = notebook.bar(sim, way)
    assert "round 10 of 20   2.0 s left" in html
    assert "width:50.0%" in html
    assert "&lt;i&gt;mine&lt;/i&gt;" in html
