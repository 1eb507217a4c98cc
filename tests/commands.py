"""`p2pqg` as it is typed in a shell: processes of their own, forked from one that has imported it.

Imports take seconds, most of what a small command takes. None of them sees what tests have done.
"""

from __future__ import annotations

import glob
import multiprocessing
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from p2pqg.cli import main

FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(
    ["torch", "pandas", "p2pqg.cli", "p2pqg.running.single", "p2pqg.running.screen"]
    + ["p2pqg.engine.local", "p2pqg.page"]
)
OPERATORS = {"|", "||", "&", "&&", ";", "<", ">", ">>", "2>"}


def in_shell(code: str) -> Iterator[list[str]]:
    """The words of each line of a shell script that does nothing but call `p2pqg`.

    Raises:
        ValueError: it does more.
    """
    for line in filter(None, code.replace("\\\n", " ").splitlines()):
        program, *words = shlex.split(line)
        if program != "p2pqg" or any(word in OPERATORS for word in words):
            raise ValueError(f"nobody runs {line!r}: it is not p2pqg alone")
        found = [sorted(glob.glob(word)) or [word] for word in words]
        yield [word for group in found for word in group]


def run(words: list[str], output: Path) -> int:
    """The exit code of `p2pqg` in the current folder; what it prints goes into a file."""
    process = started(words, output)
    process.join()
    return process.exitcode


def started(words: list[str], output: Path) -> ForkServerProcess:
    """The same, under way."""
    return _forked(_command, words, output)


def python(code: str, words: list[str], output: Path) -> int:
    """The exit code of a script, given as text, that finds torch and most of p2pqg imported."""
    process = _forked(_script, words, output, code)
    process.join()
    return process.exitcode


def _forked(task: Callable[..., None], *given: Any) -> ForkServerProcess:
    process = FRESH.Process(target=_alone, args=(task, os.getcwd(), {**os.environ}, *given))
    process.start()
    return process


def _alone(
    task: Callable[..., None],
    folder: str,
    environ: dict[str, str],
    words: list[str],
    output: Path,
    *more: str,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:] = [path for path in sys.path if path != folder]  # a program has none of its user's
    told = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    task(words, *more)


def _command(words: list[str]) -> None:
    sys.argv = ["p2pqg", *words]
    main()


def _script(words: list[str], code: str) -> None:
    sys.argv = ["-c", *words]
    exec(code, {"__name__": "__main__"})
