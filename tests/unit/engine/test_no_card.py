"""Whole runs on a card that is none, see `stand_in_card.py`.

The numbers are those of a CPU, nothing is made in the wrong place, and between two rounds that
record nothing the host does not wait for the card.
"""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in_card import CARD, OnCard, stand_in
from toys import DSGD, TOY

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base import draws
from p2pqg.data.feeding.feed import Looks
from p2pqg.data.feeding.file_feed import FileFeed
from p2pqg.models.stacked import choosing, trying
from p2pqg.models.stacked.cuda_graphs import CudaGraphs
from p2pqg.models.stacked.lanes import Lanes, streams_of
from p2pqg.models.stacked.vmap import Vmap
from p2pqg.models.stacked.ways import WAYS

LOCAL = TOY | {"engine": "local", "rounds": 8, "record_every": 4, "eval_every": 4}
LOCAL |= {"precision": "float64", "capture": "off"}
IMAGES = {"name": "synthetic", "samples": 36, "image_side": 8, "classes": 3}
TEXTS = {
    "dataset": {
        "data": (["a b c", "b c d e", "c d", "a a b b c"] * 9, [0, 1, 2, 1] * 9),
        "length": 8,
    },
    "model": {"name": "transformer", "width": 8, "layers": 1, "heads": 2, "dropout": 0.0},
}
NOT_WAITING = {"network": {"compute": {"seconds": 1, "speeds": "lognormal"}}}
MADE_FOR = {"dsgd-ceca": "ceca6", "teleportation": "teleportation6", "relay-sgd": "chain6"}


def on_the_cpu(**settings):
    with p2pqg.Simulation(**LOCAL | settings, device="cpu") as sim:
        sim.advance(8)
        return sim.parameters()


def on_the_card(**settings):
    """The parameters after the same, and what was waited for in three rounds without a record."""
    with stand_in() as card, p2pqg.Simulation(**LOCAL | settings, device="cuda") as sim:
        assert sim.device == "cuda"
        sim.advance(4)  # what is made once may be waited for
        host, *others = sim._driver.engine.hosts
        before = len(card.waits)
        if not others:
            for _ in host.block.rounds(7):
                raise AssertionError("a sole host waits for others")
        assert isinstance(host.block.x, OnCard)
        waits = sorted(set(card.waits[before:]))
        sim.advance(4)
        return sim.parameters(), waits


def check(apart=1e-9, **settings):
    """The same numbers, without waiting."""
    found, waits = on_the_card(**settings)
    np.testing.assert_allclose(found, on_the_cpu(**settings), rtol=0, atol=apart)
    assert waits == []


def of_algorithm(name):
    entry = ALGORITHMS[name]
    settings = {"algorithm": name, "topology": MADE_FOR.get(name, "ring6")}
    if any(field.name == "local_steps" for field in dataclasses.fields(entry.params)):
        settings["local_steps"] = 2
    return settings | (NOT_WAITING if entry.traits.get("asynchronous") else {})


QUICK = ("qg-dsgdm-n", "relay-sgd", "powergossip", "teleportation", "gossip-learning", "sgp", "ngc")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name in sorted(set(ALGORITHMS) - {"cga"})
    ],
)
def test_every_algorithm_gives_the_numbers_of_a_cpu_and_never_waits(name):
    check(**of_algorithm(name))


def liar(how):
    return {"attacks": [{"who": [0], "how": how}]}


NOISE = """
import torch


def drawn(honest, W, round):
    return torch.randn(honest.shape[1], dtype=honest.dtype, device=honest.device)
"""


