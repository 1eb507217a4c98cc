"""Consensus control (Kong et al., ICML 2021), against what it must do by its definition."""

import contextlib

import numpy as np
import pytest
import torch

import p2pqg
from p2pqg.algorithms.control import Consensus, Controller
from p2pqg.algorithms.effects import ALGORITHMS, AllReduce, Decide, Gossip, gossip
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.errors import ConfigError
from p2pqg.engine.block import lockstep
from p2pqg.engine.rule import Rule
from p2pqg.testing import Quadratics, dense
from p2pqg.theory.trajectories import at_start

PROBLEM = Quadratics.random(8, 5, seed=1)
X0 = np.zeros(5)


def path(algorithm="dsgd", topology="ring8", rounds=12, blocks=None, **consensus):
    return p2pqg.trajectory(
        algorithm,
        PROBLEM.gradient,
        X0,
        topology=topology,
        rounds=rounds,
        lr=0.05,
        blocks=blocks,
        consensus=consensus or None,
    )


def counted(topology="ring8", rounds=12, **consensus):
    """Exchanges and bytes of a controlled run."""
    control = Controller.of(Consensus(**consensus), rounds)
    blocks = at_start(
        "dsgd", PROBLEM.gradient, np.zeros(5), topology=topology, lr=0.05, control=control
    )
    lockstep(blocks, rounds)
    return blocks[0].exchanges, blocks[0].bytes_sent


def needs_of(entry):
    """What an algorithm wants of W, with its defaults."""
    return entry.traits["needs"](entry.params(lr=0.1))


def distance(x):
    """mean_i ||x_i - mean x||^2 along a trajectory."""
    return np.square(x - x.mean(1, keepdims=True)).sum(2).mean(1)


@pytest.mark.parametrize("algorithm", ["dsgd", "dsgdm-n", "qg-dsgdm-n", "d2-plus", "decentlam"])
def test_an_endless_target_is_the_algorithm_itself(algorithm):
    lazy = {"topology": "ring8:mixing=lazy"}
    plain = path(algorithm, **lazy)
    assert (path(algorithm, **lazy, targets=(float("inf"),)) == plain).all()
    assert (path(algorithm, **lazy, targets=("free",)) == plain).all()


@pytest.mark.parametrize("algorithm", ["dsgd", "dsgdm-n", "qg-dsgdm-n"])
def test_the_distance_after_every_round_is_below_the_target(algorithm):
    target = 0.2 * distance(path(algorithm)).max()
    controlled = distance(path(algorithm, targets=(target,), max_exchanges=1000))
    assert controlled.max() <= target
    assert distance(path(algorithm)).max() > target


def test_a_small_target_comes_to_all_reduce():
    exact = path(targets=("exact",))
    assert distance(exact).max() < 1e-25
    close = path(targets=(1e-16,), max_exchanges=1000)
    np.testing.assert_allclose(close, exact, rtol=0, atol=1e-7)


def test_exact_is_the_centralized_method():
    np.testing.assert_allclose(path(targets=("exact",)), path("sgd"), rtol=0, atol=1e-13)


def test_on_the_complete_graph_one_exchange_is_enough():
    assert counted("complete8", targets=(1e-12,), max_exchanges=9)[0] == 12


def test_each_phase_has_its_own_target():
    x = path(phases=(0.5,), targets=("exact", "free"))
    seen = distance(x)
    assert seen[:7].max() < 1e-25
    assert seen[7:].min() > 1e-6


def test_of_push_sum_the_model_is_measured_not_the_scaled_one():
    """Clients with z = 2, w = 1 and z = 6, w = 3 have one model: they agree at once."""
    control = Controller.of(Consensus(targets=(1e-6,), max_exchanges=5), 1)
    sent = gossip(torch.tensor([[2.0], [6.0]]), torch.tensor([[1.0], [3.0]]))

    def exchanges(push_sum):
        def call():
            yield sent

        count, reply, requests = 0, None, control.lead(call(), 0, push_sum)
        with contextlib.suppress(StopIteration):
            while True:
                effect = requests.send(reply)
                count += isinstance(effect, Gossip)
                reply = {
                    Gossip: lambda e: e.tensors,
                    AllReduce: lambda e: e.tensors[0].mean(0, keepdim=True).expand(2, 1),
                    Decide: lambda e: float(e.values.mean()),
                }[type(effect)](effect)
        return count

    assert exchanges(push_sum=True) == 1
    assert exchanges(push_sum=False) == 5


