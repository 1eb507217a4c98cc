"""Clients that do not wait, against a plain simulation: one client at a time, no waves, NumPy."""

import dataclasses

import numpy as np
import pytest
from one_by_one import DIM, LR, PATIENCE, PUSH, ROUNDS, SEED, Plain
from toys import TOY

import p2pqg
from p2pqg.base.config import made
from p2pqg.base.errors import ConfigError
from p2pqg.engine.block import lockstep
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.network.impairments import Impairments
from p2pqg.testing import UNIVERSAL, Quadratics, assert_same, check_permutation, run, starts
from p2pqg.theory.trajectories import at_start, trajectory
from p2pqg.topology import build


def network_of(topology, clock, wrong=None, columns=False):
    needs = ("column-stochastic",) if columns else ()
    schedule = build(topology, needs=needs)
    timing = Timing.of(made(ClockParams, clock, "network."), schedule.num_clients, (), SEED)
    wrong = made(Impairments, wrong or {}, "impairments.")
    return Network(schedule, seed=SEED, timing=timing, impairments=wrong, by_columns=columns)


def both_ways(name, topology, clock, wrong=None, blocks=None, changes=(), rounds=ROUNDS):
    """[rounds, clients, params] by waves, and by the plain simulation."""
    network = network_of(topology, clock, wrong, name == "async-sgp")
    n = network.num_clients
    problem, x0 = Quadratics.random(n, DIM), starts(n, DIM)
    more = {"patience": PATIENCE} if name == "async-sgp" else {}
    where = {"topology": network.base, "blocks": blocks}
    peers = at_start(name, problem.gradient, x0, **where, lr=LR, seed=SEED, **more)
    for block in peers:
        rewire(block, network)
        block.timeline = type(block.timeline)(block.routing, block.timeline.asks)
    plain, waves, one_by_one = Plain(name, problem, network, x0), [], []
    for done in range(1, rounds + 1):
        lockstep(peers, done)
        waves.append(np.concatenate([block.x for block in peers]))
        one_by_one.append(plain.round())
        for change in [change for at, change in changes if at == done]:
            network = change(network)
            plain.become(network)
            for block in peers:
                rewire(block, network)
    assert plain.now == peers[0].timeline.now
    assert plain.steps == peers[0].timeline.steps
    return np.array(waves), np.array(one_by_one)


def rewire(block, network):
    block.rewire(block.rule, WaveRouting(network, block.routing.bounds))


MEET, SEND = ("ad-psgd", "acid"), tuple(PUSH)
EQUAL = {"compute": 1.0}
VARIED = {"compute": {"seconds": 1.0, "varies": "exponential"}}
SLOW = {"compute": {"seconds": 1.0, "varies": "uniform", "stragglers": {"share": 0.2}}}
LINKS = {"latency": 0.3, "jitter": 0.2, "bandwidth": 2000}
LINES = {"links": LINKS, "uplink": 1500, "downlink": {"default": 4000, "1": 700}}
CLOCKS = {
    "equal": EQUAL,
    "varied": VARIED,
    "slow": SLOW | {"links": {"latency": 0.1}},
    "late": VARIED | LINES,
}
LOSSES = {"good": {}, "loss": {"loss": 0.3}, "bursts": {"loss": 0.3, "burst": 3, "by": "link"}}


# Bursts of losses once, where messages are late.
TROUBLES = [(c, "good") for c in CLOCKS] + [(c, "loss") for c in CLOCKS] + [("late", "bursts")]


@pytest.mark.parametrize(("clock", "losses"), TROUBLES)
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_waves_are_one_client_after_the_other(name, clock, losses):
    waves, plain = both_ways(name, "ring8", CLOCKS[clock], LOSSES[losses])
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)
    assert np.abs(np.diff(waves, axis=0)).max() > 1e-3


@pytest.mark.parametrize("blocks", [None, [5, 1, 20, 6]], ids=["one", "four"])
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_social_networks_too_on_any_actors(name, blocks):
    clock = SLOW | {"links": LINKS}
    waves, plain = both_ways(name, "social32", clock, {"loss": 0.1}, blocks, rounds=4)
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("topology", ["exponential8", "onepeer-exponential8", "random-matching8"])
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_directed_and_changing_networks_too(name, topology):
    if name in MEET and "exponential" in topology:
        pytest.skip("nobody meets on a directed network")
    waves, plain = both_ways(name, topology, CLOCKS["late"], {"loss": 0.2}, [3, 5])
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


