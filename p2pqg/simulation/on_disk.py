"""How the parts of a moment are written in a checkpoint, and read again, also of older versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.algorithms.effects import the_state_x
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base import config as machinery
from p2pqg.base.errors import ConfigError
from p2pqg.base.pieces import Array
from p2pqg.base.records import Records
from p2pqg.engine.bookkeeping import Logbook
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.suits import check_gossips_models
from p2pqg.network import Ledger, Network
from p2pqg.network.network import CLOCK
from p2pqg.results.checkpoint import Checkpoint
from p2pqg.simulation.experiment import Experiment


def rule_data(rule: Rule) -> dict[str, Any]:
    """What a checkpoint's header says of an algorithm, its step sizes and its rule of gossip."""
    assert isinstance(rule.lr, LearningRate)
    return {
        "algorithm": machinery.plain(rule.params),
        "lr": dataclasses.asdict(rule.lr),
        "rule": rule.gossip_rule and rule.gossip_rule.to_data(),
    }


def saved_rule(saved: Checkpoint, ours: Rule, path: str | Path, replan: bool) -> Rule:
    """The algorithm with its parameters, step sizes and rule of gossip as they were by then.

    Args:
        saved: of what was done to it.
        ours: as the recipe has it.
        path: of the checkpoint.
        replan: step sizes are those of the recipe, unless they were set by hand.

    Raises:
        ConfigError: the algorithm has other parameters in this version.
    """
    header = saved.header
    params: Any = machinery.made(
        ours.algorithm.params, header["algorithm"], "algorithm.", str(path)
    )
    lr = _rate(header["lr"])
    values = getattr(lr, "values", ())
    if values and getattr(ours.lr, "values", ())[: len(values)] == values:
        lr = ours.lr  # the same function; the run may be longer by now
    if replan and not any(e["what"].startswith("set_lr") for e in header["log"]["events"]):
        lr = ours.lr
    rule = ours.with_changes(params=params, lr=lr)
    if header.get("rule") != header["config"].get("rule"):  # it was changed on the way
        rule = rule.with_gossip_rule(header.get("rule"))
    check_gossips_models(rule)
    return rule


def _rate(saved: Mapping[str, Any]) -> Callable[[int], float]:
    """The step sizes that a checkpoint has."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()
    }
    return LearningRate(**fields)


def client_data(snapshot: Snapshot) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a checkpoint has of clients: plain data for its header, and arrays."""
    counters = {
        "step": snapshot.step,
        "exchanges": snapshot.exchanges,
        "gradients": snapshot.gradients,
        "on_batch": snapshot.on_batch,
        "most_on_batch": snapshot.most_on_batch,
        "numbers": dict(snapshot.numbers),
        "ways": list(snapshot.ways),
    }
    arrays = {
        **under("rows", snapshot.rows),
        **under("totals", snapshot.totals),
        "firsts": snapshot.firsts,
        **under("timeline", snapshot.timeline),
        **under("mail", snapshot.mail),
    }
    return counters, arrays


def check_width(saved: Checkpoint, experiment: Experiment, path: str | Path) -> None:
    """Whether the models that are built today have as many numbers as those that were saved.

    Raises:
        ConfigError: they have not: code that a run does not keep, of a package, has changed.
    """
    rows = saved.arrays.get((saved.header.get("model") or {}).get("row") or "")
    width = experiment.cost.num_params
    if rows is not None and rows.shape[-1] != width:
        raise ConfigError(
            f"{path}: its models have {rows.shape[-1]:,} parameters, and the model is built with "
            f"{width:,} now: its code is not what it was then. Put that back to go on"
        )


def saved_snapshot(saved: Checkpoint) -> Snapshot | None:
    """The clients.

    Raises:
        ConfigError: it holds gradients where this version has the models to take them at.
    """
    if "clients" not in saved.header:
        return None
    if np.asarray(saved.arrays.get("rows.computed", ())).any():
        raise ConfigError(
            "the checkpoint is of an earlier version, whose clients do not wait and stood in the "
            "middle of a gradient; begin the run anew"
        )
    counters = dict(saved.header["clients"])
    counters["ways"] = tuple(counters.get("ways", ()))  # older ones chose nothing
    return Snapshot(
        round=saved.header["round"],
        **{"gradients": counters["step"], **counters},
        rows={
            name.removeprefix("rows."): array  # large ones pass through a piece at a time
            for name, array in saved.arrays.items()
            if name.startswith("rows.")
        },
        totals=_totals(saved),
        firsts=np.asarray(saved.arrays["firsts"]),
        timeline=within(saved.arrays, "timeline."),
        mail=within(saved.arrays, "mail."),
    )


