"""What Ray's node starts in place of a worker: has `_fork_server.py` fork one, or becomes one.

    python -IS _forked_worker.py SOCKET COMMAND...

The command is that of Ray. Where the worker wants an environment of its own, or there is nobody
who could be forked, it is started as usual. A bare Python that loads nothing is there at once.
"""

import marshal
import os
import socket
import sys
import time

SECONDS = 40.0
"""How long torch may take to be imported; Ray waits a minute for a worker."""

SECONDS_TO_LISTEN = 5.0
"""How long it may take until somebody can be asked."""

LANGUAGE = "--language=PYTHON"


def plain(command: list[str]) -> list[str]:
    """What a worker without an environment of its own runs in the end; empty: it has one."""
    _, setup, main, *words = command
    names = [os.path.basename(file) for file in (setup, main)]
    own = any(word.startswith("--serialized-runtime-env-context") for word in words)
    if own or names != ["setup_worker.py", "default_worker.py"] or LANGUAGE not in words:
        return []
    return [main, *(word for word in words if word != LANGUAGE)]


def is_there(path: str) -> bool:
    """Whether somebody can be asked, soon."""
    deadline = time.monotonic() + SECONDS_TO_LISTEN
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_forked(path: str, argv: list[str]) -> bool:
    """Whether a process was forked that is this worker."""
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.settimeout(SECONDS)
            line.connect(path)
            if line.recv(1) != b"?":
                return False
            words = [os.fsencode(word) for word in argv]
            line.sendall(marshal.dumps((words, dict(os.environb), os.getcwdb())))
            return line.recv(3) == b"yes"
        except OSError:
            return False


if __name__ == "__main__":
    path, *command = sys.argv[1:]
    argv = plain(command)
    if not (argv and is_there(path) and is_forked(path, argv)):
        os.execv(command[0], command)
