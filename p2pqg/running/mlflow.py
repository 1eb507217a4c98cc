"""A run's rows in MLflow.

`p2pqg run --mlflow` (or `resume`). They go to MLFLOW_TRACKING_URI; without one to mlflow.db in the
folder of results, which `mlflow ui --backend-store-uri sqlite:///runs/out/mlflow.db` shows.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.base.alone import alone
from p2pqg.base.config import plain
from p2pqg.base.dotted import flat
from p2pqg.base.text import write_text
from p2pqg.running.sink import Sink, call_it, needed, scalars

if TYPE_CHECKING:
    from p2pqg.running.observer import Observer
    from p2pqg.simulation.simulation import Simulation

RUN_ID = "mlflow-run-id"
"""A file in the run's directory."""

LAST = "wall_seconds"
"""The metric that every row has, and that is written last: what it has, is written."""

PARAMS_PER_CALL, LONGEST_PARAM = 100, 6000
"""What MLflow takes."""


class MLflow(Sink):
    """Every number of a row is a metric under the name of its column, at the row's round as step.

    The recipe is the run's parameters; those that differ when it goes on stay what they were.
    """

    name = "mlflow"
    package = "mlflow"
    leaves = RUN_ID

    def __init__(self, then: Observer | None = None) -> None:
        """Watch, and tell another observer; see `Sink`."""
        super().__init__(then)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a simulation calls nobody
        self._mlflow = needed("mlflow", MLflow)
        self.passing = (OSError, self._mlflow.MlflowException)
        with suppress(ImportError):  # only a server needs no database; errors of one pass as such
            self.passing += (import_module("sqlalchemy.exc").SQLAlchemyError,)
        self._client: Any = None
        self._run_id = ""

    def open(self, simulation: Simulation, path: Path) -> int:
        """The run of this directory, which keeps its id; a new one if the store has lost it."""
        # Seeds side by side would make the same tables of the database, or the same experiment.
        where, *_ = call_it(path)
        with alone(where / "mlflow.lock"):
            return self._begin(simulation, path)

    def _begin(self, simulation: Simulation, path: Path) -> int:
        where, group, name = call_it(path)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{where / 'mlflow.db'}"
        for noisy in ("alembic", "mlflow.store.db.utils"):  # else each table is told of
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        rows = simulation.rows[0]
        self._started = time.time() - (rows[-1]["wall_seconds"] if rows else 0.0)
        known = path / RUN_ID
        if known.exists() and self._goes_on(known.read_text(encoding="utf-8")):
            steps = [one.step for one in self._client.get_metric_history(self._run_id, LAST)]
            return max(steps, default=-1)
        run = self._client.create_run(
            self._experiment(where),
            start_time=round(1000 * self._started),
            tags={"p2pqg.directory": str(path.absolute())}
            | ({"p2pqg.seeds": group} if group else {}),
            run_name=name,
        )
        self._run_id = run.info.run_id
        write_text(known, self._run_id)
        for params in self._params(simulation):
            self._client.log_batch(self._run_id, params=params)
        return -1

    def _goes_on(self, run_id: str) -> bool:
        """Whether the store has it."""
        try:
            if self._client.get_run(run_id).info.lifecycle_stage != "active":
                return False
        except self._mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        self._run_id = run_id
        self._client.update_run(run_id, status="RUNNING")
        return True

    def _experiment(self, where: Path) -> str:
        """The id of the experiment that runs are in; MLFLOW_EXPERIMENT_NAME, or p2pqg."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "p2pqg")
        found = self._client.get_experiment_by_name(name)
        if found is None:
            ours = not os.environ.get("MLFLOW_TRACKING_URI")  # else ./mlruns would be made
            try:
                id_: str = self._client.create_experiment(
                    name, artifact_location=(where / "mlartifacts").as_uri() if ours else None
                )
                return id_
            except self._mlflow.MlflowException as error:  # another run was faster
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)
        found_id: str = found.experiment_id
        return found_id

    def _params(self, simulation: Simulation) -> Iterator[Sequence[Any]]:
        """The recipe, as many keys at a time as MLflow takes."""
        settings = flat(plain(simulation.experiment.config))
        params = [
            self._mlflow.entities.Param(_key(key), str(value)[:LONGEST_PARAM])
            for key, value in settings.items()
            if value is not None
        ]
        for first in range(0, len(params), PARAMS_PER_CALL):
            yield params[first : first + PARAMS_PER_CALL]

    def write(self, row: dict[str, Any]) -> None:
        """Its scalars, and the wall time, in one transaction."""
        at = round(1000 * min(time.time(), self._started + row["wall_seconds"]))
        numbers = scalars(row) | {LAST: row[LAST]}
        metric = self._mlflow.entities.Metric
        metrics = [metric(_key(name), value, at, row["round"]) for name, value in numbers.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def close(self) -> None:
        """Say whether it came to its end."""
        self._client.set_terminated(self._run_id, "FINISHED" if self.ended else "FAILED")


def _key(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w./: -]", "_", name)
