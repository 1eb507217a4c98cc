"""Models come out of a run as they were tested, for torch alone."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file
from torch import nn

import p2pqg
from p2pqg import ConfigError
from p2pqg.cli import main

PLAIN = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from load import load
import torch
test = np.load(sys.argv[2])
x, y = torch.from_numpy(test["x"]).float(), torch.from_numpy(test["y"])
found = {}
for name in sys.argv[3:]:
    with torch.inference_mode():
        found[name] = (load(name)(x).argmax(1) == y).double().mean().item()
assert "p2pqg" not in sys.modules and "ray" not in sys.modules
print(json.dumps(found))
"""


NET = '''import torch
from torch import nn


class Net(nn.Module):
    """With statistics, and a layer that stays as it is."""

    def __init__(self, width=12):
        super().__init__()
        self.width = width
        self.fixed = nn.Linear(8, 8)
        self.fixed.requires_grad_(False)
        self.body, self.bn = nn.Linear(8, width), nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.body(self.fixed(x)))))
'''


@pytest.fixture
def Net(tmp_path, monkeypatch):
    """A class of a user's module, which is no part of a package."""
    (tmp_path / "nets_of_mine.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("nets_of_mine").Net
    del sys.modules["nets_of_mine"]


def data(size):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((size, 8)).astype(np.float32)
    return x, (x[:, 0] + 0.5 * rng.standard_normal(size) > 0).astype(int) + (x[:, 1] > 1)


TEST = data(1500)
SETTINGS = {
    "topology": "ring5",
    "algorithm": "dsgdm-n",
    "dataset": [data(n) for n in (40, 50, 60, 70, 80)],
    "test": TEST,
    "rounds": 30,
    "batch_size": 8,
    "lr": 0.05,
}


def accuracy(model):
    with torch.inference_mode():
        guess = model(torch.from_numpy(TEST[0]).to(next(model.parameters()).dtype)).argmax(1)
    return (guess == torch.from_numpy(TEST[1])).double().mean().item()


def assert_as_tested(run, found):
    last = run.clients[run.clients["round"] == run.clients["round"].max()]
    assert last["round"].iloc[0] == run.summary["rounds"] - 1
    accuracies = last.sort_values("client")["test_accuracy"].tolist()
    assert found == [*accuracies, run.summary["averaged_model_accuracy"]]
    assert len(set(found)) > 3


def test_models_of_two_actors_load_in_plain_torch_with_the_accuracy_of_the_run(tmp_path, Net):
    torch.manual_seed(1)
    run = p2pqg.run(
        **SETTINGS, model=Net(), engine="ray", clients_per_actor=3, out=str(tmp_path), name="run"
    )
    assert run.summary["actors"] == 2
    out = run.save_models(tmp_path / "out")
    names = [*(f"client-{i}" for i in range(5)), "averaged"]
    assert {file.stem for file in out.glob("*.safetensors")} == set(names)
    np.savez(tmp_path / "test.npz", x=TEST[0], y=TEST[1])
    command = [sys.executable, "-c", PLAIN, str(out), str(tmp_path / "test.npz"), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr
    assert_as_tested(run, list(json.loads(done.stdout).values()))
    assert_as_tested(run, [accuracy(run.model(i)) for i in (*range(5), "averaged")])


def test_what_is_personal_is_the_clients_own_and_what_is_frozen_everyones(tmp_path, Net):
    torch.manual_seed(1)
    run = p2pqg.run(
        **SETTINGS,
        model=Net(),
        personal=["head.*"],
        precision="float64",
        engine="local",
        clients_per_actor=2,
        scenario=[{"at": 12, "drop_clients": [4]}],
        out=str(tmp_path),
        name="run",
    )
    models = [run.model(i) for i in range(5)]
    averaged = run.model("averaged")
    assert averaged.body.weight.dtype == torch.float64
    assert not averaged.training
    torch.manual_seed(1)
    for model in (*models, averaged):
        assert torch.equal(model.fixed.weight, models[0].fixed.weight)
        assert not model.fixed.weight.requires_grad
    assert torch.equal(models[0].fixed.weight.float(), Net().fixed.weight)
    for name in ("body.weight", "head.weight"):
        mean = torch.stack([m.get_parameter(name) for m in models[:4]]).mean(0)
        assert torch.allclose(averaged.get_parameter(name), mean, rtol=0, atol=1e-14)
    var = torch.stack([m.bn.running_var for m in models[:4]]).mean(0)
    assert torch.allclose(averaged.bn.running_var, var, rtol=0, atol=1e-14)
    heads = [m.head.weight for m in models]
    bodies = [m.body.weight for m in models]
    assert (heads[0] - heads[1]).norm() > 3 * (bodies[0] - bodies[1]).norm()
    assert accuracy(averaged) == run.summary["averaged_model_accuracy"]


@pytest.mark.parametrize("algorithm", ["sgp", "qg-dsgdm-n"])
def test_models_of_ours_are_loaded_by_what_the_command_wrote(
    algorithm, tmp_path, capsys, monkeypatch
):
    run = p2pqg.run(
        topology="exponential4",
        algorithm=algorithm,
        model={"name": "mlp", "hidden": [6]},
        rounds=8,
        engine="local",
        out=str(tmp_path),
        name="run",
    )
    assert main(["models", str(run.path)], standalone_mode=False) is None
    assert capsys.readouterr().out == f"models: {run.path / 'models'}\n"
    scope = {"__file__": str(run.path / "models" / "load.py")}
    exec((run.path / "models" / "load.py").read_text(), scope)
    mine, ours = scope["load"]("client-2"), run.model(2)
    assert mine.state_dict().keys() == ours.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), ours.parameters(), strict=True))
    with p2pqg.Simulation.restore(run.path) as sim:
        row = torch.cat([p.detach().flatten() for p in ours.parameters()]).numpy()
        assert np.array_equal(row, sim.parameters()[2])
    with pytest.raises(ConfigError, match="has something in it already; choose another"):
        run.save_models(run.path / "models")
    _check_a_full_disk(run, monkeypatch, tmp_path / "again")
    with pytest.raises(ConfigError, match="no client is called 4"):
        run.model(4)


