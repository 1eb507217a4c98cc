"""A joined cluster that goes is noticed before Ray ends us for it."""

import gc
import socket
import threading
import weakref
from types import SimpleNamespace

import pytest

from p2pqg.engine.on_ray import pulse
from p2pqg.engine.on_ray.pulse import SETTINGS_FRAME, Pulse, knock

ANSWER = bytes([0, 0, 0, SETTINGS_FRAME, 0, 0, 0, 0, 0])


@pytest.fixture
def head():
    """Answers as a head does, until it is `shut`."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line:
                line.recv(64)
                line.sendall(ANSWER)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    host, port = server.getsockname()
    yield SimpleNamespace(at=f"{host}:{port}", shut=lambda: server.shutdown(socket.SHUT_RDWR))
    server.close()


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A socket that listens as a node's does."""
    monkeypatch.chdir(tmp_path)  # paths of sockets are short
    server = socket.socket(socket.AF_UNIX)
    server.bind("raylet")
    server.listen()
    yield server
    server.close()


def test_a_cluster_that_is_there_is_not_lost(head, node):
    watch = Pulse(head.at, "raylet")
    watch.look()
    assert watch.lost is None
    watch.end()


def test_a_node_that_ends_is_noticed_at_once(head, node):
    watch = Pulse(head.at, "raylet")
    line, _ = node.accept()
    assert watch.lost is None
    line.close()
    assert watch.lost == "its node on this machine ended"
    watch.end()


def test_a_head_may_be_silent_for_most_of_the_time_that_ray_waits_for_it(head, monkeypatch):
    clock = iter([100.0, 141.0, 200.0, 241.0, 243.0])
    monkeypatch.delenv("RAY_gcs_rpc_server_reconnect_timeout_s", raising=False)
    watch = Pulse(head.at, None)
    watch.end()  # its thread
    monkeypatch.setattr(pulse.time, "monotonic", lambda: next(clock))
    answers = iter([False, True, False, False, False])

    def answer(at):
        if not next(answers):
            raise OSError

    monkeypatch.setattr(pulse, "knock", answer)
    for _ in range(4):  # it was back in between
        watch.look()
        assert watch.lost is None
    watch.look()
    assert watch.lost == f"its head at {head.at} has not answered for 43 s"


def test_who_does_not_speak_as_ray_does_is_no_head(head):
    knock(head.at)
    head.shut()
    with pytest.raises(OSError, match="refused"):
        knock(head.at)


def test_a_watch_that_nobody_needs_ends(head):
    watch = Pulse(head.at, None)
    seen, over = weakref.ref(watch), watch._over
    del watch
    gc.collect()
    assert seen() is None
    assert over.is_set()
