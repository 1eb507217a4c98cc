"""What a run does not need, it neither loads nor starts."""

import subprocess
import sys

RUN = """
import sys
from p2pqg.cli import main
words = "run --topology ring4 --rounds 3 --set model.hidden=[8] --device cpu --quiet".split()
main([*words, "--out", sys.argv[1]], standalone_mode=False)
print(sorted({"torch", "torchvision", "pandas"} & sys.modules.keys()))
"""


def test_with_one_actor_the_driver_needs_neither_torch_nor_pandas(tmp_path):
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.stderr == ""
    assert ran.stdout == "[]\n"


IN_THIS_PROCESS = """
import sys
import p2pqg, p2pqg.running.sweep
p2pqg.run(engine="local", topology="ring4", model="logistic", rounds=1, out=sys.argv[1])
print("ray" in sys.modules)
"""


def test_a_sweep_is_planned_and_engine_local_runs_without_ray(tmp_path):
    command = [sys.executable, "-c", IN_THIS_PROCESS, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


TASK_WITH_AN_ENVIRONMENT = """
import os
from pathlib import Path
import ray
from p2pqg.engine.on_ray.cluster import Cluster
cluster = Cluster()
logs = Path(ray._private.worker._global_node.get_session_dir_path(), "logs")
print(sorted(path.name for path in logs.glob("*agent*")))

@ray.remote(num_cpus=0, runtime_env={"env_vars": {"COLOUR": "green"}})
def colour():
    return os.environ["COLOUR"]

print(ray.get(colour.remote(), timeout=60))
print([path.name for path in logs.glob("runtime_env_agent.log")])
cluster.close()
"""


def test_the_agent_for_environments_sleeps_until_a_task_needs_one():
    command = [sys.executable, "-c", TASK_WITH_AN_ENVIRONMENT]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.stdout.splitlines() == ["[]", "green", "['runtime_env_agent.log']"], ran.stderr