def _check_a_full_disk(run, monkeypatch, folder):
    """Half of the models is none, and the same folder will do when there is room."""
    write, written = safetensors.torch.save_file, []

    def full(state, path, about):
        write(state, path, about)
        written.append(path)
        if len(written) == 2:
            raise safetensors.SafetensorError("No space left on device")

    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(ConfigError, match="again: cannot be written .No space left"):
            run.save_models(folder)
    assert list(folder.iterdir()) == []
    run.save_models(folder)


def test_a_regression_of_a_file_of_the_users_comes_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-net.py").write_text(
        "from torch import nn\n\n\ndef net(num_classes, input_shape, width=3):\n"
        "    hidden = nn.Linear(input_shape[0], width)\n"
        "    return nn.Sequential(hidden, nn.Tanh(), nn.Linear(width, num_classes))\n"
    )
    x = np.random.default_rng(0).standard_normal((90, 4))
    run = p2pqg.run(
        topology="ring3",
        dataset=(x, x[:, 0] - x[:, 1]),
        model={"name": "my-net.py:net", "width": 5},
        rounds=3,
        engine="local",
        out="out",
        name="run",
    )
    (tmp_path / "my-net.py").unlink()
    out = run.save_models("models")
    scope = {"__file__": str((out / "load.py").resolve())}
    exec((out / "load.py").read_text(), scope)
    inputs = torch.ones(2, 4)
    assert scope["load"]("averaged")(inputs).shape == (2, 1)
    assert torch.equal(scope["load"]("client-1")(inputs), run.model(1)(inputs))
    assert load_file(out / "client-1.safetensors")["0.weight"].shape == (5, 4)


def test_a_run_without_a_checkpoint_says_what_to_do(tmp_path):
    settings = {"topology": "ring3", "model": "logistic", "rounds": 2, "engine": "local"}
    run = p2pqg.run(**settings, checkpoint_every=0, out=str(tmp_path), name="run")
    with pytest.raises(ConfigError, match=r"kept no checkpoint.*checkpoint_every above 0"):
        run.model("averaged")
    with pytest.raises(ConfigError, match="holds several runs; name one, such as .*run$"):
        p2pqg.Run(tmp_path).model(0)
    with pytest.raises(ConfigError, match="no run here"):
        p2pqg.Run(tmp_path / "nobody").model(0)


def test_a_model_that_could_not_be_kept_is_asked_for(tmp_path):
    settings = {"topology": "ring3", "rounds": 2, "engine": "local", "out": str(tmp_path)}
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    run = p2pqg.run(**settings, model=lambda: net, name="run")
    with pytest.raises(ConfigError, match=r"which a run cannot keep; give it again: .*restore"):
        run.save_models(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_the_last_checkpoint_is_damaged_the_one_before_is_taken_and_said(tmp_path):
    settings = {"topology": "ring3", "model": "logistic", "rounds": 2, "engine": "local"}
    run = p2pqg.run(**settings, out=str(tmp_path), name="run")
    before = run.model(0).state_dict()
    p2pqg.resume(run.path, rounds=4)
    newest = max((run.path / "checkpoints").iterdir())
    (newest / "state.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged checkpoint.*using round-000000002"):
        after = p2pqg.load(run.path).model(0).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
