"""The program: its errors and exit codes, and what its commands have in common."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import textwrap
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from p2pqg.base import errors
from p2pqg.base.drawings import drawing_path
from p2pqg.base.errors import ConfigError, Notice, P2pqgError, StoppedError, StorageError
from p2pqg.base.registry import F
from p2pqg.base.text import NO_ROOM
from p2pqg.engine.interrupts import POLITE


def _seconds_spent() -> float:
    """What this process has computed so far, and how long it has waited for a core."""
    try:
        computed, waited, _ = Path("/proc/self/schedstat").read_text().split()
        return (int(computed) + int(waited)) / 1e9
    except (OSError, ValueError):  # not Linux
        return time.process_time()


IMPORTED_AT, SPENT = time.time(), _seconds_spent()


NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)

CALLED = {"doctor": "topology"}
"""What the handbook calls a command -> its name."""


class Program(click.Group):
    """Our errors as one line on stderr and their exit code; a traceback only with --debug."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a program: without arguments, for those are the command line's.

        When its command has ended, nothing is left that could be stopped: Ctrl-C while the
        interpreter tidies up brings no traceback, and takes no exit code away.
        """
        _open_closed_streams()
        try:
            return super().__call__(*args, **kwargs)
        finally:
            if not (args or kwargs):  # else it was called by somebody who goes on
                for number in POLITE:
                    signal.signal(number, signal.SIG_IGN)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name; who asks for the doctor is told what it is called."""
        if args[0] in CALLED and args[0] not in self.commands:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {CALLED[args[0]]!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and end the process with the code of what went wrong."""
        try:
            _check_where_we_are()
            with sigterm_is_ctrl_c():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            error: Exception
            error, code = StoppedError("stopped"), StoppedError.exit_code
        except P2pqgError as caught:
            error, code = caught, caught.exit_code
        except Exception as caught:
            error, code = caught, 1
            if isinstance(caught, OSError):
                if caught.errno == errno.EPIPE:
                    raise  # the reader has gone: click ends quietly
                if caught.errno == errno.ENAMETOOLONG:
                    named = f"{str(caught.filename):.60}..."
                    error = ConfigError(f"{named}: too long for the name of a file; shorten it")
                    code = ConfigError.exit_code
                if caught.errno in NO_ROOM:  # perhaps under a log that stdout goes to
                    what = caught.filename or "what it prints"
                    error = StorageError(f"{what} cannot be written: {caught.strerror}")
                if caught.errno in NOT_ALLOWED and caught.filename:
                    error = ConfigError(f"{caught.filename}: {str(caught.strerror).lower()}")
                    code = ConfigError.exit_code
        if ctx.meta.get("debug"):
            traceback.print_exception(error)
        else:
            ours = isinstance(error, P2pqgError)
            hint = "" if ours else " (a bug in p2pqg, or a broken machine; --debug shows where)"
            click.echo(f"{_kind(error)}: {error}{hint}", err=True)
        return ctx.exit(code)


def _check_where_we_are() -> None:
    """Where the folder is gone, libraries below us end the process, with words of their own."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "the folder that this was started in has been deleted; cd into one that is there"
        ) from None


def _open_closed_streams() -> None:
    """What a service was started without goes nowhere; else a file of ours might take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            while os.open(os.devnull, os.O_RDWR) < number:
                ...
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115  it stays
            setattr(sys, name, stream)


_with_place = warnings.formatwarning


def _as_note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """What is warned of for our users, in a line; of others', and for programmers, also where."""
    if category is Notice:
        return f"note: {message}\n"
    return _with_place(message, category, filename, lineno, line)


def _kind(error: Exception) -> str:
    """An error's name in the tree; those that only we tell apart have that of what they are."""
    known = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return next(known, type(error).__name__)


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["debug"] = True