@pytest.mark.parametrize(
    "settings", [{"targets": (0.01,)}, {"targets": (0.01,), "measure": "exchange"}]
)
def test_where_rows_sum_to_one_controlled_push_sum_is_controlled_momentum(settings):
    settings = {"topology": "onepeer-exponential8", **settings}
    np.testing.assert_allclose(path("sgp", **settings), path("dsgdm-n", **settings), atol=1e-13)


def test_where_rows_do_not_sum_to_one_repeating_W_is_refused():
    network = "random-peer8:k=2"
    with pytest.raises(ConfigError, match=r"W repeated does not average where row \d sums to"):
        path("sgp", network, targets=("free", 0.01), phases=(0.5,), max_exchanges=2)
    plain = path("sgp", network)
    assert (path("sgp", network, targets=(float("inf"),)) == plain).all()
    assert (path("sgp", network, targets=(0.01,), max_exchanges=1) == plain).all()


def test_targets_are_fractions_of_the_reference():
    both = {"max_exchanges": 50, "rounds": 4}
    halves = path(targets=(0.5,), reference=(0.02,), **both)
    assert (halves == path(targets=(0.01,), **both)).all()
    both["phases"] = (0.5,)
    one_for_all = path(targets=(0.5, 0.25), reference=(0.02,), **both)
    one_each = path(targets=(0.05, 0.1), reference=(0.2, 0.05), **both)
    assert (one_for_all == path(targets=(0.01, 0.005), **both)).all()
    assert (one_each == one_for_all).all()


def test_a_target_may_be_a_share_of_the_gradients():
    """DSGD moves by lr g before it mixes: what the gradients were can be read off its path."""
    share, lr = 1e-4, 0.05
    x = path(targets=(share,), of="gradient", max_exchanges=1000)
    gradients = np.stack([PROBLEM.gradient(models, 0) for models in x[:-1]])
    allowed = share * np.square(gradients).sum(2).mean(1)
    assert (distance(x)[1:] <= allowed * (1 + 1e-9)).all()
    free = path()
    moved = np.square(PROBLEM.gradient(free[0], 0)).sum(1).mean()
    assert distance(free)[1] > share * moved  # it took more than one exchange
    assert lr**2 > share  # so that the target binds


def test_shares_of_gradients_are_absolute_targets_where_the_gradients_are_known():
    g = np.random.default_rng(0).standard_normal((8, 5))
    settings = {"topology": "ring8", "rounds": 9, "lr": 0.05}
    target = float(np.square(g).sum(1).mean())

    def found(**consensus):
        consensus["max_exchanges"] = 50
        return p2pqg.trajectory("dsgd", lambda x, t: g, X0, consensus=consensus, **settings)

    assert (found(targets=(1e-4,), of="gradient") == found(targets=(1e-4 * target,))).all()


def test_of_gradients_one_number_each_is_sent_where_clients_measure_themselves():
    _, free = counted(targets=(1e-30,), max_exchanges=3, of="gradient")
    _, sent = counted(targets=(1e-30,), max_exchanges=3, of="gradient", measure="exchange")
    _, before = counted(targets=(1e-30,), max_exchanges=3, measure="exchange")
    assert free == counted(targets=(1e-30,), max_exchanges=3)[1]
    assert sent - before == pytest.approx(12 * 2 * (8 - 1) * 8)
    asked = {"of": "gradient", "measure": "exchange"}  # nobody has to know where nothing is decided
    once = counted(targets=(1e-30,), max_exchanges=1)
    assert counted(targets=(1e-30,), max_exchanges=1, **asked) == once
    assert counted(targets=(float("inf"),), **asked) == once


