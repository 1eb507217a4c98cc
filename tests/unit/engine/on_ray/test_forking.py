"""Workers are forked where that gives the same process, and started as Ray does where not."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from p2pqg.engine.on_ray import _forked_worker, forking

pytestmark = pytest.mark.skipif(not forking.can_fork(), reason="another system than Linux")

SERVER = f"""
import sys
sys.path.insert(0, {str(forking.HERE)!r})
import _fork_server as server
server.IMPORTED = ("fractions",)  # of Ray and torch it would be the same, and take seconds
server.SECONDS = float(sys.argv[3])
server.serve(sys.argv[1], [sys.argv[2], *sys.path]).become()
"""

TELL = """
import json, os, sys
told = {
    "forked": "fractions" in sys.modules,
    "parent": os.getppid(),
    "leads": os.getpgid(0) == os.getpid(),
    "words": sys.argv,
    "environ": dict(os.environ),
    "folder": os.getcwd(),
    "path": sys.path[0],
    "main": __name__,
    "stdin": os.read(0, 1).decode(),
    "draw": __import__("numpy").random.randint(10**9),
}
with open(os.environ["TOLD"] + ".new", "w") as file:
    json.dump(told, file)
os.rename(file.name, os.environ["TOLD"])
"""

NOBODY = os.devnull
"""A path at which nobody listens."""

SETTINGS = {"RAY_JOB_ID": "01000000", "RAY_RAYLET_PID": "7"}


@pytest.fixture
def ray(tmp_path):
    """Files of Ray's that a worker runs: what comes last tells of itself."""
    (tmp_path / "ray").mkdir()
    last = tmp_path / "ray" / "default_worker.py"
    last.write_text(TELL)
    first = tmp_path / "ray" / "setup_worker.py"
    first.write_text("import os, sys\nos.execv(sys.executable, [sys.executable, *sys.argv[1:]])")
    return [sys.executable, str(first), str(last)]


@pytest.fixture
def server(tmp_path, request):
    """A process that can be forked; it ends when its pipe is closed."""
    patience = getattr(request, "param", 20)
    path = str(tmp_path / "forks")
    environment = {name: value for name, value in os.environ.items() if name[:4] != "RAY_"}
    environment |= {"RAY_RAYLET_PID": "7", "RAY_NODE_ID": "agents only"}
    command = [sys.executable, "-c", SERVER, path, str(tmp_path), str(patience)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        try:
            wait_for(lambda: os.path.exists(path))
            yield process, path
            process.stdin.close()
            assert process.wait(10) != 0  # the kernel ends it
        finally:
            process.kill()


def wait_for(happens):
    deadline = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started(path, command, folder, **variables):
    """What a worker tells that is started with these words and variables."""
    told = folder / "told"
    told.unlink(missing_ok=True)
    words = [sys.executable, "-IS", str(forking.WORKER), path, *command]
    subprocess.run(words, check=True, cwd=folder, env={"TOLD": str(told), **variables}, timeout=20)
    wait_for(told.exists)
    return json.loads(told.read_text())


def test_a_forked_worker_is_the_process_that_ray_would_have_started(server, ray, tmp_path):
    process, path = server
    variables = {**SETTINGS, "ONE": "\u00e9\udcff"}  # also what is no text
    words = [*ray, "--a=1 2", _forked_worker.LANGUAGE]
    forked = started(path, words, tmp_path, **variables)
    usual = started(NOBODY, [*ray, "--a=1 2"], tmp_path, **variables)
    assert forked["forked"]
    assert not usual["forked"]
    assert forked["parent"] == process.pid
    assert forked["leads"]
    assert forked["environ"]["ONE"] == variables["ONE"]
    for same in ("words", "environ", "folder", "path", "main", "stdin"):
        assert forked[same] == usual[same]


def test_workers_that_are_forked_draw_numbers_of_their_own(server, ray, tmp_path):
    words = [*ray, _forked_worker.LANGUAGE]
    tellings = [started(server[1], words, tmp_path, **SETTINGS) for _ in range(2)]
    assert [telling["forked"] for telling in tellings] == [True, True]
    assert len({telling["draw"] for telling in tellings}) == 2


@pytest.mark.parametrize("server", [0.5], indirect=True)
def test_who_asks_and_then_says_nothing_does_not_keep_the_others_waiting(server, ray, tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(20)
        silent.connect(server[1])
        assert silent.recv(1) == b"?"
        words = [*ray, _forked_worker.LANGUAGE]
        assert started(server[1], words, tmp_path, **SETTINGS)["forked"]


def test_other_settings_of_ray_than_those_that_were_read_are_not_forked(server, ray, tmp_path):
    words = [*ray, _forked_worker.LANGUAGE]
    for other in ({"RAY_JOB_ID": "02000000"}, {"RAY_RAYLET_PID": "8"}, {"RAY_more": "1"}):
        assert not started(server[1], words, tmp_path, **SETTINGS | other)["forked"]


def test_a_worker_with_an_environment_of_its_own_is_left_to_ray():
    python = ["python", "/ray/setup_worker.py", "/ray/default_worker.py", "--x"]
    language = _forked_worker.LANGUAGE
    plain = _forked_worker.plain
    assert plain([*python, language]) == ["/ray/default_worker.py", "--x"]
    assert plain([*python, "--serialized-runtime-env-context={}", language]) == []
    assert plain([*python, "--language=JAVA"]) == []
    assert plain(["python", "/ray/setup_worker.py", "-s", *python[2:], language]) == []


def test_where_nothing_can_be_imported_workers_start_as_usual(ray, tmp_path):
    path, words = str(tmp_path / "forks"), [*ray, _forked_worker.LANGUAGE]
    broken = SERVER.replace("fractions", "no_such_module")
    command = [sys.executable, "-c", broken, path, "", "20"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert not started(path, words, tmp_path, **SETTINGS)["forked"]
            assert server.poll() is None  # or Ray's node would end
        finally:
            server.kill()


def test_what_is_no_text_in_the_path_of_python_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", ["/a", tmp_path, "/b"])
    assert forking.server("/s").endswith(" /s/sockets/forks /a:/b")
