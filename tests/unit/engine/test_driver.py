"""The driver turns reports into rows, however the rounds were cut into portions."""

import math
import time

import numpy as np
import pytest

from p2pqg.base.errors import ConfigError, DivergedError
from p2pqg.engine.bookkeeping import Bookkeeper
from p2pqg.engine.driver import Agenda, Driver
from p2pqg.engine.placement import Machine, check_memory, place
from p2pqg.engine.spec import Measurement, Report, Stop


class FakeEngine:
    """Two hosts of one client each; the loss in round t is t, and t + 1."""

    max_in_flight = 2

    def __init__(self, broken_round=None):
        self.round, self.broken_round = 0, broken_round

    def submit(self, stops):
        first, self.round = self.round, stops[-1].round
        reports = []
        for client in range(2):
            losses = np.arange(first, self.round, dtype=float)[:, None] + client
            if self.broken_round is not None and client == 1:
                losses[np.arange(first, self.round) >= self.broken_round] = math.nan
            seen = [
                Measurement(
                    stop.round,
                    time.time(),
                    100.0 * stop.round,
                    stop.round,
                    np.array([4.0]),
                    0.0,
                    *((np.array([3.0]), np.array([8.0]), (1.0, 2.0, 2)) if stop.evaluate else ()),
                    step=stop.round,
                )
                for stop in stops
                if stop.measure
            ]
            traffic = [(("gossip", 50.0),)] * len(losses)
            reports.append(Report(first, losses, traffic, seen, []))
        return reports

    def fetch(self, ticket):
        return ticket


def driver(engine, record_every=2, eval_every=5, num_rounds=10):
    return Driver(
        engine=engine,
        agenda=Agenda(num_rounds=num_rounds, record_every=record_every, eval_every=eval_every),
        book=Bookkeeper(
            lr=lambda t: 0.5,
            steps_per_epoch=2.0,
            num_samples=np.array([7, 8]),
            num_test_samples=4,
        ),
    )


def run(driver, *portions):
    for portion in portions:
        for _ in driver.advance(driver.round + portion):
            pass
    return driver.log


def test_the_agenda_records_evaluates_and_always_ends_with_both():
    agenda = Agenda(num_rounds=7, record_every=3, eval_every=4)
    assert agenda.stops(0, 7) == [
        Stop(3, True),
        Stop(4, True, True),
        Stop(6, True),
        Stop(7, True, True),
    ]
    assert agenda.stops(0, 2) == [Stop(2)]


def test_rows_hold_the_mean_loss_since_the_row_before():
    rows = run(driver(FakeEngine()), 10).rounds
    assert [row["round"] for row in rows] == [1, 3, 4, 5, 7, 9]
    assert [row["train_loss"] for row in rows] == [1.0, 3.0, 4.5, 5.5, 7.0, 9.0]
    assert [row["bytes_sent"] for row in rows] == [400, 800, 1000, 1200, 1600, 2000]
    assert rows[0]["epoch"] == 1.0
    assert rows[0]["consensus_distance"] == 4.0


def test_evaluations_give_a_row_per_client():
    done = run(driver(FakeEngine()), 10)
    row = done.rounds[2]
    assert (row["test_accuracy"], row["test_accuracy_std"], row["test_loss"]) == (0.75, 0.0, 2.0)
    assert row["averaged_model_accuracy"] == 0.5
    assert [(c["round"], c["client"], c["num_samples"]) for c in done.clients] == [
        (4, 0, 7),
        (4, 1, 8),
        (9, 0, 7),
        (9, 1, 8),
    ]
    assert done.clients[0]["distance_to_mean"] == 2.0


def test_rows_do_not_depend_on_the_portions():
    whole, pieces = run(driver(FakeEngine()), 10), run(driver(FakeEngine()), 3, 1, 6)
    for a, b in zip(whole.rounds, pieces.rounds, strict=True):
        assert a | {"wall_seconds": 0} == b | {"wall_seconds": 0}


def test_a_non_finite_loss_names_round_client_and_last_finite_loss():
    broken = driver(FakeEngine(broken_round=6))
    with pytest.raises(DivergedError, match=r"round 6: client 1 .* \(last finite 6 in round 5\)"):
        run(broken, 10)
    assert [row["round"] for row in broken.log.rounds] == [1, 3, 4, 5]


def test_short_rounds_stay_in_one_actor_and_long_ones_use_every_core():
    two_cores = Machine(num_cpus=2)
    assert place(32, "auto", two_cores, 1e5, "cpu").num_actors == 1
    assert place(16, "auto", two_cores, 1e10, "cpu").num_actors == 2
    assert place(16, "auto", Machine(num_cpus=64), 1e10, "cpu").num_actors == 16
    assert place(16, "auto", Machine(num_cpus=8, num_gpus=2), 1e5, "cuda").num_actors == 2


def test_dense_models_stay_in_one_actor_that_uses_all_cores():
    placed = place(10_240, "auto", Machine(num_cpus=2), 1e6, "cpu", dense=True)
    assert (placed.num_actors, placed.num_threads) == (1, 2)


def test_memory_that_cannot_suffice_is_said_before_anything_starts():
    machine = Machine(2, memory=24 * 2**30)
    with pytest.raises(ConfigError, match="1,024 clients .* 31 GiB; there are 24.*634 or fewer"):
        check_memory(1024, 32, 31 * 2**30, machine)
    check_memory(1024, 32, 23 * 2**30, machine)


@pytest.mark.parametrize("num_gpus", [1, 2, 3, 4, 8])
def test_actors_never_ask_for_more_than_there_is(num_gpus):
    for n in range(1, 34):
        placed = place(n, 1, Machine(num_cpus=2, num_gpus=num_gpus), 1e5, "cuda")
        assert placed.num_actors == n
        on_each = int(1 / placed.gpus_per_actor + 1e-9)  # none can lie on two
        assert on_each * num_gpus >= n


def test_more_clients_per_actor_than_clients_is_an_error():
    with pytest.raises(ConfigError, match=r"auto or in 1 \.\. 4, got 9"):
        place(4, 9, Machine(2), 1e5, "cpu")


@pytest.mark.parametrize(
    ("device", "num_gpus", "transport", "remark"),
    [
        ("cpu", 0, "gloo", "rows go by gloo"),
        ("cuda", 1, "cuda_ipc", "rows stay on the GPU"),
        ("cuda", 2, None, "2 GPUs: rows go through the object store"),
    ],
)
def test_rows_travel_directly_where_ray_can_and_else_through_the_store(
    device, num_gpus, transport, remark
):
    machine = Machine(num_cpus=2, num_gpus=num_gpus)
    placed = place(4, 2, machine, 1e5, device, direct=True)
    assert placed.transport == transport
    assert remark in placed.reason
    assert place(4, 4, machine, 1e5, device, direct=True).transport is None  # nowhere to go
    assert place(4, 2, machine, 1e5, device).transport is None
