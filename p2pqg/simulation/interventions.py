"""What can be done to a live network between two rounds, by hand or by a scenario.

The verbs themselves, and what each does to the network, are in `p2pqg.network.verbs`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from typing_extensions import Unpack

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.engine.bookkeeping import Logbook, SetLater
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.suits import check_network
from p2pqg.network import Impairments, Network
from p2pqg.network.named import listed, refuse
from p2pqg.network.verbs import SOURCES, VERBS, does_nothing, item_of
from p2pqg.recipe.keywords import ImpairmentKeys, with_keywords
from p2pqg.simulation import evidence
from p2pqg.simulation.life import Life
from p2pqg.simulation.turns import in_turn
from p2pqg.simulation.what_if import (
    donors_of,
    grown,
    shards_of_new,
    with_models_of,
    with_what_is_shared,
)


class Interventions(Life):
    """A live network that can be touched.

    Whatever is done to it is checked first: what is wrong is refused before anything changes.
    """

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
            raise ConfigError(f"unknown action {verb!r}{did_you_mean(str(verb), VERBS)}")
        if method := getattr(type(self), verb, None):
            refuse(_wrong_keywords(method, given, verb))
        if verb in ("restore_clients", "add_clients"):  # these change what clients hold, too
            getattr(self, verb)(**given)
            return
        entry, network, rule = VERBS[verb], self.network, self.method
        if entry.network:
            network = entry.network(network, given, self.round)
        if entry.rule:
            rule = entry.rule(rule, given)
        if network.clock is not self.network.clock:
            network = self.experiment.with_clock(network, rule)
        elif rule is not self.method:
            network = self.experiment.in_time(network, rule)
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
        """Mend links that were cut; None, or "all": all of them."""
        self.do("restore_links", links=listed(links))

    def add_links(self, links: Iterable[Any]) -> None:
        """New links between clients, in every round; W by the rule of the network.

        Raises:
            ConfigError: there is such a link, or no rule to weigh it by.
        """
        self.do("add_links", links=listed(links))

    def drop_clients(self, clients: Iterable[Any]) -> None:
        """Clients leave: they stand still, nobody hears of them, and they count in no mean.

        Methods that track a sum over all clients (gradient and momentum tracking, D2, EDM) keep
        in it what those clients last put there, as they would without a server to tell them.
        """
        self.do("drop_clients", clients=listed(clients))

    @in_turn
    def restore_clients(
        self,
        clients: Iterable[Any] | None = None,
        how: Literal["stale", "neighbor", "average"] = "stale",
    ) -> None:
        """Clients come back.

        Args:
            clients: who; None, or "all": all that are gone.
            how: with the model they left with ("stale"), that of their first neighbor
                ("neighbor"), or the mean of their neighbors' ("average"). With a new model, what
                the algorithm keeps beside it begins anew. Centralized methods have one model for
                all, and whoever comes back has that.

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
            donors = {
                one: donors_of(network, one, before.absent, "use how=stale")[:most] for one in back
            }
            snapshot = with_models_of(snapshot, donors, self.method)
        elif self.method.algorithm.traits["shared"] and len(before.absent) < before.num_clients:
            self._check_open()
            snapshot = self.moment().snapshot
            assert snapshot is not None  # it is live
            there = next(one for one in range(before.num_clients) if one not in before.absent)
            snapshot = with_what_is_shared(snapshot, dict.fromkeys(back, there), self.method)
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
                None of them are held out for validation. A shard has each sample once, and where
                samples are private at least a batch.

        Raises:
            ConfigError: the network cannot grow like this, or a shard is wrong.
        """
        self._check_open()
        links, shards = listed(links), listed(shards)
        network = self.network.add_clients(count, links, topology)
        old, n = self.network.num_clients, network.num_clients
        parts = [*self.experiment.parts, *shards_of_new(self.experiment, count, shards)]
        network = self.experiment.with_clock(network, self.method)
        experiment = dataclasses.replace(self.experiment, network=network, parts=parts)
        warnings = self._check(network, self.method)
        moment = self.moment()
        assert moment.snapshot is not None  # it is live
        new = range(old, n)
        link = "link it to a client that is there already"
        donors = {client: donors_of(network, client, new, link) for client in new}
        moment.log.grow(n)
        moment.log.note(f"add_clients {count}", warnings)
        given = {"count": count, "links": links, "topology": topology, "shards": shards}
        self._remember(moment.log, "add_clients", given)
        moment = dataclasses.replace(
            moment,
            experiment=experiment,
            network=network,
            snapshot=with_models_of(grown(moment.snapshot, n), donors, self.method),
        )
        self._rebuild(moment)
        self.on_change(False)

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
        """What receivers make of their inboxes from the next round on.

        Args:
            rule: a name, {name, parameters}, my_file.py:my_rule, or a function; see
                `p2pqg.algorithms.gossip_rules`. None, or "none": the weighted sum.

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
        """Clients are honest again; None, or "all": all of them."""
        self.do("stop_attack", clients=listed(clients))

    def set_network(self, **settings: Any) -> None:
        """Another speed of links and clients from the next round on; what is not named stays.

        Gradients and messages that are on their way go on as they began.

        Args:
            settings: fields of `p2pqg.network.ClockParams`, e.g. compute={"speeds": {"3": 0.1}}.
                Other clients' speeds, and other links, are not named by that either.

        Raises:
            ConfigError: there is no simulated clock, or a setting is wrong.
        """
        self.do("set_network", **settings)

    @with_keywords(ImpairmentKeys.__annotations__, of=Impairments)
    def set_impairments(
        self,
        none: Literal["none", "as before"] | None = "as before",
        /,
        **settings: Unpack[ImpairmentKeys],
    ) -> None:
        """What goes wrong from the next round on; what is not named stays as it is.

        Args:
            none: None, or "none": nothing does but what the settings say.
            settings: fields of `p2pqg.network.Impairments`, e.g. loss=0.05, burst=10.

        Raises:
            ConfigError: a setting is wrong, or does not suit the algorithm.
        """
        if none != "as before":
            nothing = VERBS["set_impairments"].read(none, "set_impairments")
            settings = cast("ImpairmentKeys", {**nothing, **settings})
        self.do("set_impairments", **settings)

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
        network, rule = network or self.network, rule or self.method
        warnings = self._check(network, rule)
        if (pieces := network.components(self.round)) > 1:
            warnings = [*warnings, f"the network is in {pieces} pieces"]
        kept = self.moment() if self._by_hand and self.hosting.cluster else None
        self._driver.settle()
        with uninterrupted(torn=self._tear):
            driver = self._driver
            bounds = self.hosting.placement.bounds
            driver.engine.rewire(rule, self.experiment.routing(network, bounds))
            if snapshot is not None:
                driver.engine.load(snapshot)
            if rule.lr is not self.method.lr:
                driver.book.lr = SetLater(self.round, rule.lr, driver.book.lr)
            self.network, self.method = network, rule
            driver.book.network = network
            driver.book.timing = network.timing
            driver.log.note(f"{verb} {words}", warnings)
            self._remember(driver.log, verb, given)
            self._networks = evidence.since(self._networks, self.round, network, rule, 0)
        if kept is not None:  # what a scenario does it does again, but nobody else
            self._safe.last = dataclasses.replace(
                kept,
                network=network,
                rule=rule,
                snapshot=snapshot or kept.snapshot,
                log=driver.log.copy(),
            )
        self.on_change(False)

    def _check(self, network: Network, rule: Rule) -> list[str]:
        """Whether the algorithm can go on like this; what should be known."""
        self.experiment.check_lies_of_data(network)
        return check_network(rule, network, self.network if self.round > 0 else None)

    def _remember(self, log: Logbook, verb: str, given: Mapping[str, Any]) -> None:
        """What was done by hand can be said in a recipe; a scenario is in one already."""
        item = item_of(verb, given)
        if self._by_hand and not does_nothing(item[verb]):
            log.interventions.append({"round": self.round, **item})


def _wrong_keywords(
    method: Callable[..., None], given: Mapping[str, Any], verb: str
) -> Iterator[str]:
    """What a verb does not take, or is to be told, a line each."""
    _, *known = inspect.signature(inspect.unwrap(method)).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in known):
        return  # settings are judged by what they are of
    names = [one.name for one in known]
    for name in given:
        if name not in names:
            yield f"unknown key {verb}.{name}{did_you_mean(name, names)}"
    for one in known:
        if one.default is one.empty and one.name not in given:
            yield f"{verb}.{one.name} is missing; give it"