@pytest.mark.parametrize("measure", ["distance", "exchange"])
def test_exchanges_go_on_until_what_is_measured_is_below_the_target(measure):
    """The mean over clients of a squared length, in a plain loop."""
    target = 0.001
    W, x, exchanges = p2pqg.mixing_matrix("ring8"), np.tile(X0, (8, 1)), 0
    found = path(targets=(target,), measure=measure, max_exchanges=50, rounds=4)
    for round in range(4):
        x, measured = x - 0.05 * PROBLEM.gradient(x, round), np.inf
        while measured > target:
            before, x, exchanges = x, W @ x, exchanges + 1
            measured = np.square(x - (before if measure == "exchange" else x.mean(0))).sum(1).mean()
        np.testing.assert_allclose(found[round + 1], x, rtol=0, atol=1e-12)
    assert exchanges > 4


def test_the_limit_on_exchanges_holds():
    assert counted(targets=(1e-30,), max_exchanges=3)[0] == 3 * 12


def test_bytes_are_those_of_the_exchanges_and_the_exact_distance_is_free():
    exchanges, sent = counted(targets=(1e-30,), max_exchanges=3)
    assert sent == exchanges * 8 * 2 * 5 * 8  # clients, neighbors, params, float64
    _, with_numbers = counted(targets=(1e-30,), max_exchanges=3, measure="exchange")
    decisions = 2 * 12  # none after the last exchange a round may have
    assert with_numbers - sent == pytest.approx(decisions * 2 * (8 - 1) * 8)


@pytest.mark.parametrize("of", ["reference", "gradient"])
@pytest.mark.parametrize("measure", ["distance", "exchange"])
@pytest.mark.parametrize("blocks", [[3, 5], [1] * 8])
def test_hosting_does_not_change_controlled_numbers(measure, blocks, of):
    settings = {"targets": (0.002 if of == "reference" else 1e-4,), "measure": measure, "of": of}
    np.testing.assert_allclose(
        path(blocks=blocks, **settings), path(**settings), rtol=0, atol=1e-12
    )


def test_one_exchange_bounds_the_distance():
    """Xi <= 2 / p Theta with p = 1 - lambda_2^2, since ||z - W z|| >= p / 2 ||z||."""
    W = p2pqg.mixing_matrix("ring8")
    p = 1 - np.sort(np.abs(np.linalg.eigvalsh(W)))[-2] ** 2
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((1, 8, 3))
        theta = np.square(W @ x[0] - x[0]).sum(1).mean()
        assert np.sqrt(distance(x)[0]) <= 2 / p * np.sqrt(theta)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"targets": (1.0, 2.0)}, "one for each phase"),
        ({"targets": (-1.0,)}, "must be > 0, free or exact"),
        ({"targets": (1.0, 0.0), "phases": (0.5,)}, "must be > 0, free or exact"),
        ({"targets": (1.0,), "max_exchanges": 0}, "max_exchanges must be >= 1"),
        ({"targets": (1.0, 1.0), "phases": (1.5,)}, "rising fractions"),
        ({"targets": (1.0, 1.0), "phases": (1.0,)}, "rising fractions"),
        ({"targets": (1.0, 1.0), "phases": (0.0,)}, "rising fractions"),
        ({"targets": (1.0, 1.0, 1.0), "phases": (0.6, 0.3)}, "rising fractions"),
        ({"targets": (1.0, 1.0, 1.0), "phases": (0.5, 0.5)}, "rising fractions"),
        ({"targets": (1.0,), "reference": (0.0,)}, "one number > 0, or one for each phase"),
        ({"targets": (1.0,), "reference": (1.0, 2.0)}, r"each phase \(1\), got \[1.0, 2.0\]"),
        ({"targets": (1.0, 1.0), "phases": (0.5,), "reference": (1.0, -1.0)}, "one number > 0"),
        ({"phases": (0.5,)}, "do nothing without consensus.targets"),
        ({"reference": (2.0,)}, "do nothing without consensus.targets"),
        ({"of": "gradient"}, "of: gradient needs targets and no reference; set targets"),
        ({"targets": (1.0,), "reference": (2.0,), "of": "gradient"}, "set targets alone"),
        ({"targets": (1.0,), "of": "gradients"}, "consensus.of must be"),
        ({"target": 1}, "unknown key consensus.target; did you mean targets"),
    ],
)
def test_wrong_settings_are_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        path(**settings)


