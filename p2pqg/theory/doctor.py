"""The topology doctor: what can be said of a network before anyone trains on it. Numbers only.

How they are printed is in `doctor_text.py`, how networks are drawn in `p2pqg.topology.drawing` (as
text) and `p2pqg.plots`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from math import ceil, cos, isinf, log2, pi, sqrt
from typing import Any

import numpy as np

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import TopologyError
from p2pqg.theory.consensus import averages_rows, distances
from p2pqg.theory.liars import Bearing, bearing, bearings
from p2pqg.topology import Schedule, build, check_needs, lambda_min, spectral_gap
from p2pqg.topology.admission import problem_of
from p2pqg.topology.convergence import gap_of_period, predicted_rounds, rounds_to
from p2pqg.topology.names import split_name

TARGETS = (1e-2, 1e-6)
"""Shares of the starting consensus distance that the doctor waits for."""
DENSE_LIMIT = 1024
"""Clients up to which products of several rounds are formed."""
ROUNDING = 1e-13
"""What arithmetic may leave of a gap of 0."""
MOST_NOTES = 4e9
"""Bytes of notes on who has heard of whom, after which a diameter is not looked for further."""
DRAWS = 64
"""Rounds of an aperiodic network that stand for all."""
MOST_ROUNDS, MOST_WORK = 5_000, 2e8
"""Where the simulated gossip ends: rounds, and rounds x entries of W x numbers."""


@dataclass(frozen=True)
class Verdict:
    """Whether an algorithm may run on a network, with its default parameters.

    Attributes:
        remark: why not, or what to know; empty where all is well.
    """

    algorithm: str
    runs: bool
    remark: str


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        problem: why nobody can train on it, or None.
        period: rounds until it repeats; None: never.
        links: per round; both directions of an undirected one count once.
        labels: the clients' own names, or none.
        degrees: smallest, mean and largest number of receivers of a client in a round.
        diameter: rounds until everyone has heard of everyone; None: never, or not worked out.
        rows, columns: of W sum to 1, in every round; symmetric: W is.
        spectral_gap: of `gap_of`; None: not worked out.
        lambda_min: smallest eigenvalue of a symmetric W that does not change.
        closed_form: (formula, value) of the spectral gap, where known.
        predicted, simulated: share of the starting consensus distance -> rounds of gossip; None:
            never, or not within `simulated_rounds`. Where the gap proves that they never agree,
            nothing is simulated, and `simulated_rounds` is 0.
        bytes_per_round: all clients together, one model each message, 4 bytes a parameter.
        liars: what 1, 2, ... of them can do, or those that were named, see `theory.liars`.
    """

    topology: str
    source: str
    mixing: str
    problem: str | None
    clients: int
    labels: tuple[str, ...]
    directed: bool
    period: int | None
    links: float
    degrees: tuple[int, float, int]
    diameter: int | None
    rows: bool
    columns: bool
    symmetric: bool
    spectral_gap: float | None
    gap_of: str
    lambda_min: float | None
    closed_form: tuple[str, float] | None
    predicted: dict[float, int | None]
    simulated: dict[float, int | None]
    simulated_rounds: int
    num_params: int
    bytes_per_round: float
    liars: list[Bearing]
    verdicts: list[Verdict]


def admit(topology: Any, clients: int | None = None) -> Schedule:
    """The network, even one on which nobody could train: the doctor sees the sick, too.

    Raises:
        TopologyError: there is no such network, or it cannot be read.
    """
    return build(
        topology,
        clients,
        needs=("column-stochastic",),
        allow_disconnected=True,
        allow_row_stochastic=True,
    )


def untrainable(schedule: Schedule) -> str | None:
    """Why `p2pqg run` would refuse a network with any algorithm, or None."""
    problems = [problem_of(schedule, needs) for needs in ((), ("column-stochastic",))]
    return problems[0] if all(problems) else None


