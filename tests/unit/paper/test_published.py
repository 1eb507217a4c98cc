"""The published numbers, and where they stand."""

import pandas as pd
import pytest

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError
from p2pqg.paper.published import CENTRALIZED, METHODS, method_of, published, same_scale

TABLES = [f"table{number}" for number in range(1, 7)]


def number(name, *, row, network, alpha, arch="ResNet-EvoNorm-20"):
    rows = published(name).rows
    (found,) = rows[
        (rows["row"] == row)
        & (rows["network"] == network)
        & (rows["alpha"] == alpha)
        & (rows["arch"] == arch)
    ].itertuples()
    return found.mean, found.std


def test_numbers_stand_where_the_paper_has_them():
    table1 = dict(row="QG-DSGDm-N", network="social32", alpha=0.1)
    assert number("table1", **table1) == (85.19, 0.98)
    assert number("table2", row="DSGD (w/ GT)", network="ring16", alpha=1) == (87.36, 0.40)
    row = "DSGDm-N + local gradients (ring), ring16"
    assert number("table5", row=row, network="16 clients", alpha=0.1) == (78.58, 4.12)
    row = "QG-DSGDm-N, onepeer-exponential16"
    found = number("table4", row=row, network="16 clients", alpha=0.1, arch="ResNet-EvoNorm-18")
    assert found == (61.44, 0.20)


def test_the_centralized_number_is_there_for_every_alpha_of_its_network():
    rows = published("table1").rows
    rows = rows[(rows["row"] == CENTRALIZED) & (rows["arch"] == "ResNet-EvoNorm-20")]
    ring, social = (rows[rows["network"] == network] for network in ("ring16", "social32"))
    assert sorted(ring["alpha"]) == sorted(social["alpha"]) == [0.1, 1, 10]
    assert set(ring["mean"]) == {92.18}
    assert set(social["mean"]) == {91.92}


@pytest.mark.parametrize("name", TABLES)
def test_every_method_of_the_paper_is_one_of_ours(name):
    for method in published(name).rows["method"]:
        settings = METHODS[method]
        params = ALGORITHMS[settings["algorithm"]].params.__dataclass_fields__
        assert {key.partition(".")[2] for key in settings if "." in key} <= set(params)
        assert method_of(settings) == method


@pytest.mark.parametrize("name", TABLES)
def test_every_cell_is_there_once(name):
    rows = published(name).rows
    assert not rows.duplicated(["dataset", "arch", "row", "network", "alpha"]).any()
    assert rows[["row", "network", "alpha"]].notna().all(axis=None)


def test_more_settings_than_the_methods_own_do_not_matter():
    settings = {"algorithm": "dsgdm-sync", "algorithm.beta": 0.9, "algorithm.nesterov": True}
    settings |= {"algorithm.what": "gradient", "algorithm.over": "gossip", "lr": 0.1}
    assert method_of(settings) == "DSGDm-N + local gradients (ring)"
    assert method_of(settings | {"algorithm": "edm"}) is None


def test_our_models_stand_beside_their_own_architecture_and_others_beside_the_chosen_one():
    table = published("table1")
    assert set(table.beside("cifar10", "vgg11-half")["arch"]) == {"VGG-11 (no norm, width 1/2)"}
    assert set(table.beside("digits", "mlp")["arch"]) == {"ResNet-EvoNorm-20"}
    chosen = published("table1:ResNet-GN-20").beside("digits", "mlp")
    assert set(chosen["arch"]) == {"ResNet-GN-20"}


def test_the_same_scale_is_data_model_and_epochs():
    rows = published("table1").beside("cifar10", "resnet20-evonorm-official")
    assert same_scale(rows, "cifar10", "resnet20-evonorm-official", 300)
    assert not same_scale(rows, "cifar10", "resnet20-evonorm-official", 30)
    assert not same_scale(rows, "cifar10", "patch-cnn", 300)
    assert not same_scale(rows, "digits", "resnet20-evonorm", 300)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("table9", "unknown table 'table9' of the paper; did you mean table"),
        ("table1:ResNet-GN", "no architecture 'ResNet-GN'; did you mean ResNet-GN-20"),
    ],
)
def test_what_the_paper_does_not_have_is_refused(name, text):
    with pytest.raises(ConfigError, match=text):
        published(name)


def test_a_cell_that_did_not_converge_has_no_number():
    rows = published("table3").rows
    lost = rows[rows["mean"].isna()]
    assert lost[["arch", "row", "alpha"]].to_numpy().tolist() == [
        ["ResNet-GN-20-x2", "DSGDm-N", 0.1]
    ]
    assert pd.isna(lost["std"]).all()
