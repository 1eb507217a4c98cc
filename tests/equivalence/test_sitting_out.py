"""Clients that sit out rounds, come back or join, method by method: what each counts is its own.

A simulation gives the gradients and says who takes part; everything else is worked out here.
"""

import dataclasses

import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose, assert_array_equal
from toys import gradients

import p2pqg
from p2pqg.base.errors import AlgorithmError, ConfigError
from p2pqg.base.seeding import rng

TOY = toys.TOY | {
    "model": "logistic",
    "rounds": 40,
    "engine": "local",
    "precision": "float64",
    "impairments": {"participation": 0.5},
}
RING = [(i, (i + 1) % 6) for i in range(6)]


def simulation(algorithm, **settings):
    return p2pqg.Simulation(**TOY | {"algorithm": algorithm} | settings)


def W_of(takes_part):
    """Metropolis-Hastings on what is left of the ring."""
    talk = [(i, j) for i, j in RING if takes_part[i] and takes_part[j]]
    degree = np.bincount(np.array(talk, dtype=int).ravel(), minlength=6)
    W = np.zeros((6, 6))
    for i, j in talk:
        W[i, j] = W[j, i] = 1 / (1 + max(degree[i], degree[j]))
    return W + np.diag(1 - W.sum(1))


def played(sim, rounds, step):
    """Plays the rounds, by step(x, g, W, who takes part, round, lr) -> x by hand as well."""
    gradient, x = gradients(sim), sim.parameters()
    for round in range(rounds):
        on = sim.network.schedule.mixing(round).active
        new = step(x, gradient(x, round), W_of(on), on, round, sim.method.lr(round))
        x = np.where(on[:, None], new, x)
    sim.advance(rounds)
    return sim.parameters(), x


def test_adam_corrects_for_the_steps_that_a_client_has_made_itself():
    m = v = np.zeros((6, 27))
    t = np.zeros((6, 1))

    def step(x, g, W, on, round, lr):
        nonlocal m, v, t
        on = on[:, None]
        t = t + on
        m, v = np.where(on, 0.9 * m + 0.1 * g, m), np.where(on, 0.99 * v + 0.01 * g * g, v)
        d = (m / (1 - 0.9 ** np.maximum(t, 1))) / (
            np.sqrt(v / (1 - 0.99 ** np.maximum(t, 1))) + 1e-8
        )
        return W @ (x - lr * d)

    with simulation("dadam") as sim:
        assert_allclose(*played(sim, 12, step), rtol=0, atol=1e-11)


def test_quasi_global_momentum_is_refreshed_after_tau_rounds_of_ones_own():
    m = acc = np.zeros((6, 27))
    t = np.zeros((6, 1))

    def step(x, g, W, on, round, lr):
        nonlocal m, acc, t
        new, on = W @ (x - lr * (g + 0.8 * m)), on[:, None]
        t, acc = t + on, np.where(on, acc + (x - new) / lr, acc)
        due = on & (t % 3 == 0)
        m, acc = np.where(due, 0.6 * m + 0.4 * acc / 3, m), np.where(due, 0, acc)
        return new

    method = {"name": "qg-dsgdm", "beta": 0.8, "mu": 0.6, "tau": 3}
    with simulation(method) as sim:
        assert_allclose(*played(sim, 15, step), rtol=0, atol=1e-11)


def test_d2_plus_rescales_by_the_step_size_of_a_clients_own_last_round():
    x_prev, g_prev, lr_prev = None, np.zeros((6, 27)), np.ones((6, 1))

    def step(x, g, W, on, round, lr):
        nonlocal x_prev, g_prev, lr_prev
        x_prev = x if x_prev is None else x_prev
        half = x - lr * ((x_prev - x) / lr_prev + g - g_prev)
        on = on[:, None]
        x_prev, g_prev = np.where(on, x, x_prev), np.where(on, g, g_prev)
        lr_prev = np.where(on, lr, lr_prev)
        return (half + W @ half) / 2

    schedule = {"kind": "cosine"}
    with simulation({"name": "d2-plus", "lazy": True}, lr_schedule=schedule) as sim:
        assert_allclose(*played(sim, 15, step), rtol=0, atol=1e-11)


def test_for_dmsgd_nothing_has_moved_before_a_clients_first_round():
    x_prev = mixed_prev = None
    seen = np.zeros(6, dtype=bool)

    def step(x, g, W, on, round, lr):
        nonlocal x_prev, mixed_prev, seen
        mixed = W @ x
        x_prev = x if x_prev is None else x_prev
        before = mixed if mixed_prev is None else np.where(seen[:, None], mixed_prev, mixed)
        new = mixed - lr * g + 0.7 * (0.5 * (mixed - before) + 0.5 * (x - x_prev))
        there, seen = on[:, None], seen | on
        x_prev, mixed_prev = np.where(there, x, x_prev), np.where(there, mixed, before)
        return new

    with simulation({"name": "dmsgd", "beta": 0.7}) as sim:
        assert_allclose(*played(sim, 12, step), rtol=0, atol=1e-11)


