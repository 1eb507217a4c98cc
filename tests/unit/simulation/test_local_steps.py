"""Local steps as keys of a recipe: epochs, columns and the simulated clock count gradients."""

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError

LOCAL = {**TOY, "engine": "local", "eval_every": 100}
BATCHES = 120 / 6 / TOY["batch_size"]
"""In an epoch of a client."""


def history(**settings):
    with p2pqg.Simulation(**LOCAL | settings) as sim:
        sim.advance(rounds=sim.experiment.num_rounds)
        return sim.history, sim.experiment, sim.summary()


def test_a_round_of_local_steps_is_as_many_gradients_and_one_exchange():
    clock = {"network": {"compute": 2.0, "links": {"latency": 0.5}}}
    one, _, _ = history(rounds=6, **clock)
    three, experiment, summary = history(rounds=6, local_steps=3, **clock)
    done = three["round"] + 1
    np.testing.assert_array_equal(three["gradients"], 3 * done)
    np.testing.assert_allclose(three["epoch"], 3 * done / BATCHES)
    np.testing.assert_allclose(three["sim_seconds"], done * (3 * 2.0 + 0.5))
    np.testing.assert_array_equal(three["bytes_sent"], one["bytes_sent"])
    assert experiment.config.algorithm["local_steps"] == 3
    assert experiment.config.local_steps is None
    assert summary["gradients"] == 18


def test_as_many_epochs_are_fewer_rounds():
    _, one, _ = history(epochs=3)
    _, three, _ = history(epochs=3, local_steps=3)
    assert (one.num_rounds, three.num_rounds) == (3 * BATCHES, BATCHES)


def test_the_rounding_of_a_product_makes_no_round_more():
    for epochs, batch_size, rounds in ((1.35, 9, 3), (2.1, 6, 7), (2.11, 6, 8)):
        _, experiment, _ = history(
            epochs=epochs, batch_size=batch_size
        )  # 1.35 x 20 / 9 is 3 + 4e-16
        assert experiment.num_rounds == rounds


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 2), (1, 5), (0.01, 1), (2.4, 12)])
def test_local_epochs_are_passes_over_a_mean_sized_shard(epochs, steps):
    _, experiment, _ = history(rounds=1, local_epochs=epochs)
    assert experiment.rule.params.local_steps == steps
    assert experiment.config.algorithm["local_steps"] == steps
    assert experiment.config.local_epochs is None


@pytest.mark.parametrize("name", ["dfedavgm", "dfedsam", "k-gt", "led", "noloco", "diloco"])
def test_methods_of_local_steps_learn(name):
    easy = {"lr": 0.3 if "loco" not in name else 0.01, "alpha": None, "local_steps": 5}
    lazy = {"name": name, "lazy": True} if name == "led" else name
    rows, _, _ = history(rounds=40, algorithm=lazy, **easy)
    assert rows["train_loss"].iloc[-1] < 0.7 * rows["train_loss"].iloc[0]


def test_a_deadline_knows_that_local_steps_take_time():
    slow = {"compute": 1.0, "deadline": 2.5}
    history(rounds=2, network=slow, local_steps=2)
    with pytest.raises(ConfigError, match="longer than the 3 s .* computes its 3 gradients"):
        history(rounds=2, network=slow, local_steps=3)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"local_steps": 0}, "local_steps must be >= 1, got 0"),
        (
            {
                "rounds": None,
                "epochs": 3,
                "algorithm": "dfedavgm",
                "scenario": [{"at": 1, "set_algorithm_params": {"local_steps": 2}}],
            },
            r"scenario\[0\]: other local_steps .* of the run's epochs; say rounds",
        ),
        (
            {
                "algorithm": "dsgdm",
                "lr": lambda epoch: 1 / (1 + epoch),
                "scenario": [{"at": 1, "set_algorithm_params": {"local_steps": 2}}],
            },
            r"scenario\[0\].*local_steps cannot change while lr goes by epochs",
        ),
        (
            {
                "lr_schedule": {"kind": "step", "step_epochs": 1},
                "scenario": [{"at": 1, "set_algorithm_params": {"local_steps": 2}}],
            },
            r"scenario\[0\].*local_steps cannot change while lr goes by epochs",
        ),
        ({"local_epochs": 0}, "local_epochs must be > 0, got 0"),
        ({"local_steps": 2, "algorithm": "d2"}, "local_steps does not go with d2; it is for .*dsg"),
        ({"local_epochs": 2, "algorithm": "sgp"}, "local_epochs does not go with sgp"),
        ({"local_steps": 2, "local_epochs": 1}, "set local_steps or local_epochs, not both"),
    ],
)
def test_local_steps_that_cannot_be_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        history(**{"rounds": 2} | settings)


def test_v1_of_quasi_global_adam_scales_filter_by_filter():
    """Seen through its first step, which is g / (|g| + 1) for the scaled g."""
    import torch

    from p2pqg.testing import Quadratics, assert_same, starts

    problem, x0 = Quadratics.random(3, 30), starts(3, 30)
    shapes = [(2, 2, 2, 2), (3, 4), (2,)]  # a convolution, a matrix, a vector
    path = p2pqg.trajectory(
        "qg-dadam",
        problem.gradient,
        x0,
        topology=np.eye(3),
        rounds=1,
        lr=0.1,
        shapes=shapes,
        variant="official-v1",
        beta1=0.0,
        beta2=0.0,
        eps=1.0,
    )
    g = torch.from_numpy(problem.gradient(x0, 0))
    conv, matrix, vector = (
        g[:, :16].view(3, 2, 2, 2, 2),
        g[:, 16:28].view(3, 3, 4),
        g[:, 28:],
    )
    scaled = [
        conv / (conv.flatten(2).norm(dim=2)[:, :, None, None, None] + 1e-8),
        matrix / (matrix.norm(dim=1, keepdim=True) + 1e-8),
        vector / (vector.norm(dim=1, keepdim=True) + 1e-8),
    ]
    expected = torch.cat([part.flatten(1) for part in scaled], 1).numpy()
    assert_same((x0 - path[1]) / 0.1, expected / (abs(expected) + 1))
