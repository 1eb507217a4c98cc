"""A user's file of forty lines: own model, data by hospital, loss, metric and early stopping.

Three seeds of it, killed on Ray and resumed, have the numbers of one process; Weights & Biases has
each row once, and the models have their accuracy in plain torch.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import p2pqg

SEEDS = [1, 2, 3]
HAS_WANDB = importlib.util.find_spec("wandb") is not None

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
    eval_every=20, stop={"patience": 3, "metric": "f1"}, precision="float64", seed=[1, 2, 3],
    lr=0.05, checkpoint_every=0.2, out=sys.argv[1], name=sys.argv[2], engine=sys.argv[3],
    clients_per_actor=2, sinks=sys.argv[4:],
)
assert "torch._dynamo" not in sys.modules  # whose import takes as long as that of torch
"""

PLAIN = """
import json, sys
import numpy as np
import torch
from load import load
test = np.load(sys.argv[1])
x, y = torch.from_numpy(test["x"]), torch.from_numpy(test["y"])
found = {}
for name in sys.argv[2:]:
    with torch.inference_mode():
        found[name] = (load(name)(x).argmax(1) == y).double().mean().item()
assert "p2pqg" not in sys.modules and "ray" not in sys.modules
print(json.dumps(found))
"""


def start(tmp_path, name, engine, *sinks):
    script = tmp_path / "study.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), name, engine, *sinks],
        env={**os.environ, "PYTHONPATH": paths, "WANDB_MODE": "offline"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(resumed, expected): one is killed on two actors in its second seed, and resumed.

    The other is the same in one process, undisturbed, beside it.
    """
    folder, sinks = tmp_path_factory.mktemp("study"), ["wandb"] if HAS_WANDB else []
    killed, undisturbed = start(folder, "killed", "ray", *sinks), start(folder, "local", "local")
    path = folder / "killed"
    try:
        limit = time.monotonic() + 150
        while not list(path.glob("seed2/checkpoints/round-*")) and killed.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        _, told = killed.communicate()
        assert killed.returncode == -signal.SIGKILL, told
        assert (path / "seed1" / "summary.json").exists()
        assert not (path / "seed2" / "summary.json").exists()
        assert not (path / "seed3").exists()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WANDB_MODE", "offline")
            resumed = p2pqg.resume(path, engine="local", sinks=sinks)
        _, told = undisturbed.communicate(timeout=300)
        assert undisturbed.returncode == 0, told
    finally:
        for process in (killed, undisturbed):
            process.kill()
            process.wait()
    return resumed, p2pqg.load(folder / "local")


@pytest.fixture
def resumed(both):
    return both[0]


@pytest.fixture
def expected(both):
    return both[1]


def test_killed_on_two_actors_and_resumed_it_has_the_numbers_of_one_process(resumed, expected):
    assert {file.suffix for file in (resumed[0].path / "files").iterdir()} == {
        ".py",
        ".safetensors",
    }
    assert [run.config["seed"] for run in resumed] == resumed.seeds == SEEDS
    for run, undisturbed in zip(resumed, expected, strict=True):
        assert run.summary["stopped"] == undisturbed.summary["stopped"]
        assert 40 < run.summary["rounds"] == undisturbed.summary["rounds"] < 3000
        for name in (
            "train_loss",
            "test_accuracy",
            "f1",
            "averaged_f1",
            "consensus_distance",
        ):
            np.testing.assert_allclose(
                run.rounds[name], undisturbed.rounds[name], rtol=1e-9, atol=1e-12
            )
        np.testing.assert_allclose(run.clients["f1"], undisturbed.clients["f1"], rtol=1e-9)
    for told in ("mean", "std", "low", "high"):
        np.testing.assert_allclose(
            resumed.summary.loc["f1", told], expected.summary.loc["f1", told], rtol=1e-9
        )


def test_its_models_have_their_accuracy_in_plain_torch_to_the_last_digit(resumed, tmp_path):
    rng = np.random.default_rng(200)  # data(200) of the script
    x = rng.standard_normal((200, 8))
    np.savez(tmp_path / "test.npz", x=x, y=(x[:, 0] > 0).astype(int) + (x[:, 1] > 1))
    names = [*(f"client-{i}" for i in range(4)), "averaged"]
    run = resumed[1]  # the one that was killed
    out = run.save_models(tmp_path / "models")
    command = [sys.executable, "-c", PLAIN, str(tmp_path / "test.npz"), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr
    last = run.clients[run.clients["round"] == run.summary["rounds"] - 1]
    told = [*last.sort_values("client")["test_accuracy"], run.summary["averaged_model_accuracy"]]
    assert list(json.loads(done.stdout).values()) == told


@pytest.mark.skipif(not HAS_WANDB, reason="Weights & Biases is not installed: .[wandb]")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_weights_and_biases_has_each_of_its_rows_once(resumed):
    import wandb
    from offline_wandb import records, rows

    wandb.teardown()  # as at the end of a process
    for run in resumed:
        told, frame = rows(run.path), run.rounds
        assert [int(row["_step"]) for row in told] == list(frame["round"])
        assert [float(row["train_loss"]) for row in told] == list(frame["train_loss"])
        f1 = {int(row["_step"]): float(row["f1"]) for row in told if "f1" in row}
        kept = frame.dropna(subset="f1")
        assert f1 == dict(zip(kept["round"], kept["f1"], strict=True))
        (head,) = records(run.path, "run")
        assert (head.run_group, head.display_name) == ("killed", f"killed/{run.path.name}")
