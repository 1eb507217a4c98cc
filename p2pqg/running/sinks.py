"""The sinks there are, by the names of their flags."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.base.errors import ConfigError, did_you_mean

if TYPE_CHECKING:  # a help text does without
    from p2pqg.running.sink import Sink

SINKS = {
    "csv": ("tables", "Csv", "Write rounds.csv beside the results."),
    "jsonl": ("tables", "JsonLines", "Write rounds.jsonl, an object per row."),
    "watch": ("watching", "Page", "Serve a page that shows the run as it goes."),
    "tensorboard": ("tensorboard", "TensorBoard", "Write TensorBoard events beside the results."),
    "wandb": ("wandb", "Wandb", "Log to Weights & Biases; without a key, offline."),
    "mlflow": ("mlflow", "MLflow", "Log to MLflow: mlflow.db beside the results, or its server."),
}
"""Name -> module in this room, class in it, help of the flag."""


def kind_of(name: str) -> type[Sink]:
    """The class of a sink; its package is imported when one is made."""
    module, kind, _ = SINKS[name]
    found: type[Sink] = getattr(import_module(f"p2pqg.running.{module}"), kind)
    return found


def check_sinks(names: Iterable[str]) -> None:
    """Refuse what cannot be had, before anything starts.

    Raises:
        ConfigError: there is no such sink, or its package is not installed.
    """
    with with_sinks(names):
        pass


def left_behind(path: Path, names: Collection[str], observer: Any) -> list[str]:
    """A line for each sink that has rows of a run, and gets no more of them.

    Args:
        path: the directory of a run that goes on.
        names: of the sinks that go on with it.
        observer: who may tell others.
    """
    told = getattr(observer, "sinks", ())
    return [
        f"--{name} was given before, and is not now: it gets no rows from here on"
        for name in SINKS
        if name not in names and name not in told
        if (leaves := kind_of(name).leaves) and (path / leaves).exists()
    ]


@contextlib.contextmanager
def with_sinks(names: Iterable[str], observer: Any = None) -> Iterator[Any]:
    """An observer that tells the sinks and the observer given; that one alone without sinks.

    Raises:
        ConfigError: there is no such sink, or its package is not installed.
    """
    if isinstance(names, str):  # not its letters
        names = [names]
    with contextlib.ExitStack() as stack:
        if not isinstance(names, Iterable):
            raise ConfigError(f"sinks must be a list of names, got {names!r:.60}")
        for name in dict.fromkeys(names):
            if name not in SINKS:
                raise ConfigError(f"sinks: unknown sink {name!r}{did_you_mean(str(name), SINKS)}")
            observer = stack.enter_context(kind_of(name)(observer))
        yield observer
