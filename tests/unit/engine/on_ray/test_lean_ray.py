import pytest
from ray._private import services  # noqa: TID251  what Ray starts is what is tested

from p2pqg.engine.on_ray import lean_ray

NODE = "0" * 56
raylet = pytest.importorskip("ray._raylet")


@pytest.mark.skipif(not hasattr(raylet, "persist_port"), reason="agents of an older Ray")
def test_a_node_is_told_stand_ins_for_its_agents_and_nothing_else_changes(tmp_path):
    command = [
        "raylet",
        f"--session_dir={tmp_path}",
        f"--node_id={NODE}",
        "--node_ip_address=127.0.0.1",
        "--dashboard_agent_command=python metrics.py",
        '--runtime_env_agent_command="a python" main.py --port=0',
        "--head",
    ]
    told = lean_ray._with_stand_ins(command)
    assert told[:4] == command[:4]
    assert told[6:] == ["--head"]
    assert told[4] == "--dashboard_agent_command=cat"
    name, _, sleeping = told[5].partition("=")
    assert name == "--runtime_env_agent_command"
    assert sleeping.endswith(' "a python" main.py --port=0')
    ports = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert ports == {f"{port}_{NODE}": "-1" for port in lean_ray.PORTS_OF_METRICS}


def test_a_version_that_cannot_do_without_is_started_as_usual(monkeypatch):
    usual = services.start_ray_process
    lean = []

    def init(**settings):
        lean.append(services.start_ray_process is not usual)
        if lean[-1]:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(lean_ray.ray, "init", init)
    monkeypatch.setattr(lean_ray.ray, "shutdown", lambda: None)
    lean_ray.start(num_cpus=1)
    assert lean == [True, False]
    assert services.start_ray_process is usual
