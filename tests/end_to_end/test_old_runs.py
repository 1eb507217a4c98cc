"""Runs and checkpoints that version 0.1.0 wrote, before modules moved, go on as if nothing had."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import p2pqg
from p2pqg.cli import main
from p2pqg.recipe.learning import shards
from p2pqg.recipe.settings import read_config
from p2pqg.results.comparison import compare
from p2pqg.results.run import load
from p2pqg.running.single import resume, run

OLD = Path(__file__).parents[1] / "data" / "old-runs"
NAMES = ["local", "outage", "own", "control", "rays"]


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def models(run):
    newest = max((run.path / "checkpoints").iterdir())
    return load_file(newest / "state.safetensors")["rows.state.x"]


@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_goes_on_as_a_new_one_that_was_never_stopped(name, old, tmp_path, monkeypatch):
    monkeypatch.chdir(old / name / "files" if name == "own" else tmp_path)
    settings = load(old / name).config
    rounds = settings["rounds"] + 6
    on = {"engine": "local", "clients_per_actor": "auto"}
    begun = models(load(old / name))
    gone_on = resume(old / name, rounds=rounds, **on)
    whole = run(**settings | on | {"rounds": rounds, "out": str(tmp_path), "name": "whole"})
    np.testing.assert_allclose(models(gone_on), models(whole), rtol=0, atol=1e-6)
    again = run(**settings | on | {"out": str(tmp_path), "name": "again"})
    # Another packing, or a processor that rounds otherwise, and the old rounds had other bits.
    if np.array_equal(begun, models(again)):
        assert np.array_equal(models(gone_on), models(whole))
    else:
        np.testing.assert_allclose(begun, models(again), rtol=0, atol=1e-6)
    both = [one.rounds[["train_loss", "consensus_distance"]] for one in (gone_on, whole)]
    np.testing.assert_allclose(*(frame.tail(6).to_numpy() for frame in both), rtol=1e-5)


def test_old_runs_are_compared_and_reported(old, tmp_path):
    both = compare(old / "local", old / "outage", to_accuracy=0.5)
    assert both.table["test_accuracy"].notna().all()
    page = tmp_path / "page.html"
    main(
        ["report", *(str(old / name) for name in NAMES), "--out", str(page)], standalone_mode=False
    )
    assert all(f"{p2pqg.load(old / name).config['topology']}" in page.read_text() for name in NAMES)


@pytest.mark.parametrize("name", ["local", "own", "rays"])
def test_models_of_old_runs_come_out_as_they_were_tested(name, old):
    run = p2pqg.load(old / name)
    arrays, _ = shards(read_config(run.config))
    inputs, targets = torch.tensor(arrays.test_x), torch.tensor(arrays.test_y)
    with torch.inference_mode():
        right = run.model("averaged")(inputs).argmax(1) == targets
    assert right.double().mean().item() == run.summary["averaged_model_accuracy"]
