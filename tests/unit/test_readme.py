"""What the README shows is what there is, and its examples run."""

import re
from pathlib import Path

import numpy as np
import pytest

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.catalogue import markdown
from p2pqg.cli import main
from p2pqg.topology import TOPOLOGIES

README = Path(__file__).parents[2] / "README.md"


def own_method():
    """The code under `<!-- my_method.py -->`."""
    return re.search(r"<!-- my_method.py -->\n```python\n(.*?)```", README.read_text(), re.S)[1]


def test_the_tables_are_those_of_the_registry():
    shown = re.search(r"<!-- methods -->\n(.*?)<!-- /methods -->", README.read_text(), re.S)[1]
    assert shown.strip() == markdown().strip()  # else: p2pqg list --markdown


def test_every_method_and_network_has_one_row_with_all_its_columns():
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(TOPOLOGIES) + sum(
        e.build.__module__.startswith("p2pqg.") for e in ALGORITHMS.values()
    )
    assert {line.count(" | ") + 1 for line in rows} == {4, 5}
    assert "`beta=0.9`, `mu=0.9`, `tau=1`" in next(r for r in rows if r.startswith("| `qg-dsgdm`"))


def test_list_prints_the_tables(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["list", "--markdown"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == markdown()


def test_the_method_of_the_readme_is_dsgd_with_a_lazy_w(tmp_path):
    # Half of the way to the mean of the neighbors: W and the identity, half each.
    (tmp_path / "my_method.py").write_text(own_method())
    x0 = np.random.default_rng(0).standard_normal((8, 5))
    settings = {"gradient": lambda x, t: x - x0[::-1], "x0": x0, "rounds": 9, "lr": 0.1}
    path = f"{tmp_path}/my_method.py:half_way"
    expected = p2pqg.trajectory("dsgd", topology="ring8:mixing=lazy", **settings)
    found = p2pqg.trajectory(path, topology="ring8", share=0.5, **settings)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
