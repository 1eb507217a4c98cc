"""What is to be seen of a simulation at one moment: plain data, ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from p2pqg.base.config import plain
from p2pqg.network import Network
from p2pqg.network.lies import liars
from p2pqg.page.replay import MOST_EVENTS, NOT_SHOWN
from p2pqg.page.scene import digits

AGE_SEEN = 64
"""Rounds that are looked back for when a client last heard of another one."""


def values_of(rows: Sequence[Mapping[str, Any]], n: int) -> dict[str, Any]:
    """What was measured of each client at the last evaluation among rows of clients.parquet.

    Returns:
        {"round": rounds done then, "of": {column: [clients], None where it was not there}}; {}
        where there was none.
    """
    if not rows:
        return {}
    last = rows[-1]["round"]
    first = len(rows)
    while first and rows[first - 1]["round"] == last:
        first -= 1
    own = [key for key in rows[-1] if key not in NOT_SHOWN]
    of: dict[str, list[Any]] = {key: [None] * n for key in own}
    for row in rows[first:]:
        for key in own:
            of[key][row["client"]] = digits(row.get(key))
    return {"round": last + 1, "of": of}


def ages(network_in: Callable[[int], Network | None], n: int, round: int) -> list[int]:
    """Rounds since each of n clients last heard of another one, or joined; at most AGE_SEEN.

    0: in the last round. By the W that was in force in the rounds before, so lost and late messages
    count, and what was cut later does not. At least so many, where no more rounds are known.
    """
    age = np.full(n, min(round, AGE_SEEN))
    unheard = np.ones(n, dtype=bool)
    for back in range(min(round, AGE_SEEN)):
        if (network := network_in(round - 1 - back)) is None:
            age[unheard] = back
            break
        W = network.schedule.mixing(round - 1 - back)
        heard = np.arange(n) >= W.num_clients
        heard[W.receivers[(W.senders != W.receivers) & (W.weights != 0)]] = True
        if W.active is not None:
            heard[: W.num_clients] &= W.active
        age[heard & unheard] = back
        unheard &= ~heard
        if not unheard.any():
            break
    return age.tolist()


def standing(network: Network, round: int) -> dict[str, Any]:
    """What became of a network: [sender, receiver] of links that are down, who left, who lies."""
    lying = liars(network.attacks, round, network.num_clients)
    cut = network.cut
    return {
        "cut": sorted([a, b] for a, b in cut if a < b or (b, a) not in cut),
        "absent": sorted(network.absent),
        "liars": [] if lying is None else np.flatnonzero(lying).tolist(),
        "pieces": network.components(round),
        "trouble": network.describe(),
    }


def settings(network: Network, rule: Any, round: int) -> dict[str, Any]:
    """What the sliders and lists begin with."""
    params = {key: value for key, value in plain(rule.params).items() if key != "lr"}
    delay = network.impairments.delays[1]
    return {
        "lr": digits(rule.lr(round)),
        "loss": network.impairments.loss,
        "delay": delay,
        "params": {k: v for k, v in params.items() if isinstance(v, int | float | str)},
        "topology": network.base.name,
        "clock": network.clock is not None,
    }


def events_of(events: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """[rounds done, what], the last ones of very many."""
    return [[event["round"], event["what"]] for event in events[-MOST_EVENTS:]]
