"""`import p2pqg`: what it has, and that editors see the same."""

import ast
import configparser
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import p2pqg
import p2pqg.errors
from p2pqg.base import errors

EXCEPTIONS = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}


def seen_by_type_checkers():
    """Name -> module, of the imports below `if TYPE_CHECKING`."""
    module = ast.parse(Path(p2pqg.__file__).read_text("utf-8"))
    (block,) = (node for node in module.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname: node.module for node in imports for alias in node.names}


def test_type_checkers_see_the_names_that_there_are():
    assert seen_by_type_checkers() == {n: f"p2pqg.{home}" for n, home in p2pqg._HOMES.items()}


@pytest.mark.parametrize("name", p2pqg.__all__)
def test_every_name_is_what_its_home_has(name):
    assert getattr(p2pqg, name) is getattr(import_module(f"p2pqg.{p2pqg._HOMES[name]}"), name)


def test_all_exceptions_are_at_hand():
    assert "StorageError" in EXCEPTIONS
    for name, exception in EXCEPTIONS.items():
        assert getattr(p2pqg, name) is exception
        assert getattr(p2pqg.errors, name) is exception


def test_the_version_is_that_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    assert p2pqg.__version__ == setup["metadata"]["version"]
    assert "py.typed" in setup["options.package_data"]["p2pqg"]


def test_a_name_that_is_not_there_is_told_as_python_does():
    with pytest.raises(AttributeError, match="module 'p2pqg' has no attribute 'rnu'"):
        _ = p2pqg.rnu


def test_errors_are_at_hand_after_import_p2pqg_alone():
    code = "import p2pqg; assert p2pqg.errors.StoppedError is p2pqg.StoppedError; p2pqg.testing"
    subprocess.run([sys.executable, "-c", code], check=True)
