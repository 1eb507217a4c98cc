"""Real Ray actors give the numbers of the local engine, however clients are packed."""

import dataclasses
import sys
import time

import numpy as np
import pytest
import ray
from torch import nn

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ClusterError, ConfigError, DivergedError, UserCodeError
from p2pqg.engine.on_ray import engine, failures, forking
from p2pqg.simulation import hosting
from p2pqg.testing import suitable_topology

SMALL = {
    "topology": "ring6",
    "alpha": 0.5,
    "rounds": 20,
    "batch_size": 8,
    "model": {"name": "mlp", "hidden": [6]},
    "seed": 3,
}
OWN_PACE = {"links": "lan", "compute": {"seconds": 0.1, "varies": "exponential"}}
"""A clock, which those need that do not wait for each other."""
MEASURED = ["train_loss", "consensus_distance", "test_accuracy", "averaged_model_accuracy"]


def simulate(**settings):
    with p2pqg.Simulation(**SMALL | settings) as sim:
        sim.advance(sim.experiment.num_rounds)
        return sim.parameters(), sim.history, sim.rows[1]


@pytest.mark.parametrize("packing", ["auto", 4, 1])
def test_actors_give_the_local_numbers_to_rounding(cluster, packing):
    x, history, clients = simulate(engine="local", precision="float64")
    y, history_ray, clients_ray = simulate(clients_per_actor=packing, precision="float64")
    np.testing.assert_allclose(y, x, rtol=0, atol=1e-10)
    for column in MEASURED:
        np.testing.assert_allclose(history_ray[column], history[column], rtol=0, atol=1e-10)
    assert (history_ray["bytes_sent"] == history["bytes_sent"]).all()
    assert [c["test_accuracy"] for c in clients_ray] == [c["test_accuracy"] for c in clients]


def test_a_worker_is_forked_with_torch_and_may_still_use_a_card(cluster):
    @ray.remote(num_cpus=0)
    def look():
        has_torch = "torch" in sys.modules
        import torch

        return has_torch, getattr(torch._C, "_cuda_isInBadFork", bool)()

    is_forked = forking.can_fork() and hasattr(ray._raylet, "persist_port")
    assert ray.get(look.remote()) == (is_forked, False)


@pytest.fixture(scope="module")
def on_three_actors(cluster):
    return simulate(clients_per_actor=2)


def test_float32_packings_agree_to_rounding(on_three_actors):
    x, _, _ = simulate(engine="local")
    np.testing.assert_allclose(on_three_actors[0], x, rtol=0, atol=1e-5)


def test_the_same_packing_repeats_bit_for_bit(on_three_actors):
    first, second = on_three_actors, simulate(clients_per_actor=2)
    assert (first[0] == second[0]).all()
    assert first[1].drop(columns="wall_seconds").equals(second[1].drop(columns="wall_seconds"))


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "sgdm-n"},
        {"algorithm": "slowmo"},
        {"topology": "chain6", "algorithm": "relay-sgd"},
        {"algorithm": "ad-psgd", "network": OWN_PACE, "clients_per_actor": 2},
        {"algorithm": "async-qg-dsgdm-n", "network": OWN_PACE},
    ],
    ids=lambda s: "-".join(value for value in s.values() if isinstance(value, str)),
)
def test_all_kinds_of_messages_travel_between_actors(cluster, settings):
    x, _, _ = simulate(engine="local", precision="float64", **settings)
    y, history, _ = simulate(precision="float64", **{"clients_per_actor": 3} | settings)
    np.testing.assert_allclose(y, x, rtol=0, atol=1e-10)
    assert history["bytes_sent"].iloc[-1] > 0


@pytest.mark.parametrize(
    ("by_labels", "drawn", "packing"),
    [
        ("d-cliques6", "random-matching6", 2),
        ("stl-fw6", "onepeer-exponential6", 3),
        ("ring6:mixing=heterogeneity-aware", "base6", 3),
    ],
)
def test_over_all_kinds_of_networks_too(cluster, by_labels, drawn, packing):
    """One in which clients are linked by their labels, then one that changes with the rounds."""
    settings = SMALL | {"topology": by_labels, "precision": "float64", "clients_per_actor": packing}
    with p2pqg.Simulation(**settings, engine="local") as here, p2pqg.Simulation(**settings) as sim:
        for network in (by_labels, drawn):
            for one in (here, sim):
                if network == drawn:
                    one.set_topology(drawn)
                one.advance(8)
            np.testing.assert_allclose(
                sim.parameters(), here.parameters(), rtol=0, atol=1e-10, err_msg=network
            )
            assert sim.history["bytes_sent"].tolist() == here.history["bytes_sent"].tolist()


def test_batch_norm_statistics_stay_with_their_clients(cluster):
    tiny = {
        "dataset": {"name": "synthetic", "samples": 60},
        "rounds": 3,
        "precision": "float64",
        "algorithm": "sgd",
    }
    x, _, clients = simulate(engine="local", **tiny)
    y, _, clients_ray = simulate(clients_per_actor=3, **tiny)
    np.testing.assert_allclose(y, x, rtol=0, atol=1e-10)
    assert (np.ptp(x, axis=0) < 1e-12).all()  # centralized: all models stay equal
    assert [c["test_loss"] for c in clients] == pytest.approx(
        [c["test_loss"] for c in clients_ray], abs=1e-10
    )


