"""The books of clients that do not wait, of steps and news that were made up."""

import numpy as np
import pytest

from p2pqg.engine.bookkeeping import Logbook
from p2pqg.engine.spec import Measurement, Report
from p2pqg.engine.waves.book import WaveBookkeeper
from p2pqg.engine.waves.journal import Journal
from p2pqg.network import Ledger


def test_a_row_tells_what_steps_and_news_since_the_last_one_say():
    steps = np.array([[1, 0, 2], [0, 0, 0], [3, 1, 0]])
    losses = np.array([[4.0, 9.0, 1.0], [9.0, 9.0, 9.0], [1.0, 5.0, 9.0]])  # 9: of who made none
    behind, age = np.arange(21.0), np.arange(21.0) / 4
    links = np.array([0]), np.array([1]), np.array([7])
    journal = Journal(0, np.array([1.0, 2.0, 3.5]), steps, behind, age, *links, 10.0)
    seen = Measurement(3, 5.0, 70.0, 0, np.zeros(3), gradients=4, alike=())
    book = WaveBookkeeper(lambda round: 0.1, 8.0, np.ones(3), 1, log=Logbook(ledger=Ledger()))
    book.record([Report(0, losses, [journal], [seen], [])])
    (row,) = book.log.rounds
    assert row["train_loss"] == pytest.approx(
        (6 / 3 + 8 / 4) / 2
    )  # each round: mean over its steps
    assert (row["sim_seconds"], row["epoch"]) == (3.5, 4 / 8)
    for unit, scale in (("", 1), ("_seconds", 1 / 4)):
        told = [row[f"staleness{unit}_{what}"] for what in ("mean", "95", "max")]
        assert told == [10 * scale, 19 * scale, 20 * scale]
    assert book.log.steps.tolist() == [4, 1, 2]
    assert book.taken_part == 7
    sent = book.log.ledger.arrays()
    assert (sent["bytes"].tolist(), sent["messages"].tolist()) == ([70], [7])
    later = journal._replace(first=3, seconds=np.array([4.0]), steps=np.array([[1, 1, 1]]))
    book.record([Report(3, losses[:1], [later], [seen._replace(round=4)], [])])
    assert book.log.steps.tolist() == [5, 2, 3]
    assert book.log.rounds[1]["train_loss"] == pytest.approx(14 / 3)  # of this round alone
