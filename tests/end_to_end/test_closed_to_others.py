"""A Ray of our own is closed to the network and to other users, and leaves nothing behind."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import children, listening

RUN = """
import sys
import p2pqg
from p2pqg.engine.on_ray.cluster import Cluster
sim = p2pqg.Simulation(topology="ring4", rounds=99, clients_per_actor=2, device="cpu")
sim.advance(2)
print(Cluster.running._folder.path, flush=True)
sys.stdin.readline()  # and ends without a word
"""
LOOPBACK = ("127.0.0.1", "::ffff:127.0.0.1", "::1")


@contextmanager
def a_run(home):
    """A simulation with two actors that stands still; its folder, process id and sockets.

    The program closes nothing at its end.
    """
    home.mkdir()
    environment = os.environ | {"HOME": str(home)}
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        folder = Path(process.stdout.readline().strip())
        yield folder, process.pid, listening(children(process.pid))
        _, told = process.communicate("go on\n", timeout=60)
    assert (process.returncode, told) == (0, "")


def knock(ports, agents, files=(), token=None, as_nobody=False):
    wanted = {
        "grpc": ports,
        "http": agents,
        "files": [str(path) for path in files],
        "token": token,
        "as_nobody": as_nobody,
    }
    script = Path(__file__).parents[1] / "intruder.py"
    told = subprocess.run(
        [sys.executable, str(script)], input=json.dumps(wanted), capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are looked up in Linux's /proc")
def test_nobody_without_the_token_gets_an_answer_from_any_port_or_into_the_folder(tmp_path):
    home = tmp_path / "home"
    with a_run(home) as (folder, driver, sockets):
        assert {"gcs_server", "raylet"} <= {socket.name for socket in sockets}
        assert len(sockets) >= 7  # two of the raylet, gcs, agent, driver, two actors
        assert [socket for socket in sockets if socket.address not in LOOPBACK] == []

        session = next((folder / "r").glob("session_2*"))
        private = [folder, folder / "token", session, *(session / "sockets").iterdir()]
        assert len(private) >= 5  # at least two sockets
        agents = [s.port for s in sockets if s.name.startswith("python") and s.pid != driver]
        assert len(agents) == 1
        ports = [s.port for s in sockets if s.port not in agents]

        token = (folder / "token").read_text()
        admitted = knock(ports, [], token=token)["grpc"]
        for answers in admitted.values():  # so these are the calls that a port answers
            assert "answered" in answers.values()
            assert "refused" not in answers.values()

        am_root = os.geteuid() == 0
        for other in (None, "f" * 64):
            told = knock(ports, agents, private, other, as_nobody=am_root)
            for port, answers in told["grpc"].items():
                for call, answer in answers.items():
                    right = "unknown" if admitted[port][call] == "unknown" else "refused"
                    assert answer == right, (port, call)
            assert set(told["http"].values()) <= {401, 403}
            assert any(told["files"].values()) == (not am_root)
        assert knock([], agents, token=token)["http"] == {str(agents[0]): 200}
    assert not folder.exists()  # though nobody has closed the simulation
    assert list(home.rglob("*")) == []
