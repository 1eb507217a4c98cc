"""The control room on real Ray actors: what was done is repeated bit for bit; actors may die."""

import os
import signal
from itertools import islice

import numpy as np
import ray
from clicks import ask, play, random_actions
from toys import TOY

import p2pqg
from p2pqg.control.room import Room
from p2pqg.recipe.settings import recipe

SETTINGS = TOY | {"topology": "ring8", "rounds": 30, "eval_every": 5, "clients_per_actor": 4}


def test_what_was_done_on_actors_is_repeated_bit_for_bit(cluster, tmp_path):
    names = ["drop_links", "drop_clients", "set_lr", "add_links", "restore_clients"]
    names += ["set_impairments", "restore_links", "attack", "stop_attack"]
    path, rng = tmp_path / "room.yaml", np.random.default_rng(1)
    with p2pqg.Simulation(**SETTINGS) as sim:
        room = Room(sim)
        for action in islice(random_actions(rng, names), 12):
            ask(room, action, play(int(rng.integers(1, 4))))
        ask(room, {"do": "fork", "branch": 0}, play(3))
        kept = room.branches[1].moments.rounds
        ask(room, {"do": "back", "branch": 1, "round": kept[len(kept) // 2]}, play(5))
        twin = room.branches[1].sim.parameters()
        assert "repeats it" in ask(room, {"do": "save", "branch": 0, "path": str(path)})
        done = sim.parameters()
        saved_twin = tmp_path / "twin.yaml"
        ask(room, {"do": "save", "branch": 1, "path": str(saved_twin)})
        room.close()
    for one, x, engine in ((path, done, "ray"), (saved_twin, twin, "local")):
        with p2pqg.Simulation(**recipe(one) | {"engine": engine}) as again:
            again.finish()
            assert np.array_equal(x, again.parameters())


def test_an_actor_that_dies_while_it_plays_is_replaced_and_that_is_said(cluster):
    with p2pqg.Simulation(**SETTINGS, checkpoint_every=0.1) as sim:
        room, said = Room(sim), []
        room.listeners.append(lambda frame: said.append(frame["sentence"]))
        ask(room, play(20))
        actor = sim._driver.engine.group.actors[1]
        process = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
        room.act(play(60))
        os.kill(process, signal.SIGKILL)
        assert room.wait(60)
        assert sim.round == 80
        assert any("died" in sentence and "going on from round" in sentence for sentence in said)
