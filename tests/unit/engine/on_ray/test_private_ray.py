import os
import socket
from types import SimpleNamespace

import pytest
from ray._private import services  # noqa: TID251  what Ray starts is what is tested

from p2pqg.engine.on_ray import private_ray

NODE = "0" * 56


def test_ray_starts_closed_whatever_the_user_set_for_other_clusters(monkeypatch, folder):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    seen = {}

    def init(**settings):
        seen.update(settings)
        seen.update({name: os.environ.get(name) for name in private_ray.AUTHENTICATION})
        assert services.resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1"

    monkeypatch.setattr(private_ray.ray, "init", init)
    monkeypatch.setattr(private_ray, "_check_closed", lambda: None)
    private_ray.start(folder)
    assert seen["_node_ip_address"] == "127.0.0.1"
    assert seen["_temp_dir"] == str(folder.ray)
    assert [seen[name] for name in private_ray.AUTHENTICATION] == ["token", None, str(folder.token)]
    assert os.environ["RAY_AUTH_TOKEN"] == "of-another-cluster"
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_a_ray_that_listens_elsewhere_is_ended(monkeypatch, folder):
    class Context:
        gcs_address = "192.0.2.1:6379"

    ended = []
    monkeypatch.setattr(private_ray.ray, "init", lambda **settings: None)
    monkeypatch.setattr(private_ray.ray, "get_runtime_context", Context)
    monkeypatch.setattr(private_ray.ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(RuntimeError, match="cannot be closed to other users"):
        private_ray.start(folder)
    assert ended


@pytest.mark.skipif(not hasattr(services, "find_node_ids"), reason="an older Ray does not tell")
@pytest.mark.parametrize(
    ("where", "serves"),
    [("listens", True), ("ended", False), ("in a container", False), ("elsewhere", False)],
)
def test_a_node_is_here_if_we_can_reach_it_not_if_its_process_can_be_seen(
    folder, monkeypatch, where, serves
):
    path = folder.path / "raylet"
    node = SimpleNamespace(raylet_socket_name=str(path))
    cluster = SimpleNamespace(get_all_node_info=lambda timeout: {bytes.fromhex(NODE): node})
    monkeypatch.setattr(private_ray, "GcsClient", lambda address: cluster)
    seen = {"1" * 56} if where == "elsewhere" else {NODE}
    monkeypatch.setattr(services, "find_node_ids", lambda: seen)
    with socket.socket(socket.AF_UNIX) as line:
        if where != "in a container":
            line.bind(str(path))
        if where in ("listens", "elsewhere"):
            line.listen()
        assert private_ray.has_a_node_here("head:1") is serves
