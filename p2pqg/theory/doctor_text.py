"""What the topology doctor and the consensus command found, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log10
from typing import Any

import numpy as np

from p2pqg.base.wording import aligned, counted, human_bytes, number
from p2pqg.theory.doctor import TARGETS, Diagnosis
from p2pqg.theory.leakage import Exposure
from p2pqg.topology.convergence import rounds_to, rounds_to_stay
from p2pqg.topology.drawing import MOST_LETTERS

Row = tuple[str, str]
MOST_NAMES = 40
FEW = 4
"""How many of several clients with one value are named."""


def sheet(found: Diagnosis) -> list[Row]:
    """One network: (what, and what there is to say about it)."""
    low, mean, high = found.degrees
    spread = _from_to(low, high) + ("" if low == high else f" others, {mean:.1f} in the mean")
    way = "directed" if found.directed else "undirected"
    each = found.bytes_per_round / found.clients
    rows = [
        ("network", f"{found.topology}: {counted(found.clients, 'client')}, {way}, {_when(found)}"),
        ("source", found.source),
        ("clients", _names(found.labels)),
        ("links", f"{found.links:,.4g} a round; a client sends to {spread}"),
        ("diameter", _diameter(found)),
        ("W", f"{found.mixing}: {_sums(found)}"),
        ("spectral gap", _gap(found)),
        ("lambda_min", _eigenvalue(found.lambda_min)),
        *((f"gossip to {_power(share)}", _rounds(found, share)) for share in TARGETS),
        (
            "sent a round",
            f"{human_bytes(found.bytes_per_round)}, {human_bytes(each)} by a client, for "
            f"{found.num_params:,} parameters in float32",
        ),
        ("liars", _liars(found)),
        *_verdicts(found),
    ]
    return [(what, text) for what, text in rows if text]


def exposed(found: Exposure) -> list[Row]:
    """One network: who learns how much about whom."""
    others = ~np.eye(len(found.joint), dtype=bool)
    mean = found.joint.sum(0, where=others) / max(1, len(others) - 1)
    told = found.joint.sum(1, where=others) / max(1, len(others) - 1)
    rows = [
        ("network", f"{found.topology}: {counted(len(others), 'client')}"),
        (
            "privacy",
            f"noise once, then {counted(found.rounds, 'round')} of gossip; 1: as if it had been "
            "sent the noisy value itself, 0: nothing",
        ),
        ("how", "of all messages together, our derivation; message by message as Cyffers et al."),
    ]
    for links, bound, joint, largest in found.by_distance():
        text = f"{joint:.3g} in the mean, {largest:.3g} at most; message by message {bound:.3g}"
        rows.append((f"{counted(links, 'link')} away", text))
    if len(others) > 1:
        rows += [
            ("learns most", f"{_all_at(found, mean, mean.max())} of each other in the mean"),
            ("learns least", _all_at(found, mean, mean.min())),
            ("most exposed", f"{_all_at(found, told, told.max())} to each other"),
        ]
    return rows


def _all_at(found: Exposure, values: np.ndarray, value: float) -> str:
    """Whose value it is, all of them where several have it, and what it is as a text."""
    told = f"{value:.3g}"
    who = [label for label, one in zip(found.labels, values, strict=True) if f"{one:.3g}" == told]
    if len(who) == len(values):
        return f"all alike, {told}"
    more = f" and {len(who) - FEW} more" if len(who) > FEW else ""
    return f"{', '.join(who[:FEW])}{more}, {told}"


def plain_exposure(found: Exposure) -> dict[str, Any]:
    """An exposure as numbers; matrices are [of whom][who]."""
    return {
        "topology": found.topology,
        "rounds": found.rounds,
        "labels": list(found.labels),
        "bound": found.bound.tolist(),
        "joint": found.joint.tolist(),
    }


def _from_to(low: int, high: int) -> str:
    """`2`, `0 or 1`, `2 to 14`."""
    return f"{low}" if low == high else f"{low} {'or' if high == low + 1 else 'to'} {high}"


def _power(share: float) -> str:
    return f"1e{round(log10(share))}"


def _liars(found: Diagnosis) -> str:
    """What liars can do, and how many of them can be borne."""
    parts = []
    for one in found.liars:
        who = ", ".join(one.who) or f"any {one.liars}" * (one.liars > 1) or "any one"
        if not one.connected:
            parts.append(f"{who}: can cut the honest apart, no rule helps")
            continue
        text = f"{who}: weight {one.weight:.3g} at {one.receiver}"
        if one.gap is not None:
            text += f", gap of the honest {one.gap:.3g}"
        if not one.borne:
            text += ", too many there for any rule"
        parts.append(text)
    return "; ".join(parts)


def _names(labels: Sequence[str]) -> str:
    """`0 Albert, 1 Bob`: what the clients are called, with the numbers they are drawn by.

    Nothing where they are called by their numbers.
    """
    if list(labels) == [str(client) for client in range(len(labels))]:
        return ""
    by_number = any(len(name) > MOST_LETTERS for name in labels)
    shown = ", ".join(
        f"{client} {name}" if by_number else name for client, name in enumerate(labels[:MOST_NAMES])
    )
    more = len(labels) - MOST_NAMES
    return shown + (f" and {more:,} more" if more > 0 else "")


def _eigenvalue(value: float | None) -> str:
    return "" if value is None else f"{round(value, 4) + 0:.3g}"  # + 0: no minus before a zero


def _when(found: Diagnosis) -> str:
    if found.period == 1:
        return "the same in every round"
    return f"repeats every {found.period} rounds" if found.period else "drawn anew every round"


def _diameter(found: Diagnosis) -> str:
    if found.diameter is None:
        return "-"
    if found.period == 1:
        return f"{found.diameter}"
    return f"everyone has heard of everyone after {counted(found.diameter, 'round')}"


def _sums(found: Diagnosis) -> str:
    if found.rows and found.columns:
        return f"{'symmetric, ' * found.symmetric}rows and columns sum to 1"
    if found.rows:
        return "rows sum to 1, columns do not: gossip drifts to a weighted mean"
    return "columns sum to 1, rows do not: push-sum" if found.columns else "sums are not 1"


def _gap(found: Diagnosis) -> str:
    if found.spectral_gap is None:
        return "not worked out"
    of = "" if found.gap_of == "W" else f" of {found.gap_of}"
    theory = ""
    if found.closed_form:
        formula, value = found.closed_form
        theory = f"; in theory {formula}" + (f" = {value:.4g}" if formula[:2] != "1:" else "")
    return f"{found.spectral_gap:.4g}{of}{theory}"


def _rounds(found: Diagnosis, share: float) -> str:
    seen, bound = found.simulated[share], found.predicted[share]
    if seen is None and found.problem:
        return ""
    if seen is None and not found.simulated_rounds:
        return "never"
    text = f"not within {found.simulated_rounds:,} rounds"
    if seen is not None:
        text = f"{counted(seen, 'round')} from a random start"
    return text if bound is None else f"{text}; by the gap {bound:,}"


def _verdicts(found: Diagnosis) -> Iterator[Row]:
    """Algorithms that share a verdict share a line."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for verdict in found.verdicts:
        groups.setdefault((verdict.runs, verdict.remark), []).append(verdict.algorithm)
    if found.problem:
        groups = {(False, found.problem): ["any algorithm"]}
    for (runs, remark), names in sorted(groups.items(), key=lambda group: not group[0][0]):
        yield ("can run" if runs else "cannot run"), ", ".join(names) + (remark and f": {remark}")


