"""A user's code becomes a file that defines the same, without running the rest of the script."""

import sys
import types

import pytest
import torch

from p2pqg.base.source import UnkeptError, code_of, named_in_code, place_of, sliced

SCRIPT = """
from __future__ import annotations
import os
import numpy as np, torch

SMOOTH = 0.1
OTHER = 2

def helper(x):
    return x * SMOOTH

@staticmethod
def loss(outputs, targets):
    return helper(outputs)

run = p2pqg.run(loss=loss)
worst = run.summary

def reads_a_run(sim, row):
    return worst

if __name__ == "__main__":
    loss = None
"""


def test_a_definition_comes_with_all_that_it_names_and_nothing_else():
    assert sliced(SCRIPT, ["loss"]).splitlines() == [
        "from __future__ import annotations",
        "SMOOTH = 0.1",
        "def helper(x):",
        "    return x * SMOOTH",
        "@staticmethod",
        "def loss(outputs, targets):",
        "    return helper(outputs)",
    ]


def test_what_would_start_the_run_again_is_not_kept():
    with pytest.raises(UnkeptError, match="line 16 of its file, which starts a run"):
        sliced(SCRIPT, ["reads_a_run"])


def test_of_a_cell_that_ran_twice_the_last_definition_counts():
    assert sliced("def f(): return 1\n\ndef f(): return 2", ["f"]) == "def f(): return 2"


def test_what_has_no_name_at_the_top_of_a_file_is_refused_with_the_reason():
    with pytest.raises(UnkeptError, match="is a lambda"):
        named_in_code(lambda: 0)

    def inner():
        pass

    with pytest.raises(UnkeptError, match="is made inside test_what_has_no_name"):
        named_in_code(inner)
    with pytest.raises(UnkeptError, match="is an object of class list"):
        named_in_code([])


def test_what_is_installed_is_kept_by_its_name():
    text, beside = code_of(torch.nn.functional.l1_loss)
    assert (text, beside) == ("from torch.nn.functional import l1_loss\n", [])


def test_the_file_of_a_module_is_kept_whole(tmp_path):
    file = tmp_path / "my_net.py"
    file.write_text("WIDTH = 3\ndef net():\n    return WIDTH\n")
    module = types.ModuleType("my_net")
    module.__file__ = str(file)
    exec(compile(file.read_text(), file, "exec"), module.__dict__)
    sys.modules["my_net"] = module
    try:
        assert code_of(module.net)[0] == file.read_text()
        assert place_of(module.net) == "my_net.py line 2, net"
    finally:
        del sys.modules["my_net"]


def test_modules_that_load_others_when_they_are_asked_for_something_are_left_alone(
    tmp_path, monkeypatch
):
    class Lazy(types.ModuleType):
        def __getattr__(self, name):
            sys.modules[f"{self.__name__}.{name}"] = types.ModuleType(name)
            raise AttributeError(name)

    file = tmp_path / "my_net.py"
    file.write_text("def net():\n    return 3\n")
    module = types.ModuleType("my_net")
    module.__file__ = str(file)
    exec(compile(file.read_text(), file, "exec"), module.__dict__)
    monkeypatch.setattr(sys, "modules", {**sys.modules, "lazy": Lazy("lazy"), "my_net": module})
    assert code_of(module.net)[0] == file.read_text()
    assert "lazy.__path__" not in sys.modules


def test_parameters_and_local_names_are_not_looked_for_at_the_top_of_the_file():
    text = (
        "import p2pqg\n"
        "SCALE = 3\n"
        "class Net:\n"
        "    width = 4\n"
        "    def forward(self, x, *more, **said):\n"
        "        o = [i * SCALE for i in x]\n"
        "        return (lambda t: t + len(o))(1)\n"
        "run = p2pqg.run()\n"
        "x = run.model(0)\n"
        "width, more, said = x.width, 1, 2\n"
        "print([t for t in x], [run for i in range(3)])\n"
        "with open('x') as o:\n"
        "    i = p2pqg.run()\n"
    )
    kept = "\n".join(text.splitlines()[1:7])
    assert sliced(text, ["Net"]) == kept
    needs = "def net():\n    return x\n" + text
    with pytest.raises(UnkeptError, match="needs line 10 of its file, which starts a run"):
        sliced(needs, ["net"])


def test_what_a_class_or_a_function_takes_from_its_file_under_its_own_name_is_kept():
    text = (
        "lr = 0.1\n"
        "count = 0\n"
        "[largest := i for i in range(3)]\n"
        "class Params:\n"
        "    lr: float = lr\n"
        "def net():\n"
        "    global count\n"
        "    count += largest\n"
        "    return Params()"
    )
    assert sliced("other = 3\n" + text, ["net"]) == text


def test_the_names_of_a_comprehension_are_its_own():
    """Python 3.12 has them among those of the file."""
    text = (
        "i = 3\n"
        "def net():\n"
        "    return i\n"
        "runs = [[p2pqg.run(seed=i) for i in range(3)], {i: {i for i in range(2)} for i in [1]}]\n"
    )
    assert sliced(text, ["net"]) == "\n".join(text.splitlines()[:3])
