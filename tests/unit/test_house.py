"""The rooms of p2pqg stand on levels, and imports go downwards only (docs/design.md)."""

import ast
import configparser
import re
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

import p2pqg
from p2pqg import cli

HOUSE = Path(p2pqg.__file__).parent
LEVELS = """
    base
    algorithms topology data models
    network plots
    recipe engine
    results theory
    page testing
    control
    simulation
    running
    paper
    cli
"""
LEVEL = {room: level for level, line in enumerate(LEVELS.split("\n")) for room in line.split()}
FILES = {
    ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts): path
    for path in HOUSE.rglob("*.py")
}
FACE = {"p2pqg.__init__", "p2pqg.errors"}
"""What users import from; it knows where everything is."""


@cache  # every test here reads all files
def imports(file: str) -> frozenset[str]:
    """Files that a file imports, also inside functions and for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[file].read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found.update(name for name in names if name in FILES)
    return frozenset(found)


@cache
def all_imports() -> nx.DiGraph:
    return nx.DiGraph((file, other) for file in FILES for other in imports(file))


def room(file: str) -> str:
    return file.split(".")[1]


@pytest.mark.parametrize("file", sorted(set(FILES) - FACE))
def test_a_file_imports_from_its_own_room_or_from_below(file):
    upward = [
        other
        for other in imports(file)
        if room(other) != room(file) and LEVEL[room(other)] >= LEVEL[room(file)]
    ]
    assert not upward


def test_the_rooms_are_on_the_levels_that_the_handbook_draws():
    page = (HOUSE.parent / "docs" / "design.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page, re.M)
    assert {room: int(n) for n, rooms in rows for room in re.findall(r"`(\w+)`", rooms)} == LEVEL


def test_no_files_import_each_other_in_a_circle():
    assert list(nx.simple_cycles(all_imports())) == []


def test_only_the_engine_on_ray_imports_ray():
    for file, path in FILES.items():
        words = path.read_text("utf-8")
        if not file.startswith("p2pqg.engine.on_ray."):
            assert "import ray" not in words, file
            assert "from ray" not in words, file


ONE_PART_A_FILE = {"algorithms", "data", "models", "figures"}
"""Rooms whose files are found and listed by what they register; those with a _ are beside them."""


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in FILES.values()} - {HOUSE}),
    ids=lambda folder: folder.name,
)
def test_a_room_says_what_is_in_it(folder):
    told = (folder / "__init__.py").read_text("utf-8")
    own = "_*.py" if folder.name in ONE_PART_A_FILE else "*.py"
    there = {path.name for path in folder.glob(own) if not path.name.startswith("__")}
    assert not [name for name in sorted(there) if name not in told]


def test_the_front_door_names_every_room_and_that_of_the_command_line_every_command():
    assert [r for r in LEVEL if not re.search(rf"  {r} ", p2pqg.__doc__)] == []
    assert [name for name in cli.main.commands if name not in cli.__doc__] == []


@pytest.mark.parametrize("reader", ["recipe", "plots", "results", "page"])
def test_reading_never_reaches_the_engine(reader):
    graph = all_imports()
    below = set().union(*(nx.descendants(graph, f) for f in graph if room(f) == reader))
    assert not [file for file in below if room(file) == "engine"]


def test_every_folder_of_the_house_is_in_the_package():
    setup = configparser.ConfigParser()
    setup.read(HOUSE.parent / "setup.cfg", encoding="utf-8")
    listed = set(setup["options"]["packages"].split())
    there = {".".join(f.parent.relative_to(HOUSE.parent).parts) for f in HOUSE.rglob("__init__.py")}
    assert listed == there | {"p2pqg.shipped.topologies", "p2pqg.shipped.runs"}
