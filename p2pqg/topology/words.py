"""A network in one line, as a person reads it."""

from __future__ import annotations

from p2pqg.base.wording import counted
from p2pqg.topology.checks import spectral_gap
from p2pqg.topology.convergence import gap_of_period
from p2pqg.topology.schedule import Schedule

LARGEST_SPECTRUM = 1024
"""Clients beyond which an exact spectral gap takes longer than a run should wait."""


def describe_network(schedule: Schedule) -> str:
    """A topology's clients, degrees and spectral gap in one line."""
    degrees = [degree for _, degree in schedule.graph(0).degree()]
    if schedule.directed:
        degrees = [degree for _, degree in schedule.graph(0).out_degree()]
    mean = sum(degrees) / len(degrees)
    low, high = min(degrees), max(degrees)
    spread = f"{low}" if low == high else f"{low} to {high} (mean {mean:.1f})"
    degree = "out-degree" if schedule.directed else "degree"
    text = f"{schedule.name}: {counted(schedule.num_clients, 'client')}, {degree} {spread}"
    if schedule.period is None:
        return f"{text}, drawn anew every round"
    if schedule.num_clients > LARGEST_SPECTRUM:
        return text
    if schedule.period == 1:
        return f"{text}, spectral gap {spectral_gap(schedule.mixing(0)):.3g}"
    gap = gap_of_period(schedule)
    if gap is None:
        return f"{text}, repeats every {schedule.period:,} rounds"
    return f"{text}, spectral gap {gap:.3g} over its {schedule.period:,} rounds"
