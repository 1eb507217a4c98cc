"""What a run does not need, it neither loads nor starts."""

import os
from pathlib import Path

import ray
from commands import python

from p2pqg.engine.on_ray import private_ray

IN_THIS_PROCESS = """
import sys
import p2pqg, p2pqg.running.sweep
p2pqg.run(engine="local", topology="ring4", model="logistic", rounds=1, out=sys.argv[1])
print("ray" in sys.modules)
"""


def test_a_sweep_is_planned_and_engine_local_runs_without_ray(tmp_path):
    told = tmp_path / "told"
    assert python(IN_THIS_PROCESS, [str(tmp_path)], told) == 0, told.read_text()
    assert told.read_text() == "False\n"


def test_the_agent_for_environments_sleeps_until_a_task_needs_one(cluster):
    logs = Path(private_ray.node().get_session_dir_path(), "logs")
    assert list(logs.glob("*agent*")) == []

    @ray.remote(num_cpus=0, runtime_env={"env_vars": {"COLOUR": "green"}})
    def colour():
        return os.environ["COLOUR"]

    assert ray.get(colour.remote(), timeout=60) == "green"
    assert (logs / "runtime_env_agent.log").exists()
