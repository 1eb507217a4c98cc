"""Stands in for an agent of Ray's node until somebody calls it, and then becomes that agent.

    python -IS _sleeping_agent.py HOST PORT_FILE PORT_FLAG AGENT...

A bare Python that loads nothing takes 10 MB instead of 50, and is there at once. Whoever calls
first finds nobody, and calls again: Ray does.
"""

import os
import select
import socket
import sys

if __name__ == "__main__":
    host, port_file, port_flag, *agent = sys.argv[1:]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        with open(port_file + ".new", "w") as file:
            file.write(str(port))
        os.replace(port_file + ".new", port_file)
        called, _, _ = select.select([listener, sys.stdin], [], [])
    if listener in called:  # else the node has ended: its pipe is closed
        os.execv(agent[0], [*agent, f"{port_flag}={port}"])
