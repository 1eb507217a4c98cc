"""A moment of a simulation: all that it needs to go on from there, as plain data.

What a run can be resumed from, forked at and recovered to is one and the same thing. In memory it
is a Moment; on disk, a checkpoint (`p2pqg.results.checkpoint`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.algorithms.effects import the_state_x
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base import config as machinery
from p2pqg.base.errors import ConfigError
from p2pqg.base.own_version import own_version
from p2pqg.base.pieces import Array
from p2pqg.base.text import user_path
from p2pqg.engine.bookkeeping import Logbook
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.suits import check_gossips_models
from p2pqg.network import Ledger, Network
from p2pqg.network.network import CLOCK
from p2pqg.network.scenario import Cursor
from p2pqg.recipe import own_files
from p2pqg.results.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    newest,
    read_checkpoint,
    write_checkpoint,
)
from p2pqg.results.schemas import ALL_ROUND_COLUMNS
from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.going_on import as_last_begun, built_again, was_broken_off

LARGE = 2**20
"""Bytes of a user's file from which on a run's checkpoints do without a copy of their own."""


PLAINLY = ("losses", "traffic", "events", "interventions")
"""Parts of a logbook that a checkpoint's header holds."""


@dataclass(frozen=True)
class Moment:
    """A simulation between two rounds.

    Attributes:
        experiment: its parts; rule, network: as they are now, after what was done to them.
        snapshot: of the clients; None: they have yet to start.
        log: rows, counters and the simulated clock.
        cursor: where it stands in its scenario.
        stopped: why it ended before its last round, if it did.
        seconds: of wall time so far.
        restarts: after actors that died, a line each.
    """

    experiment: Experiment
    rule: Rule
    network: Network
    snapshot: Snapshot | None
    log: Logbook
    cursor: Cursor = (0, 0)
    seconds: float = 0.0
    restarts: tuple[str, ...] = ()
    stopped: str | None = None

    @classmethod
    def first(cls, experiment: Experiment) -> Moment:
        """Before the first round."""
        n = experiment.num_clients
        log = Logbook()
        if experiment.timing is not None:
            log = Logbook(ready=np.zeros(n), ledger=Ledger())
        return cls(experiment, experiment.rule, experiment.network, None, log)

    def whole(self) -> Moment:
        """The same, with all of the clients' rows in memory."""
        if self.snapshot is None:
            return self
        return dataclasses.replace(self, snapshot=self.snapshot.whole())

    def write(self, path: Path) -> None:
        """Save it as a checkpoint.

        Raises:
            OSError: it cannot be written; what was there before is still there.
            ConfigError: the network is a Python function, which cannot be saved.
        """
        network, of_network = self.network.to_data()
        header, arrays = self._header(network), _under("network", of_network)
        if self.snapshot is not None:
            header["clients"], header["model"], more = self._of_clients(self.snapshot)
            arrays |= more
        experiment = self.experiment
        joined = range(experiment.config.clients, len(experiment.parts))
        arrays |= {f"parts.{client}": experiment.parts[client] for client in joined}
        arrays |= _log_arrays(self.log)
        tables = {
            "rounds": (self.log.rounds, ALL_ROUND_COLUMNS | experiment.measured_columns),
            "clients": (self.log.clients, {**experiment.client_columns, "lied": "bool"}),
        }
        files = experiment.own_files
        if path.parent.name == CHECKPOINTS:  # of a run, which has the large ones itself
            here = path.parents[1] / own_files.FOLDER
            files = {n: f for n, f in files.items() if len(f) < LARGE or not (here / n).is_file()}
        write_checkpoint(path, header, arrays, tables, files)

    def _header(self, network: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint's header says, but for the clients; plain data."""
        lr = self.rule.lr
        assert isinstance(lr, LearningRate)
        return {
            "p2pqg": own_version(),
            "round": self.log.round,
            "config": machinery.plain(self.experiment.config),
            "algorithm": machinery.plain(self.rule.params),
            "lr": dataclasses.asdict(lr),
            "rule": self.rule.gossip_rule and self.rule.gossip_rule.to_data(),
            "network": network,
            "cursor": list(self.cursor),
            "seconds": self.seconds,
            "restarts": list(self.restarts),
            "stopped": self.stopped,
            "log": {name: getattr(self.log, name) for name in PLAINLY},
        }

    def _of_clients(
        self, snapshot: Snapshot
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Array]]:
        """Of a checkpoint: what its header says of clients, and of models; and the arrays."""
        counters = {
            "step": snapshot.step,
            "exchanges": snapshot.exchanges,
            "gradients": snapshot.gradients,
            "numbers": dict(snapshot.numbers),
            "ways": list(snapshot.ways),
        }
        about, models = self._about_models(snapshot)
        arrays = {
            **_under("rows", snapshot.rows),
            **models,
            **_under("totals", snapshot.totals),
            "firsts": snapshot.firsts,
            **_under("timeline", snapshot.timeline),
            **_under("mail", snapshot.mail),
        }
        return counters, about, arrays

    def _about_models(self, snapshot: Snapshot) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What models are made of again without an engine, see `p2pqg.results.models`.

        Returns:
            plain data; and the models' rows, where the state has them in another form only.
        """
        task, row, more = self.experiment.task, "rows.state.x", dict[str, np.ndarray]()
        if self.rule.algorithm.traits["model"] is not the_state_x:
            state = self.rule.state_of(snapshot.whole().rows, snapshot.numbers)
            row, more = "model", {"model": self.rule.model(state).numpy()}
        about = {
            "row": row,
            "outputs": task.num_classes,
            "input_shape": list(task.input_shape),
            "mean": task.mean,
            "std": task.std,
        }
        if self.experiment.arrays.frozen:
            about["frozen"] = self.experiment.arrays.frozen
        return about, more

    @classmethod
    def newest(
        cls,
        path: str | Path,
        experiment: Experiment | None = None,
        tell: Callable[[str], None] = lambda problem: None,
        replan: bool = False,
        **settings: Any,
    ) -> Moment:
        """The moment of a checkpoint, or of the newest one of a run that is whole.

        A run that was killed before its first one stands where it began.

        Args:
            path: a checkpoint's folder, or a run's.
            experiment: as of `read`.
            settings: as of `read`.
            tell: called with a line for each newer one that is passed over, and for each file of
                the user's that is not what it was when the run began.
            replan: fractions (milestones, phases) are of the new length from here on.

        Raises:
            ConfigError: there is none, or none that can be used.
        """
        folder, recipe = user_path(path) / CHECKPOINTS, user_path(path) / "config.yaml"
        if recipe.exists() and not any(newest(folder)) and was_broken_off(user_path(path)):
            tell(f"{path}: no checkpoint yet; from the start")
            return cls.first(
                experiment
                or built_again(machinery.load_yaml(recipe), settings, user_path(path), tell, replan)
            )
        if not folder.is_dir():
            return cls.read(path, experiment, tell, replan, **settings)
        problems = []
        for candidate in newest(folder):
            try:
                checkpoint = read_checkpoint(candidate)
            except ConfigError as error:
                problems.append(str(error))
            else:
                for problem in problems:
                    tell(f"{problem}; using {candidate.name}")
                if experiment is None:
                    saved = checkpoint.header["config"]
                    saved, anew = as_last_begun(saved, user_path(path), settings, tell)
                    header = {**checkpoint.header, "config": saved}
                    checkpoint = dataclasses.replace(checkpoint, header=header)
                    replan = replan or anew
                return cls._of(checkpoint, candidate, experiment, tell, replan, settings)
        raise ConfigError.of(problems or [f"{folder}: no checkpoint in it"])

    @classmethod
    def read(
        cls,
        path: str | Path,
        experiment: Experiment | None = None,
        tell: Callable[[str], None] = lambda problem: None,
        replan: bool = False,
        **settings: Any,
    ) -> Moment:
        """The moment that a checkpoint holds.

        Args:
            path: its folder.
            experiment: its parts, if they are at hand; otherwise they are built again.
            tell: as of `newest`.
            replan: as of `newest`.
            settings: those of `keys.RESTART` that shall differ, and `topology` where it was a
                function.

        Raises:
            ConfigError: it is damaged, or a setting cannot differ.
        """
        return cls._of(read_checkpoint(path), path, experiment, tell, replan, settings)

    @classmethod
    def _of(
        cls,
        saved: Checkpoint,
        path: str | Path,
        experiment: Experiment | None,
        tell: Callable[[str], None],
        replan: bool,
        settings: Mapping[str, Any],
    ) -> Moment:
        header = saved.header
        if experiment is None:  # with a topology that is given again
            experiment = built_again(header["config"], settings, user_path(path), tell, replan)
            if header.get("model", {}).get("frozen", "") not in ("", experiment.arrays.frozen):
                tell(
                    "the frozen layers at model.path are not those that the run began with; its "
                    "models go on above these"
                )
        experiment = _as_it_was(experiment, saved)
        return cls(
            experiment,
            _rule(saved, experiment.rule, path, replan),
            experiment.network,
            _snapshot(saved),
            _logbook(saved),
            tuple(header["cursor"]),
            header["seconds"],
            tuple(header["restarts"]),
            header.get("stopped"),
        )


def _as_it_was(experiment: Experiment, saved: Checkpoint) -> Experiment:
    """With the network as it was by then, and the shards of clients that had joined."""
    known = experiment.network
    changed = Network.from_data(saved.header["network"], _within(saved.arrays, "network."), known)
    same = (changed.num_clients, changed.base.labels) == (known.num_clients, known.base.labels)
    if same and not changed.retimed:
        clock = {key: getattr(known, key) for key in CLOCK}
        network = dataclasses.replace(changed, **clock)  # its file may be another one by now
    else:
        network = experiment.with_clock(changed)
    added = _within(saved.arrays, "parts.")
    original = experiment.parts[: experiment.config.clients]
    parts = [*original, *(added[key] for key in sorted(added, key=int))]
    return dataclasses.replace(experiment, network=network, parts=parts)


def _rule(saved: Checkpoint, ours: Rule, path: str | Path, replan: bool) -> Rule:
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
    params, problems = machinery.read(ours.algorithm.params, header["algorithm"], "algorithm.")
    if problems:
        raise ConfigError.of(problems, str(path))
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


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _within(arrays: Mapping[str, Array], prefix: str) -> dict[str, np.ndarray]:
    found = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
    return {name: np.asarray(array) for name, array in found.items()}


def _snapshot(saved: Checkpoint) -> Snapshot | None:
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
        totals=_within(saved.arrays, "totals."),
        firsts=np.asarray(saved.arrays["firsts"]),
        timeline=_within(saved.arrays, "timeline."),
        mail=_within(saved.arrays, "mail."),
    )


def _logbook(saved: Checkpoint) -> Logbook:
    log, ledger = dict(saved.header["log"]), _within(saved.arrays, "ledger.")
    arrays = _within(saved.arrays, "log.")
    if "exchanges" in log:  # of a time when a round was one gradient, which went without saying
        before = log.pop("exchanges")
        log["traffic"] = [("gradient", 1), *before] if before else []
        for row in saved.tables["rounds"]:
            row["gradients"] = row["round"] + 1
    for row in saved.tables["rounds"]:
        row.setdefault("liars", 0)  # of a time when everybody was honest
    for row in saved.tables["clients"]:
        row.setdefault("lied", False)
    log["traffic"] = tuple((kind, size) for kind, size in log["traffic"])
    return Logbook(
        round=saved.header["round"],
        rounds=saved.tables["rounds"],
        clients=saved.tables["clients"],
        ledger=Ledger.of(ledger) if ledger else None,
        last_finite=arrays.get("last_finite"),
        ready=arrays.get("ready"),
        steps=arrays.get("steps"),
        behind=[arrays["behind"]] if "behind" in arrays else [],
        age=[arrays["age"]] if "age" in arrays else [],
        **log,
    )


def _log_arrays(log: Logbook) -> dict[str, np.ndarray]:
    """The arrays of a logbook, as `_logbook` reads them."""
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
    return found | ({} if log.ledger is None else _under("ledger", log.ledger.arrays()))
