"""Kernels that a round starts on a card: what its formulas say, however many clients there are.

Counted on a stand-in for a card; `tests/benchmarks/launches.py` prints what all algorithms take.
"""

import numpy as np
import pytest
from counted_launches import counted
from toys import TOY

from p2pqg.engine import middle

BATCHES = 3  # places of the samples in all shards, the samples, their labels
GRADIENT = 3 + 1 + 2  # models, samples and labels go in, a replay, losses and gradients come out
AROUND_IT = 2  # losses are kept, weight decay


@pytest.mark.parametrize(
    ("algorithm", "operations", "messages"),
    [
        ("dsgd", 2, 1),  # x - lr g
        ("dsgdm", 4, 1),  # beta m + g; x - lr m
        ("dsgdm-n", 6, 1),  # beta m + g; x - lr (g + beta m)
        ("d2", 6, 1),  # 2 x - x_before - lr (g - g_before)
        ("qg-dsgdm", 4 + 2 + 3 + 1, 1),  # the step, d, mu m + (1 - mu) d, t + 1
        ("qg-dsgdm-n", 6 + 2 + 3 + 1, 1),
        ("sgd", 2, 2),  # the mean is a sum and a division
        ({"name": "dsgd", "local_steps": 3}, 3 * 2, 1),
    ],
    ids=str,
)
def test_a_plain_round_starts_a_kernel_for_each_sign_of_its_formulas(
    algorithm, operations, messages
):
    steps = algorithm.get("local_steps", 1) if isinstance(algorithm, dict) else 1
    row = counted(4, **TOY, algorithm=algorithm)
    assert row.waits == 0
    assert row.launches == {
        "batches": steps * BATCHES,
        "gradient": steps * GRADIENT,
        "around it": steps * AROUND_IT,
        "algorithm": operations,
        "mixing": messages,
        "rest": 0,
    }, row.operations


def test_a_crop_is_found_from_what_is_there_already():
    of_samples = 1 + 1 + 1 + 1  # the corner, mirrored or not, the first row, the rows below it
    moved = 1 + 1  # black around it, its pixels
    normalised = 1 + 1  # as numbers, times a scale and shifted
    images = np.zeros((60, 6, 5, 3), np.uint8), np.arange(60) % 3
    data = {"dataset": {"data": images, "augmentation": "crop-flip"}, "alpha": None}
    row = counted(4, **TOY | data | {"model": "logistic"})
    assert row.launches["batches"] == BATCHES + of_samples + moved + normalised, row.operations


def liar(how):
    return {"attacks": [{"who": [0], "how": how}]}


@pytest.mark.parametrize(
    "settings",
    [
        {"rule": "median"},
        {"rule": "clipped"},
        {"rule": "trimmed-mean", **liar("alie")},
        {"impairments": {"loss": 0.2, "noise": 0.1, "participation": 0.7, "delay": 1}},
        {"algorithm": {"name": "choco-sgd", "compressor": "random-k"}},
        {"algorithm": "powergossip"},
    ],
    ids=str,
)
def test_more_clients_take_no_more_launches(settings):
    few, many = (counted(4, **TOY | {"topology": f"ring{n}"} | settings) for n in (8, 16))
    assert sum(few.launches.values()) == sum(many.launches.values())


@pytest.mark.parametrize("algorithm", ["powergossip", "qg-dadam"])
def test_nor_do_more_layers_of_one_shape(algorithm):
    few, many = (
        counted(4, **TOY | {"algorithm": algorithm, "model": {"name": "mlp", "hidden": [8] * n}})
        for n in (3, 6)
    )
    assert few.launches == many.launches


def test_vectors_of_length_one_are_no_matter_for_a_solver_that_a_card_calls_for_each_of_them():
    row = counted(2, **TOY, algorithm="powergossip")
    assert not [name for _, name in row.operations if "qr" in name]


def test_where_hundreds_compare_their_neighbors_a_card_sorts_them_at_once():
    row = counted(2, **TOY | {"topology": "complete12", "rule": "median"})
    assert row.launches["mixing"] <= 12
    assert row.waits == 0


def test_rows_that_a_card_compares_are_not_copied_one_by_one(monkeypatch):
    monkeypatch.setattr(middle, "SORTED_UP_TO", 0)
    row = counted(2, **TOY | {"topology": "complete12", "rule": "median"})
    assert row.operations["mixing", "clone"] <= 2  # the places, in each of two rounds
    assert row.operations["mixing", "index"] == 2


def test_what_time_has_passed_is_asked_of_a_card_once_for_many_waves():
    clock = {"compute": {"seconds": 1, "varies": "exponential"}}
    row = counted(2, **TOY | {"algorithm": "acid", "network": clock})
    waves = row.operations["mixing", "index_select"]
    assert row.operations["algorithm", "exp"] < waves / 2
