"""What is let in as a network: every W of it keeps what is promised, and it is connected."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np

from p2pqg.base.distinct import distinct
from p2pqg.base.errors import TopologyError
from p2pqg.topology.schedule import Schedule


def problem_of(schedule: Schedule, needs: tuple[str, ...] = ()) -> str | None:
    """What `build` would refuse of a network that it was allowed to let through; None: nothing."""
    try:
        admit(replace(schedule, promise=None), needs)
    except TopologyError as error:
        return str(error)
    return None


def admit(
    schedule: Schedule,
    needs: tuple[str, ...],
    allow_disconnected: bool = False,
    allow_row_stochastic: bool = False,
) -> None:
    """Look at every W of a network, and from now on at every one that is drawn."""
    kept = schedule.keeps
    schedule.promise = replace(
        kept,
        rows=kept.rows and "column-stochastic" not in needs,
        columns=kept.columns and not allow_row_stochastic,
    )
    _examine(schedule, allow_disconnected)


def _examine(schedule: Schedule, allow_disconnected: bool) -> None:
    """Every W of a period, and connectedness; W of round 0 where there is no period."""
    n = schedule.num_clients
    links = []
    for round in schedule.rounds(1):
        W = schedule.mixing(round)
        others = W.receivers != W.senders
        links.append(W.senders[others] * n + W.receivers[others])
    if schedule.period is None or allow_disconnected:
        return  # networks without a period connect in the long run, or not at all: we cannot know
    senders, receivers = np.divmod(distinct(np.concatenate(links)), n)
    if not (_reaches_all(n, senders, receivers) and _reaches_all(n, receivers, senders)):
        raise TopologyError(_in_pieces(schedule, senders, receivers))


def _reaches_all(n: int, senders: np.ndarray, receivers: np.ndarray) -> bool:
    """Whether what client 0 sends gets to everyone in the end."""
    receivers = receivers[np.argsort(senders, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(senders, minlength=n))])
    reached = np.zeros(n, dtype=bool)
    reached[0] = True
    waiting = [0]
    while waiting:
        client = waiting.pop()
        news = receivers[starts[client] : starts[client + 1]]
        news = news[~reached[news]]
        reached[news] = True
        waiting += news.tolist()
    return bool(reached.all())


def _in_pieces(schedule: Schedule, senders: np.ndarray, receivers: np.ndarray) -> str:
    """The message that names two clients which cannot both reach each other."""
    union = nx.DiGraph(zip(senders.tolist(), receivers.tolist(), strict=True))
    union.add_nodes_from(range(schedule.num_clients))
    pieces = list(nx.strongly_connected_components(union))
    piece = min(pieces, key=min)
    other = min(set(union) - piece)
    ever = "" if schedule.period == 1 else " in any round"
    return (
        f"{schedule.name!r}: the network is in {len(pieces)} pieces: clients "
        f"{schedule.called(min(piece))} and {schedule.called(other)} cannot both reach each "
        f"other{ever}. Add an edge between the pieces."
    )
