"""`p2pqg resume`: whatever stopped a run, it goes on, and the results are those of one piece."""

import json
import resource
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pytest
from toys import DSGD, TOY, Notes

import p2pqg
from p2pqg.base import pieces
from p2pqg.base.errors import ConfigError, StoppedError, StorageError
from p2pqg.cli import main
from p2pqg.engine import driver
from p2pqg.results import checkpoint as checkpoints
from p2pqg.results.checkpoint import ARRAYS, HEADER, newest, read_checkpoint
from p2pqg.results.directory import RunDirectory
from p2pqg.results.run import Run
from p2pqg.running.single import resume, run
from p2pqg.running.writer import Writer
from p2pqg.simulation.moment import CHECKPOINTS

ROUNDS = 24
SETTINGS = TOY | {"rounds": ROUNDS, "eval_every": 8, "record_every": 1, "engine": "local"}
LONG = 2500
"""Rounds that take two seconds or so: long enough to be hit in the middle."""

EVERYTHING = {
    "algorithm": "qg-dadam",
    "impairments": {"delay": [0, 2], "loss": 0.1, "noise": 0.01},
    "network": {
        "links": {"class": "4g", "jitter": 0.1},
        "compute": {"seconds": 1, "varies": "lognormal"},
    },
    "scenario": [
        {"at": 4, "drop_links": ["0-1"]},
        {"at": 10, "drop_clients": [2]},
        {"at": "20 s", "set_lr": 0.02},
        {"at": 18, "restore_clients": {"how": "average"}},
    ],
}


class Watcher(Notes):
    """Does something, once, when so many rounds are recorded; keeps notes."""

    def __init__(self, *plan):
        super().__init__()
        self.plan = list(plan)

    def recorded(self, simulation):
        while self.plan and simulation.round >= self.plan[0][0]:
            self.plan.pop(0)[1]()


def ctrl_c(round):
    """A watcher who presses Ctrl-C."""
    return Watcher((round, lambda: signal.raise_signal(signal.SIGINT)))


def stop(path, round, **settings):
    """Stop a run after so many rounds, or one that goes on."""
    begin = partial(resume, path) if path.exists() else partial(run, **SETTINGS | settings)
    with pytest.raises(StoppedError):
        begin(observer=ctrl_c(round), name=None if path.exists() else path.name)