def examine(
    topology: Any,
    clients: int | None = None,
    num_params: int = 272_474,
    liars: Any = None,
) -> Diagnosis:
    """Look a network over.

    Args:
        topology: as of `p2pqg.mixing_matrix`.
        clients: their number, where the name leaves it out.
        num_params: size of the model that is sent; the default is a ResNet-20's.
        liars: clients who may lie; None: any.

    Raises:
        TopologyError: there is no such network.
        ConfigError: there are no such clients.
    """
    schedule = admit(topology, clients)
    rounds = schedule.rounds(DRAWS)
    messages, degrees = schedule.traffic(rounds)
    sums = {
        "rows": averages_rows(schedule),
        "columns": all(
            np.allclose(schedule.mixing(t).column_sums(), 1, rtol=0, atol=1e-9) for t in rounds
        ),
        "symmetric": all(schedule.mixing(t).is_symmetric() for t in rounds),
    }
    gap, gap_of = _gap(schedule) if sums["rows"] or sums["columns"] else (None, "W")
    problem = untrainable(schedule)
    averages = sums["rows"] or sums["columns"]
    never = not averages or (gap == 0 and _by_eigenvalues(schedule, sums))
    path = np.array([1.0]) if never else _gossip(schedule)
    return Diagnosis(
        topology=schedule.name,
        source=schedule.source,
        mixing=schedule.rule,
        problem=problem,
        clients=schedule.num_clients,
        labels=schedule.labels,
        directed=schedule.directed,
        period=schedule.period,
        links=messages / (1 if schedule.directed else 2),
        degrees=degrees,
        diameter=diameter(schedule),
        **sums,
        spectral_gap=gap,
        gap_of=gap_of,
        lambda_min=_lambda_min(schedule) if sums["symmetric"] else None,
        closed_form=closed_form(schedule),
        predicted={t: None if gap is None else _predicted(schedule, gap, t) for t in TARGETS},
        simulated={t: rounds_to(path, t) for t in TARGETS},
        simulated_rounds=len(path) - 1,
        num_params=num_params,
        bytes_per_round=messages * num_params * 4,
        liars=bearings(schedule) if liars is None else [bearing(schedule, liars)],
        verdicts=verdicts(schedule, problem),
    )


def _by_eigenvalues(schedule: Schedule, sums: dict[str, bool]) -> bool:
    """Whether the gap is 1 - |lambda_2|, so that where it is 0 nobody ever agrees.

    Others are bounds of a round, a period or the mean: some networks agree where those are 0.
    """
    return schedule.period == 1 and (sums["symmetric"] or not (sums["rows"] and sums["columns"]))


def _lambda_min(schedule: Schedule) -> float | None:
    return lambda_min(schedule.mixing(0)) if schedule.period == 1 else None


def _predicted(schedule: Schedule, gap: float, share: float) -> int | None:
    """Rounds of gossip by the gap alone; of a network that repeats, whole periods."""
    rounds = predicted_rounds(1 - gap, share)
    return None if isinf(rounds) else int(rounds) * (schedule.period or 1)


def _gossip(schedule: Schedule) -> np.ndarray:
    """Consensus distance under gossip, until the last target is met or patience ends."""
    entries = len(schedule.mixing(0).weights)
    most = int(max(10, min(MOST_ROUNDS, MOST_WORK / (entries * 16))))
    path: list[float] = []
    for distance in islice(distances(schedule), most + 1):
        path.append(distance)
        if distance <= TARGETS[-1] * path[0]:
            break
    return np.array(path)


