"""The program: its errors and exit codes, and what its commands have in common."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from p2pqg.base.errors import P2pqgError, StoppedError
from p2pqg.base.registry import F

IMPORTED_AT = time.time()


class Program(click.Group):
    """Our errors as one line on stderr and their exit code; a traceback only with --debug."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and end the process with the code of what went wrong."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            error: Exception
            error, code = StoppedError("stopped"), StoppedError.exit_code
        except P2pqgError as caught:
            error, code = caught, caught.exit_code
        except Exception as caught:
            if isinstance(caught, OSError) and caught.errno == errno.EPIPE:
                raise  # the reader has gone: click ends quietly
            error, code = caught, 1
        if ctx.meta.get("debug"):
            traceback.print_exception(error)
        else:
            ours = isinstance(error, P2pqgError)
            hint = "" if ours else " (a bug in p2pqg, or a broken machine; --debug shows where)"
            click.echo(f"{type(error).__name__}: {error}{hint}", err=True)
        return ctx.exit(code)


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["debug"] = True


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
draw_flag = click.option("--draw", metavar="FILE", help="Draw to a .png, .svg or .pdf.")
tier_flag = click.option(
    "--tier",
    metavar="smoke|cpu|paper",
    help="The scale, of a recipe that comes in tiers; default: the shortest beyond smoke.",
)
quiet_flag = click.option("--quiet", is_flag=True, help="Print nothing but errors.")


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="p2pqg")
@debug_flag
def main() -> None:
    """Peer-to-peer learning on simulated networks: quasi-global momentum and its rivals."""
    # A terminal that cannot show a character should not end a run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


FLAGS = {
    "topology": ("NAME", "Network: ring16, social32, base25:k=2, ..., or a file."),
    "clients": ("N", "Number of clients, where the topology's name leaves it out."),
    "alpha": ("A", "Dirichlet concentration; 0.1: few classes per client, 100: nearly alike."),
    "partition": ("NAME", "How data is split; default: qg-dirichlet with --alpha, iid without."),
    "algorithm": ("NAME", "qg-dsgdm-n, dsgd, dsgdm-n, ...; see `p2pqg list algorithms`."),
    "dataset": ("NAME", "digits, cifar10, ...; see `p2pqg list datasets`."),
    "data_dir": ("DIR", "Where to look for the data set first."),
    "model": ("NAME", "mlp, resnet20-evonorm, ...; default: the data set's."),
    "epochs": ("N", "Passes over the clients' own data; or say --rounds."),
    "rounds": ("N", "Communication rounds."),
    "batch_size": ("N", "Samples per client and round."),
    "lr": ("ETA", "Learning rate."),
    "momentum": ("BETA", "The algorithm's beta."),
    "rule": ("RULE", "What receivers make of their inboxes, e.g. clipped; see p2pqg list rules."),
    "weight_decay": ("W", "Added to the gradient as W x."),
    "seed": ("N", "Of everything random in the run."),
    "device": ("auto|cpu|cuda", "Where clients compute."),
    "precision": ("float32|bf16|fp16|float64", "Of products; 16 bits: states stay float32."),
    "engine": ("ray|local", "local: in this process, without Ray."),
    "clients_per_actor": ("auto|N", "Clients that share one Ray actor."),
    "transport": ("object-store|direct", "Of rows; direct: Ray's alpha, for actors on one GPU."),
    "eval_every": ("N", "Rounds between evaluations."),
    "record_every": ("N", "Rounds between rows of rounds.parquet."),
    "checkpoint_every": ("SECONDS", "Between checkpoints; default: 60; 0: none."),
    "out": ("DIR", "Where results go, in a directory of their own; default: runs/out."),
    "name": ("NAME", "That directory's name; default: topology, algorithm and time."),
    "address": ("HOST:PORT", "A running Ray cluster."),
}
"""Flags of `run`: the keys of a recipe. Values pass as they are; read_config judges them."""


def setting_flags(keys: Sequence[str]) -> Callable[[F], F]:
    """Decorator: one option per key of FLAGS, with the recipe's own default."""

    def add(command: F) -> F:
        for key in reversed(keys):
            metavar, text = FLAGS[key]
            flag = f"--{key.replace('_', '-')}"
            command = click.option(flag, key, metavar=metavar, help=text)(command)
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
    """`time.time()` when this process began, so that the interpreter's own start counts too."""
    try:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        born = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22: ticks since boot
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - born
    except (OSError, AttributeError, IndexError, ValueError):
        return IMPORTED_AT
    return time.time() - age if age >= 0 else IMPORTED_AT


@contextlib.contextmanager
def sigterm_is_ctrl_c() -> Iterator[None]:
    """A polite kill ends a run as Ctrl-C does: rows so far are written."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
