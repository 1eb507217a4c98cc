"""A simulation in this process, from start to end."""

import gc
import weakref

import numpy as np
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError


def test_what_is_closed_is_gone_at_once(tmp_path):
    """A sweep runs hundreds in one process: samples must not wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        sim = p2pqg.Simulation(topology="ring4", rounds=2, engine="local")
        sim.advance(2)
        branch = sim.fork()
        branch.advance(1)
        held = [weakref.ref(one.experiment.arrays) for one in (sim, branch)]
        branch.close()
        sim.close()
        del sim, branch
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


def test_a_run_leaves_no_cycles_behind(tmp_path):
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        p2pqg.run(topology="ring4", rounds=2, engine="local", out=str(tmp_path))
        gc.collect()
        left = {type(one).__name__ for one in gc.garbage if "p2pqg" in type(one).__module__}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert left == set()


@pytest.mark.parametrize(("precision", "digits"), [("bf16", 8), ("fp16", 11)])
def test_16_bits_move_the_models_by_no_more_than_they_round(precision, digits):
    def parameters(precision):
        settings = {"topology": "ring4", "rounds": 10, "engine": "local", "precision": precision}
        with p2pqg.Simulation(**settings) as sim:
            before = sim.parameters()
            sim.advance(10)
            return sim.parameters(), sim.parameters() - before

    exact, way = parameters("float32")
    rough, _ = parameters(precision)
    assert rough.dtype == np.float32
    assert 0 < np.linalg.norm(rough - exact) < 16 * 2.0**-digits * np.linalg.norm(way)


def test_a_gpu_that_is_too_small_is_told_before_anything_is_on_it(monkeypatch):
    monkeypatch.setattr("p2pqg.simulation.hosting.resolve_device", lambda device, machine: "cuda")
    monkeypatch.setattr("p2pqg.simulation.hosting.memory_of_gpus", lambda num_gpus: 2**20)
    with pytest.raises(ConfigError, match="64 clients of this model need about .* --clients"):
        p2pqg.Simulation(topology="ring64", engine="local", rounds=1)
