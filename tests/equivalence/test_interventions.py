"""What is done to a live network, against DSGD worked out by hand with the W that is expected.

A simulation gives the gradients; everything else is here: W from degrees, means, seconds.
"""

import dataclasses

import networkx as nx
import numpy as np
import pytest
import toys
from numpy.testing import assert_allclose, assert_array_equal
from toys import gradients

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.recipe.settings import read_config
from p2pqg.simulation.build import build
from p2pqg.simulation.moment import Moment

LR = 0.05
TOY = toys.TOY | {
    "algorithm": "dsgd",
    "lr": LR,
    "rounds": 40,
    "eval_every": 5,
    "engine": "local",
    "precision": "float64",
}
PARAMS = 8 * 4 + 4 + 4 * 3 + 3
BITS = PARAMS * 64
"""Of a message."""


@pytest.fixture
def sim():
    with simulation() as sim:
        sim.advance(6)  # from now on the models differ
        yield sim


def simulation(**settings):
    return p2pqg.Simulation(**TOY | settings)


def same(a, b):
    """Bit for bit, apart from wall time; columns that only one of them has are not compared."""
    one, other = a.history, b.history
    common = [c for c in one if c in other and c != "wall_seconds"]
    return (
        (a.parameters() == b.parameters()).all()
        and one[common].equals(other[common])
        and a.clients.equals(b.clients)
    )


def dsgd_by_hand(sim, W, rounds, lr=LR):
    """[clients, params]: where DSGD comes from here; W is an array or a function of the round."""
    gradient, x = gradients(sim), sim.parameters()
    for round in range(sim.round, sim.round + rounds):
        x = (W(round) if callable(W) else W) @ (x - lr * gradient(x, round))
    return x


def metropolis(edges, n=6):
    """W[i, j] = 1 / (1 + max(deg i, deg j)) on edges, the rest on the diagonal."""
    graph = nx.Graph(edges)
    W = np.zeros((n, n))
    for i, j in graph.edges:
        W[i, j] = W[j, i] = 1 / (1 + max(graph.degree[i], graph.degree[j]))
    return W + np.diag(1 - W.sum(1))


RING = [(i, (i + 1) % 6) for i in range(6)]


def assert_goes_by(sim, W, rounds=7, lr=LR):
    expected = dsgd_by_hand(sim, W, rounds, lr)
    sim.advance(rounds)
    assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-12)


# Nothing changes


def test_without_interventions_this_is_dsgd(sim):
    assert_goes_by(sim, metropolis(RING))


@pytest.mark.parametrize(
    "nothing",
    [
        lambda s: (s.drop_links(["0-1", "3-4"]), s.restore_links()),
        lambda s: (s.drop_clients([1, 4]), s.restore_clients()),
        lambda s: s.set_topology("ring6"),
        lambda s: (s.set_topology("complete6"), s.set_topology("ring6")),
        lambda s: s.set_impairments(loss=0, delay=0, noise=0, participation=1),
        lambda s: s.set_impairments(on_loss="renormalise", by="link"),
        lambda s: s.set_lr(LR),
        lambda s: s.set_algorithm_params(),
    ],
    ids=["links", "clients", "same", "there and back", "zeros", "ways", "lr", "params"],
)
def test_what_is_undone_at_once_changes_nothing_bit_for_bit(sim, nothing):
    with sim.fork() as branch:
        nothing(branch)
        for one in (sim, branch):
            one.advance(8)
        assert same(sim, branch)


@pytest.mark.parametrize("algorithm", ["dsgd", "slowmo", "qg-dsgdm-n"])
@pytest.mark.parametrize(
    "network",
    [
        {"links": "perfect"},
        {"links": {"latency": 0, "bandwidth": "inf"}, "uplink": "inf", "compute": 0},
        {"links": "satellite", "compute": {"seconds": 1, "varies": "exponential"}},
        {"links": "perfect", "compute": 1, "deadline": 2},
    ],
    ids=["perfect", "in numbers", "slow", "deadline that all meet"],
)
def test_a_clock_that_nobody_misses_changes_nothing_bit_for_bit(algorithm, network):
    with (
        simulation(algorithm=algorithm) as a,
        simulation(algorithm=algorithm, network=network) as b,
    ):
        for one in (a, b):
            one.advance(14)
        assert same(a, b)


# Links


def test_cut_links_leave_w_by_its_rule_on_what_remains(sim):
    sim.drop_links(["0-1", (3, 4)])
    assert_goes_by(sim, metropolis([(1, 2), (2, 3), (4, 5), (5, 0)]))
    assert sim.history["components"].tolist()[6:] == [2] * 7
    sim.restore_links(["0-1"])
    assert_goes_by(sim, metropolis([(0, 1), (1, 2), (2, 3), (4, 5), (5, 0)]))
    assert sim.history["components"].tolist()[13:] == [1] * 7


