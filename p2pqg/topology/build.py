"""build(): whatever users call a topology -> Schedule, examined before anyone trains on it."""

from __future__ import annotations

import inspect
import numbers
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.draws import keyed
from p2pqg.base.errors import P2pqgError, TopologyError
from p2pqg.base.memory import check_room
from p2pqg.base.ranges import whole_number
from p2pqg.base.registry import Entry
from p2pqg.base.shipped import shipped_folder
from p2pqg.base.signature import check_takes, parameters
from p2pqg.base.source import blamed
from p2pqg.base.user_code import find_in_file, names_a_file
from p2pqg.base.wording import counted
from p2pqg.topology._registry import TOPOLOGIES
from p2pqg.topology.admission import admit
from p2pqg.topology.checks import array_of, as_mixing
from p2pqg.topology.files import is_file_name, not_read, read
from p2pqg.topology.label_counts import COUNTS
from p2pqg.topology.labels import numbered
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.names import near, schedule_named, split_name
from p2pqg.topology.schedule import ROUNDS_SEEN, Schedule, schedule_of, schedule_of_arrays
from p2pqg.topology.user_code import (
    NUMBERS,
    TOLD,
    With,
    of_the_round,
    split_code,
    told_of_clients,
    with_settings,
    wrapped,
)

UNUSED_OF_GRAPH = "edge weights are not used; to mix with them give W, a matrix [clients, clients]"


def shipped() -> dict[str, Path]:
    """Name -> file of the networks that come with p2pqg as YAML."""
    return {path.stem: path for path in sorted(shipped_folder("topologies").glob("*.yaml"))}


