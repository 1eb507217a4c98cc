"""A part in a file of its own is found: adding one touches one file."""

import subprocess
import sys

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import import_parts
from p2pqg.network import Network
from p2pqg.topology import build

PARTS = {
    "algorithms": """
        from dataclasses import dataclass
        from p2pqg.algorithms.dsgd import Params, State
        from p2pqg.algorithms.effects import algorithm
        @algorithm("new", params=Params, start=State)
        def new(s, grad, p):
            yield
        """,
    "topology": """
        import networkx as nx
        from p2pqg.topology._registry import topology
        @topology("new", source="ours")
        def new(n):
            return nx.path_graph(n)
        """,
    "data": """
        from p2pqg.data._arrays import dataset
        @dataset("new", model="mlp", source="ours")
        def new(data_dir):
            ...
        """,
    "models": """
        from p2pqg.models._registry import MODELS
        @MODELS.register("new", source="ours")
        def new(num_classes, input_shape, params):
            ...
        """,
    "paper.figures": """
        from p2pqg.base.registry import NoParams
        from p2pqg.paper.figures._figure import FIGURES
        FIGURES.register("new", params=NoParams, source="ours")(lambda: None)
        """,
}
REGISTRY = {
    "algorithms": "ALGORITHMS",
    "topology": "TOPOLOGIES",
    "data": "DATASETS",
    "models": "MODELS",
    "paper.figures": "FIGURES",
}


def test_files_are_imported_but_helpers_and_folders_are_not(tmp_path, monkeypatch):
    package = tmp_path / "rooms"
    for name in ("__init__", "part", "_helper", "folder/__init__"):
        file = package / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    import_parts("rooms", [str(package)])
    assert {name for name in sys.modules if name.startswith("rooms.")} == {"rooms.part"}


@pytest.mark.parametrize("room", PARTS)
def test_a_new_part_is_one_new_file(room, tmp_path):
    lines = PARTS[room].strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    (tmp_path / "new_part.py").write_text("\n".join(line[indent:] for line in lines))
    # As if the file lay in the room's own folder: the folder is one more of its package.
    code = f"""
import importlib.util, sys
room = "p2pqg.{room}"
spec = importlib.util.find_spec(room)
spec.submodule_search_locations.append({str(tmp_path)!r})
module = importlib.util.module_from_spec(spec)
sys.modules[room] = module
spec.loader.exec_module(module)
assert "new" in module.{REGISTRY[room]}, sorted(module.{REGISTRY[room]})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_of_two_files_with_one_name_each_has_its_own_and_the_bare_name_is_refused(tmp_path):
    text = """
import networkx as nx
from p2pqg.topology._registry import topology

@topology("twice-there", source="ours")
def mine(num_clients, params):
    return nx.{kind}_graph(num_clients)
"""
    for kind in ("path", "cycle"):
        (tmp_path / f"{kind}.py").write_text(text.format(kind=kind))
    one, two = (f"{tmp_path / kind}.py:mine" for kind in ("path", "cycle"))
    assert build(one, 5).num_clients == 5
    assert build("twice-there5").mixing(0).dense()[0, 4] == 0  # a path's ends do not meet
    assert build(two, 5).mixing(0).dense()[0, 4] > 0
    assert build(one, 5).mixing(0).dense()[0, 4] == 0
    with pytest.raises(
        ConfigError, match=r"'twice-there' is in 2 files; say which: .*path.py:twic"
    ):
        build("twice-there5")
    (tmp_path / "cycle.py").unlink()
    assert build("twice-there5").num_clients == 5


@pytest.fixture
def kept(tmp_path):
    """Where a run keeps its copy of own.py."""
    path = tmp_path / "run" / "files" / "own.py"
    path.parent.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("")
    return path


def test_a_bare_name_is_the_original_where_a_run_went_on_with_its_copy(tmp_path, kept):
    text = """
import networkx as nx
from p2pqg.topology._registry import topology

@topology("kept-there", source="ours")
def mine(num_clients, params):
    return nx.{kind}_graph(num_clients)
"""
    (tmp_path / "own.py").write_text(text.format(kind="cycle"))
    kept.write_text(text.format(kind="path"))  # it was that when the run began
    assert build(f"{tmp_path / 'own.py'}:mine", 5).mixing(0).dense()[0, 4] > 0
    assert build(f"{kept}:mine", 5).mixing(0).dense()[0, 4] == 0
    assert build("kept-there5").mixing(0).dense()[0, 4] > 0


def test_new_clients_join_the_network_of_the_original_and_not_of_its_copy(tmp_path, kept):
    text = """
import networkx as nx
from p2pqg.topology._registry import topology

@topology("grown-there", source="ours"{more})
def mine(num_clients, params):
    return nx.cycle_graph(num_clients)
"""
    (tmp_path / "own.py").write_text(text.format(more=""))
    kept.write_text(text.format(more=", size=5"))  # of one size only, when the run began
    network = Network(build(f"{tmp_path / 'own.py'}:mine", 5), seed=0)
    build(f"{kept}:mine", 5)
    assert network.add_clients(1).num_clients == 6
