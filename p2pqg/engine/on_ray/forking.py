"""Actors that are forked from one process which has torch, so that not each has to import it.

An actor of its own imports Ray, torch and p2pqg, seconds of a core. Ray starts each of its
processes anew; but which command starts a worker, and which an agent of its node, is said in the
command of the node. Here both are others: the agent for metrics, of which a run has no need, is
`_fork_server.py`, which imports all that, and ends with the node; a worker is `_forked_worker.py`,
which asks that for a copy of itself. Where this cannot be, workers start as usual; so they do
where the environment says P2PQG_FORK=0.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SERVER, WORKER = HERE / "_fork_server.py", HERE / "_forked_worker.py"


def can_fork() -> bool:
    """Whether processes of this system go on well after they were forked, and it is wanted."""
    return sys.platform == "linux" and os.environ.get("P2PQG_FORK") != "0"


def server(session: str) -> str:
    """The command that forks workers for the node of a session, the path of its folder."""
    paths = os.pathsep.join(path for path in sys.path if isinstance(path, str))  # as Python does
    return _line(sys.executable, str(SERVER), _socket(session), paths)


def worker(session: str, usual: str) -> str:
    """The command that has a worker forked, or starts it by the usual command."""
    return f"{_line(sys.executable, '-IS', str(WORKER), _socket(session))} {usual}"


def _socket(session: str) -> str:
    return os.path.join(session, "sockets", "forks")


def _line(*words: str) -> str:
    return subprocess.list2cmdline(words)
