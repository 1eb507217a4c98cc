"""Seeds side by side: the same numbers, the same directories, and who stays in this process."""

import multiprocessing
import os
import signal
import threading
import time
import warnings
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from toys import Notes

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError, StoppedError
from p2pqg.engine.placement import Machine, Placement
from p2pqg.recipe.settings import read_settings
from p2pqg.running import pool
from p2pqg.running.crew import Crew
from p2pqg.running.observer import Observer, warn_unheard
from p2pqg.running.screen import Screen
from p2pqg.simulation.hosting import Hosting


@dataclass(frozen=True)
class Params:
    lr: float


SMALL = {"topology": "ring4", "model": "logistic", "engine": "local"}
LONG = SMALL | {"topology": "ring16", "rounds": 40_000, "eval_every": 40_000}


class Hears(Notes):
    def recorded_row(self, sim, row):
        self.notes.append(row)


def how_many(jobs=None, observer=None, count=3, **settings):
    return Crew(jobs, observer, ())._jobs(count, *read_settings(settings), "")


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr("p2pqg.running.crew.cores", lambda: [0, 1, 2, 3])


def numbers(run):
    return run.rounds.select_dtypes("number").drop(columns="wall_seconds")


def test_side_by_side_stopped_and_resumed_numbers_are_those_of_one_after_the_other(
    tmp_path, capsys
):
    def sure(outputs, targets):
        return outputs.softmax(1).max(1).values.mean().item()

    def slow_and_stopped(sim, row):
        """Seed 1 presses Ctrl-C in the process that leads both, when seed 2 is under way."""
        under_way = Path(sim.experiment.config.out).with_name("under-way")
        if multiprocessing.parent_process() is None:
            return  # resumed
        if sim.experiment.config.seed == 2:
            under_way.touch()
            time.sleep(0.3)
        elif row["round"] == 10:
            while not under_way.exists():
                time.sleep(0.1)
            os.kill(os.getppid(), signal.SIGINT)

    settings = SMALL | {"rounds": 40, "record_every": 1, "out": str(tmp_path)}
    settings |= {"metrics": {"sure": sure}, "sinks": ["csv"]}
    whole = p2pqg.run(seed=[1, 2], name="whole", jobs=1, **settings)
    with Screen() as screen:
        settings |= {"callbacks": [slow_and_stopped], "name": "both", "observer": screen}
        stops = r"seed 1: stopped in round \d+; seed 2: stopped in round"
        with pytest.raises(StoppedError, match=stops):
            p2pqg.run(seed=[1, 2], jobs=2, **settings)
    assert capsys.readouterr().out.count("algorithm  ") == 1  # the first seed says it for all
    again = {"metrics": {"sure": sure}, "callbacks": [slow_and_stopped]}
    done = p2pqg.resume(tmp_path / "both", sinks=["csv"], **again)
    for alone, beside in zip(whole, done, strict=True):
        assert numbers(beside).equals(numbers(alone))
        assert len((beside.path / "rounds.csv").read_text().splitlines()) == 41
    assert done.summary.loc["sure", "mean"] == whole.summary.loc["sure", "mean"]