def test_models_are_judged_on_actors_in_the_same_batches_and_fail_there_as_in_this_process(cluster):
    """The samples of a batch meet, and a metric fails when models are no longer bad."""

    def share(outputs, targets):
        right = (outputs.argmax(1) == targets).double().mean().item()
        assert right < 0.6, "it was to be bad"
        return right

    norm = nn.BatchNorm1d(6, track_running_stats=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), norm, nn.Tanh(), nn.Linear(6, 10))
    settings = SMALL | {"model": model, "metrics": {"share": share}, "precision": "float64"}
    here = p2pqg.Simulation(**settings, engine="local")
    there = p2pqg.Simulation(**settings, clients_per_actor=2)
    with here, there:
        for sim in (here, there):
            sim.advance(6)
        seen = [sim.evaluate()["averaged_model_accuracy"] for sim in (here, there)]
        assert seen[0] == pytest.approx(seen[1], abs=1e-12)
        for sim in (here, there):
            with pytest.raises(UserCodeError, match="metric share .*it was to be bad"):
                sim.advance(200)
            assert sim.history["round"].tolist() == [*range(len(sim.history))]
            assert sim.round == len(sim.history) < 206


def test_a_dead_actor_that_may_not_be_replaced_ends_the_run_with_its_name(cluster):
    with p2pqg.Simulation(**SMALL, clients_per_actor=3, max_restarts=0) as sim:
        sim.advance(5)
        ray.kill(sim._driver.engine.group.actors[1])
        with pytest.raises(ClusterError, match=r"actor 1 \(clients 3 to 5\) died"):
            sim.advance(10)
        assert len(sim.history) >= 5


def test_divergence_is_seen_through_actors(cluster):
    with (
        p2pqg.Simulation(**SMALL | {"lr": 1e9, "rounds": 60}, clients_per_actor=3) as sim,
        pytest.raises(DivergedError, match="try a smaller lr than 1e"),
    ):
        sim.advance(60)


def test_another_cluster_than_that_of_this_process_is_refused(cluster):
    with pytest.raises(ConfigError, match="'127.0.0.1:9': this process uses a Ray at .* already"):
        p2pqg.Simulation(**SMALL, address="127.0.0.1:9")
    here = ray.get_runtime_context().gcs_address
    with p2pqg.Simulation(**SMALL, clients_per_actor=6, address=here) as sim:
        sim.advance(1)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_runs_on_actors_as_in_this_process(cluster, algorithm):
    settings = {
        "topology": suitable_topology(algorithm),
        "algorithm": algorithm,
        "lr": 0.01,
        "rounds": 15,
        "precision": "float64",
        "network": OWN_PACE,
    }
    x, history, _ = simulate(engine="local", **settings)
    y, history_ray, _ = simulate(clients_per_actor=4, **settings)
    np.testing.assert_allclose(y, x, rtol=0, atol=1e-10)
    assert history_ray["bytes_sent"].tolist() == history["bytes_sent"].tolist()


def test_controlled_consensus_is_the_same_on_actors(cluster):
    settings = {"consensus": {"targets": [1e-4]}, "rounds": 8, "precision": "float64"}
    x, history, _ = simulate(engine="local", **settings)
    y, history_ray, _ = simulate(clients_per_actor=3, **settings)
    np.testing.assert_allclose(y, x, rtol=0, atol=1e-10)
    assert history_ray["exchanges"].tolist() == history["exchanges"].tolist()
    assert history["exchanges"].iloc[-1] > 8


def test_private_gradients_are_the_same_on_actors(cluster):
    pytest.importorskip("dp_accounting", reason="the extra `privacy` is not installed")
    private = {"privacy": {"clip": 0.5, "sigma": 1.0}, "rounds": 10, "precision": "float64"}
    x, history, clients = simulate(engine="local", **private)
    y, history_ray, clients_ray = simulate(clients_per_actor=3, **private)
    np.testing.assert_allclose(y, x, rtol=0, atol=1e-10)
    assert [c["epsilon"] for c in clients_ray] == [c["epsilon"] for c in clients]
    assert (history_ray["epsilon"].dropna() == history["epsilon"].dropna()).all()


def test_actors_for_which_the_cluster_has_no_room_are_told(cluster, monkeypatch):
    monkeypatch.setattr(failures, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(engine, "SECONDS_TO_BEGIN", 0.1)
    placed = hosting.placed
    monkeypatch.setattr(
        hosting, "placed", lambda *of: dataclasses.replace(placed(*of), gpus_per_actor=0.5)
    )
    told = []

    def hear(line):
        told.append(line)
        raise RuntimeError("enough")

    with p2pqg.Simulation(**SMALL, clients_per_actor=3, device="cpu") as sim:
        sim.on_note = hear
        with pytest.raises(RuntimeError, match="enough"):
            sim.advance(1)
        sim.on_note = told.append
    assert told == [
        "Ray has yet to start 2 of 2 actors: each wants 0.5 of a GPU, and 0 of 0 are free"
    ]


def test_actors_of_which_nothing_is_heard_are_told(cluster, monkeypatch):
    monkeypatch.setattr(failures, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(engine, "SECONDS_TO_BEGIN", 0.1)
    monkeypatch.setattr(engine, "SECONDS_OF_SILENCE", 0.2)
    told, of_twin = [], []
    with p2pqg.Simulation(**SMALL, clients_per_actor=3) as sim:
        sim.advance(1)
        sim.on_note = told.append
        with sim.fork() as twin:
            twin.on_note = of_twin.append
            sim._driver.engine.group.actors[0].__ray_call__.remote(lambda _: time.sleep(1))
            sim.advance(1)
            assert told == [engine.SILENCE]  # once
            assert of_twin == []
            twin._driver.engine.tell("it waits, too")
    assert of_twin == ["it waits, too"]
