"""A user's callbacks: told of every recorded row, and of every evaluation, between two rounds.

    def on_round(sim, row): ...          a function is told of every recorded row
    class Watch:
        def on_round(self, sim, row): ...
        def on_evaluation(self, sim, row): ...

They may do to the simulation what a scenario may, fork it, and end it: `sim.stop("why")`. It does
not advance while they are told.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError, P2pqgError, UserCodeError
from p2pqg.base.registry import Entry, Registry
from p2pqg.base.signature import check_takes
from p2pqg.base.source import blamed
from p2pqg.base.user_code import find_in_file, names_a_file
from p2pqg.recipe.own import check_given

if TYPE_CHECKING:  # brings pandas, which a run can begin without
    from p2pqg.results.standing import Live

CALLBACKS = Registry("callback")
"""Empty: a user's callback is found in its file by a registry, and none is registered."""

Told = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Callback:
    """One of them.

    Attributes:
        name: what the recipe calls it.
        on_round, on_evaluation: what it wants to hear of; None: nothing.
    """

    name: str
    on_round: Told | None = None
    on_evaluation: Told | None = None

    def tell(self, sim: Live, row: Mapping[str, Any]) -> None:
        """A row is on record.

        Raises:
            UserCodeError: it failed; with its line.
        """
        told = [self.on_round]
        if any(row.get(key) is not None for key in sim.experiment.tested_columns):
            told.append(self.on_evaluation)
        for function in told:
            if function is not None:
                try:
                    function(sim, dict(row))
                except (P2pqgError, KeyboardInterrupt):
                    raise
                except Exception as error:
                    what = blamed(error, f"callback {self.name}")
                    raise UserCodeError(f"round {row['round']}: {what}") from error


def callbacks_of(names: Sequence[str], own: Mapping[int, Any]) -> tuple[Callback, ...]:
    """The callbacks of a recipe.

    Args:
        names: FILE.py:NAME of a function or class each, or of what is in `own`.
        own: place in the list -> the user's object.

    Raises:
        ConfigError: there is none of that name, or it wants to hear of nothing.
    """
    return tuple(_callback(name, own.get(place), place) for place, name in enumerate(names))


def _callback(name: str, own: Any, place: int) -> Callback:
    key = f"callbacks[{place}]"
    if own is None:
        check_given(name, "callbacks")
        if not names_a_file(name):
            raise ConfigError(f"{key} must be FILE.py:NAME, a function or an object, got {name!r}")
        own = find_in_file(CALLBACKS, name, _entry_of).build
    else:
        name = bare(name).rpartition(":")[2]  # a run calls it after the file that it will keep
    if inspect.isclass(own):
        try:
            own = own()
        except Exception as error:
            raise ConfigError(blamed(error, f"{key} {name}")) from error
    if inspect.isfunction(own) or inspect.ismethod(own):
        check_takes(own, ("sim", "row"), f"callback {name}")
        return Callback(name, on_round=own)
    on_round, on_evaluation = (getattr(own, n, None) for n in ("on_round", "on_evaluation"))
    if on_round is None and on_evaluation is None:
        raise ConfigError(
            f"{key} ({type(own).__name__}) must have on_round(sim, row) or on_evaluation(sim, row)"
        )
    for function in (on_round, on_evaluation):
        if function is not None:
            check_takes(function, ("sim", "row"), f"callback {name}")
    return Callback(name, on_round, on_evaluation)


def _entry_of(found: Any, name: str) -> Entry:
    return Entry(name, found)