def test_for_gt_hsgd_a_clients_first_estimate_is_its_gradient():
    v = y = np.zeros((6, 27))
    last, seen = None, np.zeros((6, 1), dtype=bool)

    with simulation({"name": "gt-hsgd", "beta": 0.3}) as sim:
        gradient = gradients(sim)

        def step(x, g, W, on, round, lr):
            nonlocal v, y, last, seen
            again = gradient(x if last is None else last, round)
            new = g + np.where(seen, 0.7 * (v - again), 0)
            there = on[:, None]
            y = np.where(there, W @ (y + new - v), y)
            last = np.where(there, x, x if last is None else last)
            v, seen = np.where(there, new, v), seen | there
            return W @ (x - lr * y)

        assert_allclose(*played(sim, 12, step), rtol=0, atol=1e-11)


CENTRALIZED = ["sgd", "sgdm", "sgdm-n", "adam", {"name": "diloco", "local_steps": 2}]


def test_centralized_sgd_takes_the_mean_of_those_who_take_part_and_all_step():
    settings = {"impairments": {"participation": 0.3}}
    with simulation({"name": "sgdm", "beta": 0.9}, **settings) as sim:
        gradient, x, m = gradients(sim), sim.parameters()[0], 0
        for round in range(25):
            on = sim.network.schedule.mixing(round).active
            if on.any():
                m = 0.9 * m + gradient(np.tile(x, (6, 1)), round)[on].mean(0)
                x = x - 0.05 * m
        sim.advance(25)
        assert_allclose(sim.parameters(), np.tile(x, (6, 1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("how", ["stale", "neighbor"])
@pytest.mark.parametrize("method", CENTRALIZED, ids=str)
def test_clients_of_a_centralized_method_stay_equal_whoever_goes_comes_back_or_joins(method, how):
    with simulation(method) as sim:
        sim.advance(3)
        sim.drop_clients([1])
        sim.advance(2)
        assert (sim.parameters()[1] != sim.parameters()[0]).any()  # it stands still
        sim.restore_clients([1], how=how)
        assert np.ptp(sim.parameters(), axis=0).max() == 0
        sim.add_clients(1)
        sim.advance(3)
        assert np.ptp(sim.parameters(), axis=0).max() == 0


def test_a_newcomer_corrects_for_its_own_steps():
    """All begin with moments of zero; those of a newcomer are five rounds younger."""
    with simulation("dadam", impairments={}) as sim:
        sim.advance(5)
        sim.add_clients(1, shards=[list(range(20))])
        rows, x, W = sim.moment().snapshot.rows, sim.parameters(), sim.W(5)
        t = np.array([[6]] * 6 + [[1]])
        assert_array_equal(rows["state.t"], t - 1)
        g = gradients(sim)(x, 5)
        m, v = 0.9 * rows["state.m"] + 0.1 * g, 0.99 * rows["state.v"] + 0.01 * g * g
        d = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        sim.advance(1)
        assert_allclose(sim.parameters(), W @ (x - 0.05 * d), rtol=0, atol=1e-12)


def test_ef21_which_counts_on_everybody_says_so():
    with pytest.raises(ConfigError, match="participation would leave some out"):
        simulation("ef21")
    with simulation("ef21", impairments={}) as sim:
        sim.advance(2)
        with pytest.raises(ConfigError, match="its clients cannot change after the first round"):
            sim.drop_clients([1])


def test_what_does_nothing_to_an_all_reduce_is_told():
    trouble = {"loss": 0.5, "noise": 0.1}
    with simulation("sgd", impairments=trouble) as sim:
        told = "sgd all-reduces, exactly and past the links: nothing changes by loss, noise"
        assert told in sim.experiment.warnings
    with simulation("sgd", impairments={}) as sim:
        assert sim.experiment.warnings == []


def test_noise_is_on_messages_of_ones_own_too():
    """NGC on model-variant gradients alone: one exchange a round, of models, each with noise."""
    method = {"name": "ngc", "alpha": 0.0, "beta": 0.0}
    settings = {"impairments": {"noise": 0.3}, "topology": "star6"}
    with (
        simulation(method, **settings) as sim,
        simulation(method, **settings, clients_per_actor=2) as cut,
    ):
        gradient, x, W = gradients(sim), sim.parameters(), p2pqg.mixing_matrix("star6")
        for round in range(3):
            inbox, weights = np.zeros((6, 5, 27)), np.zeros((6, 5))
            for i in range(6):
                heard = [j for j in range(6) if W[i, j] and j != i]
                normal = rng(3, "noise of messages", i, round, 1, 0).standard_normal
                inbox[i, : len(heard)] = x[heard] + 0.3 * normal((len(heard), 27))
                weights[i, : len(heard)] = W[i, heard]
            own = np.diag(W)[:, None]
            mixed = own * x + np.einsum("ij,ijp->ip", weights, inbox)
            g = own * gradient(mixed, round)
            for slot in range(5):
                g += weights[:, slot, None] * gradient(inbox[:, slot].copy(), round)
            x = mixed - 0.05 * g
        for one in (sim, cut):
            one.advance(3)
            assert_allclose(one.parameters(), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["powergossip", "relay-sgd", "cga"])
def test_noise_is_felt_by_every_method_that_sends(method):
    settings = {"topology": "chain6"}
    with simulation(method, **settings, impairments={}) as clean:
        clean.advance(3)
        with simulation(method, **settings, impairments={"noise": 1e-6}) as noisy:
            noisy.advance(3)
            apart = np.abs(noisy.parameters() - clean.parameters()).max()
            assert 1e-8 < apart < 1e-3


@pytest.mark.parametrize(
    "method",
    [
        {"name": "qg-dsgdm", "tau": 3},
        {"name": "d2-plus", "lazy": True},
        *("dadam", "qg-dadam", "dmsgd", {"name": "noloco", "local_steps": 2}),
    ],
    ids=str,
)
def test_an_older_checkpoint_in_which_one_number_stood_for_all_goes_on_as_it_was(method):
    field = "state.lr_prev" if "lazy" in method else "state.t"
    with simulation(method, impairments={}) as sim:
        sim.advance(4)
        moment = sim.moment()
        rows = dict(moment.snapshot.rows)
        count = rows.pop(field)
        assert np.ptp(count) == 0
        numbers = {**moment.snapshot.numbers, field: count.flat[0].item()}
        old = dataclasses.replace(moment.snapshot, rows=rows, numbers=numbers)
        with p2pqg.Simulation.at(dataclasses.replace(moment, snapshot=old)) as again:
            for one in (sim, again):
                one.advance(4)
            assert_array_equal(again.parameters(), sim.parameters())


def test_what_is_personal_is_nobody_elses_in_a_centralized_method_either():
    """Biases stay with their client: who sits out or is away keeps them as they are."""
    with simulation("sgd", personal=["*bias*"]) as sim:
        gradient, x = gradients(sim), sim.parameters()
        shared = np.arange(27) < 24
        for round in range(8):
            on = sim.network.schedule.mixing(round).active
            g = gradient(x, round)
            mean = g[on].mean(0) if on.any() else np.zeros(27)
            x = x - 0.05 * np.where(shared, mean, np.where(on[:, None], g, 0))
        sim.advance(8)
        assert_allclose(sim.parameters(), x, rtol=0, atol=1e-12)
        sim.drop_clients([1])
        sim.advance(2)
        sim.restore_clients([1])
        now = sim.parameters()
        assert_array_equal(now[1, shared], now[0, shared])
        assert_array_equal(now[1, ~shared], x[1, ~shared])


OWN = """
from typing import NamedTuple
import torch
from p2pqg import algorithm
from p2pqg.algorithms import dsgd
from p2pqg.algorithms.effects import allreduce

class State(NamedTuple):
    x: torch.Tensor
    count: torch.Tensor  # [clients]
    last: torch.Tensor  # [clients, 2, params]: of the last two rounds

def start(x0):
    return State(x0, x0.new_zeros(len(x0)), torch.stack([0 * x0, 0 * x0], 1))

@algorithm("mine", params=dsgd.Params, start=start, centralized=True, shared=SHARED)
def mine(s, grad, p):
    g = yield allreduce(grad(s.x))
    last = torch.stack([s.last[:, 1], g], 1)
    return State(s.x - p.lr * last.sum(1), s.count + 1, last)
"""


@pytest.mark.parametrize("personal", [[], ["*bias*"]])
def test_what_is_shared_may_have_any_number_of_dimensions(personal, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(OWN.replace("SHARED", '("x", "count", "last")'), encoding="utf-8")
    common = np.arange(27) < (24 if personal else 27)
    with simulation(f"{own}:mine", personal=personal) as sim:
        sim.advance(4)
        sim.drop_clients([1])
        sim.advance(3)
        sim.restore_clients([1])
        rows = sim.moment().snapshot.rows
        assert rows["state.count"].tolist() == [7] * 6
        assert np.ptp(rows["state.x"][:, common], axis=0).max() == 0
        assert np.ptp(rows["state.last"][..., common], axis=0).max() == 0
        if personal:
            assert np.ptp(rows["state.x"][:, ~common], axis=0).max() > 0


def test_what_is_shared_must_be_in_the_state(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(OWN.replace("SHARED", '("x", "counts")'), encoding="utf-8")
    with pytest.raises(
        AlgorithmError, match="mine: shared must be names of its state's fields, got 'counts'"
    ):
        simulation(f"{own}:mine")


def test_a_centralized_method_of_ones_own_that_shares_nothing_is_warned(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "from p2pqg import algorithm\n"
        "from p2pqg.algorithms import dsgd\n"
        "from p2pqg.algorithms.effects import allreduce\n"
        '@algorithm("mine", params=dsgd.Params, start=dsgd.start, centralized=True)\n'
        "def mine(s, grad, p):\n"
        '    """Mine."""\n'
        "    g = yield allreduce(grad(s.x))\n"
        "    return dsgd.State(x=s.x - p.lr * g)\n",
        encoding="utf-8",
    )
    with simulation(f"{own}:mine") as sim:
        assert any("does not say what its clients share" in w for w in sim.experiment.warnings)
    with simulation(f"{own}:mine", impairments={}) as sim:
        assert sim.experiment.warnings == []
