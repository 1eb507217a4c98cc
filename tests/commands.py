"""`p2pqg` as it is typed in a shell: processes of their own, forked from one that has imported it.

Imports take seconds, most of what a small command takes. None of them sees what tests have done.
"""

import glob
import multiprocessing
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

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
    process = FRESH.Process(target=_command, args=(words, os.getcwd(), {**os.environ}, output))
    process.start()
    process.join()
    return process.exitcode


def _command(words: list[str], folder: str, environ: dict[str, str], output: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:] = [path for path in sys.path if path != folder]  # a program has none of its user's
    told = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    sys.argv = ["p2pqg", *words]
    main()