def command(*words):
    """The exit code of `p2pqg` in this process."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code


def numbers(found: Run):
    """All tables of a run but wall time, and the models at its end."""
    models = read_checkpoint(next(newest(found.path / CHECKPOINTS))).arrays["rows.state.x"]
    return found.rounds.drop(columns="wall_seconds"), found.clients, pd.DataFrame(models)


def assert_same(one: Run, other: Run):
    for a, b in zip(numbers(one), numbers(other), strict=True):
        assert a.equals(b)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, empty; runs report after every round."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "SECONDS_PER_PORTION", 0)
    return tmp_path


@pytest.fixture
def whole(here):
    """The run in one piece."""
    return run(**SETTINGS, name="whole")


@pytest.fixture
def stopped(here):
    """A run that was stopped twice: checkpoints after 5 and 15 rounds."""
    path = Path("runs/out/stopped")
    stop(path, 5)
    stop(path, 15)
    names = [checkpoint.name for checkpoint in newest(path / CHECKPOINTS)]
    assert names == ["round-000000015", "round-000000005"]
    return path


# Stopped, and resumed


def test_a_stopped_run_goes_on_by_the_command(stopped, whole, capsys):
    assert command("resume", stopped, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rounds"] == ROUNDS
    assert_same(Run(stopped), whole)
    assert Run(stopped).finished
    assert len(list(newest(stopped / CHECKPOINTS))) == 2


def test_ctrl_c_says_how_to_go_on(here):
    with pytest.raises(StoppedError, match=r"^stopped in round 5; `p2pqg resume runs/out/it` goes"):
        run(**SETTINGS, name="it", observer=ctrl_c(5))
    with pytest.raises(StoppedError, match=r"^stopped in round 5; results so far: runs/out/none"):
        run(**SETTINGS, name="none", checkpoint_every=0, observer=ctrl_c(5))


def test_ctrl_c_after_the_last_round_is_too_late_to_stop_anything(whole):
    assert_same(run(**SETTINGS, name="late", observer=ctrl_c(ROUNDS)), whole)
    assert Run(Path("runs/out/late")).finished


@pytest.mark.parametrize("moment", ["last_words", "close"])
def test_ctrl_c_while_another_one_is_answered_says_how_to_go_on_too(whole, moment, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Writer, moment, lambda log: signal.raise_signal(signal.SIGINT))
        with pytest.raises(StoppedError, match=r"p2pqg resume runs/out/it` goes on$"):
            run(**SETTINGS, name="it", observer=ctrl_c(5))
    assert_same(resume(Path("runs/out/it")), whole)


def gone():
    raise BrokenPipeError("nobody reads it any more")


def test_a_run_whose_reader_has_gone_can_be_resumed(whole):
    with pytest.raises(BrokenPipeError):
        run(**SETTINGS, name="it", observer=Watcher((5, gone)))
    assert Run(Path("runs/out/it")).summary["rounds"] == 5
    checkpoint = next(newest(Path("runs/out/it") / CHECKPOINTS))
    assert checkpoint.name == "round-000000005"
    assert_same(resume(Path("runs/out/it")), whole)


def test_many_stops_neither_lose_nor_double_a_row(here):
    one = run(**SETTINGS | EVERYTHING, name="one")
    path = Path("runs/out/often")
    for round in range(1, ROUNDS, 4):
        stop(path, round, **EVERYTHING)
    assert_same(resume(path), one)
    assert Run(path).rounds["round"].tolist() == list(range(ROUNDS))
    assert Run(path).summary["events"] == one.summary["events"]


def an_hour_more(clock):
    return clock() + 3600


def test_wall_time_goes_on_and_the_break_does_not_count(stopped, monkeypatch):
    before = Run(stopped).rounds["wall_seconds"].iloc[-1]
    for clock in ("time", "monotonic", "perf_counter"):  # an hour later
        monkeypatch.setattr(time, clock, partial(an_hour_more, getattr(time, clock)))
    seconds = resume(stopped).rounds["wall_seconds"].diff().iloc[15]
    assert 0 < seconds < 3600
    summary = Run(stopped).summary
    this_time = summary["wall_seconds"] - summary["seconds_before"]
    assert before <= summary["seconds_before"]
    assert summary["startup_seconds"] <= this_time < summary["wall_seconds"] - before + 1e-9


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings, path = (
        SETTINGS | {"rounds": LONG, "record_every": 20, "eval_every": 100},
        Path("runs/out/killed"),
    )
    Path("recipe.yaml").write_text(json.dumps(settings))
    words = ["run", "recipe.yaml", "--name", "killed", "--checkpoint-every", "0.1", "--quiet"]
    process = commands.started(words, tmp_path / "told")
    deadline = time.monotonic() + 120
    while not any(newest(path / CHECKPOINTS)) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert not (path / "summary.json").exists()
    with pytest.raises(ConfigError, match="`p2pqg resume runs/out/killed` goes on with it"):
        p2pqg.load(path)
    assert command("resume", path, "--quiet") == 0
    assert_same(Run(path), run(**settings, name="whole"))


def test_a_polite_kill_of_a_run_on_actors_is_a_ctrl_c(tmp_path, monkeypatch):
    """Ray has a handler of its own for SIGTERM, which would end the process without a word."""
    (tmp_path / "recipe.yaml").write_text(json.dumps(SETTINGS | {"engine": "ray", "rounds": 10**6}))
    monkeypatch.chdir(tmp_path)
    words = ["run", "recipe.yaml", "--name", "it", "--quiet"]
    process = commands.started(words, tmp_path / "told")
    path = tmp_path / "runs" / "out" / "it"
    deadline = time.monotonic() + 120
    while not (path / "rounds.parquet").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    process.join()
    assert process.exitcode == 1
    assert "`p2pqg resume runs/out/it` goes on" in (tmp_path / "told").read_text()
    assert read_checkpoint(next(newest(path / CHECKPOINTS))).header["round"] > 0


def test_a_run_killed_before_its_first_checkpoint_starts_again(stopped, whole):
    for checkpoint in newest(stopped / CHECKPOINTS):
        checkpoint.rename(checkpoint.with_name(f".{checkpoint.name}.draft-1"))
    (stopped / "summary.json").unlink()
    watcher = Watcher()
    assert_same(resume(stopped, observer=watcher), whole)
    assert watcher.notes == ["runs/out/stopped: no checkpoint yet; from the start"]


def test_a_run_killed_at_its_very_end_gets_its_results(whole):
    one = run(**SETTINGS, name="one")
    for name in ("summary.json", "rounds.parquet", "clients.parquet"):
        (one.path / name).unlink()
    assert command("resume", one.path, "--quiet") == 0
    assert_same(Run(one.path), whole)


@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "rounds.parquet"])
def test_what_a_cut_of_power_left_of_a_whole_run_is_written_again(whole, name):
    expected = numbers(whole)
    (whole.path / name).write_bytes(b"")
    again = resume(whole.path)
    assert again.finished
    for found, before in zip(numbers(again), expected, strict=True):
        assert found.equals(before)


def test_more_rounds_go_on_from_the_end(whole):
    longer = run(**SETTINGS | {"rounds": 40}, name="longer")
    assert command("resume", whole.path, "--quiet") == 2  # done already
    assert command("resume", whole.path, "--rounds", 40, "--quiet") == 0
    assert_same(Run(whole.path), longer)
    assert Run(whole.path).finished


@pytest.mark.parametrize("packing", [["--clients-per-actor", "4"], ["--clients-per-actor", "1"]])
def test_another_packing_gives_the_same_to_rounding(stopped, whole, packing):
    assert command("resume", stopped, "--quiet", *packing) == 0
    for a, b in zip(numbers(Run(stopped)), numbers(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# With the user's own files


@pytest.fixture
def own(here, monkeypatch):
    """Settings that name files of the user's: an algorithm with a neighbor, and a network."""
    Path("own.py").write_text("import near\n" + DSGD.replace("grad(s.x)", "near.twice(grad(s.x))"))
    Path("near.py").write_text("def twice(x):\n    return 2 * x\n")
    Path("net.csv").write_text("source,target\n0,1\n1,2\n2,3\n")
    monkeypatch.delitem(sys.modules, "near", raising=False)
    yield {"algorithm": "own.py:own_dsgd", "topology": "net.csv"}
    sys.modules.pop("near", None)


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_run_goes_on_with_its_own_copies_of_files_that_are_not_what_they_were(
    own, checkpoints, change
):
    whole, path = run(**SETTINGS | own, name="whole"), Path("runs/out/it")
    stop(path, 5, **own)
    for name in ("own.py", "near.py", "net.csv"):
        kept = (path / "files" / name).read_bytes()
        assert kept == Path(name).read_bytes()
        Path(name).write_text("nonsense") if change == "changed" else Path(name).unlink()
    sys.modules.pop("near")
    if not checkpoints:  # killed before its first one
        shutil.rmtree(path / CHECKPOINTS)
        (path / "summary.json").unlink()
    watcher = Watcher()
    assert_same(resume(path, observer=watcher), whole)
    ends = f"has {change} since the run began; its own copy is used"
    told = [line for line in watcher.notes if line.endswith(ends)]
    assert [line.partition(" ")[0] for line in told] == ["own.py", "net.csv"]
    assert Run(path).config["algorithm"] == whole.config["algorithm"]
    assert Run(path).config["topology"] == "net.csv"
    last = next(newest(path / CHECKPOINTS)) / "files"
    assert sorted(file.name for file in last.iterdir()) == ["near.py", "net.csv", "own.py"]


