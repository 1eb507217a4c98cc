"""Functions of torchmetrics by their names say what scikit-learn says."""

import numpy as np
import pytest
import torch

import p2pqg
from p2pqg.models.judging.losses import LOSSES, Objective
from p2pqg.models.judging.metrics import metrics_of


@pytest.fixture(autouse=True)
def _installed():  # not where this file is collected: it takes seconds to import
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed: .[metrics]")


def data(size):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((size, 6)).astype(np.float32)
    return x, (x[:, 0] + rng.standard_normal(size) > 0).astype(int) + (x[:, 1] > 1)


@pytest.mark.parametrize("who", [2, "averaged"])
def test_f1_auroc_and_kappa_are_those_of_scikit_learn(tmp_path, who):
    from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

    test_x, test_y = data(300)
    run = p2pqg.run(
        topology="ring4",
        dataset=data(200),
        test=(test_x, test_y),
        model="logistic",
        metrics=["f1", "auc", "kappa"],
        rounds=10,
        engine="local",
        out=str(tmp_path),
    )
    with torch.inference_mode():
        shares = run.model(who)(torch.from_numpy(test_x)).softmax(1).numpy()
    if who == "averaged":
        found = [run.summary[f"averaged_{name}"] for name in ("f1", "auc", "kappa")]
    else:
        last = run.clients[run.clients["client"] == who].iloc[-1]
        found = [last[name] for name in ("f1", "auc", "kappa")]
    guess = shares.argmax(1)
    assert found == pytest.approx(
        [
            f1_score(test_y, guess, average="macro"),
            roc_auc_score(test_y, shares / shares.sum(1, keepdims=True), multi_class="ovr"),
            cohen_kappa_score(test_y, guess),
        ],
        abs=1e-5,
    )


def test_those_of_numbers_of_two_classes_and_of_labels_are_those_of_scikit_learn():
    from sklearn.metrics import explained_variance_score, f1_score

    outputs, numbers = np.random.default_rng(0).standard_normal((2, 40, 3))
    guesses, truths = (outputs > 0).astype(int), (numbers > 0).astype(int)

    def found(name, kind, loss, of, targets, size):
        task = Objective(LOSSES[loss], kind=kind, outputs=size)
        metric = metrics_of({"m": name}, {}, task)[-1]
        return metric(torch.from_numpy(of), torch.from_numpy(targets), task)

    score = explained_variance_score(numbers[:, 0], outputs[:, 0])
    of = "explained-variance", "numbers", "mse"
    assert found(*of, outputs[:, 0], numbers[:, 0], 1) == pytest.approx(score)
    score = f1_score(truths[:, 0], guesses[:, 0])
    of = "f1", "binary", "binary-cross-entropy"
    assert found(*of, outputs[:, :1], truths[:, 0], 1) == pytest.approx(score)
    score = f1_score(truths, guesses, average="macro")
    of = "f1", "labels", "binary-cross-entropy"
    assert found(*of, outputs, truths, 3) == pytest.approx(score)
