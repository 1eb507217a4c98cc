"""The setting in a sentence."""

import numpy as np
from pages import algorithm

from p2pqg.page.runs import gather
from p2pqg.page.seeds import by_setting
from p2pqg.page.words import heading, sentence

PLACE = "16 clients on the network ring16 learn digits with the model mlp, each from its own shard"


def test_one_run_is_told_with_all_that_it_is(recorded):
    shown = gather([recorded("a", batch_size=32).path])
    rest = "; the algorithm is dsgd, 10 rounds, batches of 32, lr 0.1, seed 1."
    assert sentence(shown, [None]) == f"{PLACE} (qg-dirichlet, alpha 0.1){rest}"
    counts = np.array([[98, 1, 1], [995, 4, 1]])  # two hardly have more than one class
    split = "(qg-dirichlet, alpha 0.1, 1.0 of 3 classes per client)"
    assert sentence(shown, [counts]) == f"{PLACE} {split}{rest}"
    assert heading(shown, ["dsgd"]) == "dsgd on ring16"


def test_several_runs_are_told_with_what_they_have_in_common_and_what_not(recorded):
    runs = [recorded(f"{lr}", batch_size=32, lr=lr, rows=rows) for lr, rows in ((0.1, 4), (0.2, 8))]
    shown = gather([run.path for run in runs])
    assert sentence(shown, [None, None]) == (
        f"2 runs: {PLACE} (qg-dirichlet, alpha 0.1); batches of 32, seed 1. They differ in lr."
    )
    assert heading(shown, ["lr 0.1", "lr 0.2"]) == "lr 0.1 and lr 0.2 on ring16"


def test_seeds_are_counted_by_their_settings(recorded):
    runs = [
        recorded(f"{name}-{seed}", batch_size=32, seed=seed, **algorithm(name))
        for name in ("dsgd", "dsgdm")
        for seed in (3, 4)
    ]
    shown = by_setting(gather([run.path for run in runs]))
    counts = np.array([[1, 1]])
    assert sentence(shown, [counts, counts]) == (
        f"4 runs of 2 settings: {PLACE} (qg-dirichlet, alpha 0.1, 2.0 of 2 classes per client); "
        "10 rounds, batches of 32, lr 0.1, seeds 3 and 4. They differ in algorithm."
    )
    labels = ["a name of more than 24 letters", "dsgdm"]
    assert heading(shown, labels) == "2 settings compared on ring16"
    assert heading(shown[0].members, labels) == "2 runs compared on ring16"
