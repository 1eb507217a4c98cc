"""Lies: which clients lie, how (`p2pqg.algorithms.attacks`), and from when to when.

The key `attacks:` of a recipe is a list of items, or one:

    attacks:
      - {who: [3, 5], how: sign-flip}                        # in every round
      - {who: [7], how: {name: alie, z: 2}, when: [100, 299]}    # both included; 100: from then on
      - {who: {share: 0.1}, how: noise}                      # drawn by the seed; or {count: 3}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.algorithms.attacks import Lie, find_attack
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.seeding import rng


@dataclass(frozen=True)
class Attack:
    """Some clients lie in some rounds.

    Attributes:
        who: their numbers, rising.
        lie: what they send.
        first, last: rounds, both included; None: to the end.
    """

    who: tuple[int, ...]
    lie: Lie
    first: int = 0
    last: int | None = None

    def at(self, round: int) -> bool:
        """Whether they lie in that round."""
        return self.first <= round and (self.last is None or round <= self.last)

    def overlaps(self, other: Attack) -> bool:
        """Whether there is a round in which both go on."""
        ends = [attack.last for attack in (self, other) if attack.last is not None]
        return max(self.first, other.first) <= min(ends, default=max(self.first, other.first))

    def to_data(self) -> dict[str, Any]:
        """What `of_data` makes this of; ConfigError if it is a function, which cannot be saved."""
        return {
            "who": list(self.who),
            "how": self.lie.to_data(),
            "first": self.first,
            "last": self.last,
        }

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Attack:
        return cls(tuple(data["who"]), find_attack(data["how"]), data["first"], data["last"])


@dataclass(frozen=True)
class Said:
    """An item of `attacks:` as it was said: who is not yet known by number.

    Attributes:
        who: names or numbers; or {"share": ...}, {"count": ...}.
        where: in the recipe, for messages.
    """

    who: Any
    lie: Lie
    first: int
    last: int | None
    where: str


def read_attacks(given: Any) -> list[Said]:
    """The items of `attacks:`.

    Raises:
        ConfigError: with a line for each that is wrong.
    """
    items = [given] if isinstance(given, Mapping) else given
    if not isinstance(items, Sequence) or isinstance(items, str):
        example = "{who: [3], how: sign-flip}"
        raise ConfigError(f"attacks must be a list of items such as {example}, got {given!r:.60}")
    found, problems = [], []
    for i, item in enumerate(items):
        try:
            found.append(_said(item, f"attacks[{i}]"))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError.of(problems)
    return found


def _said(item: Any, where: str) -> Said:
    example = "{who: [3], how: sign-flip}"
    if not isinstance(item, Mapping):
        raise ConfigError(f"{where} must be like {example}, got {item!r:.60}")
    for key in item:
        if key not in ("who", "how", "when"):
            known = did_you_mean(str(key), ["who", "how", "when"])
            raise ConfigError(f"unknown key {where}.{key}{known}")
    if "who" not in item or "how" not in item:
        raise ConfigError(f"{where} must say who lies and how, as in {example}")
    try:
        lie = find_attack(item["how"])
    except ConfigError as error:
        raise ConfigError(f"{where}.how: {error}") from None
    first, last = _rounds(item.get("when", 0), f"{where}.when")
    return Said(item["who"], lie, first, last, where)


def _rounds(value: Any, key: str) -> tuple[int, int | None]:
    ends = [value, None] if not isinstance(value, list | tuple) else list(value)
    fine = len(ends) == 2 and all(
        isinstance(end, int) and not isinstance(end, bool) and end >= 0
        for end in ends[: 1 if ends[1] is None else 2]
    )
    if not fine or (ends[1] is not None and ends[0] > ends[1]):
        raise ConfigError(
            f"{key} must be a round >= 0, or [first, last], both included, got {value!r}"
        )
    return ends[0], ends[1]


def drawn(who: Mapping[str, Any], num_clients: int, seed: int, key: str) -> tuple[int, ...]:
    """Clients by their number or their share; one draw of clients in an order serves all.

    Raises:
        ConfigError: it says neither or both, or nobody or everybody would lie.
    """
    if len(who) != 1 or next(iter(who)) not in ("share", "count"):
        raise ConfigError(f"{key} must be clients, {{share: 0.1}} or {{count: 3}}, got {who!r}")
    ((what, number),) = who.items()
    wrong = isinstance(number, bool) or not isinstance(number, int | float)
    if what == "share" and (wrong or not 0 < number < 1):
        raise ConfigError(f"{key}.share must be in (0, 1), got {number!r}")
    count = max(1, round(number * num_clients)) if what == "share" else number
    if wrong or not 1 <= count < num_clients or count != int(count):
        raise ConfigError(f"{key}.count must be in 1 .. {num_clients - 1}, got {number!r}")
    order = rng(seed, "attacks").permutation(num_clients)
    return tuple(sorted(order[: int(count)].tolist()))


def liars(attacks: Sequence[Attack], round: int, num_clients: int) -> np.ndarray | None:
    """Who lies in a round, bool [clients]; None: nobody."""
    now = [attack for attack in attacks if attack.at(round)]
    if not now:
        return None
    mask = np.zeros(num_clients, dtype=bool)
    for attack in now:
        mask[list(attack.who)] = True
    return mask
