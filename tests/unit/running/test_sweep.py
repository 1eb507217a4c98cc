"""Resuming, failures, and the extension of a tuned learning rate."""

import io
import json
import os
import queue
import shutil
import signal

import pytest
import yaml
from rich.console import Console

from p2pqg.base.errors import AlgorithmError, ConfigError, DivergedError, StoppedError, StorageError
from p2pqg.engine.placement import Machine
from p2pqg.results.cells import cells
from p2pqg.results.directory import RunDirectory
from p2pqg.results.run import Run
from p2pqg.results.run_frames import read_runs
from p2pqg.running import pool
from p2pqg.running import sweep as sweeps
from p2pqg.running.grid import read_sweep
from p2pqg.running.screen import SweepBar
from p2pqg.running.sweep import carry_out, run_sweep

RECIPE = {
    "rounds": 10,
    "topology": "ring16",
    "sweep": {"algorithm": ["dsgd", "dsgdm"], "lr": [0.1, 0.2, 0.4], "seed": [1, 2]},
}


@pytest.fixture
def world(tmp_path, fake_run, monkeypatch):
    """Runs that end at once; world.accuracy(settings) says with what, world.done lists them."""

    class World:
        out = str(tmp_path)
        done: list = []

        def accuracy(self, settings):
            return 0.5

        def run(self, observer=None, **settings):
            self.done.append(settings["name"])
            accuracy = self.accuracy(settings)
            rest = {k: v for k, v in settings.items() if k not in ("out", "name", "algorithm")}
            algorithm = {"name": settings["algorithm"]}
            folder = tmp_path / "grid"
            assert settings["out"] == str(folder)
            fake_run(settings["name"], accuracy, folder=folder, algorithm=algorithm, **rest)

        def sweep(self, jobs=1, bar=None, **changes):
            self.last = read_sweep(RECIPE | changes, "grid", self.out)
            return run_sweep(self.last, jobs, bar)

    made = World()
    made.done = []
    monkeypatch.setattr("p2pqg.running.single.run", made.run)
    monkeypatch.setattr(sweeps, "_check_parts", lambda *_: [])
    return made


