"""What is drawn: shares, bursts, ages; and that no process need remember anything."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from p2pqg.base.config import read
from p2pqg.base.seeding import uniforms
from p2pqg.network import impairments as module
from p2pqg.network.impairments import Impairments

MANY = np.arange(20_000)


def histories(wrong: Impairments, links: int, rounds: int, seed: int = 1) -> np.ndarray:
    """Bool [rounds, links]: which messages are lost."""
    senders = np.arange(links)
    return np.stack([wrong.lost(seed, t, senders, senders + 1) for t in range(rounds)])


def test_losses_have_their_share():
    lost = Impairments(loss=0.05).lost(1, 7, MANY, MANY + 1)
    assert abs(lost.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / len(MANY))


def test_the_ends_of_loss_are_none_and_all():
    assert not Impairments().lost(1, 7, MANY, MANY + 1).any()
    assert Impairments(loss=1).lost(1, 7, MANY, MANY + 1).all()


def test_seeds_rounds_and_directions_are_drawn_apart():
    wrong = Impairments(loss=0.5)
    draws = [wrong.lost(*keys) for keys in [(1, 7, MANY, MANY + 1), (2, 7, MANY, MANY + 1)]]
    draws += [wrong.lost(1, 8, MANY, MANY + 1), wrong.lost(1, 7, MANY + 1, MANY)]
    shares = [(a == b).mean() for i, a in enumerate(draws) for b in draws[:i]]
    assert max(abs(share - 0.5) for share in shares) < 0.02


@pytest.mark.parametrize("burst", [None, 8])
def test_by_link_both_directions_are_lost_together(burst):
    wrong = Impairments(loss=0.3, burst=burst, by="link")
    assert_array_equal(wrong.lost(1, 9, MANY, MANY + 1), wrong.lost(1, 9, MANY + 1, MANY))


def test_bursts_have_their_share_and_their_mean_length():
    loss, burst = 0.2, 5.0
    lost = histories(Impairments(loss=loss, burst=burst), links=4000, rounds=120)
    # Rounds of a link are alike: a chain of correlation 1 - p - r is worth fewer draws.
    r = 1 / burst
    p = r * loss / (1 - loss)
    worth = lost.size * (p + r) / (2 - p - r)
    assert abs(lost.mean() - loss) < 4 * np.sqrt(loss * (1 - loss) / worth)
    ends = lost[:-1] & ~lost[1:]
    leaves = ends.sum() / lost[:-1].sum()  # a share r of bad rounds is the last of its spell
    assert abs(1 / leaves - burst) < 0.15
    enters = (~lost[:-1] & lost[1:]).sum() / (~lost[:-1]).sum()
    assert abs(enters - p) < 0.002


@pytest.mark.parametrize(("loss", "burst"), [(0.2, 5.0), (0.5, 40.0), (0.05, 1.2)])
def test_bursts_looked_up_are_those_of_the_chain_run_from_the_start(loss, burst):
    links = np.arange(50)
    leave = 1 / burst
    enter = leave * loss / (1 - loss)
    wrong = Impairments(loss=loss, burst=burst)
    bad = uniforms(3, "loss", links, links + 1, 0) < loss
    for t in range(1, 150):
        u = uniforms(3, "loss", links, links + 1, t)
        bad = np.where(bad, u < 1 - leave, u < enter)
        if t % 7 == 0:
            assert_array_equal(wrong.lost(3, t, links, links + 1), bad)


@pytest.mark.parametrize("burst", [None, 4.0])
def test_messages_of_several_rounds_are_lost_as_each_is_in_its_own(burst):
    wrong, rounds = Impairments(loss=0.4, burst=burst), MANY[:300] % 7
    at_once = wrong.lost(3, rounds, MANY[:300], MANY[:300] + 1)
    alone = [wrong.lost(3, t, MANY[[k]], MANY[[k]] + 1)[0] for k, t in enumerate(rounds.tolist())]
    assert_array_equal(at_once, alone)


def test_the_least_burst_is_that_of_independent_losses():
    burst, alone = Impairments(loss=0.2, burst=1.25), Impairments(loss=0.2)
    assert_array_equal(burst.lost(1, 30, MANY, MANY + 1), alone.lost(1, 30, MANY, MANY + 1))
    assert not [*burst.problems()]
    assert all([*replace(burst, burst=one).problems()] for one in (1.249, np.inf))


def test_what_was_asked_before_makes_no_difference():
    wrong = Impairments(loss=0.3, burst=6, delay=(0, 4))
    senders, receivers = MANY[:100], MANY[1:101]
    forward = [wrong.ages(1, t, senders, receivers) for t in range(20)]
    backward = [wrong.ages(1, t, senders, receivers) for t in reversed(range(20))][::-1]
    assert_array_equal(forward, backward)
    alone = [wrong.ages(1, 13, senders[[k]], receivers[[k]])[0] for k in range(100)]
    assert_array_equal(forward[13], alone)


def ages_of_one_link(wrong: Impairments, rounds: int, since: int = 0) -> list[int]:
    link = np.array([3]), np.array([4])
    return [int(wrong.ages(1, t, *link, since=since)[0]) for t in range(rounds)]


def test_a_constant_delay_is_the_age_once_the_first_message_is_there():
    assert ages_of_one_link(Impairments(delay=2), 6) == [-1, -1, 2, 2, 2, 2]
    assert ages_of_one_link(Impairments(delay=2), 6, since=3) == [-1, -1, -1, -1, -1, 2]
    assert ages_of_one_link(Impairments(), 3) == [0, 0, 0]


def test_the_freshest_message_that_has_arrived_is_mixed(monkeypatch):
    delays = {0: 2, 1: 0, 2: 3, 3: 1, 4: 0, 5: 3, 6: 3, 7: 3}
    # Sent in round s, there in round s + D: 0 in 2, 1 in 1, 2 in 5, 3 in 4, 4 in 4, 5 in 8, ...
    monkeypatch.setattr(module, "uniforms", lambda *keys: np.array([delays[int(keys[-1])] / 4]))
    # Rounds: 0 nothing; 1 to 3 message 1; 4 to 7 message 4, for 5 comes in round 8 only.
    assert ages_of_one_link(Impairments(delay=(0, 3)), 8) == [-1, 0, 1, 2, 0, 1, 2, 3]


def test_a_message_that_is_lost_does_not_arrive_later_either():
    wrong = Impairments(loss=0.3, delay=1)
    senders, receivers = MANY[:500], MANY[1:501]
    for t in range(1, 6):
        lost = wrong.lost(1, t - 1, senders, receivers)
        assert_array_equal(wrong.ages(1, t, senders, receivers), np.where(lost, -1, 1))


def test_delays_are_drawn_evenly_from_least_to_most():
    wrong = Impairments(delay=(1, 3))
    # Long after the start the youngest that arrived is 1 round old with probability 1/3 (its delay
    # is 1), 2 rounds with 2/3 * 2/3, else 3.
    ages = wrong.ages(1, 50, MANY, MANY + 1)
    shares = np.bincount(ages, minlength=4) / len(MANY)
    assert abs(shares - [0, 1 / 3, 4 / 9, 2 / 9]).max() < 4 * 0.5 / np.sqrt(len(MANY))


def test_who_sat_out_sent_nothing_that_could_arrive_now():
    wrong = Impairments(delay=1, participation=0.6)
    ages = wrong.ages(1, 5, MANY, MANY + 1)
    assert_array_equal(ages >= 0, wrong.takes_part(1, 4, MANY))
    assert abs((ages >= 0).mean() - 0.6) < 0.015
    by_link = replace(wrong, by="link").ages(1, 5, MANY, MANY + 1)
    both = wrong.takes_part(1, 4, MANY) & wrong.takes_part(1, 4, MANY + 1)
    assert_array_equal(by_link >= 0, both)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": 1.2}, "loss must be a probability, 0 to 1, got 1.2"),
        ({"loss": 0.5, "burst": 1.5}, r"burst must be >= 1 / \(1 - loss\) = 2 rounds"),
        ({"loss": 1, "burst": 3}, "burst needs a loss < 1"),
        ({"by": "edge"}, "by must be message or link, got 'edge'"),
        ({"on_loss": "drop"}, "on_loss must be keep or renormalise"),
        ({"delay": -1}, "delay must be rounds >= 0"),
        ({"delay": [3, 1]}, r"delay must be rounds >= 0, a number or \[least, most\]"),
        ({"delay": [1, 2, 3]}, "delay must be"),
        ({"delay": [0, 10**6 + 1]}, "delay must be 1,000,000 rounds at most, got 1000001"),
        ({"participation": 0}, r"participation must be in \(0, 1\], got 0"),
        ({"noise": float("inf")}, "noise must be >= 0"),
        ({"losses": 0.1}, "unknown key impairments.losses; did you mean loss"),
    ],
)
def test_what_cannot_be_is_said(settings, message):
    made, problems = read(Impairments, settings, "impairments.")
    assert made is None
    assert len(problems) == 1
    assert re.search(message, problems[0])


def test_it_is_said_in_words():
    assert Impairments().describe() == []
    wrong = Impairments(loss=0.05, burst=10, by="link", delay=(0, 3), participation=0.8, noise=0.01)
    assert ", ".join(wrong.describe()) == (
        "0.05 of the links lost in bursts of 10 rounds, delay 0 to 3 rounds, participation 0.8, "
        "noise 0.01"
    )
