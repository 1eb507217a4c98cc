"""Functions of torchmetrics by their names say what scikit-learn says."""

import numpy as np
import pytest
import torch

import p2pqg


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
