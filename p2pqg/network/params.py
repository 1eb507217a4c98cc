"""The simulated clock of a recipe: the keys of `network:`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from p2pqg.base.errors import ConfigError
from p2pqg.network.compute import read_compute
from p2pqg.network.link_spec import read_line, read_links
from p2pqg.network.units import seconds

Quantity = float | str | dict[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ClockParams:
    """What the simulated clock is told, `network:` in a recipe. Default: all is instantaneous."""

    links: str | dict[Any, Any] = "perfect"
    """A class: the line of a client, which all its messages share (lan, fiber, cable, dsl, 3g, 4g,
    lte, satellite), or a link between two sites, one for each neighbor (wan, perfect). Or {class,
    latency, bandwidth, jitter, per}, where `per: client` or `per: link` says which it is. Or a
    file, .csv or .graphml; or links by name, "0-1" (both ways) or "0->1", with `default` for all
    others and perhaps a `file`."""
    uplink: Quantity | None = None
    """All that a client can send, bits per second or a class; or client -> that, with `default`.
    None: what its line can, if `links` is one, else no limit."""
    downlink: Quantity | None = None
    """All that a client can receive, as uplink."""
    compute: Quantity = 0.0
    """Seconds that a client takes for a gradient, or {seconds, varies, speeds, stragglers, trace}.
    A round of local steps has several. 0: only communication takes time."""
    synchrony: Literal["global", "neighbors"] = "global"
    """global: nobody starts a round, or the next exchange of one, before all have finished the last
    one; neighbors: a client goes on as soon as the messages for itself are there."""
    deadline: float | str | None = None
    """Seconds after which a round ends, whoever is still computing: later messages count as lost.
    With `synchrony: global` only. None: everything is waited for."""

    def problems(self) -> Iterator[str]:
        readers: dict[str, Callable[[Any], object]] = {
            "links": read_links,
            "uplink": partial(read_line, side="uplink"),
            "downlink": partial(read_line, side="downlink"),
            "compute": read_compute,
            "deadline": self._check_deadline,
        }
        for key, read in readers.items():
            try:
                read(getattr(self, key))
            except ConfigError as error:
                yield str(error)

    @property
    def deadline_seconds(self) -> float:
        """The deadline in seconds; inf if there is none."""
        return math.inf if self.deadline is None else seconds(self.deadline, "network.deadline")

    def _check_deadline(self, deadline: float | str | None) -> None:
        if deadline is None:
            return
        if self.synchrony != "global":
            raise ConfigError(
                "network.deadline is the end of a round for all, and needs synchrony: global, "
                f"got {self.synchrony}"
            )
        computing = 0.0
        if not isinstance(self.compute, dict):
            with suppress(ConfigError):  # that problem has been told already
                computing = read_compute(self.compute).seconds
        if self.deadline_seconds <= computing:
            raise ConfigError(
                f"network.deadline must be longer than the {computing:g} s that all compute, "
                f"got {deadline!r}; nobody would be in time"
            )