CHURN = [
    (3, lambda network: network.drop_clients([1, 5])),
    (5, lambda network: network.drop_links(["2-3"])),
    (7, lambda network: network.restore_clients([5])),
    (9, lambda network: dataclasses.replace(network, timing=network_of("ring8", SLOW).timing)),
]


def test_pairs_that_both_make_a_step_in_one_block_are_no_pairs_of_another():
    waves, plain = both_ways("ad-psgd", "ring8", EQUAL, {"loss": 0.3}, [4, 4], rounds=40)
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("clock", ["varied", "late"])
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_clients_come_and_go_in_the_middle_of_meetings_and_messages(name, clock):
    waves, plain = both_ways(name, "ring8", CLOCKS[clock], {}, [2, 6], CHURN)
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["async-dsgdm-n", "swift"])
def test_what_is_on_its_way_outlasts_a_round_without_steps(name):
    """Client 0 is twice as fast: after 7 rounds there are 7 steps too many, for 6 clients a round.

    All others make a step at the same moment.
    """
    clock = {"compute": {"seconds": 1.0, "speeds": {"0": 2.0}}, "links": {"latency": 0.3}}
    changes = [(7, lambda network: network.drop_clients([3, 5]))]
    waves, plain = both_ways(name, "ring8", clock, {}, [2, 6], changes)
    np.testing.assert_array_equal(waves[7], waves[6])
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


# What every such algorithm owes


def drawn(name):
    return name in MEET or name == "gossip-learning"


