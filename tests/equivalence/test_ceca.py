"""DSGD-CECA on any number of clients, against a plain loop over them and against exact means."""

import numpy as np
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.engine.block import lockstep
from p2pqg.testing import Quadratics, assert_same, run, starts
from p2pqg.theory.trajectories import at_start

NUMBERS = [2, 3, 5, 6, 8, 11, 16, 17, 24, 31]


def plain(x0, gradient, n, ports, lr, rounds):
    """Client by client, as the paper draws it: who hears whom, what is sent, who knows how much."""
    x, v, digits = list(x0), list(x0), bin(n - 1)[2:]
    yield np.stack(x)
    for t in range(rounds):
        place = t % len(digits)
        if place == 0:
            known = 0  # others that each has heard of in this turn
        digit = digits[place] == "1"
        g = gradient(np.stack(x if digit else v), t)
        x, v = list(np.stack(x) - lr * g), list(np.stack(v) - lr * g)
        sent, mine, others = list(x if digit else v), [], []
        for i in range(n):
            if ports == 2:
                sender = i - known - digit
            else:
                sender = i + 2 * known + 1 if i % 2 else i - 2 * known - 1
            heard, all_of_it = sent[sender % n], 2 * known + 1
            if digit:
                mine.append((x[i] + heard) / 2)
                others.append(known / all_of_it * v[i] + (known + 1) / all_of_it * heard)
            else:
                mine.append((known + 1) / all_of_it * x[i] + known / all_of_it * heard)
                others.append((v[i] + heard) / 2)
        x, v, known = mine, others, 2 * known + digit
        yield np.stack(x)


@pytest.mark.parametrize(("n", "ports"), [(5, 2), (8, 1), (11, 2), (12, 1), (12, 2)])
def test_clients_do_what_the_paper_says(n, ports):
    problem, x0 = Quadratics.random(n), starts(n)
    expected = np.stack(list(plain(x0, problem.gradient, n, ports, 0.05, 10)))
    got = run("dsgd-ceca", problem, x0, f"ceca{n}:ports={ports}", 10, lr=0.05)
    assert_same(got, expected)


@pytest.mark.parametrize("ports", [1, 2])
@pytest.mark.parametrize("n", NUMBERS)
def test_without_gradients_one_turn_gives_the_exact_mean_and_that_of_the_others(n, ports):
    if ports == 1 and n % 2:
        with pytest.raises(TopologyError, match=f"an even number of clients, got {n}. Use ceca{n}"):
            run("dsgd-ceca", x0=starts(n), topology=f"ceca{n}:ports=1")
        return
    x0, turn = starts(n), (n - 1).bit_length()
    (block,) = at_start(
        "dsgd-ceca", lambda x, t: 0 * x, x0, topology=f"ceca{n}:ports={ports}", lr=1
    )
    for turns in (1, 2):
        lockstep([block], turns * turn)
        assert_same(block.x.numpy(), np.broadcast_to(x0.mean(0), x0.shape))
        if turns == 1:
            assert_same(block.state.v.numpy(), (x0.sum(0) - x0) / (n - 1))
    assert block.bytes_sent == 2 * turn * n * x0.shape[1] * 8  # one model a round


def test_one_client_is_alone():
    problem = Quadratics.random(1)
    assert_same(
        run("dsgd-ceca", problem, starts(1), "ceca1"), run("dsgd", problem, starts(1), np.eye(1))
    )


CECA = np.stack([p2pqg.mixing_matrix("ceca8", round=round) for round in range(3)])


@pytest.mark.parametrize(
    "network",
    [
        *("ring8", "onepeer-exponential8", "complete8"),
        pytest.param(np.stack([np.roll(CECA[0], 2, axis=1), *CECA[1:]]), id="from others"),
        pytest.param(np.stack([*CECA, CECA[0]]), id="a round more"),
        pytest.param(np.stack([CECA[0], *(CECA[1:] + np.eye(8)) / 2]), id="other weights"),
    ],
)
def test_other_networks_are_refused(network):
    with pytest.raises(TopologyError, match="the network that is made for it. Use ceca8, or ceca8"):
        run("dsgd-ceca", topology=network)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"impairments": {"loss": 0.1}}, "needs the same network in every round, which loss"),
        ({"rule": "median"}, "hears of one client a round"),
        ({"topology": "ceca8:ports=3"}, "ports must be 1 or 2, got 3"),
        ({"topology": "ring8"}, "Use ceca8"),
    ],
)
def test_what_would_break_the_means_is_refused_before_a_run(settings, told):
    with pytest.raises(ConfigError, match=told):
        p2pqg.run(**{"algorithm": "dsgd-ceca", "topology": "ceca8", "rounds": 2, **settings})
