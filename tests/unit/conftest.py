"""Runs on disk that nobody ran: the numbers a test wants, in the files a run leaves."""

import json

import pytest
import yaml

from p2pqg.results.parquet import write_parquet
from p2pqg.results.run import Run
from p2pqg.results.schemas import CLIENT_COLUMNS, ROUND_COLUMNS


@pytest.fixture
def fake_run(tmp_path):
    """Make one: (name, accuracy, rounds_done=, failure=, folder=, keys of config.yaml)."""

    def make(name, accuracy=0.9, *, rounds_done=10, failure=None, folder=tmp_path, **settings):
        config = {
            "topology": "ring16",
            "clients": 16,
            "alpha": 0.1,
            "partition": {"name": "qg-dirichlet", "reslice": True},
            "algorithm": {"name": "dsgd"},
            "dataset": {"name": "digits"},
            "model": {"name": "mlp", "hidden": [64]},
            "epochs": None,
            "rounds": 10,
            "lr": 0.1,
            "seed": 1,
            "lr_schedule": {"scaling": "none", "milestones": []},
            "out": str(folder),
            "name": name,
        } | settings
        path = folder / name
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        summary = {
            "rounds": rounds_done,
            "test_accuracy": accuracy,
            "test_accuracy_std": 0.01,
            "averaged_model_accuracy": 0.95,
            "consensus_distance": 0.0123,
            "bytes_sent": 2_000_000,
            "gradients": rounds_done,
            "wall_seconds": 75.0,
            "startup_seconds": 2.0,
            "client_steps_per_second": 1234.0,
        }
        (path / "summary.json").write_text(json.dumps(summary))
        row = {"round": rounds_done - 1, "epoch": rounds_done / 4, "test_accuracy_min": 0.8}
        write_parquet(path / "rounds.parquet", [row], ROUND_COLUMNS)
        write_parquet(path / "clients.parquet", [], CLIENT_COLUMNS)
        if failure:
            (path / "failed.json").write_text(json.dumps({"message": failure}))
        return Run(path)

    return make
