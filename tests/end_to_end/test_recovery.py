"""Actors that die are replaced, and nothing of what they did is lost: real processes, killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from toys import TOY, Notes

import p2pqg
from p2pqg.results.run import Run
from p2pqg.running import single as running

SETTINGS = TOY | {"rounds": 150, "eval_every": 50, "clients_per_actor": 3}


def kill(sim, actor):
    """SIGKILL to the process of an actor."""
    found = sim._driver.engine.group.actors[actor].__ray_call__.remote(lambda _: os.getpid())
    os.kill(ray.get(found), signal.SIGKILL)


def numbers(run: Run):
    """All tables of a run but wall time."""
    return run.rounds.drop(columns="wall_seconds"), run.clients


class Killer(Notes):
    """Watches a run and kills one of its actors, once, when enough rounds are recorded."""

    def __init__(self, actor, round):
        super().__init__()
        self.actor, self.round = actor, round

    def recorded(self, simulation):
        if self.round is not None and simulation.round >= self.round:
            self.round = None
            kill(simulation, self.actor)


def test_a_run_whose_actor_is_killed_ends_as_if_nothing_had_been(cluster, tmp_path):
    settings = SETTINGS | {"out": str(tmp_path), "checkpoint_every": 0.1}
    whole = p2pqg.run(**settings, name="whole", engine="local")  # the same blocks
    killer = Killer(actor=1, round=40)
    run = running.run(**settings, name="killed", observer=killer)
    for mine, other in zip(numbers(run), numbers(whole), strict=True):
        assert mine.equals(other)
    (line,) = run.summary["restarts"]
    assert "actor 1 (clients 3 to 5) died" in line
    assert "going on from round " in line
    assert killer.notes == [line]
    assert "restarts" not in whole.summary
    assert run.summary["startup_seconds"] < run.summary["wall_seconds"]


def test_what_was_done_by_hand_is_done_again_and_a_paused_simulation_heals(cluster):
    with p2pqg.Simulation(**SETTINGS, impairments={"delay": [0, 2]}) as sim:
        sim.advance(20)
        sim.drop_links(["0-1"])
        sim.advance(10)
        sim.set_lr(0.02)
        with sim.fork() as branch:
            branch.advance(10)
            after_40 = branch.parameters()
            branch.drop_clients([5])
            branch.advance(10)
            after_50, history, events = branch.parameters(), branch.history, branch.events
        kill(sim, 0)
        sim.advance(10)  # the actor is missed in a round
        assert (sim.parameters() == after_40).all()
        kill(sim, 1)
        sim.drop_clients([5])  # here between two rounds
        sim.advance(10)
        assert (sim.parameters() == after_50).all()
        columns = "wall_seconds"
        assert sim.history.drop(columns=columns).equals(history.drop(columns=columns))
        assert sim.events == events
        assert len(sim.restarts) == 2


@pytest.mark.slow
def test_the_stress_script_survives_one_fault_of_each_kind():
    script = Path(__file__).parents[1] / "stress" / "stress.py"
    done = subprocess.run(
        [sys.executable, str(script), "--trials", "1"], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
