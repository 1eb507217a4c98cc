"""Networks in CSV: columns source,target[,weight][,round or time]; or a matrix of numbers.

With round or time there is a network per round, used in turn. The numbers in `round` are taken at
their word: where there is no line nobody talks. Those in `time`, or dates, are only put in order,
to the nanosecond: so contact traces are read, which count seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import networkx as nx
import numpy as np

from p2pqg.base.csv_file import NUMBER, lines_of, rows
from p2pqg.base.errors import TopologyError
from p2pqg.topology._edges import (
    UNUSED_WEIGHTS,
    Edge,
    Wanted,
    check_loop,
    check_weight,
    file_schedule,
    finite,
    graph_of,
    number_clients,
)
from p2pqg.topology.labels import key_of
from p2pqg.topology.matrix_file import matrix_in, matrix_schedule
from p2pqg.topology.mixing_rules import Arcs
from p2pqg.topology.schedule import Rounds, Schedule

MOMENTS: tuple[str, ...] = ("round", "time")
MOST_ROUNDS = 10**8
"""Rounds beyond which a number in `round` is a time: as seconds since 1970, in 1973."""
USE_TIME = "Name the column time: its moments follow one another, without rounds between them."
DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


def read_csv(path: Path, wanted: Wanted) -> Schedule:
    """The network in a CSV file.

    Raises:
        ConfigError: file, line, rule and repair.
    """
    _, header = next(lines_of(path), ("", []))
    if header and not {"source", "target"} <= {name.lower() for name in header}:
        matrix, names = matrix_in(path)
        if matrix is not None:
            return matrix_schedule(matrix, names, path, wanted)
    edges, rounds = _edges(path, wanted.rule)
    number, labels = number_clients(edges, wanted.clients, str(path), strict=False)
    directed, rule, notes = bool(wanted.directed), wanted.rule, []
    if rule != "given" and any(e.weight is not None for e in edges):
        notes.append(f"{str(path)!r}: {UNUSED_WEIGHTS}")
    if rounds is None:
        graph = graph_of(edges, number, len(labels), directed, rule)
        return file_schedule(
            graph, path, rule, wanted.label_counts, labels=labels, notes=tuple(notes)
        )
    trace = Trace.of(edges, rounds, number, len(labels), directed, rule)
    period, listed = int(trace.rounds[-1]) + 1, len(trace.rounds)
    if listed < period / 2:
        notes.append(
            f"{str(path)!r}: nobody talks in {period - listed:,} of {period:,} rounds. To leave "
            "them out, name the column time"
        )
    network = Rounds(trace, period, frozenset(trace.rounds.tolist()))
    return file_schedule(
        network, path, rule, wanted.label_counts, labels=labels, notes=tuple(notes)
    )


@dataclass(frozen=True, eq=False)
class Trace:
    """The network of a round; where the file has no line for it, nobody talks.

    Attributes:
        num_clients: n.
        directed: edges run from sender to receiver.
        rounds: int64 [listed], rising: those that the file has lines for.
        starts: int64 [listed + 1]: where their edges begin.
        ends: int64 [edges, 2], by round.
        weights: float64 [edges]; None: they do not count.
    """

    num_clients: int
    directed: bool
    rounds: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(
        cls,
        edges: list[Edge],
        rounds: list[int],
        number: dict[str, int],
        n: int,
        directed: bool,
        rule: str | None,
    ) -> Trace:
        """The network of edges and the round of each.

        Raises:
            TopologyError: the rule is `given`, and a weight is lacking or said in two ways.
        """
        order = np.argsort(rounds, kind="stable")
        listed, starts = np.unique(np.asarray(rounds, dtype=np.int64)[order], return_index=True)
        pairs = [(number[key_of(e.source)], number[key_of(e.target)]) for e in edges]
        ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)[order]
        weights = None
        if rule == "given":
            once: dict[tuple[int, ...], float | None] = {}
            for edge, round, pair in zip(edges, rounds, pairs, strict=True):
                key = (round, *(pair if directed else sorted(pair)))
                check_weight(edge, once.setdefault(key, edge.weight))
            weights = np.array([e.weight for e in edges], dtype=np.float64)[order]
        return cls(n, directed, listed, np.append(starts, len(edges)), ends, weights)

    def __call__(self, round: int) -> nx.Graph | Arcs:
        at = int(np.searchsorted(self.rounds, round))
        mine = slice(0, 0)
        if at < len(self.rounds) and self.rounds[at] == round:
            mine = slice(int(self.starts[at]), int(self.starts[at + 1]))
        if self.weights is None:
            return Arcs.of(self.num_clients, self.ends[mine], self.directed)
        graph = nx.DiGraph() if self.directed else nx.Graph()
        graph.add_nodes_from(range(self.num_clients))
        graph.add_weighted_edges_from(
            (a, b, w)
            for (a, b), w in zip(self.ends[mine].tolist(), self.weights[mine], strict=True)
        )
        return graph


def _edges(path: Path, rule: str | None) -> tuple[list[Edge], list[int] | None]:
    """The edges of a file, and the round of each; None: the network does not change."""
    edges, moments = list[Edge](), list[tuple[str, str]]()
    column: Sequence[str] = ()
    for where, row in rows(path, ("source", "target"), ("weight", *MOMENTS)):
        when = [name for name in ("round", "time") if name in row]
        if len(when) == 2:
            raise TopologyError(f"{where} has both round and time. Leave one column out.")
        if edges and when != column:
            raise TopologyError(
                f"{where} must have the same columns as the lines before. Fill in round or time."
            )
        column = when
        weight = finite(row["weight"], "weight", where) if "weight" in row else None
        edge = Edge(row["source"], row["target"], weight, where)
        if key_of(edge.source) == key_of(edge.target):
            check_loop(edge, rule)
        edges.append(edge)
        moments += [(row[name], where) for name in when]
    if not edges:
        raise TopologyError(f"{path}: has no edge. Add a line source,target for each.")
    if not column:
        return edges, None
    if "round" in column:
        return edges, [_round(cell, where) for cell, where in moments]
    times = [_time(cell, where) for cell, where in moments]
    if len({type(time) for time in times}) > 1:
        raise TopologyError(f"{path}: has numbers as well as dates in time. Use one of them.")
    turn = {time: round for round, time in enumerate(sorted(set(times)))}
    return edges, [turn[time] for time in times]


def _round(cell: str, where: str) -> int:
    if DATE.fullmatch(cell):
        raise TopologyError(f"{where}: round must be an integer >= 0, got a date. {USE_TIME}")
    round = finite(cell, "round", where)
    if round >= MOST_ROUNDS:
        raise TopologyError(
            f"{where}: round must be < {MOST_ROUNDS:,}, got {cell}, which seems to be a time. "
            f"{USE_TIME}"
        )
    if round < 0 or round != int(round):
        raise TopologyError(f"{where}: round must be an integer >= 0, got {cell!r}. Correct it.")
    return int(round)


def _time(cell: str, where: str) -> Decimal | int:
    """A moment that can be put in order without loss: a number, or nanoseconds of a date."""
    found = DATE.fullmatch(cell)
    try:
        if found is None and NUMBER.fullmatch(cell):
            return Decimal(cell)
        if found is not None:
            day, minute, second, fraction, zone = found.groups()
            then = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}+00:00")
            if zone and zone != "Z":
                hours, minutes = int(zone[:3]), int(zone[0] + zone[-2:])
                then -= timedelta(hours=hours, minutes=minutes)
            whole = (then - EPOCH) // timedelta(seconds=1)
            return whole * 10**9 + int((fraction or "0").ljust(9, "0"))
    except (ArithmeticError, ValueError):  # 1e9999999999999999999, or the 31st of February
        pass
    raise TopologyError(
        f"{where}: time must be a number, or a date such as 2012-11-19 10:00:20, got {cell!r:.60}. "
        "Correct it."
    )


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