def test_who_has_no_link_left_learns_as_if_alone_in_the_world(sim):
    gradient, alone = gradients(sim), sim.parameters()
    sim.drop_links(["1-2", "2-3"])
    for round in range(6, 14):
        alone = alone - LR * gradient(alone, round)
    sim.advance(8)
    assert_array_equal(sim.parameters()[2], alone[2])
    assert sim.network.components() == 2


def test_another_network_is_mixed_by_from_the_next_round_on(sim):
    sim.set_topology("star6")
    assert_goes_by(sim, metropolis([(0, i) for i in range(1, 6)]))
    W = metropolis([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])
    sim.set_topology(W)
    assert_goes_by(sim, W)


def test_losing_every_message_is_being_alone(sim):
    sim.set_impairments(loss=1)
    assert_goes_by(sim, np.eye(6))


def test_whoever_misses_the_deadline_is_not_mixed():
    """Messages take 0.1 s, client 2 computes for 1 s, the others for 0.1 s; rounds end at 0.5 s."""
    network = {
        "links": {"latency": 0.1},
        "compute": {"seconds": 0.1, "speeds": {2: 0.1}},
        "deadline": 0.5,
    }
    W = metropolis(RING)
    for neighbor in (1, 3):  # keep what does not come; 2 hears in time
        W[neighbor, neighbor] += W[neighbor, 2]
        W[neighbor, 2] = 0
    with simulation(network=network) as sim:
        assert_goes_by(sim, W)
        assert_allclose(sim.history["sim_seconds"], 0.5 * np.arange(1, 8))


def test_a_message_that_travels_for_a_round_is_mixed_a_round_late(sim):
    gradient, x, W = gradients(sim), sim.parameters(), metropolis(RING)
    own = np.diag(W)[:, None]
    sim.set_impairments(delay=1)
    before = None
    for round in range(6, 12):
        half = x - LR * gradient(x, round)
        # At first nothing has arrived, and everybody keeps the weight.
        x = half if before is None else own * half + (W - np.diag(np.diag(W))) @ before
        before = half
    sim.advance(6)
    assert_allclose(sim.parameters(), x, rtol=0, atol=1e-12)


# Clients


def test_who_left_stands_still_and_counts_in_no_mean(sim):
    left = sim.parameters()[[1, 4]]
    sim.drop_clients([1, 4])
    here = [0, 2, 3, 5]
    expected = dsgd_by_hand(sim, metropolis([(2, 3), (5, 0)]), 4)
    sim.advance(4)
    x = sim.parameters()
    assert_allclose(x[here], expected[here], rtol=0, atol=1e-12)
    assert_array_equal(x[[1, 4]], left)
    row = sim.history.iloc[-1]
    assert (row["present"], row["components"]) == (4, 2)
    apart = ((x[here] - x[here].mean(0)) ** 2).sum(1)
    assert row["consensus_distance"] == pytest.approx(apart.mean())
    tested = sim.clients[sim.clients["round"] == 9]
    assert tested["client"].tolist() == here
    assert_allclose(tested["distance_to_mean"], np.sqrt(apart))
    assert row["test_accuracy"] == pytest.approx(tested["test_accuracy"].mean())
    assert row["test_accuracy_min"] == tested["test_accuracy"].min()


def test_only_who_is_here_counts_in_the_loss(sim):
    with sim.fork() as branch:
        sim.drop_clients([0])
        sim.advance(1)
        branch.drop_clients([1, 2, 3, 4, 5])
        branch.advance(1)
        n = 6
        with simulation() as whole:
            whole.advance(7)
        both = 5 * sim.history["train_loss"].iloc[-1] + branch.history["train_loss"].iloc[-1]
        assert both / n == pytest.approx(whole.history["train_loss"].iloc[-1], rel=1e-12)


@pytest.mark.parametrize(
    ("how", "of"), [("stale", None), ("neighbor", [1]), ("average", [1, 3])], ids=lambda v: str(v)
)
def test_clients_come_back_stale_or_from_their_neighbors(how, of):
    with simulation(algorithm="dsgdm") as sim:
        sim.advance(6)
        left = sim.moment().snapshot.rows
        sim.drop_clients([2])
        sim.advance(4)
        now = sim.parameters()
        sim.restore_clients([2], how=how)
        back = sim.moment().snapshot.rows
        if how == "stale":
            for name in ("state.x", "state.m"):
                assert_array_equal(back[name][2], left[name][2])
        else:
            assert_allclose(back["state.x"][2], now[of].mean(0), rtol=0, atol=1e-15)
            assert_array_equal(back["state.m"][2], 0)  # what is kept beside it begins anew
        others = [0, 1, 3, 4, 5]
        assert_array_equal(back["state.x"][others], now[others])
        assert (sim.network.absent, sim.round) == (frozenset(), 10)


