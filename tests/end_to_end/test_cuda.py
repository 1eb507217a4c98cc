"""On a GPU: the numbers of the CPU, wherever the models are. `pytest -m gpu`.

With P2PQG_GPU_TESTS=cpu a CPU and rehearsals take the place of a card: are the tests whole?
"""

import os
import signal
import traceback

import numpy as np
import pytest
import torch

import p2pqg

DEVICE = os.environ.get("P2PQG_GPU_TESTS", "cuda")
CAPTURED, RECORDING = {"cuda": ("auto", "CUDA graph"), "cpu": ("rehearse", "rehearsal")}[DEVICE]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"
    ),
]

TIME_LIMIT = 120
"""Seconds for each test: one that hangs on a card must not keep it."""


@pytest.fixture(autouse=True)
def time_limit():
    def end(*_):  # no TimeoutError: that is an OSError, which a run may put up with
        pytest.fail(f"a test on a GPU did not end in {TIME_LIMIT} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(TIME_LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


SIDE = 16 if DEVICE == "cuda" else 8
IMAGES = {"name": "synthetic", "samples": 200, "test_samples": 40, "image_side": SIDE}
SETTINGS = {"topology": "ring4", "alpha": 1.0, "lr": 0.05, "precision": "float64"}


def parameters(rounds=6, **settings):
    settings = SETTINGS | {"dataset": "digits", "rounds": 6} | settings
    with p2pqg.Simulation(**settings) as sim:
        sim.advance(rounds)
        return sim.parameters(), sim.device


MODELS = ["mlp", "cnn", "resnet20-bn", "resnet20-gn", "resnet20-evonorm"]
MODELS = MODELS if DEVICE == "cuda" else MODELS[:2]


@pytest.mark.parametrize("model", MODELS)
def test_stacked_models_on_the_gpu_are_those_of_the_cpu(model):
    dataset = "digits" if model == "mlp" else IMAGES
    here, _ = parameters(model=model, dataset=dataset, engine="local", device="cpu")
    there, device = parameters(model=model, dataset=dataset, engine="local", device=DEVICE)
    assert device == DEVICE
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-8)


@pytest.mark.parametrize("clients_per_actor", [4, 2, 1])
def test_actors_share_a_gpu_and_agree_with_the_cpu(clients_per_actor):
    here, _ = parameters(engine="local", device="cpu")
    there, device = parameters(device=DEVICE, clients_per_actor=clients_per_actor)
    assert device == DEVICE
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-8)


def test_rows_that_stay_on_the_gpu_are_those_of_the_object_store():
    store, _ = parameters(device=DEVICE, clients_per_actor=2)
    direct, _ = parameters(device=DEVICE, clients_per_actor=2, transport="direct")
    assert (store == direct).all()


def test_a_checkpoint_from_the_gpu_goes_on_on_the_cpu(tmp_path):
    whole, _ = parameters(engine="local", device=DEVICE)
    with p2pqg.Simulation(
        **SETTINGS, dataset="digits", rounds=6, engine="local", device=DEVICE
    ) as sim:
        sim.advance(3)
        sim.checkpoint(tmp_path / "half")
    with p2pqg.Simulation.restore(tmp_path / "half", device="cpu") as sim:
        sim.advance(3)
        np.testing.assert_allclose(sim.parameters(), whole, rtol=0, atol=1e-8)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("model", MODELS)
def test_16_bits_on_the_gpu_stay_near_float32(model, precision):
    settings = {"model": model, "dataset": IMAGES if model != "mlp" else "digits"}
    settings |= {"engine": "local", "device": DEVICE}
    start, _ = parameters(rounds=0, precision="float32", **settings)
    exact, _ = parameters(precision="float32", **settings)
    rows, _ = parameters(precision=precision, **settings)
    assert rows.dtype == np.float32
    # Six steps: the way they went differs by less than half of its length.
    assert np.linalg.norm(rows - exact) < 0.5 * np.linalg.norm(exact - start)


# Float32 gradients of a ResNet-20 on a card are 3e-4 from float64 each way, and two rounds add up.
@pytest.mark.parametrize(("precision", "apart"), [("float32", 5e-3), ("float64", 1e-9)])
@pytest.mark.parametrize("model", MODELS)
def test_captured_steps_give_the_eager_numbers(model, precision, apart, tmp_path, monkeypatch):
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path))
    settings = {"model": model, "dataset": IMAGES if model != "mlp" else "digits", "rounds": 2}
    settings = SETTINGS | settings | {"engine": "local", "device": DEVICE, "precision": precision}

    def two_rounds(capture):
        with p2pqg.Simulation(**settings, capture=capture) as sim:
            start, ways = sim.parameters(), sim.ways()
            sim.advance(2)
            return start, sim.parameters(), ways

    start, eager, ways = two_rounds("off")
    assert ways == []
    _, captured, (way,) = two_rounds(CAPTURED)
    assert RECORDING in way or "ms, replayed" in way, way  # captured, or right but slower
    assert np.linalg.norm(captured - eager) < apart * np.linalg.norm(eager - start)
    _, again, (same,) = two_rounds(CAPTURED)
    assert (again == captured).all()
    assert same == way


