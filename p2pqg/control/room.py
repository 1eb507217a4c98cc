"""The control room: what can be asked of the networks that a player plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from p2pqg.base.errors import ConfigError, P2pqgError, did_you_mean
from p2pqg.base.ranges import whole_number
from p2pqg.base.text import typed
from p2pqg.base.wording import counted
from p2pqg.control.branch import Branch
from p2pqg.control.playable import Playable
from p2pqg.control.player import MOST_BRANCHES, Player, told
from p2pqg.control.recipe import recipe_of
from p2pqg.network.verbs import VERBS


class Room(Player):
    """Up to four networks, played side by side; asked by `act`, with one of `ACTIONS`."""

    def branch(self, number: int) -> Branch:
        """The branch of that number.

        Raises:
            ConfigError: there is none.
        """
        for branch in self.branches:
            if branch.number == number:
                return branch
        raise ConfigError(f"there is no network {'ABCD'[number : number + 1] or number} here")

    def close(self) -> None:
        """Stand, and close the forks; the simulation stays open."""
        self.act({"do": "pause"})
        self.wait(60)
        for branch in self.branches[1:]:
            with suppress(P2pqgError):
                branch.sim.close()
        del self.branches[1:]

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
            self._say(told(error), wrong=True)
        except TypeError as error:
            self._say(f"{name}: {error}", wrong=True)
        self._show(always=True)

    # What can be asked

    def _hello(self) -> None:
        """Somebody new looks: the next frame says everything."""
        for branch in self.branches:
            branch.show_again()
            if self.until is None and not branch.sim.closed:
                branch.keep()
                branch.evaluate()

    def _run(self, rounds: int | None = None) -> None:
        """Run so many more rounds of all; None: to the end of the recipe, or as long again.

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
        if not whole_number(rounds, 1):
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
            f"saved {' and '.join(map(str, written))}; `p2pqg run {typed(written[0])}` repeats it"
            + (f" ({left_out})" if recipe.last else "")
        )

    def _shown(self, links: str) -> None:
        """How wide links are drawn: by bytes, by how much their ends disagree, or alike (none)."""
        if links not in ("bytes", "disagreement", "none"):
            raise ConfigError(f"links must be bytes, disagreement or none, got {links!r}")
        self._links = links


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
