"""The methods and networks that are registered, as Markdown tables: `p2pqg list --markdown`."""

from __future__ import annotations

import dataclasses
from typing import Any

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.registry import Entry
from p2pqg.base.wording import markdown_table
from p2pqg.topology import TOPOLOGIES

NEEDS = {
    "symmetric": "symmetric",
    "undirected": "undirected",
    "doubly-stochastic": "doubly stochastic",
    "column-stochastic": "columns sum to 1",
    "tree": "a tree",
    "static": "static",
    "ceca": "that of ceca",
    "teleportation": "that of its name",
    "steady": "better static",
    "lambda-min": "eigenvalues > -1/3",
}
"""What W must be, in words."""


def markdown() -> str:
    """Two tables: algorithms and networks, with parameters, defaults and sources."""
    algorithms = [
        [f"`{name}`", _bare(e.summary), _parameters(e), needs_of(e), _source(e)]
        for name, e in sorted(ALGORITHMS.items())
        if e.is_ours
    ]
    networks = [
        [f"`{name}{e.traits['size'] or '<n>'}`", _bare(e.summary), _parameters(e), _source(e)]
        for name, e in sorted(TOPOLOGIES.items())
    ]
    return "\n".join(
        [
            *markdown_table(
                ["Algorithm", "What", "Parameters", "Needs of W", "Source"], algorithms
            ),
            "",
            *markdown_table(["Network", "What", "Parameters", "Source"], networks),
            "",
        ]
    )


def _bare(summary: str) -> str:
    return summary.removesuffix(".")


def _parameters(entry: Entry) -> str:
    fields = [f for f in dataclasses.fields(entry.params) if f.name != "lr"]
    return ", ".join(f"`{f.name}={_value(f.default)}`" for f in fields)


def _value(default: Any) -> str:
    if default is None:
        return "auto"
    return str(default).lower() if isinstance(default, bool) else f"{default}"


def needs_of(entry: Entry) -> str:
    """What W must be for an algorithm, in words."""
    if entry.traits["centralized"]:
        return "none: all-reduce"
    needs = [_in_words(need) for need in entry.traits["needs"](entry.params(lr=1.0))]
    clock = ["a simulated clock"] if entry.traits.get("asynchronous") else []
    return ", ".join([*(needs or ["rows sum to 1"]), *clock])


def _in_words(need: str) -> str:
    what, _, number = need.partition(":")
    return f"eigenvalues > {float(number):.2f}" if number else NEEDS[what]


def _source(entry: Entry) -> str:
    note = "; a reconstruction" if entry.traits.get("reconstruction") else ""
    return entry.source + ("" if "reconstruction" in entry.source else note)