def test_what_an_attack_draws_on_a_card_is_keyed(tmp_path, monkeypatch):
    forked, fork = [], draws.torch_keyed
    monkeypatch.setattr(
        draws, "torch_keyed", lambda seed, of: forked.append((seed, [*of])) or fork(seed, of)
    )
    (tmp_path / "mine.py").write_text(NOISE)
    settings = liar(f"{tmp_path}/mine.py:drawn")
    with stand_in(), p2pqg.Simulation(**LOCAL | settings, device="cuda") as sim:
        sim.advance(8)
        there = sim.parameters()
    assert len(dict.fromkeys(seed for seed, _ in forked)) == len(forked) > 7
    assert all(of == [CARD] for _, of in forked)
    np.testing.assert_allclose(there, on_the_cpu(**settings), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": {"name": "choco-sgd", "compressor": "random-k"}},
        {"algorithm": {"name": "choco-sgd", "compressor": "qsgd"}},
        {"topology": "random-matching6"},
        {"topology": "torus6", "algorithm": "d2"},
        {"algorithm": "sgp", "topology": "onepeer-exponential6"},
        {"impairments": {"loss": 0.2, "noise": 0.1, "participation": 0.7, "delay": 1}},
        {"impairments": {"participation": 0.6}, "algorithm": "sgd"},
        {"impairments": {"participation": 0.6}, "personal": ["*bias*"]},
        {"impairments": {"noise": 0.1}, "algorithm": "relay-sgd", "topology": "chain6"},
        {"impairments": {"loss": 0.3}, **liar("alie")},
        liar("dissensus"),
        liar("free-rider"),
        liar("noise"),
        liar("label-flip"),
        {"algorithm": "powergossip", **liar("sign-flip")},
        {"algorithm": "async-sgp", "impairments": {"loss": 0.2}, **NOT_WAITING},
        {"privacy": {"clip": 1.0}},
        {"validation": 0.2, "test": "own", "metrics": ["top5"]},
        {"model": "cnn", "dataset": IMAGES, "precision": "bf16", "apart": 0.05},
        pytest.param(
            {"model": "resnet20-bn", "dataset": IMAGES | {"samples": 12}, "batch_size": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_nor_does_what_surrounds_it(settings):
    check(**settings)


@pytest.mark.parametrize(
    ("settings", "clients_per_actor"),
    [
        ({}, 1),
        ({"algorithm": "powergossip"}, 4),
        ({"algorithm": "dsgdm-sync", "impairments": {"participation": 0.6}}, 1),
        ({"rule": "median", **liar("ipm")}, 4),
        ({"algorithm": "async-sgp", **NOT_WAITING}, 4),
    ],
    ids=str,
)
def test_uneven_actors_on_one_card_agree_with_the_cpu(settings, clients_per_actor):
    check(clients_per_actor=clients_per_actor, **settings)


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({"precision": "fp16", "apart": 0.05}, "models/stacked/scaling.py"),
        ({"consensus": {"targets": [1e-3]}}, "engine/answers.py"),
        ({"algorithm": "cga"}, "algorithms/_shortest.py"),
        (TEXTS, "models/_reading.py"),
        ({"rule": "clipped"}, "engine/weighing.py"),
        ({"rule": "krum", "topology": "complete6"}, "engine/weighing.py"),
        ({"rule": "ios", "impairments": {"loss": 0.2}}, "engine/weighing.py"),
    ],
    ids=str,
)
def test_it_waits_only_where_the_handbook_says_so(settings, at):
    settings = dict(settings)
    apart = settings.pop("apart", 1e-9)
    found, waits = on_the_card(**settings)
    np.testing.assert_allclose(found, on_the_cpu(**settings), rtol=0, atol=apart)
    assert waits
    assert {where.partition(":")[0] for _, where in waits} == {at}


class Convolutions(torch.nn.Sequential):
    def __init__(self):
        norm = torch.nn.BatchNorm2d(4)
        layers = torch.nn.Conv2d(3, 4, 3), norm, torch.nn.ReLU(), torch.nn.Flatten()
        super().__init__(*layers, torch.nn.Linear(144, 3))


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=pytest.mark.slow if "-" in way else []) for way in WAYS],
)
def test_captured_steps_are_replayed_in_every_way_with_the_same_numbers(way, tmp_path, monkeypatch):
    tried = chosen_at_once(way, tmp_path, monkeypatch)
    settings = {} if way == "batched" else {"model": Convolutions, "dataset": IMAGES}
    check(capture="auto", **settings)
    assert [(one.way, one.why) for one in tried] == [("eager", ""), (way, "")]


