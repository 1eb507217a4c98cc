"""A simulation in this process, from start to end."""

import gc
import warnings
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils import vector_to_parameters
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError, Notice
from p2pqg.engine.cards import Cards
from p2pqg.engine.driver import Driver
from p2pqg.models import build_model
from p2pqg.network.effective import Impaired
from p2pqg.results.schemas import ALL_ROUND_COLUMNS, SUMMED_UP


def test_what_is_closed_is_gone_at_once(tmp_path):
    """A sweep runs hundreds in one process: samples must not wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        sim = p2pqg.Simulation(topology="ring4", rounds=2, engine="local")
        sim.advance(2)
        branch = sim.fork()
        branch.advance(1)
        held = [weakref.ref(one.experiment.arrays) for one in (sim, branch)]
        branch.close()
        sim.close()
        del sim, branch
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


def test_a_run_leaves_no_cycles_behind(tmp_path):
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        p2pqg.run(topology="ring4", rounds=2, engine="local", out=str(tmp_path))
        gc.collect()
        left = {type(one).__name__ for one in gc.garbage if "p2pqg" in type(one).__module__}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert left == set()


@pytest.mark.parametrize(("precision", "digits"), [("bf16", 8), ("fp16", 11)])
def test_16_bits_move_the_models_by_no_more_than_they_round(precision, digits):
    def parameters(precision):
        settings = {"topology": "ring4", "rounds": 10, "engine": "local", "precision": precision}
        with p2pqg.Simulation(**settings) as sim:
            before = sim.parameters()
            sim.advance(10)
            return sim.parameters(), sim.parameters() - before

    exact, way = parameters("float32")
    rough, _ = parameters(precision)
    assert rough.dtype == np.float32
    assert 0 < np.linalg.norm(rough - exact) < 16 * 2.0**-digits * np.linalg.norm(way)


def test_a_gpu_that_is_too_small_is_told_before_anything_is_on_it(monkeypatch):
    monkeypatch.setattr("p2pqg.simulation.hosting.resolve_device", lambda device, machine: "cuda")
    monkeypatch.setattr("p2pqg.simulation.hosting.cards", lambda: Cards(1, 2**20))
    with pytest.raises(ConfigError, match="64 clients of this model need about .* --clients"):
        p2pqg.Simulation(topology="ring64", engine="local", rounds=1)


def by_hand(sim):
    """Mean accuracy of the clients' models on the test set, in plain torch."""
    model = build_model("logistic", 10, (64,))
    x, y = sim.experiment.test
    found = []
    for row in sim.parameters():
        vector_to_parameters(torch.from_numpy(row), model.parameters())
        outputs = model(torch.from_numpy(x).float().flatten(1))
        found.append((outputs.argmax(1).numpy() == y).mean())
    return np.mean(found)


def test_a_fork_whose_links_are_cut_is_compared_as_it_is_now_and_not_as_it_was():
    small = {"topology": "ring4", "alpha": 0.1, "model": "logistic", "engine": "local", "lr": 0.5}
    with p2pqg.Simulation(**small, rounds=60, eval_every=30) as sim:
        sim.advance(30)
        with sim.fork() as cut:
            cut.drop_links(["0-1", "1-2", "2-3", "3-0"])
            for one in (sim, cut):
                one.advance(14)
            both = p2pqg.compare(sim, cut, names=["whole", "cut"]).table["test_accuracy"]
            assert both.tolist() == [one.evaluate()["test_accuracy"] for one in (sim, cut)]
            assert both["whole"] > both["cut"] + 0.1
            assert both["whole"] == pytest.approx(by_hand(sim))
            assert both["cut"] == pytest.approx(by_hand(cut))
            assert f"{100 * both['cut']:.2f} %" in cut._repr_html_()


def test_looking_puts_nothing_on_record_and_changes_nothing():
    small = {"topology": "ring4", "model": "logistic", "engine": "local", "eval_every": 5}
    with (
        p2pqg.Simulation(**small, rounds=12) as sim,
        p2pqg.Simulation(**small, rounds=12) as unseen,
    ):
        for _ in range(4):
            sim.advance(3)
            sim.evaluate()
        unseen.advance(12)
        mine, other = (one.history.drop(columns="wall_seconds") for one in (sim, unseen))
        pd.testing.assert_frame_equal(mine, other)
        assert np.array_equal(sim.parameters(), unseen.parameters())


def test_a_look_is_taken_once_and_again_when_something_was_done(monkeypatch):
    looks = []
    look = Driver.look
    monkeypatch.setattr(Driver, "look", lambda driver: looks.append(1) or look(driver))
    with p2pqg.Simulation(
        topology="ring4", model="logistic", engine="local", eval_every=100
    ) as sim:
        assert sim.evaluate()["round"] == -1  # at the common start
        assert sim.evaluate()["test_accuracy_std"] == 0
        assert len(looks) == 1
        sim.advance(2)
        sim.summary(), sim.evaluate(), sim._repr_html_()
        assert len(looks) == 2
        sim.drop_clients([0])
        assert sim.evaluate()["test_accuracy"] != sim.history["test_accuracy"].iloc[-1]
        assert len(looks) == 3