def build(
    topology: Any,
    clients: int | None = None,
    *,
    label_counts: np.ndarray | None = None,
    needs: tuple[str, ...] = (),
    allow_disconnected: bool = False,
    allow_row_stochastic: bool = False,
) -> Schedule:
    """The schedule of a topology.

    Args:
        topology: a name (`ring16`, `base25:k=2`, `erdos-renyi32:p=0.2,seed=1`, any with
            `mixing=lazy`), a file (see `p2pqg.topology.files`), the name of a YAML file that comes
            with p2pqg, an array [clients, clients] or [rounds, clients, clients] (used in turn), a
            function of the round that returns W, a graph of networkx, or a Schedule. An nx.DiGraph
            is directed, also where its edges go both ways; of a function, that of round 0. Arrays
            are where a link goes one way, in any round, of a function in one of the first four in
            which anybody sends.
        clients: their number, where the name leaves it out; functions of yours are told it, too,
            if they have a parameter `clients` or `num_clients`.
        label_counts: [clients, classes], how many samples of each class the clients have, for
            networks that look at them (d-cliques, stl-fw, mixing=heterogeneity_aware, and
            functions of yours that have a parameter of this name).
        needs: of the algorithm; with "column-stochastic" a given W needs columns that sum to 1
            only. What else an algorithm needs: `check_needs`.
        allow_disconnected: clients that never hear of each other are fine.
        allow_row_stochastic: a given W whose columns do not sum to 1 is fine: its fixed point is
            a weighted mean.

    Raises:
        TopologyError: with the repair.
    """
    if clients is not None and not (_is_count(clients) and clients >= 1):
        raise TopologyError(f"clients must be an integer >= 1, got {clients}. Use 16.")
    schedule = _schedule(topology, clients, label_counts)
    if clients is not None and schedule.num_clients != clients:
        raise TopologyError(
            f"{schedule.name!r} has {schedule.num_clients} clients, but clients is {clients}. "
            "Leave clients out."
        )
    if schedule is not topology:
        admit(schedule, needs, allow_disconnected, allow_row_stochastic)
    return schedule


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _schedule(
    topology: Any, clients: int | None, label_counts: np.ndarray | None = None
) -> Schedule:
    if isinstance(topology, Schedule):
        return topology
    if isinstance(topology, Mixing):
        return schedule_of_arrays(topology.dense(), "given W")
    if isinstance(topology, nx.Graph):
        graph, labels = numbered(topology)
        weighted = any(weight != 1 for *_, weight in topology.edges(data="weight", default=1))
        notes = (f"given graph: {UNUSED_OF_GRAPH}",) if weighted else ()
        return schedule_of(graph, "given graph", labels=labels, notes=notes)
    if isinstance(topology, (str, Path)):
        return _from_text(str(topology), clients, label_counts)
    if callable(topology):
        return _of_function(topology, clients, label_counts)
    if isinstance(topology, Mapping):
        raise TopologyError(
            "a topology has no keys: settings are part of its name, as in erdos-renyi32:p=0.2 or, "
            "of a function of yours, my_net.py:my_function:k=2"
        )
    if isinstance(topology, list | tuple) and any(isinstance(one, nx.Graph) for one in topology):
        raise TopologyError(
            f"a list of graphs is no topology; give a function of the round, "
            f"lambda round: graphs[round % {len(topology)}]"
        )
    try:
        W = np.asarray(array_of(topology, "given W"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TopologyError(
            "a topology is a name, a file, a graph, an array or a function, got "
            f"{type(topology).__name__}"
        ) from None
    return schedule_of_arrays(W, "given W")


def _of_function(
    function: Callable[..., Any], clients: int | None, label_counts: np.ndarray | None
) -> Schedule:
    """The schedule of a function of the round, or of one that returns what the network is."""
    called = f"topology {getattr(function, '__name__', type(function).__name__)}"
    seen = told_of_clients(function, "given function", clients, label_counts)
    takes_nothing = inspect.isroutine(function) and not set(parameters(function)) - TOLD
    try:
        if takes_nothing or (seen and not of_the_round(function)):
            with keyed(0):
                made = function(**seen)
            return _schedule(made, clients, label_counts)
        check_takes(partial(function, **seen), ("round",), called, TopologyError)
        with keyed(0):
            first = function(0, **seen)
    except TopologyError:
        raise
    except Exception as error:  # of the user's own code
        raise TopologyError(blamed(error, called)) from error
    if isinstance(first, nx.Graph) and not len(first):
        raise TopologyError(
            f"{called} is asked for the network of a round, and returns a graph of no clients for "
            "round 0; where its parameter is their number, call that clients"
        )
    if isinstance(first, nx.Graph):
        size, labels = len(first), numbered(first)[1]
    else:
        size, labels = len(np.atleast_1d(array_of(first, "given function, round 0"))), None
    ask = Asked(function, clients or size, seen, labels)
    W, again = ask(0), ask(0)
    if not all(
        np.array_equal(getattr(W, part), getattr(again, part))
        for part in ("receivers", "senders", "weights")
    ):
        raise TopologyError(
            f"{called} gives another network for round 0 when it is asked again, and each actor "
            "asks for itself; draw it by the round, as np.random.default_rng(round) does"
        )
    directed = (isinstance(first, nx.Graph) and first.is_directed()) or _is_one_way(ask)
    return Schedule("given function", ask.num_clients, directed, None, ask, labels=labels or ())


def _is_one_way(ask: Asked) -> bool:
    """Whether somebody sends to a client that does not send back, in the rounds looked at.

    They are the first four in which anybody sends: clients may meet every few rounds only.
    """
    busy = 0
    with suppress(P2pqgError):  # it is told when the round comes
        for round in range(ROUNDS_SEEN):
            W = ask(round)
            if not W.is_mutual():
                return True
            busy += bool((W.senders != W.receivers).any())
            if busy == 4:
                break
    return False


def _from_text(text: str, clients: int | None, label_counts: np.ndarray | None = None) -> Schedule:
    if names_a_file(split_code(text)[0]):
        return _of_code(text, clients, label_counts)
    if is_file_name(text):
        return read(text, clients, label_counts)
    if split_name(text)[0] in TOPOLOGIES:
        return schedule_named(text, clients, label_counts)
    head, colon, tail = text.partition(":")
    files = shipped()
    if head in files:
        schedule = read(f"{files[head]}{colon}{tail}", clients, label_counts)
        schedule.name = text
        return schedule
    if os.path.isfile(text):
        raise TopologyError(not_read(Path(text)))
    raise TopologyError(f"unknown topology {text!r:.80}{near(text, files)}")


def _of_code(text: str, clients: int | None, label_counts: np.ndarray | None) -> Schedule:
    """The network of a user's file: a decorated network, or a function of the round that returns W.

    A function that takes nothing without a default returns a graph, or what else `build` takes.
    Either is told of the clients' labels if it has a parameter `label_counts`, and how many they
    are if it has one called `clients` or `num_clients`; what else it takes may be set behind its
    name, `my_net.py:my_function:k=2`.
    """
    name, options = split_code(text)
    entry = find_in_file(TOPOLOGIES, name, wrapped)
    if "own" not in entry.traits:
        named = f"{entry.name}:{options}" if options else entry.name
        return schedule_named(named, clients, label_counts, entry)
    build = with_settings(entry.build, options, text)
    try:
        seen = told_of_clients(build, text, clients, label_counts)
        with keyed(0):
            made = build if of_the_round(build) else build(**seen)
        schedule = _schedule(made, clients, label_counts)
    except TopologyError:
        raise
    except Exception as error:
        raise TopologyError(blamed(error, f"topology {text}")) from error
    schedule.name = text
    return schedule


def of_size(schedule: Schedule, clients: int) -> Schedule | None:
    """The network that the same function of a user's makes of another number of clients.

    Returns:
        None: it is no such function, or it is not told their number, or looks at their labels.
    """
    function: Any = schedule.name
    if isinstance(schedule.draw, Asked):
        function = schedule.draw.function
    elif not names_a_file(split_code(schedule.name)[0]):
        return None
    own = function
    if not callable(function):
        own = find_in_file(TOPOLOGIES, split_code(function)[0], wrapped).build
    if COUNTS in parameters(own) or not NUMBERS & set(parameters(own)):
        return None
    made = build(function, clients, allow_disconnected=True, allow_row_stochastic=True)
    made.name = schedule.name
    return made


@dataclass(frozen=True)
class Asked:
    """A user's function of the round, what else it is told, and what round 0 called its nodes."""

    function: Callable[..., Any]
    num_clients: int
    seen: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None

    def __call__(self, round: int) -> Mixing:
        """W of a round."""
        name = f"given function, round {round}"
        with keyed(round):  # each actor asks for itself
            try:
                made = self.function(round, **self.seen)
            except P2pqgError:
                raise
            except Exception as error:  # of the user's own code
                raise TopologyError(blamed(error, f"topology, round {round}")) from error
        if isinstance(made, nx.Graph):  # with the weights that it has by itself
            if len(made) == self.num_clients:
                made = numbered(made, self.labels)[0]
            alone = schedule_of(made, name)
            W = replace(alone.mixing(0), rule=alone.rule)
        else:
            W = as_mixing(made, name)
        if W.num_clients != self.num_clients:
            raise TopologyError(
                f"{name!r}: must have {self.num_clients} clients, got {W.num_clients}"
            )
        return W


def asked_of(schedule: Schedule) -> Entry | None:
    """A user's function that draws a network, if one does."""
    draw = schedule.draw
    if not isinstance(draw, Asked):
        return None
    function = draw.function
    return Entry(schedule.name, function.function if isinstance(function, With) else function)


def mixing_matrix(
    topology: Any,
    round: int = 0,
    clients: int | None = None,
    label_counts: np.ndarray | None = None,
) -> np.ndarray:
    """The mixing matrix of one round.

    Args:
        topology: as of `build`.
        round: >= 0.
        clients: their number, where the name leaves it out.
        label_counts: as of `build`.

    Returns:
        [clients, clients], float64, W[receiver, sender].

    Raises:
        TopologyError: as of `build`, or no such round.
    """
    if not whole_number(round, 0):
        raise TopologyError(f"round must be an integer >= 0, got {round!r}")
    schedule = build(topology, clients, label_counts=label_counts, allow_disconnected=True)
    what = f"{schedule.name!r:.80}: [clients, clients] of {counted(schedule.num_clients, 'client')}"
    check_room(8 * schedule.num_clients**2, what, "use p2pqg.topology.build", TopologyError)
    return schedule.mixing(round).dense()
