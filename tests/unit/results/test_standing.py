"""Where a run stands, where little of it was measured."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from p2pqg.results.directory import RunDirectory
from p2pqg.results.parquet import write_parquet
from p2pqg.results.run import Run
from p2pqg.results.schemas import ROUND_COLUMNS
from p2pqg.results.standing import Standing


@pytest.fixture
def standing(fake_run):
    """Of a run of three rounds: (rows of rounds.parquet, more columns of it, keys of summary)."""

    def make(rows, columns=(), **summary):
        run = fake_run("a", rounds_done=3)
        more = dict.fromkeys(columns, "float64")
        write_parquet(run.path / "rounds.parquet", rows, ROUND_COLUMNS | more)
        (run.path / "summary.json").write_text(json.dumps(run.summary | summary))
        return Standing.of(Run(run.path))

    return make


def test_what_was_never_evaluated_has_no_age_and_one_row_has(standing):
    one = standing([{"round": 0, "consensus_distance": 0.5}], test_accuracy=None)
    assert one.evaluated_rounds == 0
    assert one.age == "consensus and bytes after 1"
    one.summary["evaluated_rounds"] = 2  # that had no row
    assert one.evaluated_rounds == 2


def test_a_run_that_is_killed_while_a_page_shows_it_is_no_longer_going(standing):
    one = standing([{"round": 2}])
    with RunDirectory.reopen(one.path) as directory:
        directory.reserve()
        assert one.ending == "still going: 3 rounds of 10 so far"
    assert one.ending == "stopped after 3 rounds of 10"  # and no file has changed


def test_a_validation_that_was_not_measured_chooses_nothing(standing):
    rows = [{"round": t, "test_accuracy": share} for t, share in enumerate((0.2, 0.95, 0.9))]
    one = standing(rows, ["validation_accuracy"])
    assert one.results["best_accuracy"] == 0.95
    assert one.spread.empty


def test_what_is_undefined_at_the_end_of_a_run_is_not_what_it_was_before(standing):
    rows = [
        {"round": 0, "train_loss": 2.0, "test_accuracy": 0.4, "test_loss": 1.5, "f1": 0.3},
        {"round": 1, "train_loss": 1.0},
        {"round": 2, "train_loss": None, "test_accuracy": 0.6, "test_accuracy_min": 0.5},
    ]  # in the last round nobody took part, and the loss and F1 are no numbers
    told = {"test_accuracy": 0.6, "f1": None, "consensus_distance": 0.5}
    one = standing(rows, ["f1"], stopped="time", **told)
    keys = ("test_accuracy", "test_accuracy_min", "consensus_distance")
    assert [one.final[key] for key in keys] == [0.6, 0.5, 0.5] == [one.results[k] for k in keys]
    keys = ("f1", "test_loss", "train_loss")
    assert np.isnan([one.results["f1"], *(one.final[key] for key in keys)]).all()
    before = json.dumps(one.summary | {"stopped": None, "rounds": 2})  # of before the last row
    (one.path / "summary.json").write_text(before)
    broken_off = Standing.of(Run(one.path))
    assert [broken_off.final[key] for key in keys] == [0.3, 1.5, 1.0]
    rows = [rows[0] | {"test_accuracy_min": 0.3}, {"round": 2, "train_loss": 0.5}]
    write_parquet(one.path / "rounds.parquet", rows, ROUND_COLUMNS)
    (one.path / "summary.json").write_text(json.dumps(one.summary))
    final = Standing.of(Run(one.path)).final  # its last row has no evaluation
    assert (final["test_accuracy_min"], final["train_loss"]) == (0.3, 0.5)


def test_an_evaluation_may_have_a_metric_alone_and_what_was_spent_is_none(standing):
    rows = [{"round": 0, "test_loss": 1.0}, {"round": 1, "r2": 0.4}, {"round": 2, "epsilon": 3.0}]
    one = standing(rows, ["r2", "epsilon"])
    assert one.evaluated["rounds"].tolist() == [1, 2]


def test_a_part_may_be_a_name_alone(standing):
    one = standing([])
    one.config["model"] = "mlp"
    assert [one.part(key) for key in ("model", "algorithm", "dataset")] == ["mlp", "dsgd", "digits"]


def test_of_rounds_that_were_validated_the_best_one_chooses(standing):
    measured = [(0.95, None), (0.2, 0.5), (0.9, 0.4)]
    rows = [
        {"round": t, "test_accuracy": share, "validation_accuracy": held_out}
        for t, (share, held_out) in enumerate(measured)
    ]
    one = standing(rows, ["validation_accuracy"], evaluated_rounds=1)
    assert one.results["best_accuracy"] == 0.2
    assert one.evaluated_rounds == 3  # of the table; the summary may be of before a resume


def test_a_loss_grew_where_it_is_over_ten_times_the_first_one_or_a_hundredth(standing):
    run = standing([])
    for first, last, grew in (
        (2.0, 20.0, False),
        (2.0, 20.1, True),
        (1e-5, 0.0099, False),  # next to nothing, and still so
        (1e-5, 0.0101, True),
    ):
        one = replace(run, rounds=pd.DataFrame({"train_loss": [first, 50.0, last]}))
        assert bool(one.warning) is grew, (first, last)


def test_what_happened_is_told_in_its_order_restarts_among_it(standing):
    events = [{"round": 2, "what": what} for what in ("drop_links 0-1", "a warning of it")]
    restarts = ["round 1: actor 3 died", "an older version said no round"]
    one = standing([], events=events, restarts=restarts)
    assert one.events == [
        (0, "an older version said no round"),
        (1, "actor 3 died"),
        (2, "drop_links 0-1"),
        (2, "a warning of it"),
    ]


def test_clients_of_which_a_metric_is_unknown_are_in_the_spread(standing):
    rows = {
        "round": [0, 0, 1],
        "client": [0, 1, 0],
        "test_accuracy": [0.2, 0.6, None],
        "test_loss": [2.0, 1.0, None],
        "f1": [None, 0.5, 0.5],
    }
    one = replace(standing([]), clients=pd.DataFrame(rows))
    assert one.spread.loc[0].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert one.last_clients["client"].tolist() == [0, 1]
