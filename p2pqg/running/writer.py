"""Writes what a run leaves behind, while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from p2pqg.base.errors import P2pqgError, StorageError
from p2pqg.base.text import typed
from p2pqg.results.changes import Watched
from p2pqg.results.checkpoint import CHECKPOINTS, newest, prune
from p2pqg.results.directory import RunDirectory
from p2pqg.results.parquet import read_rows
from p2pqg.results.schemas import CHANGE_COLUMNS
from p2pqg.running.observer import Observer
from p2pqg.simulation.moment import Moment
from p2pqg.simulation.simulation import Simulation


class Writer:
    """Writes what a run leaves behind; a full disk is no reason to stop."""

    def __init__(self, sim: Simulation, directory: RunDirectory, observer: Observer | None) -> None:
        self.sim, self.directory, self.observer = sim, directory, observer
        self.told: set[str] = set()
        self.unsaved = ""
        """Why the newest checkpoint could not be written; "" where it was."""
        self._are_changes_unwritten = False
        self.changes = self._known_changes()
        sim.on_note = self.note
        if sim.experiment.config.checkpoint_every:
            sim.saver = self.checkpoint

    def note(self, text: str) -> None:
        if self.observer and text not in self.told:
            self.told.add(text)
            self.observer.noted(text)

    def rows(self, sim: Simulation) -> None:
        with sim.clock("recording"), self._tolerant("rows"):
            self._look_for_changes()
            if self.directory.is_due:
                columns, of_clients = sim.columns, sim.client_columns
                self.directory.write_rows(*sim.rows, columns=columns, of_clients=of_clients)
                self._write_links()
                self._write_changes()
        if self.observer:
            with sim.clock("recording"):
                self.observer.recorded(sim)

    def _known_changes(self) -> Watched:
        """The changes of before a resume, or all that made the network what it is."""
        sim, path = self.sim, self.directory.path / "changes.parquet"
        with suppress(OSError, ValueError):
            known = [row for row in read_rows(path) if row["round"] <= sim.round]
            return Watched(sim.network, known)
        watched = Watched(sim.experiment.network)
        if sim.round:
            self._are_changes_unwritten = watched.look(sim.network, sim.round)
        return watched

    def _look_for_changes(self) -> None:
        """See what became of the network, for replays."""
        if self.sim.network is not self.changes.network:
            events = self.sim.events
            round = events[-1]["round"] if events else self.sim.round
            self._are_changes_unwritten |= self.changes.look(self.sim.network, round)

    def _write_changes(self) -> None:
        if self._are_changes_unwritten:
            self.directory.write_table("changes", self.changes.rows, CHANGE_COLUMNS)
            self._are_changes_unwritten = False

    def _write_links(self) -> None:
        """What went over each link so far."""
        if self.sim.experiment.timing is not None:
            self.directory.write_links(self.sim.links)

    def beginning(self, moment: Moment) -> None:
        """Save where a branch of another run begins: its recipe alone begins elsewhere.

        Raises:
            OSError: it cannot be written.
        """
        if moment.snapshot is not None:  # else nothing has been done yet
            with self.sim.clock("recording"):
                moment.write(self._place_of(moment))

    def _place_of(self, moment: Moment) -> Path:
        return self.directory.path / CHECKPOINTS / f"round-{moment.log.round:09d}"

    def checkpoint(self, moment: Moment) -> Path | None:
        """Save a moment; returns where to find it, or None if it could not be written."""
        path = self._place_of(moment)
        with self.sim.clock("recording"):
            with self._tolerant("changes"):  # rows are in the checkpoint, these are not
                self._look_for_changes()
                self._write_changes()
            try:
                moment.write(path)
                prune(path)
            except OSError as error:
                self.unsaved = error.strerror or str(error)
                self.note(f"cannot write a checkpoint ({self.unsaved}); going on")
                return None
        self.unsaved = ""
        return self.directory.path

    def last_words(self) -> None:
        """Stopped from outside: keep what there is, unless that means to wait for the actors."""
        if self.sim.saver and self.sim.is_settled:
            with suppress(P2pqgError):
                self.sim.save()

    @property
    def what_next(self) -> str:
        """What a user can do after a stop."""
        path = self.directory.path
        if not self.sim.saver:
            return f"results so far: {path}"
        if self.unsaved:
            return f"{self._left_to_resume}; results so far: {path}"
        return f"`p2pqg resume {typed(path)}` goes on"

    @property
    def _left_to_resume(self) -> str:
        """What a resume can do where the newest checkpoint could not be written."""
        saved = next(newest(self.directory.path / CHECKPOINTS), None)
        then = "a resume goes on from "
        then = then + saved.name if saved else "there is no other: nothing is left to resume"
        return f"its last checkpoint cannot be written ({self.unsaved}); {then}"

    def _tolerant(self, what: str) -> _Tolerant:
        return _Tolerant(lambda reason: self.note(f"cannot write {what} ({reason}); going on"))

    def close(self) -> None:
        """All that there is, now.

        Raises:
            StorageError: it cannot be written.
        """
        sim, directory = self.sim, self.directory
        try:
            directory.write_rows(
                *sim.rows, columns=sim.columns, of_clients=sim.client_columns, now=True
            )
            self._look_for_changes()
            self._write_changes()
            self._write_links()
            unsaved = {"unsaved": self._left_to_resume} if self.unsaved else {}
            directory.write_summary({**sim.summary(evaluate=False), **unsaved})
            if sim.experiment.config.profile:
                directory.write_json("trace.json", sim.trace())
                directory.write_json("profile.json", sim.profile())
        except OSError as error:
            path = directory.path
            unwritten = StorageError(
                f"round {sim.round}: results cannot be written to {path} ({error.strerror}); "
                f"make room, then `p2pqg resume {typed(path)}` goes on"
            )
            unwritten.results = path
            raise unwritten from None


class _Tolerant:
    """Context manager: an OSError inside is told and passed over."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, OSError):
            return False
        self.tell(error.strerror or str(error))
        return True
