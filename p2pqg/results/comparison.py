"""Runs, live simulations and forks of them side by side: a table, their clients, figures.

    both = p2pqg.compare(sim, branch, names=["left alone", "bridge cut"], to_accuracy=0.9)
    both.table, both.clients, both.draw()

`p2pqg compare` prints the same table. Several seeds of one setting are a list and make one row:
their mean, and in `spread` how far they are apart. What a simulation does later changes nothing.
"""

from __future__ import annotations

import numbers
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.wording import aligned, plain_text, shortened
from p2pqg.results.alike import (
    differing,
    drawn_anew,
    gave_others,
    not_kept,
    setting_told,
    settings_of,
    unlike,
)
from p2pqg.results.comparison_text import html, is_asked_for, result, set_apart, with_spread
from p2pqg.results.seeds import Runs, is_of_seeds, load
from p2pqg.results.standing import Standing

if TYPE_CHECKING:
    from p2pqg.plots.canvas import Picture
    from p2pqg.results.standing import One

LONGEST_NAME = 32


def compare(
    *runs: One | Sequence[One],
    names: Sequence[str] | None = None,
    to_accuracy: float | Sequence[float] = (),
) -> Comparison:
    """Put runs side by side, as they are now.

    Args:
        runs: live simulations, runs, or their directories; a list of them, `Runs`, or a directory
            of seeds is one setting with several seeds.
        names: what to call them, one for each; default: what sets them apart.
        to_accuracy: test accuracies (shares) for which to say after how many rounds, bytes and
            seconds the mean over the clients came to them, on straight lines between evaluations.
            Seconds are those of the simulated clock where there is one, else those of the wall.

    Raises:
        ConfigError: nothing to compare, a directory without a finished run, names that are not as
            many as runs or not unlike, a list whose runs do not differ in their seeds, or differ in
            other settings, or an accuracy that is not in (0, 1].
    """
    given_one = not isinstance(to_accuracy, Iterable) or isinstance(to_accuracy, str)
    asked: list[Any] = [to_accuracy] if given_one else list(cast("Sequence[Any]", to_accuracy))
    for accuracy in asked:
        if not isinstance(accuracy, numbers.Real) or not 0 < float(accuracy) <= 1:
            raise ConfigError(f"to_accuracy must be a share in (0, 1], e.g. 0.9, got {accuracy!r}")
    given: list[list[One]]
    given = [
        [one] if isinstance(one, str) or not isinstance(one, Sequence) else [*one]
        for one in map(_opened, runs)
    ]
    if not given or not all(given):
        raise ConfigError("compare needs at least one run, got none")
    called = None if names is None else list(map(str, names))
    if called is not None and not len(called) == len(set(called)) == len(given):
        raise ConfigError(
            f"names must be one for each of {len(given)} runs, all different, got {called}"
        )
    groups = [[Standing.of(one) for one in group] for group in given]
    for group in groups:
        _check_it_is_one_setting(group)
    return Comparison(groups, called, asked)


def _opened(one: One | Sequence[One]) -> One | Sequence[One]:
    """All runs of a directory of seeds, those that failed before they had results too."""
    if isinstance(one, str | Path) and is_of_seeds(one):
        one = load(one)
    return one.begun if isinstance(one, Runs) else one


def _check_it_is_one_setting(group: Sequence[Standing]) -> None:
    """Refuse a list of which a mean would be one of unlike runs, or of a seed that counts twice."""
    if len(group) < 2:
        return
    settings = settings_of(group)
    drawn = {key for keys in drawn_anew(group).values() for key in keys}
    if other := [key for key in unlike(settings) if key not in drawn]:
        told = ", ".join(map(setting_told, other))
        raise ConfigError(
            f"the runs of a list are seeds of one setting, these differ in {told}; "
            "give them one by one, without a list"
        )
    if len(seeds := settings["seed"].unique()) < len(group):
        told = ", ".join(map(str, seeds))
        raise ConfigError(
            f"the runs of a list must have a seed each, {len(group)} have {told}; "
            "give them one by one, without a list"
        )