def test_new_clients_start_from_the_mean_of_their_neighbors_on_their_own_shards(sim):
    x = sim.parameters()
    sim.add_clients(2, links=["6-0", "6-2", "7-5"], shards=[[1, 2, 3], [4, 5]])
    now = sim.parameters()
    assert_array_equal(now[:6], x)
    assert_allclose(now[6], x[[0, 2]].mean(0), rtol=0, atol=1e-15)
    assert_array_equal(now[7], x[5])
    assert_goes_by(sim, metropolis([*RING, (6, 0), (6, 2), (7, 5)], n=8))
    tested = sim.clients[sim.clients["round"] == 9]
    assert tested["num_samples"].tolist()[6:] == [3, 2]


def test_a_ring_with_one_more_client_is_a_longer_ring(sim):
    sim.add_clients()
    assert_goes_by(sim, metropolis([(i, (i + 1) % 7) for i in range(7)], n=7))


def test_who_sits_out_a_round_neither_computes_nor_talks(sim):
    sim.set_impairments(participation=0.5)
    shares = []
    for _ in range(12):
        before, round = sim.parameters(), sim.round
        takes_part = sim.network.schedule.mixing(round).active
        talk = [(i, j) for i, j in RING if takes_part[i] and takes_part[j]]
        expected = dsgd_by_hand(sim, metropolis(talk), 1)
        sim.advance(1)
        expected[~takes_part] = before[~takes_part]
        assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-12)
        shares.append(takes_part.mean())
    assert 0.3 < np.mean(shares) < 0.7
    assert set(sim.history["present"]) == {6}  # they are there all the same


# Parameters


def stands_like(sim, **settings):
    """A simulation with other settings from the start, in the state of this one."""
    moment = sim.moment()
    begin = Moment.first(build(read_config(TOY | {"record_every": 1} | settings)))
    return p2pqg.Simulation.at(dataclasses.replace(begin, snapshot=moment.snapshot, log=moment.log))


def test_another_step_size_holds_from_the_next_round_on(sim):
    sim.set_lr(0.01)
    with stands_like(sim, lr=0.01) as expected:
        for one in (sim, expected):
            one.advance(9)
        assert same(sim, expected)
    assert sim.history["lr"].tolist() == [LR] * 6 + [0.01] * 9


@pytest.mark.parametrize(
    ("algorithm", "old", "new"),
    [
        ("dsgdm", {"beta": 0.9}, {"beta": 0.3}),
        ("qg-dsgdm-n", {"beta": 0.9}, {"beta": 0.5, "mu": 0.7}),
        ("slowmo", {"tau": 12}, {"tau": 3, "slow_beta": 0.1}),
        ("d2", {"lazy": True}, {"lazy": False}),
    ],
)
def test_other_parameters_hold_from_the_next_round_on(algorithm, old, new):
    with simulation(algorithm={"name": algorithm, **old}) as sim:
        sim.advance(6)
        sim.set_algorithm_params(**new)
        settings = {"name": algorithm, **old, **new}
        with stands_like(sim, algorithm=settings) as expected:
            for one in (sim, expected):
                one.advance(14)
            assert same(sim, expected)


@pytest.mark.parametrize(
    ("algorithm", "change"),
    [
        ("powergossip", {"rank": 2}),
        ("powergossip", {"iterations": 2}),
        ("dsgdm-gt", {"form": "atc"}),
        ("momentum-tracking", {"init": "allreduce"}),
        ("k-gt", {"init": "allreduce"}),
    ],
)
def test_what_the_state_is_made_for_cannot_change_on_the_way(algorithm, change):
    with simulation(algorithm=algorithm) as sim:
        sim.advance(2)
        before = sim.method.params
        name = next(iter(change))
        with pytest.raises(ConfigError, match=f"algorithm.{name} of {algorithm} cannot change"):
            sim.set_algorithm_params(**change)
        sim.set_algorithm_params(**{name: getattr(before, name)})  # as it is
        sim.advance(2)


