"""A learner's gradients do not depend on how many clients are taken at once."""

import numpy as np
import pytest
import torch

from p2pqg.engine import learner as module
from p2pqg.engine.learner import Learner, Losses, Shards, Task
from p2pqg.models import blueprint
from p2pqg.models.judging.losses import LOSSES, Objective


def learner(model="mlp", augmentation=None, shape=(3, 8, 8), clients=5):
    generator = np.random.default_rng(0)
    samples = 7 * clients
    x = generator.integers(0, 256, (samples, *shape)).astype(np.uint8)
    y = generator.integers(0, 3, samples)
    task = Task(
        model=blueprint(model),
        num_classes=3,
        input_shape=shape,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.2),
        augmentation=augmentation,
        batch_size=4,
        weight_decay=0.1,
        precision="float64",
        seed=1,
        objective=Objective(LOSSES["cross-entropy"], outputs=3),
    )
    shards = Shards(x, y, np.full(clients, 7))
    return Learner(task, range(clients), shards, (x[:6], y[:6]), torch.device("cpu"))


@pytest.mark.parametrize("augmentation", [None, "crop-flip"])
@pytest.mark.parametrize("model", ["mlp", "resnet20-bn"])
def test_a_part_of_the_clients_at_a_time_gives_the_same(monkeypatch, model, augmentation):
    whole, parts = learner(model, augmentation), learner(model, augmentation)
    for step in range(2):
        g = whole.gradient(whole.initial(), step)
        monkeypatch.setattr(module, "INPUT_BYTES", 2 * 4 * 3 * 64 * 8)  # two clients
        h = parts.gradient(parts.initial(), step)
        monkeypatch.undo()
        torch.testing.assert_close(g, h, rtol=0, atol=1e-12)
        torch.testing.assert_close(whole.buffers, parts.buffers, rtol=0, atol=1e-12)
        assert len(whole.losses) == len(parts.losses) == 1
        np.testing.assert_allclose(whole.losses.take(), parts.losses.take(), rtol=0, atol=1e-12)


def test_weight_decay_is_added_to_the_gradient():
    with_decay, without = learner(), learner()
    without.task = without.task.__class__(**vars(without.task) | {"weight_decay": 0.0})
    x = with_decay.initial()
    torch.testing.assert_close(with_decay.gradient(x, 0), without.gradient(x, 0) + 0.1 * x)


def test_batches_depend_on_the_step_alone():
    one, other = learner(), learner()
    for step in (70, 3, 70):
        one.feed.batch(step)
    torch.testing.assert_close(one.feed.batch(70)[0], other.feed.batch(70)[0], rtol=0, atol=0)


def reader(clients):
    """A learner with dropout, whose clients are some of six."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 30, (60, 7)).astype(np.int32)
    y = generator.integers(0, 3, 60)
    params = {"width": 8, "layers": 1, "heads": 2, "vocabulary": 30, "dropout": 0.5}
    objective = Objective(LOSSES["cross-entropy"], outputs=3)
    model = blueprint("transformer", **params)
    task = Task(model, 3, (7,), None, None, None, 4, 0.0, "float32", 1, objective)
    rows = slice(10 * clients.start, 10 * clients.stop)
    shards = Shards(x[rows], y[rows], np.full(len(clients), 10))
    return Learner(task, clients, shards, (x[:6], y[:6]), torch.device("cpu"))


def test_dropout_depends_on_seed_client_and_step_and_not_on_the_packing(monkeypatch):
    everyone, last = reader(range(6)), reader(range(4, 6))
    x = everyone.initial()
    gradients = [everyone.gradient(x, step) for step in range(3)]
    monkeypatch.setattr(module, "INPUT_BYTES", 1)  # one client at a time
    for step in (2, 0, 1):
        assert torch.equal(last.gradient(x[4:], step), gradients[step][4:])

    monkeypatch.setattr(Learner, "_keys", lambda self, step, part: [7] * len(self.clients[part]))
    assert not torch.equal(reader(range(6)).gradient(x, 0), gradients[0])


def test_every_client_and_step_has_a_key_of_its_own():
    learner = reader(range(6))
    keys = [key for step in range(20) for key in learner._keys(step, slice(None))]
    assert len(set(keys)) == 6 * 20
    assert learner._keys(3, slice(2, 4)) == reader(range(2, 6))._keys(3, slice(0, 2))


def test_evaluation_counts_right_answers_of_every_row():
    peers = learner()
    x = peers.initial()
    correct, loss = peers.judge.evaluate(x, peers.buffers, slice(0, 6))
    half = [peers.judge.evaluate(x, peers.buffers, part) for part in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(correct, half[0][0] + half[1][0])
    torch.testing.assert_close(loss, half[0][1] + half[1][1])
    assert (correct == correct[0]).all()  # all start from the same model


def test_losses_come_back_in_order_and_once():
    losses = Losses(2, torch.float32, torch.device("cpu"))
    for length in (3, 300):  # as many as fit at first, and more
        for value in range(length):
            losses.of(value)[:] = value
        taken = losses.take()
        np.testing.assert_array_equal(taken, np.repeat(np.arange(length), 2).reshape(length, 2))
        assert len(losses) == 0


def test_a_batch_that_is_used_again_leaves_neither_loss_nor_statistics():
    plain, twice = learner("resnet20-bn"), learner("resnet20-bn")
    x = plain.initial()
    g = plain.gradient(x, 0)
    assert torch.equal(twice.gradient(x, 0), g)
    assert torch.equal(twice.gradient(x, 0, again=True), g)  # in training they are not used
    assert not torch.equal(twice.gradient(2 * x, 0, again=True), g)
    assert torch.equal(twice.buffers, plain.buffers)
    assert len(twice.losses) == 1


@pytest.mark.parametrize("at_once", [5, 2])
def test_who_flips_labels_has_the_gradient_of_the_other_classes(monkeypatch, at_once):
    monkeypatch.setattr(module, "CLIENTS_AT_ONCE", at_once)
    honest, liar, other = learner(), learner(), learner()
    other.feed.y = 3 - 1 - other.feed.y
    liar.flipped = torch.tensor([False, True, False, False, True])
    x = honest.initial()
    expected = torch.where(liar.flipped[:, None], other.gradient(x, 0), honest.gradient(x, 0))
    assert torch.equal(liar.gradient(x, 0), expected)