def test_parts_that_do_not_exist_are_found_before_anything_starts(tmp_path):
    sweep = read_sweep(RECIPE | {"sweep": {"algorithm": ["dsgdd"]}}, "grid", str(tmp_path))
    with pytest.raises(ConfigError, match="dsgdd: unknown algorithm 'dsgdd'"):
        run_sweep(sweep, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_is_started_again_does_only_what_is_left(world, tmp_path):
    world.sweep()
    assert len(world.done) == 12
    world.done.clear()
    (tmp_path / "grid" / "dsgd-lr0.1-seed2" / "summary.json").unlink()  # as if killed there
    world.sweep()
    assert world.done == ["dsgd-lr0.1-seed2"]
    (tmp_path / "grid" / "dsgd-lr0.1-seed2" / "summary.json").write_bytes(b"")  # power was cut
    with pytest.raises(ConfigError, match="cannot be read .*remove .*dsgd-lr0.1-seed2, and it is"):
        world.sweep()


def test_a_folder_that_cannot_be_written_is_told_in_a_line(world, tmp_path):
    (tmp_path / "grid").write_text("a file")
    with pytest.raises(ConfigError, match=r"out must be a folder .*grid.*it is none.*set --out"):
        world.sweep()
    assert world.done == []


def test_a_sweep_that_another_process_does_is_left_to_it(world, tmp_path):
    with RunDirectory.reopen(tmp_path / "grid") as other:
        other.reserve()
        with pytest.raises(ConfigError, match="grid is being written by another process; wait"):
            world.sweep()
    assert world.done == []
    assert len(world.sweep()) == 0
    assert len(world.done) == 12


def test_runs_of_other_code_or_files_of_data_are_refused_beside_those_that_are_there(tmp_path):
    table, code = tmp_path / "data.csv", tmp_path / "mine.py"
    table.write_text("a,b\n" + "".join(f"{i}.5,{i % 2}\n" for i in range(20)))
    code.write_text(
        f"import numpy as np\ndef load():\n    d = np.loadtxt('{table}', "
        "delimiter=',', skiprows=1)\n    return d[:, :1], d[:, 1].astype(int)\n"
    )
    texts = {file: file.read_text() for file in (table, code)}
    other = {table: texts[table].replace("5.5", "7.5"), code: texts[code] + "# edited\n"}
    small = {"rounds": 1, "topology": "ring3", "model": "logistic", "out": str(tmp_path)}

    def sweep(name, *rates):
        data = {"name": str(table), "label": "b"} if name == "table" else f"{code}:load"
        grid = {"dataset": data, "name": name, "sweep": {"lr": [*rates]}}
        return read_sweep(small | grid, "")

    for name, file in (("table", table), ("function", code)):
        run_sweep(sweep(name, 0.1), 1)
        file.write_text(other[file])
        with pytest.raises(ConfigError, match=f"holds runs of other .*{file.name} has changed"):
            run_sweep(sweep(name, 0.1, 0.2), 1)
        assert run_sweep(sweep(name, 0.1), 1) == {}  # nothing is left to do
        file.write_text(texts[file])
    told = []
    table.write_text(other[table])
    with SweepBar(Console(file=io.StringIO())) as bar:
        bar.noted = lambda name, text: told.append((name, text))
        assert run_sweep(sweep("function", 0.1, 0.2), 1, bar) == {}
    line = f"dataset {code}:load gives other values now than to earlier runs"
    assert told[-1] == ("function", line)


def test_longer_lists_add_runs_and_other_settings_are_refused(world):
    world.sweep()
    world.done.clear()
    world.sweep(sweep=RECIPE["sweep"] | {"seed": [1, 2, 3]})
    assert len(world.done) == 6
    with pytest.raises(ConfigError, match="other settings \\(rounds was 10, is 20\\)"):
        world.sweep(rounds=20)


def test_a_run_that_diverges_is_on_record_with_its_reason_and_stops_nobody(world, tmp_path):
    def accuracy(settings):
        if settings["lr"] == 0.4:
            raise DivergedError("round 3: client 1 ...; results so far: somewhere")
        return 0.5

    world.accuracy = accuracy
    failures = world.sweep()
    assert len(world.done) == 12
    assert set(failures.values()) == {"round 3: client 1 ..."}
    reason = json.loads((tmp_path / "grid" / "dsgd-lr0.4-seed1" / "failed.json").read_text())
    assert reason == {"error": "DivergedError", "message": "round 3: client 1 ..."}
    world.done.clear()
    assert world.sweep() == failures  # failed runs are not tried again, and still reported
    assert world.done == []


def test_an_error_of_any_kind_is_on_record_and_can_be_tried_again(world):
    def accuracy(settings):
        raise AlgorithmError("my_method.py, line 3: g is not defined")

    world.accuracy = accuracy
    assert set(world.sweep().values()) == {"my_method.py, line 3: g is not defined"}
    world.accuracy = lambda settings: 0.5
    world.done.clear()
    assert len(world.sweep()) == 12
    assert world.done == []
    assert run_sweep(world.last, 1, retry=True) == {}
    assert len(world.done) == 12


def test_a_run_whose_data_cannot_be_split_is_a_row_of_its_cell(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pqg.data.qg_dirichlet.TRIES", 0)  # gives up, as it may with some seeds
    settings = {"topology": "ring4", "alpha": 0.1, "rounds": 1, "model": "logistic"}
    carry_out({**settings, "engine": "local", "out": str(tmp_path), "name": "x"})
    run = Run(tmp_path / "x")
    assert "in 0 draws" in run.failure
    assert run.config["partition"] == {"name": "qg-dirichlet", "reslice": True}
    assert run.config["algorithm"]["mu"] == 0.9


@pytest.mark.parametrize(
    ("error", "then"),
    [(StoppedError, "start it again"), (StorageError, "make room, start it again")],
)
def test_a_stopped_run_stops_the_sweep_and_is_not_called_failed(world, tmp_path, error, then):
    """One that did not fit on the disk was failed for good, and counted as one that diverged."""

    def accuracy(settings):
        raise error("round 3: it ended; `p2pqg resume grid/a` goes on")

    world.accuracy = accuracy
    told = rf"^round 3: it ended; {then} to go on, 0 of \d+ runs done$"
    with pytest.raises(error, match=told):
        world.sweep()
    assert not list(tmp_path.rglob("failed.json"))


def test_ctrl_c_between_two_runs_says_how_to_go_on(world):
    """It said "stopped", and no more, where one process did them all."""

    class Interrupting:
        def grow(self, num_runs): ...

        def skip(self, num_runs): ...

        def done(self, name, accuracy, *, failed):
            raise KeyboardInterrupt

        def inside(self, name, text): ...

        def noted(self, name, text): ...

    with pytest.raises(StoppedError, match=r"^stopped; start it again to go on, 1 of \d+ runs"):
        world.sweep(bar=Interrupting())


def test_only_directories_that_hold_a_run_are_cleared(world, tmp_path):
    directory = tmp_path / "grid" / "x"
    directory.mkdir(parents=True)
    (directory / "notes.txt").write_text("mine")
    carry_out({"out": str(tmp_path / "grid"), "name": "x", "algorithm": "dsgd"})
    assert (directory / "notes.txt").exists()
    # The fake run wants to make the directory: an error nobody expects, on record like any other.
    assert json.loads((directory / "failed.json").read_text())["error"] == "FileExistsError"
    other = directory.with_name("y")
    (other / "checkpoints").mkdir(parents=True)  # killed before it had a config.yaml
    carry_out({"out": str(tmp_path / "grid"), "name": "y", "algorithm": "dsgd"})
    assert world.done == ["x", "y"]
    assert Run(other).failure is None


def test_tuning_goes_on_until_the_best_value_is_inside(world):
    world.accuracy = lambda settings: 0.9 - abs(settings["lr"] - 0.8)
    world.sweep(tune="lr")
    assert {name for name in world.done if "dsgd-" in name and "seed1" in name} == {
        f"dsgd-lr{lr}-seed1" for lr in (0.1, 0.2, 0.4, 0.8, 1.6)
    }
    assert len(world.done) == 2 * 5 * 2  # the same protocol for both methods and seeds


def test_tuning_ends_after_the_permitted_extensions(world):
    world.accuracy = lambda settings: settings["lr"] / 100
    world.sweep(tune="lr", max_extensions=1)
    assert len(world.done) == 2 * 4 * 2
    assert world.last.open_cells() == ["dsgd", "dsgdm"]
    world.done.clear()
    world.sweep(tune="lr", max_extensions=2)  # goes on from there
    assert sorted(world.done) == sorted(
        f"{name}-lr1.6-seed{seed}" for name in ("dsgd", "dsgdm") for seed in (1, 2)
    )


def test_only_the_cells_at_an_edge_are_extended(world):
    def accuracy(settings):
        best = {"dsgd": 0.8, "dsgdm": 0.2}[settings["algorithm"]]
        return 0.9 - abs(settings["lr"] - best)

    world.accuracy = accuracy
    world.sweep(tune="lr")
    assert sum(name.startswith("dsgd-") for name in world.done) == 2 * 5
    assert sum(name.startswith("dsgdm-") for name in world.done) == 2 * 3
    assert world.last.open_cells() == []


def test_the_mean_over_seeds_decides_not_the_best_seed(world):
    table = {(0.1, 1): 0.5, (0.1, 2): 0.5, (0.2, 1): 0.6, (0.2, 2): 0.6, (0.4, 1): 0.9, (0.4, 2): 0}
    world.accuracy = lambda settings: table[settings["lr"], settings["seed"]]
    world.sweep(tune="lr")
    assert len(world.done) == 12


def test_a_value_on_the_edge_of_stability_is_not_chosen_for_its_good_seeds(world, tmp_path):
    table = {(0.2, 1): 0.7, (0.2, 2): 0.7, (0.4, 1): 0.9, (0.4, 2): 0.6}  # 0.75 - 0.21 < 0.7
    world.accuracy = lambda settings: table.get((settings["lr"], settings["seed"]), 0.5)
    world.sweep(tune="lr")
    assert len(world.done) == 12
    assert set(cells(read_runs([tmp_path / "grid"]))["lr"]) == {0.2}


def test_the_sweep_counts_as_many_runs_as_its_table(world, tmp_path, capsys):
    world.accuracy = lambda settings: 0.9 - abs(settings["lr"] - 0.8)
    with SweepBar() as bar:
        run_sweep(read_sweep(RECIPE | {"tune": "lr"}, "grid", world.out), 1, bar)
    assert "20/20  " in capsys.readouterr().out
    assert cells(read_runs([tmp_path / "grid"]))["runs"].sum() == 20


def test_the_folder_holds_the_recipe_that_repeats_the_sweep(world, tmp_path):
    world.sweep(tune="lr", paper="table1", data_dir=str(tmp_path))
    world.done.clear()
    recipe = yaml.safe_load((tmp_path / "grid" / "sweep.yaml").read_text())
    assert recipe["paper"] == "table1"
    again = read_sweep(recipe, "grid", str(tmp_path))
    assert again.recipe() == world.last.recipe()
    assert run_sweep(again, 1) == {}
    assert world.done == []


def test_data_that_moved_are_no_other_settings(world, tmp_path):
    world.sweep(data_dir=str(tmp_path), checkpoint_every=60, paper="table1")
    world.done.clear()
    world.sweep()
    assert world.done == []


def test_a_setting_that_is_gone_is_another_setting(world):
    world.sweep(batch_size=8)
    with pytest.raises(ConfigError, match="other settings \\(batch_size was 8, is None\\)"):
        world.sweep()


def test_a_long_run_that_was_interrupted_goes_on_from_its_checkpoint(world, tmp_path, monkeypatch):
    resumed = []

    def resume(directory, observer=None):
        resumed.append(directory.name)
        shutil.rmtree(directory)
        world.run(**world.last.settings({"algorithm": "dsgd", "lr": 0.1, "seed": 2}))

    monkeypatch.setattr("p2pqg.running.single.resume", resume)
    world.sweep()
    begun = tmp_path / "grid" / "dsgd-lr0.1-seed2"
    (begun / "summary.json").unlink()
    (begun / "checkpoints").mkdir()
    world.done.clear()
    world.sweep()
    assert resumed == world.done == ["dsgd-lr0.1-seed2"]


def test_a_run_under_way_tells_where_it_stands(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "SECONDS_BETWEEN_WORDS", 0.0)
    told = []
    settings = {"topology": "ring4", "model": "logistic", "engine": "local", "eval_every": 2}
    settings |= {"rounds": 4, "out": str(tmp_path), "name": "x"}
    carry_out(settings, lambda *said: told.append(said))
    assert [name for name, _ in told] == ["x"] * len(told)
    assert told[-1][1].startswith("round 4/4  loss ")


def test_every_process_gets_its_own_cores_and_gpu(monkeypatch):
    gone = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: gone.append(cores))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    shares = queue.Queue()
    shares.put(({0, 2}, "3"))
    pool._take_share(shares, None)
    assert gone == [{0, 2}]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize(
    ("visible", "found"), [("", ["0", "1"]), ("2,3", ["2", "3"]), ("GPU-a", ["GPU-a"])]
)
def test_gpus_are_called_what_they_are_called_outside(monkeypatch, visible, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    machine = Machine(num_cpus=4, num_gpus=len(found))
    monkeypatch.setattr("p2pqg.running.pool.this_machine", lambda device: machine)
    assert pool.gpus_for("auto") == found


def test_what_a_user_should_know_of_the_runs_of_a_sweep_is_told_once(tmp_path):
    """A setting that does nothing in them did so without a word."""
    console = Console(file=io.StringIO(), width=200)
    recipe = RECIPE | {"topology": "ring4", "rounds": 1, "model": "logistic", "data_dir": "/tmp"}
    plan = read_sweep(recipe | {"sweep": {"lr": [0.1, 0.2], "seed": [1]}}, "g", str(tmp_path))
    with SweepBar(console) as bar:
        run_sweep(plan, 1, bar)
    told = [line for line in console.file.getvalue().splitlines() if line.startswith("note: ")]
    assert told == ["note: data_dir /tmp is ignored: digits needs no files"]
