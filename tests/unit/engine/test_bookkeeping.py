"""Rows, epochs and the simulated clock count gradients."""

import math

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.base.errors import DivergedError
from p2pqg.engine.bookkeeping import Bookkeeper, Logbook, SetLater
from p2pqg.engine.outlook import through
from p2pqg.network import ClockParams, Ledger, Network, Timing
from p2pqg.topology import build

LATENCY, COMPUTE = 0.25, 2.0


def book():
    clock = ClockParams(links={"latency": LATENCY}, compute=COMPUTE)
    timing = Timing.of(clock, 4)
    network = Network(build("ring4"), timing=timing)
    return Bookkeeper(lambda t: 0.1, 1.0, np.ones(4), 1, network=network, timing=timing)


@pytest.mark.parametrize(
    ("taken", "seconds"),
    [
        ((("gradient", 1), ("gossip", 8.0)), COMPUTE + LATENCY),
        ((("gradient", 5), ("gossip", 8.0)), 5 * COMPUTE + LATENCY),
        ((("gradient", 1), ("gossip", 8.0), ("gossip", 8.0)), COMPUTE + 2 * LATENCY),
        ((("gossip", 8.0), ("gradient", 2)), LATENCY + 2 * COMPUTE),
        (
            (("gradient", 1), ("gossip", 8.0), ("gradient", 1), ("gossip", 8.0)),
            2 * COMPUTE + 2 * LATENCY,
        ),
        ((("gossip", 8.0),), LATENCY),
        ((), 0.0),
    ],
)
def test_a_round_takes_as_long_as_its_gradients_and_its_messages(taken, seconds):
    after = through(book().network, book().timing, 0, taken, np.zeros(4))
    np.testing.assert_allclose(after, np.full(4, seconds))


def test_the_first_messages_of_a_round_have_the_jitter_by_which_they_may_be_too_late():
    timing = Timing.of(ClockParams(links={"jitter": 1.0}, compute=COMPUTE), 4)
    network = Network(build("ring4"), timing=timing)
    after = through(network, timing, 3, (("gradient", 1), ("gossip", 8.0)), np.zeros(4))
    arrivals = timing.arrivals(network.schedule.mixing(3), 3, 8.0, 0, 1.0)
    np.testing.assert_array_equal(after, np.full(4, arrivals.max()))


def test_new_clients_are_ready_with_the_last_and_have_made_no_step():
    log = Logbook(
        ready=np.array([1.0, 3.0, 2.0]),
        steps=np.array([5, 7, 6]),
        last_finite=np.array([1.0, 2, 6]),
    )
    log.grow(5)
    assert log.ready.tolist() == [1, 3, 2, 3, 3]
    assert log.steps.tolist() == [5, 7, 6, 0, 0]
    assert log.last_finite.tolist() == [1, 2, 6, 3, 3]


def test_what_a_fork_puts_down_is_not_in_the_book_of_its_parent():
    log = Logbook(losses=[1.0], behind=[np.ones(2)], age=[np.ones(2)], ledger=Ledger())
    fork = log.copy()
    fork.ledger.messages(np.array([0]), np.array([1]), np.array([2]), 8.0)
    fork.interventions.append({"round": 0, "drop_links": ["0-1"]})
    fork.note("drop_links 0-1")
    fork.put_down({"round": 0}, [{"client": 0}])
    assert [len(told) for told in (log.losses, log.behind, log.age)] == [1, 1, 1]
    assert not any(map(len, (log.rounds, log.clients, log.events, log.interventions)))
    assert not log.ledger.arrays()["bytes"].size


OWN = '''
from p2pqg import algorithm, gossip
from p2pqg.algorithms import dsgd


@algorithm("two-steps", params=dsgd.Params, start=dsgd.start)
def two_steps(s, grad, p):
    """Two batches, and the second one again."""
    half = s.x - p.lr * grad(s.x)
    half = half - p.lr * grad(half)
    x = yield gossip(half - p.lr * grad(half, again=True))
    return dsgd.State(x)
'''


