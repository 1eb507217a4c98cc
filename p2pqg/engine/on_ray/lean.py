"""A Ray that starts without what a run does not need.

Beside the actors Ray starts an autoscaler, a log monitor, a web server, a worker per core that
waits for tasks, and two agents of its node, for metrics and for the environments of tasks: several
hundred MB, and two seconds until all stand. A run asks nothing of them. The last agent is woken if
somebody else in this process gives a task an environment; that for metrics gives its place to the
process that workers are forked from, see `forking.py`; the others are not there. Where a version
cannot do without them, it starts with them, and we say so.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, services
from ray._private.node import Node

from p2pqg.engine.on_ray import forking
from p2pqg.engine.on_ray.meanwhile import environment, instead

SERVICES = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node."""

SETTINGS = {"RAY_prestart_worker_first_driver": "0", "RAY_worker_niceness": "0"}
"""Environment variables: no workers that wait; actors no more patient than any other program."""

COMMANDS = ("dashboard_agent_command", "runtime_env_agent_command", "python_worker_command")
"""Flags of the command that starts a node: what it starts."""

NO_METRICS = "cat"
"""In place of the agent for metrics: does nothing, and ends with the node, whose pipe it reads."""

PORTS_OF_METRICS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
"""The node waits until that agent has written these into files; -1: it does not listen."""

SLEEPING = Path(__file__).with_name("_sleeping_agent.py")


@contextmanager
def only_what_a_run_needs(notes: list[str]) -> Iterator[None]:
    """A Ray that starts while inside is lean; what its version does not leave out is noted."""
    settings = {name: os.environ.get(name, value) for name, value in SETTINGS.items()}
    launch = _without_agents(services.start_ray_process, notes)
    with (
        environment(settings),
        instead(Node, **dict.fromkeys(SERVICES, _nothing)) as kept,
        instead(services, start_ray_process=launch),
    ):
        if missing := set(SERVICES) - set(kept):
            notes.append(falls_back(f"may start more services (no {', '.join(sorted(missing))})"))
        yield


def falls_back(how: str) -> str:
    """The line for users of a Ray that starts more than a run needs."""
    return (
        f"Ray {ray.__version__} {how}: a start takes some seconds and some hundred MB more than "
        "with Ray 2.60"
    )


def _nothing(node: Node, **settings: Any) -> None: ...


def _without_agents(launch: Callable[..., Any], notes: list[str]) -> Callable[..., Any]:
    """Ray's function that starts a process; nodes are told other commands for their agents."""

    def launch_without(command: list[str], process_type: str, **settings: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_RAYLET and shutil.which(NO_METRICS):
            command = _with_stand_ins(command, notes)
        return launch(command, process_type, **settings)

    return launch_without


def _with_stand_ins(command: list[str], notes: list[str]) -> list[str]:
    """The command that starts a node, with stand-ins for its agents."""
    try:
        from ray._raylet import (  # type: ignore[attr-defined]
            get_port_filename,
            persist_port,
        )
    except ImportError:  # an older version, whose agents are told their ports
        notes.append(falls_back("starts with its agents"))
        return command
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in command)
    directory, node = flags["session_dir"], flags["node_id"]
    for port in PORTS_OF_METRICS:
        persist_port(directory, node, port, -1)
    port_file = os.path.join(directory, get_port_filename(node, "runtime_env_agent_port"))
    sleeping = [sys.executable, "-IS", str(SLEEPING)]
    sleeping += [flags["node_ip_address"], port_file, "--runtime-env-agent-port"]
    sleeping += shlex.split(flags["runtime_env_agent_command"])
    flags["runtime_env_agent_command"] = subprocess.list2cmdline(sleeping)
    flags["dashboard_agent_command"] = NO_METRICS
    if forking.can_fork():
        flags["dashboard_agent_command"] = forking.server(directory)
        usual = flags["python_worker_command"]
        flags["python_worker_command"] = forking.worker(directory, usual)
    names = [word.removeprefix("--").partition("=")[0] for word in command]
    return [
        f"--{name}={flags[name]}" if name in COMMANDS else word
        for name, word in zip(names, command, strict=True)
    ]
