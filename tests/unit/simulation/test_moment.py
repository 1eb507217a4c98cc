"""A simulation that is saved and restored goes on as if nothing had been in between."""

import dataclasses
import shutil
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from toys import TOY, assert_same, few_steps

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base import pieces
from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import NoParams
from p2pqg.engine import block
from p2pqg.models import MODELS, Cost
from p2pqg.results import checkpoint
from p2pqg.results.checkpoint import ARRAYS, HEADER
from p2pqg.results.directory import LOCK
from p2pqg.simulation.moment import CHECKPOINTS, Moment
from p2pqg.testing import suitable_topology

ROUNDS, SAVED_AT = 24, 11
SETTINGS = TOY | {"rounds": ROUNDS, "eval_every": 5, "engine": "local"}
TROUBLE = {
    "losses": {"impairments": {"loss": 0.3, "burst": 3, "noise": 0.01}},
    "late messages": {"impairments": {"delay": [0, 3], "loss": 0.1}},
    "absences": {"impairments": {"participation": 0.6}},
    "a drawn network": {"topology": "random-matching6"},
    "a clock": {
        "network": {
            "links": {"class": "4g", "jitter": "50 ms"},
            "compute": {"seconds": 1, "varies": "lognormal"},
            "synchrony": "neighbors",
        }
    },
    "a deadline": {
        "network": {"links": "4g", "compute": {"seconds": 1, "varies": "uniform"}, "deadline": 1.2}
    },
    "consensus control": {"consensus": {"targets": [1e-3]}},
    "a scenario": {
        "scenario": [
            {"at": 4, "drop_links": ["0-1"]},
            {"at": 7, "drop_clients": [3]},
            {"at": 9, "add_clients": {"count": 1, "links": ["6-0", "6-2"]}},
            {"at": SAVED_AT, "set_lr": 0.02},
            {"at": 14, "set_topology": "complete7"},
            {"at": 15, "restore_clients": {"how": "average"}},
            {"at": 17, "add_clients": 2},
            {"at": 19, "set_algorithm_params": {"beta": 0.5}},
            {"at": 20, "set_impairments": {"loss": 0.2}},
        ]
    },
    "a scenario by the clock": {
        "network": {"links": "4g", "compute": 0.1},
        "impairments": {"delay": 1},
        "scenario": [
            {"at": "1 s", "drop_links": ["0-1"]},
            {"at": "5 s", "restore_links": "all"},
            {"at": 8, "set_lr": 0.02},
        ],
    },
}


def simulation(**settings):
    return p2pqg.Simulation(**SETTINGS | settings)


def assert_restored_goes_on(path, **settings):
    with simulation(**settings) as whole, simulation(**settings) as first:
        whole.advance(ROUNDS)
        first.advance(SAVED_AT)
        first.checkpoint(path)
        first.advance(3)  # what is done after it does not count
        assert_goes_on_as(whole, path)


def assert_goes_on_as(whole, path):
    with p2pqg.Simulation.restore(path) as second:
        assert second.round == SAVED_AT
        second.advance(ROUNDS - SAVED_AT)
        assert_same(second, whole)
        assert second.summary()["rounds"] == ROUNDS


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_goes_on_bit_for_bit(tmp_path, algorithm):
    topology = suitable_topology(algorithm).replace("8", "6")
    clock = {"compute": {"seconds": 1, "varies": "exponential"}, "links": {"latency": 0.7}}
    alone = ALGORITHMS[algorithm].traits["asynchronous"]
    network = {"network": clock} if alone else {}
    named = {"name": algorithm, **few_steps(algorithm)}
    with simulation(algorithm=named, topology=topology, **network) as whole:
        whole.advance(SAVED_AT)
        whole.checkpoint(tmp_path / "c")  # which leaves no trace, as those in trouble show
        whole.advance(ROUNDS - SAVED_AT)
        assert_goes_on_as(whole, tmp_path / "c")


