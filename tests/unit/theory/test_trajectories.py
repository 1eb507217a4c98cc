import math

import numpy as np
import pytest
import torch

from p2pqg import mixing_matrix, trajectory
from p2pqg.base.errors import ConfigError

GOOD = {"topology": "ring4", "rounds": 3, "lr": 0.1}


def run(gradient=lambda x, round: x, x0=(1.0, 2.0), **settings):
    return trajectory("dsgd", gradient, np.asanyarray(x0), **GOOD | settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"rounds": -1}, "rounds must be an integer >= 0, got -1"),
        ({"rounds": 2.5}, "rounds must be an integer >= 0, got 2.5"),
        ({"lr": -0.1}, "lr must be a number >= 0, got -0.1 in round 0"),
        ({"lr": lambda round: math.nan if round == 2 else 0.1}, "got nan in round 2"),
        ({"weight_decay": -1}, "weight_decay must be >= 0, got -1"),
        ({"weight_decay": "much"}, "weight_decay must be >= 0, got 'much'"),
        ({"blocks": [2, 3]}, "blocks must be numbers >= 1 that add up to 4"),
        ({"blocks": [4, 0]}, "blocks must be numbers >= 1 that add up to 4"),
        ({"x0": np.ones((3, 2))}, "4 clients, but clients is 3"),
        ({"x0": (1.0, math.nan)}, "x0 must be finite, got nan or inf"),
        ({"blocks": [2.0, 2.0]}, r"blocks must be numbers >= 1 .*, got \[2.0, 2.0\]"),
        ({"x0": np.ones(2) + 1j}, "x0 must hold real numbers, .* got ndarray, complex128"),
        ({"x0": ["a", "b"]}, "x0 must hold real numbers, .*, got ndarray, <U1"),
        ({"x0": ()}, r"x0 must hold a number at least, got shape \[0\]"),
        ({"x0": np.ma.masked_equal([0.0, 1.0], 1)}, "real numbers, neither masked nor sparse"),
        ({"gradient": lambda x, round: x[:, :1]}, r"gradient must return \[4, 2\]"),
        ({"gradient": lambda x, round: 1j * x}, "gradient must hold real .*, got ndarray, complex"),
        ({"gradient": lambda x, round: np.ma.masked_less(x, 2)}, "real numbers, neither masked"),
        ({"gradient": lambda x, round: "x"}, "gradient must hold real numbers, .*, got str"),
        ({"gradient": np.ones((4, 2))}, "gradient must be a function of"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"shapes": [2]}, r"shapes must be lists of whole numbers >= 1, got \[2\]"),
        ({"shapes": [[-1, -2]]}, "shapes must be lists of whole numbers >= 1"),
        ({"shapes": [[3]]}, r"shapes must make up the 2 params, got \[\[3\]\]"),
        ({"consensus": [0.1]}, "consensus must be a mapping, such as targets"),
    ],
)
def test_wrong_input_is_one_clear_line(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        run(**settings)


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("qg-dsgdm", {}),
        ("qg-dsgdm-n", {"tau": 3}),
        ("slowmo", {"tau": 1}),
        ("decentlam", {}),
        ("d2-plus", {"lazy": True}),
        ("k-gt", {"local_steps": 2}),
        ("gut", {"lazy": True}),
        ("async-qg-dsgdm-n", {}),
    ],
)
def test_who_divides_by_lr_is_told_of_a_round_with_none(method, params, at):
    with pytest.raises(ConfigError, match=f"lr must be > 0, got 0 in round {at}: {method} divides"):
        trajectory(
            method,
            lambda x, round: x - np.arange(4.0)[:, None],
            np.zeros(1),
            topology="ring4",
            rounds=at + 5,
            lr=lambda round: 0.0 if round == at else 0.1,
            **params,
        )


def test_the_last_round_may_be_without_a_step():
    def path(rounds):
        return trajectory(
            "qg-dsgdm",
            lambda x, round: x,
            np.eye(4),
            topology="ring4",
            rounds=rounds,
            lr=lambda round: 0.1 * (round < 3),
        )

    np.testing.assert_allclose(path(4)[4], mixing_matrix("ring4") @ path(3)[3], rtol=1e-12)


def test_a_round_without_a_step_is_gossip_alone():
    path = run(lr=lambda round: 0.1 * (round > 0), x0=np.eye(4), rounds=2)
    W = mixing_matrix("ring4")
    np.testing.assert_allclose(path[1:], [W, 0.9 * W @ W], rtol=1e-12)


def test_a_method_is_called_by_its_name():
    for method, what in ((run, "a function"), (5, "5")):
        with pytest.raises(ConfigError, match=f"algorithm must be a name, got {what}; a function"):
            trajectory(method, lambda x, round: x, [1.0], **GOOD)


@pytest.mark.parametrize(
    "gradient",
    [
        lambda x, round: np.broadcast_to(x[0], x.shape),  # read-only
        lambda x, round: x[::-1],  # backwards in memory
        lambda x, round: torch.from_numpy(x.copy()).requires_grad_(),
        lambda x, round: x.astype(np.float32),
        lambda x, round: x.tolist(),
    ],
)
def test_a_gradient_may_be_any_array(gradient):
    path = run(gradient)
    np.testing.assert_allclose(path[-1], 0.9**3 * path[0], rtol=1e-6)  # all clients are equal


def test_tensors_come_back_as_tensors_and_arrays_as_arrays():
    seen = []

    def gradient(x, round):
        seen.append(type(x))
        return 2 * x

    for start, kind in (
        (torch.tensor([1.0, 2.0]), torch.Tensor),
        (np.array([1.0, 2.0]), np.ndarray),
    ):
        seen.clear()
        path = trajectory("dsgd", gradient, start, **GOOD)
        assert type(path) is kind
        assert set(seen) == {kind}
        np.testing.assert_allclose(path[-1], [[0.8**3, 2 * 0.8**3]] * 4, rtol=1e-12)


def test_the_second_argument_is_the_round_whatever_it_is_called():
    rounds = []
    run(lambda x, step: rounds.append(step) or x)
    assert rounds == [0, 1, 2]


def test_a_gradient_with_three_arguments_is_told_which_batch_of_the_round_it_is(tmp_path):
    (tmp_path / "mine.py").write_text(TWICE)
    asked = []

    def gradient(x, round, step):
        asked.append((round, step))
        return x

    trajectory(f"{tmp_path}/mine.py:twice", gradient, np.ones(2), **GOOD | {"rounds": 2})
    assert asked == [(0, 0), (0, 1), (0, 1), (1, 0), (1, 1), (1, 1)]


def test_a_third_argument_with_a_default_is_the_callers_own():
    scales = [run(lambda x, round, scale=scale: scale * x)[-1, 0, 0] for scale in (1, 2)]
    np.testing.assert_allclose(scales, [0.9**3, 0.8**3])


TWICE = '''
from p2pqg import algorithm, gossip
from p2pqg.algorithms import dsgd


@algorithm("twice", params=dsgd.Params, start=dsgd.start)
def twice(s, grad, p):
    """Two batches, the second one twice."""
    grad(s.x)
    half = s.x - p.lr * grad(s.x)
    x = yield gossip(half - p.lr * grad(half, again=True))
    return dsgd.State(x)
'''
