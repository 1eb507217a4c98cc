"""Somebody's Ray cluster: it is joined, or a line says why not; its claims are looked at."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import children

TOKEN = "0123456789abcdef" * 4

HEAD = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 2, "num_gpus": 2, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
print("at", cluster.address, flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


def python(code, **variables):
    """What a Python process prints; stdout and stderr."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | variables
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment
    )


class At(str):
    """An address, and the process that started what is there."""

    def __new__(cls, address, pid):
        at = super().__new__(cls, address)
        at.pid = pid
        return at


@pytest.fixture(scope="module")
def address():
    """A cluster of this machine that asks for a token, and claims two GPUs that it has not."""
    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with subprocess.Popen(
        [sys.executable, "-c", HEAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | with_token,
    ) as head:
        for line in head.stdout:
            if line.startswith("at "):
                yield At(line.split()[1], head.pid)
                break
        head.communicate("end\n", timeout=60)


JOIN = """
import sys, time
from p2pqg.base.errors import ConfigError
from p2pqg.engine.on_ray.cluster import Cluster
began = time.monotonic()
try:
    Cluster.at(sys.argv[1] if sys.argv[1:] else {address!r})
except ConfigError as error:
    print(error)
print(time.monotonic() - began)
"""


@pytest.mark.parametrize(
    ("at", "variables", "start"),
    [
        ("{}", {}, "address '{}': the Ray cluster asks for a token; set RAY_AUTH_MODE=token and"),
        ("auto", {"RAY_ADDRESS": "{}"}, "RAY_ADDRESS '{}': the Ray cluster asks for a token; set"),
        (
            "{}",
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64},
            "address '{}': the Ray cluster asks for another token; set",
        ),
    ],
    ids=["address", "RAY_ADDRESS", "another token"],
)
def test_a_cluster_that_wants_a_token_says_so_at_once(address, at, variables, start, tmp_path):
    variables = {name: value.format(address) for name, value in variables.items()}
    told = python(JOIN.format(address=at.format(address)), HOME=str(tmp_path), **variables)
    line, seconds = told.stdout.splitlines()
    assert line.startswith(start.format(address))
    assert "RAY_AUTH_TOKEN" in line
    assert float(seconds) < 2
    assert told.stderr == ""


RUN_THERE = """
import p2pqg
settings = dict(topology="ring4", rounds=2, address={address!r})
class Observer:
    def begin(self, simulation, path): print(simulation.device)
    def recorded(self, simulation): ...
    def noted(self, text): print(text)
    def end(self, run): print(run.summary["rounds"], run.summary.get("restarts"))
p2pqg.run(observer=Observer(), out={out!r}, **settings)
try:
    p2pqg.run(device="cuda", out={out!r}, **settings)
except p2pqg.ConfigError as error:
    print(error)
"""


def test_gpus_that_are_claimed_but_have_no_driver_are_not_used(address, tmp_path):
    if any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))):
        pytest.skip("this machine has a GPU driver")
    code = RUN_THERE.format(address=address, out=str(tmp_path))
    told = python(code, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    assert told.stdout.splitlines() == [
        "cpu",
        "the Ray cluster claims 2 GPUs; 0 of them have a driver",
        "2 None",
        "device must be auto or cpu here, got cuda: no GPU is visible",
    ], told.stderr
    assert told.stderr == ""


RUN_UNTIL_ITS_NODE_ENDS = """
import os, signal, warnings
import p2pqg, p2pqg.engine.on_ray.cluster
warnings.simplefilter("ignore", p2pqg.Notice)  # perhaps there is no checkpoint yet
class Observer:
    def begin(self, simulation, path): ...
    def recorded(self, simulation): os.kill({node}, signal.SIGKILL)
    def noted(self, text): ...
    def end(self, run): ...
settings = dict(topology="ring4", rounds=9999, address={address!r}, device="cpu", out={out!r})
settings |= dict(clients_per_actor=4)  # each actor takes seconds to start there
try:
    p2pqg.run(**settings, observer=Observer(), name="lost")
except p2pqg.ClusterError as error:
    print(error)
p2pqg.engine.on_ray.cluster.SECONDS_TO_BECOME_A_NODE = 0
try:
    p2pqg.resume({out!r} + "/lost")
except p2pqg.ConfigError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for a process as Linux tells it")
def test_who_loses_the_cluster_is_told_how_to_go_on_the_last_test_here(address, tmp_path):
    (node,) = (pid for pid in children(address.pid) if name_of(pid) == "raylet")
    code = RUN_UNTIL_ITS_NODE_ENDS.format(node=node, address=str(address), out=str(tmp_path))
    told = python(code, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    lost = tmp_path / "lost"
    assert told.stderr == ""
    died, again = told.stdout.splitlines()
    assert re.fullmatch(
        r"round \d+: the Ray cluster is gone \(Ray is gone: its node on this machine ended\); "
        rf"`p2pqg resume {lost}` goes on",
        died,
    )
    assert again.startswith(
        f"address '{address}': no node of that Ray cluster runs on this machine (one of another "
        "user or in a container serves only there); start one with "
        f"`ray start --address={address}`, or"
    )


def name_of(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()
