"""What a run came to, in lines."""

import json
from itertools import count

import pytest

from p2pqg.results.parquet import write_parquet
from p2pqg.results.run import load
from p2pqg.results.schemas import LIAR_COLUMNS, ROUND_COLUMNS
from p2pqg.running.told import outcome


@pytest.fixture
def told(fake_run):
    """The lines of a run: (rows=, keys of its summary)."""
    number = count()

    def make(rows=None, **summary):
        run = fake_run(f"run{next(number)}")
        if rows:
            write_parquet(run.path / "rounds.parquet", rows, ROUND_COLUMNS | LIAR_COLUMNS)
        (run.path / "summary.json").write_text(json.dumps(run.summary | summary))
        return outcome(load(run.path))

    return make


START = [
    ("test accuracy", "90.00 % ± 1.00 over clients, lowest 80.00 %"),
    ("averaged model", "95.00 %"),
]
END = [
    ("consensus distance", "0.0123"),
    ("sent", "2.0 MB"),
    ("time", "1 min 15 s, of it 2.0 s to the first round"),
    ("speed", "1,234 client-steps/s"),
]


def test_of_a_run_that_went_on_the_time_says_which_start_it_means(told):
    line = ("time", "1 min 15 s, of it 1 min 0 s before it went on, 2.0 s to its next round")
    assert line in told(seconds_before=60.0)


def test_a_run_comes_to_accuracies_costs_and_time(told):
    assert told() == START + END
    clock = [*END[:2], ("simulated time", "2 h 30 min")]
    assert told(sim_seconds=9000.0, stopped="test_accuracy >= 0.9") == (
        START + clock + [("stopped", "test_accuracy >= 0.9")] + END[2:]
    )


def test_steps_that_differ_and_how_old_the_news_was_stand_before_the_time(told):
    steps = {"least_steps": 1200, "most_steps": 3400, "staleness_mean": 1.25, "staleness_max": 7.0}
    text = "1,200 to 3,400 of a client; the news was 1.25 steps old on average, at most 7"
    assert told(**steps) == START + END[:2] + [("steps", text)] + END[2:]
    no_news = {"staleness_mean": None, "staleness_max": None}
    assert ("steps", "1,200 to 3,400 of a client") in told(**steps | no_news)


def test_the_honest_stand_behind_all_and_their_lowest_is_of_the_same_row(told):
    rows = [
        {"round": 0, "test_accuracy_min": 0.1, "honest_test_accuracy": 0.2}
        | {"honest_test_accuracy_min": 0.15},
        {"round": 9, "test_accuracy_min": 0.3, "honest_test_accuracy": 0.8}
        | {"honest_test_accuracy_min": 0.75},
    ]
    lines = told(rows)
    assert lines[0] == ("test accuracy", "90.00 % ± 1.00 over clients, lowest 30.00 %")
    assert lines[1] == ("of the honest", "80.00 %, lowest 75.00 %")
    assert lines[2:] == START[1:] + END


def test_numbers_are_never_just_right_and_have_a_loss(told):
    rows = [{"round": 4, "test_loss": 0.5}, {"round": 9, "test_loss": 0.25}]
    none = {"test_accuracy": None, "averaged_model_accuracy": None}
    assert told(rows, **none) == [("test loss", "0.25"), *END]
    rows[1] = {"round": 9, "train_loss": 0.1}  # a loss of the user's was no number there
    assert told(rows, evaluated_rounds=10, **none) == [("test loss", "-"), *END]


def test_what_was_measured_earlier_says_after_which_round(told):
    lines = dict(told(evaluated_rounds=6, recorded_rounds=8, sim_seconds=9.0))
    for what in ("test accuracy", "averaged model"):
        assert lines[what].endswith(", after round 6 of 10")
    for what in ("consensus distance", "sent", "simulated time"):
        assert lines[what].endswith(", after round 8 of 10")
    assert "after" not in lines["time"] + lines["speed"]
