"""Several seeds of one simulation: as each alone, in one directory, stopped and finished."""

import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError, DivergedError, StoppedError, StorageError
from p2pqg.cli import main
from p2pqg.results.alike import by_seed
from p2pqg.results.cells import cells
from p2pqg.running.observer import Observer
from p2pqg.running.seeds import _carried_out

SMALL = {
    "topology": "ring4",
    "model": "logistic",
    "engine": "local",
    "rounds": 4,
}


@dataclass(frozen=True)
class Params:
    lr: float


class Interrupting(Observer):
    """Presses Ctrl-C in the run of that seed, once it has a row."""

    def __init__(self, seed):
        self.seed = seed

    def recorded(self, simulation):
        if simulation.experiment.config.seed == self.seed and simulation.round == 1:
            raise KeyboardInterrupt


class InterruptingAtTheEnd(Interrupting):
    """Presses Ctrl-C when that seed has ended."""

    def end(self, run):
        if run.config["seed"] == self.seed:
            raise KeyboardInterrupt

    def recorded(self, simulation): ...


@pytest.fixture
def small(tmp_path):
    return SMALL | {"out": str(tmp_path)}


def test_each_seed_is_the_run_that_it_is_alone(small):
    runs = p2pqg.run(seed=[1, 2], name="both", **small)
    alone = p2pqg.run(seed=2, name="alone", **small)
    assert [run.config["seed"] for run in runs] == [1, 2]
    assert runs[1].summary["test_accuracy"] == alone.summary["test_accuracy"]
    assert runs[0].summary["consensus_distance"] != alone.summary["consensus_distance"]
    again = p2pqg.load(runs.path)
    assert again.summary.equals(runs.summary)
    told = json.loads((runs.path / "seeds.json").read_text())["summary"]
    assert told["test_accuracy"]["mean"] == runs.summary.loc["test_accuracy", "mean"]


def test_wrong_settings_leave_nothing_behind(small, tmp_path):
    with pytest.raises(ConfigError, match="unknown algorithm 'dsgdd'"):
        p2pqg.run(seed=[1, 2], algorithm="dsgdd", **small)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_seeds_is_not_written_over(small, tmp_path):
    (tmp_path / "one").mkdir()  # as of a command that was killed while its first seed started
    (tmp_path / "one" / "seeds.json").write_text('{"seeds": [1, 2], "summary": {}}')
    with pytest.raises(ConfigError, match="none of its seeds had begun; run it again"):
        p2pqg.resume(tmp_path / "one")
    p2pqg.run(seed=[1], name="one", **small)
    with pytest.raises(ConfigError, match="already holds a run"):
        p2pqg.run(seed=[2], name="one", **small)


def test_why_a_seed_failed_is_told_also_where_the_directory_has_gone(tmp_path):
    ended = (one for one in [(1, StorageError("no room"))])
    with pytest.raises(StorageError, match="seed 1: no room; run it again"):
        _carried_out(tmp_path / "gone", ended)


@pytest.mark.parametrize(
    ("seed", "then"),
    [(1, "`p2pqg resume {}` does the rest (1 of 2 seeds done)"), (2, "all 2 seeds are done: {}")],
)
def test_ctrl_c_between_two_seeds_or_after_the_last_says_what_is_done(small, seed, then):
    """It said "stopped", and no more."""
    with pytest.raises(StoppedError) as stop:
        p2pqg.run(seed=[1, 2], name="these", observer=InterruptingAtTheEnd(seed), **small)
    path = stop.value.results
    assert str(stop.value) == f"stopped; {then.format(path)}"
    assert p2pqg.load(path).missing == [2][seed - 1 :]
    (path / "seed2").mkdir(exist_ok=True)
    (path / "seed2" / "failed.json").write_text('{"message": "it diverged"}')
    assert p2pqg.load(path).what_next == f"1 of 2 seeds done: {path}"  # a failure is over


