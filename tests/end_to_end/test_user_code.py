"""Actors run a user's own algorithm without having its file."""

import numpy as np
import pytest

import p2pqg
from p2pqg.errors import AlgorithmError
from tests.unit.test_user_code import DSGD, HEAD

SMALL = {
    "topology": "ring6",
    "rounds": 10,
    "batch_size": 8,
    "model": {"name": "mlp", "hidden": [6]},
    "precision": "float64",
    "record_every": 10,
}


def simulate(algorithm, **settings):
    with p2pqg.Simulation(algorithm=algorithm, **SMALL | settings) as sim:
        sim.advance(10)
        return sim.parameters()


def test_two_actors_run_the_algorithm_of_a_file_and_of_a_notebook(cluster, tmp_path):
    expected = simulate("dsgd", engine="local")
    (tmp_path / "near.py").write_text(
        "from p2pqg import gossip\n\ndef ask(x):\n    return gossip(x)\n"
    )
    path = tmp_path / "own.py"
    path.write_text("from near import ask\n" + HEAD + DSGD.replace("gossip", "ask"))
    found = simulate(f"{path}:mine", clients_per_actor=3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)

    exec(HEAD.replace('"mine"', '"a-cell"') + DSGD, {"__name__": "__main__"})
    np.testing.assert_allclose(simulate("a-cell", clients_per_actor=6), expected, atol=1e-10)


def test_a_mistake_on_an_actor_is_told_with_its_line(cluster, tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(
        HEAD + "    x = yield gossip(s.x)\n    if len(x):\n        x.nope\n    return s\n"
    )
    line = HEAD.count("\n") + 3
    with pytest.raises(AlgorithmError, match=rf"^wrong.py line {line}, in mine: AttributeError"):
        simulate(f"{path}:mine", clients_per_actor=3)