@pytest.mark.parametrize("check", UNIVERSAL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_algorithm_keeps_the_rules_of_the_house(check, name):
    if check is check_permutation and drawn(name):
        pytest.skip("partners are drawn, and draws belong to a client's number")
    check(name)


@pytest.mark.parametrize(
    ("name", "together", "params"),
    [
        ("swift", "dsgd", {}),
        ("async-dsgdm-n", "dsgdm-n", {"beta": 0.8}),
        ("async-qg-dsgdm-n", "qg-dsgdm-n", {"beta": 0.8, "mu": 0.7}),
        ("async-sgp", "sgp", {"nesterov": False}),
    ],
)
@pytest.mark.parametrize("topology", ["ring8", "exponential8", "base8:k=2"])
def test_in_step_it_is_the_algorithm_with_rounds(name, together, params, topology):
    alone = run(name, topology=topology, **params)
    assert_same(alone, run(together, topology=topology, **params))


def test_in_step_on_matchings_ad_psgd_is_dsgd_with_one_message_each_way():
    assert_same(
        run("ad-psgd", topology="random-matching8"), run("dsgd", topology="random-matching8")
    )
    (alone,) = at_start("ad-psgd", no_gradient, starts(), topology="random-matching8", lr=0.1)
    (together,) = at_start("dsgd", no_gradient, starts(), topology="random-matching8", lr=0.1)
    lockstep([alone], 9)
    lockstep([together], 9)
    assert alone.bytes_sent == together.bytes_sent


def no_gradient(x, round):
    return 0 * x


def constant(x, round):
    """A gradient of its own for every client, wherever it is."""
    return np.ones_like(x) * np.arange(1, len(x) + 1)[:, None]


@pytest.mark.parametrize("clock", ["varied", "late"])
@pytest.mark.parametrize("name", MEET)
def test_meetings_keep_the_mean_and_gradients_alone_move_it(name, clock):
    (block,) = at_start(
        name, constant, starts(), topology="ring8", lr=0.1, staleness=CLOCKS[clock], seed=3
    )
    lockstep([block], 30)
    state = block.state
    models = (state.x + state.xt) / 2 if name == "acid" else state.x
    steps = np.array(block.timeline.steps)
    moved = -0.1 * (steps * np.arange(1, 9)).mean()
    assert_same(models.numpy().mean(0), starts().mean(0) + moved)
    assert len(set(steps)) > 1


@pytest.mark.parametrize("topology", ["ring8", "exponential8"])
def test_what_clients_and_messages_hold_together_changes_by_gradients_only(topology):
    (block,) = at_start(
        "async-sgp", no_gradient, starts(), topology=topology, lr=0.1, staleness=CLOCKS["late"]
    )
    lockstep([block], 30)
    z, w = block.state.z.numpy().sum(0), float(block.state.w.sum())
    letters = block.timeline.mail
    slots = block.mail.slots_of(letters.serial)
    for slot, weight in zip(slots, letters.weight, strict=True):
        z += weight * block.mail.rows[0][slot].numpy()
        w += weight * float(block.mail.rows[1][slot])
    assert len(slots)
    assert_same(z, starts().sum(0))
    assert_same(w, 8.0)


@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_with_small_steps_the_mean_comes_to_the_optimum_if_all_are_equally_fast(name):
    problem = Quadratics.random(equal_curvature=True)
    path = trajectory(
        name,
        problem.gradient,
        starts(),
        topology="ring8",
        rounds=400,
        lr=lambda round: 0.05 / (1 + round / 100),
        staleness=VARIED | {"links": {"latency": 0.5}},
    )
    # How often each one has stepped by then is off by the root of that number, 5 %.
    off = np.abs(path[-1].mean(0) - problem.optimum()).max()
    assert off < 0.1 * np.abs(problem.b - problem.optimum()).max()


@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_numbers_do_not_depend_on_how_many_rounds_are_cut_into_waves_together(name):
    def by(window, until):
        (block,) = at_start(
            name, Quadratics.random().gradient, starts(), topology="ring8", lr=0.05, seed=2
        )
        network = network_of("ring8", CLOCKS["late"], {"loss": 0.1}, name == "async-sgp")
        block.rewire(block.rule, WaveRouting(network, (0, 8), window))
        for done in until:
            lockstep([block], done)
        return block.x.numpy()

    np.testing.assert_array_equal(by(1, [12]), by(1, range(1, 13)))
    assert_same(by(5, [12]), by(1, [12]))


@pytest.mark.parametrize("name", ["ad-psgd", "async-dsgdm-n"])
def test_while_a_straggler_of_factor_ten_makes_a_step_the_others_make_ten(name):
    slow = {"compute": {"seconds": 1.0, "speeds": {"3": 0.1}}}
    (block,) = at_start(name, no_gradient, starts(), topology="ring8", lr=0.1, staleness=slow)
    lockstep([block], 89)  # 712 steps or some more: in 100 s seven make 100 and one makes 10
    steps = block.timeline.steps
    assert steps[3] == 10
    assert {steps[i] for i in range(8) if i != 3} <= {100, 101}


def test_who_is_slow_holds_up_nobody_but_all_who_wait_for_rounds():
    slow = {"compute": {"seconds": 1.0, "speeds": {"3": 0.1}}}
    timing = network_of("ring8", slow).timing
    W = build("ring8").mixing(0)
    assert timing.seconds(W, 0, 8.0) == 10.0  # of a round of those who wait
    (block,) = at_start("ad-psgd", no_gradient, starts(), topology="ring8", lr=0.1, staleness=slow)
    lockstep([block], 71)
    assert block.timeline.now == pytest.approx(568 / 7.1, rel=0.01)  # 7.1 steps a second


# How old the news is


def news(name, topology, seconds, until, latency=0.0):
    """(client, seconds on the clock, how far behind, seconds ago), of all news up to a time."""
    speeds = {str(i): 1 / s for i, s in enumerate(seconds)}
    clock = {"compute": {"seconds": 1.0, "speeds": speeds}, "links": {"latency": latency}}
    n = len(seconds)
    more = {"patience": 1} if name == "async-sgp" else {}  # it sends at every step
    (block,) = at_start(
        name, no_gradient, np.zeros(2), topology=topology, lr=0.1, staleness=clock, **more
    )
    routing = dataclasses.replace(block.routing, end=until)
    block.rewire(block.rule, routing)
    window = block.timeline.play(10 * n)
    begun = dict.fromkeys(range(n), 0.0)
    done = []
    for client, elapsed in zip(window.client, window.elapsed, strict=True):
        if name == "async-sgp":  # nothing happens to a client between its steps
            begun[client] += elapsed
        done.append((client, begun[client]))
    by = getattr(window, "read_by", range(len(done)))
    found = zip(by, window.behind, window.age, strict=True)
    return sorted((*done[step], behind, age) for step, behind, age in found)


def test_of_two_clients_that_meet_the_slow_ones_gradient_is_two_meetings_old():
    # One steps at 1, 2, 3 s and meets the other, who computes for 3 s; at 3 s they want each other.
    found = [
        (client, behind, age) for client, _, behind, age in news("ad-psgd", "complete2", [1, 3], 3)
    ]
    assert found == [(0, 0, 1.0), (0, 0, 1.0), (0, 0, 1.0), (1, 2, 3.0)]


def test_of_two_clients_that_send_the_slow_one_reads_what_was_sent_meanwhile():
    first = [(0, 3.0, 0, 0.0), (1, 3.0, 0, 0.0), (1, 3.0, 1, 1.0), (1, 3.0, 2, 2.0)]
    assert news("async-sgp", "complete2", [1, 3], 3) == first
    # With half a second on the way, what is sent at 3 s has not come by then.
    late = [(0, 4.0, 0, 1.0), (1, 3.0, 1, 1.0), (1, 3.0, 2, 2.0)]
    assert news("async-sgp", "complete2", [1, 3], 4, latency=0.5) == late


def test_of_three_clients_in_a_chain_each_hears_its_neighbors_only():
    found = news("async-sgp", "chain3", [1, 2, 4], 4)
    middle = [one for one in found if one[0] == 1]
    first_step = [(1, 2.0, 0, 0.0), (1, 2.0, 1, 1.0)]  # of the fast one: sent at 2 s and at 1 s
    second_step = [(1, 4.0, 0, 0.0), (1, 4.0, 0, 0.0), (1, 4.0, 1, 1.0)]  # and of the slow one
    assert middle == first_step + second_step
    assert [one for one in found if one[0] == 2] == [(2, 4.0, 0, 0.0), (2, 4.0, 1, 2.0)]


def test_messages_are_as_many_steps_old_as_they_are_said_to_be():
    (block,) = at_start(
        "async-dsgdm-n", no_gradient, starts(), topology="ring8", lr=0.1, staleness=2
    )
    window = block.timeline.play(9)
    assert set(window.behind) == {2}
    assert set(window.age) == {2.0}


# What cannot be


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"algorithm": "ad-psgd", "topology": "exponential8"},
            "ad-psgd needs an undirected network",
        ),
        (
            {"algorithm": "dsgd", "staleness": 1},
            "staleness is of algorithms whose clients do not wait",
        ),
        ({"algorithm": "ad-psgd", "staleness": -1}, "staleness must be steps >= 0"),
        ({"algorithm": "ad-psgd", "staleness": {"compute": 0}}, "must be > 0 for every client"),
        ({"algorithm": "ad-psgd", "staleness": {"link": 1}}, "staleness.link; did you mean links"),
        ({"algorithm": "swift", "every": 0}, "algorithm.every must be >= 1|every must be >= 1"),
        ({"algorithm": "acid", "chi1": 2.0}, "chi1 and chi2 go together"),
        ({"algorithm": "ad-psgd", "consensus": {"targets": [1.0]}}, "has no rounds in which all"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(wrong, told):
    settings = {"topology": "ring8", "rounds": 3, "lr": 0.1} | wrong
    name = settings.pop("algorithm")
    with pytest.raises(ConfigError, match=told) as error:
        trajectory(name, no_gradient, starts(), **settings)
    assert "\n" not in str(error.value)


TOLD_THE_TIME = """
from p2pqg import algorithm
from p2pqg.algorithms import acid
from p2pqg.algorithms.asynchronous import OwnPace


def met(s, p, elapsed):
    return acid.met(s, p, acid.share(p, elapsed))


@algorithm(
    "told",
    params=acid.Params,
    start=acid.start,
    needs=("undirected",),
    asynchronous=OwnPace(met=met, elapsed=True, fit=acid.fit),
)
def told(s, grad, p, elapsed):
    return (yield from acid.acid(s, grad, p, acid.share(p, elapsed)))
"""


def test_what_is_made_of_the_time_beforehand_is_what_a_step_would_make_of_it(tmp_path):
    (tmp_path / "mine.py").write_text(TOLD_THE_TIME)
    clock = {"compute": {"seconds": 1, "varies": "exponential"}}
    settings = TOY | {"engine": "local", "network": clock, "rounds": 8, "precision": "float64"}
    found = []
    for name in ("acid", f"{tmp_path}/mine.py:told"):
        with p2pqg.Simulation(**settings, algorithm=name) as sim:
            sim.advance(8)
            found.append(sim.parameters())
    np.testing.assert_array_equal(*found)
