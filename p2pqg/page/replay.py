"""A run on disk as the control room shows networks: how it stands, and how it was.

Reads the files that the run writes, and nothing else: the run is not slowed down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from p2pqg.base.errors import P2pqgError
from p2pqg.base.text import without_folders
from p2pqg.network import Network
from p2pqg.network.verbs import GROWING
from p2pqg.page.networks import network_of, shards_of
from p2pqg.page.runs import read
from p2pqg.page.scene import digits, scene, traffic
from p2pqg.results.changes import Became, became
from p2pqg.results.columns import column
from p2pqg.results.parquet import read_rows
from p2pqg.results.run import Run
from p2pqg.results.standing import Standing
from p2pqg.topology import Schedule

POINT = (
    "round",
    "bytes_sent",
    "sim_seconds",
    "test_accuracy",
    "test_accuracy_std",
    "test_accuracy_min",
    "train_loss",
    "consensus_distance",
)
"""Columns of rounds.parquet that curves are drawn of, in the order of a point."""
OF_CLIENTS = {
    "test_accuracy": "accuracy",
    "test_loss": "loss",
    "distance_to_mean": "distance to the mean",
    "steps": "steps done",
}
"""Columns of clients.parquet that clients are colored by, and what these are called."""
NOT_SHOWN = ("round", "client", "num_samples", "lied")
MOST_EVENTS = 300
MOST_POINTS = 4000
"""Points of a curve sent at once: a page keeps no more (room.js), and no screen shows more."""
MOST_MOMENTS, MOST_NUMBERS = 60, 40_000
"""Moments of a run in a report, which is one file, and numbers of clients in all of them."""
WATCHED = ("rounds.parquet", "clients.parquet", "summary.json", "failed.json", "changes.parquet")
"""Files whose change means news."""


def point(row: Mapping[str, Any]) -> list[float | int | None]:
    """A row of rounds.parquet, as curves need it; rounds count those done."""
    found = [digits(row.get(key)) for key in POINT]
    found[0] = int(row["round"]) + 1
    return found


def points_of(rows: Sequence[Mapping[str, Any]]) -> list[list[float | int | None]]:
    """The points of rows; of very many, half as many evaluated ones as there may be, and others."""
    if len(rows) > MOST_POINTS:
        evaluated = [
            k for k, row in enumerate(rows) if digits(row.get("test_accuracy")) is not None
        ]
        kept = {*_evenly(evaluated), *_evenly(range(len(rows)))}
        rows = [rows[k] for k in sorted(kept)]
    return [point(row) for row in rows]


def _evenly(places: Sequence[int]) -> list[int]:
    """Half of MOST_POINTS of them, the first and the last among them."""
    most = min(len(places), MOST_POINTS // 2)
    return [places[int(k)] for k in np.linspace(0, len(places) - 1, most)]


def names_of(keys: Sequence[str]) -> dict[str, str]:
    """What columns are called."""
    return {key: OF_CLIENTS.get(key) or column(key).title for key in keys}


class Replay:
    """One run.

    Attributes:
        number: from 0 on, in the order in which runs were found.
        name: what it is called beside others.
        problem: why its files cannot be read just now, or "".
    """

    def __init__(self, number: int, path: Path, name: str) -> None:
        self.number, self.path, self.name = number, path, name
        self.problem = ""
        self._stamps: tuple[int, ...] = ()
        self._changes: list[dict[str, Any]] = []
        self._scenes: dict[Any, dict[str, Any]] = {}
        stamps = self._stamps_now()
        self._standing = read(Run(path))
        self._take(stamps, self._standing)

    def refresh(self) -> None:
        """Look whether there is news on disk."""
        if (stamps := self._stamps_now()) != self._stamps:
            self._take(stamps)

    def _stamps_now(self) -> tuple[int, ...]:
        return tuple(_stamp(self.path / name) for name in WATCHED)

    def _take(self, stamps: tuple[int, ...], standing: Standing | None = None) -> None:
        """Take what files of those stamps say; `standing`: what was read of them since."""
        try:
            self._standing = standing or read(Run(self.path))
            self._changes = []
            with suppress(FileNotFoundError):
                self._changes = read_rows(self.path / "changes.parquet")
            self._stamps, self.problem = stamps, ""
        except (P2pqgError, OSError, ValueError) as error:  # it may be whole again later
            self.problem = str(error).partition("\n")[0]

    @property
    def standing(self) -> Standing:
        """What is known of it."""
        return self._standing

    @property
    def version(self) -> int:
        """Changes when there is news."""
        return hash(self._stamps)

    @cached_property
    def _start(self) -> Schedule | None:
        return network_of(self._standing)

    @cached_property
    def _counts(self) -> np.ndarray | None:
        ((counts, _),) = shards_of([self._standing])
        return counts

    @property
    def moments(self) -> list[int]:
        """Rounds done at each evaluation."""
        rounds = self._standing.clients["round"].unique()
        return [int(round) + 1 for round in np.sort(rounds)]

    def frame(
        self, known: int = 0, round: int | None = None, *, with_network: bool = True
    ) -> dict[str, Any]:
        """How it stood after so many rounds; None: how it stands. As of `control.branch`.

        Args:
            known: rows of its curves that the page has.
            round: one of `moments`; another one means the last before.
            with_network: False: the curves alone.
        """
        standing = self._standing
        rows = standing.rounds
        done = standing.rounds_done
        moments = self.moments
        earlier = [moment for moment in moments if round is not None and moment <= round]
        past = round is not None and round < done
        at = (earlier[-1] if earlier else 0) if past else done
        start = known if known <= len(rows) else 0
        shown = [key for key in POINT if key in rows]
        found: dict[str, Any] = {
            "id": self.number,
            "name": self.name,
            "round": at,
            "past": past,
            **self._seconds(at),
            "moments": moments,
            "every": int(np.median(np.diff(moments))) if len(moments) > 1 else 1,
            "ending": self.problem or "; ".join(filter(None, (standing.ending, standing.unsaved))),
            "events": [[done, what] for done, what in standing.events[-MOST_EVENTS:]],
            "points": {
                "from": start,
                "until": len(rows),
                "rows": points_of(rows.iloc[start:][shown].to_dict("records")),
            },
            "cut": [],
            "absent": [],
            "liars": [],
            "pieces": 1,
            "trouble": "",
            "traffic": None,
        }
        if with_network and self._start is not None:
            found |= self._network(self._start, at)
            if not past:
                found["traffic"] = self._traffic(found["scene"]["links"])
        return found

    def whole(self) -> dict[str, Any] | None:
        """All of it for a page without a server: {"now": frame, "past": frames}; None: too little.

        Of many moments and clients, as many moments as MOST_NUMBERS allow.
        """
        drawn = len(self._standing.rounds)  # the page draws its curves elsewhere
        moments, now = self.moments, self.frame(drawn)
        if len(moments) < 2 or "scene" not in now:
            return None
        each = now["scene"]["clients"] * max(1, len(now["measures"]))
        most = min(MOST_MOMENTS, max(2, MOST_NUMBERS // each))
        kept = sorted({moments[int(k)] for k in np.linspace(0, len(moments) - 1, most)})
        past = []
        for moment in kept[:-1]:
            frame = self.frame(drawn, round=moment)
            for key in ("points", "events", "moments", "every", "name"):
                del frame[key]
            if frame["scene"] is now["scene"]:
                del frame["scene"]
            past.append(frame)
        now["points"] = {"from": 0, "until": 0, "rows": []}
        return {"now": {**now, "moments": kept}, "past": past}

    def _network(self, start: Schedule, at: int) -> dict[str, Any]:
        now = became(self._changes, start, at)
        schedule = now.schedule(start)
        schedule = replace(schedule, name=self._name(start, now, at))
        network = Network(schedule, cut=now.cut, absent=now.absent)
        values, liars = self._values(at, now.num_clients)
        return {
            "scene": self._scene(schedule, now),
            "cut": sorted([a, b] for a, b in now.cut if a < b or (b, a) not in now.cut),
            "absent": sorted(now.absent),
            "liars": liars,
            "pieces": network.components(at),
            "trouble": network.describe(),
            "values": values,
            "measures": names_of(list(values.get("of", ()))),
        }

    def _name(self, start: Schedule, now: Became, at: int) -> str:
        """What the network was called then: by what was done, or by how it ended, as is on record.

        What is done while a run goes on is on record at its end.
        """
        grown = [
            (done, *what.partition(" ")[::2])
            for done, what in self._standing.events
            if what.startswith(tuple(GROWING))
        ]
        before = [(verb, told) for done, verb, told in grown if done <= at]
        ended = self._standing.summary.get("network") or {}
        if len(before) == len(grown) and "topology" in ended:
            return without_folders(str(ended["topology"]))
        set_to = [told for verb, told in before if verb == "set_topology"]
        if set_to and before[-1][0] != "add_clients":
            return without_folders(set_to[-1])
        by_links_alone = bool(before) and all(verb == "add_links" for verb, _ in before)
        same = now.links is None or by_links_alone  # then a network keeps its name
        return start.name if same else f"{start.name}, changed"

    def _traffic(self, pairs: Sequence[Sequence[int]]) -> list[float | None] | None:
        """Bytes over each drawn link since the start; None: there is no simulated clock."""
        with suppress(OSError, ValueError):  # not there; or half written
            return traffic(pairs, pd.read_parquet(self.path / "links.parquet"))
        return None

    def _scene(self, schedule: Schedule, now: Became) -> dict[str, Any]:
        key = schedule.name, now.num_clients, now.links
        if key not in self._scenes:
            self._scenes[key] = scene(schedule, self._counts)
        return self._scenes[key]

    def _values(self, at: int, n: int) -> tuple[dict[str, Any], list[int]]:
        """What was measured of each client by then, and who lied."""
        clients = self._standing.clients
        earlier = clients[clients["round"] < at]
        if earlier.empty:
            return {}, []
        last = earlier["round"].max()
        rows: pd.DataFrame = earlier[earlier["round"] == last]
        of: dict[str, list[Any]] = {}
        for key in rows.columns:
            if key not in NOT_SHOWN and rows[key].notna().any():
                of[key] = [None] * n
                for client, value in zip(rows["client"], rows[key], strict=True):
                    of[key][int(client)] = digits(value)
        lied = rows[rows["lied"] == 1]["client"] if "lied" in rows else []
        return {"round": int(last) + 1, "of": of}, [int(client) for client in lied]

    def _seconds(self, at: int) -> dict[str, Any]:
        """The simulated clock as last recorded, and after how many rounds that was."""
        rows = self._standing.rounds
        known = rows[(rows["round"] < at) & rows["sim_seconds"].notna()]
        if known.empty:
            return {"seconds": None}
        last = known.iloc[-1]
        return {
            "seconds": digits(float(last["sim_seconds"])),
            "seconds_round": int(last["round"]) + 1,
        }


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
