"""What is proposed to somebody who wrote a name that nobody knows."""

import pytest

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import did_you_mean
from p2pqg.data import DATASETS
from p2pqg.models import MODELS


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("CIFAR-10", DATASETS, ["cifar10"]),  # capitals and signs are all that differs
        ("ag_news", DATASETS, ["ag-news"]),
        ("QG-DSGDm-N", ALGORITHMS, ["qg-dsgdm-n"]),
        ("adpsgd", ALGORITHMS, ["ad-psgd"]),
        ("ResNet20-GN", MODELS, ["resnet20-gn"]),
        ("resnet20", MODELS, ["resnet20-gn", "resnet20-bn", "resnet20-evonorm"]),  # the same number
        ("cifar", DATASETS, ["cifar10", "cifar100"]),
        ("fedavg", ALGORITHMS, ["dfedavgm"]),  # others are far less like it
    ],
)
def test_the_nearest_names_are_proposed_and_no_others(name, known, meant):
    assert did_you_mean(name, known) == f"; did you mean {' or '.join(meant)}?"


def test_numbers_that_are_nobodys_do_not_hide_names_that_are_near():
    assert "resnet" in did_you_mean("resnet21-bn", MODELS)
