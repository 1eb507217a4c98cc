"""What a live simulation shows of itself: tables, a summary, where the time went."""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from p2pqg.engine.clock import Clock, Span, chrome_trace, totals
from p2pqg.network import Network
from p2pqg.results.records import (
    CLIENT_COLUMNS,
    CONTROL_COLUMNS,
    NETWORK_COLUMNS,
    ROUND_COLUMNS,
    TIMING_COLUMNS,
)
from p2pqg.simulation.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd

    from p2pqg.engine.driver import Driver
    from p2pqg.engine.placement import Placement


class Views:
    """The read-only side of a Simulation."""

    experiment: Experiment
    network: Network
    placement: Placement
    device: str
    round: int
    restarts: tuple[str, ...]
    _driver: Driver
    seconds: float
    _started: float

    def __repr__(self) -> str:
        config, planned = self.experiment.config, self.experiment.num_rounds
        what = f"{config.algorithm['name']} on {config.topology}"
        return f"<Simulation: {what}, round {self.round} of {planned}>"

    def _repr_html_(self) -> str:
        from p2pqg.simulation.card import card  # brings what only a notebook needs

        return card(self)

    @property
    def sim_seconds(self) -> float:
        """The simulated clock; 0 without one."""
        return self._driver.log.sim_seconds

    @property
    def history(self) -> pd.DataFrame:
        """One row per recorded round, columns as of rounds.parquet."""
        return self._frame(self._driver.log.rounds, self.columns)

    @property
    def clients(self) -> pd.DataFrame:
        """One row per evaluation and client, columns as of clients.parquet."""
        return self._frame(self._driver.log.clients, CLIENT_COLUMNS)

    def _frame(self, rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(rows, columns=list(columns)).astype(columns)

    @property
    def links(self) -> pd.DataFrame:
        """What went over each directed link; empty without a simulated clock."""
        import pandas as pd

        ledger = self._driver.log.ledger
        return pd.DataFrame({} if ledger is None else ledger.arrays())

    @property
    def columns(self) -> dict[str, str]:
        """Name and type of the columns of rounds.parquet: those of what there is to be told."""
        eventful = self.events or self.network.schedule is not self.network.base
        return {
            **ROUND_COLUMNS,
            **(CONTROL_COLUMNS if self.experiment.rule.control is not None else {}),
            **(TIMING_COLUMNS if self.experiment.timing is not None else {}),
            **(NETWORK_COLUMNS if eventful or self.experiment.scenario else {}),
        }

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was done to it: {"round", "sim_seconds", "what"} each."""
        return list(self._driver.log.events)

    @property
    def rows(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of rounds.parquet and of clients.parquet so far."""
        return self._driver.log.rounds, self._driver.log.clients

    @property
    def clock(self) -> Clock:
        """Of the driver's own work."""
        return self._driver.clock

    def profile(self) -> dict[str, dict[str, float]]:
        """Seconds of each kind of work (see `engine.clock.KINDS`), of each host and the driver."""
        return {name: totals(spans) for name, spans in self._spans().items()}

    def trace(self) -> dict[str, Any]:
        """The same, span by span, for chrome://tracing."""
        return chrome_trace(self._spans())

    def _spans(self) -> dict[str, list[Span]]:
        driver = self._driver
        return {**driver.spans, "driver": driver.clock.spans} if driver.clock.on else {}

    def summary(self) -> dict[str, Any]:
        """What summary.json holds, as of now."""
        driver, experiment = self._driver, self.experiment
        config, rows = experiment.config, driver.log.rounds
        last = rows[-1] if rows else {}
        tested = next((row for row in reversed(rows) if "test_accuracy" in row), {})
        first = driver.first_round_at
        now = time.time()
        steps = (self.round - driver.first_round) * experiment.num_clients
        local = config.engine == "local"
        sizes = np.diff(self.placement.bounds)
        more = {}
        if self.events:
            more["events"] = self.events
        if self.restarts:
            more["restarts"] = list(self.restarts)
        return {
            "algorithm": config.algorithm["name"],
            "topology": config.topology,
            "clients": experiment.num_clients,
            "alpha": config.alpha,
            "dataset": config.dataset["name"],
            "model": config.model["name"],
            "seed": config.seed,
            "rounds": self.round,
            "test_accuracy": tested.get("test_accuracy"),
            "test_accuracy_std": tested.get("test_accuracy_std"),
            "averaged_model_accuracy": tested.get("averaged_model_accuracy"),
            "consensus_distance": last.get("consensus_distance"),
            "bytes_sent": last.get("bytes_sent"),
            **{key: last.get(key) for key in ("sim_seconds", "mean_drift") if key in self.columns},
            "wall_seconds": self.seconds,
            "startup_seconds": first and first - self._started,
            "client_steps_per_second": steps / (now - first) if first and steps > 0 else None,
            "engine": config.engine,
            "clients_per_actor": int(sizes.max()),
            "actors": 0 if local else self.placement.num_actors,
            "device": self.device,
            "precision": config.precision,
            **more,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("p2pqg", "torch", "ray", "numpy")},
            },
        }
