"""The words on the command line, what they become, and how the command ends."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import p2pqg
from p2pqg.algorithms.privacy import Privacy
from p2pqg.base.errors import DivergedError
from p2pqg.cli import main
from p2pqg.cli.listing import KINDS, known
from p2pqg.cli.program import FLAGS
from p2pqg.cli.running import merged
from p2pqg.recipe.settings import RunConfig


@pytest.fixture
def called(monkeypatch, fake_run):
    """What `run` hands to the simulation; the run itself is made up."""
    settings = {}

    def simulate(*, observer, sinks, jobs, started, **given):
        settings.update(given)
        return fake_run("made-up")

    monkeypatch.setattr("p2pqg.running.single.run", simulate)
    return settings


def command(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def recipe(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_every_setting_has_a_flag():
    settings = {f.name for f in dataclasses.fields(RunConfig)}
    nested = {"lr_schedule", "consensus", "network", "impairments", "attacks", "scenario"}
    nested |= {"privacy"}  # whose keys have flags of their own
    below = {f"privacy.{f.name}" for f in dataclasses.fields(Privacy)}
    assert set(FLAGS) - below == settings - nested - {
        "profile",
        "max_restarts",
        "eval_first",
        "planned_rounds",
        "planned_epochs",
        *(
            "loss",
            "metrics",
            "validation",
            "test",
            "personal",
            "stop",
            "callbacks",
            "attacks",
        ),
    }


def test_flags_override_the_recipe_and_set_overrides_flags(tmp_path, called):
    path = recipe(tmp_path, "lr: 0.1\nseed: 1\nbatch_size: 8\n")
    assert command("run", path, "--seed", 2, "--lr", 0.2, "--set", "lr=0.4").exit_code == 0
    assert called == {"lr": 0.4, "seed": "2", "batch_size": 8}


def test_a_flag_for_the_length_replaces_the_recipes_length(tmp_path, called):
    path = recipe(tmp_path, "epochs: 300\n")
    assert command("run", path, "--rounds", 10).exit_code == 0
    assert called == {"rounds": "10"}


def test_set_reaches_into_a_part_given_by_its_name(tmp_path, called):
    words = ["--algorithm", "dmsgd", "--set", "algorithm.mu=0.3"]
    assert command("run", *words).exit_code == 0
    assert called == {"algorithm": {"name": "dmsgd", "mu": 0.3}}


def test_flags_below_a_key_override_a_recipes_and_leave_its_others(tmp_path, called):
    path = recipe(tmp_path, "privacy: {clip: 2.0, delta: 1.0e-6}\n")
    assert command("run", path, "--privacy-clip", 1, "--privacy-sigma", 0.5).exit_code == 0
    assert called == {"privacy": {"clip": "1", "sigma": "0.5", "delta": 1e-6}}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--privacy-sigma", 1], "privacy.sigma 1.0 needs a clip"),
        (["--privacy-clip", 0], "privacy.clip must be > 0, got 0.0"),
        (["--privacy-clip", "much"], "privacy.clip must be a number"),
        (["--privacy-clip", "nan"], "privacy.clip must be > 0, got nan"),
        (["--privacy-clip", 1, "--privacy-sigma", -1], "privacy.sigma must be >= 0, got -1.0"),
        (["--privacy-clip", 1, "--privacy-delta", 1], "privacy.delta must be in (0, 1), got 1.0"),
    ],
)
def test_privacy_that_cannot_be_is_one_line(words, told):
    result = command("run", "--topology", "ring4", *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_json_prints_the_summary_and_nothing_else(called):
    result = command("run", "--json")
    assert json.loads(result.stdout)["test_accuracy"] == 0.9
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["run", "resume"])
def test_tensorboard_may_watch_silently_whatever_goes_on(monkeypatch, fake_run, name):
    watching = []

    def simulate(*_, observer, sinks, **__):
        watching.append((observer, sinks))
        return done

    done = fake_run("made-up")

    monkeypatch.setattr(f"p2pqg.running.single.{name}", simulate)
    words = [name, *(["somewhere"] if name == "resume" else [])]
    assert command(*words, "--tensorboard", "--quiet").output == ""
    assert command(*words, "--quiet").exit_code == 0
    assert watching == [(None, ["tensorboard"]), (None, [])]


def test_quiet_prints_nothing(called):
    assert command("run", "--quiet").output == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--rounds", "x"], "ConfigError: rounds must be an integer or nothing, got 'x'\n"),
        (["--epochs", 1, "--rounds", 1], "ConfigError: set one of epochs, rounds, steps, time"),
        (["--topology", "rign16"], "did you mean ring16?"),
        pytest.param(
            ["--model", "x" * 300 + "/y"],
            "xxx...: too long for the name of a file; shorten it",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 14), reason="says that there is no such file"
            ),
        ),
        (["--set", "lr"], "ConfigError: --set must be KEY=VALUE, got 'lr'"),
        (["nowhere.yaml"], "ConfigError: nowhere.yaml: no such recipe; shipped ones: "),
        (["digits-tabel"], "digits-tabel: no such recipe; did you mean digits-table?"),
        (["table6-cpu"], "table6-cpu: no such recipe; that is table6 with --tier cpu"),
        (["--rouns", 1], "No such option '--rouns'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, words, text):
    result = command("run", "--out", tmp_path, *words)
    assert result.exit_code == 2
    assert text in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_whose_files_are_left_in_its_folder_says_where_to_run_it(tmp_path, monkeypatch):
    home, place = tmp_path / "home", tmp_path / "place"
    (home / "pictures").mkdir(parents=True)
    place.mkdir()
    (home / "net.csv").write_text("source,target\n0,1\n")
    path = recipe(home, "topology: net.csv\ndataset: pictures\nmodel: own.py:net\nengine: local\n")
    monkeypatch.chdir(place)
    result = command("run", path)
    assert result.exit_code == 2
    assert result.stderr == (
        f"ConfigError: {path}: net.csv and pictures cannot be found from here, where paths begin, "
        f"but from the recipe's folder; run it there (cd {home})\n"
    )
    assert "net.csv" not in command("run", path, "--topology", "ring4").stderr
    grid = recipe(home, "topology: net.csv\nmodel: logistic\nsweep: {seed: [1]}\n")
    for verb in ("sweep", "tune"):
        assert "recipe.yaml: net.csv cannot be found from here" in command(verb, grid).stderr
    for text in (
        "sweep: {topology: [ring4, net.csv], lr: [0.1]}",
        "sweep: [{lr: [0.1]}, {topology: [net.csv]}]",
        "tune: {topology: {choose: [ring4, net.csv]}}",
    ):
        tried = recipe(home, f"model: logistic\n{text}\n")
        verb = text.partition(":")[0]
        assert "recipe.yaml: net.csv cannot be found from here" in command(verb, tried).stderr
    tried = recipe(home, "sweep: {dataset: [digits, pictures]}\n")
    assert "recipe.yaml: pictures cannot be found from here" in command("sweep", tried).stderr
    (home / "digits").mkdir()  # what is known by name needs no folder
    path = recipe(home, "topology: ring4\ndataset: digits\nmodel: mpl\n")
    assert "unknown model 'mpl'" in command("run", path).stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "text", "told"),
    [
        ("sweep", "sweep: {lr: [0.1, x]}", "{path}, lrx: lr must be a number, got 'x'"),
        ("sweep", "sweep: {lr: 0.1}", "{path}: sweep.lr must be a list of values, got 0.1"),
        ("sweep", "sweep: {lr: [0.1]}\nclaim: {a: 3}", "{path}: claim.a must be a mapping"),
        ("sweep", "figure: vally", "{path}: unknown figure 'vally'; did you mean valley?"),
        ("sweep", "sweep: {lr: [0.1]}\nname: 3", "{path}: name must be a text or nothing, got 3"),
        ("tune", "tune: {lr: 3}", "{path}: tune.lr must be [low, high]"),
        ("tune", "tune: {lr: [0.1, 1]}\nround: 3", "{path}: unknown key round"),
        ("run", "round: 3", "{path}: unknown key round"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told_with_its_file(tmp_path, verb, text, told):
    path = recipe(tmp_path, f"{text}\nout: {tmp_path}\n")
    result = command(verb, path)
    assert result.exit_code == 2
    assert f"ConfigError: {told.format(path=path)}" in result.stderr


def test_who_asks_for_the_doctor_is_told_what_it_is_called():
    result = command("doctor", "ring16")
    assert result.exit_code == 2
    assert "No such command 'doctor'. Did you mean 'topology'?" in result.output
    assert "Did you mean 'topology'?" in command("topologie").output  # click's own proposal


def test_errors_in_a_recipe_name_the_file(tmp_path):
    path = recipe(tmp_path, "alpha: -1\nlr: 0\n")
    result = command("run", path)
    assert result.stderr.splitlines()[0] == f"ConfigError: {path}: 2 problems"


@pytest.mark.parametrize("tier", ["full", "none"])
def test_a_recipe_is_run_at_the_tier_that_was_asked_for(tmp_path, called, tier):
    tiers = "{full: {rounds: 300, seed: 2}, none: {}}"
    path = recipe(tmp_path, f"rounds: 3\nsource: somewhere\ntiers: {tiers}\n")
    assert command("run", path, "--tier", tier).exit_code == 0
    assert called == ({"rounds": 300, "seed": 2} if tier == "full" else {"rounds": 3})


def test_without_a_tier_the_usual_one_is_run_and_said(tmp_path, called, monkeypatch):
    path = recipe(tmp_path, "tiers: {smoke: {takes: seconds}, cpu: {takes: an hour, rounds: 7}}\n")
    result = command("run", path)
    assert called == {"rounds": 7}
    assert result.stdout == "note: tier cpu (an hour); or --tier smoke (seconds)\n"
    assert command("run", path, "--quiet").stdout == ""
    done = []
    monkeypatch.setattr(
        "p2pqg.paper.figures.run_figure", lambda values, folder: done.append(folder)
    )
    path.write_text("figure: two-agents\n" + path.read_text())
    result = command("sweep", path, "--out", tmp_path)
    assert result.stdout.startswith("tier cpu (an hour); or --tier smoke (seconds)\n")
    assert done == [tmp_path / "recipe-cpu"]


def test_a_tier_needs_a_recipe():
    result = command("run", "--tier", "smoke")
    assert result.exit_code == 2
    assert "--tier smoke needs a recipe that comes in tiers" in result.stderr


def test_the_recipe_of_a_sweep_is_not_run(tmp_path):
    result = command("run", recipe(tmp_path, "sweep: {seed: [1]}\n"))
    assert result.exit_code == 2
    assert "is a sweep; use `p2pqg sweep" in result.stderr


def test_a_sweep_goes_where_its_recipe_and_tier_say_and_then_makes_its_figure(
    tmp_path, monkeypatch
):
    done = []
    monkeypatch.setattr(
        "p2pqg.running.sweep.run_sweep", lambda plan, *_, **__: done.append(plan.folder)
    )
    monkeypatch.setattr(
        "p2pqg.paper.figures.run_figure", lambda values, folder: done.append(folder)
    )
    only_figure = recipe(tmp_path, "figure: two-agents\ntiers: {smoke: {rounds: 3}}\n")
    words = ["--tier", "smoke", "--out", tmp_path, "--quiet"]
    assert command("sweep", only_figure, *words).exit_code == 0
    assert done == [tmp_path / "recipe-smoke"]
    both = recipe(tmp_path, "figure: network-size\nname: mine\nsweep: {seed: [1]}\n")
    assert command("sweep", both, "--out", tmp_path, "--quiet").exit_code == 0
    assert done[1:] == [tmp_path / "mine"] * 2


def test_a_recipe_that_is_no_sweep_is_not_swept(tmp_path):
    result = command("sweep", recipe(tmp_path, "lr: 0.1\n"))
    assert result.exit_code == 2
    assert "recipe.yaml is one run; use `p2pqg run " in result.stderr


def test_exported_runs_make_the_same_table(tmp_path, fake_run):
    for seed, accuracy in enumerate((0.7, 0.8, 0.9)):
        fake_run(f"s{seed}", accuracy, folder=tmp_path / "grid", seed=seed)
    (tmp_path / "grid" / "sweep.yaml").write_text("{paper: table1, data_dir: /mine, lr: 0.1}")
    exported = tmp_path / "small"
    before = command("table", tmp_path / "grid", "--export", exported)
    assert f"exported: {exported}" in before.stderr
    assert before.stdout == command("table", exported).stdout
    assert "[74.55 ± 2.07]" in before.stdout
    assert "/mine" not in (exported / "recipe.yaml").read_text()
    plain = command("table", exported, "--paper", "none").stdout
    assert "**80.00 ± 10.00**" in plain
    assert "74.55" not in plain


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DivergedError("round 4: ..."), "DivergedError: round 4: ..."),
        (KeyboardInterrupt(), "StoppedError: stopped"),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh (a bug in p2pqg"),
    ],
)
def test_a_run_that_fails_is_one_line_and_exit_code_1(monkeypatch, error, line):
    def simulate(**_):
        raise error

    monkeypatch.setattr("p2pqg.running.single.run", simulate)
    result = command("run", "--quiet")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(words):
    result = command(*words, "--alpha", -1)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "ConfigError: alpha must be > 0, got -1.0" in result.stderr


def test_compare_says_how_runs_differ(fake_run):
    a, b = fake_run("a", lr=0.1), fake_run("b", lr=0.2, accuracy=0.5)
    header, first, second = command("compare", a.path, b.path).stdout.splitlines()
    assert header.split()[:3] == ["lr", "rounds", "accuracy"]
    assert first.split()[:4] == ["0.1", "10", "90.00", "%"]
    assert second.split()[0] == "0.2"


def test_table_tabulates_what_is_below_a_directory_and_counts_what_is_not_done(tmp_path, fake_run):
    fake_run("a", 0.9)
    fake_run("b", 0.1, seed=2, rounds_done=3)
    killed = fake_run("c", 0.1, seed=3).path
    (killed / "summary.json").unlink()
    result = command("table", tmp_path)
    assert "**90.00**" in result.stdout
    assert result.stderr == "left out, since they did not finish: 2 runs\n"
    assert command("compare", tmp_path).stderr == f"skipped {killed}: it has no summary yet\n"
    assert command("table", tmp_path, "--format", "csv").stdout.startswith("dataset,model,method")


def test_a_directory_without_runs_is_wrong_input(tmp_path):
    assert command("table", tmp_path).exit_code == 2
    assert command("compare", tmp_path).exit_code == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_has_a_summary(kind):
    parts = list(known(kind))
    assert parts
    assert all(summary.endswith((".", "?")) for _, summary, _ in parts)


def test_reconstructions_are_said_to_be():
    lines = command("list", "algorithms").stdout.splitlines()
    (dmsgd,) = [line for line in lines if line.split()[0] == "dmsgd"]
    assert "reconstruction" in dmsgd


def test_networks_are_listed_as_they_are_typed():
    names = {name for name, _, _ in known("topologies")}
    assert {"ring<clients>", "social32", "hospitals12"} <= names


def test_help_loads_nothing_heavy():
    heavy = "{'torch', 'ray', 'pandas', 'rich', 'networkx'}"
    code = f"import sys, p2pqg.cli; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_flags_are_settings_whether_or_not_they_are_in_the_table():
    """--profile is not, and for a day it did nothing."""
    given = {"rounds": "3", "privacy_clip": "0.5", "profile": True, "clients": None}
    settings = merged(None, given, ())
    assert settings == {"rounds": "3", "privacy": {"clip": "0.5"}, "profile": True}


def test_another_network_brings_its_own_number_of_clients(tmp_path):
    path = recipe(tmp_path, "topology: social32\nclients: 32\n")
    settings = merged(str(path), {"topology": "ring16", "clients": None}, ())
    assert settings == {"topology": "ring16"}


def test_json_tells_the_summary_of_a_diverged_run_too_and_strictly(tmp_path):
    words = ["run", "--topology", "ring4", "--model", "logistic", "--lr", "1e30", "--rounds", "30"]
    result = command(*words, "--engine", "local", "--json", "--out", tmp_path)
    assert result.exit_code == 1
    assert "DivergedError" in result.stderr

    def refuse(constant):
        raise AssertionError(constant)

    summary = json.loads(result.stdout, parse_constant=refuse)
    assert summary["rounds"] < 30
    for file in tmp_path.rglob("*.json"):
        json.loads(file.read_text(), parse_constant=refuse)


def test_compare_report_and_table_take_whatever_lies_in_a_folder_of_results(tmp_path, fake_run):
    fake_run("a"), fake_run("b", lr=0.2), fake_run("c", folder=tmp_path / "sweep", lr=0.4)
    (tmp_path / "report.html").write_text("<p>")
    everything = sorted(tmp_path.iterdir())
    for words in (["compare"], ["table"], ["report", "--out", tmp_path / "page.html"]):
        result = command(*words, *everything)
        assert result.exit_code == 0, result.output
        assert result.stderr.splitlines() == [f"skipped {tmp_path / 'report.html'}: no run in it"]
    assert "sweep/c" in command("compare", *everything).stdout


@pytest.mark.parametrize(
    "name", ["rounds.parquet", "clients.parquet", "config.yaml", "summary.json"]
)
@pytest.mark.parametrize("words", ["compare", "report", "table"])
def test_a_file_that_is_cut_short_is_told_in_a_line(name, words, tmp_path, fake_run):
    run = fake_run("it")
    file = run.path / name
    file.write_bytes(file.read_bytes()[:-3])
    result = command(
        words, str(run.path), *(["--out", str(tmp_path / "x.html")] if words == "report" else [])
    )
    assert result.exit_code in (0, 2)
    assert "a bug" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_several_problems_are_told_at_once():
    result = command("run", "--alpha", "-1", "--lr", "x", "--rounds", "0", "--quiet")
    assert result.exit_code == 2
    assert "3 problems" in result.stderr
    for said in ("lr must be a number, got 'x'", "alpha must be > 0", "rounds must be >= 1"):
        assert said in result.stderr


@pytest.mark.parametrize("key", ["consensus", "lr_schedule", "impairments"])
@pytest.mark.parametrize("value", ["5", "[1]", "x"])
def test_a_key_with_keys_below_it_takes_nothing_else(key, value):
    result = command("run", "--set", f"{key}={value}")
    assert result.exit_code == 2
    assert f"{key} must be keys and values, got" in result.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nope: null", "unknown key nope"),
        *((f"{key}: ''", f"{key} must be a name") for key in ("model", "algorithm", "partition")),
    ],
)
def test_nothing_is_no_name_and_no_excuse_for_an_unknown_key(line, told, tmp_path):
    result = command("run", recipe(tmp_path, f"topology: ring4\nengine: local\n{line}\n"))
    assert result.exit_code == 2
    assert told in result.stderr


def test_the_recipe_in_a_run_directory_works_from_anywhere(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir(), elsewhere.mkdir()
    monkeypatch.chdir(here)
    (here / "net.csv").write_text("source,target\n0,1\n1,2\n2,3\n")
    words = ["--topology", "net.csv", "--model", "logistic", "--rounds", 3, "--engine", "local"]
    assert command("run", *words, "--out", tmp_path, "--name", "a", "--quiet").exit_code == 0
    (here / "net.csv").unlink()
    monkeypatch.chdir(elsewhere)
    again = ["run", tmp_path / "a" / "config.yaml", "--name", "b", "--quiet"]
    result = command(*again)
    assert result.exit_code == 0, result.stderr
    one, other = (p2pqg.load(tmp_path / name).rounds["train_loss"] for name in "ab")
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--address", ":"], "must be auto, none, HOST:PORT or ray://HOST:PORT, got ':'"),
        (["--out", ""], "out must be a folder, got ''; . is the one you are in"),
        (["--name", "a\tb"], r"name must be a plain folder name, got 'a\tb'"),
        (["--out", os.fsdecode(b"a\xff")], "out has bytes that are no UTF-8, got 'a\\udcff'; rena"),
        (["--address", "nobody"], "address must be"),
        (["--out", "x" * 300, "--engine", "local"], "out must be a folder that can be written"),
        (["--name", "y" * 300, "--engine", "local"], "out must be a folder that can be written"),
    ],
)
def test_places_that_cannot_be_are_told_in_one_line(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command("run", "--model", "logistic", "--topology", "ring4", *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.yaml"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["consensus", "ring8", "--draw", "x.foo"], "must end in .png, .svg, .pdf, got 'x.foo'"),
        (["consensus", "ring8", "--draw", "no/x.svg"], "no/x.svg cannot be written"),
        (["topology", "ring8", "--draw", "x"], "must end in .png, .svg, .pdf, got 'x'"),
        (["resume", "no"], "no: no such run directory"),
        (["topology", "stl-fw16"], "TopologyError: 'stl-fw16' looks at the clients' labels"),
    ],
)
def test_what_cannot_be_written_or_read_is_told_before_anything_else(words, told):
    result = command(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("key", ["name: ../x", "out: [a, b]", "name: [1]"])
def test_a_sweep_goes_to_one_plain_folder(key, tmp_path):
    path = recipe(tmp_path, f"topology: ring4\nrounds: 2\nsweep: {{lr: [0.1]}}\n{key}\n")
    result = command("sweep", path, "--quiet")
    assert result.exit_code == 2
    assert key.partition(":")[0] in result.stderr


def test_no_command_is_told_shortly():
    result = command()
    assert result.exit_code == 2
    assert len(result.output.splitlines()) <= 5


@pytest.fixture(scope="module")
def claims_listed():
    """Blocks of all claims, which take seconds."""
    result = command("claims")
    assert result.exit_code == 0
    return result.stdout.split("\n\n")


def test_claims_are_listed_with_what_their_results_say(claims_listed):
    (bias,) = [block for block in claims_listed if block.startswith("decentlam-bias")]
    assert "(Yuan et al., ICCV 2021, arXiv:2104.11981)" in bias
    assert "cpu takes a minute or two" in bias
    assert "  holds at tier cpu: DecentLaM's squared bias is DSGD's, to a thousandth." in bias


def test_a_recipe_is_listed_with_each_of_its_tiers_that_has_results(claims_listed):
    blocks = [block for block in claims_listed if block.startswith("decentlam-batch ")]
    assert len(blocks) == 2
    for block, tier in zip(blocks, ("cpu", "cifar10"), strict=True):
        assert block.count(f" at tier {tier}: ") == 4


def test_claims_without_results_are_not_run_and_a_table_has_a_row_for_each(tmp_path):
    result = command("claims", "--results", tmp_path, "--markdown")
    rows = result.stdout.splitlines()[2:]
    assert len(rows) > 10
    assert all(" | not run | " in row for row in rows)


def test_a_recipe_without_a_claim_is_not_judged(tmp_path):
    result = command("claims", recipe(tmp_path, "sweep: {seed: [1, 2]}\n"))
    assert result.exit_code == 2
    assert "makes no claim; state it under `claim:`" in result.stderr
    assert command("claims", "--results", tmp_path / "no").exit_code == 2


def test_a_sweep_with_a_claim_is_judged_and_a_wrong_claim_stops_it_before_it_starts(tmp_path):
    sweep = "{algorithm: [dsgd, dsgdm], seed: [1, 2], rounds: [2], topology: [ring4]}"
    claim = "{left: {algorithm: %s}, right: {algorithm: dsgdm}, holds_if: {below: 2}}"
    words = ["--out", tmp_path / "out", "--jobs", 1]
    wrong = command("sweep", recipe(tmp_path, f"sweep: {sweep}\nclaim: {claim % 'd2'}\n"), *words)
    assert wrong.exit_code == 2
    assert "claim: left: no run with d2; they have dsgd, dsgdm" in wrong.stderr
    assert not (tmp_path / "out").exists()
    result = command(
        "claims", recipe(tmp_path, f"sweep: {sweep}\nclaim: {claim % 'dsgd'}\n"), *words
    )
    assert result.exit_code == 0
    assert "\nHOLDS\n  test accuracy of dsgd - dsgdm, below 2\n" in result.stdout
    page = command("report", tmp_path / "out" / "recipe", "--out", tmp_path / "page.html")
    assert page.exit_code == 0
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<h3>holds: test accuracy of dsgd - dsgdm, below 2</h3>" in text
    assert "Means over 2 seeds, paired; 95% intervals by Student" in text
