"""A user's file of forty lines: own model, data by hospital, loss, metric and early stopping."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import p2pqg

SCRIPT = """
import sys

import numpy as np
import torch
from torch import nn

import p2pqg

SMOOTHING = 0.05


class Net(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.width = width
        self.body, self.bn = nn.Linear(8, width), nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.body(x))))


def smooth(outputs, targets):
    return nn.functional.cross_entropy(
        outputs, targets, reduction="none", label_smoothing=SMOOTHING
    )


def f1(outputs, targets):
    guess = outputs.argmax(1)
    hits = [((guess == c) & (targets == c)).sum() for c in range(3)]
    sizes = [(guess == c).sum() + (targets == c).sum() for c in range(3)]
    return sum(2 * hit / size.clamp(min=1) for hit, size in zip(hits, sizes)) / 3


def data(size):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((size, 8))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)


torch.manual_seed(0)
run = p2pqg.run(
    topology="ring4", algorithm="dsgdm-n", dataset=[data(n) for n in (40, 50, 60, 70)],
    test=data(200), model=Net(), loss=smooth, metrics={"f1": f1}, rounds=3000, batch_size=8,
    eval_every=100, stop={"patience": 3, "metric": "f1"}, precision="float64", seed=1,
    lr=0.002, checkpoint_every=0.2, out=sys.argv[1], name=sys.argv[2], engine=sys.argv[3],
    clients_per_actor=2,
)
"""


def start(tmp_path, name, engine):
    script = tmp_path / "study.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), name, engine],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The same in one process, undisturbed."""
    folder = tmp_path_factory.mktemp("local")
    process = start(folder, "local", "local")
    try:
        _, told = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, told
    return p2pqg.load(folder / "local")


def assert_equal_numbers(run, expected):
    assert run.summary["stopped"] == expected.summary["stopped"]
    assert 300 < run.summary["rounds"] == expected.summary["rounds"] < 3000
    for name in ("train_loss", "test_accuracy", "f1", "averaged_f1", "consensus_distance"):
        np.testing.assert_allclose(run.rounds[name], expected.rounds[name], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run.clients["f1"], expected.clients["f1"], rtol=1e-9)


def test_killed_on_two_actors_and_resumed_it_has_the_numbers_of_one_process(tmp_path, expected):
    process = start(tmp_path, "killed", "ray")
    path = tmp_path / "killed"
    limit = time.monotonic() + 90
    while not list(path.glob("checkpoints/round-*")) and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == -signal.SIGKILL, told
    assert not (path / "summary.json").exists()
    assert {f.suffix for f in (path / "files").iterdir()} == {".py", ".safetensors"}
    resumed = p2pqg.resume(path, engine="local")
    assert_equal_numbers(resumed, expected)
