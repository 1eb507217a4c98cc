"""Claims of the runs in a folder, of which some kept code of their own."""

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.results.claims import judge_folder, read_claims
from p2pqg.results.run_frames import export, runs_of


def test_a_folder_is_judged_by_its_own_recipe_and_exported_runs_alike(tmp_path, fake_run):
    claim = {"left": {"algorithm": "dsgd"}, "holds_if": {"above": 0.5}, "where": {"alpha": 0.1}}
    found = [fake_run(f"s{s}", 0.9, seed=s, folder=tmp_path / "sweep") for s in (1, 2, 3)]
    assert judge_folder(tmp_path / "sweep") == []
    export(runs_of(found), {"claim": claim}, tmp_path / "small")
    (small,) = judge_folder(tmp_path / "small")
    (whole,) = judge_folder(tmp_path / "sweep", read_claims(claim))
    assert small.result == whole.result == "holds"
    cost = read_claims(claim | {"metric": "client_steps_per_second", "holds_if": {"below": 2000}})
    assert judge_folder(tmp_path / "sweep", cost)[0].verdict == "holds"
    with pytest.raises(ConfigError, match="no column client_steps_per_second"):
        judge_folder(tmp_path / "small", cost)


def kept(fake_run, folder, name, accuracy, code="pace = 1", **settings):
    """A run that kept a file of the user's."""
    run = fake_run(name, accuracy, folder=folder, **settings)
    (run.path / "files").mkdir()
    (run.path / "files" / "mine.py").write_text(code)
    return run


def test_seeds_that_ran_with_code_edited_in_between_are_no_evidence(tmp_path, fake_run):
    claim = read_claims({"left": {"algorithm": "mine.py:own"}, "holds_if": {"above": 0.5}})
    own = {"algorithm": {"name": "mine.py:own"}}
    for seed in (1, 2, 3):
        kept(fake_run, tmp_path / "sweep", f"s{seed}", 0.9, seed=seed, **own)
    assert judge_folder(tmp_path / "sweep", claim)[0].verdict == "holds"
    (tmp_path / "sweep" / "s3" / "files" / "mine.py").write_text("pace = 2")
    with pytest.raises(
        ConfigError, match=r"left: runs with mine.py:own differ in mine.py \(edited"
    ):
        judge_folder(tmp_path / "sweep", claim)


def test_code_that_was_edited_between_the_sides_is_told(tmp_path, fake_run):
    claim = read_claims(
        {
            "left": {"algorithm": "mine.py:own"},
            "right": {"algorithm": "mine.py:rival"},
            "holds_if": {"above": 0},
        }
    )
    for seed in (1, 2, 3):
        for name, accuracy in (("own", 0.9), ("rival", 0.8)):
            one = {"algorithm": {"name": f"mine.py:{name}"}, "seed": seed}
            kept(fake_run, tmp_path / "sweep", f"{name}{seed}", accuracy, **one)
    (verdict,) = judge_folder(tmp_path / "sweep", claim)
    assert [one.about for one in verdict.findings] == [""]
    for seed in (1, 2, 3):
        (tmp_path / "sweep" / f"own{seed}" / "files" / "mine.py").write_text("pace = 2")
    (verdict,) = judge_folder(tmp_path / "sweep", claim)
    assert [one.about for one in verdict.findings] == ["mine.py was edited between its sides"]
    assert verdict.verdict == "holds"


def test_files_of_one_name_in_two_folders_are_two_files(tmp_path, fake_run):
    sides = {"left": {"algorithm": "a/mine.py:own"}, "right": {"algorithm": "b/mine.py:own"}}
    for seed in (1, 2, 3):
        for folder, accuracy in (("a", 0.9), ("b", 0.8)):
            one = {"algorithm": {"name": f"{folder}/mine.py:own"}, "seed": seed}
            kept(fake_run, tmp_path / "sweep", f"{folder}{seed}", accuracy, folder, **one)
    (verdict,) = judge_folder(tmp_path / "sweep", read_claims(sides | {"holds_if": {"above": 0}}))
    assert [one.about for one in verdict.findings] == [""]