@pytest.mark.parametrize("what", TROUBLE)
@pytest.mark.parametrize("blocks", ["auto", 4])
def test_so_does_every_network_in_trouble(tmp_path, what, blocks):
    assert_restored_goes_on(tmp_path / "c", clients_per_actor=blocks, **TROUBLE[what])


@pytest.mark.parametrize("algorithm", ["qg-dsgdm-n", "sgp"])  # x is in the state; x / w is not
@pytest.mark.parametrize("blocks", ["auto", 4])
def test_large_models_go_to_disk_in_pieces_and_are_the_same(
    tmp_path, monkeypatch, algorithm, blocks
):
    settings = {"algorithm": algorithm, "clients_per_actor": blocks}
    with simulation(**settings) as sim:
        sim.advance(SAVED_AT)
        sim.checkpoint(tmp_path / "whole")
        for module in (pieces, block):
            monkeypatch.setattr(module, "PIECE_BYTES", 100)
        sim.checkpoint(tmp_path / "pieces")
        assert (tmp_path / "whole" / ARRAYS).read_bytes() == (
            tmp_path / "pieces" / ARRAYS
        ).read_bytes()
        x, *_ = sim._ask(lambda d: d.engine.snapshot(pieces=True)).rows.values()
        assert isinstance(x, pieces.Pieces)
        assert isinstance(next(iter(sim.moment().snapshot.rows.values())), np.ndarray)


@pytest.mark.parametrize("settings", [{}, {"clients_per_actor": 4}, {"algorithm": "ad-psgd"}])
def test_large_models_are_read_in_pieces_and_go_on_bit_for_bit(tmp_path, monkeypatch, settings):
    for module in (pieces, block, checkpoint):
        monkeypatch.setattr(module, "PIECE_BYTES", 100)
    if settings.get("algorithm") == "ad-psgd":
        settings = settings | {"network": {"compute": 1}}
    assert_restored_goes_on(tmp_path / "c", **settings)
    rows = Moment.read(tmp_path / "c").snapshot.rows.values()
    assert any(isinstance(some, pieces.Pieces) for some in rows)


def test_what_lies_otherwise_in_memory_is_laid_out_as_it_will_be_when_restored(tmp_path):
    """How it lies decides between kernels that differ in the last digit."""
    met = []

    class State(NamedTuple):
        x: torch.Tensor
        mean: torch.Tensor

    def start(x0):
        return State(x0.T.contiguous().T, x0[:1].expand_as(x0))

    @p2pqg.algorithm("lying otherwise", params=ALGORITHMS["dsgd"].params, start=start)
    def lying_otherwise(s, grad, p):
        """For this test."""
        met.append((len(s.x), s.x.stride(), s.mean.stride()))
        x = yield p2pqg.gossip(s.x - p.lr * grad(s.x))
        return start(x)

    with simulation(algorithm="lying otherwise") as sim:
        sim.advance(rounds=2)
        sim.checkpoint(tmp_path / "c")
        params = sim.parameters().shape[1]
        with sim.fork() as branch, p2pqg.Simulation.restore(tmp_path / "c") as again:
            branch.advance(rounds=1)
            again.advance(rounds=1)
    found = [lies for clients, *lies in met if clients == 6]  # not of who tried it beforehand
    assert found == [[(params, 1), (params, 1)]] * 4


@pytest.fixture
def with_batch_norm():
    """The name of a tiny model that has statistics."""

    @MODELS.register("tiny-bn")
    def build(num_classes, input_shape, params: NoParams):
        """For this test."""
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(8, 5),
            torch.nn.BatchNorm1d(5),
            torch.nn.Linear(5, num_classes),
        )

    return "tiny-bn"


def test_batch_norm_statistics_are_saved(tmp_path, with_batch_norm):
    assert_restored_goes_on(tmp_path / "c", model=with_batch_norm)


def test_before_the_first_round_there_is_a_moment_too(tmp_path):
    with simulation() as whole, simulation() as first:
        first.checkpoint(tmp_path / "c")
        with p2pqg.Simulation.restore(tmp_path / "c") as second:
            whole.advance(6)
            second.advance(6)
            assert_same(second, whole)


