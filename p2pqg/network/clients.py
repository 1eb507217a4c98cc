"""Clients and links as users name them -> their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.topology import Schedule
from p2pqg.topology.labels import key_of, looks_like_a_number


@dataclass(frozen=True)
class Clients:
    """Who may be named.

    A number may be an integer of any kind, a text, or a float that is whole: see
    `p2pqg.topology.labels`.

    Attributes:
        num_clients: n.
        labels: the clients' own names, [clients], or empty. Where one of them looks like a number
            (of a file that counts from 1, say) names are meant, otherwise 0 .. n-1 will do as well.
    """

    num_clients: int
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, network: Schedule) -> Clients:
        """The clients of a network."""
        return cls(network.num_clients, network.labels)

    def number(self, name: Any, key: str) -> int:
        """The client called `name`.

        Args:
            name: a label or a number.
            key: what it was given for, for the message.

        Raises:
            ConfigError: nobody is called so.
        """
        number = self.find(name)
        if number is None:
            told = f"{name!r:.60}" if isinstance(name, str) else str(name)
            raise ConfigError(f"{key}: no client is called {told}{self._known(str(name))}")
        return number

    def find(self, name: Any) -> int | None:
        """The client called `name`; None: nobody is."""
        return None if isinstance(name, bool) else self._numbers.get(key_of(name))

    def link(self, text: Any, key: str) -> list[tuple[int, int]]:
        """The directed links (sender, receiver) of "a-b", both ways, or "a->b", one way.

        Labels may have hyphens of their own, as long as only one reading is possible.

        Raises:
            ConfigError: it is no link of two clients, or may be several.
        """
        text = str(text)
        arrow = "->" if "->" in text else "-"
        pieces = text.split(arrow)
        ends = [(arrow.join(pieces[:at]), arrow.join(pieces[at:])) for at in range(1, len(pieces))]
        read = {(self.find(a), self.find(b)) for a, b in ends}
        found = {(a, b) for a, b in read if a is not None and b is not None}
        if len(found) > 1:
            raise ConfigError(f"{key}: {text!r} can be read as several links; use pairs of clients")
        if not found:
            for end in ends[0] if len(ends) == 1 else ():
                self.number(end.strip(), f"{key}: link {text!r:.60}")
            raise ConfigError(
                f"{key}: {text!r:.60} must name a link such as 0-1 (both ways) or 0->1"
            )
        ((a, b),) = found
        if a == b:
            raise ConfigError(f"{key}: {text!r} links a client to itself; leave it out")
        return [(a, b)] if arrow == "->" else [(a, b), (b, a)]

    def arrow(self, sender: int, receiver: int) -> str:
        """A link one way, as `link` reads it."""
        names = self.labels or range(self.num_clients)
        return f"{names[sender]}->{names[receiver]}"

    @cached_property
    def _numbers(self) -> dict[str, int]:
        own = {key_of(label): i for i, label in enumerate(self.labels)}
        if any(map(looks_like_a_number, self.labels)):
            return own
        return {str(i): i for i in range(self.num_clients)} | own

    def _known(self, name: str) -> str:
        if self.labels:
            return did_you_mean(name[:60], self.labels)
        return f"; clients are numbered 0 to {self.num_clients - 1}"
