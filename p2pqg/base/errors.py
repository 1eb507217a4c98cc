"""Every exception a user can meet, as one tree, and the "did you mean" helper.

P2pqgError
├── ConfigError      a recipe, flag or keyword is wrong              exit code 2
│   ├── TopologyError    a graph or a mixing matrix is wrong         exit code 2
│   └── DataError        a data set is missing, broken or too small  exit code 2
└── RunError         a run that had started cannot go on             exit code 1
    ├── DivergedError    a client's loss is not finite               exit code 1
    ├── UserCodeError    a user's own loss, metric or callback fails exit code 1
    │   └── AlgorithmError   a round's own code is wrong             exit code 1
    ├── ClusterError     an actor or the Ray cluster is gone         exit code 1
    ├── StorageError     results cannot be written                   exit code 1
    └── StoppedError     the user stopped it (Ctrl-C, SIGTERM)     exit code 1

Notice(UserWarning)  what `p2pqg.Simulation` tells of settings that are allowed but should be known
"""

from __future__ import annotations

import difflib
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType

LONG = re.compile(r"\d{60,}")
"""A number that nobody reads to its end."""


class P2pqgError(Exception):
    """Base of all our errors; its text is one clear line (or one line per problem).

    Examples:
        >>> print(P2pqgError(f"seed must be < 2**32, got {10**400}"))
        seed must be < 2**32, got 100000... (401 digits)
    """

    exit_code = 1

    def __init__(self, *args: object) -> None:
        """Say what is wrong."""
        super().__init__(*(readable(a) if isinstance(a, str) else a for a in args))


def readable(text: str) -> str:
    """A text whose long numbers are begun only; to be asked for before it is cut itself."""
    return LONG.sub(lambda number: f"{number[0][:6]}... ({len(number[0])} digits)", text)


class ConfigError(P2pqgError):
    """The input is wrong; nothing was started. Each problem says key, value, rule and repair."""

    exit_code = 2

    @classmethod
    def of(cls, problems: list[str], where: str = "") -> ConfigError:
        """One error for several problems: a single one stays on one line."""
        place = f"{where}: " if where else ""
        if len(problems) == 1:
            return cls(f"{place}{problems[0]}")
        return cls("\n  ".join([f"{place}{len(problems)} problems", *problems]))

    @property
    def lines(self) -> list[str]:
        """The problems that it tells of, a line each.

        Examples:
            >>> ConfigError.of(["lr must be > 0", "unknown key x"]).lines
            ['lr must be > 0', 'unknown key x']
        """
        head, *problems = str(self).split("\n  ")
        return problems or [head]


class TopologyError(ConfigError):
    """A graph or mixing matrix that cannot be used."""


class DataError(ConfigError):
    """A data set that is missing, broken or too small."""


class Notice(UserWarning):
    """What is allowed but should be known, of data, say; `p2pqg.Simulation` warns, a line each.

    `warnings.simplefilter("ignore", Notice)` silences it.
    """


def notice(text: str) -> None:
    """Warn by `Notice`, of the line that called this package, through however many of its own."""
    frame: FrameType | None = sys._getframe()
    level, package = 1, __name__.partition(".")[0]
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, Notice, stacklevel=level)


class RunError(P2pqgError):
    """A run that had started cannot go on; what it recorded so far is on disk.

    Attributes:
        results: the run's directory, where it has one.
    """

    results: Path | None = None


class DivergedError(RunError):
    """A client's loss is not finite."""


class UserCodeError(RunError):
    """A user's own code is wrong; the text names its file and line."""


class AlgorithmError(UserCodeError):
    """An algorithm's own code is wrong; the text names its file and line."""


class ClusterError(RunError):
    """An actor or the Ray cluster is gone."""


class StorageError(RunError):
    """Results cannot be written."""


class StoppedError(RunError):
    """The user stopped the run."""


MOST_KNOWN = 100
"""Names that a message lists; there may be ten thousand clients."""


WORSE = 0.2
"""How much less alike than the nearest name another one may be, to be proposed, too."""


def did_you_mean(
    name: str,
    known: Iterable[str],
    *,
    show_known: bool = True,
    written: Mapping[str, str] | None = None,
) -> str:
    """The tail of an "unknown name" message: the nearest known names, or all of them.

    Args:
        name: what nobody knows.
        known: names.
        show_known: whether all of them are told where none is near.
        written: how known names are to be written here, where that is not as they are.

    >>> did_you_mean("rign", ["ring", "star"])
    '; did you mean ring?'
    >>> did_you_mean("Cifar-10", ["cifar10", "cifar100"])
    '; did you mean cifar10?'
    >>> did_you_mean("zzz", ["ring", "star"])
    '; known: ring, star'
    """
    known = sorted(known)
    close = [(written or {}).get(other, other) for other in _near(name[:MOST_KNOWN], known)]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if not (show_known and known):
        return ""
    more = len(known) - MOST_KNOWN
    return f"; known: {', '.join(known[:MOST_KNOWN])}" + (f" and {more:,} more" if more > 0 else "")


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Names that are like it, three at most, the nearest first.

    Those that differ in capitals and signs only are meant; next come those with the same numbers,
    for who writes resnet20 does not mean resnet32.
    """
    bare = {other: re.sub(r"[\W_]", "", other).lower() for other in known}
    mine = re.sub(r"[\W_]", "", name).lower()
    if same := [other for other in known if mine and bare[other] == mine]:
        return same[:3]
    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=9, cutoff=0.6)
    alike = {other: _alike(name.lower(), other) for other in near}
    near = [other for other in near if alike[other] >= max(alike.values()) - WORSE]
    if numbers := re.findall(r"\d+", name):
        near = [one for one in near if re.findall(r"\d+", one) == numbers] or near
    return [lower[other] for other in near[:3]]


def _alike(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, name).ratio()
