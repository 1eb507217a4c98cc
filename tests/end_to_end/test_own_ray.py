"""A Ray of our own in threads, in poor places, and at its end: nothing of it stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest
import ray
from processes import children

from p2pqg.engine.on_ray.own_folder import OwnFolder

HAS_AGENTS_WITHOUT_PORTS = hasattr(ray._raylet, "persist_port")
"""Else the node of this version starts with its agents, and nobody stands in for one."""


def python(code, *words, **variables):
    """What a Python process of its own prints; it must end well and say nothing on stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | variables
    command = [sys.executable, "-c", code, *words]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (told.returncode, told.stderr) == (0, "")
    return told.stdout.splitlines()


THREADS = """
import sys
import threading
import p2pqg

def go(seed, rounds, engine):
    run = p2pqg.run(topology="ring4", rounds=rounds, seed=seed, engine=engine, out=sys.argv[1])
    accuracies[engine][seed] = run.summary["test_accuracy"]

accuracies = {"ray": {}, "local": {}}
threads = [threading.Thread(target=go, args=(s, r, "ray")) for s, r in [(0, 5), (1, 60), (2, 20)]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for seed, rounds in [(0, 5), (1, 60), (2, 20)]:
    go(seed, rounds, "local")
print(accuracies["ray"] == accuracies["local"], sorted(accuracies["ray"]))
print([thread.name for thread in threading.enumerate()])
"""


def test_runs_in_threads_share_one_ray_that_outlives_the_thread_that_started_it(tmp_path):
    told = tmp_path / "told"
    assert commands.python(THREADS, [str(tmp_path)], told) == 0, told.read_text()
    assert told.read_text().splitlines() == ["True [0, 1, 2]", "['MainThread']"]


START = """
from p2pqg.engine.on_ray.cluster import Cluster
cluster = Cluster.at()
print(Cluster.running._folder.path)
cluster.close()
"""


def test_ray_starts_without_a_home_and_with_a_temporary_folder_too_deep_for_sockets(tmp_path):
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    (folder,) = python(START, TMPDIR=str(deep))
    assert not Path(folder).is_relative_to(deep)
    assert not Path(folder).exists()
    assert list(deep.iterdir()) == []


COMPUTE_FOR_EVER = """
import ctypes
import os
import signal
import ray
import p2pqg
from p2pqg.engine.on_ray.cluster import Cluster
sim = p2pqg.Simulation(topology="ring4", rounds=9, clients_per_actor=2, device="cpu")
sim.advance(1)
stopped, busy = sim._driver.engine.group.actors
os.kill(ray.get(stopped.__ray_call__.remote(lambda _: os.getpid())), signal.SIGSTOP)
busy.__ray_call__.remote(lambda _: ctypes.PyDLL(None).sleep(100))  # and no other thread may work
print(Cluster.running._folder.path, flush=True)
while True:
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ends the actors")
def test_actors_end_with_their_node_and_all_with_the_command_and_its_folder_at_the_next_start():
    command = [sys.executable, "-c", COMPUTE_FOR_EVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        folder = Path(driver.stdout.readline().strip())
        try:
            started = children(driver.pid)
            assert len(started) >= 7  # itself, gcs, raylet, two agents, two actors
            (raylet,) = [pid for pid in started if name_of(pid) == "raylet"]
            _, *on_the_node = children(raylet)
            assert len(on_the_node) >= 4
            forking = [pid for pid in on_the_node if "_fork_server.py" in words_of(pid)]
            forked = [pid for server in forking for pid in children(server)[1:]]
            assert len(forked) == (2 if HAS_AGENTS_WITHOUT_PORTS else 0)
            os.kill(raylet, signal.SIGKILL)
            wait_for_the_end_of(on_the_node)
        finally:
            driver.kill()
        driver.wait()
        wait_for_the_end_of(started)
    assert folder.exists()
    OwnFolder().remove()
    assert not folder.exists()


def words_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text()


def name_of(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def wait_for_the_end_of(processes, seconds=5):
    deadline = time.monotonic() + seconds
    while any(map(is_alive, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


ANNOUNCE_A_TRANSFER_LATE = """
import threading
import time
import ray
from ray._private import worker
from ray.experimental.rdt.rdt_manager import TransferMetadata
from p2pqg.engine.on_ray.cluster import Cluster

cluster = Cluster.at()
transfers = worker.global_worker.rdt_manager
disconnect = worker.disconnect
transfer = dict.fromkeys(TransferMetadata._fields) | {"recv_ref": ray.put(1), "timeout": 1e12}

def with_one_more_transfer(*words, **names):
    worker.disconnect = disconnect
    transfers._unmonitored_transfers.put(TransferMetadata(**transfer))
    transfers.start_monitor_thread_if_needed()
    disconnect(*words, **names)
    time.sleep(1)

worker.disconnect = with_one_more_transfer
cluster.close()
time.sleep(1)
print(ray.is_initialized(), [thread.name for thread in threading.enumerate()])
"""


def test_a_transfer_announced_while_ray_ends_starts_no_other_ray():
    pytest.importorskip("ray.experimental.rdt.rdt_manager", reason="an older Ray")
    assert python(ANNOUNCE_A_TRANSFER_LATE) == ["False ['MainThread']"]


STOP_AS_SOON_AS_RAY_STANDS = """
import os
import signal
from p2pqg.engine.on_ray.cluster import Cluster

signal.signal(signal.SIGTERM, lambda *_: print("stopped"))
cluster = Cluster.at()  # in a thread of its own
os.kill(os.getpid(), signal.SIGTERM)
cluster.close()
"""


def test_a_polite_kill_while_ray_starts_dumps_no_stack():
    assert python(STOP_AS_SOON_AS_RAY_STANDS) == ["stopped"]
