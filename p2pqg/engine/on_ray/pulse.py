"""Whether a joined Ray cluster is still there: its head, and its node on this machine.

When one of them is gone, Ray ends the whole process: with the node at its next use of the object
store, without a word; without the head after a minute, with a line of its own, in which nobody
reads how to go on. So we look first, and have some seconds left to say it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

from p2pqg.engine.on_ray import private_ray

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 says first (RFC 9113, 3.4): so Ray's processes talk to each other."""

SETTINGS_FRAME = 4
"""The fourth byte of the answer."""

SECONDS_BETWEEN_KNOCKS = 2.0
SECONDS_TO_ANSWER = 5.0

PATIENCE = 0.7
"""Share of the time that Ray waits for a head, after which we no longer do. A head with a database
of its own may come back by then; the rest is for saying that it did not."""

SECONDS_RAY_WAITS = ("RAY_gcs_rpc_server_reconnect_timeout_s", 60.0)
"""Ray's variable for that, and its default."""


def knock(host_and_port: str) -> None:
    """See whether a process of Ray's answers there.

    Raises:
        OSError, ValueError, OverflowError: none does.
    """
    host, _, port = host_and_port.rpartition(":")
    at = (host.strip("[]"), int(port))
    with socket.create_connection(at, timeout=SECONDS_TO_ANSWER) as line:
        if os.environ.get("RAY_USE_TLS", "0") in ("0", "false"):
            line.sendall(HTTP2)
            if line.recv(9)[3:4] != bytes([SETTINGS_FRAME]):
                raise OSError("something else listens there")


class Pulse:
    """Watches a cluster from a thread, until it is lost or nobody asks any more."""

    def __init__(self, head: str, node_socket: str | None) -> None:
        """Begin.

        Args:
            head: its host:port.
            node_socket: path of a socket on which the node of this machine listens.
        """
        self._head, self._lost = head, ""
        self._silent_since: float | None = None
        name, default = SECONDS_RAY_WAITS
        self._patience = PATIENCE * float(os.environ.get(name, default))
        self._line = _connected(node_socket)
        self._over = threading.Event()
        watch = threading.Thread(target=_watch, args=(weakref.ref(self), self._over), daemon=True)
        watch.start()

    @property
    def lost(self) -> str | None:
        """What is gone, in words; None: nothing."""
        if not self._lost and self._line is not None and _hung_up(self._line):
            self._lost = "its node on this machine ended"
        return self._lost or None

    def look(self) -> None:
        """Knock at the head's door."""
        now = time.monotonic()
        try:
            knock(self._head)
            self._silent_since = None
        except (OSError, ValueError, OverflowError):
            since = self._silent_since = self._silent_since or now
            if now - since > self._patience and not self._lost:
                self._lost = f"its head at {self._head} has not answered for {now - since:.0f} s"

    def end(self) -> None:
        self._over.set()
        if self._line is not None:
            self._line.close()
            self._line = None

    __del__ = end


def _watch(of: weakref.ref[Pulse], over: threading.Event) -> None:
    while not over.wait(SECONDS_BETWEEN_KNOCKS):
        if (pulse := of()) is None or pulse._lost:
            return
        pulse.look()
        del pulse


def _connected(path: str | None) -> socket.socket | None:
    """A line to the node on which nothing is said; it breaks when the node ends."""
    if path and hasattr(socket, "AF_UNIX"):
        line = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            line.connect(path)
            line.setblocking(False)
            return line
        line.close()
    return None


def _hung_up(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


_pulses: weakref.WeakKeyDictionary[Any, Pulse] = weakref.WeakKeyDictionary()


def what_ended(of: Any) -> str | None:
    """What is no longer there of the Ray that a node was part of; None: all is.

    Args:
        of: from `private_ray.node`.
    """
    if gone := private_ray.what_ended(of):
        return gone
    if of is None or not private_ray.is_joined(of):
        return None
    if of not in _pulses:
        _pulses[of] = Pulse(of.gcs_address, of.raylet_socket_name)
    return _pulses[of].lost
