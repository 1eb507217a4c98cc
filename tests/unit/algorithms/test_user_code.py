"""A user's own algorithm is a full citizen, and its mistakes are told with its file and line."""

import importlib
import os
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.algorithms.user_code import find_algorithm
from p2pqg.base.errors import AlgorithmError, ConfigError, DataError
from p2pqg.base.user_code import beside, load_file
from p2pqg.cli import main
from p2pqg.testing import UNIVERSAL, USUAL

HEAD = """\
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from p2pqg import algorithm, allreduce, exchange, gossip


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    share: float = 1.0


class State(NamedTuple):
    x: Tensor


def start(x0):
    return State(x=x0)


@algorithm("mine", params=Params, start=start)
def mine(s, grad, p):
    "DSGD, once more."
"""
DSGD = """\
    x = yield gossip(s.x - p.lr * grad(s.x))
    return State(x=s.x + p.share * (x - s.x))
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the body of a round to a file in the current folder; gives `FILE:mine`."""
    monkeypatch.chdir(tmp_path)

    def make(body=DSGD, file="my_file.py", head=HEAD):
        (tmp_path / file).write_text(head + body)
        return f"{file}:mine"

    return make


def path_of(algorithm, **settings):
    x0 = np.random.default_rng(0).standard_normal((6, 4))
    settings = {"topology": "ring6", "rounds": 5, "lr": 0.1} | settings
    return p2pqg.trajectory(algorithm, lambda x, t: x - x0[::-1], x0, **settings)


def same(a, b):
    """Equal to rounding: x + 1 (mixed - x) is not quite mixed."""
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_a_file_s_algorithm_runs_as_a_registered_one(write):
    same(path_of(write()), path_of("dsgd"))


def test_its_parameters_are_set_and_judged_as_all_are(write):
    name = write()
    assert (path_of(name, share=0.0) == path_of(name)[0]).all()
    with pytest.raises(ConfigError, match=r"unknown key shar; did you mean share\?"):
        path_of(name, shar=1)


@pytest.mark.parametrize("check", UNIVERSAL + USUAL)
def test_the_conformance_kit_takes_it(write, check):
    check(find_algorithm(write()))


def test_it_is_found_by_its_registered_name_too_and_only_loaded_once(write):
    write(head=HEAD.replace("def mine", "def my_round"))
    entry = find_algorithm("my_file.py:my_round")
    assert find_algorithm("my_file.py:mine") is entry


def test_methods_that_a_function_makes_are_found_by_their_registered_names(write):
    family = "".join(
        f"    {line}\n" for line in [*HEAD[HEAD.index("@") :].splitlines(), *DSGD.splitlines()]
    )
    family = "def make(name):\n" + family.replace('"mine"', "name") + 'make("one"), make("other")\n'
    write(family, head=HEAD[: HEAD.index("@algo")])
    one, other = (find_algorithm(f"my_file.py:{name}") for name in ("one", "other"))
    assert (one.name, other.name) == ("one", "other")
    with pytest.raises(ConfigError, match="has no algorithm 'ones'; did you mean one?"):
        find_algorithm("my_file.py:ones")


def test_an_edit_is_seen(write):
    first = path_of(write())
    assert not (path_of(write("    x = yield gossip(s.x)\n    return State(x)\n")) == first).all()


def test_autoreload_of_a_notebook_leaves_what_was_read_alone(write, tmp_path, monkeypatch, capsys):
    ipython = pytest.importorskip("IPython", reason="IPython is not installed")
    autoreload = pytest.importorskip("IPython.extensions.autoreload")
    reloader = autoreload.ModuleReloader()
    reloader.enabled = True
    shown = SimpleNamespace(_reloader=reloader)
    shell = SimpleNamespace(
        kernel=None, magics_manager=SimpleNamespace(registry={"AutoreloadMagics": shown})
    )
    monkeypatch.setattr(ipython, "get_ipython", lambda: shell)
    first = find_algorithm(write())
    code = first.build.__code__
    reloader.check()
    write(DSGD.replace("p.share *", "0 *"))
    os.utime(tmp_path / "my_file.py", (2e9, 2e9))
    reloader.check()  # before the next cell
    assert capsys.readouterr().err == ""
    assert first.build.__code__ is code
    assert find_algorithm("my_file.py:mine") is not first


