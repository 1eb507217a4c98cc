"""Every recipe that comes in tiers runs at its smallest, in this process."""

import pytest
from click.testing import CliRunner

from p2pqg.base.config import load_yaml
from p2pqg.base.shipped import shipped_folder
from p2pqg.cli import main
from p2pqg.recipe.tiers import at_tier
from p2pqg.results.cells import cells
from p2pqg.results.run_frames import read_runs

RECIPES = [path for path in shipped_folder("runs").glob("*.yaml") if "tiers" in load_yaml(path)]


@pytest.mark.parametrize("path", sorted(RECIPES), ids=lambda path: path.stem)
def test_the_smoke_tier_runs_and_a_second_start_repeats_nothing(path, tmp_path):
    words = ["sweep", path.stem, "--tier", "smoke", "--out", str(tmp_path), "--jobs", "1"]
    first = CliRunner().invoke(main, words)
    assert first.exit_code == 0, first.output
    assert "failed" not in first.stdout
    folder = tmp_path / f"{path.stem}-smoke"
    if "figure" in load_yaml(path):
        assert len(list(folder.glob("*.svg"))) == 1
    if "claim" in at_tier(load_yaml(path), "smoke", path.stem):
        assert ", 95 % interval" in first.stdout
    if (folder / "sweep.yaml").exists():
        runs = read_runs([folder])
        assert f"{len(runs)}/{len(runs)}  " in first.stdout
        assert cells(runs)["mean"].between(0.2, 1).all()  # ten classes: better than chance
        again = CliRunner().invoke(main, words)
        assert "/" not in again.stdout.partition("\n")[0]  # no line per run
