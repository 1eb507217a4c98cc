"""`p2pqg watch`: one page on runs that are on the way, or over, for a browser on this machine.

Only who knows the random token in its address sees it, it answers GET alone, and it reads files
that runs write, nothing else.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from p2pqg.base.errors import ConfigError, P2pqgError
from p2pqg.base.text import json_text, user_path
from p2pqg.page import front
from p2pqg.page.replay import Replay
from p2pqg.page.runs import labels, read, runs_in

MOST_NETWORKS = 6
"""Runs up to which every network is drawn; of more, the curves, and those that are opened."""
MOST_RUNS = 200
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">
<title>p2pqg watch</title><style>{style}
body {{ margin: 0 auto; padding: 16px; max-width: 1500px; background: #fafaf8; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #131517; }} }}
#lost {{ color: #d55e00; font: 600 15px system-ui, sans-serif; }}</style></head>
<body><p id="lost" role="alert" hidden>Nobody answers any more: the run that showed itself has
ended, or p2pqg watch was stopped. This is how it stood last; p2pqg watch RUN_DIR shows it
again.</p>
<main id="room"></main><script>{script}</script></body></html>
"""


class Watch:
    """What is watched.

    Attributes:
        paths: directories of runs, or with runs below them.
        replays: the runs found so far, in order.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        """Look for runs.

        Raises:
            ConfigError: there is none, or one that cannot be read.
        """
        self.paths = [user_path(path) for path in paths]
        self.replays: dict[Path, Replay] = {}
        self._lock = threading.Lock()
        self.look()

    def look(self) -> None:
        """Find runs that have begun since."""
        every = runs_in(self.paths)
        runs, self._left_out = every[:MOST_RUNS], len(every[MOST_RUNS:])
        new = [run for run in runs if run.path not in self.replays]
        if not new:
            return
        names = labels([read(run) for run in runs])
        for run, name in zip(runs, names, strict=True):
            if run.path not in self.replays:
                self.replays[run.path] = Replay(len(self.replays), run.path, name)
            self.replays[run.path].name = name

    def frame(self, have: dict[int, tuple[int, str]], opened: set[int], round: int | None) -> Any:
        """What a page does not know yet; see `room.frame`.

        Args:
            have: run -> rows of curves that the page has, and their version.
            opened: runs whose networks are to be drawn, if there are many.
            round: at which all are looked at; None: now.
        """
        with self._lock:
            with contextlib.suppress(P2pqgError):  # a run that has only begun to be written
                self.look()
            branches = []
            few = len(self.replays) <= MOST_NETWORKS
            for replay in self.replays.values():
                replay.refresh()
                rows, version = have.get(replay.number, (0, ""))
                drawn = few or replay.number in opened
                news = f"{replay.version}.{round}.{drawn}"
                if news == version:
                    found: dict[str, Any] = {"id": replay.number}
                else:
                    found = replay.frame(rows, round, with_network=drawn) | {"version": news}
                branches.append(found)
            return {
                "playing": False,
                "until": None,
                "planned": None,
                "sentence": f"{self._left_out:,} more are not shown" * bool(self._left_out),
                "wrong": False,
                "branches": branches,
            }


@contextlib.contextmanager
def serving(
    paths: Sequence[str | Path], host: str = "127.0.0.1", port: int = 0
) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """Serve a page on runs while inside.

    Args:
        paths: as of `Watch`.
        host: who is answered: this machine alone, unless another address is given.
        port: 0: one that is free.

    Yields:
        Its address, and the server, whose `serve_forever` is to be called.

    Raises:
        ConfigError: no run there, or the port cannot be had.
    """
    watch, token = Watch(paths), secrets.token_urlsafe(24)

    class Answer(_Answer):
        pass

    Answer.watch, Answer.token = watch, token
    try:
        server = ThreadingHTTPServer((host, port), Answer)
    except OSError as error:
        raise ConfigError(
            f"watch: {host}:{port} cannot be served ({error.strerror}); set --port or --host"
        ) from None
    server.daemon_threads = True
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_address[1]}/{token}/", server
    finally:
        server.server_close()


class _Answer(BaseHTTPRequestHandler):
    """To GET /TOKEN/ and /TOKEN/frames, and to nothing else."""

    watch: Watch
    token: str
    server_version, sys_version = "p2pqg", ""

    def do_GET(self) -> None:  # noqa: N802  http.server calls it so
        address = urlsplit(self.path)
        first, _, rest = address.path.lstrip("/").partition("/")
        if not secrets.compare_digest(first.encode(), self.token.encode()):
            self.send_error(404)
        elif rest == "":
            page, script = _page()
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            self._send(page, "text/html", f"script-src 'sha256-{digest}'")
        elif rest == "frames":
            try:
                text = json_text(self.watch.frame(*_asked(address.query)), indent=None)
            except ValueError:
                self.send_error(400)
                return
            self._send(text, "application/json")
        else:
            self.send_error(404)

    def _send(self, text: str, kind: str, more: str = "script-src 'none'") -> None:
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; {more}; "
            "frame-ancestors 'none'",
        )
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a tab that was closed
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def _page() -> tuple[str, str]:
    """The page, and its script."""
    script = front.script() + front.watching()
    return PAGE.format(style=front.style(), script=script), script


def _asked(query: str) -> tuple[dict[int, tuple[int, str]], set[int], int | None]:
    """What a page has, and wants to see.

    Raises:
        ValueError: it asks in another way.
    """
    given = {key: values[0] for key, values in parse_qs(query).items()}
    have = {}
    for part in filter(None, given.get("have", "").split(",")):
        number, rows, version = part.split(":", 2)
        have[int(number)] = int(rows), version
    opened = {int(number) for number in filter(None, given.get("opened", "").split(","))}
    return have, opened, int(given["round"]) if "round" in given else None


def open_page(address: str) -> bool:
    """Open it in the user's browser; False: there is none with windows."""
    has_windows = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return has_windows and webbrowser.open(address)