@pytest.mark.parametrize("algorithm", ["qg-dsgdm-n", "d2", "choco-sgd"])
def test_another_packing_gives_the_same_to_rounding(tmp_path, algorithm):
    settings = {"algorithm": algorithm, "precision": "float64", "impairments": {"noise": 0.01}}
    with simulation(**settings) as whole, simulation(**settings, clients_per_actor=2) as first:
        whole.advance(ROUNDS)
        first.advance(SAVED_AT)
        first.checkpoint(tmp_path / "c")
        for packing in (1, 4, 6):
            with p2pqg.Simulation.restore(tmp_path / "c", clients_per_actor=packing) as second:
                second.advance(ROUNDS - SAVED_AT)
                assert_allclose(second.parameters(), whole.parameters(), rtol=0, atol=1e-11)
                for column in ("train_loss", "consensus_distance", "test_loss", "mean_drift"):
                    assert_allclose(second.history[column], whole.history[column], atol=1e-11)


def test_more_rounds_may_be_asked_for(tmp_path):
    with simulation(rounds=40) as whole, simulation(rounds=20) as first:
        whole.advance(40)
        first.advance(20)
        first.checkpoint(tmp_path / "c")
        with p2pqg.Simulation.restore(tmp_path / "c", rounds=40) as second:
            second.advance(20)
            assert_same(second, whole)
            assert second.history["round"].tolist() == list(range(40))
            assert second.clients["round"].unique().tolist() == list(range(4, 40, 5))


@pytest.mark.parametrize("unit", [{"rounds": 40}, {"epochs": 10}])
def test_a_longer_run_keeps_what_it_planned_unless_it_is_planned_anew(tmp_path, unit):
    fractions = {
        "lr_schedule": {"milestones": [0.5, 0.75]},
        "consensus": {"targets": [1e-3, 1e-2], "phases": [0.6]},
    }
    settings = {"topology": "ring4", "model": "logistic", "engine": "local"} | fractions
    first = p2pqg.run(**settings, **unit, out=str(tmp_path), name="a")
    planned = first.summary["rounds"]
    longer = {key: 2 * value for key, value in unit.items()}
    gone_on = p2pqg.resume(first.path, **longer)
    moment = Moment.newest(first.path)
    for rule in (moment.rule, moment.experiment.rule):  # what is done, and what the header says
        assert rule.lr.drops == (round(0.5 * planned), round(0.75 * planned))
        assert rule.control.borders == (round(0.6 * planned),)
    again = p2pqg.run(**gone_on.config | {"name": "b"})
    same = ["round", "lr", "train_loss", "exchanges"]
    both = [one.rounds[same].set_index("round") for one in (gone_on, again)]
    shared = both[0].index.intersection(both[1].index)
    pd.testing.assert_series_equal(*(one.loc[shared, "lr"] for one in both))
    assert np.array_equal(
        *(Moment.newest(r.path).snapshot.rows["state.x"] for r in (gone_on, again))
    )

    anew = Moment.newest(first.path, replan=True, rounds=4 * planned)
    for rule in (anew.rule, anew.experiment.rule):
        assert rule.lr.drops == (2 * planned, 3 * planned)


@pytest.mark.parametrize(
    ("ends", "clock"), [("steps", {}), ("time", {"network": {"compute": "1 s"}})]
)
def test_who_goes_on_by_steps_or_time_keeps_its_milestones_and_the_recipe_says_so(
    tmp_path, ends, clock
):
    own = TOY | {"lr_schedule": {"milestones": [0.75]}, "engine": "local", "record_every": 1}
    first = p2pqg.run(**own, **clock, **{ends: 4}, out=str(tmp_path), name="a")
    longer = p2pqg.resume(first.path, **{ends: 8})
    assert longer.config["planned_rounds"] == 4
    assert (longer.rounds["lr"] < 0.01).tolist() == [False] * 3 + [True] * 5
    longest = p2pqg.resume(first.path, **{ends: 9})
    again = p2pqg.run(**longest.config | {"name": "b"})
    same = [c for c in longest.rounds if c != "wall_seconds"]
    pd.testing.assert_frame_equal(again.rounds[same], longest.rounds[same])
    assert p2pqg.resume(first.path, replan=True, **{ends: 12}).config["planned_rounds"] is None


