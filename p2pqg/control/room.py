"""The control room: plays a simulation and its forks in the background, and is told what to do.

Whatever is asked of it is put into a queue; one thread takes it out between two rounds. So nothing
is lost, whoever asks, and other cells go on. That thread ends when there is nothing to do.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError, DivergedError, P2pqgError, did_you_mean
from p2pqg.base.text import user_path
from p2pqg.base.wording import counted
from p2pqg.control.branch import NAMES, Branch
from p2pqg.control.keeper import Keeper
from p2pqg.control.moments import Moments
from p2pqg.control.playable import Playable
from p2pqg.control.recipe import recipe_of
from p2pqg.network.verbs import VERBS

MOST_BRANCHES = 4
MEGABYTES = 64
"""For the moments of all branches together."""
SECONDS_BETWEEN_FRAMES = 0.1
SHARE = 0.05
"""Of the time of a run that may go into what is shown and kept of it."""
SECONDS_AT_ONCE = 0.25
"""About, between two looks into the queue."""
SECONDS_OF_REST = 0.001
"""In which another thread that waits for its turn gets it."""

CLOSED = "this simulation is closed; start another, or restore a checkpoint of it"

Frame = dict[str, Any]


class Room:
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
                lost.append(f"{NAMES[number]} could not be restored: {_told(error)}")
                continue
            self.branches.append(Branch(number, twin, Moments(most_bytes)))
            keeper.goes_on(self.branches[-1])
            self._listen_to(twin)
        self._say("; ".join(lost), wrong=bool(lost))

    # From any thread

    def act(self, what: Mapping[str, Any]) -> None:
        """Do this between two rounds, after what was asked before.

        Args:
            what: {"do": one of `ACTIONS`, ...}, see its function.
        """
        with self._lock:
            self._queue.append(what)
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
                elif asked is not None:
                    self._is_kept = False
                    self._carry_out(asked)
                else:
                    self._is_kept = False
                    self._play()
            except Exception as error:  # whatever it is, the room stays open
                self.until = None
                self._say(_told(error), wrong=True)
                self._show(always=True)

    def _carry_out(self, asked: Mapping[str, Any]) -> None:
        self._check_open()
        name = str(asked.get("do"))
        action = ACTIONS.get(name)
        if action is None:
            raise ConfigError(f"unknown action {name!r}{did_you_mean(name, ACTIONS)}")
        given = {key: value for key, value in asked.items() if key != "do"}
        playing = self.until
        if name not in ("hello", "show"):
            self._say("")
        try:
            action(self, **given)
        except P2pqgError as error:  # refused: what plays goes on
            self.until = playing
            self._say(_told(error), wrong=True)
        except TypeError as error:
            self._say(f"{name}: {error}", wrong=True)
        self._show(always=True)

    def _check_open(self) -> None:
        if self.branches[0].sim.closed:
            raise ConfigError(CLOSED)

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
        """Those that can: what has diverged stands until it is taken to an earlier moment."""
        return [branch for branch in self.branches if not branch.diverged]

    @property
    def _rounds_done(self) -> int:
        return sum(branch.sim.round for branch in self.branches)

    @property
    def _may_spend(self) -> bool:
        return self.spent <= SHARE * self.played

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

    def _spend(self, what: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            return what()
        finally:
            self.spent += time.perf_counter() - began

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
        """That is news, so all stand; then the others can go on."""
        self._say(_told(error), wrong=True)
        if len(self.branches) > 1:
            rest = "; play goes on without it" if self._playing else ""
            self._say(f"{branch.name}: {self.sentence}{rest}", wrong=True)
        self._stand("")

    def _say(self, sentence: str, wrong: bool = False) -> None:
        self.sentence, self.is_wrong = sentence, wrong

    def _listen_to(self, sim: Playable) -> None:
        """What a simulation wants to be known, such as actors that died, is said here, too."""
        before = sim.on_note

        def note(text: str) -> None:
            self._say(text)
            for listener in list(self.listeners):  # at once: what follows may take a while
                listener(self._about([{"id": one.number} for one in self.branches]))
            before(text)

        sim.on_note = note

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

    def branch(self, number: int) -> Branch:
        """The branch of that number.

        Raises:
            ConfigError: there is none.
        """
        for branch in self.branches:
            if branch.number == number:
                return branch
        raise ConfigError(f"there is no network {'ABCD'[number : number + 1] or number} here")

    # What can be asked

    def _hello(self) -> None:
        """Somebody new looks: the next frame says everything."""
        for branch in self.branches:
            branch.show_again()
            if self.until is None and not branch.sim.closed:
                branch.keep()
                branch.evaluate()

    def _run(self, rounds: int | None = None) -> None:
        """So many more rounds of all; None: to the end of the recipe, or as long again.

        While it plays they come on top. What has diverged stands; the others go on without it.
        """
        for branch in self._playing or self.branches:
            branch.check_finite()
            branch.looked_at = None
            branch.keep()
        furthest = max([branch.sim.round for branch in self._playing] + [self.until or 0])
        planned = self.branches[0].sim.experiment.num_rounds
        if rounds is None:
            rounds = planned - furthest if furthest < planned else planned
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
            raise ConfigError(f"rounds must be >= 1, got {rounds!r}")
        self.until = furthest + rounds

    def _pause(self) -> None:
        """After the rounds that are on their way."""
        if self.until is not None:
            self._stand("")

    def _do(self, branch: int, verb: str, given: Mapping[str, Any]) -> None:
        """A verb of `p2pqg.network.verbs`; clients and links are numbers."""
        one = self.branch(branch)
        if verb not in VERBS:
            raise ConfigError(f"unknown action {verb!r}{did_you_mean(verb, VERBS)}")
        if one.looked_at is not None:
            raise ConfigError(
                "this is the past; go back to it, or fork from it, or look at now, then act"
            )
        one.check_finite()
        one.before_action()
        try:
            one.sim.do(verb, **_by_name(one.sim, given))
        except BaseException:
            one.forget_action()
            raise
        warnings = _news(one.sim)
        if warnings:
            self._say("; ".join(warnings))
        if self.until is None:
            one.evaluate()

    def _slow(self, branch: int, client: int, speed: float) -> None:
        """A client computes so much as fast as the others, e.g. 0.1."""
        sim = self.branch(branch).sim
        if sim.network.clock is None:
            raise ConfigError(
                "slow down: there is no simulated clock; begin with one, network: {compute: 1 s}"
            )
        compute = sim.network.clock.compute
        known = dict(compute.get("speeds") or {}) if isinstance(compute, Mapping) else {}
        name = sim.network.base.called(client)
        self._do(branch, "set_network", {"compute": {"speeds": {**known, name: speed}}})

    def _fork(self, branch: int) -> None:
        """A twin of a branch, from here or from the moment that is looked at."""
        if len(self.branches) == MOST_BRANCHES:
            raise ConfigError("there are four networks already; close one, then fork")
        parent = self.branch(branch)
        if parent.looked_at is None:
            parent.check_finite()
        number = min(set(range(MOST_BRANCHES)) - {one.number for one in self.branches})
        twin = parent.fork(number, parent.looked_at)
        self._listen_to(twin.sim)
        parent.looked_at = None
        parent.show_again()
        if self.until is None:
            twin.evaluate()
        self.branches.append(twin)

    def _end(self, branch: int) -> None:
        """Close a fork."""
        one = self.branch(branch)
        if one.number == 0:
            raise ConfigError("A is the simulation itself; close it with sim.close()")
        self.branches.remove(one)
        one.sim.close()
        if self.keeper is not None:
            self.keeper.forget(one)

    def _look(self, branch: int, round: int | None = None) -> None:
        """Show a moment of the past; None: now."""
        one = self.branch(branch)
        one.looked_at = None if round is None else _known(one, round)
        one.show_again()

    def _back(self, branch: int, round: int) -> None:
        """Go back to a moment: what was later is forgotten."""
        one = self.branch(branch)
        self.until = None
        one.go_back(_known(one, round))
        one.show_again()
        one.evaluate()

    def _undo(self, branch: int) -> None:
        """Go back to before the last action."""
        one = self.branch(branch)
        self.until = None
        if not one.undo():
            raise ConfigError("there is nothing to undo")
        one.show_again()
        one.evaluate()
        self._say(f"{one.name} is back at round {one.sim.round:,}, before the last action")

    def _save(self, branch: int, path: str = "recipe.yaml") -> None:
        """Write all that was done as a recipe."""
        one = self.branch(branch)
        one.check_finite()
        recipe = recipe_of(one.sim)
        written = recipe.save(path)
        left_out = counted(len(recipe.last), "action") + " after the last round as a comment"
        self._say(
            f"saved {' and '.join(map(str, written))}; `p2pqg run {user_path(path)}` repeats it"
            + (f" ({left_out})" if recipe.last else "")
        )

    def _shown(self, links: str) -> None:
        """How wide links are drawn: by bytes, by how much their ends disagree, or alike (none)."""
        if links not in ("bytes", "disagreement", "none"):
            raise ConfigError(f"links must be bytes, disagreement or none, got {links!r}")
        self._links = links

    def close(self) -> None:
        """Stand, and close the forks; the simulation stays open."""
        self.act({"do": "pause"})
        self.wait(60)
        for branch in self.branches[1:]:
            with suppress(P2pqgError):
                branch.sim.close()
        del self.branches[1:]


ACTIONS: dict[str, Callable[..., None]] = {
    "hello": Room._hello,
    "play": Room._run,
    "pause": Room._pause,
    "verb": Room._do,
    "slow": Room._slow,
    "fork": Room._fork,
    "end": Room._end,
    "look": Room._look,
    "back": Room._back,
    "undo": Room._undo,
    "save": Room._save,
    "show": Room._shown,
}
"""What can be asked of a room."""


def _known(branch: Branch, round: int) -> Any:
    moment = branch.moments.at(round)
    if moment is None:
        there = ", ".join(map(str, branch.moments.rounds)) or "none"
        raise ConfigError(f"no moment of round {round} is kept; those that are: {there}")
    return moment


def _by_name(sim: Playable, given: Mapping[str, Any]) -> dict[str, Any]:
    """Clients and links that a picture knows by number, as the network calls them."""
    base = sim.network.base

    def named(client: Any) -> Any:
        is_number = isinstance(client, int) and not isinstance(client, bool)
        known = is_number and 0 <= client < base.num_clients
        return base.called(client) if base.labels and known else client

    found = dict(given)
    for key in ("clients", "who"):
        if isinstance(found.get(key), list):
            found[key] = [named(client) for client in found[key]]
    if isinstance(found.get("links"), list):
        found["links"] = [
            [named(end) for end in link] if isinstance(link, list) else link
            for link in found["links"]
        ]
    return found


def _news(sim: Playable) -> list[str]:
    """What came of the last action, as far as it should be known."""
    events = sim.events
    told: list[str] = []
    while events and events[-1]["what"].split()[0].strip(":") not in VERBS:
        told.insert(0, events.pop()["what"])
    return told if events and events[-1]["round"] == sim.round else []


def _told(error: Exception) -> str:
    """An error as a sentence."""
    if isinstance(error, ConfigError):
        return "; ".join(error.lines)
    if isinstance(error, P2pqgError):
        return str(error)
    return f"{type(error).__name__}: {error} (a bug in p2pqg, or a broken machine)"
