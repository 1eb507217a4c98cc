"""A network in one line, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from p2pqg.base.wording import counted
from p2pqg.topology.checks import spectral_gap
from p2pqg.topology.convergence import gap_of_period
from p2pqg.topology.schedule import Schedule

LARGEST_SPECTRUM = 1024
"""Clients beyond which an exact spectral gap takes longer than a run should wait."""


def describe_network(schedule: Schedule) -> str:
    """A topology's clients, degrees and spectral gap in one line."""
    n, period = schedule.num_clients, schedule.period
    start = f"{schedule.name}: {counted(n, 'client')}"
    small, first = n <= LARGEST_SPECTRUM, f"{_degrees(schedule, [0])} in the first round"
    if period is None:
        return f"{start}, {first}, drawn anew every round"
    if period == 1:
        gap = f", spectral gap {spectral_gap(schedule.mixing(0)):.3g}" if small else ""
        return f"{start}, {_degrees(schedule, [0])}{gap}"
    whole = gap_of_period(schedule) if small else None
    if whole is None:
        return f"{start}, {first}, repeats every {period:,} rounds"
    degrees = _degrees(schedule, schedule.rounds())
    return f"{start}, {degrees}, spectral gap {whole:.3g} over its {period:,} rounds"


def _degrees(schedule: Schedule, rounds: Sequence[int]) -> str:
    """To how many others clients send in one of these rounds."""
    _, (low, mean, high) = schedule.traffic(rounds)
    spread = f"{low}" if low == high else f"{low} to {high} (mean {mean:.1f})"
    return f"{'out-degree' if schedule.directed else 'degree'} {spread}"