class LooksAtValues(torch.nn.Module):
    """No graph can hold it: the host has to know a number."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1)) * (2 if x.abs().max().item() > 1e9 else 1)


@pytest.mark.skipif(DEVICE == "cpu", reason="a rehearsal may look at values")
def test_a_model_that_looks_at_values_runs_eagerly_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path))
    settings = SETTINGS | {"dataset": "digits", "rounds": 3, "engine": "local", "device": DEVICE}
    with p2pqg.Simulation(**settings, model=LooksAtValues) as sim:
        (way,) = sim.ways()
        assert way.startswith("gradients computed eagerly: ")
        sim.advance(3)
        assert np.isfinite(sim.parameters()).all()


def test_a_checkpoint_of_captured_steps_goes_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "cache"))
    model = "resnet20-gn" if DEVICE == "cuda" else "cnn"
    settings = SETTINGS | {"model": model, "dataset": IMAGES, "rounds": 6, "capture": CAPTURED}
    with p2pqg.Simulation(**settings, engine="local", device=DEVICE) as sim:
        sim.advance(3)
        sim.checkpoint(tmp_path / "half")
        (way,) = sim.ways()
        sim.advance(3)
        whole = sim.parameters()
    with p2pqg.Simulation.restore(tmp_path / "half") as sim:
        if RECORDING in way:  # if eager steps were faster, the reason is another one now
            assert sim.ways() == [way]
        sim.advance(3)
        assert (sim.parameters() == whole).all()


OF_MANY_KINDS = [
    {},
    {"model": "cnn", "dataset": IMAGES, "capture": "auto"},
    {"algorithm": "powergossip"},
    {"algorithm": {"name": "choco-sgd", "compressor": "qsgd"}},
    {"topology": "random-matching4"},
    {"impairments": {"loss": 0.2, "noise": 0.1, "participation": 0.7}},
    {"attacks": [{"who": [0], "how": "alie"}]},
    {"algorithm": "async-sgp", "network": {"compute": {"seconds": 1}}},
]


@pytest.mark.skipif(DEVICE == "cpu", reason="on a CPU nobody waits for a device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # is a prototype, it says
def test_the_host_does_not_wait_for_the_card_between_two_records(tmp_path, monkeypatch):
    """What tests/unit/engine/test_no_card.py says of a stand-in; all in one process, for speed."""
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path))
    waits = {}
    for settings in OF_MANY_KINDS:
        all_of_them = SETTINGS | {"dataset": "digits", "rounds": 8, "capture": "off"} | settings
        with p2pqg.Simulation(**all_of_them, engine="local", device=DEVICE) as sim:
            sim.advance(4)
            (host,) = sim._driver.engine.hosts
            torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in host.block.rounds(7):
                    raise AssertionError("a sole host waits for others")
            except RuntimeError as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                waits[str(settings)] = f"{where.filename}:{where.lineno}: {error}"
            finally:
                torch.cuda.set_sync_debug_mode("default")
    assert waits == {}


def test_attention_repeats_its_bits():
    texts = [" ".join("abcdefgh"[(i * j) % 8] for j in range(1, 25)) for i in range(80)]
    dataset = {"data": (texts, [i % 4 for i in range(80)]), "length": 24}
    model = {"name": "transformer", "width": 64, "layers": 2, "heads": 4}
    settings = {"dataset": dataset, "model": model, "precision": "float32"}
    one, other = (parameters(engine="local", device=DEVICE, **settings)[0] for _ in range(2))
    assert (one == other).all()


@pytest.mark.skipif(DEVICE == "cpu", reason="a rehearsal has no graphs")
def test_a_simulation_goes_on_when_another_one_has_taken_its_graphs_along(tmp_path, monkeypatch):
    """PyTorch's issue 193402: graphs share what cuBLAS keeps for a stream."""
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path))
    settings = SETTINGS | {"dataset": IMAGES, "model": "resnet20-gn", "rounds": 6}
    settings |= {"engine": "local", "device": DEVICE, "precision": "float32"}
    with p2pqg.Simulation(**settings) as alone:
        alone.advance(6)
        expected = alone.parameters()
    with p2pqg.Simulation(**settings) as stays:
        stays.advance(2)
        for _ in range(3):
            with p2pqg.Simulation(**settings) as goes:
                goes.advance(2)
            torch.cuda.empty_cache()  # what nobody keeps any more is gone
            stays.advance(1)
        stays.advance(1)
        assert (stays.parameters() == expected).all()
