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

from p2pqg.base import config as machinery
from p2pqg.base.errors import ConfigError
from p2pqg.base.own_version import own_version
from p2pqg.base.text import user_path
from p2pqg.data._stored import digest_of_parts
from p2pqg.engine.bookkeeping import Logbook
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.network import Ledger, Network
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
from p2pqg.simulation.evidence import Past
from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.going_on import (
    as_last_begun,
    built_again,
    check_it_may_be_one,
    was_broken_off,
)
from p2pqg.simulation.on_disk import (
    as_it_was,
    check_width,
    client_data,
    log_arrays,
    model_data,
    rule_data,
    saved_log,
    saved_rule,
    saved_snapshot,
    under,
)

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
        networks: (first round, the network from it on), as far as is known; () from a disk.
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
    networks: Past = ()

    @classmethod
    def first(cls, experiment: Experiment) -> Moment:
        """Before the first round."""
        n = experiment.num_clients
        log = Logbook()
        if experiment.timing is not None:
            log = Logbook(ready=np.zeros(n), ledger=Ledger())
        return cls(experiment, experiment.rule, experiment.network, None, log)

    def whole(self) -> Moment:
        """This moment with all of the clients' rows in memory."""
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
        header, arrays = self._header(network), under("network", of_network)
        experiment = self.experiment
        if self.snapshot is not None:
            header["clients"], of_those = client_data(self.snapshot)
            header["model"], rows = model_data(self.snapshot, self.rule, experiment)
            arrays |= of_those | rows
        joined = range(experiment.config.clients, len(experiment.parts))
        arrays |= {f"parts.{client}": experiment.parts[client] for client in joined}
        arrays |= log_arrays(self.log)
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
        return {
            "p2pqg": own_version(),
            "round": self.log.round,
            "config": machinery.plain(self.experiment.config),
            "parts": _letters_of_parts(self.experiment),
            "planned_rounds": self.experiment.planned_rounds,
            **rule_data(self.rule),
            "network": network,
            "cursor": list(self.cursor),
            "seconds": self.seconds,
            "restarts": list(self.restarts),
            "stopped": self.stopped,
            "log": {name: getattr(self.log, name) for name in PLAINLY},
        }

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
            check_it_may_be_one(user_path(path))
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
            planned = header.get("planned_rounds")
            folder = user_path(path)
            experiment = built_again(header["config"], settings, folder, tell, replan, planned)
            _tell_what_is_other(header, experiment, tell)
        check_width(saved, experiment, path)
        rule = saved_rule(saved, experiment.rule, path, replan)
        experiment = as_it_was(experiment, saved, rule)
        return cls(
            experiment,
            rule,
            experiment.network,
            saved_snapshot(saved),
            saved_log(saved),
            tuple(header["cursor"]),
            header["seconds"],
            tuple(header["restarts"]),
            header.get("stopped"),
        )


def _tell_what_is_other(
    header: Mapping[str, Any], experiment: Experiment, tell: Callable[[str], None]
) -> None:
    """Say what no checkpoint holds, and is not what the run began with."""
    about, model = header.get("model") or {}, experiment.task.model
    if about.get("frozen", "") not in ("", experiment.arrays.frozen):
        tell(
            "the frozen layers at model.path are not those that the run began with; its models go "
            "on above these"
        )
    if about.get("fixed", "") not in ("", model.fixed):
        tell(
            f"what is frozen in model {model.name} is not, to the last bit, what the run began "
            "with; its models go on with what it is now"
        )
    if header.get("parts", "") not in ("", _letters_of_parts(experiment)):
        tell(
            f"partition {experiment.config.partition['name']} gives clients other samples than "
            "when the run began; it goes on with those of now"
        )


def _letters_of_parts(experiment: Experiment) -> str:
    """What tells apart who holds which samples, of those who were there at the start."""
    return digest_of_parts(experiment.parts[: experiment.config.clients])
