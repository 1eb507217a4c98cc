"""A user's own code in a process that has no file of it."""

import pickle
import subprocess
import sys

from p2pqg.base.user_code import find_in_file
from p2pqg.engine.on_ray.carry import by_value
from p2pqg.models import MODELS
from p2pqg.models._own import entry_of

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.classes = classes
        self.ops = self.backends = "as modules of torch are called"
        self.head = nn.Linear(inputs, self.classes)

    def forward(self, x):
        return torch.relu(self.head(x))


def net(num_classes, input_shape):
    return Net(input_shape[0], num_classes)
"""


def test_attributes_may_be_called_as_modules_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "its_net.py").write_text(NET, encoding="utf-8")
    entry = find_in_file(MODELS, "its_net.py:net", entry_of)
    sent = by_value([entry]).dumps(entry.build)
    assert pickle.loads(sent)(3, (5,), entry.params()).classes == 3
    (tmp_path / "sent").write_bytes(sent)
    there = "import pickle; print(pickle.load(open(r'{}', 'rb')).__name__)"
    told = subprocess.run(
        [sys.executable, "-c", there.format(tmp_path / "sent")],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "net\n"
