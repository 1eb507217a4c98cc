"""Imports what an actor needs, once, and is forked into every worker of Ray's node.

    python _fork_server.py SOCKET PATHS

Ray starts it as its agent for metrics, see `forking.py`, and `_forked_worker.py` asks it for
workers. A process can be forked as long as nothing in it has computed: nothing here does.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import marshal
import os
import select
import signal
import socket
import sys
import traceback
from types import ModuleType
from typing import NamedTuple

IMPORTED = ("ray._private.worker", "p2pqg.engine.on_ray.actors", "p2pqg.engine.waves.host")
"""Brings Ray, torch, and all of p2pqg that clients are made of."""

OF_AN_AGENT = ("RAY_NODE_ID", "RAY_enable_pipe_based_agent_to_parent_health_check")
"""Environment variables that Ray's node sets for its agents, and not for workers."""

FIRST_JOB = "01000000"
"""Ray's library in C++ reads, when it is loaded, whose job it is: here there is no other."""

SECONDS = 10.0
"""How long who asks may take to say for what; the others wait meanwhile."""

SAFE_PATH = getattr(sys.flags, "safe_path", False)
"""Whether Python leaves out the folder of the file that it runs."""


class Worker(NamedTuple):
    """A worker of Ray as the node would start it.

    Attributes:
        argv: the file of Ray's that it runs, and its words.
        environ: what `os.environb` holds.
        folder: that it runs in.
    """

    argv: list[bytes]
    environ: dict[bytes, bytes]
    folder: bytes

    def become(self) -> None:
        """Be it, in a process that was forked just now."""
        os.setpgid(0, 0)  # as Ray's node does: it ends a worker with all that this has started
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
        os.chdir(self.folder)
        os.environb.clear()
        os.environb.update(self.environ)
        importlib.import_module("numpy").random.seed()  # or all would draw the same
        sys.argv = [os.fsdecode(word) for word in self.argv]
        sys.modules["__main__"] = main = ModuleType("__main__")
        main.__file__ = file = sys.argv[0]
        if not SAFE_PATH:
            sys.path.insert(0, os.path.dirname(file))
        with open(file, encoding="utf-8") as lines:
            exec(compile(lines.read(), file, "exec"), main.__dict__)


def of_ray(environ: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The settings of Ray that its library has read when it was loaded."""
    return {name: value for name, value in environ.items() if name.startswith(b"RAY_")}


def has_imported(paths: list[str]) -> bool:
    """Import what actors need, from where the driver has it; whether this can be forked now."""
    before, sys.path[:] = sys.path[0 if SAFE_PATH else 1 :], paths
    try:
        importlib.import_module("numpy")
        threads = len(os.listdir("/proc/self/task"))  # of its BLAS, which is made to be forked
        for name in IMPORTED:
            importlib.import_module(name)
    except (Exception, SystemExit):
        traceback.print_exc()
        return False
    finally:
        sys.path[:] = before
    gc.collect()
    gc.freeze()  # who is forked shares this memory as long as nobody writes to it
    return len(os.listdir("/proc/self/task")) == threads


def asked_for(line: socket.socket) -> Worker | None:
    """The worker that is asked for; None: it is to be started as usual."""
    line.sendall(b"?")  # fails where nobody waits any more
    with line.makefile("rb") as file:
        worker = Worker(*marshal.load(file))
    return worker if of_ray(worker.environ) == of_ray(dict(os.environb)) else None


def forked(listener: socket.socket) -> Worker:
    """Fork a process for each worker that is asked for; in it, return what it shall be."""
    while True:
        try:
            line, _ = listener.accept()
            with line:
                line.settimeout(SECONDS)  # it may have been stopped
                worker = asked_for(line)
                if worker and os.fork() == 0:
                    return worker
                line.sendall(b"yes" if worker else b"no")
        except Exception:  # Ray's node would end with this process
            traceback.print_exc()  # whoever asked starts it as usual


def end_with_the_node() -> None:
    """From now on this process ends at once when its pipe is closed, whatever it imports."""
    pipe = sys.stdin.fileno()
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())  # who is forked is not meant
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:  # it was closed before
        sys.exit()


def serve(path: str, paths: list[str]) -> Worker:
    """As `forked`, at a socket that is there before anything is imported."""
    end_with_the_node()
    for name in OF_AN_AGENT:
        os.environ.pop(name, None)
    os.environ["RAY_JOB_ID"] = FIRST_JOB
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen(1024)
        os.rename(f"{path}.new", path)  # who finds it is heard
        if has_imported(paths):
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for those that end
            return forked(listener)
        while True:  # Ray's node would end with this process
            listener.accept()[0].close()  # whoever asks starts it as usual


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2].split(os.pathsep)).become()