@pytest.mark.parametrize("replan", [False, True])
def test_a_longer_run_that_is_killed_before_its_first_checkpoint_is_still_longer(tmp_path, replan):
    schedule = {"lr_schedule": {"milestones": [0.5]}}
    own = TOY | schedule | {"rounds": 10, "engine": "local", "out": str(tmp_path)}
    run = p2pqg.run(**own, name="a")
    shutil.copytree(run.path, tmp_path / "b")
    whole = p2pqg.resume(run.path, rounds=20, replan=replan)
    killed = tmp_path / "b"
    shutil.copy(run.path / "config.yaml", killed)  # all that it had written by then
    gone_on = p2pqg.resume(killed)
    assert gone_on.summary["rounds"] == 20
    assert gone_on.finished
    same = [c for c in whole.rounds if c != "wall_seconds"]
    pd.testing.assert_frame_equal(gone_on.rounds[same], whole.rounds[same])
    assert gone_on.rounds["lr"].iloc[10] == pytest.approx(0.005)
    assert gone_on.config["planned_rounds"] == (None if replan else 10)
    with pytest.raises(ConfigError, match="has done all its 20 rounds"):
        p2pqg.resume(killed)


def test_what_was_edited_in_the_config_of_a_run_and_cannot_change_is_told(tmp_path):
    own = TOY | {"rounds": 6, "engine": "local", "out": str(tmp_path), "name": "a"}
    path = p2pqg.run(**own).path
    edited = (path / "config.yaml").read_text().replace("batch_size: 4", "batch_size: 8")
    (path / "config.yaml").write_text(edited)
    told = []
    moment = Moment.newest(path, tell=told.append, rounds=8)
    assert told == [
        "config.yaml has batch_size 8, which cannot change in the middle of a run; it stays 4"
    ]
    assert moment.experiment.config.batch_size == 4
    assert moment.experiment.num_rounds == 8


def test_a_restored_one_can_be_saved_again(tmp_path):
    with simulation(**TROUBLE["a scenario"]) as whole:
        whole.advance(ROUNDS)
        sim = simulation(**TROUBLE["a scenario"])
        for round in range(0, ROUNDS, 3):
            sim.checkpoint(tmp_path / str(round))
            sim.close()
            sim = p2pqg.Simulation.restore(tmp_path / str(round))
            sim.advance(3)
        assert_same(sim, whole)


def test_what_was_done_by_hand_is_saved(tmp_path):
    def troubled():
        sim = simulation()
        sim.advance(4)
        sim.drop_clients([2])
        sim.set_impairments(loss=0.2)
        sim.advance(3)
        sim.add_clients(shards=[[0, 5, 9]])
        sim.set_lr(0.01)
        sim.set_algorithm_params(beta=0.7)
        return sim

    with troubled() as whole, troubled() as first:
        first.checkpoint(tmp_path / "c")
        with p2pqg.Simulation.restore(tmp_path / "c") as second:
            assert second.network.describe() == first.network.describe()
            for sim in (whole, second):
                sim.restore_clients(how="neighbor")
                sim.advance(8)
            assert_same(second, whole)
            assert second.summary()["clients"] == 7