class Here:
    """A pool that does all in this process."""

    def __init__(self, *given): ...

    def __enter__(self):
        return self

    def __exit__(self, *error): ...

    def carry_out(self, do, todo, tell):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("p2pqg.running.crew.say", tell)
            for name, arguments in todo.items():
                do(*arguments)
                yield name, None


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("sinks", [[], ["csv"]])
def test_what_has_to_be_known_of_a_seed_is_warned_of_wherever_it_runs(
    tmp_path, monkeypatch, jobs, sinks
):
    monkeypatch.setattr("p2pqg.running.crew.Pool", Here)
    config, own = read_settings(SMALL)
    todo = {seed: partial(warn_unheard, text=f"of {seed}") for seed in (1, 2)}
    with pytest.warns(p2pqg.Notice) as told:
        list(Crew(jobs, None, sinks).each(todo, tmp_path, config, own))
    assert [str(one.message) for one in told] == ["of 1", "of 2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(Crew(jobs, Notes(), sinks).each(todo, tmp_path, config, own))


def test_there_are_as_many_processes_as_are_faster(four_cores):
    assert how_many(**LONG) == (3, "")
    assert how_many(**LONG, count=9) == (4, "")
    assert how_many(**LONG | {"rounds": 50}) == (1, "")  # they would take longer to start
    assert how_many(**LONG | {"rounds": 50}, jobs=2) == (2, "")
    assert how_many(**LONG, jobs=1) == (1, "")
    assert how_many(**LONG | {"engine": "ray"}) == (1, "")  # which has all cores already
    wide = {"name": "mlp", "hidden": [4096, 4096]}  # its threads take all cores
    assert how_many(**LONG | {"model": wide}) == (1, "")


def test_there_are_no_more_processes_than_there_is_memory_for(four_cores, monkeypatch):
    monkeypatch.setattr("p2pqg.running.crew.available_memory", lambda: 1500 * 2**20)
    assert how_many(**LONG) == (2, "")


def test_what_learns_of_a_run_in_this_process_keeps_it_here(four_cores):
    rows = []
    _, why = how_many(**LONG, callbacks=[lambda sim, row: rows.append(row)])
    assert why == "callbacks[0] uses rows of this process; jobs=3 gives each process a copy"
    assert how_many(**LONG, callbacks=[lambda sim, row: None]) == (3, "")
    assert how_many(**LONG, observer=Hears())[0] == 1


def test_a_callback_that_counts_or_collects_in_any_way_keeps_it_here(four_cores):
    count = 0

    def counts(sim, row):
        nonlocal count
        count += 1

    def collects(sim, row, seen=[]):  # noqa: B006
        seen.append(row)

    def keeps_to_itself(sim, row):
        loss = row["train_loss"]
        return [loss for _ in range(2)], lambda: loss

    for one, what in (
        (counts, "count"),
        (collects, "seen"),
        (Hears().recorded_row, "an object (Hears)"),
    ):
        jobs, why = how_many(**LONG, callbacks=[one])
        assert (jobs, why.partition(";")[0]) == (1, f"callbacks[0] uses {what} of this process")
    assert how_many(**LONG, callbacks=[keeps_to_itself]) == (3, "")


def test_stopped_before_any_seed_began_leaves_nothing_and_says_to_run_it_again(
    tmp_path, monkeypatch
):
    def stops(*_):
        raise KeyboardInterrupt

    settings = SMALL | {"rounds": 2, "out": str(tmp_path), "name": "early"}
    with monkeypatch.context() as patch:
        patch.setattr("p2pqg.running.pool.Pool.carry_out", stops)
        with pytest.raises(StoppedError, match="^stopped before any seed had begun; run it again$"):
            p2pqg.run(seed=[1, 2], jobs=2, **settings)
    assert not (tmp_path / "early").exists()
    assert p2pqg.run(seed=[1, 2], jobs=1, **settings).finished


def test_what_cannot_travel_is_run_here_and_a_line_says_why(tmp_path):
    lock, heard = threading.Lock(), Hears()

    def guarded(outputs, targets):
        with lock:
            return 1.0

    settings = SMALL | {"rounds": 2, "out": str(tmp_path), "metrics": {"guarded": guarded}}
    runs = p2pqg.run(seed=[1, 2], jobs=2, observer=heard, **settings)
    assert runs.finished
    assert heard.notes[0].startswith("seeds run one after the other: an object of the settings")
    assert "lock" in heard.notes[0]


def test_an_algorithm_that_a_script_has_registered_is_run_here(tmp_path):
    @p2pqg.algorithm("halves", params=Params, start=ALGORITHMS["dsgd"].traits["start"])
    def halves(s, grad, p):
        x = yield p2pqg.gossip(s.x - p.lr / 2 * grad(s.x))
        return s._replace(x=x)

    heard, line = Hears(), "one after the other: algorithm halves is known in this process alone"
    settings = SMALL | {"rounds": 2, "out": str(tmp_path), "algorithm": "halves"}
    assert p2pqg.run(seed=[1, 2], jobs=2, observer=heard, **settings).finished
    assert line in heard.notes[0]
    with pytest.warns(p2pqg.Notice, match=line):
        p2pqg.run(seed=[1, 2], jobs=2, **settings)


@pytest.mark.parametrize("sinks", [[], ["csv"]])
def test_what_should_be_known_of_the_settings_is_warned_of_once_where_nobody_watches(
    tmp_path, sinks
):
    settings = SMALL | {"rounds": 2, "out": str(tmp_path), "planned_rounds": 9, "sinks": sinks}
    for seed in (1, [1, 2]):
        with pytest.warns(p2pqg.Notice) as told:
            p2pqg.run(seed=seed, jobs=1, **settings)
        (line,) = told
        assert str(line.message).startswith("planned_rounds 9 is ignored")
        assert line.filename == __file__
    before = set(tmp_path.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in (1, [1, 2]):
            with pytest.raises(p2pqg.Notice):
                p2pqg.run(seed=seed, jobs=1, **settings)
        assert set(tmp_path.iterdir()) == before  # nothing was started
        p2pqg.run(observer=Notes(), **settings)


def test_what_an_observer_raises_in_another_process_is_raised_here(tmp_path, monkeypatch):
    # One other process will do: each takes seconds to start.
    monkeypatch.setattr("p2pqg.running.crew.Pool", lambda jobs, *shares: pool.Pool(1, *shares))

    class Full(Exception):
        """As people write them: not made of what it was given, and it holds what cannot travel."""

        def __init__(self, what, where):
            super().__init__(f"{what} is full: {where}")
            self.lock, self.where = threading.Lock(), where

    class Watches(Observer):
        def recorded(self, simulation):
            raise Full("the disk", "/data")

    settings = SMALL | {"rounds": 2, "out": str(tmp_path), "observer": Watches()}
    with pytest.raises(Full, match="^the disk is full: /data$") as caught:
        p2pqg.run(seed=[1, 2], jobs=2, **settings)
    assert "in recorded" in str(caught.value.__cause__)  # the other process's traceback


class Short(Exception):
    """It makes a sentence of what it is given, and pickle would give it that sentence."""

    def __init__(self, left):
        super().__init__(f"{left} bytes are left")


def test_a_sentence_is_not_made_of_a_sentence_on_the_way_home():
    home = pool._come_home(pool._Abroad.of(Short(5)))
    assert isinstance(home, Short)
    assert str(home) == "5 bytes are left"


def test_a_wrong_number_of_jobs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="jobs must be an integer >= 1 or left out, got 0"):
        p2pqg.run(**SMALL, jobs=0, out=str(tmp_path))


def test_who_cannot_watch_or_is_no_sink_is_refused_before_anything_starts(tmp_path):
    place = str(tmp_path / "out")
    with pytest.raises(
        ConfigError, match=r"observer \(int\) must have begin, recorded, noted, end"
    ):
        p2pqg.run(**SMALL, observer=5, out=place)
    with pytest.raises(
        ConfigError, match=r"observer is the class .*; give an object of it, \w+\(\)"
    ):
        p2pqg.run(**SMALL, observer=Crew, out=place)
    with pytest.raises(ConfigError, match="sinks must be a list of names, got 5"):
        p2pqg.run(**SMALL, sinks=5, out=place)
    with pytest.raises(ConfigError, match="attacks must be a list or a mapping, got 5"):
        p2pqg.run(**SMALL, attacks=5, out=place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stops", [False, True])
def test_seeds_that_follow_each_other_share_the_ray_of_the_first_one(tmp_path, stops):
    """Which takes seconds to start; it ends with the last one, or one that failed with it."""

    class Ray:
        users = 0

        def share(self):
            self.users += 1
            return self

        def close(self):
            self.users -= 1

    cluster, during = Ray(), []

    def do(observer):
        placement = Placement((0, 4), 0, 1, "")
        hosting = Hosting(Machine(2, 0, None), "cpu", placement, cluster.share())
        sim = SimpleNamespace(hosting=hosting)
        observer.begin(sim, tmp_path)
        sim.hosting.close()
        during.append(cluster.users)
        if stops:
            raise StoppedError("stopped")

    config, own = read_settings(SMALL | {"engine": "ray"})
    ended = Crew(None, None, ()).each(dict.fromkeys([1, 2, 3], do), tmp_path, config, own)
    with closing(ended):
        for _ in ended:
            assert cluster.users == (0 if stops else 1)
    assert during == [1] * 3
    assert cluster.users == 0