class Share(click.ParamType):
    """A share, as 0.9 or as 90%."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The share as a number in (0, 1]."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = float("nan")
        if not 0 < share <= 1:
            self.fail(f"must be a share in (0, 1], e.g. 0.9 or 90%, got {text}", param, ctx)
        return share


SHARE = Share()
debug_flag = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)
set_flag = click.option(
    "--set", "sets", metavar="KEY=VALUE", multiple=True, help="Any key of a recipe, a.b for nested."
)
clients_flag = click.option(
    "--clients", type=int, metavar="N", help="Number of clients, where a name leaves it out."
)
draw_flag = click.option(
    "--draw",
    metavar="FILE",
    callback=lambda _, __, given: given and drawing_path(given),
    help="Draw to a .png, .svg or .pdf.",
)
tier_flag = click.option(
    "--tier",
    metavar="smoke|cpu|paper",
    help="The scale, of a recipe that comes in tiers; default: the shortest beyond smoke.",
)
quiet_flag = click.option("--quiet", is_flag=True, help="Print nothing but errors.")


@click.group(
    cls=Program, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="p2pqg")
@debug_flag
def main() -> None:
    """Peer-to-peer learning on simulated networks: quasi-global momentum and its rivals."""
    warnings.formatwarning = _as_note
    # A terminal that cannot show a character should not end a run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        click.get_current_context().color = False  # click itself looks at neither, rich does


FLAGS = {
    "topology": "NAME",
    "clients": "N",
    "alpha": "A",
    "partition": "NAME",
    "algorithm": "NAME",
    "dataset": "NAME",
    "data_dir": "DIR",
    "model": "NAME",
    "epochs": "N",
    "rounds": "N",
    "steps": "N",
    "time": "T",
    "batch_size": "N",
    "lr": "ETA",
    "momentum": "BETA",
    "local_steps": "H",
    "local_epochs": "E",
    "rule": "RULE",
    "weight_decay": "W",
    "privacy.clip": "C",
    "privacy.sigma": "S",
    "privacy.delta": "D",
    "seed": "N",
    "device": "auto|cpu|cuda",
    "precision": "float32|bf16|fp16|float64",
    "engine": "ray|local",
    "clients_per_actor": "auto|N",
    "transport": "object-store|direct",
    "capture": "auto|off|rehearse",
    "eval_every": "N",
    "record_every": "N",
    "checkpoint_every": "SECONDS",
    "out": "DIR",
    "name": "NAME",
    "address": "HOST:PORT",
}
"""Flags of `run`, which are keys of a recipe, and what stands for their values in the help.

Below a key they have its name in front: --privacy-clip. Values pass as they are; read_config judges
them.
"""


class SettingOption(click.Option):
    """A key of a recipe; its help is the key's own sentence, looked up when somebody asks."""

    def __init__(self, *declared: Any, key: str, **more: Any) -> None:
        super().__init__(*declared, **more)
        self.key = key

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from p2pqg.base.config import sentences
        from p2pqg.recipe.settings import NESTED, RunConfig

        above, _, key = self.key.rpartition(".")
        self.help = sentences(NESTED[above] if above else RunConfig)[key]
        return super().get_help_record(ctx)


def setting_flags(keys: Sequence[str]) -> Callable[[F], F]:
    """Decorator: one option per key of FLAGS, with the recipe's own default."""

    def add(command: F) -> F:
        for key in reversed(keys):
            name = key.replace(".", "_")
            flag = f"--{name.replace('_', '-')}"
            option = click.option(flag, name, metavar=FLAGS[key], cls=SettingOption, key=key)
            command = option(command)
        return command

    return add


def tell_on_stderr(line: str) -> None:
    """Say something beside what was asked for."""
    click.echo(line, err=True)


def print_lines(lines: Sequence[str]) -> None:
    """A table whose first line is its header."""
    click.echo(click.style(lines[0], bold=True))
    for line in lines[1:]:
        click.echo(line)


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Names and what there is to say about them, folded to the width of a terminal."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        lines = [text]
        if sys.stdout.isatty():
            lines = textwrap.wrap(text, max(40, shutil.get_terminal_size().columns - width - 2))
        click.echo(f"{click.style(f'{name:<{width}}', fg='cyan')}  {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{'':<{width}}  {line}")


def command_started() -> float:
    """`time.time()` when the interpreter began, so that its own start counts.

    Not when the process began: before it was told to run us it may have been a shell for minutes
    (`sh -c 'pip install ... && p2pqg run ...'`), which the system does not tell apart. A shell
    sleeps while its commands run, an interpreter that starts does not; so what counts is the time
    that this process has computed, or has waited for a core, up to the first line here.
    """
    return IMPORTED_AT - SPENT


@contextlib.contextmanager
def sigterm_is_ctrl_c() -> Iterator[None]:
    """A polite kill, or a terminal that closes, ends a command as Ctrl-C does: with its words.

    The signals of a process can be set in its main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    others = [number for number in POLITE if number != signal.SIGINT]
    before = {number: signal.getsignal(number) for number in others}
    for number in others:
        if before[number] != signal.SIG_IGN:  # as of nohup
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
