"""Runs with rows, and the page on some of them."""

import numpy as np
import pytest
from pages import Page

from p2pqg.page import write_page
from p2pqg.results.parquet import write_parquet
from p2pqg.results.run import Run
from p2pqg.results.schemas import CLIENT_COLUMNS, ROUND_COLUMNS


@pytest.fixture
def recorded(fake_run):
    """A run with rows: (name, rows=, clients=, evaluate=, columns=, last=, as of fake_run)."""

    def make(name, *, rows=10, clients=16, evaluate=2, columns=None, last=0.9, **settings):
        run = fake_run(name, last, **{"rounds_done": rows, "clients": clients} | settings)
        rounds, people = [], []
        for t in range(rows):
            row = {
                "round": t,
                "epoch": (t + 1) / 4,
                "lr": 0.1,
                "train_loss": 2.5 / (t + 1),
                "consensus_distance": 0.5 ** (t + 1),
                "bytes_sent": 200_000 * (t + 1),
                "wall_seconds": 2.0 + t / 8,
            }
            if (t + 1) % evaluate == 0 or t == rows - 1:
                mean = last * (t + 1) / rows
                spread = 0.05 * np.linspace(-1, 1, clients)
                row |= {
                    "test_accuracy": mean,
                    "test_accuracy_std": float(spread.std()),
                    "test_accuracy_min": mean - 0.05,
                    "averaged_model_accuracy": mean + 0.03,
                    "test_loss": 1.0,
                }
                people += [
                    {"round": t, "client": i, "test_accuracy": mean + spread[i], "num_samples": 9}
                    for i in range(clients)
                ]
            rounds.append(row)
        kept = {k: v for k, v in ROUND_COLUMNS.items() if columns is None or k in columns}
        write_parquet(run.path / "rounds.parquet", rounds, kept)
        write_parquet(run.path / "clients.parquet", people, CLIENT_COLUMNS)
        return Run(run.path)

    return make


@pytest.fixture
def page_of(tmp_path):
    def make(*runs):
        path = write_page([run.path for run in runs], tmp_path / "page.html")
        return Page(path.read_text(encoding="utf-8"))

    return make
