"""Knock at the ports of a Ray, with a token or without, as somebody else if we may.

    python intruder.py < '{"ports": [...], "token": null, "files": [...]}'

Prints, as JSON, what each port said to each call, and which files could be opened. It speaks gRPC
by itself (HTTP/2, RFC 9113 and 7541), so as not to need a library that p2pqg does not.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  (nobody may not be allowed to read it from the disk later)
import json
import os
import socket
import sys
import time

CALLS = [
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.ActorInfoGcsService/GetAllActorInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
]
"""Harmless ones, of the services that Ray's processes offer."""

NOBODY = 65534
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4


def ask(port: int, call: str, token: str | None) -> str:
    """Whether it "answered", "refused" (it wants another token), or finds it "unknown"."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": call,
        ":authority": "127.0.0.1",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, b"")
    said, data = b"", b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(hello + _frame(HEADERS, END_HEADERS, 1, block))
        line.sendall(_frame(DATA, END_STREAM, 1, bytes(5)))  # an empty message
        file = line.makefile("rb")
        while head := file.read(9):
            content = file.read(int.from_bytes(head[:3], "big"))
            if head[3] == DATA:
                data += content
            if head[3] == HEADERS:
                said += content
                if head[4] & END_STREAM:
                    break
    if b"InvalidAuthToken" in said:
        return "refused"
    return "answered" if data else "unknown"


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return (
        len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content
    )


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def ask_over_http(port: int, token: str | None, seconds: float = 30) -> int:
    """The status with which the agent of a node answers; it may have to wake up for it."""
    deadline = time.monotonic() + seconds
    header = "" if token is None else f"Authorization: Bearer {token}\r\n"
    request = f"POST /get_or_create_runtime_env HTTP/1.0\r\n{header}Content-Length: 0\r\n\r\n"
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                line.sendall(request.encode())
                return int(line.makefile("rb").readline().split()[1])
        except (OSError, IndexError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def can_open(path: str) -> bool:
    """Whether a file can be read, a folder listed, or a socket connected to."""
    try:
        if path.endswith("plasma_store") or path.endswith("raylet"):
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(path)
        elif os.path.isdir(path):
            os.listdir(path)
        else:
            with open(path):
                pass
    except PermissionError:
        return False
    return True


def main() -> None:
    """Read what to do, become nobody, and try."""
    wanted = json.load(sys.stdin)
    if wanted["as_nobody"]:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    token = wanted["token"]
    told = {port: {call: ask(port, call, token) for call in CALLS} for port in wanted["grpc"]}
    agents = {port: ask_over_http(port, token) for port in wanted["http"]}
    files = {path: can_open(path) for path in wanted["files"]}
    print(json.dumps({"grpc": told, "http": agents, "files": files}))


if __name__ == "__main__":
    main()
