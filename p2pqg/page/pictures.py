"""Every run's network with its clients and shards, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Sequence
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
        if network is None:
            name = one.config["topology"]
            lost = f"The network {name} cannot be built here."
            if one.is_redrawn:
                lost = f"An older version drew the network {name} otherwise; it is not shown."
            found.append(Picture(run, label, None, lost))
            continue
        schedule = network.base
        drawing = maps.draw(one, network, counts, span, traffic_of(one))
        about = describe_network(schedule)
        if ONLY_LINKS in schedule.notes:  # its weights, and in which round, are not known
            about = f"{schedule.name}: {counted(schedule.num_clients, 'client')}, {ONLY_LINKS}"
        texts = [f"{about}."]
        entry = dict(ALGORITHMS).get(one.part("algorithm"))
        if entry and entry.traits["centralized"]:
            texts.append("It is not used: gradients are all-reduced.")
        if drawing is None:
            texts.append("Too many clients to draw.")
        elif schedule.period != 1:
            drawn = maps.rounds_drawn(schedule)
            texts.append(f"It changes; drawn are the links of {_first(drawn)}.")
        if not is_now:
            texts.append(f"{'Drawn' if drawing else 'Told'} as it was at the start.")
        elif trouble := network.describe():
            texts.append(f"At the end: {trouble}{'; drawn like that' if drawing else ''}.")
        if drawing and drawing.traffic:
            texts.append("A line is the wider the more bytes went over it.")
        if counts is None:
            texts.append(f"Shards are not shown: {why}.")
        found.append(Picture(run, label, drawing, " ".join(texts)))
    return found


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