def test_two_files_may_use_the_same_name(write):
    idle = "    yield gossip(s.x)\n    return s\n"
    one, other = write(), write(idle, "other.py")
    for _ in range(2):
        assert (path_of(other) == path_of(other)[0]).all()
        same(path_of(one), path_of("dsgd"))


def test_it_may_import_its_neighbors(write, tmp_path):
    (tmp_path / "my_neighbor.py").write_text("from p2pqg import gossip as speak\n")
    head = "from my_neighbor import speak\n" + HEAD
    same(path_of(write(DSGD.replace("gossip", "speak"), head=head)), path_of("dsgd"))


def test_the_command_line_and_the_recipe_take_it(write, tmp_path):
    name = write()
    (tmp_path / "recipe.yaml").write_text(
        f"topology: ring4\nrounds: 8\nengine: local\nmodel: {{name: mlp, hidden: [4]}}\n"
        f"algorithm: {{name: '{name}', share: 0.5}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["run", "recipe.yaml", "--quiet", "--name", "one"])
    assert ended.value.code == 0
    one = p2pqg.load("runs/out/one")
    assert one.summary["algorithm"] == name
    assert one.config["algorithm"] == {"name": name, "share": 0.5}
    # Half of the way to the neighbors: DSGD with a lazy W, but that the step itself is halved, too.
    again = p2pqg.run(**one.config | {"name": "two"})
    assert again.summary["consensus_distance"] == one.summary["consensus_distance"] > 0


def test_a_notebook_s_decorator_is_enough_and_its_cell_may_run_twice(write):
    cell = HEAD.replace('"mine"', '"from-a-cell"') + DSGD
    for _ in range(2):
        exec(cell, {"__name__": "__main__"})
    same(path_of("from-a-cell"), path_of("dsgd"))


def test_our_names_cannot_be_taken(write):
    name = write(head=HEAD.replace('"mine"', '"dsgd"'))
    with pytest.raises(
        ConfigError, match=r"my_file.py line 2[45]: algorithm 'dsgd' is there already"
    ):
        find_algorithm(name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere.py:mine", "algorithm nowhere.py: no such file or directory"),
        ("my_file.py:mime", r"my_file.py has no algorithm 'mime'; did you mean mine\?"),
        ("my_file.py:start", r"my_file.py: start is not an algorithm yet; write @algorithm"),
        ("my_file.py", "algorithm my_file.py must say which: my_file.py:mine"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(write, name, complaint):
    write()
    with pytest.raises(ConfigError, match=complaint):
        find_algorithm(name)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("import torch", "import torhc", r"line 4: ModuleNotFoundError: No module named 'torhc'"),
        ("x: Tensor", "x Tensor", r"line 17: SyntaxError: "),
        ("import torch", "raise SystemExit(3)", r"line 4: SystemExit: 3"),
        (", start=start", "", r"line 24: TypeError: .*'start'"),
        ("    lr: float\n", "", r"'mine': params must be a data class with a field lr"),
        ("params=Params, ", "", r"'mine': params must be a data class with a field lr.*NoParams"),
        (
            "import torch",
            "from .parts import torch",
            r"package; name the .* from \S+\.my_file import",
        ),
    ],
)
def test_a_file_that_does_not_load_is_told_with_its_line(write, old, new, complaint):
    name = write(head=HEAD.replace(old, new))
    with pytest.raises(ConfigError, match=complaint):
        find_algorithm(name)


def test_a_file_that_was_interrupted_while_it_loaded_loads_anew(write, monkeypatch):
    stops = "import os\nif 'INTERRUPTED' in os.environ:\n    raise KeyboardInterrupt\n"
    name = write(head=stops + HEAD)
    monkeypatch.setenv("INTERRUPTED", "once")
    with pytest.raises(KeyboardInterrupt):
        find_algorithm(name)
    monkeypatch.delenv("INTERRUPTED")
    assert find_algorithm(name).name == "mine"


ROUND_AT = HEAD.count("\n") + 1  # line of the first line of the body


@pytest.mark.parametrize(
    ("body", "line", "complaint"),
    [
        ("x = yield s.x", 0, "yielded a Tensor; yield gossip(...), exchange(...) or allreduce"),
        ("yield", 0, "yielded nothing; yield"),
        ("return s", -3, "has no yield"),
        ("yield gossip(s.x)", -3, "returned nothing; a round returns the next state"),
        ("yield gossip()", 0, "gossip() was given nothing to send"),
        ("yield gossip(s.x, 3)", 0, "gossip(...) takes tensors, got an int"),
        ("yield gossip(s.x, message_bytes='5')", 0, "must be a number >= 0, or a tensor [clients]"),
        ("yield gossip(s.x, message_bytes=s.x[:, :1])", 0, "bytes must be [6], got [6, 1]"),
        ("yield allreduce(s.x, message_bytes=-1.0)", 0, "message_bytes must be a number >= 0, got"),
        ("g = s.x\nx = yield gossip(s.x.mean(0))", 1, "its rows must be the clients, [6, ...]"),
        ("yield exchange(s.x[:, 0])", 0, "takes a message per neighbor"),
        ("yield gossip(s.x > 0)", 0, "gossip(...) averages, and was given bool; send t.to(s.x)"),
        ("yield gossip(s.x, s.x.half())", 0, "takes tensors of one type, got float64 and float16"),
        ("yield allreduce(s.x)\ns.x + torch.ones(3)", 1, "RuntimeError: The size of tensor"),
        ("x = yield gossip(s.x)\nx.y", 1, "AttributeError: 'Tensor' object has no attribute 'y'"),
        ("x = yield gossip(s.x)\nraise ValueError", 1, "ValueError: no message"),
        ("def f():\n  yield 1\nyield from f()", 1, "in f: yielded an int"),
        (
            "x = yield gossip(s.x)\nreturn x",
            -3,
            "returned a Tensor; a round returns the next state",
        ),
        ("x = yield gossip(s.x)\nreturn (x,)", -3, "returned a tuple; a round returns the next"),
        ("x = yield gossip(s.x)\nreturn State(x.numpy())", -3, "state.x is a ndarray; a state is"),
        (
            "x = yield gossip(s.x)\nreturn State(x[:, :2])",
            -3,
            "must stay [6, 4] of float64, got [6, 2]",
        ),
        ("x = yield gossip(s.x)\nreturn State(x.mean(0))", -3, "must keep a row for each client"),
        ("x = yield gossip(s.x)\nreturn State(x.float())", -3, "float64, got [6, 4] of float32"),
        (
            "x = yield gossip(s.x.requires_grad_())\nreturn State(x)",
            -3,
            "state.x carries the graph that it was computed by; return state.x.detach()",
        ),
    ],
)
def test_a_mistake_in_the_round_is_told_with_its_line(write, body, line, complaint):
    name = write(textwrap.indent(body, "    ") + "\n")
    with pytest.raises(AlgorithmError) as caught:
        path_of(name)
    assert str(caught.value).startswith(f"my_file.py line {ROUND_AT + line}, in ")
    assert complaint in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        ("return x0.nope", "my_file.py line 21, in start: AttributeError"),
        ("return None", "mine: start must return a state"),
        ("return State(x=x0[0])", "mine: start must return a state whose x is"),
        (
            "return More(x0, torch.ones(x0.shape[1]))",
            r"start: state.y .* \[6, ...\], got \[4\]; what",
        ),
        (
            "return More(x0, torch.tensor(0.0))",
            r"start: state.y must keep a row .*, got \[\]; what",
        ),
        ("return More(x0, x0 * 1j)", "start: state.y is of complex128, which is not saved"),
    ],
)
def test_a_mistake_in_start_is_told(write, start, complaint):
    more = "class More(NamedTuple):\n    x: Tensor\n    y: Tensor\n"
    name = write(DSGD + more, head=HEAD.replace("return State(x=x0)", start))
    with pytest.raises(AlgorithmError, match=complaint):
        path_of(name)


