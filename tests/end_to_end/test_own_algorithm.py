"""Actors run a user's own algorithm without having its file."""

import numpy as np
import pytest
from toys import DSGD

import p2pqg
from p2pqg.base.errors import AlgorithmError

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


def test_two_actors_run_an_algorithm_from_a_file_and_from_a_notebook(cluster, tmp_path):
    expected = simulate("dsgd", engine="local")
    (tmp_path / "near.py").write_text("def half(x, g, lr):\n    return x - lr * g\n")
    path = tmp_path / "own.py"
    path.write_text(
        "import near\n" + DSGD.replace("s.x - p.lr * grad(s.x)", "near.half(s.x, grad(s.x), p.lr)")
    )
    found = simulate(f"{path}:own_dsgd", clients_per_actor=3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)

    exec(DSGD.replace("own-dsgd", "from-a-cell"), {"__name__": "__main__"})
    found = simulate("from-a-cell", clients_per_actor=3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_a_mistake_on_an_actor_is_told_with_its_line(cluster, tmp_path):
    path = tmp_path / "wrong.py"
    wrong = DSGD.replace(
        "    return State(x)", "    if len(x):\n        x.nope\n    return State(x)"
    )
    path.write_text(wrong)
    line = wrong.splitlines().index("        x.nope") + 1
    with pytest.raises(AlgorithmError, match=rf"^wrong.py line {line}, in own_dsgd: Attribute"):
        simulate(f"{path}:own_dsgd", clients_per_actor=3)


@pytest.mark.parametrize("sense", [">", "<="])
def test_requests_that_depend_on_values_end_a_run_with_their_line(cluster, tmp_path, sense):
    path = tmp_path / "moody.py"
    moody = DSGD.replace(
        "    return State(x)",
        f"    if x.norm() {sense} 0:\n        x = yield gossip(x)\n    return State(x)",
    )
    path.write_text(moody)
    line = moody.splitlines().index("        x = yield gossip(x)") + 1
    told = rf"^moody.py line {line}, in own_dsgd: the gossip of round 0 is asked for by .* clients"
    with pytest.raises(AlgorithmError, match=told):
        simulate(f"{path}:own_dsgd", clients_per_actor=3)


LIES = """
import near


def shout(honest, W, round):
    return near.louder(honest.mean(0))


def middle(own, inbox, weights):
    return (own + inbox.median(0).values) / 2
"""


def test_actors_lie_and_defend_themselves_by_a_users_own_functions(cluster, tmp_path):
    """What liars tell is made of the rows of all, which travel for it; rules travel with actors."""
    (tmp_path / "near.py").write_text("def louder(x):\n    return 3 * x\n")
    (tmp_path / "lies.py").write_text(LIES)
    settings = {
        "attacks": [
            {"who": [2], "how": f"{tmp_path}/lies.py:shout", "when": 2},
            {"who": [5], "how": "dissensus"},
        ],
        "scenario": [{"at": 4, "set_rule": f"{tmp_path}/lies.py:middle"}],
    }
    expected = simulate("dsgdm-n", engine="local", **settings)
    found = simulate("dsgdm-n", clients_per_actor=3, **settings)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert np.abs(expected - simulate("dsgdm-n", engine="local")).max() > 1e-2


@pytest.mark.parametrize("algorithm", ["k-gt", "dfedsam"])
def test_actors_take_local_steps(cluster, algorithm):
    settings = {"local_steps": 3}
    expected = simulate(algorithm, engine="local", **settings)
    found = simulate(algorithm, clients_per_actor=3, **settings)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
