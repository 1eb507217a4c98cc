"""Compute: how many seconds each client takes for a gradient, round by round.

    seconds / speed of the client x what varies x slowness of stragglers

A round of several gradients takes as many times that.

Every factor that is drawn is keyed by (client, round): it is the same in a fork or after a resume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from p2pqg.base import config
from p2pqg.base.csv_file import rows
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.registry import NoParams, Registry
from p2pqg.base.seeding import uniforms
from p2pqg.base.text import user_path
from p2pqg.network.clients import Clients
from p2pqg.network.units import number, positive, seconds

DISTRIBUTIONS = Registry("distribution")
"""Entries are (u, v, params) -> factors > 0 with mean 1; u and v are independent uniforms."""


@DISTRIBUTIONS.register("constant")
def constant(u: np.ndarray, v: np.ndarray, params: NoParams) -> np.ndarray:
    """Always 1."""
    return np.ones_like(u)


@dataclass(frozen=True, kw_only=True)
class UniformParams:
    spread: Annotated[float, "[0, 1)"] = 0.5
    """From 1 - spread to 1 + spread, in [0, 1)."""


@DISTRIBUTIONS.register("uniform", params=UniformParams)
def uniform(u: np.ndarray, v: np.ndarray, params: UniformParams) -> np.ndarray:
    """Anything between two ends, alike."""
    return 1 + params.spread * (2 * u - 1)


@dataclass(frozen=True, kw_only=True)
class LognormalParams:
    sigma: Annotated[float, "[0, 10]"] = 0.5
    """Standard deviation of the logarithm, >= 0. 0: constant."""


@DISTRIBUTIONS.register("lognormal", params=LognormalParams)
def lognormal(u: np.ndarray, v: np.ndarray, params: LognormalParams) -> np.ndarray:
    """The exponential of a normal, with median exp(-sigma^2 / 2)."""
    normal = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)  # Box, Muller 1958
    return np.exp(params.sigma * normal - params.sigma**2 / 2)


@dataclass(frozen=True, kw_only=True)
class ExponentialParams:
    tail: Annotated[float, "[0, 1]"] = 1.0
    """Share of the mean that is exponential, in [0, 1]; the rest is constant. 0: constant."""


@DISTRIBUTIONS.register(
    "exponential", params=ExponentialParams, source="shifted exponential: Lee et al., IT 2018"
)
def exponential(u: np.ndarray, v: np.ndarray, params: ExponentialParams) -> np.ndarray:
    """A constant plus an exponential tail."""
    return 1 - params.tail - params.tail * np.log1p(-u)


Factors = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two independent uniforms -> factors."""


def read_distribution(text: Any, key: str) -> Factors:
    """`lognormal:sigma=0.5` -> its draws.

    Raises:
        ConfigError: an unknown distribution, key or value.
    """
    name, _, tail = str(text).partition(":")
    try:
        entry = DISTRIBUTIONS[name.strip()]
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    pieces = [part.partition("=") for part in tail.split(",") if part.strip()]
    options = {option.strip(): value.strip() for option, _, value in pieces}
    params, problems = config.read(entry.params, options)
    if problems:
        raise ConfigError(f"{key}: {entry.name}: {'; '.join(problems)}")
    return partial(entry.build, params=params)


@dataclass(frozen=True, kw_only=True)
class Stragglers:
    """Clients that are slower than the others."""

    share: Annotated[float, "[0, 1]"] = 0.1
    """Share of all clients, in [0, 1]."""
    factor: Annotated[float, ">= 1"] = 10.0
    """How many times slower they are, >= 1."""
    per: Literal["client", "round"] = "client"
    """client: the same ones for good, as many as the share says but at least one, if it is > 0;
    round: everyone with that probability, drawn anew in every round."""


@dataclass(frozen=True, kw_only=True)
class ComputeSpec:
    """What a recipe says of computing, before anybody has asked who the clients are."""

    seconds: float = 0.0
    varies: Factors | None = None
    speeds: Factors | Mapping[str, float] | None = None
    stragglers: Stragglers | None = None
    trace: Path | None = None


KEY = "network.compute"
"""Where computing is said in a recipe."""

KEYS = tuple(field.name for field in fields(ComputeSpec))


def read_compute(value: Any) -> ComputeSpec:
    """The seconds of computing of a recipe.

    Args:
        value: seconds for everyone in every round; or a mapping of
            seconds: the mean;
            varies: distribution of a factor drawn for each client in each round;
            speeds: distribution of the speeds, drawn once per client, or client -> speed (1 for
                the others): 2 takes half the seconds;
            stragglers: {share, factor, per}, see `Stragglers`;
            trace: a CSV with columns client, round, seconds. A line holds from its round until the
                client's next one, and nothing else applies to it.

    Raises:
        ConfigError: what is wrong, and the repair.
    """
    if not isinstance(value, Mapping):
        return ComputeSpec(seconds=seconds(value, KEY))
    for part in value:
        if part not in KEYS:
            raise ConfigError(f"unknown key {KEY}.{part}{did_you_mean(str(part), KEYS)}")
    readers: dict[str, Callable[[Any, str], Any]] = {
        "seconds": seconds,
        "varies": read_distribution,
        "speeds": _read_speeds,
        "stragglers": _read_stragglers,
        "trace": lambda path, key: user_path(str(path)),
    }
    return ComputeSpec(
        **{part: readers[part](said, f"{KEY}.{part}") for part, said in value.items()}
    )


