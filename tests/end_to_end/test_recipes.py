"""Every recipe that comes in tiers runs at its smallest, and shorter, in this process."""

import pytest
from click.testing import CliRunner

from p2pqg.base.config import load_yaml
from p2pqg.base.dotted import set_dotted
from p2pqg.base.shipped import shipped_folder
from p2pqg.cli import main
from p2pqg.recipe.tiers import at_tier
from p2pqg.results.cells import cells
from p2pqg.results.run_frames import read_runs
from p2pqg.running import sweep
from p2pqg.running.grid import read_sweep

RECIPES = [path for path in shipped_folder("runs").glob("*.yaml") if "tiers" in load_yaml(path)]
SHORTER = {"rounds": "rounds=15", "epochs": "epochs=3", "time": "time=6 s"}
"""Whatever ends the runs of a sweep: that long they learn something, and more proves no more."""


@pytest.mark.parametrize("path", sorted(RECIPES), ids=lambda path: path.stem)
def test_the_smoke_tier_runs_and_a_second_start_repeats_nothing(path, tmp_path, monkeypatch):
    values, name = at_tier(load_yaml(path), "smoke", path.stem), f"{path.stem}-smoke"
    sets = [text for key, text in SHORTER.items() if key in values and "sweep" in values]
    words = ["sweep", path.stem, "--tier", "smoke", "--out", str(tmp_path), "--jobs", "1"]
    ran = CliRunner().invoke(main, [*words, *(word for text in sets for word in ("--set", text))])
    assert ran.exit_code == 0, ran.output
    assert "failed" not in ran.stdout
    folder = tmp_path / name
    if "figure" in values:
        assert len(list(folder.glob("*.svg"))) == 1
    if "claim" in values:
        assert ", 95 % interval" in ran.stdout
    if "sweep" in values:
        runs = read_runs([folder])
        assert f"{len(runs)}/{len(runs)}  " in ran.stdout
        assert cells(runs)["mean"].between(0.15, 1).all()  # ten classes: better than chance
        set_dotted(values, *sets)
        monkeypatch.setattr(sweep, "carry_out", lambda *_: pytest.fail("a run is repeated"))
        again = read_sweep(values, name, str(tmp_path))
        assert len(again.points()) == len(runs)
        assert sweep.run_sweep(again, 1) == {}
