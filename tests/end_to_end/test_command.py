"""`p2pqg run` as a user types it: results on disk, wrong input, Ctrl-C. Real processes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import ray
import yaml
from commands import run

from p2pqg.base.shipped import shipped_folder
from p2pqg.cli import main
from p2pqg.engine.on_ray import private_ray
from p2pqg.results.schemas import CLIENT_COLUMNS, ROUND_COLUMNS
from p2pqg.topology import build as build_topology

TOY = ["run", "--topology", "ring4", "--alpha", "1", "--rounds", "20", "--set", "model.hidden=[8]"]
LOCAL = [*TOY, "--engine", "local"]
SUMMARY = [
    "algorithm",
    "topology",
    "clients",
    "alpha",
    "dataset",
    "model",
    "seed",
    "rounds",
    "test_accuracy",
    "test_accuracy_std",
    "averaged_model_accuracy",
    "consensus_distance",
    "bytes_sent",
    "wall_seconds",
    "startup_seconds",
    "client_steps_per_second",
    "engine",
    "clients_per_actor",
    "actors",
    "device",
    "precision",
    "versions",
]


ON_RAY = """
import sys
from p2pqg.cli import main
main(standalone_mode=False)
print(sorted({"torch", "torchvision", "pandas"} & sys.modules.keys()))
"""


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """Where a run on Ray with one actor was, and what it had loaded: a process of its own."""
    folder = tmp_path_factory.mktemp("on-ray")
    command = [sys.executable, "-c", ON_RAY, *TOY, "--device", "cpu", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def exit_code(*words):
    """Of `p2pqg` in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, empty; for commands that must end before Ray starts, or any is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # whatever other tests started
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))
    monkeypatch.setattr(private_ray, "stop", lambda: None)  # it would end that one
    return tmp_path


def only_run(folder):
    (path,) = (folder / "runs" / "out").iterdir()
    return path


