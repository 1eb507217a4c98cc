"""What actors returned comes in, however long it takes."""

from types import SimpleNamespace

import pytest

from p2pqg.base.errors import ClusterError
from p2pqg.engine.on_ray import failures


@pytest.fixture
def far(monkeypatch):
    """A Ray from whose other machines objects come in pieces, one at each look.

    As of Ray itself, a `get` that times out lets go of the pieces that are there; `wait` does not.
    """
    pieces = {"a": 0, "b": 0}

    def wait(references, num_returns, timeout):
        assert num_returns == len(references)
        for reference in references:
            pieces[reference] += 1
        here = [r for r in references if pieces[r] >= (3 if r == "a" else 5)]
        return here, [r for r in references if r not in here]

    def get(references, timeout=None):
        if timeout is not None:
            pieces.update(dict.fromkeys(references, 0))
            raise ray.exceptions.GetTimeoutError
        return [f"{reference} after {pieces[reference]}" for reference in references]

    errors = {name: type(name, (Exception,), {}) for name in ("RayError", "GetTimeoutError")}
    errors["RayTaskError"] = type("RayTaskError", (errors["RayError"],), {})
    ray = SimpleNamespace(wait=wait, get=get, exceptions=SimpleNamespace(**errors))
    monkeypatch.setattr(failures, "ray", ray)
    looks = []

    def looked(node):
        looks.append(node)
        assert len(looks) < 50, "it never came"

    monkeypatch.setattr(failures, "what_ended", looked)
    return looks


def test_what_needs_longer_than_a_look_comes_over_all_the_same(far):
    silences = []
    got = failures.received(["b", "a"], [], [], "node", silences.append)
    assert got == ["b after 5", "a after 3"]
    assert far == ["node"] * 4  # it was looked for Ray until all were here
    assert len(silences) == 4


def test_what_an_actor_raised_is_raised_here_without_the_text_of_its_traceback(far, monkeypatch):
    error = failures.ray.exceptions.RayTaskError("pages of a traceback")
    error.cause = MemoryError("no room")

    def come_in(*_):
        raise error

    monkeypatch.setattr(failures, "_come_in", come_in)
    monkeypatch.setattr(failures, "_first_to_fail", lambda references: None)
    with pytest.raises(MemoryError, match="^no room$") as raised:
        failures.received([], [], [], "node", lambda seconds: None)
    assert raised.value.__cause__ is error  # for --debug


def test_an_actor_whose_machine_does_not_answer_is_named_with_its_clients(monkeypatch):
    ray = failures.ray
    actors = [
        SimpleNamespace(
            _actor_id=ray.ActorID(bytes([index] * 16)),
            __ray_ready__=SimpleNamespace(remote=lambda: "is not told yet"),
        )
        for index in range(3)
    ]

    def get(references, timeout=None):
        if timeout is None:
            raise ray.exceptions.ActorUnavailableError("RpcError: refused", bytes([1] * 16))
        raise ray.exceptions.GetTimeoutError

    monkeypatch.setattr(ray, "wait", lambda references, **_: (references, []))
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(failures, "what_ended", lambda node: None)
    with pytest.raises(
        ClusterError,
        match=r"^actor 1 \(clients 4 to 7\) cannot be reached; its machine may be gone$",
    ):
        failures.received(["r"], actors, [0, 4, 8, 12], "node", lambda seconds: None)


def test_an_actor_that_ray_ended_for_lack_of_memory_is_told_so_in_a_line(monkeypatch):
    ray = failures.ray
    page = "1 worker was killed. Memory on the node (IP: ::1) was 22.1GB used / 23.5GB limit\nRead"

    def get(references, timeout=None):
        raise ray.exceptions.OutOfMemoryError(f"{page}\non.")

    actors = [SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda: "never"))]
    monkeypatch.setattr(ray, "wait", lambda references, **_: (references, []))
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(failures, "what_ended", lambda node: None)
    told = r"^actor 0 .* died: its machine ran low on memory \(22.1GB used / 23.5GB limit\)$"
    with pytest.raises(ClusterError, match=told):
        failures.received(["r"], actors, [0, 4], "node", lambda seconds: None)
