"""`p2pqg list`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isinf
from pathlib import Path

import click

from p2pqg.cli.program import (
    debug_flag,
    main,
)

KINDS = (
    "algorithms",
    "rules",
    "attacks",
    "topologies",
    "links",
    "datasets",
    "models",
    "partitions",
    "recipes",
)


@main.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option("--markdown", is_flag=True, help="Algorithms and networks as Markdown tables.")
@debug_flag
def list_(kind: str | None, markdown: bool) -> None:
    """List what there is.

    Algorithms, topologies, ...: a line each, with its source.
    """
    if markdown:
        from p2pqg.cli.catalogue import markdown as tables

        click.echo(tables(), nl=False)
        return
    for name in [kind] if kind else KINDS:
        if not kind:
            click.echo(click.style(name, bold=True))
        lines = list(known(name))
        width = max((len(line[0]) for line in lines), default=0)
        for what, summary, source in lines:
            tail = click.style(f"  ({source})", dim=True) if source else ""
            click.echo(f"  {what:<{width}}  {summary}{tail}")
        if not kind and name != KINDS[-1]:
            click.echo()


def known(kind: str) -> Iterator[tuple[str, str, str]]:
    """(name, summary, source) of every part of a kind; loads only what that kind needs."""
    if kind == "recipes":
        from p2pqg.base.shipped import shipped_folder

        yield from map(_about_file, sorted(shipped_folder("runs").glob("*.yaml"), key=_in_order))
    elif kind == "links":
        from p2pqg.network.links import CLASSES, PER_WORDS

        for name, one in CLASSES.items():
            speeds = f"{_rate(one.uplink)} up, {_rate(one.downlink)} down, "
            yield name, f"{PER_WORDS[one.per]}: {speeds}{1e3 * one.latency:g} ms.", one.source
    elif kind == "topologies":
        from p2pqg.topology import TOPOLOGIES, shipped

        for name, entry in sorted(TOPOLOGIES.items()):
            size = entry.traits["size"] or "<clients>"
            yield f"{name}{size}", entry.summary, entry.source
        yield from map(_about_file, shipped().values())
    else:
        from importlib import import_module

        home, registry = {
            "algorithms": ("algorithms", "ALGORITHMS"),
            "rules": ("algorithms.gossip_rules", "GOSSIP_RULES"),
            "attacks": ("algorithms.attacks", "ATTACKS"),
            "models": ("models", "MODELS"),
            "datasets": ("data", "DATASETS"),
            "partitions": ("data", "PARTITIONS"),
        }[kind]
        for name, entry in sorted(getattr(import_module(f"p2pqg.{home}"), registry).items()):
            source = entry.source
            if entry.traits.get("reconstruction") and "reconstruction" not in source:
                source += "; a reconstruction"
            yield name, entry.summary, source


def _in_order(path: Path) -> list[tuple[str, int]]:
    """By words and numbers: table1 before table1-longer, figure5 before figure11.

    >>> [p.stem for p in sorted(map(Path, ["a2-b.x", "a10.x", "a2.x"]), key=_in_order)]
    ['a2', 'a2-b', 'a10']
    """
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d*)", path.stem)]


def _rate(bits: float) -> str:
    return "no limit" if isinf(bits) else f"{bits / 1e6:g} Mbit/s"


def _about_file(path: Path) -> tuple[str, str, str]:
    """A YAML file's name, the first sentence of its leading comment, and its `source`."""
    from p2pqg.base.config import load_yaml

    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    first = re.match(r".*?[.?](?= |$)", " ".join(comment))
    return path.stem, first.group() if first else "", str(load_yaml(path).get("source", ""))
