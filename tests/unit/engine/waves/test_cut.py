"""Waves and their stages: what may be computed together, and that nothing depends on it."""

import dataclasses

import numpy as np
import pytest

from p2pqg.base.config import made
from p2pqg.engine.block import lockstep
from p2pqg.engine.waves import cut
from p2pqg.engine.waves.calls import Asks
from p2pqg.engine.waves.draws import LetterDraws, MeetingDraws
from p2pqg.engine.waves.planner import timeline_of
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.testing import Quadratics, assert_same, starts
from p2pqg.theory.trajectories import at_start
from p2pqg.topology import build

VARIED = {"compute": {"seconds": 1.0, "varies": "exponential"}, "links": {"jitter": 0.1}}


def routing_of(topology, window=1):
    schedule = build(topology)
    timing = Timing.of(made(ClockParams, VARIED, "network."), schedule.num_clients, (), 3)
    network = Network(schedule, seed=3, timing=timing)
    return WaveRouting(network, (0, schedule.num_clients), window)


def waves_of(name, window=16):
    n = 8
    (block,) = at_start(name, Quadratics.random().gradient, starts(), topology="ring8", lr=0.1)
    block.rewire(block.rule, routing_of("ring8", window))
    found = []
    play = "_meet" if name == "ad-psgd" else "_post"
    original = getattr(block, play)

    def note(wave, params):
        found.append(wave)
        return original(wave, params)

    block.__dict__[play] = note
    lockstep([block], window)
    assert sum(len(wave.at) for wave in found) >= n * window
    return found


@pytest.mark.parametrize("name", ["ad-psgd", "async-dsgdm-n"])
def test_in_a_stage_nobody_makes_two_steps_and_a_wave_has_its_part_of_it(name):
    waves = waves_of(name)
    for wave in waves:
        np.testing.assert_array_equal(wave.stage.at[wave.part], wave.at)
        np.testing.assert_array_equal(wave.stage.numbers[wave.part], wave.numbers)
        assert len(set(wave.stage.at.tolist())) == len(wave.stage.at)
    stages = {id(wave.stage): wave.stage for wave in waves}
    assert len(stages) < len(waves) or name != "ad-psgd"  # meetings gain by it


@pytest.mark.parametrize("clock", [VARIED, {"compute": 1.0}], ids=["varied", "equal"])
@pytest.mark.parametrize("at_once", [3, 8])
def test_large_waves_in_parts_give_the_same_numbers(monkeypatch, at_once, clock):
    def path(topology):
        (block,) = at_start(
            "ad-psgd", Quadratics.random(32).gradient, starts(32), topology=topology, lr=0.05,
            staleness=clock, seed=2,
        )  # fmt: skip
        lockstep([block], 12)
        return block.x.numpy()

    topology = "random-matching32"
    whole = path(topology)
    monkeypatch.setattr(cut, "AT_ONCE", at_once)
    assert_same(path(topology), whole)


def test_what_is_drawn_does_not_depend_on_the_portions():
    """Whose half is used up gets more; that is what a first draw there would have been."""
    routing, asks = routing_of("ring8"), Asks("meet")
    draws, fresh = MeetingDraws(routing, asks), MeetingDraws(routing, asks)
    draws.draw([0] * 8)
    steps = [min(step, draws.ahead) for step in [0, 70, 3, 40, 0, 31, 32, 33]]
    draws.draw(steps)
    fresh.draw(steps)
    for name in ["seconds", "partner", "lasts", "lost"]:
        for client, step in enumerate(steps):
            old = getattr(draws, name)[client][step - draws.base[client] :]
            new = getattr(fresh, name)[client][step - fresh.base[client] :]
            assert old
            assert old[: len(new)] == new[: len(old)]
    assert draws.base[0] == 0  # who has enough keeps it
    assert draws.base[1] == draws.ahead


@pytest.mark.parametrize("to", ["all", "one"])
@pytest.mark.parametrize("topology", ["ring8", "onepeer-exponential8", "random-matching8"])
def test_what_steps_send_does_not_depend_on_which_others_are_asked_about(topology, to):
    draws = LetterDraws(routing_of(topology), Asks("push", to, message_bytes=8.0))
    client, step = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    together = draws.sending(client, step)
    for at in range(48):
        alone = draws.sending(client[at : at + 1], step[at : at + 1])
        letters = slice(together.first[at], together.first[at + 1])
        for name in ("receiver", "weight", "travel", "there"):
            np.testing.assert_array_equal(getattr(together, name)[letters], getattr(alone, name))
        assert together.busy[at] == alone.busy[0]
        assert together.kept[at] == alone.kept[0]


def test_a_copy_of_a_timeline_goes_on_as_the_timeline_does():
    for kind in ("meet", "push"):
        timeline = timeline_of(routing_of("ring8"), Asks(kind, message_bytes=8.0))
        timeline.play(5)
        twin = timeline.copy()
        one, other = timeline.play(5), twin.play(5)
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
        assert len(one.client)
