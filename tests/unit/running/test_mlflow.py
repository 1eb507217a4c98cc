"""MLflow has each row of a run once, also of one that was killed; without a server."""

import pytest
from toys import Dies, Notes

import p2pqg
from p2pqg.base.errors import StoppedError
from p2pqg.engine import driver
from p2pqg.running.mlflow import MLflow

# At import: what it deprecates in itself and in what it needs.
pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = {"topology": "ring4", "model": "logistic", "engine": "local", "eval_every": 2}


@pytest.fixture(scope="module")
def mlflow():
    pytest.importorskip("sqlalchemy", reason="MLflow is not installed: .[mlflow]")
    return pytest.importorskip("mlflow", reason="MLflow is not installed: .[mlflow]")


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_a_run_that_was_killed_and_goes_on_has_each_row_once(mlflow, tmp_path, monkeypatch):
    settings = {**SETTINGS, "record_every": 1, "rounds": 6, "out": str(tmp_path), "name": "a"}
    monkeypatch.setattr(MLflow, "__exit__", lambda *error: None)
    monkeypatch.setattr(driver, "SECONDS_PER_PORTION", 0)  # so that it is told of each row
    with pytest.raises(StoppedError):
        p2pqg.run(**settings, sinks=["mlflow"], observer=Dies())
    monkeypatch.undo()
    run = p2pqg.resume(tmp_path / "a", sinks=["mlflow"], rounds=8)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_id = (run.path / "mlflow-run-id").read_text()
    for name in ("train_loss", "bytes_sent", "wall_seconds"):
        told = client.get_metric_history(run_id, name)
        assert [one.step for one in told] == list(range(8))
        if name != "wall_seconds":
            assert [one.value for one in told] == list(run.rounds[name])
    kept = client.get_run(run_id)
    assert (kept.info.run_name, kept.info.status) == ("a", "FINISHED")
    assert kept.data.params["topology"] == "ring4"
    assert kept.data.params["algorithm.beta"] == "0.9"
    two = p2pqg.run(
        **SETTINGS, rounds=1, seed=[1, 2], out=str(tmp_path), name="two", sinks=["mlflow"]
    )
    names = [client.get_run((one.path / "mlflow-run-id").read_text()).info.run_name for one in two]
    assert names == ["two/seed1", "two/seed2"]
    assert not (tmp_path / "two" / "mlflow.db").exists()


def test_a_database_without_room_stops_no_run(mlflow, tmp_path, monkeypatch):
    def full(**_):
        error = pytest.importorskip("sqlalchemy.exc").OperationalError
        raise error("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr(mlflow, "MlflowClient", full)
    heard = Notes()
    run = p2pqg.run(**SETTINGS, rounds=2, out=str(tmp_path), sinks=["mlflow"], observer=heard)
    assert len(run.rounds) == 2
    told = "cannot write to mlflow ((builtins.Exception) database or disk is full); going on"
    assert heard.notes == [told]


def test_a_store_that_cannot_be_reached_stops_no_run(mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    heard = Notes()
    run = p2pqg.run(**SETTINGS, rounds=2, out=str(tmp_path), sinks=["mlflow"], observer=heard)
    assert len(run.rounds) == 2
    assert len(heard.notes) == 1
    assert heard.notes[0].startswith("cannot write to mlflow (")
