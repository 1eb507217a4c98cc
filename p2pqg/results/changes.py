"""changes.parquet: how a run's network became another one, so that a replay can draw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx

from p2pqg.network import Network
from p2pqg.network.named import more_labels
from p2pqg.network.neighbors import rounds_of
from p2pqg.topology import Schedule, build

CUT, MENDED, LEFT, BACK, NEW_LINK, NO_LINK, JOINED = range(7)
"""What happened to a link (sender a, receiver b), or to a client (a) after so many rounds."""
MOST_LINKS = 20_000
"""Links of two networks up to which it is written down in which they differ."""

Arc = tuple[int, int]


def differences(before: Network, now: Network, round: int) -> list[dict[str, int]]:
    """Rows for what makes one network another, after that many rounds."""
    found: list[tuple[int, int, int]] = []
    if before.base is not now.base:
        found += [(JOINED, client, -1) for client in range(before.num_clients, now.num_clients)]
        old, new = arcs_of(before.base), arcs_of(now.base)
        if len(old) + len(new) <= MOST_LINKS:
            found += [(NEW_LINK, *arc) for arc in sorted(new - old)]
            found += [(NO_LINK, *arc) for arc in sorted(old - new)]
    found += [(CUT, *arc) for arc in sorted(now.cut - before.cut)]
    found += [(MENDED, *arc) for arc in sorted(before.cut - now.cut)]
    found += [(LEFT, client, -1) for client in sorted(now.absent - before.absent)]
    found += [(BACK, client, -1) for client in sorted(before.absent - now.absent)]
    return [{"round": round, "what": what, "a": a, "b": b} for what, a, b in found]


def arcs_of(schedule: Schedule) -> set[Arc]:
    """(sender, receiver) of the links of all rounds, of the first ones without a period."""
    return {
        (a, b)
        for W in rounds_of(schedule)
        for a, b in zip(W.senders.tolist(), W.receivers.tolist(), strict=True)
        if a != b
    }


@dataclass(frozen=True)
class Became:
    """A network at some round of a replay.

    Attributes:
        num_clients: by then.
        links: None: those that it began with.
    """

    num_clients: int
    links: frozenset[Arc] | None
    cut: frozenset[Arc]
    absent: frozenset[int]

    def schedule(self, start: Schedule) -> Schedule:
        """The network then, as far as a drawing needs it."""
        if self.links is None:
            return start
        one_way = any((b, a) not in some for some in (self.links, self.cut) for a, b in some)
        graph = nx.DiGraph() if one_way else nx.Graph()
        graph.add_nodes_from(range(self.num_clients))
        graph.add_edges_from(self.links)
        labels = more_labels(start, self.num_clients)
        known = build(graph, allow_disconnected=True)  # where clients meet later than anybody looks
        return replace(known, name=start.name, labels=labels)


def became(rows: Iterable[Mapping[str, Any]], start: Schedule, round: int) -> Became:
    """What a network was when that many rounds were done.

    Args:
        rows: of changes.parquet, in order.
        start: the network of the recipe.
        round: rounds done.
    """
    n, cut, absent = start.num_clients, set[Arc](), set[int]()
    links: set[Arc] | None = None
    for row in rows:
        what, a, b = row["what"], row["a"], row["b"]
        if row["round"] > round:
            break
        if what in (NEW_LINK, NO_LINK) and links is None:
            links = arcs_of(start)
        if what == CUT:
            cut.add((a, b))
        elif what == MENDED:
            cut.discard((a, b))
        elif what == LEFT:
            absent.add(a)
        elif what == BACK:
            absent.discard(a)
        elif what == NEW_LINK and links is not None:
            links.add((a, b))
        elif what == NO_LINK and links is not None:
            links.discard((a, b))
        elif what == JOINED:
            n = max(n, a + 1)
    return Became(n, None if links is None else frozenset(links), frozenset(cut), frozenset(absent))


class Watched:
    """Notes the changes of a network that is looked at now and then.

    Attributes:
        network: when it was looked at last.
        rows: of changes.parquet so far, in order.
    """

    def __init__(self, network: Network, known: Sequence[Mapping[str, Any]] = ()) -> None:
        self.network, self.rows = network, [dict(row) for row in known]

    def look(self, network: Network, round: int) -> bool:
        """Whether it is another one since the last look, after so many rounds."""
        if network is self.network:
            return False
        news = differences(self.network, network, round)
        self.network = network
        while self.rows and self.rows[-1]["round"] > round:  # it has gone back
            self.rows.pop()
        if self.rows[-len(news) :] != news:  # else it is on record since before a kill
            self.rows += news
        return bool(news)