def test_experiments_at_hand_are_used_and_clients_that_joined_later_are_forgotten(tmp_path):
    """As when actors die after clients were added: back to a moment when these were not there."""
    with simulation() as sim:
        sim.advance(3)
        sim.checkpoint(tmp_path / "before")
        sim.add_clients(2)
        sim.advance(3)
        sim.checkpoint(tmp_path / "after")
        before = Moment.read(tmp_path / "before", sim.experiment)
        after = Moment.read(tmp_path / "after", sim.experiment)
        params = sim.parameters().shape[1]
    anew = dataclasses.replace(sim.experiment, cost=Cost(params + 1, 0))
    told = rf"after: its models have {params} parameters, and the model is built with {params + 1} "
    with pytest.raises(ConfigError, match=told):
        Moment.read(tmp_path / "after", anew)
    assert (before.experiment.num_clients, len(before.experiment.parts)) == (6, 6)
    assert (after.experiment.num_clients, len(after.experiment.parts)) == (8, 8)
    assert before.experiment.arrays is after.experiment.arrays


# What cannot be


@pytest.mark.parametrize("key", ["alpha", "seed", "batch_size", "algorithm", "model", "lr"])
def test_what_would_make_it_another_run_cannot_change(tmp_path, key):
    with simulation() as sim:
        sim.checkpoint(tmp_path / "c")
    with pytest.raises(ConfigError, match=f"^{key} cannot change in the middle of a run"):
        p2pqg.Simulation.restore(tmp_path / "c", **{key: 1})


def test_an_unknown_setting_is_told_as_always(tmp_path):
    with simulation() as sim:
        sim.checkpoint(tmp_path / "c")
    with pytest.raises(ConfigError, match="clients_per_actor must be auto or in 1"):
        p2pqg.Simulation.restore(tmp_path / "c", clients_per_actor=9)


def test_a_network_that_is_a_function_has_to_be_given_again(tmp_path):
    def hop(round):
        return 0.5 * np.eye(6) + 0.5 * np.roll(np.eye(6), 1 + round % 3, axis=0)

    with simulation() as whole:
        whole.set_topology(hop)
        whole.advance(4)
        whole.checkpoint(tmp_path / "c")
        with pytest.raises(ConfigError, match="was a Python function .*Pass topology again"):
            p2pqg.Simulation.restore(tmp_path / "c")
        with p2pqg.Simulation.restore(tmp_path / "c", topology=hop) as second:
            for sim in (whole, second):
                sim.advance(5)
            assert_same(second, whole)


def test_something_else_at_that_path_is_not_overwritten(tmp_path):
    (tmp_path / "thesis").mkdir()
    with simulation() as sim, pytest.raises(ConfigError, match="thesis: there is something else"):
        sim.checkpoint(tmp_path / "thesis")
    assert not list((tmp_path / "thesis").iterdir())


def test_a_place_that_cannot_be_written_is_said_and_the_simulation_goes_on(tmp_path):
    (tmp_path / "file").touch()
    with simulation() as sim:
        with pytest.raises(ConfigError, match="cannot be written .*choose another path"):
            sim.checkpoint(tmp_path / "file" / "c")
        sim.advance(2)
        assert sim.round == 2


# The newest of several


@pytest.fixture
def run_of_two(tmp_path):
    """A folder with the checkpoints of rounds 3 and 6."""
    with simulation() as sim:
        for _ in range(2):
            sim.advance(3)
            sim.checkpoint(tmp_path / CHECKPOINTS / f"round-{sim.round:09d}")
    return tmp_path


def test_the_newest_counts(run_of_two):
    assert Moment.newest(run_of_two).log.round == 6


def test_a_damaged_one_is_passed_over_and_said(run_of_two):
    damaged = run_of_two / CHECKPOINTS / "round-000000006" / "state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    told = []
    assert Moment.newest(run_of_two, tell=told.append).log.round == 3
    (line,) = told
    assert "round-000000006: damaged checkpoint" in line
    assert line.endswith("using round-000000003")
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        p2pqg.Simulation.restore(run_of_two).close()


def test_where_all_are_damaged_each_is_named(run_of_two):
    for header in run_of_two.rglob(HEADER):
        header.write_text("{}")
    with pytest.raises(ConfigError, match="2 problems") as refused:
        Moment.newest(run_of_two)
    assert "round-000000006: not a checkpoint" in str(refused.value)
    assert "round-000000003: not a checkpoint" in str(refused.value)