@dataclass(frozen=True, repr=False)
class Comparison:
    """Runs side by side.

    Attributes:
        groups: where they stand, a list per row of the table: one for each seed.
        given_names: of the rows; None: see `names`.
        to_accuracy: the test accuracies that were asked for.
    """

    groups: list[list[Standing]]
    given_names: list[str] | None = None
    to_accuracy: Sequence[float] = ()

    @cached_property
    def names(self) -> list[str]:
        """What the rows are called: as asked, by directories, or by what sets them apart."""
        if self.given_names is not None:
            return self.given_names
        if self._on_disk:
            return [str(one.path) for (one,) in self.groups]
        names = [
            ", ".join([*set_apart(row), *(what for _, what in self._own_events(group))])
            # By index: Pandas 2 has no records of a frame without columns.
            for row, group in zip(self.settings.to_dict("index").values(), self.groups, strict=True)
        ]
        names = [shortened(name, LONGEST_NAME) or "left alone" for name in names]
        return [
            name if names.count(name) == 1 else f"{name} ({names[: k + 1].count(name)})"
            for k, name in enumerate(names)
        ]

    @property
    def _on_disk(self) -> bool:
        """Each row is one directory, and nobody gave it another name."""
        alone = all(len(group) == 1 and not group[0].is_live for group in self.groups)
        return alone and self.given_names is None

    def _own_events(self, group: list[Standing]) -> list[tuple[int, str]]:
        """What was done to a simulation and not to all of them."""
        every, times = [_done_to(other) for other in self.groups], _times(group)
        return [
            event
            for event in _done_to(group)
            if times[event[1]] < len(group) or not all(event in other for other in every)
        ]

    @cached_property
    def settings(self) -> pd.DataFrame:
        """The settings in which the rows differ."""
        settings = settings_of(group[0] for group in self.groups)
        many = any(len(group) > 1 for group in self.groups)
        left_out = {"rounds", *(["seed"] if many else [])}  # a result; and within a row
        return settings[[key for key in differing(settings) if key not in left_out]]

    @cached_property
    def round(self) -> int | None:
        """The last round in which all were evaluated."""
        rounds = [set(one.evaluated.index) for group in self.groups for one in group]
        return max(set.intersection(*rounds), default=None)

    @cached_property
    def _when(self) -> str:
        """When all were evaluated, in words: " after 20 rounds"; "" where that is their end."""
        ends = {one.evaluated.index.max() for group in self.groups for one in group}
        return f" after {self.round + 1} rounds" if self.round is not None and len(ends) > 1 else ""

    @property
    def _seconds(self) -> str | None:
        """The column that tells the time: that of the simulated clock where there is one."""
        every = [one for group in self.groups for one in group]
        clock = any("sim_seconds" in one.summary for one in every)
        live = any(one.is_live for one in every)
        return "sim_seconds" if clock else None if live else "wall_seconds"

    @cached_property
    def _results(self) -> list[pd.DataFrame]:
        """[seeds, results] of every row."""
        frames = []
        for group in self.groups:
            rows = [one.results for one in group]
            if len(group) > 1:  # the end of a run and the middle of another have no mean
                rows = [
                    row if one.is_live or one.finished else dict.fromkeys(row, np.nan)
                    for row, one in zip(rows, group, strict=True)
                ]
            for row, one in zip(rows, group, strict=True):
                if self.round is not None and self._when:
                    at = one.evaluated.loc[self.round, "test_accuracy"]
                    row[f"accuracy_after_{self.round + 1}_rounds"] = at
                for accuracy in self.to_accuracy:
                    reached = one.reached(accuracy, self._seconds)
                    row |= {key: value for key, (value, _) in reached.items()}
            frames.append(pd.DataFrame(rows, dtype=float))
        together = pd.concat(frames)
        kept = [key for key in together if is_asked_for(key) or together[key].notna().any()]
        return [frame.reindex(columns=kept) for frame in frames]

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row each: the settings in which they differ, then results, means over seeds.

        Accuracies are shares: the last (`test_accuracy`), the `best_accuracy` on the way (where
        samples are held out for validation, that of the round which did best on them), and where
        runs are not equally long, that after equally many rounds. A mean is NaN where a seed is,
        and where one did not come to its end. A setting that a metric is called like, such as the
        `loss`, is `setting.loss`.
        """
        both = self.settings.columns.intersection(self._means.columns)
        settings = self.settings.rename(columns={key: f"setting.{key}" for key in both})
        return pd.concat([settings, self._means], axis=1).set_axis(self.names)

    @cached_property
    def _means(self) -> pd.DataFrame:
        """[rows, results]: over the seeds."""
        return pd.DataFrame([frame.mean(skipna=False) for frame in self._results])

    @cached_property
    def spread(self) -> pd.DataFrame:
        """How far the numbers of the table are to be trusted.

        The sample standard deviation (n - 1) over the seeds of every row; NaN for one seed. When an
        accuracy was reached is known as well as evaluations are apart: there the larger of the two.
        """
        deviations = pd.DataFrame([frame.std(skipna=False) for frame in self._results])
        for row, group in enumerate(self.groups):
            for accuracy in self.to_accuracy:
                found = [one.reached(accuracy, self._seconds) for one in group]
                for key in found[0]:
                    gaps = [one[key][1] for one in found]
                    deviations.loc[row, key] = np.fmax(deviations.loc[row, key], np.mean(gaps))
        return deviations.set_axis(self.names)

    @cached_property
    def clients(self) -> pd.DataFrame:
        """A row per client, in the last round in which all runs were evaluated; means over seeds.

        A mean is NaN where a seed is, or does not have the client by then.
        Columns (what, name): `test_accuracy`, `difference` of it to that of the first run, and
        `distance_to_mean`.
        """
        clients, labels = self._by_number, self._labels
        if labels:
            names = clients.index.map(lambda k: labels[k] if k < len(labels) else str(k))
            clients = clients.set_axis(names)
        return clients.rename_axis("client")

    @cached_property
    def _by_number(self) -> pd.DataFrame:
        """`clients`, called by their numbers."""
        accuracy = self._by_client("test_accuracy")
        found = {
            "test_accuracy": accuracy,
            "difference": accuracy.iloc[:, 1:].sub(accuracy.iloc[:, 0], axis=0),
            "distance_to_mean": self._by_client("distance_to_mean"),
        }
        return pd.concat({k: v for k, v in found.items() if len(v.columns)}, axis=1)

    def _by_client(self, what: str) -> pd.DataFrame:
        """[clients, rows]: a column of clients.parquet."""
        means = {}
        for name, group in zip(self.names, self.groups, strict=True):
            then = [one.clients[one.clients["round"] == self.round] for one in group]
            seeds = [frame.set_index("client")[what] for frame in then]
            means[name] = pd.concat(seeds, axis=1).mean(axis=1, skipna=False)
        return pd.DataFrame(means)

    @property
    def _labels(self) -> tuple[str, ...]:
        networks = (group[0].network for group in self.groups)
        return max((network.base.labels for network in networks if network), key=len, default=())

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """The table as a person reads it: a header, and a line for each row."""
        columns = [("", self.names)]
        if self._are_recorded:  # paths are long, and say little: last
            columns = [(key, [*map(plain_text, self.settings[key])]) for key in self.settings]
        for key in self._results[0]:
            title, say = result(key)
            spread = zip(self._means[key], self.spread[key], strict=True)
            columns.append(
                (title, [with_spread(say, mean, deviation) for mean, deviation in spread])
            )
        if self._are_recorded:
            columns.append(("run", [_where(group) for group in self.groups]))
        header, texts = zip(*columns, strict=True)  # the setting `time`, and the time it took
        return list(header), [list(row) for row in zip(*texts, strict=True)]

    @property
    def notes(self) -> list[str]:
        """What is to be known of the numbers, a line each.

        Runs that did not come to their last round, numbers older than a run, and means over more
        than the seed: objects of its own, or what was not done to all seeds.
        """
        told = [
            (
                name if one.is_live else str(one.path),
                filter(None, (one.ending, one.unsaved, one.age)),
            )
            for name, group in zip(self.names, self.groups, strict=True)
            for one in group
        ]
        lines = [(who, "; ".join(what)) for who, what in told]
        called = [_where(g) for g in self.groups] if self._are_recorded else self.names
        return [
            *(f"{who}: {what}" for who, what in lines if what),
            *(
                f"{name}: each seed has {what} of its own, over which the mean is, too"
                for name, group in zip(called, self.groups, strict=True)
                for what in drawn_anew(group)
            ),
            *(
                f"{name}: {what} was done to {seeds} of {len(group)} seeds, the mean is over all"
                for name, group in zip(called, self.groups, strict=True)
                for what, seeds in _times(group).items()
                if seeds < len(group)
            ),
            *(
                f"dataset {name} gave some of these runs other values than others"
                for name in gave_others(one for group in self.groups for one in group)
            ),
            *(
                f"{name}: {key} was an object that its runs could not keep; nobody knows whether "
                "it was the same for all seeds"
                for name, group in zip(called, self.groups, strict=True)
                for key in not_kept(group)
            ),
        ]

    @property
    def _are_recorded(self) -> bool:
        """Each row is of runs on disk, and nobody gave it another name."""
        return self.given_names is None and not any(g[0].is_live for g in self.groups)

    def __repr__(self) -> str:
        return "\n".join([*aligned(*self.texts()), *self.notes])

    def _repr_html_(self) -> str:
        return html(*self.texts(), self.notes)

    def draw(self, y: str = "test_accuracy", x: str = "round", **options: Any) -> Picture:
        """A curve for each row, with a band over its seeds, and marks where something was done.

        Args:
            y: a column of rounds.parquet, e.g. consensus_distance.
            x: likewise, e.g. bytes_sent or sim_seconds.
            options: as of `p2pqg.plots.draw_curves`.

        Raises:
            ConfigError: a column that is not there, or was not measured.
        """
        from p2pqg.plots import draw_curves  # brings matplotlib

        histories = {
            name: [one.rounds for one in group]
            for name, group in zip(self.names, self.groups, strict=True)
        }
        marks: dict[float, str] = {}
        events = (event for group in self.groups for event in self._own_events(group))
        for done, what in dict.fromkeys(events):  # what several had in common is said once
            marks[done] = f"{marks[done]}; {what}" if done in marks else what
        return draw_curves(histories, y, x, marks=marks if x == "round" else {}, **options)

    def draw_clients(self, what: str = "test_accuracy", **options: Any) -> Picture:
        """Every client in every run, those that differ most first; see `clients`.

        Where some runs went on, the axis says of which round the numbers are.

        Raises:
            ConfigError: there is no such column.
        """
        from p2pqg.plots import draw_clients

        self._check_column(what)
        return draw_clients(self.clients[what], f"{what}{self._when}", **options)

    def _check_column(self, what: str) -> None:
        """ConfigError: `clients` has no such column, as no `difference` of a single run."""
        known = list(dict.fromkeys(self.clients.columns.get_level_values(0)))
        if what not in known:
            raise ConfigError(f"no column {what!r} of clients{did_you_mean(str(what), known)}")

    def draw_network(
        self, name: str | None = None, what: str = "test_accuracy", **options: Any
    ) -> Picture:
        """The network of one row, its clients colored by their accuracy, on one scale for all rows.

        That of a run on disk is drawn as it was at the start; its report draws what became of it.
        Numbers are those of `clients`; where some went on, the color bar says of which round.

        Args:
            name: of the row; default: the last.
            what: a column of `clients`.
            options: as of `p2pqg.plots.draw_network`.

        Raises:
            ConfigError: there is no such row or column, or its network cannot be built.
        """
        from p2pqg.plots import draw_network

        name = self.names[-1] if name is None else name
        if name not in self.names:
            raise ConfigError(f"no row {name!r}{did_you_mean(name, self.names)}")
        self._check_column(what)
        network = self.groups[self.names.index(name)][0].network
        if network is None:
            raise ConfigError(f"{name}: its network cannot be built here")
        values = self._by_number[what]
        if name not in values:
            raise ConfigError(f"{name}: the first has no {what} to itself; name another row")
        known = values.to_numpy(dtype=float)
        known = known[np.isfinite(known)]
        options = {
            "values": values[name].reindex(range(network.num_clients)).to_numpy(),
            "label": f"{what.replace('_', ' ')}{self._when}",
            "labels": network.base.labels or None,
            "cut_links": network.cut,
            "absent": network.absent,
            "limits": (known.min(), known.max()) if known.size else None,
        } | options
        return draw_network(network.base, **options)


def _times(group: Sequence[Standing]) -> Counter[str]:
    """What was done to the simulations of a row -> to how many of them."""
    return Counter(what for one in group for what in {what: 0 for _, what in one.interventions})


def _done_to(group: Sequence[Standing]) -> list[tuple[int, str]]:
    """What was done to the first seed of a row, and whatever else to another, in order."""
    done = list(group[0].interventions)
    for one in group[1:]:
        known = {what for _, what in done}
        done += [event for event in one.interventions if event[1] not in known]
    return sorted(done, key=lambda event: event[0])


def _where(group: Sequence[Standing]) -> str:
    """Where the runs of a row are."""
    if len(group) == 1:
        return str(group[0].path)
    return f"{os.path.commonpath([one.path for one in group])} ({len(group)} seeds)"