@pytest.mark.parametrize("algorithm", ["powergossip", "choco-sgd"])
def test_who_is_absent_from_the_start_is_to_the_others_as_one_without_links(algorithm):
    """The vectors of PowerGossip have another length in every second round."""
    with simulation(algorithm=algorithm) as sim, simulation(algorithm=algorithm) as alone:
        sim.drop_clients([2])
        alone.drop_links(["1-2", "2-3"])
        for one in (sim, alone):
            one.advance(5)
        others = [0, 1, 3, 4, 5]
        assert_array_equal(sim.parameters()[others], alone.parameters()[others])
        assert (sim.parameters()[2] == simulation().parameters()[2]).all()


# The mean, and noise


def test_the_drift_is_how_far_mixing_moved_the_mean(sim):
    gradient, x, steps = gradients(sim), sim.parameters(), 0
    mean = x.mean(0)
    sim.set_impairments(loss=0.4)
    for round in range(6, 16):
        x = sim.parameters()
        steps = steps + LR * gradient(x, round).mean(0)
        sim.advance(1)
        moved = sim.parameters().mean(0) - (mean - steps)
        assert sim.history["mean_drift"].iloc[-1] == pytest.approx(np.linalg.norm(moved))
    assert sim.history["mean_drift"].iloc[-1] > 1e-3


@pytest.mark.parametrize(
    "done", [lambda sim: sim.drop_clients([2]), lambda sim: sim.add_clients(2)], ids=["left", "new"]
)
def test_the_drift_of_before_does_not_change_when_clients_leave_or_join(sim, done, tmp_path):
    """Step sizes are so small that only noise moves a model."""
    sim.set_lr(1e-15)
    sim.set_impairments(noise=0.01)
    moved, known = 0, sim.history["mean_drift"].iloc[-1]
    assert known == 0
    for round in range(4):
        if round == 2:
            done(sim)
            assert sim.evaluate()["mean_drift"] == known
        here = [i for i in range(sim.network.num_clients) if i not in sim.network.absent]
        before = sim.parameters()[here].mean(0)
        sim.advance(1)
        moved = moved + sim.parameters()[here].mean(0) - before
        known = sim.history["mean_drift"].iloc[-1]
        assert known == pytest.approx(np.linalg.norm(moved))
    sim.checkpoint(tmp_path / "here")
    with p2pqg.Simulation.restore(tmp_path / "here") as again:
        assert again.evaluate()["mean_drift"] == known


@pytest.mark.parametrize(
    "trouble",
    [
        lambda s: s.drop_links(["0-1", "2-3"]),
        lambda s: s.drop_clients([1]),
        lambda s: s.set_impairments(loss=0.4, by="link"),
        lambda s: s.set_impairments(loss=0.3, burst=4, by="link"),
        lambda s: s.set_impairments(participation=0.6),
    ],
    ids=["links", "clients", "loss by link", "bursts by link", "participation"],
)
def test_as_long_as_w_is_doubly_stochastic_the_mean_does_not_drift(sim, trouble):
    trouble(sim)
    sim.advance(12)
    assert sim.history["mean_drift"].max() < 1e-14


@pytest.mark.parametrize("topology", ["onepeer-exponential6", "exponential6"])
def test_push_sum_keeps_its_mass_whatever_is_lost(topology):
    settings = {"algorithm": {"name": "sgp", "beta": 0.0}, "topology": topology}
    with simulation(**settings, impairments={"loss": 0.4}) as sim:
        sim.advance(12)
        rows = sim.moment().snapshot.rows
        weights = next(a for name, a in rows.items() if a.shape == (6, 1) and name != "buffers")
        assert weights.sum() == pytest.approx(6, abs=1e-12)
        assert np.ptp(weights) > 0.01
        assert sim.history["mean_drift"].max() < 1e-13


def test_noise_is_normal_with_the_variance_of_the_weighted_messages():
    """x_i = sum_j W[i, j] (half_j + s z_ij) for j != i: variance s^2 sum_j W[i, j]^2."""
    s, large = 0.1, {"model": {"name": "mlp", "hidden": [400]}}
    with simulation(**large) as clear, simulation(**large) as noisy:
        noisy.set_impairments(noise=s)
        noise = []
        for _ in range(2):
            with noisy.fork() as one:
                one.set_impairments(noise=0)
                one.advance(1)
                noisy.advance(1)
                noise.append(noisy.parameters() - one.parameters())
        clear.advance(1)
    z = np.concatenate(noise) / (s * np.sqrt(2 / 9))  # two messages of weight 1/3
    sigmas = 4 / np.sqrt(z[0].size)
    assert_allclose(z.mean(1), 0, atol=sigmas)
    assert_allclose(z.var(1), 1, atol=sigmas * np.sqrt(2))
    assert_allclose((z**4).mean(1), 3, atol=sigmas * np.sqrt(96))
    assert_allclose(np.corrcoef(z), np.eye(12), atol=sigmas)  # of clients and of rounds