def test_a_number_that_is_older_than_the_rounds_says_so():
    with p2pqg.Simulation(topology="ring4", model="logistic", engine="local", eval_every=5) as sim:
        sim.advance(8)
        now, recorded = sim.summary(), sim.summary(evaluate=False)
    assert (now["rounds"], now["evaluated_rounds"]) == (8, 8)
    assert (recorded["rounds"], recorded["evaluated_rounds"]) == (8, 5)
    assert recorded["test_accuracy"] == sim.history["test_accuracy"].dropna().iloc[-1]
    # No metric of a user's may take the place of one of these.
    assert set(now) <= {*ALL_ROUND_COLUMNS, *SUMMED_UP}


def test_by_default_evaluations_are_dense_where_they_are_cheap_and_begin_with_the_first_round():
    with p2pqg.Simulation(topology="ring4", model="logistic", engine="local", rounds=100) as sim:
        sim.advance(100)
        tested = sim.history["test_accuracy"].dropna()
    assert tested.index[0] == 0
    assert tested.index[-1] == 99
    assert len(tested) > 10


@pytest.mark.parametrize("batch_size", [10**8, 10**11])
def test_batches_that_cannot_fit_are_told_before_anything_is_made_of_them(batch_size):
    with pytest.raises(ConfigError, match=f"a smaller --batch-size than {batch_size:,}"):
        p2pqg.Simulation(topology="ring4", model="mlp", engine="local", batch_size=batch_size)


@pytest.mark.parametrize("blocks", ["auto", 3])
def test_clients_with_the_same_model_are_at_no_distance(blocks):
    """The mean of equal numbers is another one in its last digit: it was 1e-13."""
    settings = {"topology": "ring7", "engine": "local", "alpha": 0.1, "rounds": 9}
    with p2pqg.Simulation(**settings, algorithm="sgd", clients_per_actor=blocks) as sim:
        sim.advance(3)
        sim.drop_clients([6])
        sim.advance(3)
        assert sim.history["consensus_distance"].tolist() == [0.0] * 6
        assert (sim.clients["distance_to_mean"] == 0).all()
    with p2pqg.Simulation(**settings, algorithm="dsgd", clients_per_actor=blocks) as sim:
        sim.advance(3)
        assert (sim.history["consensus_distance"] > 0).all()


def test_clients_that_differ_in_one_bit_are_at_a_distance():
    with p2pqg.Simulation(topology="ring4", engine="local", rounds=2) as sim:
        host, near = sim._driver.engine.hosts[0], np.zeros(4)
        rows = host.block.x.clone()
        assert host._alike(rows, near) == host._alike(rows.clone(), near) != ()
        rows[2, 5] = torch.nextafter(rows[2, 5], rows[2, 5] + 1)
        assert host._alike(rows, near) is None


@pytest.mark.parametrize("settings", [{}, {"deadline": "50 ms"}], ids=str)
def test_a_network_that_is_drawn_every_round_is_drawn_once_a_round(settings, monkeypatch):
    """The books are kept of many rounds at once: each W was drawn anew for them, and twice."""
    drawn, draw = [], Impaired.__call__
    monkeypatch.setattr(
        Impaired, "__call__", lambda self, round: drawn.append(round) or draw(self, round)
    )
    wrong = {"impairments": {"loss": 0.1, "participation": 0.5}}
    clock = {"network": {"compute": "10 ms", "links": "lan", **settings}}
    about = {**TOY, "engine": "local", "rounds": 400, "record_every": 400, **wrong, **clock}
    with p2pqg.Simulation(**about) as sim:
        sim._driver._portion = lambda: 200
        sim.advance(400)
    later = [round for round in drawn if round >= 16]  # the first ones are looked at beforehand
    assert later == list(range(16, 400))


def test_what_should_be_known_of_the_data_is_told_once_where_a_network_is_made():
    """As a run tells it; whoever goes on with it, or forks it, has heard it."""
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.zeros(40, dtype=int)
    with pytest.warns(Notice) as told:
        sim = p2pqg.Simulation(topology="ring4", dataset=(x, y), rounds=2, engine="local")
    lines = [str(one.message) for one in told]
    assert lines == sim.experiment.warnings
    assert any("8 samples of 40" in line and "held out" in line for line in lines)
    assert any("all labels are 0: of one class nothing can be learned" in line for line in lines)
    assert {one.filename for one in told} == {__file__}
    with warnings.catch_warnings(), sim:
        warnings.simplefilter("error")
        sim.fork().close()
        p2pqg.Simulation(sim.experiment).close()


@pytest.mark.parametrize("algorithm", ["dsgdm-n", "ad-psgd"])
def test_the_precision_is_that_of_the_run_and_not_of_the_script_around_it(algorithm):
    clock = {"links": "lan", "compute": "1 s"}
    settings = TOY | {"network": clock, "algorithm": algorithm, "engine": "local"}
    found = []
    for around in (False, True):
        half = torch.autocast("cpu", torch.bfloat16, enabled=around)
        with half, p2pqg.Simulation(**settings) as sim:
            sim.advance(3)
            found.append(sim.parameters())
    np.testing.assert_array_equal(*found)