def test_epochs_count_batches_and_the_column_counts_gradients(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = {"algorithm": f"{tmp_path}/own.py:two_steps", "engine": "local"}
    timed = {"network": {"compute": COMPUTE}}
    with p2pqg.Simulation(**TOY, **own, **timed, epochs=3) as sim:
        batches = 120 / 6 / TOY["batch_size"]  # in an epoch
        assert sim.experiment.num_rounds == math.ceil(3 * batches / 2)
        sim.advance(rounds=sim.experiment.num_rounds)
        history = sim.history
    rounds = history["round"] + 1
    np.testing.assert_allclose(history["epoch"], 2 * rounds / batches)
    np.testing.assert_allclose(history["gradients"], 3 * rounds)
    np.testing.assert_allclose(history["sim_seconds"], 3 * COMPUTE * rounds)


UNEVEN = '''
from p2pqg import algorithm, gossip, neighbors
from p2pqg.algorithms import dsgd


@algorithm("uneven", params=dsgd.Params, start=dsgd.start)
def uneven(s, grad, p):
    """A message of client i costs 100 (i + 1) bytes."""
    peers = yield neighbors()
    size = 100.0 * (peers.clients + 1)
    x = yield gossip(s.x - p.lr * grad(s.x), message_bytes=size)
    return dsgd.State(x)
'''


def test_messages_of_unlike_sizes_take_their_own_time_however_clients_are_hosted(tmp_path):
    """On a ring, over links of 800 bits a second, everybody waits for the last client."""
    rounds = 6
    file = tmp_path / "uneven.py"
    file.write_text(UNEVEN)
    clock = {"links": {"bandwidth": 800}, "compute": COMPUTE}
    for hosted in (2, 6):
        recipe = {**TOY, "algorithm": f"{file}:uneven", "rounds": rounds, "network": clock}
        with p2pqg.Simulation(**recipe, engine="local", clients_per_actor=hosted) as sim:
            sim.advance(rounds)
            links, last = sim.links, sim.history.iloc[-1]
        assert (links["bytes"] == rounds * 100 * (links["sender"] + 1)).all()
        assert last["bytes_sent"] == links["bytes"].sum() == rounds * 2 * 100 * (1 + 6) * 6 / 2
        assert last["sim_seconds"] == pytest.approx(rounds * (COMPUTE + 8 * 600 / 800))


def test_a_run_that_ends_on_the_clock_is_planned_by_what_is_really_sent():
    """A sign is a bit, with 4 bytes in all for the scale; the step size falls half way."""
    recipe = {**TOY, "algorithm": {"name": "choco-sgd", "compressor": "sign"}, "time": "60 s"}
    clock = {"links": {"bandwidth": 96}, "compute": COMPUTE}
    with p2pqg.Simulation(
        **recipe, network=clock, lr_schedule={"milestones": [0.5]}, engine="local"
    ) as sim:
        size = -(-sim.parameters().shape[1] // 8) + 4
        rounds = math.ceil(60 / (COMPUTE + 8 * size / 96))
        sim.finish()
        assert sim.experiment.num_rounds == sim.round == rounds
        lr = sim.history.set_index("round")["lr"]
        assert lr[round(rounds / 2) - 1] == 0.05
        assert lr[round(rounds / 2)] == pytest.approx(0.005)


def test_step_sizes_may_be_set_as_often_as_a_hand_can():
    with p2pqg.Simulation(**TOY, rounds=3, record_every=1, engine="local") as sim:
        sim.advance(1)
        for k in range(2000):  # recording looks back at the round before
            sim._driver.book.lr = SetLater(sim.round, lambda round, k=k: 1 + k, sim._driver.book.lr)
        assert sim._driver.book.lr(sim.round - 1) == TOY["lr"]
        assert sim._driver.book.lr(sim.round) == 2000
        assert sim.evaluate()["lr"] == TOY["lr"]


@pytest.mark.parametrize(
    ("lr", "advice"), [(0.1, "try a smaller lr than 0.1"), (1e-46, "let it not fall to 1e-46")]
)
def test_who_divided_by_a_step_size_next_to_0_is_told_no_smaller_one(lr, advice):
    keeper = book()
    keeper.lr = lambda round: lr
    with pytest.raises(DivergedError, match=f"{advice}$"):
        raise DivergedError(keeper._diverged(np.array([1, np.nan]), None))


def test_models_that_are_no_numbers_have_no_accuracy_and_the_last_that_have_one_are_told_of():
    settings = TOY | {"engine": "local", "validation": 0.1}
    with p2pqg.Simulation(**settings, rounds=4, eval_every=1, test="own") as sim:
        sim.advance(rounds=2)
        sim.set_lr(1e300)
        with pytest.raises(DivergedError, match="round 3"):
            sim.advance(rounds=2)
        kept, clients, told = sim.history, sim.clients, sim.summary()
    columns = [key for key in kept if "accuracy" in key]
    assert {"averaged_model_accuracy", "validation_accuracy", "personal_accuracy"} <= {*columns}
    np.testing.assert_array_equal(
        kept[columns].notna(), [[True] * len(columns)] * 2 + [[False] * len(columns)]
    )
    assert clients["test_accuracy"].isna().tolist() == [False] * 12 + [True] * 6
    assert told["test_accuracy"] == kept["test_accuracy"][1]
    assert (told["evaluated_rounds"], told["recorded_rounds"]) == (2, 3)


def by_log(outputs, targets):
    """No number of outputs below -5, which good models have."""
    return (outputs.amin(1) + 5).log()


@pytest.mark.parametrize("more", [{}, {"loss": by_log}])
def test_a_run_whose_very_last_step_leaves_no_numbers_has_diverged(more):
    with p2pqg.Simulation(**TOY, engine="local", rounds=1, **more) as sim:
        sim.set_lr(1e308)
        with pytest.raises(DivergedError, match="^round 0: .*non-finite.* smaller lr than 1e.308$"):
            sim.finish()
        assert sim.clients["test_loss"].isna().all()


def test_a_loss_of_ones_own_may_be_no_number_of_models_that_have_numbers():
    with p2pqg.Simulation(**TOY, engine="local", rounds=1, loss=by_log) as sim:
        sim.set_lr(1e3)
        sim.finish()
        assert sim.clients["test_loss"].isna().any()
