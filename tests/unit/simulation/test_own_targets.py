"""Targets of any shape, for a loss of one's own: pixels, words, the next token, two views."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError

DRAW = np.random.default_rng(0)
OWN = TOY | {"topology": "ring4", "partition": "iid", "engine": "local", "precision": "float64"}
OWN |= {"algorithm": "dsgd", "weight_decay": 0.0, "rounds": 3, "alpha": None}
IGNORED = 255


class Pixels(nn.Module):
    """A class for each pixel: [batch, 3, height, width]."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return self.layers(x)


class Words(nn.Module):
    """A class for each word: [batch, words, classes]."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.layers = nn.GRU(6, 5, batch_first=True)

    def forward(self, x):
        return self.layers(self.embedding(x))[0]


class Caches(Words):
    """Returns what it remembers of the text beside, as language models do."""

    def forward(self, x):
        return {"logits": super().forward(x), "past": [x]}


class TakesRows(Words):
    def forward(self, x):
        return self.layers(self.embedding.weight[x])[0]


class Views(nn.Module):
    """Two views of a sample, [batch, 2, features], are to be alike, and others not."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Linear(6, 4)

    def forward(self, x):
        return {"views": self.layers(x), "length": x.norm(dim=2)}


def of_pixels(outputs, targets):
    return F.cross_entropy(outputs, targets, ignore_index=IGNORED, reduction="none").mean((1, 2))


def of_words(outputs, targets):
    return F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(1)


def of_views(outputs, targets):
    one, other = F.normalize(outputs["views"], dim=2).unbind(1)
    return F.cross_entropy(one @ other.T, torch.arange(len(one)), reduction="none")


def right_pixels(outputs, targets):
    return float((outputs.argmax(1) == targets)[targets != IGNORED].double().mean())


def right_words(outputs, targets):
    return float((outputs.argmax(2) == targets).double().mean())


def apart(outputs, targets):
    assert outputs.shape[1:] == (2, 4)
    assert len(targets) == len(outputs)
    return float((outputs[:, 0] - outputs[:, 1]).norm(dim=1).mean())


def pixels():
    y = DRAW.integers(0, 3, (40, 4, 5))
    y[:, 0] = IGNORED
    return DRAW.standard_normal((40, 2, 4, 5)), y


def words():
    text = DRAW.integers(0, 20, (40, 7))
    return text, text % 5


def views():
    return DRAW.standard_normal((40, 2, 6)), DRAW.integers(0, 2, 40)


CASES = {
    "pixels": (pixels, {}, Pixels, of_pixels, right_pixels),
    "words": (words, {"task": "own", "tokens": True}, Words, of_words, right_words),
    "views": (views, {"task": "own"}, Views, of_views, apart),
}


def halves(made):
    x, y = made
    return x[:28], y[:28], x[28:], y[28:]


@pytest.mark.parametrize("case", CASES)
def test_clients_learn_what_a_loop_of_plain_pytorch_gives_and_are_measured_so(case, tmp_path):
    make, said, kind, loss, metric = CASES[case]
    data, model = halves(make()), kind()
    settings = OWN | {"dataset": {"data": data} | said, "model": model, "loss": loss}
    settings |= {"metrics": {"mine": metric}}
    clients = [copy.deepcopy(model).double() for _ in range(4)]
    with p2pqg.Simulation(**settings) as sim:
        W, lr = torch.from_numpy(sim.W(0)), OWN["lr"]
        for step in range(3):
            half = []
            for number, client in enumerate(clients):
                inputs, targets = map(torch.from_numpy, sim.batch(number, step))
                client.zero_grad()
                loss(client(inputs), targets).mean().backward()
                half.append(torch.cat([(p - lr * p.grad).flatten() for p in client.parameters()]))
            for row, client in zip(W @ torch.stack(half), clients, strict=True):
                nn.utils.vector_to_parameters(row.detach(), client.parameters())
        sim.advance(3)
        rows = [nn.utils.parameters_to_vector(c.parameters()).detach() for c in clients]
        np.testing.assert_allclose(sim.parameters(), torch.stack(rows), rtol=0, atol=1e-12)
    run = p2pqg.run(**settings, out=tmp_path, checkpoint_every=1e9)
    x, y = map(torch.from_numpy, data[2:])
    for number, client in enumerate(clients):
        mine = run.clients.query(f"client == {number}").iloc[-1]
        with torch.no_grad():
            outputs = run.model(number).double()(x)
            assert mine["test_loss"] == pytest.approx(loss(client(x), y).mean().item(), abs=1e-10)
        first = outputs if isinstance(outputs, torch.Tensor) else outputs["views"]
        assert mine["mine"] == pytest.approx(metric(first, y), abs=1e-10)
        assert np.isnan(mine["test_accuracy"])
    again = p2pqg.load(run.path)
    assert again.rounds["mine"].equals(run.rounds["mine"])


def test_several_processes_come_to_the_same(tmp_path):
    make, said, kind, loss, metric = CASES["pixels"]
    settings = OWN | {"dataset": {"data": halves(make())} | said, "model": kind(), "loss": loss}
    found = []
    for packing in (4, 1):
        with p2pqg.Simulation(**settings, clients_per_actor=packing) as sim:
            sim.advance(3)
            found.append((sim.parameters(), sim.evaluate()["test_loss"]))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=0, atol=1e-12)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-12)


@pytest.mark.parametrize(
    ("case", "more", "told"),
    [
        ("pixels", {"loss": None}, r"\(int64 \[28, 4, 5\]\); use a function of yours, loss="),
        ("pixels", {"alpha": 0.1, "partition": None}, "goes by classes, .* take iid or quantity"),
        ("pixels", {"metrics": ["f1"]}, "metric f1: targets are for a loss of your own"),
        ("views", {"dataset": {}}, r"got \[4, 2, 4\]|say dataset.task: own if only your loss"),
        ("words", {"model": Caches()}, "; past is list: return tensors with a row for each sample"),
        ("pixels", {"test": "own"}, "test own needs classes"),
        (
            "pixels",
            {"stop": {"when": "test_accuracy > 0.5"}},
            "take test_loss or a metric of your",
        ),
        ("words", {"dataset": {}}, "a matrix of int64.*or task: own for a loss of yours"),
        ("words", {"dataset": {"task": "own"}}, "whole numbers stay whole with dataset.tokens: t"),
        (
            "words",
            {"dataset": {"task": "own"}, "model": TakesRows()},
            "indices must be long.*whole numbers stay whole with dataset.tokens: true",
        ),
        ("views", {"dataset": {"tokens": True}}, "is of float64, and dataset.tokens is of"),
    ],
)
def test_what_they_do_not_go_with_is_one_clear_line(case, more, told):
    make, said, kind, loss, _ = CASES[case]
    data = {"data": halves(make())} | more.get("dataset", said)
    settings = OWN | {"model": kind(), "loss": loss} | more | {"dataset": data}
    with pytest.raises(ConfigError, match=told) as error:
        p2pqg.Simulation(**settings)
    assert "\n" not in str(error.value)
