"""The player: one thread that plays the networks of a control room, shows and keeps them.

Whatever is asked of it is put into a queue; that thread takes it out between two rounds. So nothing
is lost, whoever asks, and other cells go on. It ends when there is nothing to do.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError, DivergedError, P2pqgError
from p2pqg.base.text import user_path
from p2pqg.control.branch import NAMES, Branch
from p2pqg.control.keeper import Keeper
from p2pqg.control.moments import Moments
from p2pqg.control.playable import Playable

MOST_BRANCHES = 4
MEGABYTES = 64
"""For the moments of all branches together."""
SECONDS_BETWEEN_FRAMES = 0.1
SHARE = 0.05
"""Share of a run's time that may go into what is shown and kept of it."""
SECONDS_AT_ONCE = 0.25
"""About, between two looks into the queue."""
SECONDS_OF_REST = 0.001
"""In which another thread that waits for its turn gets it."""

CLOSED = "this simulation is closed; start another, or restore a checkpoint of it"

FOLLOW: Mapping[str, Any] = {"do": "follow"}
"""In the queue: something else has changed what is shown."""

Frame = dict[str, Any]


class Player(ABC):
    """Up to four networks, played side by side.

    Attributes:
        branches: the simulation that it began with, and its forks.
        until: rounds to which all of them play; None: they stand.
        sentence: what is to be known: what was refused, why it stopped.
        listeners: called with every frame, in the thread that plays.
        keeper: keeps checkpoints in a folder; None: nobody does.
        spent, played: seconds that went into what is shown and kept, and into the rounds.
    """

    def __init__(
        self, sim: Playable, megabytes: float = MEGABYTES, folder: str | Path | None = None
    ) -> None:
        """Lead a simulation.

        Raises:
            ConfigError: it is closed, or the folder cannot be made.
        """
        if sim.closed:
            raise ConfigError(f"control: {CLOSED}")
        per_branch = int(megabytes * 1e6 / MOST_BRANCHES)
        self.branches = [Branch(0, sim, Moments(per_branch))]
        self.megabytes = megabytes
        self.until: int | None = None
        self.keeper = None if folder is None else Keeper(folder)
        self.sentence, self.is_wrong = "", False
        self.listeners: list[Callable[[Frame], None]] = []
        self.spent = self.played = 0.0
        self._links = "none"
        self._queue: deque[Mapping[str, Any]] = deque()
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_kept = False
        self._shown_at, self._rounds_per_second = 0.0, 0.0
        self._seconds_of_frame = 0.0
        self._listen_to(sim)
        if self.keeper is not None and sim.restored is not None and self.keeper.is_of(sim):
            self._take_back(self.keeper, sim.restored[1], per_branch)

    def _take_back(self, keeper: Keeper, settings: Mapping[str, Any], most_bytes: int) -> None:
        """The forks that stood beside A when the kernel ended that kept them."""
        sim, lost = self.branches[0].sim, []
        keeper.goes_on(self.branches[0])
        for number, home in keeper.forks().items():
            try:
                twin = sim.restore(home, **settings)
            except P2pqgError as error:  # it stays where it is, and goes aside for a new one
                lost.append(f"{NAMES[number]} could not be restored: {told(error)}")
                continue
            self.branches.append(Branch(number, twin, Moments(most_bytes)))
            keeper.goes_on(self.branches[-1])
            self._listen_to(twin)
        self._say("; ".join(lost), wrong=bool(lost))

    def _listen_to(self, sim: Playable) -> None:
        """What a simulation wants to be known, such as actors that died, is said here, too."""
        before = sim.on_note

        def note(text: str) -> None:
            self._say(text)
            for listener in list(self.listeners):  # at once: what follows may take a while
                listener(self._about([{"id": one.number} for one in self.branches]))
            before(text)

        sim.on_note = note
        sim.on_change = partial(self._follow, sim)

    # From any thread

    def act(self, what: Mapping[str, Any]) -> None:
        """Do this between two rounds, after what was asked before.

        Args:
            what: {"do": one of `ACTIONS`, ...}, see its function.
        """
        with self._lock:
            self._queue.append(what)
            self._lock.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._lead, name="control", daemon=True)
                self._thread.start()

    def keep_in(self, folder: str | Path) -> None:
        """Keep checkpoints there from now on.

        Raises:
            ConfigError: the folder cannot be made.
        """
        if self.keeper is None or self.keeper.folder != user_path(folder):
            self.keeper = Keeper(folder)

    def _follow(self, sim: Playable, has_gone_back: bool) -> None:
        """Show soon what somebody else, such as another cell, has made of a simulation."""
        if threading.current_thread() is self._thread or not self.listeners:
            return
        numbers = [one.number for one in self.branches if one.sim is sim and has_gone_back]
        if numbers or FOLLOW not in self._queue:
            self.act({**FOLLOW, "back": numbers} if numbers else FOLLOW)

    def wait(self, seconds: float | None = None) -> bool:
        """Until all that was asked is done and it stands; False: it took longer."""
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, seconds)

    @property
    def is_busy(self) -> bool:
        """Whether it plays, or has something to do."""
        return self._thread is not None

    # In the thread that plays

    def _lead(self) -> None:
        while True:
            with self._lock:
                asked = self._queue.popleft() if self._queue else None
                over = asked is None and self.until is None
                if over and (self._is_kept or self.keeper is None):
                    self._thread = None
                    self._lock.notify_all()
                    return
            try:
                if over:
                    self._keep()
                elif asked is not None and asked.get("do") == "follow":
                    self._catch_up(asked.get("back", ()))
                elif asked is not None:
                    self._is_kept = False
                    self._carry_out(asked)
                else:
                    self._is_kept = False
                    self._play()
            except Exception as error:  # whatever it is, the room stays open
                self.until = None
                self._say(told(error), wrong=True)
                self._show(always=True)

    def _play(self) -> None:
        assert self.until is not None
        self._check_open()
        began = time.perf_counter()
        lowest = min(branch.sim.round for branch in self._playing)
        if lowest >= self.until:
            self._stand("")
            return
        num_rounds = max(1, int(SECONDS_AT_ONCE * self._rounds_per_second))
        goal, before = min(self.until, lowest + num_rounds), self._rounds_done
        for branch in self._playing:
            sim = branch.sim
            if sim.round < goal:
                try:
                    branch.advance(goal - sim.round)
                except DivergedError as error:
                    self._stand_diverged(branch, error)
                    return
                if sim.stopped:
                    self.played += time.perf_counter() - began
                    self._stand(f"{branch.name} has ended by itself: {sim.stopped}")
                    return
        seconds = max(time.perf_counter() - began, 1e-9)
        self.played += seconds
        if before:  # the first rounds are slow: actors have to start
            self._rounds_per_second = (self._rounds_done - before) / seconds / len(self._playing)
        self._keep_moments()
        if self.keeper is not None and self.keeper.is_due(self.played):
            self._keep()
        self._show()
        time.sleep(SECONDS_OF_REST)

    @property
    def _playing(self) -> list[Branch]:
        """Branches that can play; one that has diverged stands until it is taken back."""
        return [branch for branch in self.branches if not branch.diverged]

    @property
    def _rounds_done(self) -> int:
        return sum(branch.sim.round for branch in self.branches)

    def _stand(self, sentence: str) -> None:
        """All stand still; each client is measured as it is."""
        self.until = None
        if sentence:
            self._say(sentence)
        for branch in self.branches:
            if not branch.sim.closed:
                branch.evaluate()
        self._show(always=True)

    def _stand_diverged(self, branch: Branch, error: DivergedError) -> None:
        """A divergence is news, so all branches stand; then the others can go on."""
        self._say(told(error), wrong=True)
        if len(self.branches) > 1:
            rest = "; play goes on without it" if self._playing else ""
            self._say(f"{branch.name}: {self.sentence}{rest}", wrong=True)
        self._stand("")

    def _catch_up(self, gone_back: Sequence[int]) -> None:
        """Show how it stands, as rarely as while it plays, but not after what is asked."""
        for branch in self.branches:
            if branch.number in gone_back:
                branch.has_gone_back()
        if self.until is not None:  # it plays, and is shown anyway
            return
        if not self.branches[0].sim.closed:
            rest = max(SECONDS_BETWEEN_FRAMES, self._seconds_of_frame / SHARE)
            with self._lock:
                self._lock.wait_for(self._is_asked, self._shown_at + rest - time.monotonic())
        began = time.monotonic()
        self._show(always=True)
        self._seconds_of_frame = time.monotonic() - began

    def _is_asked(self) -> bool:
        return any(asked.get("do") != "follow" for asked in self._queue)

    # What is kept

    def _keep_moments(self) -> None:
        for branch in self.branches:
            if branch.moments.wants(branch.sim.round) and self._may_spend:
                self._spend(branch.keep)

    def _keep(self) -> None:
        """On disk, for the time after this kernel."""
        self._is_kept = True
        if self.keeper is not None:
            known, before = self.keeper.problem, self.keeper.aside
            self.keeper.keep(self.branches, while_playing=self.until is not None)
            if self.keeper.aside != before:
                self._say(f"what an earlier room kept is in {str(self.keeper.aside)!r} now")
            if self.keeper.problem not in ("", known):
                self._say(f"nothing is kept on disk: {self.keeper.problem}", wrong=True)
                self._show(always=True)

    @property
    def _may_spend(self) -> bool:
        return self.spent <= SHARE * self.played

    def _spend(self, what: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            return what()
        finally:
            self.spent += time.perf_counter() - began

    # What is said and shown

    def _say(self, sentence: str, wrong: bool = False) -> None:
        self.sentence, self.is_wrong = sentence, wrong

    def _show(self, always: bool = False) -> None:
        """Tell who listens how it stands; at most ten times a second, and never for too long."""
        now = time.monotonic()
        if not self.listeners:
            return
        if not always and (now - self._shown_at < SECONDS_BETWEEN_FRAMES or not self._may_spend):
            return

        def show() -> None:
            frame = self.frame()
            for listener in list(self.listeners):
                listener(frame)

        self._shown_at = now
        if always and self.until is None:
            show()
        else:
            self._spend(show)

    def frame(self) -> Frame:
        """How it stands: {"branches": [...], ...}, see `Branch.frame`."""
        branches = []
        for branch in self.branches:
            found: Frame = {"id": branch.number} if branch.sim.closed else branch.frame()
            if not branch.sim.closed and self._links != "none" and self.until is None:
                found["widths"] = branch.widths(self._links)
            branches.append(found)
        return self._about(branches)

    def _about(self, branches: list[Frame]) -> Frame:
        """A frame with what is to be seen of each branch."""
        closed = self.branches[0].sim.closed
        return {
            "playing": self.until is not None,
            "until": self.until,
            "planned": self.branches[0].sim.experiment.num_rounds,
            "sentence": CLOSED if closed else self.sentence,
            "wrong": self.is_wrong or closed,
            "links": self._links,
            "megabytes": self.megabytes,
            "restoring": self._restoring,
            "branches": branches,
        }

    @property
    def _restoring(self) -> list[str]:
        """A line for each network that is kept on disk."""
        return [] if self.keeper is None else [self.keeper.restoring(one) for one in self.branches]

    def _check_open(self) -> None:
        if self.branches[0].sim.closed:
            raise ConfigError(CLOSED)

    @abstractmethod
    def _carry_out(self, asked: Mapping[str, Any]) -> None:
        """Do what was asked, and show it; what is refused is said."""


def told(error: Exception) -> str:
    """An error as a sentence."""
    if isinstance(error, ConfigError):
        return "; ".join(error.lines)
    if isinstance(error, P2pqgError):
        return str(error)
    return f"{type(error).__name__}: {error} (a bug in p2pqg, or a broken machine)"