def test_a_round_with_other_arguments_is_told(write):
    name = write(head=HEAD.replace("(s, grad, p)", "(s, grad)"))
    with pytest.raises(AlgorithmError, match=r"my_file.py line \d+.*takes 2 positional arguments"):
        path_of(name)


def test_errors_of_the_gradient_are_not_blamed_on_the_algorithm(write):
    def gradient(x, round):
        raise error

    for error in (DataError("no data"), ZeroDivisionError("one over nothing")):
        with pytest.raises(type(error)):
            p2pqg.trajectory(write(), gradient, np.ones(3), topology="ring4", rounds=1, lr=1.0)


def test_rows_that_meet_without_the_network_are_refused_before_the_first_round(write):
    meets = """\
    x = yield gossip(s.x - p.lr * grad(s.x))
    return State(x=x + 0.1 * (x.mean(0) - x))
"""
    asks = """\
    x, mean = (yield gossip(s.x - p.lr * grad(s.x))), (yield allreduce(s.x))
    return State(x=x + 0.1 * (mean - x))
"""
    settings = TOY | {"engine": "local", "rounds": 2}
    with p2pqg.Simulation(**settings | {"algorithm": write(asks)}) as sim:
        sim.advance(1)
    with pytest.raises(ConfigError, match=r"mine: what becomes of a client depends on rows of oth"):
        p2pqg.Simulation(**settings | {"algorithm": write(meets)})