@pytest.mark.parametrize(
    "algorithm", [pytest.param("ad-psgd", marks=pytest.mark.slow), "async-sgp"]
)
def test_steps_of_any_number_of_clients_that_do_not_wait_are_replayed(
    algorithm, tmp_path, monkeypatch
):
    chosen_at_once("vmap", tmp_path, monkeypatch)
    eagerly = []
    of_vmap = Vmap.gradients

    def noted(self, x, *others, **more):
        eagerly.append(len(x))
        return of_vmap(self, x, *others, **more)

    model = {"model": Convolutions, "dataset": IMAGES, "capture": "auto"}
    settings = LOCAL | of_algorithm(algorithm) | model
    with stand_in(), p2pqg.Simulation(**settings, device="cuda") as sim:
        sim.advance(1)
        monkeypatch.setattr(Vmap, "gradients", noted)
        sim.advance(7)
        found = sim.parameters()
    assert eagerly == []
    expected = on_the_cpu(**of_algorithm(algorithm), **model)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def chosen_at_once(way, tmp_path, monkeypatch):
    """A way that is found to be the fastest one, in this process; returns what was tried."""
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path))
    tried = []

    def tried_here(job, pickling=None):
        """What a process of its own would find, were this way the fastest one."""
        tried.extend(trying.trials(dataclasses.replace(job, ways=(way,))))
        return [one._replace(ms=float(one.way != way)) for one in tried]

    monkeypatch.setattr(choosing, "tried_elsewhere", tried_here)
    monkeypatch.setattr("p2pqg.engine.learner.tried_elsewhere", tried_here)
    monkeypatch.setattr(trying, "milliseconds", lambda work, device: work() and 1.0)
    return tried


def test_dropout_draws_on_the_card_what_belongs_to_client_and_step():
    layers = torch.nn.Linear(8, 6), torch.nn.Dropout(0.3), torch.nn.Linear(6, 3)
    check(model=torch.nn.Sequential(*layers))