def test_a_run_from_before_the_word_per_goes_on_with_a_line_to_each_neighbor(tmp_path, monkeypatch):
    """`links: 4g` meant that, and the checkpoint says no more."""
    meant = {"network": {"links": {"class": "4g", "per": "link"}}}
    with monkeypatch.context() as older:
        older.setattr("p2pqg.simulation.resolved.spelled_out", lambda links: "4g")
        with simulation(**meant) as first:
            first.advance(SAVED_AT)
            first.checkpoint(tmp_path / "then")
    assert first.experiment.config.network == {"links": "4g"}
    with simulation(**meant) as whole, p2pqg.Simulation.restore(tmp_path / "then") as second:
        whole.advance(ROUNDS)
        second.advance(ROUNDS - SAVED_AT)
        assert_same(second, whole)
        assert second.experiment.config.network == meant["network"]
        with simulation(network={"links": "4g"}) as now:
            assert now.experiment.config.network == {"links": {"class": "4g", "per": "client"}}
            now.advance(ROUNDS)
            assert now.history["sim_seconds"].iloc[-1] > whole.history["sim_seconds"].iloc[-1]


def test_gradients_that_an_earlier_version_had_begun_are_refused_and_not_taken_for_models():
    from p2pqg.results.checkpoint import Checkpoint
    from p2pqg.simulation.on_disk import saved_snapshot

    arrays = {"rows.begun": np.ones((2, 3)), "rows.computed": np.array([False, True])}
    with pytest.raises(ConfigError, match="earlier version.*begin the run anew"):
        saved_snapshot(Checkpoint({"clients": {"step": 0}, "round": 1}, arrays, {}))


@pytest.mark.parametrize("through_a_moment", [False, True])
def test_what_came_of_a_client_that_has_left_since_is_held_for_its_return(through_a_moment):
    own = {"algorithm": "swift", "network": {"compute": "1 s", "links": {"latency": "30 ms"}}}
    scenario = [{"at": "round 4", "drop_clients": [0]}, {"at": "round 8", "restore_clients": [0]}]
    with p2pqg.Simulation(**TOY | own, engine="local", rounds=12, scenario=scenario) as whole:
        whole.finish()
    with p2pqg.Simulation(**TOY | own, engine="local", rounds=12) as sim:
        sim.advance(4)
        sim.drop_clients([0])
        sim.advance(2)
        if through_a_moment:
            sim.go_back(sim.moment())
        sim.advance(2)
        sim.restore_clients([0])
        sim.advance(4)
        assert np.array_equal(whole.clients, sim.clients)


def test_where_nobody_took_part_the_loss_is_none_before_and_after_a_disk(tmp_path):
    settings = SETTINGS | {"rounds": 2, "impairments": {"participation": 1e-9}}
    with p2pqg.Simulation(**settings) as sim:
        sim.finish()
        sim.checkpoint(tmp_path / "saved")
        with p2pqg.Simulation.restore(tmp_path / "saved") as again:
            assert sim.evaluate()["train_loss"] is None
            assert sim.evaluate() == again.evaluate()


NO_MOMENT = {
    "one that kept no checkpoint": ("one", "kept no checkpoint.*checkpoint_every above 0"),
    "a folder of runs": ("", r"holds several runs; name one, such as \S*one, or start their sweep"),
    "one that was killed as it began": ("begun", "neither a run nor a checkpoint .*start it again"),
}


@pytest.mark.parametrize(("name", "why"), NO_MOMENT.values(), ids=NO_MOMENT)
def test_what_cannot_go_on_is_told_apart(tmp_path, name, why):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / LOCK).touch()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.yaml").write_text("checkpoint_every: 0\n")
    (tmp_path / "one" / "summary.json").write_text("{}")
    with pytest.raises(ConfigError, match=why):
        Moment.newest(tmp_path / name)
