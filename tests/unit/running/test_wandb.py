"""Weights & Biases has each row of a run once, also of one that was killed; offline."""

import pytest
from offline_wandb import records, rows
from toys import Dies, Notes

import p2pqg
from p2pqg.base.errors import StoppedError
from p2pqg.engine import driver
from p2pqg.running.wandb import Wandb

wandb = pytest.importorskip("wandb", reason="Weights & Biases is not installed: .[wandb]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

SETTINGS = {"topology": "ring4", "model": "logistic", "engine": "local", "eval_every": 2}


def losses(path):
    """Round -> training loss."""
    told = rows(path)
    assert len({row["_step"] for row in told}) == len(told)
    return {int(row["_step"]): float(row["train_loss"]) for row in told}


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_a_run_that_was_stopped_and_goes_on_has_each_row_once(tmp_path, monkeypatch):
    settings = {**SETTINGS, "record_every": 1, "rounds": 6, "out": str(tmp_path), "name": "a"}
    monkeypatch.setattr(Wandb, "__exit__", lambda *error: None)
    monkeypatch.setattr(driver, "SECONDS_PER_PORTION", 0)  # so that it is told of each row
    with pytest.raises(StoppedError):
        p2pqg.run(**settings, sinks=["wandb"], observer=Dies())
    monkeypatch.undo()
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # as at the end of a process
    known = (tmp_path / "a" / "wandb" / "id").read_text()
    run = p2pqg.resume(tmp_path / "a", sinks=["wandb"], rounds=8)
    wandb.teardown()
    frame = run.rounds
    assert losses(run.path) == dict(zip(frame["round"], frame["train_loss"], strict=True))
    (told,) = records(run.path, "run")
    assert (told.run_id, told.display_name, told.project) == (known, "a", "p2pqg")
    assert [one.exit_code for one in records(run.path, "exit")] == [0]


def test_seeds_are_a_group(tmp_path):
    runs = p2pqg.run(
        **SETTINGS, rounds=1, seed=[1, 2], out=str(tmp_path), name="two", sinks=["wandb"]
    )
    wandb.teardown()
    told = [next(records(run.path, "run")) for run in runs]
    assert [(one.run_group, one.display_name) for one in told] == [
        ("two", "two/seed1"),
        ("two", "two/seed2"),
    ]


@pytest.mark.parametrize(
    ("mode", "why"), [("", "nobody has logged in"), ("online", "cannot be re")]
)
def test_without_a_login_rows_are_kept_and_a_line_says_how_to_send_them(
    tmp_path, monkeypatch, mode, why
):
    monkeypatch.delenv("WANDB_MODE")
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    heard = Notes()
    run = p2pqg.run(**SETTINGS, rounds=2, out=str(tmp_path), sinks=["wandb"], observer=heard)
    wandb.teardown()
    assert len(losses(run.path)) == len(run.rounds)
    (line,) = heard.notes
    assert why in line
    assert line.endswith(f"`wandb sync {run.path.absolute()}/wandb/offline-run-*` sends them")