def processes_of(session):
    """Ids of living processes that were started with this mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"P2PQG_TEST={session}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_run_on_ray_leaves_its_results_under_the_current_folder(on_ray):
    path = only_run(on_ray[0])
    summary = json.loads((path / "summary.json").read_text())
    assert [key for key in summary if key in SUMMARY] == SUMMARY
    assert (summary["rounds"], summary["clients"], summary["engine"]) == (20, 4, "ray")
    rounds = pd.read_parquet(path / "rounds.parquet")
    assert list(rounds) == list(ROUND_COLUMNS)
    assert rounds["round"].tolist() == list(range(20))
    params = 64 * 8 + 8 + 8 * 10 + 10
    assert rounds["bytes_sent"].tolist() == [4 * 2 * params * 4 * (t + 1) for t in range(20)]
    clients = pd.read_parquet(path / "clients.parquet")
    assert list(clients) == list(CLIENT_COLUMNS)
    last = clients[clients["round"] == 19]
    assert last["test_accuracy"].mean() == pytest.approx(summary["test_accuracy"])


def test_with_one_actor_the_driver_needs_neither_torch_nor_pandas(on_ray):
    folder, loaded = on_ray
    assert json.loads((only_run(folder) / "summary.json").read_text())["actors"] == 1
    assert loaded == "[]\n"


def test_the_resolved_recipe_repeats_the_run(here, capsys):
    assert exit_code(*LOCAL, "--name", "first") == 0
    assert f"{here}/runs/out/first\n" in capsys.readouterr().out
    config = here / "runs" / "out" / "first" / "config.yaml"
    settings = yaml.safe_load(config.read_text()) | {"name": "second"}
    (here / "again.yaml").write_text(yaml.safe_dump(settings))
    assert exit_code("run", "again.yaml") == 0
    first, second = (
        pd.read_parquet(config.parent.parent / name / "rounds.parquet").drop(columns="wall_seconds")
        for name in ("first", "second")
    )
    assert first.equals(second)


def test_json_prints_the_summary_and_only_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = tmp_path / "told"
    assert run([*LOCAL, "--json"], told) == 0  # in a process of its own: all that it says is there
    assert json.loads(told.read_text())["rounds"] == 20


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--topology", "rnig4"], "unknown topology 'rnig4'; did you mean ring"),
        (["--topology", "torus7"], "torus"),
        (["--alpha", "-1"], "alpha must be > 0, got -1.0"),
        (["--algorithm", "qg-dsgd"], "did you mean qg-dsgdm"),
        (["--model", "resnet2"], "unknown model 'resnet2'"),
        (["--rounds", "many"], "rounds"),
        (["--lr", "0"], "lr must be > 0, got 0.0"),
        (["--topology", "ring2000"], "client"),
        (["--dataset", "cifar10", "--data-dir", "nowhere"], "nowhere"),
        (["--set", "algorithm.momentun=0.9"], "unknown key algorithm.momentun"),
        (["--set", "algorithm.beta=2"], "algorithm.beta must be in [0, 1), got 2.0"),
        (["--device", "cuda"], "no GPU"),
        (["--clients-per-actor", "9"], "clients_per_actor must be auto or in 1 .. 4, got 9"),
        (["--address", "127.0.0.1:9"], "no Ray cluster answers"),
        (["--out", "/proc/nowhere"], "out must be a folder that can be written"),
        (["no-such-recipe.yaml"], "no such recipe"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_clear_line_and_exit_code_2(here, capsys, words, complaint):
    with pytest.raises(SystemExit) as ended:
        main([*TOY[:-2], *words])
    assert ended.value.code == 2
    assert complaint in (message := capsys.readouterr().err)
    assert len(message.splitlines()) == 1
    assert not list(here.rglob("*.yaml"))


def test_a_failed_start_touches_nothing_of_the_users(here, capsys):
    mine = here / "runs" / "out" / "mine" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    with pytest.raises(SystemExit) as ended:
        main([*TOY, "--name", "mine", "--clients-per-actor", "9"])
    assert ended.value.code == 2
    assert "clients_per_actor must be" in capsys.readouterr().err
    assert mine.read_text() == "keep"


def test_all_problems_are_told_at_once(here, capsys):
    with pytest.raises(SystemExit):
        main([*TOY, "--topology", "rnig4", "--algorithm", "qg", "--model", "mpl"])
    message = capsys.readouterr().err
    for name in ("rnig4", "'qg'", "'mpl'"):
        assert name in message


def test_a_diverging_run_fails_with_its_round_and_keeps_its_rows(here, capsys):
    assert exit_code(*LOCAL, "--lr", "1e12", "--rounds", "200") == 1
    assert "has a non-finite loss" in capsys.readouterr().err
    assert (only_run(here) / "rounds.parquet").exists()


def test_ctrl_c_keeps_the_rows_and_leaves_no_process_behind(tmp_path):
    mark = f"{os.getpid()}-{time.time_ns()}"
    command = [
        sys.executable,
        "-m",
        "p2pqg.cli",
        *TOY,
        "--rounds",
        "1000000",
        "--record-every",
        "1",
    ]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"P2PQG_TEST": mark},
    )
    try:
        deadline = time.monotonic() + 90
        while not list(tmp_path.rglob("rounds.parquet")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(processes_of(mark)) > 2
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
        assert running.returncode == 1
        assert "stopped in round" in stderr
        assert "Traceback" not in stderr
        assert len(pd.read_parquet(only_run(tmp_path) / "rounds.parquet")) > 0
        deadline = time.monotonic() + 15
        while processes_of(mark) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert processes_of(mark) == []
    finally:  # whichever of these fails, nothing that was started here stays
        for process in processes_of(mark):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        running.wait()


@pytest.mark.parametrize(
    "path", sorted(shipped_folder("topologies").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_topology_loads(path):
    assert build_topology(path.stem).num_clients > 1


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
def test_a_run_of_a_service_without_standard_streams_goes_well(tmp_path):
    words = [sys.executable, "-m", "p2pqg", "run", "--engine", "local", "--topology", "ring4"]
    words += ["--rounds", "2", "--name", "service", "--out", str(tmp_path)]
    shell = f"exec {shlex.join(words)} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], timeout=120).returncode == 0
    assert (tmp_path / "service" / "summary.json").exists()