def test_a_run_whose_files_are_what_they_were_has_nothing_to_say(own):
    stop(Path("runs/out/it"), 5, **own)
    watcher = Watcher()
    resume(Path("runs/out/it"), observer=watcher)
    assert watcher.notes == []


def test_the_copies_outlast_the_checkpoint_that_a_run_goes_on_from(here):
    Path("chain.csv").write_text("source,target\n0,1\n1,2\n2,3\n")
    later = {"topology": "ring4", "scenario": [{"at": 15, "set_topology": "chain.csv"}]}
    path = Path("runs/out/it")
    stop(path, 5, **later)
    Path("chain.csv").unlink()
    with pytest.warns(UserWarning, match="chain.csv has gone since the run began"):
        sim = p2pqg.Simulation.restore(path)
    with sim:
        shutil.rmtree(path / CHECKPOINTS)  # as a run does, bit by bit, with the old ones
        sim.advance(ROUNDS - 5)
        assert sim.network.base.graph(0).number_of_edges() == 3


# Damage


def flip(path):
    content = bytearray((path / ARRAYS).read_bytes())
    content[len(content) // 2] ^= 1
    (path / ARRAYS).write_bytes(content)


DAMAGE = {
    "a flipped bit": (flip, "damaged checkpoint: state.safetensors"),
    "a cut": (lambda p: (p / ARRAYS).write_bytes(b"12345"), "damaged checkpoint"),
    "a lost file": (lambda p: (p / "rounds.parquet").unlink(), "rounds.parquet is missing"),
    "a lost header": (lambda p: (p / HEADER).unlink(), "checkpoint.json is missing"),
    "another file": (lambda p: (p / HEADER).write_text("{}"), "not a checkpoint of p2pqg"),
    "the future": (lambda p: (p / HEADER).write_text('{"format": 9}'), "of format 9"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_where_the_newest_checkpoint_is_damaged_the_one_before_is_used_and_it_is_said(
    stopped, whole, what
):
    damage, complaint = DAMAGE[what]
    damage(stopped / CHECKPOINTS / "round-000000015")
    watcher = Watcher()
    assert_same(resume(stopped, observer=watcher), whole)
    (note,) = watcher.notes
    assert complaint in note
    assert note.endswith("; using round-000000005")


def test_where_all_checkpoints_are_damaged_each_is_named_and_nothing_touched(stopped, capsys):
    for checkpoint in newest(stopped / CHECKPOINTS):
        flip(checkpoint)
    before = {path: path.stat().st_mtime_ns for path in stopped.rglob("*")}
    assert command("resume", stopped) == 2
    told = capsys.readouterr().err
    assert told.count("damaged checkpoint: state.safetensors is not what was written") == 2
    assert "Traceback" not in told
    assert before == {path: path.stat().st_mtime_ns for path in stopped.rglob("*")}


def limit_files(size):
    """No file may grow beyond so many bytes; -1: any size. Stands for a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_disk_that_is_full_for_a_while_is_told_and_nothing_is_lost(whole):
    watcher = Watcher((8, lambda: limit_files(40)), (16, lambda: limit_files(-1)))
    try:
        full = run(**SETTINGS, name="full", checkpoint_every=1e-9, observer=watcher)
    finally:
        limit_files(-1)
    assert_same(full, whole)
    assert watcher.notes == ["cannot write a checkpoint (File too large); going on"]
    assert "unsaved" not in full.summary  # the last one is there


def test_a_run_that_ends_on_a_full_disk_can_be_resumed_from_before(whole):
    path = Path("runs/out/full")
    try:
        told = r"cannot be written .*File too large.*`p2pqg resume \S+`"
        with pytest.raises(StorageError, match=told) as caught:
            run(
                **SETTINGS,
                name="full",
                checkpoint_every=1e-9,
                observer=Watcher((8, lambda: limit_files(40))),
            )
    finally:
        limit_files(-1)
    assert caught.value.results == path
    # What was on its way when the disk filled up may or may not have been saved.
    assert next(newest(path / CHECKPOINTS)).name <= "round-000000008"
    assert_same(resume(path), whole)


# Who may write where


def test_a_run_that_is_being_written_is_left_alone(stopped, capsys):
    with RunDirectory.reopen(stopped) as somebody:
        somebody.reserve()
        assert command("resume", stopped) == 2
        assert "is being written by another process" in capsys.readouterr().err
    assert command("resume", stopped, "--quiet") == 0


def test_an_older_checkpoint_does_not_overwrite_newer_rounds(stopped, whole, capsys):
    older = stopped / CHECKPOINTS / "round-000000005"
    rows = (stopped / "rounds.parquet").read_bytes()
    assert command("resume", older) == 2
    complaint = capsys.readouterr().err
    assert "has a newer checkpoint, round-000000015" in complaint
    assert len(complaint.splitlines()) == 1
    assert command("resume", older, "--name", "branch", "--quiet") == 0
    assert_same(Run(Path("runs/out/branch")), whole)
    assert (stopped / "rounds.parquet").read_bytes() == rows
    assert command("resume", older, "--name", "branch") == 2
    assert "already holds a run" in capsys.readouterr().err


def test_the_newest_checkpoint_is_as_good_as_its_run(stopped, whole):
    assert command("resume", stopped / CHECKPOINTS / "round-000000015", "--quiet") == 0
    assert_same(Run(stopped), whole)


def test_a_checkpoint_of_no_run_becomes_a_run_of_its_own(here, whole):
    with p2pqg.Simulation(**SETTINGS) as sim:
        sim.advance(5)
        sim.checkpoint("saved/here")
    files = sorted(Path("saved").rglob("*"))
    done = resume("saved/here")
    assert done.path.parent == Path("runs/out")
    assert done.path.name.startswith("here-")
    assert_same(done, whole)
    assert sorted(Path("saved").rglob("*")) == files


@pytest.mark.parametrize("every", [60, 0])
def test_a_branch_that_is_killed_before_its_first_checkpoint_goes_on_as_a_branch(here, every):
    """It began from the recipe: without what had been done to the network by then."""
    with p2pqg.Simulation(**SETTINGS) as sim:
        sim.advance(2)
        sim.drop_links(["0-1"])
        sim.checkpoint("saved")
        sim.finish()
        expected = sim.history.drop(columns="wall_seconds")

    class Killed(Notes):
        def begin(self, simulation, path):
            raise SystemExit

    with pytest.raises(SystemExit):
        resume("saved", name="branch", checkpoint_every=every, observer=Killed())
    with pytest.raises(ConfigError, match="already holds a run"):
        resume("saved", name="branch")
    (Path("runs/out/branch") / "config.yaml").unlink()  # killed a moment before it was written
    with pytest.raises(ConfigError, match="already holds a run"):
        run(**SETTINGS, name="branch")
    notes = Notes()
    done = resume("runs/out/branch", observer=notes)
    assert done.rounds.drop(columns="wall_seconds").equals(expected)
    assert (done.path / CHECKPOINTS).exists() == bool(every)
    assert any("older checkpoints go" in note for note in notes.notes) == (not every)


def test_what_would_make_it_another_run_cannot_change(stopped, capsys):
    with pytest.raises(ConfigError, match="^alpha cannot change in the middle of a run; fork it"):
        resume(stopped, alpha=1)
    assert command("resume", stopped, "--alpha", "1") == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["nowhere", "runs", "recipe.yaml"])
def test_where_there_is_no_run_it_says_so(here, capsys, path):
    Path("runs").mkdir()
    Path("recipe.yaml").touch()
    assert command("resume", path) == 2
    complaint = capsys.readouterr().err
    assert f"{path}: " in complaint
    assert len(complaint.splitlines()) == 1


# On actors


def assert_restored_on_actors(path, **settings):
    """Bit for bit on as many actors, and to rounding in this process."""
    settings = SETTINGS | {"engine": "ray", "clients_per_actor": 3} | settings
    with p2pqg.Simulation(**settings) as sim:
        sim.advance(11)
        sim.checkpoint(path)
        sim.advance(ROUNDS - 11)
        x, history, clients, events = sim.parameters(), sim.history, sim.clients, sim.events
    with p2pqg.Simulation.restore(path) as sim:
        sim.advance(ROUNDS - 11)
        assert (sim.parameters() == x).all()
        drop = "wall_seconds"
        assert sim.history.drop(columns=drop).equals(history.drop(columns=drop))
        assert sim.clients.equals(clients)
        assert sim.events == events
    with p2pqg.Simulation.restore(path, engine="local", clients_per_actor="auto") as sim:
        sim.advance(ROUNDS - 11)
        np.testing.assert_allclose(sim.parameters(), x, rtol=0, atol=1e-9)
        np.testing.assert_allclose(sim.history["train_loss"], history["train_loss"], atol=1e-9)


def test_restored_actors_go_on_bit_for_bit(cluster, tmp_path, monkeypatch):
    for place in (pieces, checkpoints):  # as large models are: piece by piece
        monkeypatch.setattr(place, "PIECE_BYTES", 1000)
    assert_restored_on_actors(tmp_path / "c", precision="float64", **EVERYTHING)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "d2", "topology": "torus6"},
        {"algorithm": "dsgd-gt"},
        {"algorithm": "slowmo"},
        {"algorithm": "choco-sgd"},
        {"algorithm": {"name": "choco-sgd", "compressor": "random-k"}},
        {"algorithm": "sgp", "topology": "onepeer-exponential6"},
        {"algorithm": "relay-sgd", "topology": "chain6"},
        {"algorithm": "qg-dsgdm-n", "consensus": {"targets": [1e-3]}},
        {
            "topology": "ring4",
            "clients_per_actor": 2,
            "batch_size": 2,
            "eval_every": 24,
            "model": "resnet20-bn",
            "dataset": {"name": "synthetic", "samples": 24, "image_side": 8, "classes": 3},
        },
    ],
    ids=lambda settings: str(settings.get("algorithm", "batch norm")),
)
def test_every_kind_of_algorithm_goes_on_bit_for_bit_on_actors(cluster, tmp_path, settings):
    assert_restored_on_actors(tmp_path / "c", precision="float64", **settings)
