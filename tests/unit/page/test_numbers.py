"""The page says what the files say, also where little or nothing was recorded."""

import re

import numpy as np
import pytest
from pages import algorithm

from p2pqg.page import charts
from p2pqg.page.runs import gather
from p2pqg.results.parquet import write_parquet
from p2pqg.results.schemas import ROUND_COLUMNS, TIMING_COLUMNS


def test_the_numbers_of_a_run_are_those_of_its_files(recorded, page_of):
    run = recorded("a")
    page = page_of(run)
    last = run.rounds.iloc[-1]
    for key in ("test_accuracy", "test_accuracy_std", "averaged_model_accuracy"):
        assert run.summary[key] in page.values
    for key in ("test_accuracy_min", "train_loss"):
        assert last[key] in page.values
    assert ({"value": "0.9"}, "90.00 %") in page.all("data")


def test_every_point_of_every_curve_is_one_that_was_recorded(recorded, page_of):
    runs = [recorded("a", **algorithm("dsgd")), recorded("b", last=0.7, **algorithm("dsgdm"))]
    points = page_of(*runs).data("points")
    for measure in ("test_accuracy", "train_loss", "consensus_distance"):
        for run, found in zip(runs, points[measure], strict=True):
            rows = run.rounds.dropna(subset=measure)
            assert found["round"] == (rows["round"] + 1).tolist()  # as all that is told: done
            assert found["bytes_sent"] == rows["bytes_sent"].tolist()
            np.testing.assert_allclose(found["wall_seconds"], rows["wall_seconds"], rtol=1e-5)
            np.testing.assert_allclose(found[measure], rows[measure], rtol=1e-5)


def test_every_client_is_told_with_its_own_accuracy(recorded, page_of):
    run = recorded("a")
    told = [text for _, text in page_of(run).all("title") if text.startswith("client ")]
    last = run.clients[run.clients["round"] == 9]
    assert len(told) == 16
    for text, accuracy in zip(told, last["test_accuracy"], strict=True):
        assert f"accuracy {100 * accuracy:.2f} %" in text


def test_clients_are_ranked_from_worst_to_best(recorded, page_of):
    page = page_of(recorded("a"))
    told = [text for _, text in page.all("title") if text.startswith("dsgd, client")]
    assert [int(re.search(r"client (\d+)", text)[1]) for text in told] == list(range(16))


def test_a_curve_ends_where_its_last_value_is(recorded):
    (shown,) = gather([recorded("a").path])
    from p2pqg.page.curves import ACCURACY, chart

    plot = chart([shown], ["a"], ACCURACY).plots[0]
    (line,) = [mark.path for mark in plot.marks if mark.kind == "line"]
    numbers = np.array(re.findall(r"-?\d+", line), dtype=float).reshape(-1, 2)
    x, y = numbers.sum(axis=0)  # a start and steps from point to point
    assert x == pytest.approx(charts.SIZE, abs=1)  # after ten rounds
    assert y == pytest.approx(charts.SIZE * (1 - plot.y.shares(0.9)), abs=1)


def test_a_run_of_one_row_is_a_page(recorded, page_of):
    page = page_of(recorded("a", rows=1, rounds=1))
    assert page.data("points")["train_loss"][0]["train_loss"] == [2.5]
    assert not page.notes


def test_a_run_that_was_never_evaluated_has_its_other_curves(recorded, page_of):
    run = recorded("a")
    rows = [{"round": t, "train_loss": 1.0, "consensus_distance": 0.0} for t in range(4)]
    write_parquet(run.path / "rounds.parquet", rows, ROUND_COLUMNS)
    (run.path / "clients.parquet").unlink()
    page = page_of(run)
    assert page.data("points")["test_accuracy"] == [{"round": [], "test_accuracy": []}]
    assert "not evaluated" in page.said
    assert not page.all("h2", id="h-clients")
    assert page.all("h2", id="h-curves")


@pytest.mark.parametrize(
    "gone", ["train_loss", "bytes_sent", "test_accuracy", "averaged_model_accuracy"]
)
def test_a_column_that_is_missing_takes_nothing_else_along(recorded, page_of, gone):
    run = recorded("a", columns=set(ROUND_COLUMNS) - {gone})
    points = page_of(run).data("points")
    for measure in {"test_accuracy", "train_loss", "consensus_distance"} - {gone}:
        assert points[measure][0]["round"]


def test_there_is_simulated_time_to_choose_where_a_clock_was_simulated(recorded, page_of):
    plain = recorded("a")
    assert not page_of(plain).all("input", id="by-sim_seconds")
    rows = [{"round": t, "train_loss": 1.0, "sim_seconds": 60.0 * t} for t in range(4)]
    write_parquet(plain.path / "rounds.parquet", rows, ROUND_COLUMNS | TIMING_COLUMNS)
    page = page_of(plain)
    assert page.all("input", id="by-sim_seconds")
    assert page.data("points")["train_loss"][0]["sim_seconds"] == [0, 60, 120, 180]
