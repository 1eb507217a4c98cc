"""Rounds are planned ahead and handed out singly: nobody can tell, but by the clock on the wall."""

import dataclasses

import numpy as np
import pytest

from p2pqg.base.config import made
from p2pqg.engine.block import lockstep
from p2pqg.engine.waves import planner
from p2pqg.engine.waves.planner import Planner, timeline_of
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.engine.waves.scout import WaveScout
from p2pqg.engine.waves.transfers import legs
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.network.impairments import Impairments
from p2pqg.testing import Quadratics, starts
from p2pqg.theory.trajectories import at_start
from p2pqg.topology import build

LATE = {
    "compute": {"seconds": 1.0, "varies": "exponential", "stragglers": {"share": 0.1}},
    "links": {"latency": 0.7, "jitter": 0.3, "bandwidth": 2000},
}
SLOW = {"compute": {"seconds": 3.0, "varies": "uniform"}}
NAMES = ["ad-psgd", "acid", "async-dsgdm-n", "async-sgp", "swift", "gossip-learning"]


def timing_of(clock, n):
    return Timing.of(made(ClockParams, clock, "network."), n, (), 3)


def network_of(schedule, columns=False):
    wrong = made(Impairments, {"loss": 0.1}, "impairments.")
    timing = timing_of(LATE, schedule.num_clients)
    return Network(schedule, seed=3, timing=timing, impairments=wrong, by_columns=columns)


class World:
    """Blocks of a run, and what the driver knows of them."""

    def __init__(self, name, window=1, blocks=(3, 5), lr=0.05):
        needs = ("column-stochastic",) if name == "async-sgp" else ()
        self.network, self.window = network_of(build("ring8", needs=needs), bool(needs)), window
        self.blocks = at_start(
            name, Quadratics.random().gradient, starts(), topology="ring8", blocks=list(blocks),
            lr=lr, seed=2,
        )  # fmt: skip
        first = self.blocks[0]
        for block in self.blocks:
            block.rewire(block.rule, self.routing)
            block.timeline = timeline_of(self.routing, block.asks)
        self.scout = WaveScout(first.rule, self.routing, timeline_of(self.routing, first.asks))

    @property
    def routing(self):
        return WaveRouting(self.network, self.blocks[0].routing.bounds, self.window)

    def become(self, network):
        self.network = network
        for block in self.blocks:
            block.rewire(block.rule, self.routing)
        self.scout.rewire(self.blocks[0].rule, self.routing)

    def seen(self, until):
        """All that there is to see of the rounds up to one."""
        found = list(self.scout.legs(until))
        lockstep(self.blocks, until)
        (first, *others) = self.blocks
        told, first.traffic = first.traffic, []
        assert not any(block.traffic for block in others)
        parts = [(block.x.numpy().copy(), block.bytes_sent) for block in self.blocks]
        return parts, found, [tuple(journal) for journal in told]


CHANGES = {
    9: lambda network: network.drop_clients([1, 5]),
    14: lambda network: dataclasses.replace(network, timing=timing_of(SLOW, 8)),
    30: lambda network: network.restore_clients([5]),
}


def path(world, stops, looks=()):
    """What is seen on the way, and where the clients stand when somebody looks."""
    found = []
    for until in stops:
        found.append(world.seen(until))
        if until in looks:
            found += [block.timeline.data() for block in world.blocks]
        if until in CHANGES:
            world.become(CHANGES[until](world.network))
    return found


@pytest.mark.parametrize(("name", "window"), [*((name, 1) for name in NAMES), ("swift", 5)])
def test_planned_ahead_or_not_all_is_the_same_at_every_round(monkeypatch, name, window):
    def lr(round):
        return 0.05 if round < 22 else 0.02

    stops = [*range(1, 25), 27, 33, *range(34, 40)]
    ahead = path(World(name, window, lr=lr), stops, looks={9, 12, 13, 20, 33, 38})
    monkeypatch.setattr(planner, "AHEAD", 1)
    singly = path(World(name, window, lr=lr), stops, looks={9, 12, 13, 20, 33, 38})
    np.testing.assert_equal(ahead, singly)


@pytest.mark.parametrize("name", ["ad-psgd", "swift"])
def test_a_snapshot_in_the_middle_of_what_is_planned_is_of_that_round(name):
    whole, parted = World(name, blocks=[8]), World(name, blocks=[8])
    for until in range(1, 21):
        wanted = whole.seen(until)
        snapshot = parted.blocks[0].snapshot()
        again = World(name, blocks=[8])
        again.blocks[0].load(snapshot)
        again.scout.load(snapshot)
        parted = again if until % 3 else parted  # sometimes the one that goes on is the same
        np.testing.assert_equal(parted.seen(until), wanted)


def plays_of(monkeypatch, world, stops):
    """How often the timeline of the first block is played on the way."""
    timeline, seen = world.blocks[0].timeline, []
    play = timeline.play

    def noted(*portions):
        seen.append(sum(portions))
        return play(*portions)

    monkeypatch.setattr(timeline, "play", noted)
    for until in stops:
        world.seen(until)
    return seen


def test_a_run_is_planned_in_ever_longer_windows(monkeypatch):
    seen = plays_of(monkeypatch, World("async-dsgdm-n"), range(1, 64))
    assert seen == [1, 2, 4, 8, 16, 16, 16]


def test_nothing_is_planned_beyond_the_end_of_a_run_or_where_clients_are_many(monkeypatch):
    world = World("async-dsgdm-n")
    world.blocks[0].rule.num_rounds = 20
    assert plays_of(monkeypatch, world, range(1, 21)) == [1, 2, 4, 8, 5]
    monkeypatch.setattr(planner, "MOST", 8 * 3)
    assert plays_of(monkeypatch, World("ad-psgd"), range(1, 9)) == [1, 2, 3, 2 + 1]


def test_mail_has_no_more_room_for_being_planned_ahead(monkeypatch):
    def room():
        world, most = World("swift", blocks=[8]), 0
        for until in range(1, 60):
            world.seen(until)
            most = max(most, int(world.blocks[0].mail.here.sum()))
        return world.blocks[0].mail.capacity, most

    capacity, most = room()
    assert capacity <= 1.25 * most
    monkeypatch.setattr(planner, "AHEAD", 1)
    assert room()[1] == most


class Ends(Exception):
    """No such round."""


def test_what_is_wrong_with_a_later_round_is_told_when_it_is_its_turn():
    """A client steps in round after round; no network is known from round 12 on."""
    schedule = build("onepeer-exponential8")

    def known(round):
        if round >= 12:
            raise Ends
        return schedule.mixing(round)

    short = dataclasses.replace(schedule, draw=known, period=None)
    equal = {"compute": 1.0}
    network = Network(short, seed=3, timing=timing_of(equal, 8))
    routing = WaveRouting(network, (0, 8))
    (block,) = at_start("async-dsgdm-n", Quadratics.random().gradient, starts(), topology="ring8",
                        lr=0.1)  # fmt: skip
    plan = Planner(timeline_of(routing, block.asks), block.rule, lambda w: legs(w, (0, 8)))
    for until in range(1, 13):
        assert plan.take(until)[0] == until
        assert plan.timeline.round == until
    with pytest.raises(Ends):
        plan.take(13)