def _read_speeds(value: Any, key: str) -> Factors | dict[str, float]:
    if not isinstance(value, Mapping):
        return read_distribution(value, key)
    speeds = {str(name): number(speed, f"{key}.{name}") for name, speed in value.items()}
    for name, speed in speeds.items():
        if not 0 < speed < np.inf:
            raise ConfigError(f"{key}.{name} must be > 0 and finite, got {speed}")
        positive(speed, f"{key}.{name}", speed)
    return speeds


def _read_stragglers(value: Any, key: str) -> Stragglers:
    if not isinstance(value, Mapping):
        example = "{share: 0.1, factor: 10}"
        raise ConfigError(f"{key} must be a mapping such as {example}, got {value!r}")
    stragglers, problems = config.read(Stragglers, value, f"{key}.")
    if stragglers is None:
        raise ConfigError("; ".join(problems))
    return stragglers


@dataclass(frozen=True, eq=False)
class Compute:
    """The clients' seconds of computing, round by round.

    Attributes:
        seed: of all draws.
        fixed: float64 [clients], what does not change from round to round.
        varies: a factor per client and round, or None.
        stragglers: those that are drawn anew in every round, or None.
        trace: (client, round) of the lines of a trace as rising codes, and their seconds.
    """

    seed: int
    fixed: np.ndarray
    varies: Factors | None
    stragglers: Stragglers | None
    trace: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of_spec(cls, spec: ComputeSpec, clients: Clients, seed: int) -> Compute:
        """What a recipe says, for these clients; reads the trace.

        Raises:
            ConfigError: an unknown client, a trace that cannot be used, or a factor of 0 seconds.
        """
        everyone = np.arange(clients.num_clients)
        fixed = np.full(clients.num_clients, spec.seconds)
        if isinstance(spec.speeds, Mapping):
            for name, speed in spec.speeds.items():
                fixed[clients.number(name, "network.compute.speeds")] /= speed
        elif spec.speeds is not None:
            fixed = fixed / spec.speeds(*_pair(seed, "speeds", everyone))
        for part in ("varies", "speeds", "stragglers"):
            if getattr(spec, part) is not None and spec.seconds == 0:
                raise ConfigError(
                    f"network.compute.{part} would change nothing, for nobody computes; set "
                    "network.compute.seconds, such as 50 ms"
                )
        stragglers = spec.stragglers
        if stragglers and stragglers.per == "client":
            count = round(stragglers.share * clients.num_clients)
            order = np.argsort(uniforms(seed, "stragglers", everyone))
            fixed[order[: max(count, stragglers.share > 0)]] *= stragglers.factor
            stragglers = None
        trace = _read_trace(spec.trace, clients) if spec.trace else {}
        codes = np.array(sorted(trace), dtype=np.int64)
        lines = np.array([trace[code] for code in sorted(trace)])
        return cls(seed, fixed, spec.varies, stragglers, (codes, lines))

    def seconds(self, round: int) -> np.ndarray:
        """float64 [clients]: seconds of each client's gradients in a round, >= 0."""
        return self.seconds_of(np.arange(len(self.fixed)), round)

    def seconds_of(self, clients: np.ndarray, rounds: int | np.ndarray) -> np.ndarray:
        """Seconds of pairs of a client and a round; the two broadcast."""
        found = np.broadcast_to(self.fixed[clients], np.broadcast(clients, rounds).shape)
        if self.varies is not None:
            found = found * self.varies(*_pair(self.seed, "compute", clients, rounds))
        if self.stragglers is not None:
            slow = uniforms(self.seed, "stragglers", clients, rounds) < self.stragglers.share
            found = np.where(slow, self.stragglers.factor, 1.0) * found
        codes, lines = self.trace
        if len(codes):
            latest = np.searchsorted(codes, _code(clients, rounds), side="right") - 1
            of_client = (latest >= 0) & (codes[latest] >> 32 == clients)
            found = np.where(of_client, lines[latest], found)
        return found

    @property
    def never_rests(self) -> bool:
        """Whether every client needs some time for every gradient."""
        codes, lines = self.trace
        traced = np.isin(_code(np.arange(len(self.fixed)), 0), codes)  # by the trace from the start
        return bool((traced | (self.fixed > 0)).all() and (lines > 0).all())


def _pair(seed: int, purpose: str, *keys: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two independent uniforms for each combination of keys."""
    return uniforms(seed, purpose, *keys, 0), uniforms(seed, purpose, *keys, 1)


def _code(client: Any, round: Any) -> Any:
    """One integer that rises with the client, then with the round."""
    return client << 32 | round


def _read_trace(path: Path, clients: Clients) -> dict[int, float]:
    """Code of (client, round) -> seconds."""
    trace: dict[int, float] = {}
    for where, row in rows(path, ("client", "round", "seconds")):
        at = number(row["round"], f"{where}: round")
        if not 0 <= at < 2**32 or at != int(at):
            raise ConfigError(f"{where}: round must be an integer >= 0, got {row['round']!r}")
        code = _code(clients.number(row["client"], where), int(at))
        if code in trace:
            raise ConfigError(f"{where}: client {row['client']} has that round already; keep one")
        trace[code] = seconds(row["seconds"], f"{where}: seconds")
    return trace
