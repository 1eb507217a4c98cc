"""What may be done to a live network; and what users are told if it cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.algorithms.attacks import find_attack
from p2pqg.base.config import made, plain
from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.base.ranges import whole_number
from p2pqg.network.clients import Clients
from p2pqg.network.effective import Arc
from p2pqg.network.grown import joined, longer
from p2pqg.network.impairments import Impairments
from p2pqg.network.lies import Attack, drawn
from p2pqg.network.link_spec import FILES, spelled_alike
from p2pqg.network.links import LINK_KEYS
from p2pqg.network.named import clients_in, links_in, links_told, means_all, more_labels, refuse
from p2pqg.network.neighbors import has_link, receivers_of
from p2pqg.network.params import ClockParams
from p2pqg.topology import Schedule, build

if TYPE_CHECKING:
    from typing_extensions import Self


class Changes:
    """The interventions of a Network. It never changes itself: each returns another one.

    Clients are called by number or label. Links are pairs (a, b), or texts "a-b" (both directions)
    and "a->b"; on an undirected network both directions are meant, however it is written.
    """

    base: Schedule
    cut: frozenset[Arc]
    absent: frozenset[int]
    impairments: Impairments
    attacks: tuple[Attack, ...]
    clock: ClockParams | None
    seed: int
    since: int
    by_columns: bool

    def with_topology(self, topology: Any) -> Self:
        """The same clients on another network, all of whose links are up.

        Args:
            topology: whatever `p2pqg.topology.build` takes, with as many clients.

        Raises:
            TopologyError: unknown, unfit, or another number of clients.
        """
        base = self._built(topology, self.num_clients, "set_topology")
        return self._but(base=base, cut=frozenset())

    def drop_links(self, links: Iterable[Any]) -> Self:
        """Cut links.

        Raises:
            ConfigError: the network has no such link in any round, or it is down already.
        """
        arcs = self.links_called(links, "drop_links")
        down = links_told(arcs & self.cut, self.base)
        refuse(f"drop_links: link {text} is down already; leave it out" for text in down)
        return self._but(cut=self.cut | arcs)

    def restore_links(self, links: Iterable[Any] | None = None) -> Self:
        """Mend links; None, or "all": all that are down.

        Raises:
            ConfigError: the network has no such link, or it is not down.
        """
        if means_all(links):
            return self._but(cut=frozenset())
        arcs = self.links_called(links, "restore_links")
        up = links_told(arcs - self.cut, self.base)
        refuse(f"restore_links: link {text} is not down; leave it out" for text in up)
        return self._but(cut=self.cut - arcs)

    def add_links(self, links: Iterable[Any]) -> Self:
        """New links between clients that are there, in every round; W by the network's rule.

        Raises:
            ConfigError: there is such a link already, or no rule to weigh it by.
        """
        arcs = links_in(links, self._known, self.base.directed, "add_links")
        known = {arc for arc in arcs if self.base.period is not None and has_link(self.base, *arc)}
        refuse(
            f"add_links: link {text} is there already; "
            + ("restore it" if known & self.cut else "leave it out")
            for text in links_told(known, self.base)
        )
        return self._but(base=joined(self.base, self.base.labels, self.num_clients, arcs))

    def drop_clients(self, clients: Iterable[Any], round: int = 0) -> Self:
        """Clients leave: they neither compute nor talk, nor count, until they are back.

        Args:
            clients: who.
            round: from when on; attacks that are over by then do not count.

        Raises:
            ConfigError: there is no such client, it left already, nobody would be left, or only
                such as lie.
        """
        who = clients_in(clients, self._known, "drop_clients")
        gone = self._names(who & self.absent)
        refuse(f"drop_clients: client {name} left already; leave it out" for name in gone)
        if len(self.absent | who) == self.num_clients:
            raise ConfigError("drop_clients: nobody would be left; keep at least one client")
        left = set(range(self.num_clients)) - self.absent - who
        now = [one for one in self.attacks if one.last is None or one.last >= round]
        for attack in now:
            if left <= {client for one in now if one.overlaps(attack) for client in one.who}:
                raise ConfigError(
                    "drop_clients: nobody honest would be left; stop_attack first, or keep one"
                )
        return self._but(absent=self.absent | who)

    def restore_clients(self, clients: Iterable[Any] | None = None) -> Self:
        """Clients come back; None, or "all": all that left.

        Raises:
            ConfigError: there is no such client, or it is here.
        """
        if means_all(clients):
            return self._but(absent=frozenset())
        who = clients_in(clients, self._known, "restore_clients")
        here = self._names(who - self.absent)
        refuse(f"restore_clients: client {name} did not leave; leave it out" for name in here)
        return self._but(absent=self.absent - who)

    def add_clients(
        self, count: int = 1, links: Iterable[Any] | None = None, topology: Any = None
    ) -> Self:
        """New clients, numbered from n on. Links that are down stay down.

        Args:
            count: how many, >= 1.
            links: whom they talk to; without: the network of the same name with more clients.
            topology: or a network of all clients, as of `p2pqg.topology.build`.

        Raises:
            ConfigError: the name has one size only, or the links do not fit.
        """
        if not whole_number(count, 1):
            raise ConfigError(f"add_clients: count must be an integer >= 1, got {count!r}")
        count = int(count)
        n = self.num_clients + count
        labels = more_labels(self.base, n)
        if topology is not None:
            if links is not None:
                raise ConfigError(
                    "add_clients: links and topology both say whom new clients talk to; leave one "
                    "out"
                )
            base = self._built(topology, n, "add_clients")
        elif links is not None:
            arcs = links_in(links, Clients(n, labels), self.base.directed, "add_clients")
            base = joined(self.base, labels, n, arcs)
        elif grown := longer(self.base, n):
            base = grown
        else:
            new = labels[-count] if labels else n - count
            raise TopologyError(
                f"add_clients: {self.base.name!r} does not say whom new clients talk to. Give "
                f"links, such as [[{new}, {self.base.called(0)}]], or topology: a network of {n}."
            )
        return self._but(base=base, cut=frozenset(arc for arc in self.cut if has_link(base, *arc)))

    def with_network(self, **settings: Any) -> Self:
        """Another speed of links and clients; what is not named stays as it is.

        The clock itself is yet to be made of it, see `Timing.of`.

        Args:
            settings: fields of `ClockParams`; those of `compute` and `links` may be given in part.

        Raises:
            ConfigError: there is no clock, or a key or a value is wrong.
        """
        if self.clock is None:
            raise ConfigError(
                "set_network: there is no simulated clock; begin with one, network: {compute: 1 s}"
            )
        known = plain(self.clock)
        if "links" in settings:
            both = known.get("links"), settings["links"]
            known["links"], settings["links"] = spelled_alike(*both, Clients.of(self.base))
        given = {key: partly(key, known.get(key), value) for key, value in settings.items()}
        clock = made(ClockParams, known | given, "network.")
        return self._but(
            clock=clock, retimed=True, timing=None, deadline=None, message_bytes=0.0, gradients=1.0
        )

    def with_impairments(self, *, since: int = 0, **settings: Any) -> Self:
        """What goes wrong from now on; what is not named stays as it is.

        Args:
            since: the round that comes next; messages sent before a delay was set do not arrive.
            settings: fields of `Impairments`.

        Raises:
            ConfigError: a key or a value is wrong.
        """
        wrong = made(Impairments, plain(self.impairments) | settings, "impairments.")
        same = wrong.delays == self.impairments.delays
        return self._but(impairments=wrong, since=self.since if same else since)

    def _but(self, **changes: Any) -> Self:
        """Another network, which differs in these fields."""
        return replace(self, **changes)  # type: ignore[type-var]  # a Network is a data class

    def attack(
        self,
        who: Any,
        how: Any,
        first: int = 0,
        last: int | None = None,
        key: str = "attack",
    ) -> Self:
        """Some clients lie to their neighbors.

        Args:
            who: clients; {"share": 0.1} or {"count": 3}: drawn by the seed.
            how: as of `p2pqg.algorithms.attacks.find_attack`.
            first: round in which they begin.
            last: round after which they stop; None: never.
            key: what it was said in, for messages.

        Raises:
            ConfigError: no such client or attack, it left, it lies already, or nobody would be
                honest.
        """
        lie = find_attack(how)
        if isinstance(who, Mapping):
            chosen = drawn(who, self.num_clients, self.seed, f"{key}.who")
        else:
            chosen = tuple(sorted(clients_in(who, self._known, f"{key}.who")))
        new = Attack(chosen, lie, first, last)
        gone = self._names(self.absent & set(chosen))
        refuse(f"{key}: client {name} left and sends nothing; leave it out" for name in gone)
        for other in self.attacks:
            both = self._names(set(other.who) & set(chosen)) if new.overlaps(other) else []
            refuse(
                f"{key}: client {name} lies already ({other.lie.name}); stop_attack it first, or "
                "leave it out"
                for name in both
            )
        attacks = (*self.attacks, new)
        lying = {client for attack in attacks if attack.overlaps(new) for client in attack.who}
        if len(lying | self.absent) == self.num_clients:
            raise ConfigError(f"{key}: nobody would be honest; leave at least one client out")
        return self._but(attacks=attacks)

    def stop_attack(self, who: Any = None, round: int = 0) -> Self:
        """Clients are honest from now on; None, or "all": all.

        Args:
            who: clients.
            round: from when on; attacks that are over by then do not count.

        Raises:
            ConfigError: there is no such client, or it does not lie.
        """
        if means_all(who):
            return self._but(attacks=())
        chosen = clients_in(who, self._known, "stop_attack")
        now = [one for one in self.attacks if one.last is None or one.last >= round]
        lying = {client for attack in now for client in attack.who}
        honest = self._names(chosen - lying)
        refuse(f"stop_attack: client {name} does not lie; leave it out" for name in honest)
        left = [
            replace(attack, who=tuple(c for c in attack.who if c not in chosen))
            for attack in self.attacks
        ]
        return self._but(attacks=tuple(attack for attack in left if attack.who))

    # Who and what is meant.

    @property
    def num_clients(self) -> int:
        """All clients, those that left too."""
        return self.base.num_clients

    @property
    def _known(self) -> Clients:
        return Clients(self.num_clients, self.base.labels)

    def _names(self, clients: Iterable[int]) -> list[str]:
        return [self.base.called(client) for client in sorted(clients)]

    def _some(self, clients: Iterable[int]) -> str:
        names = self._names(clients)
        more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
        return ", ".join(names[:10]) + more or "nobody"

    def links_called(self, links: Any, key: str) -> frozenset[Arc]:
        """The links that are meant, as far as the network has them; each must be there one way.

        Args:
            links: as of `drop_links`.
            key: what they were given for, for messages.

        Raises:
            ConfigError: there is no such client, or no such link in any round.
        """
        arcs = links_in(links, self._known, self.base.directed, key)
        there = frozenset(arc for arc in arcs if has_link(self.base, *arc))
        unknown = {arc for arc in arcs if not {arc, arc[::-1]} & there}
        refuse(
            f"{key}: there is no link {links_told([arc], self.base)[0]}; client "
            f"{self.base.called(arc[0])} talks to {self._some(receivers_of(self.base, arc[0]))}; "
            "leave it out"
            for arc in sorted(unknown)
            if self.base.directed or arc[0] < arc[1]
        )
        return there

    def _built(self, topology: Any, n: int, key: str) -> Schedule:
        """A topology of n clients; where it does not name them they keep their labels."""
        try:
            clients = n if isinstance(topology, (str, Path)) or callable(topology) else None
            needs = ("column-stochastic",) if self.by_columns else ()
            base = build(topology, clients, needs=needs)
        except TopologyError as error:
            raise TopologyError(f"{key}: {error}") from None
        if base.num_clients != n:
            raise TopologyError(
                f"{key}: {base.name!r} must have {n} clients, got {base.num_clients}. "
                "Clients come and go by add_clients and drop_clients."
            )
        labels = base.labels or more_labels(self.base, n)
        return base if labels == base.labels else replace(base, labels=labels)


def partly(key: str, known: Any, given: Any) -> Any:
    """A setting of the clock of which only some keys are given; the others stay as they are.

    >>> partly("compute", {"seconds": 1, "speeds": {"3": 0.1}}, {"speeds": {5: 2}})
    {'seconds': 1, 'speeds': {'3': 0.1, 5: 2}}
    >>> partly("links", {"class": "wan"}, {"0-1": "lan"})
    {'default': {'class': 'wan'}, '0-1': 'lan'}
    >>> partly("links", {"default": "wan", "0-1": "lan"}, {"latency": 0.5})
    {'default': {'class': 'wan', 'latency': 0.5}, '0-1': 'lan'}
    """
    if not isinstance(given, Mapping) or known is None:
        return given
    if key == "links":
        given = given if _names_links(given) else {"default": given}
        if not isinstance(known, Mapping) or not _names_links(known):
            known = {"file" if str(known).endswith(FILES) else "default": known}
    elif not isinstance(known, Mapping):
        known = {"seconds" if key == "compute" else "default": known}
    found = _completed(known, given, "class" if key == "links" else None)
    return found["default"] if key == "links" and [*found] == ["default"] else found


def _names_links(links: Mapping[Any, Any]) -> bool:
    """Whether a mapping is one of several links, not what is said of a single one."""
    return not any(part in (*LINK_KEYS, "per") for part in links)


def _completed(known: Any, given: Any, word: str | None) -> Any:
    """What is given, and what was known beside it; clients are the same as numbers and as texts.

    Args:
        known: mappings of mappings, perhaps.
        given: the same.
        word: the key in a mapping that a text stands for, where it does.
    """
    if not isinstance(given, Mapping):
        return given
    if isinstance(known, str) and word:
        known = {word: known}
    if not isinstance(known, Mapping):
        return dict(given)
    found, names = dict(known), {str(name): name for name in known}
    for name, value in given.items():
        same = names.get(str(name), name)
        found[same] = _completed(found.get(same), value, word)
    return found
