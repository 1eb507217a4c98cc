import pytest
from ray._private import services  # noqa: TID251  what Ray starts is what is tested

from p2pqg.engine.on_ray import lean, private_ray

NODE = "0" * 56
raylet = pytest.importorskip("ray._raylet")


@pytest.mark.skipif(not hasattr(raylet, "persist_port"), reason="agents of an older Ray")
def test_where_nothing_can_be_forked_workers_start_as_usual(tmp_path, monkeypatch):
    monkeypatch.setattr(lean.forking, "can_fork", lambda: False)
    command = [f"--session_dir={tmp_path}", f"--node_id={NODE}", "--node_ip_address=127.0.0.1"]
    command += ["--dashboard_agent_command=python metrics.py", "--python_worker_command=python w"]
    told = lean._with_stand_ins([*command, "--runtime_env_agent_command=python main.py"], [])
    assert told[3:5] == ["--dashboard_agent_command=cat", "--python_worker_command=python w"]


@pytest.mark.skipif(not hasattr(raylet, "persist_port"), reason="agents of an older Ray")
def test_a_node_is_told_stand_ins_for_its_agents_and_nothing_else_changes(tmp_path):
    command = [
        "raylet",
        f"--session_dir={tmp_path}",
        f"--node_id={NODE}",
        "--node_ip_address=127.0.0.1",
        "--dashboard_agent_command=python metrics.py",
        '--runtime_env_agent_command="a python" main.py --port=0',
        '--python_worker_command="a python" setup_worker.py default_worker.py',
        "--head",
    ]
    notes = []
    told = lean._with_stand_ins(command, notes)
    assert notes == []
    assert told[:4] == command[:4]
    assert told[7:] == ["--head"]
    forks = f"{tmp_path}/sockets/forks"
    assert f"_fork_server.py {forks} " in told[4].removeprefix("--dashboard_agent_command=")
    assert told[6].endswith(
        f'_forked_worker.py {forks} "a python" setup_worker.py default_worker.py'
    )
    name, _, sleeping = told[5].partition("=")
    assert name == "--runtime_env_agent_command"
    assert sleeping.endswith(' "a python" main.py --port=0')
    ports = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert ports == {f"{port}_{NODE}": "-1" for port in lean.PORTS_OF_METRICS}


def test_a_version_that_cannot_do_without_is_started_as_usual_and_says_so(monkeypatch, folder):
    usual = services.start_ray_process
    seen = []

    def init(**settings):
        seen.append(services.start_ray_process is not usual)
        if seen[-1]:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(private_ray.ray, "init", init)
    monkeypatch.setattr(private_ray.ray, "shutdown", lambda: None)
    monkeypatch.setattr(private_ray, "_check_closed", lambda: None)
    (note,) = private_ray.start(folder, num_cpus=1)
    assert seen == [True, False]
    assert services.start_ray_process is usual
    assert f"Ray {private_ray.ray.__version__} does not start without its agents" in note
    assert "timed out during startup" in note


def test_a_version_with_other_names_is_told(monkeypatch, folder):
    monkeypatch.setattr(private_ray.ray, "init", lambda **settings: None)
    monkeypatch.setattr(private_ray, "_check_closed", lambda: None)
    monkeypatch.delattr(lean.Node, "start_log_monitor")
    (note,) = private_ray.start(folder)
    assert "no start_log_monitor" in note
