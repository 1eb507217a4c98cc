"""What a simulation says of itself: which columns its tables have, and what summary.json holds."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from p2pqg.base.own_version import own_version
from p2pqg.engine.bookkeeping import Logbook
from p2pqg.network import Network
from p2pqg.network.neighbors import rounds_of
from p2pqg.network.verbs import GROWING
from p2pqg.results.schemas import (
    CONTROL_COLUMNS,
    LIAR_COLUMNS,
    NETWORK_COLUMNS,
    ROUND_COLUMNS,
    RULE_COLUMNS,
    STALENESS_COLUMNS,
    TIMING_COLUMNS,
)
from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.hosting import Hosting
from p2pqg.topology.drawing import LARGEST_LAYOUT

Row = Mapping[str, Any]


def round_columns(
    experiment: Experiment, network: Network, events: Sequence[Row]
) -> dict[str, str]:
    """Name and type of the columns of rounds.parquet: those of what there is to be told."""
    eventful = events or network.schedule is not network.base
    return {
        **ROUND_COLUMNS,
        **experiment.measured_columns,
        **(CONTROL_COLUMNS if experiment.rule.control is not None else {}),
        **(TIMING_COLUMNS if experiment.timing is not None else {}),
        **(RULE_COLUMNS if experiment.rule.gossip_rule is not None else {}),
        **(NETWORK_COLUMNS if eventful or experiment.scenario else {}),
        **({} if experiment.waits else STALENESS_COLUMNS),
        **(LIAR_COLUMNS if _lied(experiment, network, events) else {}),
    }


def client_columns(
    experiment: Experiment, network: Network, events: Sequence[Row]
) -> dict[str, str]:
    """Name and type of the columns of clients.parquet."""
    lied = {"lied": "bool"} if _lied(experiment, network, events) else {}
    return {**experiment.client_columns, **lied}


def _lied(experiment: Experiment, network: Network, events: Sequence[Row]) -> bool:
    """Whether clients lie, did or will."""
    scenario = experiment.scenario
    return (
        bool(network.attacks or experiment.config.attacks)  # those may be over by now
        or any(event.action == "attack" for event in (*scenario.rounds, *scenario.seconds))
        or any(event["what"].startswith("attack") for event in events)
    )


def what_ran(experiment: Experiment) -> dict[str, Any]:
    """The part of a summary that says which network learned what."""
    config = experiment.config
    return {
        "algorithm": config.algorithm["name"],
        "topology": config.topology,
        "clients": experiment.num_clients,
        "alpha": config.alpha,
        "dataset": config.dataset["name"],
        "model": config.model["name"],
        "seed": config.seed,
    }


def how_it_went(
    experiment: Experiment, columns: Mapping[str, str], last: Row, tested: Row
) -> dict[str, Any]:
    """The results in a summary: those of the last row, and of the last one with an evaluation."""
    return {
        "gradients": last.get("gradients"),
        "test_accuracy": tested.get("test_accuracy"),
        "test_accuracy_std": tested.get("test_accuracy_std"),
        "averaged_model_accuracy": tested.get("averaged_model_accuracy"),
        **{key: tested.get(key) for key in experiment.measured_columns},
        "consensus_distance": last.get("consensus_distance"),
        "bytes_sent": last.get("bytes_sent"),
        "evaluated_rounds": tested["round"] + 1 if tested else None,
        "recorded_rounds": last["round"] + 1 if last else 0,
        **{key: last.get(key) for key in ("sim_seconds", "mean_drift") if key in columns},
    }


def pace(log: Logbook, least_steps: int) -> dict[str, Any]:
    """Of a summary where clients do not wait: how often they stepped, how old the news was.

    A row counts as many times as it has rounds, for in each about as much news is used.
    """
    steps = np.zeros(1, dtype=np.int64) if log.steps is None else log.steps
    mean, there = log.rounds.column("staleness_mean", "float64")
    most, _ = log.rounds.column("staleness_max", "float64")
    covered = np.diff(log.rounds.column("round", "float64")[0], prepend=-1)
    return {
        "least_steps": least_steps,
        "most_steps": int(steps.max()),
        "staleness_mean": float(np.average(mean, weights=covered * there)) if there.any() else None,
        "staleness_max": float(most[there].max()) if there.any() else None,
    }


def where_it_ran(experiment: Experiment, hosting: Hosting) -> dict[str, Any]:
    """The part of a summary that says on what it ran, and packed how."""
    config, placement = experiment.config, hosting.placement
    return {
        "engine": config.engine,
        "clients_per_actor": int(np.diff(placement.bounds).max()),
        "actors": 0 if config.engine == "local" else placement.num_actors,
        "device": hosting.device,
        "precision": config.precision,
    }


def network_now(network: Network, events: Sequence[Row]) -> dict[str, Any]:
    """What became of the network, in a summary, for who draws it; links are [sender, receiver]."""
    found: dict[str, Any] = {
        "links_down": sorted(map(list, network.cut)),
        "clients_absent": sorted(network.absent),
    }
    another = any(event["what"].startswith(tuple(GROWING)) for event in events)
    if another and network.num_clients <= LARGEST_LAYOUT:
        base = network.base
        pairs = {
            pair
            for W in rounds_of(base)
            for pair in zip(W.senders.tolist(), W.receivers.tolist(), strict=True)
        }
        found |= {
            "topology": base.name,
            "clients": base.num_clients,
            "directed": base.directed,
            "labels": list(base.labels),
            "links": sorted([a, b] for a, b in pairs if a != b),
        }
    return found


def versions() -> dict[str, str]:
    """The versions of what the numbers depend on."""
    found = {name: _version_of(name) for name in ("torch", "ray", "numpy")}
    return {"python": platform.python_version(), "p2pqg": own_version(), **found}


@cache
def _version_of(package: str) -> str:
    """It is read from a long text: milliseconds, as a small run has few."""
    return version(package)
