"""Modules that a run's files import from packages of the user's are told apart."""

import importlib
import sys

import pytest

from p2pqg.base.imported import imported_by

FILES = {"mine.py": b"import numpy\nimport near\nfrom lab.nets import net\n", "near.py": b""}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A package that is installed for editing, imported: nets uses sizes, nobody uses unused."""
    home = tmp_path / "lab"
    (home / "deep").mkdir(parents=True)
    texts = {
        "__init__.py": "",
        "nets.py": "from .deep import sizes\nnet = sizes.WIDTH",
        "deep/__init__.py": "",
        "deep/sizes.py": "from ..more import WIDTH",
        "more.py": "WIDTH = 3",
        "unused.py": "",
    }
    for name, text in texts.items():
        (home / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("lab.nets")
    yield home
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
        del sys.modules[name]


def test_imports_are_followed_through_the_users_own_packages_alone(lab):
    reached = ["__init__", "deep/__init__", "deep/sizes", "more", "nets"]
    assert list(imported_by(FILES)) == [f"lab/{name}.py" for name in reached]
    others = {"mine.py": b"import numpy, p2pqg, os.path, not_there", "other.py": b"no python"}
    assert imported_by(others) == {}


def test_letters_differ_where_the_text_does_and_nowhere_else(lab):
    before = imported_by(FILES)
    (lab / "unused.py").write_text("x = 1")
    assert imported_by(FILES) == before
    (lab / "more.py").write_text("WIDTH = 4")
    after = imported_by(FILES)
    assert {path for path in before if before[path] != after[path]} == {"lab/more.py"}
