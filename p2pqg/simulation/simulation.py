"""Simulation: a live network of learning clients."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from typing_extensions import Unpack

from p2pqg.base.errors import ClusterError, ConfigError, DivergedError, P2pqgError, did_you_mean
from p2pqg.base.text import user_path
from p2pqg.engine.bookkeeping import Bookkeeper, Logbook
from p2pqg.engine.clock import Clock, Span, chrome_trace, totals
from p2pqg.engine.driver import Agenda, Driver, Engine
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.outlook import Outlook, of_rounds, of_waves
from p2pqg.engine.placement import Placement
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.waves.book import WaveBookkeeper
from p2pqg.network import Impairments, Network, Timing
from p2pqg.network.named import listed
from p2pqg.network.verbs import SOURCES, VERBS, does_nothing, item_of
from p2pqg.recipe.keywords import ImpairmentKeys, Restart, Resumed, Settings, with_keywords
from p2pqg.recipe.settings import read_settings
from p2pqg.simulation import evidence, summary
from p2pqg.simulation.build import build
from p2pqg.simulation.card import card
from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.hosting import Hosting
from p2pqg.simulation.moment import Moment
from p2pqg.simulation.notebook import watched
from p2pqg.simulation.safe import Safe
from p2pqg.simulation.turns import in_turn
from p2pqg.simulation.what_if import (
    donors_of,
    grown,
    shards_of_new,
    with_models_of,
)

if TYPE_CHECKING:
    import pandas as pd

Rows = tuple[dict[str, Any], list[dict[str, Any]]]
"""A row of rounds.parquet, and the rows of clients.parquet that go with it."""

SECONDS_OF_PATIENCE = 3.0
"""So long nobody has to be told why a Ctrl-C does not end a run at once."""

WAITS = "stops when the rounds on their way are done; Ctrl-C once more stops at once"

LOOK_AHEAD = 1000
"""Rounds that the simulated clock is read ahead, to send as many rounds at once as possible."""


class Simulation:
    """A live network of learning clients; also a context manager.

    >>> with Simulation(topology="ring4", rounds=20, engine="local") as sim:
    ...     sim.advance(rounds=5)
    ...     branch = sim.fork()
    ...     branch.drop_links(["0-1"])
    ...     branch.advance(rounds=5)
    ...     sim.round, branch.round, branch.parameters().shape
    (5, 10, (4, 4810))

    Clients are numbers, or names where the network has them; links are pairs (a, b), or "a-b" for
    both directions and "a->b" for one. A single one needs no brackets. Whatever is done to it is
    checked first: what is wrong is refused before anything changes.

    Attributes:
        experiment: its parts; experiment.config is the resolved recipe.
        rule, network: the algorithm with its parameters, and the network, as they are now.
        hosting: where it computes, and which clients live in which actor.
        restarts: after actors that died, a line each.
        stopped: why it ended before its last round, if it did; then `advance` does nothing.
        on_note: called with a line of text when something happens that a user should know.
        turn: held by the thread that uses it; what reads its records needs none.
        room: its control room, if there is one.
    """

    @with_keywords(Settings.__annotations__)
    def __init__(
        self,
        experiment: Experiment | None = None,
        *,
        started: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Start a network at round 0.

        Args:
            experiment: ready parts, or nothing: then they are built from the settings.
            started: `time.time()` from which wall seconds count; default: now.
            settings: keywords as of `p2pqg.run`; every round is recorded unless record_every says
                otherwise.

        Raises:
            ConfigError: with every problem of the settings; nothing was started.
        """
        started = time.time() if started is None else started
        if experiment is None:
            experiment = build(*read_settings({"record_every": 1, **settings}))
        self._begin(Moment.first(experiment), started)

    @classmethod
    @with_keywords(Restart.__annotations__)
    def restore(cls, path: str | Path, **settings: Unpack[Resumed]) -> Simulation:
        """Go on from a checkpoint, bit for bit, as if nothing had been in between.

        With other actors than before (`clients_per_actor`, `engine`) the numbers are the same to
        float rounding.

        Args:
            path: a checkpoint, or the directory of a run: then its newest one that is whole.
            settings: what shall differ: how long and where it runs, e.g. rounds, engine.

        Raises:
            ConfigError: there is none, it is damaged, or a setting that cannot change.

        Warns where a newer checkpoint of a run is damaged, so that an older one is used.
        """
        sim = cls.at(Moment.newest(path, tell=partial(warnings.warn, stacklevel=4), **settings))
        sim.restored = Path(path), dict(settings)
        return sim

    @classmethod
    def at(cls, moment: Moment, started: float | None = None) -> Simulation:
        """A simulation that stands where the moment stands."""
        sim = cls.__new__(cls)
        sim._begin(moment, started or time.time())
        return sim

    def _begin(self, moment: Moment, started: float) -> None:
        self.on_note: Callable[[str], None] = _nobody
        self._by_hand = True
        self.closed = False
        self.turn = RLock()
        self.room: Any = None
        self.restored: tuple[Path, dict[str, Any]] | None = None
        self._safe = Safe(moment)
        self._seen: tuple[tuple[int, int], Rows] | None = None
        self._told = moment.log.rounds[-1]["round"] if moment.log.rounds else -1
        self._networks: evidence.Past = ()
        self._ways: list[str] = []
        self._started, self._seconds_before = started, moment.seconds
        self.hosting = Hosting.of(moment.experiment)
        try:
            self._resume(moment)
        except BaseException:
            self.hosting.close()
            raise

    def _resume(self, moment: Moment, engine: Engine | None = None) -> None:
        """Build hosts that stand where the moment stands, unless there are some."""
        self.experiment, self.rule, self.network = moment.experiment, moment.rule, moment.network
        self.cursor, self.restarts = moment.cursor, moment.restarts
        self.stopped = moment.stopped
        self._safe.round = moment.log.round
        changed = moment.log.events[-1]["round"] if moment.log.events else 0
        self._networks = evidence.since(self._networks, changed, self.network)
        experiment, config = self.experiment, self.experiment.config
        self._driver = Driver(
            engine=engine
            or self.hosting.engine(experiment, self.rule, self.network, moment.snapshot),
            agenda=Agenda(
                num_rounds=experiment.num_rounds,
                record_every=config.record_every,
                eval_every=config.eval_every,
                eval_first=bool(config.eval_first),
                window=experiment.window,
            ),
            book=(Bookkeeper if experiment.waits else WaveBookkeeper)(
                lr=self.rule.lr,
                steps_per_epoch=experiment.steps_per_epoch,
                num_samples=np.array([len(part) for part in experiment.parts]),
                num_test_samples=experiment.num_test_samples,
                network=self.network,
                timing=self.network.timing,
                started=self._started - self._seconds_before,
                accounts=experiment.accounts,
                log=moment.log.copy(),
            ),
            clock=Clock(on=config.profile),
        )

    @property
    def round(self) -> int:
        """Rounds done."""
        return self._driver.round

    @property
    def seconds(self) -> float:
        """Wall time so far, without that in which it was not running."""
        return self._seconds_before + time.time() - self._started

    @in_turn
    def advance(self, rounds: int, *, after: Callable[[Simulation], None] | None = None) -> None:
        """Run that many rounds, with the scenario's events on the way.

        It can be interrupted; the next call goes on. Actors that die are replaced, and the rounds
        since the last checkpoint run again, with the same numbers.

        Args:
            rounds: >= 0.
            after: called with this simulation whenever a portion of the rounds is recorded.

        Raises:
            DivergedError: a client's loss is not finite.
            ClusterError: actors died more often than `max_restarts`.
        """
        self._check_open()
        until = self.round + rounds
        try:
            self._run(until, watched(after, self, until))
        except KeyboardInterrupt:
            # What is on its way is waited for, so that nothing is lost; not if asked once more.
            slow = Timer(SECONDS_OF_PATIENCE, self.on_note, [WAITS])
            slow.start()
            try:
                with suppress(P2pqgError):  # the next call finds it again
                    self._driver.settle()
            finally:
                slow.cancel()
            raise

    @property
    def is_settled(self) -> bool:
        """Whether all that was asked of the clients is done and recorded."""
        return self._driver.is_settled

    def _run(self, until: int, after: Callable[[Simulation], None] | None = None) -> None:
        while True:
            try:
                self._driver.settle()
                if self.round >= until:
                    return
                self._listen()
                if self.stopped:
                    return
                self._play_scenario()
                stop = int(min(until, self._next_event(), self._next_hearing()))
                for _ in self._driver.advance(stop, self._wants_saving):
                    if after:
                        after(self)
                self._listen()
                if self._wants_saving():
                    self.save()
            except ClusterError as error:
                self._recover(error)
                if after:
                    after(self)

    def stop(self, reason: str = "sim.stop()") -> None:
        """End the run after this round: what a callback says when enough is enough.

        Args:
            reason: what summary.json says of it.
        """
        self.stopped = str(reason)

    def _next_hearing(self) -> float:
        """The round after which somebody has to look at a row, before it goes on."""
        callbacks, stop = self.experiment.callbacks, self.experiment.config.stop
        if not (callbacks or stop):
            return math.inf
        every = any(callback.on_round for callback in callbacks)
        return self._driver.agenda.next_row(self.round, evaluated=not every)

    def _listen(self) -> None:
        """Tell callbacks of the rows that are new, and see whether it is time to stop.

        Rows that come again after a crash have been told before.
        """
        rows = self._driver.log.rounds
        news = len(rows)
        while news and rows[news - 1]["round"] > self._told:
            news -= 1
        for row in rows[news:]:
            self._told = row["round"]
            for callback in self.experiment.callbacks:
                callback.tell(self, row)
        if not self.stopped:
            self.stopped = self.experiment.config.stop.reason(rows)

    def _wants_saving(self) -> bool:
        if self._safe.saver is None and self.hosting.cluster is None:
            return False  # nothing can be lost
        return self._safe.is_stale(self.experiment.config.checkpoint_every, self.round)

    @property
    def saver(self) -> Callable[[Moment], Path | None] | None:
        """Writes a moment to the directory of the run, if it has one; see `Safe`."""
        return self._safe.saver

    @saver.setter
    def saver(self, saver: Callable[[Moment], Path | None] | None) -> None:
        self._safe.saver = saver

    def save(self) -> None:
        """Keep a moment to go back to: on disk where a run has a directory, else in memory."""
        if self._safe.saver is None:
            self._safe.keep(self.moment())
            return
        # Large models pass through one piece at a time; if an actor dies meanwhile, once more.
        self._ask(lambda driver: self._safe.keep(self._moment(driver.engine.snapshot(pieces=True))))

    def _recover(self, error: ClusterError) -> None:
        """New actors, which stand where the last moment that is safe does."""
        limit = self.experiment.config.max_restarts
        if self.hosting.cluster is None or len(self.restarts) >= limit:
            after = f" (after {len(self.restarts)} restarts)" if self.restarts else ""
            raise type(error)(f"{error}{after}") from error
        safe = self._safe.moment(self.experiment, self.on_note)
        line = f"round {self.round}: {error}; going on from round {safe.log.round}"
        self.on_note(line)
        with_line = (*self.restarts, line)
        self._driver.engine.close()
        self.hosting.revive(safe.experiment)
        self._replace_hosts(dataclasses.replace(safe, restarts=with_line))

    def _replace_hosts(self, moment: Moment, engine: Engine | None = None) -> None:
        """Go on from a moment with new hosts; when it all began is not forgotten."""
        before = self._driver
        self._resume(moment, engine)
        self._driver = dataclasses.replace(
            self._driver,
            first_round_at=before.first_round_at,
            first_round=before.first_round,
            clock=before.clock,
            spans=before.spans,
        )

    @in_turn
    def _ask(self, what: Callable[[Driver], Any]) -> Any:
        """Something of all clients as they are; new actors come to this round first."""
        round = self.round
        while True:
            try:
                self._driver.settle()
                return what(self._driver)
            except ClusterError as error:
                if not self._by_hand:  # then it is tried again as a whole
                    raise
                self._recover(error)
                self._run(round)

    def moment(self) -> Moment:
        """All that it needs to go on from here, in memory."""
        return self._moment(self._ask(lambda driver: driver.engine.snapshot()))

    def _moment(self, snapshot: Snapshot) -> Moment:
        return Moment(
            self.experiment,
            self.rule,
            self.network,
            snapshot,
            self._driver.log.copy(),
            self.cursor,
            self.seconds,
            self.restarts,
            self.stopped,
        )

    def checkpoint(self, path: str | Path) -> Path:
        """Save it to a folder, for `Simulation.restore`; one that is there is replaced.

        Raises:
            ConfigError: the folder cannot be written, or holds something else.
        """
        self._check_open()
        path = user_path(path)
        if path.exists() and not (path / "checkpoint.json").exists():
            raise ConfigError(f"{path}: there is something else already; choose another path")
        try:
            self._ask(lambda driver: self._moment(driver.engine.snapshot(pieces=True)).write(path))
        except OSError as error:
            raise ConfigError(
                f"{path}: a checkpoint cannot be written ({error.strerror}); choose another path"
            ) from None
        return path

    @in_turn
    def fork(self) -> Simulation:
        """A second simulation that stands where this one stands, and goes its own way.

        It shares actors and samples, and nothing that changes; both draw the same batches, so that
        what differs later is the effect of what was done to one of them. Left alone, it stays the
        same as this one. Close both.

        Raises:
            ConfigError: this one is closed.
        """
        self._check_open()
        self._driver.settle()
        twin = copy.copy(self)
        twin.turn, twin.room, twin.restored = RLock(), None, None
        twin._driver = self._driver.fork()
        twin.hosting = self.hosting.share()
        twin._safe = Safe(twin.moment() if self.hosting.cluster else self._safe.last)
        return twin

    def parameters(self) -> np.ndarray:
        """[clients, params]: every client's model."""
        self._check_open()
        return self._ask(lambda driver: driver.engine.parameters())

    def shard(self, client: Any) -> tuple[np.ndarray, np.ndarray]:
        """A client's training samples and their targets.

        Args:
            client: its number, or its name.

        Returns:
            [samples, ...] as they are stored (images as bytes, or as the paths of their files), and
            [samples, ...] as the task has them.

        Raises:
            ConfigError: no such client.
        """
        return evidence.shard(self.experiment, evidence.number_of(self.network, client))

    def batch(self, client: Any, step: int) -> tuple[np.ndarray, np.ndarray]:
        """What a client learns from at a step, as it sees it.

        Args:
            client: its number, or its name.
            step: of its gradients, from 0 on; a round has `experiment.steps_per_round` of them.

        Returns:
            inputs [batch, ...], normalised and augmented; targets [batch, ...], flipped where an
            attack flips them.

        Raises:
            ConfigError: no such client or step.
        """
        number = evidence.number_of(self.network, client)
        return evidence.batch(self.experiment, self.network, number, step)

    def state(self, client: Any) -> dict[str, np.ndarray]:
        """What a client carries to the next round: name -> array.

        The names are those of the algorithm's `State`: x, its model, [params], m, its momentum,
        and so on. "buffers" are what batch normalisation remembers, where there is any.

        Args:
            client: its number, or its name.

        Raises:
            ConfigError: no such client, or this simulation is closed.
        """
        self._check_open()
        number = evidence.number_of(self.network, client)
        return evidence.state(self._ask(lambda driver: driver.engine.snapshot()), number)

    def W(self, round: int) -> np.ndarray:
        """The mixing matrix of a round under whatever goes wrong: float64 [clients, clients].

        W[receiver, sender]: lost and late messages, clients that sit out or left and links that are
        cut are in it; noise, lies and rules of gossip come on top. Where clients do not wait, it is
        the network's, and each meeting takes its weights from it.

        Args:
            round: of the past, as the network was then, or of the future, if nothing is done to it.

        Raises:
            ConfigError: no such round, or one before a change that was made before `restore`.
        """
        return evidence.W(self._networks, round)

    def _check_open(self) -> None:
        if self.closed:
            raise ConfigError(
                "this simulation is closed; start another, or restore a checkpoint of it"
            )

    @in_turn
    def go_back(self, moment: Moment) -> None:
        """Stand where it stood, or where another fork of the same simulation stood.

        What was later is forgotten: rows, events, and what was done by hand.

        Args:
            moment: from `moment()`; it stays as it is.

        Raises:
            ConfigError: this one is closed, or the moment is of another simulation.
        """
        self._check_open()
        if moment.experiment.config is not self.experiment.config:
            raise ConfigError("go_back takes a moment of this simulation, or of a fork of it")
        if moment.experiment is not self.experiment or moment.snapshot is None:
            self._rebuild(moment)
        else:
            self._driver.settle()
            with uninterrupted():
                engine, bounds = self._driver.engine, self.hosting.placement.bounds
                engine.rewire(moment.rule, self.experiment.routing(moment.network, bounds))
                engine.load(moment.snapshot)
                self._replace_hosts(moment, engine)
                self._safe.last = moment
        self._seen = None
        self._told = moment.log.rounds[-1]["round"] if moment.log.rounds else -1

    @in_turn
    def close(self) -> None:
        """End the actors, and Ray too if it was started here, unless a fork still needs them."""
        if self.closed:
            return
        self.closed = True
        self.on_note, self.saver = _nobody, None  # whoever listens may hold on to us
        try:
            self._driver.engine.close()
        finally:
            self.hosting.close()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # What can be done to it between two rounds (`p2pqg.network.verbs`)

    @in_turn
    def do(self, verb: str, **given: Any) -> None:
        """Carry out a verb of a scenario, for instance drop_links with links=["0-1"].

        Args:
            verb: one of `p2pqg.network.verbs.VERBS`.
            given: its keywords.

        Raises:
            ConfigError: it cannot be done, or does not suit the algorithm.
        """
        if verb not in VERBS:
            raise ConfigError(f"unknown action {verb!r}{did_you_mean(verb, VERBS)}")
        if verb in ("restore_clients", "add_clients"):  # these change what clients hold, too
            getattr(self, verb)(**given)
            return
        entry, network, rule = VERBS[verb], self.network, self.rule
        if entry.network:
            network = entry.network(network, given, self.round)
        if network.clock is not self.network.clock:
            network = self.experiment.with_clock(network)
        if entry.rule:
            rule = entry.rule(rule, given)
        self._rewire(verb, given, entry.words(given, network), network, rule)

    def set_topology(self, topology: Any) -> None:
        """Another network of the same clients; links that were cut are forgotten.

        Args:
            topology: as of `p2pqg.topology.build`.

        Raises:
            TopologyError: it cannot be, or does not suit the algorithm.
        """
        self.do("set_topology", topology=topology)

    def drop_links(self, links: Iterable[Any]) -> None:
        """Cut links; W is worked out by its rule on what remains, which may be in pieces."""
        self.do("drop_links", links=listed(links))

    def restore_links(self, links: Iterable[Any] | None = None) -> None:
        """Mend links that were cut; None: all of them."""
        self.do("restore_links", links=listed(links))

    def add_links(self, links: Iterable[Any]) -> None:
        """New links between clients, in every round; W by the rule of the network.

        Raises:
            ConfigError: there is such a link, or no rule to weigh it by.
        """
        self.do("add_links", links=listed(links))

    def drop_clients(self, clients: Iterable[Any]) -> None:
        """Clients leave: they stand still, nobody hears of them, and they count in no mean."""
        self.do("drop_clients", clients=listed(clients))

    @in_turn
    def restore_clients(
        self,
        clients: Iterable[Any] | None = None,
        how: Literal["stale", "neighbor", "average"] = "stale",
    ) -> None:
        """Clients come back.

        Args:
            clients: who; None: all that are gone.
            how: with the model they left with ("stale"), that of their first neighbor
                ("neighbor"), or the mean of their neighbors' ("average"). With a new model, what
                the algorithm keeps beside it begins anew.

        Raises:
            ConfigError: they are not gone, or have no neighbor to take a model from.
        """
        if how not in SOURCES:
            raise ConfigError(f"how must be {' or '.join(SOURCES)}, got {how!r}")
        before, network = self.network, self.network.restore_clients(clients)
        back = sorted(before.absent - network.absent)
        snapshot = None
        if how != "stale":
            self._check_open()
            snapshot = self.moment().snapshot
            assert snapshot is not None  # it is live
            most = 1 if how == "neighbor" else None
            donors = {one: donors_of(network, one, before.absent)[:most] for one in back}
            snapshot = with_models_of(snapshot, donors, self.rule)
        given = {"clients": [network.base.called(client) for client in back], "how": how}
        words = VERBS["restore_clients"].words(given, network)
        self._rewire("restore_clients", given, words, network, snapshot=snapshot)

    @in_turn
    def add_clients(
        self,
        count: int = 1,
        links: Iterable[Any] | None = None,
        topology: Any = None,
        shards: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """New clients join, numbered on from the last. Each starts from its neighbors' mean model.

        Args:
            count: how many.
            links: to whom they are linked; without: the network of the same name with more clients
                (ring16 becomes ring17).
            topology: or a network of all clients, as of `p2pqg.topology.build`.
            shards: for each new client, the indices of its training samples; default: as many as
                the others have on average, drawn from all training samples, keyed by the seed.

        Raises:
            ConfigError: the network cannot grow like this, or a shard is wrong.
        """
        self._check_open()
        links = listed(links)
        network = self.network.add_clients(count, links, topology)
        old, n = self.network.num_clients, network.num_clients
        parts = [*self.experiment.parts, *shards_of_new(self.experiment, count, shards)]
        network = self.experiment.with_clock(network)
        experiment = dataclasses.replace(self.experiment, network=network, parts=parts)
        warnings = self._check(network, self.rule)
        moment = self.moment()
        assert moment.snapshot is not None  # it is live
        donors = {client: donors_of(network, client, range(old, n)) for client in range(old, n)}
        moment.log.grow(n)
        moment.log.note(f"add_clients {count}", warnings)
        given = {"count": count, "links": links, "topology": topology, "shards": shards}
        self._remember(moment.log, "add_clients", given)
        moment = dataclasses.replace(
            moment,
            experiment=experiment,
            network=network,
            snapshot=with_models_of(grown(moment.snapshot, n), donors, self.rule),
        )
        self._rebuild(moment)

    def set_algorithm_params(self, **params: Any) -> None:
        """Other parameters of the algorithm from the next round on.

        Raises:
            ConfigError: unknown, or out of range. The step size has `set_lr`.
        """
        self.do("set_algorithm_params", **params)

    def set_lr(self, lr: float) -> None:
        """This step size from the next round on: no warm-up, no milestones.

        Raises:
            ConfigError: it is not > 0.
        """
        self.do("set_lr", lr=lr)

    def set_rule(self, rule: Any) -> None:
        """What receivers make of their inboxes from the next round on; None: the weighted sum.

        Args:
            rule: a name, {name, parameters}, my_file.py:my_rule, or a function; see
                `p2pqg.algorithms.gossip_rules`.

        Raises:
            ConfigError: it is unknown, or does not suit the algorithm or the network.
        """
        self.do("set_rule", rule=rule)

    def attack(self, who: Any, how: Any) -> None:
        """Clients lie to their neighbors from the next round on; they are and learn as before.

        Args:
            who: clients; {"share": 0.1} or {"count": 3}: drawn by the seed.
            how: a name, {name, parameters}, my_file.py:my_attack, or a function; see
                `p2pqg.algorithms.attacks`.

        Raises:
            ConfigError: no such client or attack, it left, it lies already, nobody would be honest,
                or it does not suit the algorithm.
        """
        self.do("attack", who=who if isinstance(who, Mapping) else listed(who), how=how)

    def stop_attack(self, clients: Iterable[Any] | None = None) -> None:
        """Clients are honest again; None: all."""
        self.do("stop_attack", clients=listed(clients))

    def set_network(self, **settings: Any) -> None:
        """Another speed of links and clients from the next round on; what is not named stays.

        Gradients and messages that are on their way go on as they began.

        Args:
            settings: fields of `p2pqg.network.ClockParams`, e.g. compute={"speeds": {"3": 0.1}}.

        Raises:
            ConfigError: there is no simulated clock, or a setting is wrong.
        """
        self.do("set_network", **settings)

    @with_keywords(ImpairmentKeys.__annotations__, of=Impairments)
    def set_impairments(self, **settings: Unpack[ImpairmentKeys]) -> None:
        """What goes wrong from the next round on; what is not named stays as it is.

        Args:
            settings: fields of `p2pqg.network.Impairments`, e.g. loss=0.05, burst=10.

        Raises:
            ConfigError: a setting is wrong, or does not suit the algorithm.
        """
        self.do("set_impairments", **settings)

    def _remember(self, log: Logbook, verb: str, given: Mapping[str, Any]) -> None:
        """What was done by hand can be said in a recipe; a scenario is in one already."""
        item = item_of(verb, given)
        if self._by_hand and not does_nothing(item[verb]):
            log.interventions.append({"round": self.round, **item})

    def _rewire(
        self,
        verb: str,
        given: Mapping[str, Any],
        words: str,
        network: Network | None = None,
        rule: Rule | None = None,
        snapshot: Snapshot | None = None,
    ) -> None:
        """Another network, rule or clients' state from the next round on, or none of it."""
        self._check_open()
        network, rule = network or self.network, rule or self.rule
        warnings = self._check(network, rule)
        if (pieces := network.components(self.round)) > 1:
            warnings = [*warnings, f"the network is in {pieces} pieces"]
        kept = self.moment() if self._by_hand and self.hosting.cluster else None
        self._driver.settle()
        with uninterrupted():
            driver = self._driver
            bounds = self.hosting.placement.bounds
            driver.engine.rewire(rule, self.experiment.routing(network, bounds))
            if snapshot is not None:
                driver.engine.load(snapshot)
            self.network, self.rule = network, rule
            driver.book.lr, driver.book.network = rule.lr, network
            driver.book.timing = network.timing
            driver.log.note(f"{verb} {words}", warnings)
            self._remember(driver.log, verb, given)
            self._networks = evidence.since(self._networks, self.round, network)
        if kept is not None:  # what a scenario does it does again, but nobody else
            self._safe.last = dataclasses.replace(
                kept,
                network=network,
                rule=rule,
                snapshot=snapshot or kept.snapshot,
                log=driver.log.copy(),
            )

    def _check(self, network: Network, rule: Rule) -> list[str]:
        """Whether the algorithm can go on like this; what should be known."""
        moved = self.round > 0 and network.schedule is not self.network.schedule
        self.experiment.check_attacks(network)
        return rule.check_network(network, moved)

    def _rebuild(self, moment: Moment) -> None:
        """Go on from a moment that differs in the number of clients: with actors of its own."""
        placement = self.hosting.placed(moment.experiment)
        with uninterrupted():
            self._driver.engine.close()
            self.hosting.placement = placement
            self._replace_hosts(moment)
            if self._by_hand:
                self._safe.last = moment

    def _play_scenario(self) -> None:
        """Do what is due before the next round."""
        scenario = self.experiment.scenario
        while event := scenario.due(self.round, self._driver.log.sim_seconds, self.cursor):
            before = len(self._driver.log.events)
            with uninterrupted():
                self.cursor, self._by_hand = scenario.after(event, self.cursor), False
                try:
                    getattr(self, event.action, partial(self.do, event.action))(**event.arguments)
                finally:
                    self._by_hand = True
            for news in self._driver.log.events[before:]:
                self.on_note(f"round {news['round']}: {news['what']}")

    def _next_event(self) -> float:
        """The round before which something may be due; with events in seconds, looks ahead.

        It may not look too far, or an event would come late: only as long as all rounds send alike.
        """
        scenario = self.experiment.scenario
        last, seconds = scenario.next_round(self.cursor), scenario.next_seconds(self.cursor)
        if seconds is None:
            return last
        return self._first(lambda ahead: ahead.seconds >= seconds, last)

    def _first(self, reached: Callable[[Outlook], bool], most: float = math.inf) -> int:
        """The next round after which it is so far, as well as can be known; at most so many."""
        round = self.round + 1
        for ahead in islice(self._outlook(), LOOK_AHEAD + 1):
            round = max(round, ahead.round)
            if reached(ahead) or round >= most:
                break
        return round

    def _outlook(self) -> Iterator[Outlook]:
        """What the clock will show; nothing where rounds may not send alike."""
        experiment, log, network = self.experiment, self._driver.log, self.network
        if not experiment.waits:
            timeline = experiment.timeline(self.rule, network)
            timeline.load(self._ask(lambda driver: driver.engine.timeline()))
            return of_waves(timeline)
        if not log.traffic or not self.rule.is_steady or not isinstance(network.timing, Timing):
            return iter(())
        assert log.ready is not None  # there is a clock
        return of_rounds(network, network.timing, self.round, repeat(log.traffic), log.ready)

    # How it ends

    def finish(self, *, after: Callable[[Simulation], None] | None = None) -> None:
        """Run to the end, be it in rounds, in steps of everybody, on the clock, or by its own rule.

        Args:
            after: as of `advance`.

        Raises:
            As `advance`.
        """
        while not self.stopped and (left := self._last_round() - self.round) > 0:
            self.advance(left, after=after)

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end, and all of it is recorded."""
        return self.is_settled and (bool(self.stopped) or self._last_round() <= self.round)

    def _last_round(self) -> int:
        """The round after which it ends, or has to be asked again; this one if it is over."""
        experiment = self.experiment
        if experiment.end is None:
            return experiment.num_rounds
        if experiment.end(self._stand):
            return self.round
        round = self._first(experiment.end, self.round + LOOK_AHEAD)
        known = round < self.round + LOOK_AHEAD
        num_rounds = round if known else max(experiment.num_rounds, round + 1)
        self._driver.agenda = dataclasses.replace(self._driver.agenda, num_rounds=num_rounds)
        return int(min(round, self.experiment.scenario.next_round(self.cursor)))

    @property
    def _stand(self) -> Outlook:
        """Where it stands."""
        log = self._driver.log
        here = [i for i in range(self.network.num_clients) if i not in self.network.absent]
        made = self.round * self.experiment.steps_per_round
        if not self.experiment.waits:
            made = 0 if log.steps is None else int(log.steps[here].min())
        return Outlook(self.round, log.sim_seconds, made)

    # What it shows of itself

    def __repr__(self) -> str:
        config, planned = self.experiment.config, self.experiment.num_rounds
        what = f"{config.algorithm['name']} on {config.topology}"
        return f"<Simulation: {what}, round {self.round} of {planned}>"

    def control(self, *, megabytes: float = 64, folder: str | Path | None = None) -> Any:
        """Its control room in a notebook: watch it learn, touch it, fork it, go back.

        It plays in the background, so that other cells can read it meanwhile. `control().room` is
        what leads it: `room.act({"do": "play", "rounds": 10})`, `room.wait()`.

        Args:
            megabytes: of memory for the moments that one can go back to.
            folder: where it keeps a checkpoint every few seconds, and whenever it stands, in `A`
                (of forks in `B`, `C`, `D`): after a restart of the kernel
                `Simulation.restore(folder / "A").control(folder=folder)` goes on with all of them.
                None: nowhere.

        Returns:
            A widget; where there are none, this simulation's card with a line that says why.

        Raises:
            ConfigError: this simulation is closed, or the folder cannot be made.
        """
        from p2pqg.control.widget import control_of

        return control_of(self, megabytes, folder)

    def _repr_html_(self) -> str:
        return card(self)

    @property
    def sim_seconds(self) -> float:
        """The simulated clock; 0 without one."""
        return self._driver.log.sim_seconds

    @property
    def history(self) -> pd.DataFrame:
        """One row per recorded round, columns as of rounds.parquet."""
        return self._frame(self._driver.log.rounds, self.columns)

    @property
    def clients(self) -> pd.DataFrame:
        """One row per evaluation and client, columns as of clients.parquet."""
        return self._frame(self._driver.log.clients, self.client_columns)

    def _frame(self, rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
        import pandas as pd

        there = list(rows)  # as of now, whatever another thread adds
        return pd.DataFrame(there, columns=list(columns)).astype(columns)

    @property
    def links(self) -> pd.DataFrame:
        """What went over each directed link; empty without a simulated clock."""
        import pandas as pd

        ledger = self._driver.log.ledger
        return pd.DataFrame({} if ledger is None else ledger.arrays())

    @property
    def client_columns(self) -> dict[str, str]:
        """Name and type of the columns of clients.parquet."""
        return summary.client_columns(self.experiment, self.network, self.events)

    @property
    def columns(self) -> dict[str, str]:
        """Name and type of the columns of rounds.parquet: those of what there is to be told."""
        return summary.round_columns(self.experiment, self.network, self.events)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was done to it: {"round", "sim_seconds", "what"} each."""
        return list(self._driver.log.events)

    @property
    def interventions(self) -> list[dict[str, Any]]:
        """What was done by hand: {"round", verb: its value in a recipe} each."""
        return list(self._driver.log.interventions)

    @property
    def rows(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of rounds.parquet and of clients.parquet so far."""
        return self._driver.log.rounds, self._driver.log.clients

    @property
    def clock(self) -> Clock:
        """Of the driver's own work."""
        return self._driver.clock

    def profile(self) -> dict[str, dict[str, float]]:
        """Seconds of each kind of work (see `engine.clock.KINDS`), of each host and the driver."""
        return {name: totals(spans) for name, spans in self._spans().items()}

    def trace(self) -> dict[str, Any]:
        """The same, span by span, for chrome://tracing; with notes on the cluster."""
        about = {"notes": self.hosting.notes, "ways": self._ways}
        return chrome_trace(self._spans()) | {"otherData": about}

    def _spans(self) -> dict[str, list[Span]]:
        driver = self._driver
        return {**driver.spans, "driver": driver.clock.spans} if driver.clock.on else {}

    def evaluate(self) -> dict[str, Any]:
        """How the clients do now: a row of rounds.parquet, with every client evaluated.

        Nothing is put on record, and asking twice costs once.

        Returns:
            test_accuracy and all other columns; `round` is that of the last round, -1 before the
            first.

        Raises:
            ConfigError: this simulation is closed.
            DivergedError: its clients went on beyond the last round that was finite.
        """
        return dict(self.present()[0])

    @in_turn
    def present(self) -> Rows:
        """The row of rounds.parquet, and those of clients.parquet, that would be written now.

        Raises:
            As `evaluate`.
        """
        self._check_open()
        self._driver.settle()
        log = self._driver.log
        key = self.round, len(log.events)
        if self._seen is not None and self._seen[0] == key:
            return self._seen[1]
        row = log.rounds[-1] if log.rounds else {}
        changed = log.events and log.events[-1]["round"] == self.round
        if row.get("round") == self.round - 1 and "test_loss" in row and not changed:
            clients = [one for one in log.clients if one["round"] == self.round - 1]
        else:
            seen = self._ask(lambda driver: driver.look())
            if seen[0].round != self.round:
                raise DivergedError(
                    f"the clients diverged after round {self.round}; restore a checkpoint"
                )
            row, clients = self._driver.book.seen(seen)
        self._seen = key, (row, clients)
        return row, clients

    def summary(self, *, evaluate: bool = True) -> dict[str, Any]:
        """What summary.json holds, as of now.

        Args:
            evaluate: False: accuracies are those on record; `evaluated_rounds` and
                `recorded_rounds` say after how many rounds what is told was measured.
        """
        driver, experiment = self._driver, self.experiment
        rows = driver.log.rounds
        last = rows[-1] if rows else {}
        tested: dict[str, Any] = next((row for row in reversed(rows) if "test_loss" in row), {})
        if evaluate and not self.closed:
            with suppress(DivergedError):
                last = tested = self.present()[0]
        more: dict[str, Any] = {}
        if self.events:
            more["events"] = self.events
            more["network"] = summary.network_now(self.network, self.events)
        if not (self._ways or self.closed):
            with suppress(P2pqgError):
                self._ways = _said(driver.engine.ways())
        if self._ways:
            more["ways"] = self._ways
        if self.restarts:
            more["restarts"] = list(self.restarts)
        if self.stopped:
            more["stopped"] = self.stopped
        return {
            **summary.what_ran(experiment),
            "rounds": self.round,
            **summary.how_it_went(experiment, self.columns, last, tested),
            **({} if experiment.waits else summary.pace(driver.log, self._stand.steps)),
            "wall_seconds": self.seconds,
            **self._speed(),
            **summary.where_it_ran(experiment, self.hosting),
            **more,
            "versions": summary.versions(),
        }

    def _speed(self) -> dict[str, float | None]:
        """Of a summary: how long until the first round, and how fast since."""
        driver, experiment = self._driver, self.experiment
        if driver.first_round_at is None:
            return {"startup_seconds": None, "client_steps_per_second": None}
        rounds = self.round - driver.first_round
        steps = rounds * experiment.steps_per_round * experiment.num_clients
        seconds = time.time() - driver.first_round_at
        return {
            "startup_seconds": driver.first_round_at - self._started,
            "client_steps_per_second": steps / seconds if steps > 0 else None,
        }

    @property
    def placement(self) -> Placement:
        """Which clients live in which actor."""
        return self.hosting.placement

    @property
    def device(self) -> str:
        """Cpu or cuda."""
        return self.hosting.device

    def ways(self) -> list[str]:
        """How actors compute gradients, where there was a choice: a line for each kind of them.

        On a GPU this waits until they have chosen.
        """
        self._ways = _said(self._ask(lambda driver: driver.engine.ways()))
        return self._ways


def _said(ways: list[str]) -> list[str]:
    """What is to be said of them: those that there was a choice of, each kind once."""
    return list(dict.fromkeys(filter(None, ways)))


def _nobody(text: str) -> None:
    """Listens to what nobody needs to hear."""
