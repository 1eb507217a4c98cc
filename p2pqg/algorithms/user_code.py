"""A user's own algorithm: registered here and now, or one of a file, `my_file.py:my_method`."""

from __future__ import annotations

import dataclasses

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import Entry
from p2pqg.base.user_code import find_in_file, names_a_file


def find_algorithm(name: str | Entry) -> Entry:
    """The algorithm that a recipe, flag or keyword names.

    Args:
        name: a registered name; or FILE.py:NAME, where NAME is a decorated function of that file
            or the name it is registered under.

    Raises:
        ConfigError: no such name or file, or it is not an algorithm; the file's own mistakes come
            with their line.
    """
    if isinstance(name, Entry):
        return name
    if not isinstance(name, str):
        what = "a function" if callable(name) else repr(name)[:60]
        raise ConfigError(
            f"algorithm must be a name, got {what}; a function is called as its decorator says, "
            '@p2pqg.algorithm("its-name", ...)'
        )
    # A name with a colon is meant to be a file's, also where its ending is wrong.
    of_file = names_a_file(name) or ":" in name
    return _usable(find_in_file(ALGORITHMS, name) if of_file else ALGORITHMS.named(name))


def _usable(entry: Entry) -> Entry:
    """The entry, if its params can be filled in."""
    fields = getattr(entry.params, "__dataclass_fields__", {})
    if "lr" not in fields or not dataclasses.is_dataclass(entry.params):
        raise ConfigError(
            f"algorithm {entry.name!r}: params must be a data class with a field lr (the step "
            f"size of the round), got {entry.params.__name__}"
        )
    return entry
