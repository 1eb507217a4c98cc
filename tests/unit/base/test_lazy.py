"""What takes long to import is imported when it is used: an ordinary run begins without it."""

import gc
import subprocess
import sys

import pytest

from p2pqg.base.lazy import Lazy, without_collection

DENSE_RUN = """
import sys
import p2pqg.running.screen, p2pqg.running.single
from p2pqg.simulation.build import build
from p2pqg.recipe.settings import read_config
experiment = build(read_config({"topology": "ring4", "model": {"name": "mlp", "hidden": [8]}}))
assert experiment.cost.num_params == 64 * 8 + 8 + 8 * 10 + 10
print([name for name in ("torch", "pandas", "matplotlib") if name in sys.modules])
"""


def test_a_dense_run_is_put_together_without_what_takes_long_to_import():
    ran = subprocess.run([sys.executable, "-c", DENSE_RUN], capture_output=True, text=True)
    assert ran.stderr == ""
    assert ran.stdout == "[]\n"


def test_a_lazy_module_has_what_the_module_has():
    lazy = Lazy("fractions")
    import fractions

    assert lazy.Fraction is fractions.Fraction
    assert vars(lazy)["Fraction"] is fractions.Fraction  # and the next look costs nothing
    with pytest.raises(AttributeError, match="'fractions' has no attribute 'Fracton'"):
        _ = lazy.Fracton


def test_nothing_is_collected_while_a_module_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looks_at_gc.py").write_text("import gc\nwas_on = gc.isenabled()\n")
    assert gc.isenabled()
    assert Lazy("looks_at_gc").was_on is False
    assert gc.isenabled()


def test_garbage_is_collected_again_whatever_happens_inside():
    with pytest.raises(ModuleNotFoundError), without_collection():
        __import__("no_such_module")
    assert gc.isenabled()
    gc.disable()  # by a user, who has it so
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_is_collected_when_the_last_of_several_threads_is_done():
    first, second = without_collection(), without_collection()
    first.__enter__()
    second.__enter__()  # in another thread, say
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_who_only_looks_at_a_lazy_module_does_not_import_it():
    lazy = Lazy("no_such_module")
    assert not hasattr(lazy, "__wrapped__")
    assert callable(lazy) is False
    with pytest.raises(ModuleNotFoundError):
        _ = lazy.anything