def _gap(schedule: Schedule) -> tuple[float | None, str]:
    """(spectral gap or None, of what)."""
    n, period = schedule.num_clients, schedule.period
    if period == 1:
        found = spectral_gap(schedule.mixing(0))
        if np.isnan(found):
            return None, "W"
        return (found if found > ROUNDING else 0.0), "W"  # 0 where it falls apart, not -2e-16
    if n > DENSE_LIMIT:
        return None, "W"
    if period is None:
        draws = int(min(1000, max(DRAWS, 2e8 // n**3)))
        return expected_gap(schedule, draws), f"W in the mean of {draws:,} rounds"
    return gap_of_period(schedule), f"the product of its {period} rounds"


def expected_gap(schedule: Schedule, draws: int) -> float | None:
    """1 - the root of the largest eigenvalue of mean (W - J)'(W - J) over so many rounds.

    In the mean a round shrinks the consensus distance by at least the square of 1 - gap. None
    where rows do not sum to 1.
    """
    if not averages_rows(schedule):
        return None
    n = schedule.num_clients
    total = np.zeros((n, n))
    for round in range(draws):
        off = schedule.mixing(round).dense() - 1 / n
        total += off.T @ off
    return float(1 - sqrt(max(0.0, np.linalg.eigvalsh(total / draws)[-1])))


def diameter(schedule: Schedule) -> int | None:
    """Rounds until everyone has heard of everyone; of a network that stays, its diameter.

    None where that never happens, or would take more than MOST_NOTES bytes of notes to find out.
    """
    n = schedule.num_clients
    width = -(-n // 64) * 64  # bits of a row, in words of eight bytes
    knows = np.packbits(np.eye(n, width, dtype=bool), axis=1).view(np.uint64)
    everything = np.packbits(np.arange(width) < n).view(np.uint64)
    work, idle, done = 0.0, 0, 0
    patience = len(schedule.rounds(DRAWS))
    busy = schedule.busy()
    while not (knows == everything).all():
        round = next(busy)
        W = schedule.mixing(round)
        work += len(W.senders) * -(-n // 8)
        if work > MOST_NOTES or idle > patience:
            return None
        first = np.flatnonzero(np.diff(W.receivers, prepend=-1))
        heard = np.bitwise_or.reduceat(knows[W.senders], first, axis=0)
        after = knows.copy()  # nobody forgets, even with an own weight of 0
        after[W.receivers[first]] |= heard
        idle = idle + 1 if np.array_equal(after, knows) else 0
        knows, done = after, round + 1
    return done


def verdicts(schedule: Schedule, problem: str | None = None) -> list[Verdict]:
    """For every registered algorithm: may it run here, with its defaults, and if not, why.

    `problem` is why none may.
    """
    if problem:
        return [Verdict(name, False, problem) for name in sorted(ALGORITHMS)]
    found = []
    known: dict[tuple[str, ...], tuple[bool, str]] = {}  # spectra take time: once per need
    for name, entry in sorted(ALGORITHMS.items()):
        if entry.traits["centralized"]:
            found.append(Verdict(name, True, "all-reduces; does not use the network"))
            continue
        needs = entry.traits["needs"](entry.params(lr=1.0))
        if needs not in known:
            known[needs] = _check(schedule, needs)
        runs, remark = known[needs]
        found.append(Verdict(name, runs, remark))
    return found


def _check(schedule: Schedule, needs: tuple[str, ...]) -> tuple[bool, str]:
    try:
        warnings = check_needs(schedule, needs, "it")
    except TopologyError as error:
        return False, str(error).removeprefix(f"{schedule.name!r}: ")
    return True, "; ".join(w.removeprefix(f"{schedule.name!r}: ") for w in warnings)


GAPS: dict[str, tuple[str, Callable[[int], float]]] = {
    "complete": ("1", lambda n: 1.0),
    "ring": ("2/3 (1 - cos(2 pi/n))", lambda n: 2 / 3 * (1 - cos(2 * pi / n))),
    "chain": ("2/3 (1 - cos(pi/n))", lambda n: 2 / 3 * (1 - cos(pi / n))),
    "star": ("1/n", lambda n: 1 / n),
    "hypercube": ("2/(log2 n + 1)", lambda n: 2 / (log2(n) + 1)),
    "exponential": ("2/(ceil(log2 n) + 1)", lambda n: 2 / (ceil(log2(n)) + 1)),
    "random-matching": (
        "1 - sqrt(1/2 - 1/(2n - 2)), expected",
        lambda n: 1 - sqrt(1 / 2 - 1 / (2 * n - 2)),
    ),
}
"""Name of a network -> the formula of its spectral gap for n clients, and the value of it."""
IF_EVEN = {"exponential", "random-matching"}
"""Those whose formula is of even numbers of clients."""
EXACT = {"base", "simple-base", "onepeer-hypercube"}
"""Those that come to the exact mean in a period."""


def closed_form(schedule: Schedule) -> tuple[str, float] | None:
    """(formula, value) of the spectral gap of networks where theory has one; None elsewhere."""
    try:
        name, _, options = split_name(schedule.name)
    except TopologyError:  # a file's name
        return None
    n, changes = schedule.num_clients, schedule.period not in (1, None)
    if set(options) & {"mixing", "rows"} or n < 3:
        return None
    if changes and (name in EXACT or (name == "onepeer-exponential" and n & (n - 1) == 0)):
        return f"1: the exact mean after {schedule.period} rounds", 1.0
    if name == "mix":
        return "rho", float(options.get("rho", 0.1))
    if name == "torus":
        return _of_torus(n)
    if name == "ring" and n == 3:
        name = "complete"
    if name not in GAPS or (name in IF_EVEN and n % 2):
        return None
    formula, gap = GAPS[name]
    return formula, gap(n)


def _of_torus(n: int) -> tuple[str, float] | None:
    """Its sides are as near to each other as n has it; a side of 2 is no ring."""
    short = next(a for a in range(int(sqrt(n)), 0, -1) if n % a == 0)
    if short < 3:
        return None
    return "2/5 (1 - cos(2 pi/longer side))", 2 / 5 * (1 - cos(2 * pi * short / n))