def table(found: list[Diagnosis]) -> list[str]:
    """Several networks side by side; the first line is the header."""
    header = ["network", "clients", "degree", "diameter", "gap", "lambda_min"]
    header += [f"to {_power(share)}" for share in TARGETS] + ["sent a round", "W", "cannot run"]
    rows = []
    for one in found:
        low, _, high = one.degrees
        cannot = [v.algorithm for v in one.verdicts if not v.runs]
        sums = "symmetric" if one.symmetric else "doubly stochastic" if one.rows else "push-sum"
        if one.rows and not one.columns:
            sums = "rows only"
        rows.append(
            [
                one.topology,
                str(one.clients),
                _from_to(low, high),
                _or_dash(one.diameter),
                number(one.spectral_gap),
                _eigenvalue(one.lambda_min) or "-",
                *(_simulated(one, share) for share in TARGETS),
                human_bytes(one.bytes_per_round),
                sums if one.rows or one.columns else "sums are not 1",
                ", ".join(cannot) if len(cannot) < 8 else f"{len(cannot)} of {len(one.verdicts)}",
            ]
        )
    return aligned(header, rows)


def _simulated(found: Diagnosis, share: float) -> str:
    seen, limit = found.simulated[share], found.simulated_rounds
    return "never" if seen is None and not limit else _or_more(seen, limit)


def consensus_table(
    paths: dict[str, tuple[np.ndarray, np.ndarray]], beta: float, mu: float
) -> list[str]:
    """Network -> (distances of gossip, of its quasi-global form); the first line is the header."""
    header = ["network", *(f"gossip to {_power(share)}" for share in TARGETS)]
    header += [f"QG({beta:g}, {mu:g}) to {_power(share)}" for share in TARGETS]
    return aligned(
        header,
        [
            [name, *(_reached(path, share) for path in both for share in TARGETS)]
            for name, both in paths.items()
        ],
    )


def _reached(path: np.ndarray, share: float) -> str:
    """When first, and, if it rises again, from when on for good."""
    first, stays = rounds_to(path, share), rounds_to_stay(path, share)
    if first == stays or first is None:
        return _or_more(first, len(path) - 1)
    return f"{first}, stays from {_or_more(stays, len(path) - 1)}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _or_more(value: int | None, limit: int) -> str:
    return f"> {limit}" if value is None else str(value)
