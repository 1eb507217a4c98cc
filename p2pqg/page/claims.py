"""What a sweep's recipe claims, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import user_path
from p2pqg.results.claims import ERROR, Verdict, judge_folder, over_seeds


@dataclass(frozen=True)
class Judged:
    """The claims of one folder.

    Attributes:
        path: the folder.
        verdicts: of its claims; () where they cannot be judged yet.
        problem: why they cannot, a line; or "".
    """

    path: Path
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""

    @property
    def note(self) -> str:
        """How it was judged."""
        family = sum(len(one.findings) for one in self.verdicts)
        holm = f"; Holm over {family} comparisons" if family > 1 else ""
        over = over_seeds(self.verdicts)
        return (
            f"Means over {over}; {1 - ERROR:.0%} intervals by Student's t{holm}. "
            "The rules were in the recipe."
        )


def judged(paths: Iterable[str | Path]) -> list[Judged]:
    """What became of the claims of every folder that is a sweep with some."""
    found = []
    for path in map(user_path, paths):
        try:
            verdicts = tuple(judge_folder(path))
        except ConfigError as error:
            found.append(Judged(path, problem=error.lines[0]))
            continue
        if verdicts:
            found.append(Judged(path, verdicts))
    return found