@pytest.mark.parametrize("checkpoint_every", [60, 0])
def test_what_ctrl_c_left_undone_is_resumed(small, checkpoint_every):
    settings = small | {"checkpoint_every": checkpoint_every, "record_every": 1, "eval_every": 1}
    with pytest.raises(StoppedError, match="seed 2: stopped in round 1; `p2pqg resume") as stop:
        p2pqg.run(seed=[1, 2, 3], name="these", observer=Interrupting(2), **settings)
    assert str(stop.value).endswith("does the rest (1 of 3 seeds done)")
    left = p2pqg.load(stop.value.results)
    assert left.missing == [2, 3]
    first = (left[0].path / "rounds.parquet").stat().st_mtime_ns
    done = p2pqg.resume(left.path, rounds=None, name=None)  # as the command gives its flags
    assert (done[0].path / "rounds.parquet").stat().st_mtime_ns == first
    whole = p2pqg.run(seed=[1, 2, 3], name="whole", **settings)
    accuracies = [run.summary["test_accuracy"] for run in whole]
    assert [run.summary["test_accuracy"] for run in done] == accuracies
    record, told = left.path / "seeds.json", (left.path / "seeds.json").read_text()
    record.write_text('{"seeds": [1, 2, 3], "summary": {}}')  # killed before it was brought up
    with pytest.raises(ConfigError, match="has done all its seeds; ask for more with --rounds"):
        p2pqg.resume(left.path)
    assert record.read_text() == told
    longer = p2pqg.resume(left.path, rounds=6) if checkpoint_every else None
    assert longer is None or [run.summary["rounds"] for run in longer] == [6, 6, 6]


@pytest.mark.parametrize("replan", [False, True])
def test_a_seed_that_begins_where_others_go_on_for_longer_has_their_milestones(small, replan):
    settings = small | {"lr_schedule": {"milestones": [0.5]}, "rounds": 4, "record_every": 1}
    seeds = p2pqg.run(**settings, seed=[1, 2], jobs=1, name="s")
    shutil.rmtree(seeds.of_seed(2).path)
    first, second = p2pqg.resume(seeds.path, rounds=8, jobs=1, replan=replan)
    assert first.config["planned_rounds"] == second.config["planned_rounds"]
    drops = [int((run.rounds["lr"] == run.rounds["lr"].iloc[0]).sum()) for run in (first, second)]
    assert drops == ([2, 4] if replan else [2, 2])
    assert p2pqg.compare(seeds.path).table["rounds"].tolist() == [8]


