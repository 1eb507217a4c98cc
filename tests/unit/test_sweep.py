"""Grids, names, resuming, and the extension of a tuned learning rate."""

import json

import pytest

from p2pqg import sweep as sweeps
from p2pqg.errors import ConfigError, DivergedError, StoppedError
from p2pqg.sweep import assign, beyond_the_edge, carry_out, read_sweep, run_sweep

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

        def run(self, **settings):
            self.done.append(settings["name"])
            accuracy = self.accuracy(settings)
            rest = {k: v for k, v in settings.items() if k not in ("out", "name", "algorithm")}
            algorithm = {"name": settings["algorithm"]}
            folder = tmp_path / "grid"
            assert settings["out"] == str(folder)
            fake_run(settings["name"], accuracy, folder=folder, algorithm=algorithm, **rest)

        def sweep(self, jobs=1, **changes):
            self.last = read_sweep(RECIPE | changes, "grid", self.out)
            return run_sweep(self.last, jobs)

    made = World()
    made.done = []
    monkeypatch.setattr("p2pqg.simulation.run", made.run)
    monkeypatch.setattr(sweeps, "_check_parts", lambda *_: None)
    return made


def test_a_grid_has_every_combination_once_with_the_last_key_fastest(tmp_path):
    sweep = read_sweep(RECIPE, "grid", str(tmp_path))
    names = [sweep.name(point) for point in sweep.points()]
    assert len(set(names)) == 12
    assert names[:2] == ["dsgd-lr0.1-seed1", "dsgd-lr0.1-seed2"]


def test_runs_of_a_sweep_use_the_local_engine_unless_told_otherwise(tmp_path):
    assert read_sweep(RECIPE, "grid").base["engine"] == "local"
    assert read_sweep(RECIPE | {"engine": "ray"}, "grid").base["engine"] == "ray"


def test_dotted_keys_reach_into_a_part_whichever_comes_first(tmp_path):
    axes = {"algorithm.mu": [0.5], "algorithm": ["qg-dsgdm"]}
    sweep = read_sweep({"sweep": axes}, "grid", str(tmp_path))
    (point,) = sweep.points()
    assert sweep.settings(point)["algorithm"] == {"name": "qg-dsgdm", "mu": 0.5}
    assert sweep.name(point) == "mu0.5-qg-dsgdm"


def test_assigning_does_not_change_what_runs_share():
    base = {"algorithm": {"name": "dmsgd"}}
    settings = dict(base)
    assign(settings, "algorithm.mu", 0.1)
    assert base == {"algorithm": {"name": "dmsgd"}}


def test_names_are_plain_folder_names(tmp_path):
    axes = {"topology": ["nets/a b.yaml", "erdos-renyi8:p=0.5"], "alpha": [None, 0.1]}
    sweep = read_sweep({"sweep": axes}, "grid", str(tmp_path))
    assert [sweep.name(point) for point in sweep.points()] == [
        "nets_a_b.yaml-alphanone",
        "nets_a_b.yaml-alpha0.1",
        "erdos-renyi8_p=0.5-alphanone",
        "erdos-renyi8_p=0.5-alpha0.1",
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sweep": None}, "sweep must be a mapping"),
        ({"sweep": {"lr": 0.1}}, "sweep.lr must be a list of values, got 0.1"),
        ({"sweep": {"lr": []}}, "sweep.lr must be a list"),
        ({"sweep": {"lr": [0.1, 0.1]}}, "the same value twice"),
        ({"tune": "lrr"}, "tune must be a key of sweep, got 'lrr'; did you mean lr"),
        ({"tune": "algorithm"}, "sweep.algorithm must be numbers to be tuned"),
        ({"tune": "lr", "sweep": {"lr": [0.1]}}, "two numbers > 0 or more"),
        ({"max_extensions": -1}, "max_extensions must be an integer >= 0"),
        ({"sweep": {"alhpa": [1]}}, "unknown key alhpa; did you mean alpha"),
        ({"sweep": {"lr": [0.1, -1]}}, "lr must be > 0, got -1"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_starts(tmp_path, changes, text):
    with pytest.raises(ConfigError, match=text):
        read_sweep(RECIPE | changes, "grid", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


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


def test_a_stopped_run_stops_the_sweep_and_is_not_called_failed(world, tmp_path):
    def accuracy(settings):
        raise StoppedError("stopped in round 3")

    world.accuracy = accuracy
    with pytest.raises(StoppedError):
        world.sweep()
    assert not list(tmp_path.rglob("failed.json"))


def test_only_directories_that_hold_a_run_are_cleared(world, tmp_path):
    directory = tmp_path / "grid" / "x"
    directory.mkdir(parents=True)
    (directory / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError):  # from the fake run, which makes the directory
        carry_out({"out": str(tmp_path / "grid"), "name": "x", "algorithm": "dsgd"})
    assert (directory / "notes.txt").exists()


@pytest.mark.parametrize(
    ("means", "value"),
    [
        ({0.1: 1, 0.2: 2, 0.4: 3}, 0.8),
        ({0.1: 3, 0.2: 2, 0.4: 1}, 0.05),
        ({0.1: 1, 0.2: 2, 0.4: 1}, None),
        ({0.1: float("-inf"), 0.3: float("-inf")}, 0.0333333),  # all failed: smaller steps
        ({0.1: 1, 1.0: 2}, 10.0),
    ],
)
def test_a_grid_grows_by_its_own_factor_beyond_the_edge_where_the_best_is(means, value):
    assert beyond_the_edge(means) == value


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
