"""What a recipe names of the user's is found, kept, and taken from the copy once it is another."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.errors import ConfigError
from p2pqg.recipe.own_files import FOLDER, from_copies, kept, paths_in, read

RECIPE = {
    "algorithm": {"name": "mine/my_file.py:my_method", "share": 0.5},
    "topology": "net.csv:mixing=given,directed=true",
    "network": {"links": {"file": "far/net.csv", "0-1": "4g"}, "compute": {"trace": "trace.csv"}},
    "scenario": [{"at": 3, "set_topology": "net.csv"}, {"at": 5, "drop_links": ["0-1"]}],
    "dataset": {"name": "not-ours.csv"},
    "out": "runs/out.csv",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with all that RECIPE names and a module beside the algorithm."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine/my_file.py", "mine/near.py", "net.csv", "far/net.csv", "trace.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(f"I am {name}")
    return tmp_path


@pytest.fixture
def run(here):
    """A run's folder that kept them."""
    (here / "run" / FOLDER).mkdir(parents=True)
    for name, content in read(RECIPE, [Path("mine/near.py")]).items():
        (here / "run" / FOLDER / name).write_bytes(content)
    return Path("run")


def test_every_file_has_one_copy_and_every_copy_its_own_name():
    assert paths_in(RECIPE) == {
        "mine/my_file.py": "my_file.py",
        "net.csv": "net.csv",
        "far/net.csv": "other-net.csv",
        "trace.csv": "trace.csv",
    }


def test_names_of_parts_are_no_files():
    recipe = {"algorithm": "qg-dsgdm-n", "topology": "base25:k=2", "network": None, "scenario": []}
    assert paths_in(recipe) == {}
    assert read(recipe) == {}


def test_copies_are_whole(run):
    (run / FOLDER / "__pycache__").mkdir()  # that of near.py, once it is imported from here
    assert {name: content.decode() for name, content in kept(run).items()} == {
        "my_file.py": "I am mine/my_file.py",
        "near.py": "I am mine/near.py",
        "net.csv": "I am net.csv",
        "other-net.csv": "I am far/net.csv",
        "trace.csv": "I am trace.csv",
    }
    assert kept(Path("nowhere")) == {}


def test_while_nothing_has_changed_the_originals_are_taken(run):
    told = []
    assert from_copies(RECIPE, run, told.append) == {}
    assert from_copies(RECIPE, Path("nowhere"), told.append) == {}  # an older p2pqg kept none
    assert told == []


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("mine/my_file.py", "algorithm", {"name": "run/files/my_file.py:my_method", "share": 0.5}),
        ("mine/near.py", "algorithm", {"name": "run/files/my_file.py:my_method", "share": 0.5}),
        ("trace.csv", "network", RECIPE["network"] | {"compute": {"trace": "run/files/trace.csv"}}),
        (
            "far/net.csv",
            "network",
            RECIPE["network"] | {"links": {"file": "run/files/other-net.csv", "0-1": "4g"}},
        ),
    ],
)
@pytest.mark.parametrize("change", ["has changed", "has gone"])
def test_the_copy_of_one_that_is_another_now_is_taken_and_said(run, name, key, value, change):
    Path(name).unlink() if change == "has gone" else Path(name).write_text("else")
    told = []
    assert from_copies(RECIPE, run, told.append) == {key: value}
    assert told == [f"{name} {change} since the run began; its own copy is used"]


def test_what_lies_beside_one_file_of_code_is_not_missed_beside_another(here):
    """Functions of files in two folders, and a module beside one of them."""
    recipe = {"algorithm": "mine/my_file.py:my_method", "dataset": "data.py:load"}
    Path("data.py").write_text("I am data.py")
    Path("run/files").mkdir(parents=True)
    for name, content in read(recipe, [Path("mine/near.py")]).items():
        (Path("run/files") / name).write_bytes(content)
    told = []
    assert from_copies(recipe, Path("run"), told.append) == {}
    assert told == []
    Path("mine/near.py").write_text("else")
    assert from_copies(recipe, Path("run"), told.append) == {
        "algorithm": "run/files/my_file.py:my_method"
    }


def test_all_that_name_the_same_file_take_the_same_copy(run):
    Path("net.csv").unlink()
    assert from_copies(RECIPE, run, lambda line: None) == {
        "topology": "run/files/net.csv:mixing=given,directed=true",
        "scenario": [{"at": 3, "set_topology": "run/files/net.csv"}, RECIPE["scenario"][1]],
    }


REGISTERED = """
from typing import NamedTuple
from torch import Tensor
from p2pqg import algorithm, gossip
from p2pqg.algorithms.dsgd import Params

class State(NamedTuple):
    x: Tensor

@algorithm("script-made", params=Params, start=State)
def made(s, grad, p):
    return State((yield gossip(s.x - p.lr * grad(s.x))))
"""


def test_an_algorithm_that_a_script_registered_is_kept_for_whoever_does_not_know_it(
    tmp_path, monkeypatch
):
    (tmp_path / "script_made.py").write_text(REGISTERED)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("script_made")
    settings = {"topology": "ring4", "algorithm": "script-made", "engine": "local"}
    settings |= {"checkpoint_every": 1e9, "out": str(tmp_path)}
    whole = p2pqg.run(**settings, rounds=6, name="whole")
    part = p2pqg.run(**settings, rounds=3, planned_rounds=6, name="part")
    assert part.summary["algorithm"] == "script-made"
    monkeypatch.delitem(ALGORITHMS._entries, "script-made")  # as in another process
    monkeypatch.delitem(sys.modules, "script_made")
    went_on = p2pqg.resume(part.path, rounds=6)
    assert went_on.summary["rounds"] == 6
    assert torch.equal(
        went_on.model("averaged").state_dict()["1.weight"],
        whole.model("averaged").state_dict()["1.weight"],
    )


def test_an_algorithm_of_a_package_goes_on_in_another_process_and_an_edit_of_it_is_told(
    tmp_path, monkeypatch, capsys
):
    """It was not found there, and edits of packages passed unsaid: only an import is kept."""
    (tmp_path / "lab_of_mine").mkdir()
    method = tmp_path / "lab_of_mine" / "method.py"
    (method.parent / "__init__.py").write_text("")
    method.write_text(REGISTERED.replace("script-made", "lab-made"))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("lab_of_mine.method")
    settings = {"topology": "ring4", "algorithm": "lab-made", "model": "logistic"}
    settings |= {"engine": "local", "out": str(tmp_path / "out")}

    def forget():  # as in another process
        for name in list(sys.modules):
            if name.startswith(("lab_of_mine", "own_algorithm_")):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.delitem(ALGORITHMS._entries, "lab-made", raising=False)

    run = p2pqg.run(**settings, rounds=1)
    forget()
    assert p2pqg.resume(run.path, rounds=2, quiet=False).summary["algorithm"] == "lab-made"
    assert "has changed" not in capsys.readouterr().out
    method.write_text(method.read_text().replace("p.lr *", "2 * p.lr *"))
    forget()
    p2pqg.resume(run.path, rounds=3, quiet=False)
    told = "lab_of_mine/method.py has changed since the run began, which keeps no code of packages"
    assert told in capsys.readouterr().out
    anew = p2pqg.run(**settings, rounds=3, seed=1)
    with pytest.raises(ConfigError, match=r"lab_of_mine/method.py \(edited in between\)"):
        p2pqg.compare([run, anew])
