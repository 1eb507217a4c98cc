"""Tuning: what a recipe may say, equal budgets, and a study that goes on as if never stopped."""

import resource

import pytest
import yaml

import p2pqg
from p2pqg.base.errors import ConfigError, StoppedError, StorageError
from p2pqg.results.directory import RunDirectory
from p2pqg.running import tuning
from p2pqg.running.tuning import read_tuning, tune

RECIPE = {
    "topology": "ring4",
    "model": "logistic",
    "rounds": 2,
    "validation": 0.2,
    "algorithm": ["dsgd", "qg-dsgdm-n"],
    "seed": [1, 2],
    "trials": 3,
    "tune": {"lr": {"log": [0.001, 1]}, "batch_size": {"choose": [8, 16]}},
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tune": {"lr": [1, 0.1]}}, "tune.lr must be .* two numbers that rise"),
        ({"tune": {"lr": {"log": [0, 1]}}}, "two numbers that rise with 0 < low"),
        ({"tune": {"lr": 0.1}}, "tune.lr must be .*, got 0.1"),
        ({"tune": "lr"}, "tune must be keys with ranges"),
        ({"tune": {"lr": [-0.1, 1]}}, "lr must be > 0, got -0.1"),
        ({"tune": {"lrr": [0.1, 1]}}, "lrr"),
        ({"tune": {"lr": [0.1, float("inf")]}}, "tune.lr must be .* two numbers that rise"),
        ({"tune": {"lr": [0.1, 10**400]}}, "lr must be a number, got 1000"),
        ({"tune": {"batch_size": {"choose": [8, 0, 16]}}}, "batch_size must be >= 1, got 0"),
        ({"tune": {"seed": [1, 5]}}, "tune.seed: all trials have the same seeds"),
        ({"tune": {"algorithm": {"choose": ["dsgd"]}}}, "name the methods under algorithm"),
        ({"tune": {"name": {"choose": ["a"]}}}, "tune.name: trials are named by their number"),
        ({"trials": 0}, "trials must be an integer >= 1, got 0"),
        ({"algorithm": ["dsgd", "dsgd"]}, "algorithm must be different methods"),
        ({"sweep": {"lr": [0.1]}}, "is for `p2pqg sweep`"),
    ],
)
def test_what_cannot_be_tuned_is_told_before_anything_starts(changes, problem, tmp_path):
    with pytest.raises(ConfigError, match=problem):
        read_tuning(RECIPE | changes, "tuned", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_range_of_integers_stays_one():
    plan = read_tuning(RECIPE | {"tune": {"batch_size": [8, 32], "lr": [0.1, 1]}}, "tuned")
    assert plan.ranges == {"batch_size": ("int", [8, 32]), "lr": ("float", [0.1, 1])}


def test_every_method_has_equally_many_trials_and_a_stopped_study_goes_on_alike(
    tmp_path, monkeypatch
):
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    lines: list[str] = []
    plan = read_tuning(RECIPE, "whole", str(tmp_path))
    whole = tune(plan, lines.append)
    assert [line.split()[:2] for line in lines] == [
        [method, f"{number}/3"] for method in RECIPE["algorithm"] for number in (1, 2, 3)
    ]
    for best in whole:
        mine = [line for line in lines if line.startswith(f"{best.method} ")]
        told = [float(line.removesuffix(" (mean - deviation)").split()[-1]) for line in mine]
        found = best.runs.summary.loc["validation_accuracy"]
        assert found["mean"] - found["std"] == pytest.approx(max(told), abs=1e-4)
        recipe = yaml.safe_load((tmp_path / "whole" / best.method / "best.yaml").read_text())
        assert recipe["lr"] == best.values["lr"]

    fewer = read_tuning(RECIPE | {"trials": 1}, "whole", str(tmp_path))
    assert [best.runs.path.name for best in tune(fewer)] == ["trial0"] * 2  # of as many as said
    with RunDirectory.reopen(tmp_path / "whole") as other:
        other.reserve()
        with pytest.raises(ConfigError, match="whole is being written by another process"):
            tune(plan)

    once = tuning.run
    count = iter(range(100))

    def stopped_in_the_fifth(**settings):
        runs = once(**settings)
        if next(count) == 4:  # its runs are done, and the study does not know it
            raise StoppedError("stopped")
        return runs

    monkeypatch.setattr(tuning, "run", stopped_in_the_fifth)
    again = read_tuning(RECIPE, "stopped", str(tmp_path))
    with pytest.raises(StoppedError):
        tune(again)
    resumed = tune(again)
    assert next(count) == 6  # the fifth was not run again
    assert [best.values for best in resumed] == [best.values for best in whole]
    with pytest.raises(ConfigError, match="holds trials of other settings"):
        tune(read_tuning(RECIPE | {"rounds": 3}, "stopped", str(tmp_path)))

    record = tmp_path / "stopped" / "tune.yaml"
    written = yaml.safe_load(record.read_text())
    assert written.pop("by") == "mean minus deviation"
    record.write_text(yaml.dump(written))  # as versions wrote it that chose by the mean
    with pytest.raises(ConfigError, match="by the mean over seeds, .*; choose another --out"):
        tune(again)


def test_what_a_full_disk_left_of_a_line_of_the_study_is_no_end_of_it(tmp_path):
    optuna = pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    file, lines = tmp_path / "study.log", [{"op_code": code} for code in range(2)]
    journal = tuning._journal(file, optuna)
    journal.append_logs(lines[:1])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 5, hard))
    try:
        with pytest.raises(StorageError, match=r"study.log cannot be written \(.*; make room"):
            journal.append_logs(lines[1:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (lock := file.with_name("study.log.lock")).symlink_to(file)  # of one that was killed
    journal = tuning._journal(file, optuna)
    assert not lock.is_symlink()  # else it waits half a minute
    journal.append_logs(lines[1:])
    assert list(journal.read_logs(0)) == lines


def test_a_choice_that_cannot_be_built_is_told_before_any_trial(tmp_path):
    choices = {"topology": {"choose": ["ring4", "rign4", "torus4"]}}
    plan = read_tuning(RECIPE | {"tune": choices}, "tuned", str(tmp_path))
    with pytest.raises(ConfigError, match="^dsgd: .*'rign4'; did you mean ring"):
        tuning._check_trials(plan)
    assert list(tmp_path.iterdir()) == []


def test_trials_of_code_that_was_edited_since_are_refused(tmp_path):
    code = tmp_path / "net.py"
    code.write_text(
        "import p2pqg\n\n\ndef net(n, s):\n    return p2pqg.build_model('logistic', n, s)\n"
    )
    ranges = {"trials": 1, "tune": {"lr": [0.1, 0.2]}}
    recipe = RECIPE | ranges | {"model": f"{code}:net", "seed": 1}
    plan = read_tuning(recipe | {"algorithm": ["dsgd", "dsgdm-n"]}, "tuned", str(tmp_path))
    p2pqg.run(**plan.settings("dsgd", {"lr": 0.1}), out=str(plan.home("dsgd")), name="trial0")
    tuning._check_trials(plan)
    code.write_text(code.read_text() + "# edited\n")
    with pytest.raises(ConfigError, match="holds trials of other code .*net.py has changed since"):
        tuning._check_trials(plan)  # dsgd has all of them; they are compared with those to come
    tuning._check_trials(read_tuning(recipe | {"algorithm": "dsgd"}, "tuned", str(tmp_path)))


def test_a_study_that_others_began_meanwhile_is_left_to_them(tmp_path, monkeypatch):
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    folder, theirs = tmp_path / "tuned", "base: that of others"

    def meanwhile(plan):
        folder.mkdir()
        (folder / "tune.yaml").write_text(theirs)
        return []

    monkeypatch.setattr(tuning, "_check_trials", meanwhile)
    with pytest.raises(ConfigError, match="holds trials of other settings"):
        tune(read_tuning(RECIPE, "tuned", str(tmp_path)))
    assert (folder / "tune.yaml").read_text() == theirs


def test_trials_that_diverge_count_and_are_not_the_best(tmp_path):
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    far = RECIPE | {"algorithm": "dsgd", "rounds": 30, "trials": 1, "tune": {"lr": [1e37, 1e38]}}
    lines: list[str] = []
    (best,) = tune(read_tuning(far, "far", str(tmp_path)), lines.append)
    assert best.runs is None
    assert lines[0].endswith("diverged")
    assert tune(read_tuning(far, "far", str(tmp_path)), lines.append) == [best]
    assert len(lines) == 1


def test_a_study_of_one_seed_goes_on_whatever_it_was_chosen_by_since_one_has_no_deviation(tmp_path):
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    plan = read_tuning(RECIPE | {"seed": 1, "algorithm": "dsgd", "trials": 1}, "one", str(tmp_path))
    (best,) = tune(plan)
    record = tmp_path / "one" / "tune.yaml"
    written = yaml.safe_load(record.read_text())
    del written["by"]
    record.write_text(yaml.dump(written))
    assert [found.values for found in tune(plan)] == [best.values]
    assert yaml.safe_load(record.read_text())["by"] == "mean minus deviation"


def test_what_is_to_be_known_of_the_trials_is_told_once(tmp_path):
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    lines: list[str] = []
    ranges = {"lr": [0.1, 1], "lr_schedule": {"choose": [{"kind": "cosine"}, {"kind": "step"}]}}
    changes = {"alpha": 0.1, "partition": "iid", "trials": 2, "tune": ranges}
    tune(read_tuning(RECIPE | changes, "told", str(tmp_path)), lines.append)
    told = "alpha 0.1 is ignored: partition iid makes no use of it"
    assert [line for line in lines if line.startswith("note: ")] == [
        f"note: {method}: {told}" for method in RECIPE["algorithm"]
    ]


def test_seeds_in_processes_of_their_own_are_heard_too():
    lines: list[str] = []
    heard = tuning._Heard(lines.append)
    with heard.several() as screen:
        screen.begun("seed1", [("algorithm", "dsgd"), ("warning", "alpha is ignored")])
        screen.begun("seed2", [("warning", "alpha is ignored")])
        screen.noted("seed2", "an actor died")
    assert lines == ["alpha is ignored", "an actor died"]