# Seconds and bytes


def seconds_of(rounds=10, **settings):
    with simulation(**settings) as sim:
        sim.advance(rounds)
        return sim.history["sim_seconds"].to_numpy(), sim


@pytest.mark.parametrize(
    ("network", "seconds"),
    [
        ({"links": {"latency": 0.2}}, 0.2),
        ({"links": {"bandwidth": 1e5}}, BITS / 1e5),
        ({"links": {"latency": 0.2, "bandwidth": 1e5}, "compute": 1}, 1.2 + BITS / 1e5),
        ({"links": "perfect", "uplink": 1e5}, 2 * BITS / 1e5),  # two messages share it
        ({"links": "perfect", "downlink": 1e4, "compute": 1}, 1 + 2 * BITS / 1e4),
        ({"links": "perfect", "compute": {"seconds": 1, "speeds": {4: 0.25}}}, 4.0),
        ({"links": {"default": {"latency": 0.1}, "2->3": {"latency": 0.7}}}, 0.7),
    ],
)
def test_a_round_on_a_ring_takes_what_can_be_worked_out(network, seconds):
    assert_allclose(seconds_of(network=network)[0], seconds * np.arange(1, 11))


def test_an_allreduce_takes_that_of_a_ring():
    network = {"links": {"latency": 0.2, "bandwidth": 1e5}, "compute": 1}
    steps = 2 * 5 * (0.2 + BITS / 6 / 1e5)  # 2 (n - 1) steps of an n-th each
    expected = (1 + steps) * np.arange(1, 11)
    assert_allclose(seconds_of(network=network, algorithm="sgd")[0], expected)


def test_without_a_barrier_a_straggler_is_felt_a_link_further_every_round():
    """Client 0 computes for 5 s, the others for 1 s; a client is done when its neighbors were."""
    network = {"links": "perfect", "compute": {"seconds": 1, "speeds": {0: 0.2}}}
    with simulation(network=network | {"synchrony": "neighbors"}, topology="chain6") as sim:
        ready = []
        for _ in range(4):
            sim.advance(1)
            ready.append(sim._driver.log.ready.tolist())
        assert ready == [
            [5, 5, 1, 1, 1, 1],
            [10, 10, 6, 2, 2, 2],
            [15, 15, 11, 7, 3, 3],
            [20, 20, 16, 12, 8, 4],
        ]


@pytest.mark.parametrize("portions", [[40], [1] * 40, [7, 11, 5, 17]])
@pytest.mark.parametrize("algorithm", ["dsgd", "slowmo", "momentum-tracking"])
def test_an_event_by_the_clock_comes_before_the_first_round_after_its_time(algorithm, portions):
    """Also where rounds take unlike long, as those of SlowMo that end with an all-reduce."""
    network = {
        "links": {"latency": 0.5, "jitter": 0.1},
        "compute": {"seconds": 1, "varies": "uniform"},
    }
    times = [0.5, 9.7, 20.0, 31.9]
    scenario = [{"at": f"{at} s", "set_lr": LR / (i + 2)} for i, at in enumerate(times)]
    with simulation(algorithm=algorithm, network=network, scenario=scenario) as sim:
        for rounds in portions:
            sim.advance(rounds)
        clock = sim.history["sim_seconds"].to_numpy()
        expected = [int(np.searchsorted(clock, at)) + 1 for at in times]
        assert [event["round"] for event in sim.events] == expected
        for event, at in zip(sim.events, times, strict=True):
            assert event["sim_seconds"] == clock[event["round"] - 1] >= at
        rates = np.searchsorted(expected, np.arange(40), side="right")
        assert_allclose(sim.history["lr"], LR / (rates + 1))


def test_every_link_carries_its_messages_and_no_more():
    network = {"links": "lan"}
    with simulation(network=network) as sim:
        sim.advance(5)
        sim.set_impairments(loss=0.5)  # what is lost costs, too
        sim.advance(5)
        sim.drop_links(["0-1"])
        sim.advance(3)
        links = sim.links.set_index(["sender", "receiver"])
        assert len(links) == 12
        for (sender, receiver), link in links.iterrows():
            rounds = 10 if {sender, receiver} == {0, 1} else 13
            assert (link["messages"], link["bytes"]) == (rounds, rounds * BITS / 8)
        assert links["bytes"].sum() == sim.history["bytes_sent"].iloc[-1]
