"""Every run's network with its clients and shards, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.wording import counted
from p2pqg.network import Network
from p2pqg.page import maps
from p2pqg.page.networks import ONLY_LINKS, called, traffic_of
from p2pqg.results.standing import Standing
from p2pqg.topology.drawing import LARGEST_LAYOUT
from p2pqg.topology.words import describe_network


@dataclass(frozen=True)
class Picture:
    run: int
    label: str
    drawing: maps.Drawing | None
    caption: str


def pictures(
    shown: Sequence[Standing],
    labels: Sequence[str],
    shards: Sequence[tuple[np.ndarray | None, str]],
    networks: Sequence[tuple[Network | None, bool]],
) -> list[Picture]:
    """Every run's network, on one scale of colors."""
    span = maps.accuracy_range(shown)
    found = []
    for run, (one, label, (counts, why)) in enumerate(zip(shown, labels, shards, strict=True)):
        network, is_now = networks[run]
        drawing = None
        if network is None:
            caption = _lost(one)
        else:
            drawing = maps.draw(one, network, counts, span, traffic_of(one))
            caption = " ".join(_sentences(one, network, is_now, drawing))
            if counts is None:
                caption += f" Shards are not shown: {why}."
        found.append(Picture(run, label, drawing, caption))
    return found


def _lost(one: Standing) -> str:
    """Why there is no network to draw."""
    name = one.config["topology"]
    if one.is_redrawn:
        return f"An older version drew the network {name} otherwise; it is not shown."
    return f"The network {name} cannot be built here."


def _sentences(
    one: Standing, network: Network, is_now: bool, drawing: maps.Drawing | None
) -> Iterator[str]:
    """What there is to say below a network, drawn or not."""
    schedule = network.base
    if ONLY_LINKS in schedule.notes:  # its weights, and in which round, are not known
        yield f"{schedule.name}: {counted(schedule.num_clients, 'client')}, {ONLY_LINKS}."
    else:
        yield f"{describe_network(schedule)}."
    entry = dict(ALGORITHMS).get(one.part("algorithm"))
    if entry and entry.traits["centralized"]:
        yield "It is not used: gradients are all-reduced."
    if drawing is None:
        yield "Too many clients to draw."
    elif schedule.period != 1:
        yield f"It changes; drawn are the links of {_first(maps.rounds_drawn(schedule))}."
    if not is_now:
        yield f"{'Drawn' if drawing else 'Told'} as it was at the start."
    elif trouble := network.describe():
        yield f"At the end: {trouble}{'; drawn like that' if drawing else ''}."
    if drawing and one.age_of_clients:
        yield f"Accuracies are {one.age_of_clients}."
    if drawing and drawing.traffic:
        yield "A line is the wider the more bytes went over it."


def _first(rounds: int) -> str:
    return "its first round" if rounds == 1 else f"its first {rounds} rounds"


@dataclass(frozen=True)
class Tile:
    name: str
    about: str
    bars: str


def tiles(all_counts: Sequence[np.ndarray | None], network: Network | None = None) -> list[Tile]:
    """The shards, if all runs have the same: for phones, and for networks too large for bars."""
    counts = all_counts[0]
    if counts is None or any(other is not counts for other in all_counts):
        return []
    if len(counts) > LARGEST_LAYOUT:
        return []
    values = maps.grouped(counts)
    return [
        Tile(
            called(network, client),
            f"client {called(network, client)}: {maps.shard_text(counts[client])}",
            maps.bars(values[client], values.max()),
        )
        for client in range(len(counts))
    ]
