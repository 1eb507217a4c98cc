"""A Ray of our own on this machine, without what a run does not need.

Beside the actors Ray starts an autoscaler, a log monitor, a web server, a worker per core that
waits for tasks, and two agents of its node, for metrics and for the environments of tasks: several
hundred MB, and two seconds until all stand. A run asks nothing of them. The last agent is woken if
somebody else in this process gives a task an environment; the others are not there.

Ray has no public switch for these. What a version does not know by these names it starts as usual,
and where it cannot start without them, it starts once more with them.
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

SERVICES = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node."""

SETTINGS = {"RAY_prestart_worker_first_driver": "0", "RAY_worker_niceness": "0"}
"""Environment variables: no workers that wait; actors no more patient than any other program."""

AGENTS = ("dashboard_agent_command", "runtime_env_agent_command")
"""Flags of the command that starts a node."""

NO_METRICS = "cat"
"""In place of the agent for metrics: does nothing, and ends with the node, whose pipe it reads."""

PORTS_OF_METRICS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
"""The node waits until that agent has written these into files; -1: it does not listen."""

SLEEPING = Path(__file__).with_name("_sleeping_agent.py")


def start(**settings: Any) -> None:
    """`ray.init` on this machine, with its settings; raises what that raises."""
    try:
        with _only_what_a_run_needs():
            ray.init(address="local", **settings)
    except Exception:  # perhaps this version needs more; if not, it says the same again
        ray.shutdown()
        try:
            ray.init(address="local", **settings)
        except Exception:
            ray.shutdown()
            raise


@contextmanager
def _only_what_a_run_needs() -> Iterator[None]:
    unset = [name for name in SETTINGS if name not in os.environ]
    os.environ.update({name: SETTINGS[name] for name in unset})
    try:
        with (
            _instead(Node, **dict.fromkeys(SERVICES, _nothing)),
            _instead(services, start_ray_process=_without_agents(services.start_ray_process)),
        ):
            yield
    finally:
        for name in unset:
            del os.environ[name]


@contextmanager
def _instead(owner: Any, **replacements: Any) -> Iterator[None]:
    """For a while, other attributes in place of those that are there."""
    kept = {name: getattr(owner, name) for name in replacements if hasattr(owner, name)}
    for name in kept:
        setattr(owner, name, replacements[name])
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(owner, name, value)


def _nothing(node: Node, **settings: Any) -> None: ...


def _without_agents(launch: Callable) -> Callable:
    """Ray's function that starts a process; nodes are told other commands for their agents."""

    def launch_without(command: list[str], process_type: str, **settings: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_RAYLET and shutil.which(NO_METRICS):
            command = _with_stand_ins(command)
        return launch(command, process_type, **settings)

    return launch_without


def _with_stand_ins(command: list[str]) -> list[str]:
    """The command that starts a node, with stand-ins for its agents."""
    try:
        from ray._raylet import get_port_filename, persist_port
    except ImportError:  # an older version, whose agents are told their ports
        return command
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in command)
    directory, node = flags["session_dir"], flags["node_id"]
    for port in PORTS_OF_METRICS:
        persist_port(directory, node, port, -1)
    port_file = os.path.join(directory, get_port_filename(node, "runtime_env_agent_port"))
    sleeping = [sys.executable, "-IS", str(SLEEPING)]
    sleeping += [flags["node_ip_address"], port_file, "--runtime-env-agent-port"]
    sleeping += shlex.split(flags["runtime_env_agent_command"])
    flags["dashboard_agent_command"] = NO_METRICS
    flags["runtime_env_agent_command"] = subprocess.list2cmdline(sleeping)
    names = [word.removeprefix("--").partition("=")[0] for word in command]
    return [
        f"--{name}={flags[name]}" if name in AGENTS else word
        for name, word in zip(names, command, strict=True)
    ]
