"""Losses are those of the books, and targets that do not fit are refused in one line."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from p2pqg.base.errors import ConfigError, UserCodeError
from p2pqg.base.registry import NoParams
from p2pqg.models.judging.losses import LOSSES, Objective, find_loss, objective_of
from p2pqg.models.judging.metrics import metrics_of

CLASSES = np.array([0, 1, 1, 0])
NUMBERS = np.array([0.5, 1.5, -1.0, 2.0], dtype=np.float32)
LABELS = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])


def objective(loss, kind, targets, classes=2, **params):
    return objective_of(find_loss(None, loss), params, kind, targets, classes)


def test_each_loss_is_that_of_its_formula():
    outputs, targets = torch.tensor([0.5, -2.0]), torch.tensor([1.0, 0.0])
    of = {
        name: objective(name, "numbers", NUMBERS).each(outputs[:, None], targets)
        for name in ("mse", "mae", "huber")
    }
    assert of["mse"].tolist() == [0.25, 4.0]
    assert of["mae"].tolist() == [0.5, 2.0]
    assert of["huber"].tolist() == [0.125, 1.5]
    two = objective("binary-cross-entropy", "classes", CLASSES)
    assert (two.kind, two.outputs) == ("binary", 1)
    expected = F.softplus(torch.tensor([-0.5, -2.0]))  # -log sigmoid(z) = log(1 + e^-z)
    torch.testing.assert_close(two.each(outputs[:, None], targets), expected)
    assert two.right(outputs[:, None], targets).tolist() == [True, True]


def test_several_labels_are_judged_each():
    labels = objective("binary-cross-entropy", "labels", LABELS)
    assert (labels.kind, labels.outputs) == ("labels", 2)
    outputs = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert labels.right(outputs, torch.tensor([[0.0, 1.0], [0.0, 0.0]])).tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("loss", "kind", "targets", "classes", "told"),
    [
        ("cross-entropy", "numbers", NUMBERS, 0, r"are numbers \(float32\); use mse or mae or hub"),
        ("mse", "labels", LABELS, 0, "several labels each .* use binary-cross-entropy"),
        ("binary-cross-entropy", "classes", CLASSES, 3, "needs 2 classes, got 3"),
    ],
)
def test_targets_that_do_not_fit_are_refused(loss, kind, targets, classes, told):
    with pytest.raises(ConfigError, match=told):
        objective(loss, kind, targets, classes)


def test_an_unknown_loss_and_an_unknown_parameter_are_told():
    with pytest.raises(ConfigError, match="unknown loss 'msee'; did you mean mse"):
        find_loss(None, "msee")
    with pytest.raises(ConfigError, match="loss.delta must be > 0, got -1"):
        objective("huber", "numbers", NUMBERS, delta=-1)


def wrong_shape(outputs, targets):
    return (outputs - targets).mean()


def fails(outputs, targets):
    return outputs.nope


def own(f):
    return Objective(find_loss(f, "given"), kind="numbers", outputs=1)


def test_a_users_loss_that_is_none_is_told_with_its_line():
    with pytest.raises(UserCodeError, match=r"test_losses.py line \d+, wrong_shape\): must return"):
        own(wrong_shape).each(torch.ones(2, 1), torch.ones(2))
    with pytest.raises(UserCodeError, match=r"\(test_losses.py line \d+\): AttributeError"):
        own(fails).each(torch.ones(2, 1), torch.ones(2))


@pytest.mark.parametrize(
    "own",
    [
        lambda outputs, y: (outputs - 2 * y).abs(),
        lambda guess, targets: (guess - 2 * targets).abs(),
        lambda guess, y: (guess - 2 * y).abs(),
    ],
)
def test_what_a_users_loss_calls_otherwise_is_known_by_its_place(own):
    entry = find_loss(own, "mine")
    assert entry.build(torch.tensor([7.0]), torch.tensor([2.0]), entry.params()) == 3


@pytest.mark.parametrize("own", [lambda outputs: 0, lambda targets: 0, lambda outputs, y, z: 0])
def test_a_users_loss_that_cannot_be_given_both_is_told_its_signature(own):
    with pytest.raises(ConfigError, match=r"loss mine must take \(outputs, targets\) or .* got \("):
        find_loss(own, "mine")


def test_a_users_loss_may_have_parameters():
    entry = find_loss(lambda outputs, targets, power=2: (outputs - targets).abs() ** power, "mine")
    squared = objective_of(entry, {}, "numbers", NUMBERS, 0)
    cubed = objective_of(entry, {"power": 3}, "numbers", NUMBERS, 0)
    assert squared.each(torch.tensor([[2.0]]), torch.tensor([0.0])).item() == 4
    assert cubed.each(torch.tensor([[2.0]]), torch.tensor([0.0])).item() == 8


def vector(outputs, targets):
    return outputs.mean(0)


def nothing(outputs, targets):
    return float("nan")


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (vector, r"vector\): must return one number, got a Tensor \[3\]"),
        (nothing, r"nothing\): must return a number, got NaN on 4 test samples"),
        (fails, r"metric m \(test_losses.py line \d+\): AttributeError"),
    ],
)
def test_a_metric_that_is_no_number_is_told_with_its_line(metric, told):
    task = Objective(LOSSES["cross-entropy"], outputs=3)
    (found,) = metrics_of({"m": "given"}, {"m": metric}, task)
    with pytest.raises(ConfigError, match=told):
        found.try_on(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]), task)


def test_metrics_of_regression_are_always_there_and_right():
    task = objective("mae", "numbers", NUMBERS)
    r2, mse = metrics_of({}, {}, task)
    targets = torch.tensor([1.0, 2.0, 3.0])
    assert (r2.name, r2(targets[:, None], targets, task)) == ("r2", 1.0)
    assert r2(torch.full((3, 1), 2.0), targets, task) == 0.0
    assert mse(targets[:, None] + 2, targets, task) == 4.0


def test_r2_of_targets_that_are_alike_is_that_of_scikit_learn():
    """1 where they are met and 0 elsewhere: no -inf, which would be that of the mean, too."""
    one, three = torch.tensor([[0.1], [0.1], [0.1]]), torch.tensor([[1.0], [2.0], [3.0]])
    targets = torch.cat([one, three, one], 1)
    outputs = torch.cat([one, three.flip(0), one + 0.5], 1)
    task = objective("mse", "numbers", targets.numpy())
    r2, _ = metrics_of({}, {}, task)
    each = [r2(outputs[:, [k]], targets[:, [k]], task) for k in range(3)]
    assert each == [1.0, -3.0, 0.0]
    assert r2(outputs, targets, task) == pytest.approx(sum(each) / 3)
    lost = torch.full_like(one, torch.nan)  # of a client that diverged: not met at all
    assert np.isnan([r2(lost, targets[:, [k]], task) for k in range(3)]).all()


def test_top5_counts_targets_among_the_five_largest():
    task = Objective(LOSSES["cross-entropy"], outputs=6)
    (top5,) = metrics_of({"top5": "top5"}, {}, task)
    outputs = torch.arange(6.0).repeat(2, 1)
    assert top5(outputs, torch.tensor([0, 1]), task) == 0.5


def test_measures_of_several_numbers_are_means_over_them():
    """Of the second number an error of 2, where the targets are 2 from their mean."""
    outputs, targets = torch.tensor([[0.0, 0.0], [2.0, 2.0]]), torch.tensor([[0.0, 0], [2, 4]])
    task = objective("mse", "numbers", targets.numpy())
    found = metrics_of({name: name for name in ("r2", "mse", "mae")}, {}, task)
    assert [one(outputs, targets, task) for one in found] == [(1 + 0.5) / 2, 1.0, 0.5]


def test_a_metric_that_nobody_knows_is_told_with_the_way_to_more():
    with pytest.raises(ConfigError, match="unknown metric 'topp5'"):
        metrics_of({"topp5": "topp5"}, {}, Objective(LOSSES["cross-entropy"]))
    with pytest.raises(ConfigError, match="metric r2 is for numbers, and targets are classes"):
        metrics_of({"r2": "r2"}, {}, Objective(LOSSES["cross-entropy"]))


def test_a_function_that_takes_targets_first_is_called_so_or_told():
    of_classes = objective("cross-entropy", "classes", CLASSES)

    class Counted:
        def __call__(self, targets, outputs):
            return targets.sum()

    function = lambda targets, outputs: targets.sum()  # noqa: E731  a line is enough
    for own in (function, partial(function), Counted(), Counted().__call__):
        (named,) = metrics_of({"m": "m"}, {"m": own}, of_classes)
        assert named(torch.zeros(3, 2), torch.tensor([1, 1, 0]), of_classes) == 2
    (usual,) = metrics_of(
        {"m": "m"}, {"m": partial(lambda outputs, targets: outputs.sum())}, of_classes
    )
    assert usual(torch.ones(3, 2), torch.tensor([1, 1, 0]), of_classes) == 6

    def as_scikit_learn(y_true, y_pred):
        return y_true.sum()

    told = r"takes \(y_true, y_pred\), and is called with outputs first; swap them: lambda outputs"
    with pytest.raises(ConfigError, match="metric m " + told):
        metrics_of({"m": "m"}, {"m": as_scikit_learn}, of_classes)
    with pytest.raises(ConfigError, match="loss as_scikit_learn " + told):
        find_loss(as_scikit_learn, "as_scikit_learn")
    first_true = (
        lambda y, y_hat: y_hat,
        lambda y, yhat: yhat,
        lambda y, p: p,
        lambda y, logits: logits,
        lambda gt, pred: pred,
    )
    for own in first_true:
        with pytest.raises(ConfigError, match=r"takes \((y|gt), .*called with outputs first; swap"):
            find_loss(own, "own")
    outputs_first = (
        (lambda y, t: y),
        (lambda y, target: y),
        (lambda y_hat, y: y_hat),
        (lambda p, q: p),
    )
    for own in outputs_first:
        assert find_loss(own, "own").build("outputs", "targets", NoParams()) == "outputs"


def test_a_mean_is_told_to_be_one_too_many():
    loss = objective_of(find_loss(torch.nn.CrossEntropyLoss(), "ce"), {}, "classes", CLASSES, 2)
    with pytest.raises(UserCodeError, match=r"got \[\]; say reduction='none', the mean is taken"):
        loss.each(torch.zeros(3, 2), torch.tensor([1, 1, 0]))
