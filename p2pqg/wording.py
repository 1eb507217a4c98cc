"""Numbers, networks and label distributions as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from p2pqg.topology import Schedule

DOTS = " ·•●"
MOST_CLIENTS, MOST_CLASSES = 64, 20
"""Larger label pictures would not fit 80 columns or a page; a summary stands in."""
LARGEST_SPECTRUM = 1024
"""Clients beyond which an exact spectral gap takes longer than a run should wait."""


def network(schedule: Schedule) -> str:
    """A topology's clients, degrees and spectral gap in one line."""
    from p2pqg.topology import spectral_gap

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
    gap = spectral_gap(schedule.product(schedule.period))
    return f"{text}, spectral gap {gap:.3g} over its {schedule.period} rounds"


def skew(counts: np.ndarray) -> str:
    """How unlike the clients are, in one line; counts are [clients, classes]."""
    from p2pqg.data import label_skew

    found = label_skew(counts)
    return (
        f"{found['classes_above_1_percent']:.1f} of {counts.shape[1]} classes per client, "
        f"the largest {100 * found['largest_class_share']:.0f} %; "
        f"total variation {found['total_variation']:.2f}"
    )


def label_picture(counts: np.ndarray) -> list[str]:
    """The paper's Figure 1: classes down, clients across, bigger dots for more samples.

    Args:
        counts: [clients, classes], training samples.

    Returns:
        Lines of at most 80 characters; none for more than 64 clients or 20 classes.
    """
    clients, classes = counts.shape
    if clients > MOST_CLIENTS or classes > MOST_CLASSES:
        return []
    # Area, not width, is what the eye compares: a dot's width goes with the root of its count.
    levels = np.ceil(np.sqrt(counts / counts.max()) * (len(DOTS) - 1)).astype(int)
    gap = " " if clients <= MOST_CLIENTS // 2 else ""
    lines = [
        f"  class {label:<2} " + gap.join(DOTS[level] for level in row)
        for label, row in enumerate(levels.T)
    ]
    return ["", *lines, f"           client 0 to {clients - 1}"]


def pace(rounds_per_second: float | None) -> str:
    """Rounds per second, or seconds per round where they are long."""
    if not rounds_per_second:
        return ""
    if rounds_per_second >= 1:
        return f"{rounds_per_second:5.3g}/s"
    return f"{1 / rounds_per_second:.3g} s each"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of text, numbers to the right; the first line is the header."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(text[:1].isdigit() or text == "-" for text in column[1:]) for column in columns]
    return [
        "  ".join(
            text.rjust(width) if to_the_right else text.ljust(width)
            for text, width, to_the_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [header, *rows]
    ]


def missing(value: Any) -> bool:
    """Whether there is no value: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def plain_text(value: Any) -> str:
    """A setting's value as a recipe would have it."""
    if missing(value):
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def counted(count: int, what: str) -> str:
    """`1 round`, `2 rounds`, `1,200 rounds`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def number(value: float | None) -> str:
    """Three digits, in scientific notation where it is long."""
    return "-" if missing(value) else f"{value:.3g}"


def percent(share: float | None, digits: int = 1) -> str:
    """0.873 -> `87.3 %`."""
    return "-" if missing(share) else f"{100 * share:.{digits}f} %"


def human_bytes(count: float | None) -> str:
    """Bytes with a decimal unit.

    >>> human_bytes(18_470_400), human_bytes(999)
    ('18.5 MB', '999 B')
    """
    if missing(count):
        return "-"
    power = min(5, int(math.log10(max(count, 1))) // 3)
    if power and round(count / 1000**power, 1) >= 1000 and power < 5:
        power += 1
    return f"{count:.0f} B" if power == 0 else f"{count / 1000**power:.1f} {' kMGTP'[power]}B"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits them.

    >>> duration(2.14), duration(75), duration(9000)
    ('2.1 s', '1 min 15 s', '2 h 30 min')
    """
    if missing(seconds):
        return "-"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