def test_a_round_without_a_gradient_is_told_whenever_it_comes(write):
    idle = """\
    x = yield gossip(s.x if s.x.new_zeros(()) + p.lr < 1e-3 else s.x - p.lr * grad(s.x))
    return State(x=x)
"""
    rates = {"lr_schedule": {"milestones": [2 / 3], "decay": 1e-3}}
    settings = TOY | {"engine": "local", "rounds": 9, "record_every": 9} | rates
    told = pytest.raises(AlgorithmError, match="mine: round 6 computes no gradient")
    with p2pqg.Simulation(**settings | {"algorithm": write(idle)}) as sim, told:
        sim.advance(9)
    with pytest.raises(ConfigError, match="mine: round 0 computes no gradient"):
        p2pqg.Simulation(**settings | {"algorithm": write(idle), "lr": 1e-4})


def test_on_the_command_line_a_mistake_is_one_line_and_exit_code_1(write, capsys):
    name = write("    yield 1\n")
    words = ["--topology", "ring4", "--rounds", "3", "--engine", "local", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main(["run", *words, "--algorithm", name])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"AlgorithmError: my_file.py line {ROUND_AT}, in mine: yielded an int;")


def test_what_the_user_imported_from_elsewhere_is_neither_taken_nor_lost(tmp_path, monkeypatch):
    for folder, number in (("now", 7), ("then", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helps_mine.py").write_text(f"FACTOR = {number}\n", encoding="utf-8")
    mine = tmp_path / "then" / "mine.py"
    mine.write_text("from helps_mine import FACTOR\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "now")
    theirs = importlib.import_module("helps_mine")
    odd = SimpleNamespace(__name__="odd", __file__=tmp_path / "now" / "odd.py")  # no text
    monkeypatch.setitem(sys.modules, "odd", odd)
    try:
        module = load_file(mine, "model")
        assert (module.FACTOR, theirs.FACTOR) == (2, 7)
        assert sys.modules["helps_mine"] is theirs
        there = {Path(other.__file__).name for other in beside(module)}
        assert there == {"mine.py", "helps_mine.py"}
        (tmp_path / "then" / "helps_mine.py").write_text("FACTOR = 3\n", encoding="utf-8")
        assert load_file(mine, "model").FACTOR == 3
    finally:
        del sys.modules["helps_mine"]


def test_a_file_gets_the_modules_beside_it_and_as_they_are_now(write, tmp_path):
    def factor(folder):
        return find_algorithm(f"{tmp_path / folder}/mine.py:mine").build.__globals__["FACTOR"]

    text = HEAD.replace("import torch\n", "import torch\nfrom beside_mine import FACTOR\n", 1)
    for folder, number in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text + "    yield gossip(s.x)\n    return s\n")
        (tmp_path / folder / "beside_mine.py").write_text(f"FACTOR = {number}\n")
    assert [factor("one"), factor("two"), factor("one")] == [1, 2, 1]
    (tmp_path / "one" / "beside_mine.py").write_text("FACTOR = 7\n")
    assert factor("one") == 7
    assert not list(tmp_path.rglob("*.pyc"))