def _totals(saved: Checkpoint) -> dict[str, np.ndarray]:
    """Totals of a snapshot; older versions have how far mixing moved the sum of all models."""
    found = within(saved.arrays, "totals.")
    if "drift" in found:
        n = len(saved.arrays["rows.buffers"]) - len(saved.header["network"]["absent"])
        found["moved"] = found.pop("drift") / n
    return found


def model_data(
    snapshot: Snapshot, rule: Rule, experiment: Experiment
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What models are made of again without an engine, see `p2pqg.results.models`.

    Returns:
        plain data; and the models' rows, where the state has them in another form only.
    """
    task, row, more = experiment.task, "rows.state.x", dict[str, np.ndarray]()
    if rule.algorithm.traits["model"] is not the_state_x:
        state = rule.state_of(snapshot.whole().rows, snapshot.numbers)
        row, more = "model", {"model": rule.model(state).numpy()}
    about = {
        "row": row,
        "outputs": task.num_classes,
        "input_shape": list(task.input_shape),
        "mean": task.mean,
        "std": task.std,
    }
    if experiment.arrays.frozen:
        about["frozen"] = experiment.arrays.frozen
    if task.model.fixed:
        about["fixed"] = task.model.fixed
    return about, more


def log_arrays(log: Logbook) -> dict[str, np.ndarray]:
    """The arrays of a logbook, as `saved_log` reads them."""
    found = {
        f"log.{name}": array
        for name in ("last_finite", "ready", "steps")
        if (array := getattr(log, name)) is not None
    }
    found |= {
        f"log.{name}": np.concatenate(parts)
        for name in ("behind", "age")
        if (parts := getattr(log, name))
    }
    return found | ({} if log.ledger is None else under("ledger", log.ledger.arrays()))


def saved_log(saved: Checkpoint) -> Logbook:
    """Rows, counters and the simulated clock."""
    log, ledger = dict(saved.header["log"]), within(saved.arrays, "ledger.")
    arrays = within(saved.arrays, "log.")
    rounds, clients = saved.tables["rounds"], saved.tables["clients"]
    if "exchanges" in log:  # of a time when a round was one gradient, which went without saying
        before = log.pop("exchanges")
        log["traffic"] = [("gradient", 1), *before] if before else []
        rounds = Records({**row, "gradients": row["round"] + 1} for row in rounds)
    if rounds and "liars" not in rounds[0]:  # of a time when everybody was honest
        rounds = Records({"liars": 0, **row} for row in rounds)
        clients = Records({"lied": False, **row} for row in clients)
    log["traffic"] = tuple(
        (kind, tuple(size) if isinstance(size, list) else size) for kind, size in log["traffic"]
    )
    return Logbook(
        round=saved.header["round"],
        rounds=rounds,
        clients=clients,
        ledger=Ledger.of(ledger) if ledger else None,
        last_finite=arrays.get("last_finite"),
        ready=arrays.get("ready"),
        steps=arrays.get("steps"),
        behind=[arrays["behind"]] if "behind" in arrays else [],
        age=[arrays["age"]] if "age" in arrays else [],
        **log,
    )


def as_it_was(experiment: Experiment, saved: Checkpoint, rule: Rule) -> Experiment:
    """With the network and the rule of by then, and the shards of clients that had joined."""
    known = experiment.network
    changed = Network.from_data(saved.header["network"], within(saved.arrays, "network."), known)
    same = (changed.num_clients, changed.base.labels) == (known.num_clients, known.base.labels)
    if same and not changed.retimed:
        clock = {key: getattr(known, key) for key in CLOCK}
        network = dataclasses.replace(changed, **clock)  # its file may be another one by now
        network = experiment.in_time(network, rule)
    else:
        network = experiment.with_clock(changed, rule)
    added = within(saved.arrays, "parts.")
    original = experiment.parts[: experiment.config.clients]
    parts = [*original, *(added[key] for key in sorted(added, key=int))]
    return dataclasses.replace(experiment, network=network, parts=parts)


def under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays with a prefix before their names."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def within(arrays: Mapping[str, Array], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names have the prefix, without it."""
    found = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
    return {name: np.asarray(array) for name, array in found.items()}