def test_a_seed_that_begins_later_keeps_objects_under_the_names_that_the_others_have(small):
    x = np.random.default_rng(0).standard_normal((80, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    objects = {
        "dataset": (x, y, x + 1, y),
        "topology": nx.cycle_graph(4),
        "partition": [np.arange(client, 80, 4) for client in range(4)],
    }
    seeds = p2pqg.run(**small | {"seed": [1, 2]} | objects, jobs=1, name="s")
    shutil.rmtree(seeds.of_seed(2).path)
    with pytest.warns(p2pqg.Notice, match="seed 2 has the split that seed 1 kept"):
        first, second = p2pqg.resume(seeds.path, jobs=1)
    named = [{key: one.config[key] for key in objects} for one in (first, second)]
    assert named[0] == named[1]
    files = [{f.name: f.read_bytes() for f in (one.path / "files").iterdir()} for one in seeds]
    assert files[0] == files[1]
    assert len(files[0]) == 3
    assert len(p2pqg.compare(seeds.path).groups) == 1
    assert cells([first, second])["seeds"].tolist() == [2]
    assert [len(group) for group in by_seed([first, second])] == [2]


def test_a_seed_that_begins_with_another_algorithm_of_that_name_is_told_apart(small):
    def define(scale):
        @p2pqg.algorithm("scaled", params=Params, start=ALGORITHMS["dsgd"].traits["start"])
        def scaled(s, grad, p):
            x = yield p2pqg.gossip(s.x - scale * p.lr * grad(s.x))
            return s._replace(x=x)

    class Hears(Observer):
        notes = []

        def noted(self, text):
            self.notes.append(text)

    define(1)
    seeds = p2pqg.run(**small | {"algorithm": "scaled"}, seed=[1, 2], jobs=1, name="s")
    shutil.rmtree(seeds.of_seed(2).path)
    define(2)
    first, second = p2pqg.resume(seeds.path, jobs=1, observer=Hears())
    assert any("scaled is not what the run began with" in note for note in Hears.notes)
    assert [len(group) for group in by_seed([first, second])] == [1, 1]
    shutil.rmtree(seeds.of_seed(2).path)
    with pytest.warns(p2pqg.Notice, match="scaled is not what the run began with"):
        p2pqg.resume(seeds.path, jobs=1)
    with pytest.warns(p2pqg.Notice, match="scaled is not what the run began with"):
        p2pqg.resume(seeds.path, jobs=1, rounds=6, sinks=["csv"])  # a sink hears no notes
    shutil.rmtree(seeds.of_seed(2).path)
    del ALGORITHMS._entries["scaled"]
    with pytest.raises(ConfigError, match="define it again before you resume"):
        p2pqg.resume(seeds.path, jobs=1)


def test_a_seed_that_diverges_does_not_keep_the_others_from_running(small):
    with pytest.raises(DivergedError, match="seed 1: .*; seed 2: .*; results so far: [^;]*$"):
        p2pqg.run(seed=[1, 2], name="far", **small | {"lr": 1e38, "rounds": 40})

    def diverges_with_seed_1(sim, row):
        if sim.experiment.config.seed == 1:
            raise DivergedError("round 3: client 0 has a loss that is not finite")

    settings = small | {"callbacks": [diverges_with_seed_1]}
    with pytest.raises(DivergedError, match="^seed 1: round 3: [^;]*; the other seeds are done"):
        p2pqg.run(seed=[1, 2], name="near", **settings)


def test_the_command_prints_one_json_with_the_seeds(small, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small | {"seed": [4, 5]}))
    outcome = CliRunner().invoke(main, ["run", str(recipe), "--name", "two", "--json"])
    assert outcome.exit_code == 0, outcome.output
    told = json.loads(outcome.stdout)
    assert told["seeds"] == [4, 5]
    accuracies = [told["runs"][seed]["test_accuracy"] for seed in ("4", "5")]
    assert told["summary"]["test_accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)


def test_the_command_shows_mean_and_spread(small):
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in small.items()]
    outcome = CliRunner().invoke(main, ["run", "--seed", "1,2", "--name", "two", *flags])
    assert outcome.exit_code == 0, outcome.output
    header = outcome.output.splitlines()[-13:]
    assert any(line.split() == ["mean", "std", "95", "%", "from", "to"] for line in header)
    assert outcome.output.endswith(f"{small['out']}/two\n")


def logistic(num_classes, input_shape):
    return torch.nn.Linear(input_shape[0], num_classes)


def test_seeds_that_were_killed_before_a_checkpoint_begin_anew_with_the_users_own_model(small):
    settings = small | {"model": logistic, "checkpoint_every": 0}
    with pytest.raises(StoppedError):
        p2pqg.run(seed=[1, 2], name="these", observer=Interrupting(1), record_every=1, **settings)
    left = Path(small["out"]) / "these"
    (left / "seed1" / "summary.json").unlink()
    done = p2pqg.resume(left)
    whole = p2pqg.run(seed=[1, 2], name="whole", record_every=1, **settings)
    assert done.summary.loc["test_accuracy"].equals(whole.summary.loc["test_accuracy"])


def test_several_jobs_for_one_seed_are_told_to_do_nothing(small, capsys):
    run = p2pqg.run(seed=1, jobs=3, quiet=False, **small)
    assert "note: jobs 3 is ignored: there is one seed" in capsys.readouterr().out
    p2pqg.resume(run.path, rounds=run.summary["rounds"] + 1, jobs=1, quiet=False)
    assert "note: jobs" not in capsys.readouterr().out
    with warnings.catch_warnings():
        warnings.simplefilter("error", p2pqg.Notice)  # it is nothing that has to be known
        p2pqg.resume(run.path, rounds=run.summary["rounds"] + 2, jobs=3)
