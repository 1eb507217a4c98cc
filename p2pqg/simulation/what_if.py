"""What can be done to a live simulation between two rounds, by hand or by a scenario.

Everything here makes new plain data (a network, a rule, rows of clients) and hands it to the
engine; nothing is done halfway: what is wrong is refused before anything changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.seeding import rng
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot, leaves
from p2pqg.network import Network
from p2pqg.network.scenario import Cursor
from p2pqg.simulation.experiment import Experiment

if TYPE_CHECKING:
    from pathlib import Path

    from p2pqg.engine.driver import Driver
    from p2pqg.engine.on_ray.cluster import Cluster
    from p2pqg.engine.placement import Placement
    from p2pqg.simulation.moment import Moment

Source = Literal["stale", "neighbor", "average"]


class WhatIf:
    """The interventions of a Simulation.

    Clients are numbers, or names where the network has them; links are pairs (a, b), or "a-b" for
    both directions and "a->b" for one. A single one needs no brackets.
    """

    experiment: Experiment
    rule: Rule
    network: Network
    placement: Placement
    round: int
    cursor: Cursor
    _driver: Driver
    on_note: Callable[[str], None]
    moment: Callable[[], Moment]
    _cluster: Cluster | None
    _safe: Moment | Path
    _by_hand: bool
    _check_open: Callable[[], None]

    def set_topology(self, topology: Any) -> None:
        """Another network of the same clients; links that were cut are forgotten.

        Args:
            topology: as of `p2pqg.topology.build`.

        Raises:
            TopologyError: it cannot be, or does not suit the algorithm.
        """
        self._rewire(f"set_topology {topology}", network=self.network.with_topology(topology))

    def drop_links(self, links: Iterable[Any]) -> None:
        """Cut links; W is worked out by its rule on what remains, which may be in pieces."""
        links = _links(links)
        self._rewire(f"drop_links {_words(links)}", network=self.network.drop_links(links))

    def restore_links(self, links: Iterable[Any] | None = None) -> None:
        """Mend links that were cut; None: all of them."""
        links = None if links is None else _links(links)
        self._rewire(f"restore_links {_words(links)}", network=self.network.restore_links(links))

    def drop_clients(self, clients: Iterable[Any]) -> None:
        """Clients leave: they stand still, nobody hears of them, and they count in no mean."""
        clients = _clients(clients)
        self._rewire(f"drop_clients {_words(clients)}", network=self.network.drop_clients(clients))

    def restore_clients(self, clients: Iterable[Any] | None = None, how: Source = "stale") -> None:
        """Clients come back.

        Args:
            clients: who; None: all that are gone.
            how: with the model they left with ("stale"), that of their first neighbor
                ("neighbor"), or the mean of their neighbors' ("average"). With a new model, what
                the algorithm keeps beside it begins anew.

        Raises:
            ConfigError: they are not gone, or have no neighbor to take a model from.
        """
        if how not in ("stale", "neighbor", "average"):
            raise ConfigError(f"how must be stale, neighbor or average, got {how!r}")
        clients = None if clients is None else _clients(clients)
        before, network = self.network, self.network.restore_clients(clients)
        back = sorted(before.absent - network.absent)
        snapshot = None
        if how != "stale":
            self._check_open()
            snapshot = self.moment().snapshot
            donors = {
                client: _donors(network, client, before.absent)[: 1 if how == "neighbor" else None]
                for client in back
            }
            snapshot = _with_models_of(snapshot, donors, self.rule)
        self._rewire(f"restore_clients {_words(back)} ({how})", network, snapshot=snapshot)

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
        links = None if links is None else _links(links)
        network = self.network.add_clients(count, links, topology)
        old, n = self.network.num_clients, network.num_clients
        parts = [*self.experiment.parts, *self._shards(count, shards)]
        network = self.experiment.with_clock(network)
        experiment = dataclasses.replace(self.experiment, network=network, parts=parts)
        warnings = self._check(network, self.rule)
        moment = self.moment()
        donors = {client: _donors(network, client, range(old, n)) for client in range(old, n)}
        moment.log.grow(n)
        moment.log.note(f"add_clients {count}", warnings)
        moment = dataclasses.replace(
            moment,
            experiment=experiment,
            network=network,
            snapshot=_with_models_of(_grown(moment.snapshot, n), donors, self.rule),
        )
        self._rebuild(moment)

    def _shards(self, count: int, shards: Sequence[Sequence[int]] | None) -> list[np.ndarray]:
        total = len(self.experiment.arrays.train_y)
        if shards is None:
            parts, seed = self.experiment.parts, self.experiment.config.seed
            size = min(total, round(sum(map(len, parts)) / len(parts)))
            return [
                rng(seed, "added", len(parts) + k).choice(total, size, replace=False)
                for k in range(count)
            ]
        if len(shards) != count:
            raise ConfigError(f"shards must be one per new client, {count}, got {len(shards)}")
        arrays = [np.asarray(shard, dtype=np.int64) for shard in shards]
        for k, shard in enumerate(arrays):
            if shard.ndim != 1 or not len(shard) or shard.min() < 0 or shard.max() >= total:
                raise ConfigError(
                    f"shards[{k}] must be indices of training samples, 0 to {total - 1}"
                )
        return arrays

    def set_algorithm_params(self, **params: Any) -> None:
        """Other parameters of the algorithm from the next round on.

        Raises:
            ConfigError: unknown, or out of range. The step size has `set_lr`.
        """
        what = ", ".join(f"{key}={value}" for key, value in params.items())
        self._rewire(f"set_algorithm_params {what}", rule=self.rule.with_params(**params))

    def set_lr(self, lr: float) -> None:
        """This step size from the next round on: no warm-up, no milestones.

        Raises:
            ConfigError: it is not > 0.
        """
        self._rewire(f"set_lr {lr}", rule=self.rule.with_lr(lr))

    def set_impairments(self, **settings: Any) -> None:
        """What goes wrong from the next round on; what is not named stays as it is.

        Args:
            settings: fields of `p2pqg.network.Impairments`, e.g. loss=0.05, burst=10.

        Raises:
            ConfigError: a setting is wrong, or does not suit the algorithm.
        """
        network = self.network.with_impairments(since=self.round, **settings)
        what = ", ".join(network.impairments.describe()) or "none"
        self._rewire(f"set_impairments: {what}", network=network)

    def _rewire(
        self,
        what: str,
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
        kept = self.moment() if self._by_hand and self._cluster else None
        self._driver.settle()
        with uninterrupted():
            driver = self._driver
            driver.engine.rewire(rule, Routing(network.schedule, self.placement.bounds))
            if snapshot is not None:
                driver.engine.load(snapshot)
            self.network, self.rule = network, rule
            driver.book.lr, driver.book.network = rule.lr, network
            driver.log.note(what, warnings)
        if kept is not None:  # what a scenario does it does again, but nobody else
            self._safe = dataclasses.replace(
                kept,
                network=network,
                rule=rule,
                snapshot=snapshot or kept.snapshot,
                log=driver.log.copy(),
            )

    def _check(self, network: Network, rule: Rule) -> list[str]:
        """Whether the algorithm can go on like this; what should be known."""
        moved = self.round > 0 and network.schedule is not self.network.schedule
        return rule.check_network(network, moved)

    def _rebuild(self, moment: Moment) -> None:
        """Go on from a moment that differs in the number of clients: with actors of its own."""
        placement = self._placement(moment.experiment)
        with uninterrupted():
            self._driver.engine.close()
            self.placement = placement
            self._replace_hosts(moment)
            if self._by_hand:
                self._safe = moment

    def _play_scenario(self) -> None:
        """Do what is due before the next round."""
        scenario = self.experiment.scenario
        while event := scenario.due(self.round, self._driver.log.sim_seconds, self.cursor):
            before = len(self._driver.log.events)
            with uninterrupted():
                self.cursor, self._by_hand = scenario.after(event, self.cursor), False
                try:
                    getattr(self, event.action)(**event.arguments)
                finally:
                    self._by_hand = True
            for news in self._driver.log.events[before:]:
                self.on_note(f"round {news['round']}: {news['what']}")

    def _next_event(self) -> float:
        """The round before which something may be due; with events in seconds, looks ahead.

        It may not look too far, or an event would come late: only as long as all rounds send alike.
        """
        scenario, log, book = self.experiment.scenario, self._driver.log, self._driver.book
        last, seconds = scenario.next_round(self.cursor), scenario.next_seconds(self.cursor)
        if seconds is None:
            return last
        ready, round = log.ready, self.round
        known = log.exchanges and self.rule.is_steady
        until = min(last, self.round + LOOK_AHEAD) if known else self.round
        while round < until and ready.max() < seconds:
            ready = book.after(round, log.exchanges, ready)
            round += 1
        return max(self.round + 1, round)


LOOK_AHEAD = 1000
"""Rounds that the simulated clock is read ahead, to send as many rounds at once as possible."""


def _clients(who: Any) -> list[Any]:
    """A list of clients; a single one is one."""
    return [who] if isinstance(who, str | int | np.integer) else list(who)


def _links(links: Any) -> list[Any]:
    """A list of links; a single one is one."""
    if isinstance(links, str):
        return [links]
    links = list(links)
    return [links] if len(links) == 2 and all(isinstance(end, int) for end in links) else links


def _words(items: Sequence[Any] | None) -> str:
    if items is None:
        return "all"
    return ", ".join(
        item if isinstance(item, str) else "-".join(map(str, item)) if _is_pair(item) else str(item)
        for item in items
    )


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple | list)


def _donors(network: Network, client: int, without: Iterable[int]) -> list[int]:
    """Whom a client hears in the network, apart from those."""
    found = sorted(set(network.neighbors(client)) - set(without))
    if not found:
        raise ConfigError(f"client {client} has no neighbor to take a model from; use how=stale")
    return found


def _grown(snapshot: Snapshot, n: int) -> Snapshot:
    """Rows for n clients; those of the new ones are yet to be filled in."""
    rows = {
        name: np.concatenate([a, np.zeros((n - len(a), *a.shape[1:]), dtype=a.dtype)])
        for name, a in snapshot.rows.items()
    }
    return dataclasses.replace(snapshot, rows=rows)


def _with_models_of(snapshot: Snapshot, donors: dict[int, list[int]], rule: Rule) -> Snapshot:
    """Some clients begin anew, from the mean of their donors' models and statistics."""
    rows = {name: array.copy() for name, array in snapshot.rows.items()}
    x = rule.model(rule.state_of(snapshot.rows, snapshot.numbers)).numpy()
    for client, others in donors.items():
        rows["buffers"][client] = snapshot.rows["buffers"][others].mean(0)
        begin = rule.start(torch.from_numpy(x[others].mean(0, keepdims=True)))
        for name, value in leaves(begin).items():
            if name in rows:
                rows[name][client] = value[0].numpy()
        for name in rows:
            if name.startswith("past."):
                rows[name][client] = rows[name][others].mean(0)
    return dataclasses.replace(snapshot, rows=rows)