OWN = """
import torch


def halfway(own, inbox, weights):
    return own + (inbox - own).mean(0) / 2


def backwards(rows, W, round, liars):
    return -rows[liars]


def margin(outputs, targets):
    return torch.nn.functional.multi_margin_loss(outputs, targets, reduction="none").mean(-1)
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"rule": "OWN:halfway"},
        {"attacks": [{"who": [0, 3], "how": "OWN:backwards"}], "impairments": {"loss": 0.2}},
        {"algorithm": "DSGD:own_dsgd"},
    ],
    ids=str,
)
def test_a_users_own_parts_compute_on_the_card(settings, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "dsgd.py").write_text(DSGD)

    def placed(value):
        if isinstance(value, dict):
            return {key: placed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [placed(one) for one in value]
        if not isinstance(value, str):
            return value
        return value.replace("OWN", f"{tmp_path}/own.py").replace("DSGD", f"{tmp_path}/dsgd.py")

    check(**placed(settings))


@pytest.mark.parametrize("algorithm", ["qg-dsgdm-n", "async-sgp"])
def test_a_checkpoint_of_the_card_goes_on_on_either_side_and_so_does_a_fork(algorithm, tmp_path):
    settings = LOCAL | of_algorithm(algorithm)
    expected = on_the_cpu(**of_algorithm(algorithm))
    with stand_in():
        with p2pqg.Simulation(**settings, device="cuda") as sim:
            sim.advance(4)
            sim.checkpoint(tmp_path / "half")
            with sim.fork() as twin:
                twin.advance(4)
                np.testing.assert_allclose(twin.parameters(), expected, rtol=0, atol=1e-9)
        with p2pqg.Simulation.restore(tmp_path / "half") as sim:
            assert sim.device == "cuda"
            sim.advance(4)
            np.testing.assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-9)
    with p2pqg.Simulation.restore(tmp_path / "half", device="cpu") as sim:
        sim.advance(4)
        np.testing.assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-9)


def test_the_gradient_of_attention_is_one_that_repeats_its_bits():
    with stand_in() as card, p2pqg.Simulation(**LOCAL | TEXTS, device="cuda") as sim:
        sim.advance(2)
    assert {"_safe_softmax", "_softmax"} & card.operations
    assert not any("attention" in name for name in card.operations)


def test_images_in_files_are_uploaded_while_the_host_goes_on(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    paths = []
    for number, image in enumerate(pixels):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(paths[-1])
    x, y = np.array(paths, dtype="S"), np.arange(6)
    looks = {"shape": (3, 8, 8), "batch_size": 2, "seed": 1, "dtype": torch.float64}
    with stand_in() as card:
        here, there = (
            FileFeed(x, y, np.array([4, 2]), (x, y), [0, 1], Looks(device=device, **looks))
            for device in (torch.device("cpu"), CARD)
        )
        there.batch(0)  # what it is normalised with is uploaded once
        before = len(card.waits)
        for step in range(1, 3):
            inputs, targets = there.batch(step)
            expected = here.batch(step)
            assert torch.equal(inputs.inner, expected[0])
            assert torch.equal(targets.inner, expected[1])
        assert card.waits[before:] == []


def test_graphs_that_may_be_forgotten_apart_are_not_captured_on_one_stream():
    with stand_in():
        recorders = [CudaGraphs(CARD) for _ in range(20)]
        streams = [recorder.stream for recorder in recorders]
        assert len(set(streams[:16])) == 16  # PyTorch has 32, of which lanes use 16
        assert not set(streams[:16]) & set(streams_of(CARD))
        free = streams[3]
        del recorders[3]
        assert CudaGraphs(CARD).stream is free


def test_the_stand_in_fails_where_a_card_would():
    with stand_in() as card:
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert there.device == CARD
        with pytest.raises(RuntimeError, match="same device"):
            there + here
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            there.numpy()
        assert not card.waits
        for wait in (
            torch.Tensor.item,
            bool,
            torch.Tensor.cpu,
            torch.Tensor.tolist,
            torch.Tensor.nonzero,
            lambda t: t[t > 0],
            lambda t: t.expand(2, 1)[[0, 1]],
            lambda t: torch.tensor([1.0], device="cuda"),
            lambda t: here.to(t),
            lambda t: t.copy_(here[:1]),
        ):
            before = len(card.waits)
            wait(there[:1])
            assert len(card.waits) == before + 1
        here.pin_memory().to("cuda", non_blocking=True)
        assert len(card.waits) == before + 1


def test_the_stand_in_sees_what_streams_do_too_early():
    with stand_in():
        lane, x = torch.cuda.Stream(), torch.zeros(4, device="cuda")
        with torch.cuda.stream(lane), pytest.raises(RuntimeError, match="read before"):
            x + 1
        lane.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(lane):
            x[:2] += 1
            x[2:].clone()
        x[2:] + 1  # what the lane wrote is elsewhere
        with pytest.raises(RuntimeError, match="read before"):
            x[:2] + 1
        with pytest.raises(RuntimeError, match="written before"):
            x[2:] = 1
        del x
        with pytest.raises(RuntimeError, match="freed that another stream"):
            torch.zeros(4, device="cuda") + 1


def test_a_graph_repeats_what_was_captured_and_nothing_else():
    calls = []

    def step(x):
        calls.append(x)
        return (x * len(calls),)

    with stand_in():
        x = torch.ones(3, device="cuda")
        (times,) = CudaGraphs(CARD).record(step, x)(2 * x)
        assert times.inner.tolist() == [2.0 * len(calls)] * 3  # the factor stays as it was


def unjoined(x):
    lane = torch.cuda.Stream()
    lane.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(lane):
        return (x + 1,)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (lambda x: (x * x.sum().item(),), "stream is capturing"),
        (lambda x: (x * torch.ones(3).to(x),), "while a graph is captured"),
        (lambda x: (x * torch.ones(3).pin_memory().to(CARD, non_blocking=True),), "a replay would"),
        (unjoined, "nobody waited for"),
    ],
)
def test_a_graph_refuses_what_it_cannot_hold(step, told):
    with stand_in(), pytest.raises(RuntimeError, match=told):
        CudaGraphs(CARD).record(step, torch.ones(3, device="cuda"))


def test_a_graph_keeps_nothing_alive_that_was_made_before_it():
    with stand_in():
        x, held = torch.ones(3, device="cuda"), [torch.ones(3, device="cuda")]
        recording = CudaGraphs(CARD).record(lambda x: (x * held[0],), x)
        assert recording(x)[0].inner.tolist() == [1.0] * 3
        held.clear()
        with pytest.raises(RuntimeError, match="memory that was freed"):
            recording(x)


def test_what_changes_its_shape_in_place_does_so_in_a_graph_as_well():
    def step(x):
        y = x * 2
        wide = y + y
        wide.unsqueeze_(1)
        return (wide * torch.ones(1, 2, device="cuda"),)

    with stand_in():
        x = torch.ones(3, device="cuda")
        recording = CudaGraphs(CARD).record(step, x)
        for _ in range(2):  # PyTorch 2.11 normalises groups so
            assert recording(x)[0].inner.tolist() == [[4.0, 4.0]] * 3


def test_what_lanes_made_may_be_read_when_they_have_ended():
    with stand_in():
        x = torch.ones(2, 3, device="cuda")
        with Lanes(2).forked(CARD, 2) as lane:
            made = []
            for client in range(2):
                with lane(client):
                    made.append(x[client] * 2)
            with pytest.raises(RuntimeError, match="read before"):
                made[0] + made[1]
        assert (made[0] + made[1]).inner.tolist() == [4.0] * 3
