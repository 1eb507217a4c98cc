"""Captured steps, rehearsed on a CPU through whole commands: actors, processes that try, caches."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import p2pqg
from p2pqg.running.told import about

SETTINGS = {
    "topology": "ring4",
    "dataset": "digits",
    "rounds": 5,
    "precision": "float64",
    "device": "cpu",
    "clients_per_actor": 2,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """What was tried since: a function. Actors of a Ray that runs already have its variables."""
    folders = [Path(os.environ["P2PQG_CACHE"]), tmp_path / "cache"]
    before = {file for folder in folders for file in folder.glob("captured/*.json")}
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "cache"))
    return lambda: {file for folder in folders for file in folder.glob("captured/*.json")} - before


def test_blocks_try_once_in_a_process_of_its_own_and_give_the_eager_numbers(cache):
    settings = SETTINGS | {"engine": "local"}
    with p2pqg.Simulation(**settings, capture="rehearse") as sim:
        (line,) = [text for name, text in about(sim) if name == "actors"]
        assert "; gradients " in line
        sim.advance(5)
        rehearsed = sim.parameters()
    (file,) = cache()  # two blocks of the same shape: one trial
    said = json.loads(file.read_text())
    assert [one["way"] for one in said["tried"]] == ["eager", "batched"]
    assert not any(one["why"] for one in said["tried"])
    with p2pqg.Simulation(**settings) as sim:
        sim.advance(5)
        np.testing.assert_allclose(rehearsed, sim.parameters(), rtol=0, atol=1e-12)


def test_ray_actors_say_what_they_chose_and_a_run_goes_on_with_it(tmp_path, cache):
    with p2pqg.Simulation(**SETTINGS, capture="rehearse") as sim:
        (told,) = sim.ways()
        sim.advance(3)
        sim.checkpoint(tmp_path / "half")
        sim.advance(2)
        whole = sim.parameters()
    assert len(cache()) == 1
    header = json.loads((tmp_path / "half" / "checkpoint.json").read_text())
    way, other = header["clients"]["ways"]
    assert way == other
    assert ("computed eagerly" in told) == (way == "eager")
    with p2pqg.Simulation.restore(tmp_path / "half", engine="local") as sim:
        sim.advance(2)
        np.testing.assert_allclose(sim.parameters(), whole, rtol=0, atol=1e-12)


OWN = """
from torch import nn

from parts_of_net import WIDTH


class Net(nn.Module):
    def __init__(self, num_classes, input_shape):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.Tanh())
        self.last = nn.Linear(WIDTH, num_classes)

    def forward(self, x):
        return self.last(self.layers(x))
"""


def test_a_users_own_network_is_tried_though_nobody_else_has_its_file(tmp_path, monkeypatch, cache):
    (tmp_path / "net_of_theirs.py").write_text(OWN)
    (tmp_path / "parts_of_net.py").write_text("WIDTH = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from net_of_theirs import Net

    monkeypatch.undo()  # only this process has read the files
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "cache"))
    for name in ("net_of_theirs", "parts_of_net"):
        (tmp_path / f"{name}.py").rename(tmp_path / f"{name}.txt")
    try:
        with p2pqg.Simulation(**SETTINGS, model=Net, capture="rehearse") as sim:
            (told,) = sim.ways()
            sim.advance(2)
    finally:
        for name in ("net_of_theirs", "parts_of_net"):
            del sys.modules[name]
    (file,) = cache()
    tried = json.loads(file.read_text())["tried"]
    assert [one["way"] for one in tried] == ["eager", "loop", "vmap"], told
    assert not any(one["why"] for one in tried)