@pytest.mark.parametrize(
    ("algorithm", "topology", "reason"),
    [
        ("choco-sgd", "ring8", "sends what neighbors remember"),
        ("relay-sgd", "chain8", "sends what neighbors remember"),
        ("sgdm", "ring8", "does not gossip"),
        ("dsgd-ceca", "ceca8", "hears of one client a round"),
    ],
)
def test_what_cannot_be_repeated_is_refused(algorithm, topology, reason):
    with pytest.raises(
        ConfigError, match=f"consensus does not go with {algorithm}, which {reason}"
    ):
        p2pqg.trajectory(
            algorithm,
            lambda x, round: x,
            np.ones(2),
            topology=topology,
            rounds=1,
            lr=0.1,
            consensus={"targets": (1.0,)},
        )


def test_control_asks_how_far_models_are_apart_and_leaves_gradients_alone():
    """dsgdm-sync mixes gradients before its step: once, whatever the target of the models is."""
    W, target, lr, most = dense("ring8"), 0.01, 0.05, 6
    x, m = np.tile(X0, (8, 1)), np.zeros((8, 5))
    expected, exchanges = [x], []
    for t in range(6):
        m = 0.5 * m + W @ PROBLEM.gradient(x, t)
        x = x - lr * m
        x, count = W @ x, 1
        while count < most and distance(x[None])[0] > target:
            x, count = W @ x, count + 1
        expected.append(x)
        exchanges.append(count)
    settings = {"what": "gradient", "beta": 0.5, "nesterov": False}
    control = {"targets": (target,), "max_exchanges": most}
    reached = p2pqg.trajectory(
        "dsgdm-sync",
        PROBLEM.gradient,
        X0,
        topology="ring8",
        rounds=6,
        lr=lr,
        consensus=control,
        **settings,
    )
    np.testing.assert_allclose(reached, expected, rtol=0, atol=1e-12)
    assert len(set(exchanges)) > 1


def gossiped(name, params, x0):
    """What the first rounds gossip first, and whether it is said to be models; of three clients."""
    entry = ALGORITHMS[name]
    made = entry.params(lr=0.1, **params)
    rule = Rule(entry, made, LearningRate(0.1), seed=0)
    state, found = rule.start(x0), []
    g = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)

    def mean(t):
        return t.mean(0, keepdim=True).expand_as(t)

    for round in range(4):
        call = rule.alone(state, lambda x, again=False: g.expand_as(x), round, range(3))
        try:
            effect = call.send(None)
            while True:
                if isinstance(effect, Gossip):
                    found.append((effect.models, effect.tensors[0]))
                reply = tuple(map(mean, effect.tensors))
                effect = call.send(reply if len(reply) > 1 else reply[0])
        except StopIteration as end:
            state = end.value
    return found


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *(
            (name, {})
            for name, entry in sorted(ALGORITHMS.items())
            if not (entry.traits.get("asynchronous") or entry.traits["centralized"])
            and not {"static", "tree", "ceca", "teleportation"} & set(needs_of(entry))
            and name not in ("cga", "ngc")  # they exchange
        ),
        ("dsgdm-sync", {"what": "gradient"}),
    ],
)
def test_what_is_gossiped_as_models_moves_with_the_models(name, params):
    """Gradients are constant here: from shifted models, models are shifted and all else is not."""
    x0 = torch.zeros(3, 2, dtype=torch.float64)
    pairs = zip(gossiped(name, params, x0), gossiped(name, params, x0 + 7), strict=True)
    for (models, one), (_, other) in pairs:
        shift = 7.0 if models else 0.0
        torch.testing.assert_close(other - one, torch.full_like(one, shift), rtol=0, atol=1e-9)
