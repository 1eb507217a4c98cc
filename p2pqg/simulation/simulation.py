"""Simulation: a live network of learning clients, and how it begins.

What it shows of itself is in `shown.py`, how it is kept and forked in `paused.py`, how it runs in
`life.py`, and what can be done to it between two rounds in `interventions.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from p2pqg.base.errors import notice
from p2pqg.base.steady import now
from p2pqg.recipe.keywords import Restart, Resumed, Settings, with_keywords
from p2pqg.recipe.settings import read_settings
from p2pqg.simulation.build import build
from p2pqg.simulation.card import card
from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.interventions import Interventions
from p2pqg.simulation.moment import Moment


class Simulation(Interventions):
    """A live network of learning clients; also a context manager.

    Examples:
        >>> with Simulation(topology="ring4", rounds=20, engine="local") as sim:
        ...     sim.advance(rounds=5)
        ...     branch = sim.fork()
        ...     branch.drop_links(["0-1"])
        ...     branch.advance(rounds=5)
        ...     sim.round, branch.round, branch.parameters().shape
        (5, 10, (4, 4810))

    Clients are numbers, or names where the network has them; links are pairs (a, b), or "a-b" for
    both directions and "a->b" for one. A single one needs no brackets. Whatever is done to it is
    checked first: what is wrong is refused before anything changes.

    Attributes:
        experiment: its parts; experiment.config is the resolved recipe.
        method: the algorithm with its parameters, as it is now; `rule` is the rule of gossip.
        network: as it is now.
        hosting: where it computes, and which clients live in which actor.
        restarts: after actors that died, a line each.
        stopped: why it ended before its last round, if it did; then `advance` does nothing.
        on_note: called with a line of text when something happens that a user should know.
        on_change: called when it has come further, was changed or is closed; with True: it has
            gone back, and what was known of it holds no more.
        turn: held by the thread that uses it; what reads its records needs none.
        room: its control room, if there is one.
    """

    @with_keywords(Settings.__annotations__)
    def __init__(
        self,
        experiment: Experiment | None = None,
        *,
        started: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Start a network at round 0.

        Args:
            experiment: ready parts, or nothing: then they are built from the settings.
            started: `time.time()` from which wall seconds count; default: now.
            settings: keywords as of `p2pqg.run`; every round is recorded unless record_every says
                otherwise.

        Raises:
            ConfigError: with every problem of the settings; nothing was started.

        Warns (`p2pqg.errors.Notice`) of what is allowed but should be known, of the data, say, a
        line each; `experiment.warnings` holds them.
        """
        started = now() if started is None else started
        if experiment is None:
            experiment = build(*read_settings({"record_every": 1, **settings}))
            for line in experiment.warnings:  # who brings ready parts has them told already
                notice(line)
        self._begin(Moment.first(experiment), started)

    @classmethod
    @with_keywords(Restart.__annotations__)
    def restore(cls, path: str | Path, **settings: Unpack[Resumed]) -> Simulation:
        """Go on from a checkpoint, bit for bit, as if nothing had been in between.

        With other actors than before (`clients_per_actor`, `engine`) the numbers are the same to
        float rounding.

        Args:
            path: a checkpoint, or the directory of a run: then its newest one that is whole.
            settings: what shall differ: how long and where it runs, e.g. rounds, engine.

        Raises:
            ConfigError: there is none, it is damaged, or a setting that cannot change.

        Warns (`p2pqg.errors.Notice`) where a newer checkpoint of a run is damaged, so that an older
        one is used, and of code that is not what it began with.
        """
        sim = cls.at(Moment.newest(path, tell=notice, **settings))
        sim.restored = Path(path), dict(settings)
        return sim

    def __repr__(self) -> str:
        config, planned = self.experiment.config, self.num_rounds
        what = f"{config.algorithm['name']} on {config.topology}"
        of = f" of {planned}" if self.round <= planned else ""
        return f"<Simulation: {what}, round {self.round}{of}>"

    def _repr_html_(self) -> str:
        return card(self)

    def control(self, *, megabytes: float = 64, folder: str | Path | None = None) -> Any:
        """Its control room in a notebook: watch it learn, touch it, fork it, go back.

        It plays in the background, so that other cells can read it meanwhile. `control().room` is
        what leads it: `room.act({"do": "play", "rounds": 10})`, `room.wait()`.

        Args:
            megabytes: of memory for the moments that one can go back to.
            folder: where it keeps a checkpoint every few seconds, and whenever it stands, in `A`
                (of forks in `B`, `C`, `D`): after a restart of the kernel
                `Simulation.restore(folder / "A").control(folder=folder)` goes on with all of them.
                None: nowhere.

        Returns:
            A widget; where there are none, this simulation's card with a line that says why.

        Raises:
            ConfigError: this simulation is closed, or the folder cannot be made.
        """
        from p2pqg.control.widget import control_of

        return control_of(self, megabytes, folder)
