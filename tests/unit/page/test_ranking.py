"""Clients from the least to the most."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd

from p2pqg.network import Network
from p2pqg.page.charts import SIZE
from p2pqg.page.ranking import by_accuracy, by_steps
from p2pqg.page.runs import gather, labels
from p2pqg.topology import build


def test_dots_of_runs_that_are_alike_do_not_cover_each_other(recorded):
    shown = gather([recorded("a", lr=0.1).path, recorded("b", lr=0.2).path])
    paths = [dot.path for dot in by_accuracy(shown, labels(shown)).dots]
    assert len(set(paths)) == len(paths) == 32


def stood(**columns):
    """All that is asked of a run: its clients at the last evaluation, which is that of its end."""
    frame = pd.DataFrame(columns).rename_axis("client").reset_index()
    return SimpleNamespace(last_clients=frame, age_of_clients="")


def places(dots):
    """Where dots are, [dots, 2]: shares of the box, from the left and from the bottom."""
    spots = np.array([re.fullmatch(r"M(\d+) (\d+)h0", dot.path).groups() for dot in dots], float)
    return np.stack([spots[:, 0] / SIZE, 1 - spots[:, 1] / SIZE], axis=1)


def test_clients_stand_from_the_least_to_the_most_each_run_over_the_whole_width():
    runs = [stood(test_accuracy=[0.5, 0.1, 0.3]), stood(test_accuracy=[math.nan, 0.4])]
    found = by_accuracy(runs, ["a", "b"])
    assert [dot.about for dot in found.dots] == [
        "a, client 1: 10.00 %",
        "a, client 2: 30.00 %",
        "a, client 0: 50.00 %",
        "b, client 1: 40.00 %",
    ]
    assert [dot.run for dot in found.dots] == [0, 0, 0, 1]
    # The k-th of n at (k + 1/3) / n, those of the second run at (k + 2/3) / n; 10 % to 50 %.
    wanted = [[1 / 9, 0], [4 / 9, 0.5], [7 / 9, 1], [2 / 3, 0.75]]
    np.testing.assert_allclose(places(found.dots), wanted, atol=1 / SIZE)
    assert found.about == (
        "Clients' final accuracies, sorted. a: 10.00 % to 50.00 %; b: 40.00 % to 40.00 %."
    )
    assert [(tick.at, tick.text) for tick in found.y_ticks][::4] == [(0, "10"), (100, "50")]


def test_steps_are_counted_from_none_and_a_run_whose_clients_wait_has_no_dots():
    runs = [stood(test_accuracy=[0.5, 0.6]), stood(test_accuracy=[0.5, 0.6], steps=[4, 1])]
    found = by_steps(runs, ["a", "b"], [None, Network(build("florentine15"))])
    assert [dot.about for dot in found.dots] == [
        "b, client Medici: 1 step",
        "b, client Acciaiuoli: 4 steps",
    ]
    np.testing.assert_allclose(places(found.dots)[:, 1], [0.25, 1], atol=1 / SIZE)
    assert found.about == "Steps of every client, sorted. b: 1 step to 4 steps."
    assert by_steps(runs[:1], ["a"]) is None


def test_of_many_clients_the_least_the_most_and_some_between_have_dots(monkeypatch):
    monkeypatch.setattr("p2pqg.page.ranking.MOST_DOTS", 3)
    found = by_accuracy([stood(test_accuracy=[0.5, 0.4, 0.3, 0.2, 0.1])], ["a"])
    assert [dot.about[10] for dot in found.dots] == ["4", "2", "0"]
