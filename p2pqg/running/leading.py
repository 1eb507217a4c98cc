"""A simulation is led to its end, with its results on disk, however it ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from p2pqg.base.config import plain
from p2pqg.base.errors import (
    ClusterError,
    ConfigError,
    P2pqgError,
    RunError,
    StoppedError,
    StorageError,
)
from p2pqg.base.text import typed
from p2pqg.engine.interrupts import to_the_end, uninterrupted
from p2pqg.results.checkpoint import CHECKPOINTS
from p2pqg.results.directory import RunDirectory, does_not_stay
from p2pqg.results.parquet import check_parquet
from p2pqg.results.run import Run, load, readable
from p2pqg.running.observer import Observer
from p2pqg.running.writer import Writer
from p2pqg.simulation.moment import Moment
from p2pqg.simulation.simulation import Simulation


def lead(
    start: Callable[[], Simulation],
    directory: RunDirectory,
    observer: Observer | None,
    notes: list[str] | None = None,
    *,
    branch_of: Moment | None = None,
) -> Run:
    """Start the simulation and run it to its end, with its results in the directory.

    Args:
        start: makes the simulation.
        directory: of the run.
        observer: told of it.
        notes: what a user should know, a line each.
        branch_of: where it begins, if that is not where its recipe does.
    """
    directory.reserve()
    try:
        sim = start()
    except BaseException:
        directory.discard()
        raise
    try:
        _led(sim, directory, observer, notes or [], branch_of)
    except KeyboardInterrupt:  # while another one was answered, or when nobody looked
        if not has_finished(directory.path):
            if not directory.holds_a_run:
                raise StoppedError("stopped before it began; start it again") from None
            stopped = StoppedError(f"stopped; `p2pqg resume {typed(directory.path)}` goes on")
            stopped.results = directory.path
            raise stopped from None
    done = load(directory.path)
    if observer:
        observer.end(done)
    return done


def _led(
    sim: Simulation,
    directory: RunDirectory,
    observer: Observer | None,
    notes: list[str],
    branch_of: Moment | None,
) -> None:
    """Run it to its end; all that is written is there, however it ends."""
    with to_the_end() as stopping, directory, sim:
        writer = Writer(sim, directory, observer)
        try:
            directory.write_own_files(sim.experiment.own_files)
            if branch_of is not None:  # first: what has a recipe only is begun from that
                writer.beginning(branch_of)
            directory.write_config(plain(sim.experiment.config))
        except OSError as error:
            raise StorageError(
                f"{directory.path}: cannot be written ({error.strerror}); make room, start again"
            ) from None
        if observer:
            with sim.clock("recording"):  # a sink may take its time to open
                observer.begin(sim, directory.path)
        for text in [*notes, *sim.hosting.notes, *does_not_stay(directory.path)]:
            writer.note(text)
        try:
            sim.finish(after=writer.rows)
            if sim.saver:
                sim.save()
        except KeyboardInterrupt:
            stopping()
            writer.last_words()
            if not sim.is_over:  # else nothing is left to be stopped: it has its results
                stopped = StoppedError(f"stopped in round {sim.round}; {writer.what_next}")
                stopped.results = directory.path
                raise stopped from None
        except P2pqgError as error:
            then = f"results so far: {directory.path}"
            if isinstance(error, ClusterError):  # with that it may go on
                then = writer.what_next
            else:
                directory.write_failure(str(error))
            failed = type(error)(f"{error}; {then}")
            if isinstance(failed, RunError):
                failed.results = directory.path
            raise failed from error
        except Exception:  # of who watches: a log on a full disk, a reader that has gone
            with suppress(Exception):
                writer.last_words()
            raise
        finally:
            with uninterrupted():
                writer.close()
                if sim.is_over and not sim.saver:  # it was to keep none
                    shutil.rmtree(directory.path / CHECKPOINTS, ignore_errors=True)


def has_finished(home: Path) -> bool:
    """Whether all is written; else it was killed, or power was cut, at its very end."""
    run = Run(home)
    try:
        if not run.finished:
            return False
        for name in ("rounds", "clients"):
            with readable(home / f"{name}.parquet") as file:
                check_parquet(file)
    except ConfigError:  # files may be there by name only, if power was cut
        return False
    return True
