"""Clients and links as users name them -> their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from p2pqg.base.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Clients:
    """Who may be named.

    Attributes:
        num_clients: n.
        labels: the clients' own names, [clients], or empty. Where these are numbers themselves (of
            a file that counts from 1, say) they are meant, otherwise 0 .. n-1 will do as well.
    """

    num_clients: int
    labels: tuple[str, ...] = ()

    def number(self, name: Any, key: str) -> int:
        """The client called `name`.

        Args:
            name: a label or a number, as a text or an integer.
            key: what it was given for, for the message.

        Raises:
            ConfigError: nobody is called so.
        """
        number = self._numbers.get(str(name).strip())
        if number is None:
            raise ConfigError(f"{key}: no client is called {name!r}{self._known(str(name))}")
        return number

    def link(self, text: Any, key: str) -> list[tuple[int, int]]:
        """The directed links (sender, receiver) of "a-b", both ways, or "a->b", one way.

        Labels may have hyphens of their own, as long as only one reading is possible.

        Raises:
            ConfigError: it is no link of two clients, or may be several.
        """
        text = str(text)
        arrow = "->" if "->" in text else "-"
        pieces = text.split(arrow)
        ends = [
            (arrow.join(pieces[:at]).strip(), arrow.join(pieces[at:]).strip())
            for at in range(1, len(pieces))
        ]
        found = {(self._numbers.get(a), self._numbers.get(b)) for a, b in ends}
        found = {(a, b) for a, b in found if a is not None and b is not None}
        if len(found) > 1:
            raise ConfigError(f"{key}: {text!r} can be read as several links; use numbers")
        if not found:
            for end in ends[0] if len(ends) == 1 else ():
                self.number(end, f"{key}: link {text!r}")
            raise ConfigError(f"{key}: {text!r} must name a link such as 0-1 (both ways) or 0->1")
        ((a, b),) = found
        if a == b:
            raise ConfigError(f"{key}: {text!r} links a client to itself; leave it out")
        return [(a, b)] if arrow == "->" else [(a, b), (b, a)]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        own = {label: i for i, label in enumerate(self.labels)}
        if own and all(label.isdecimal() for label in own):
            return own
        return {str(i): i for i in range(self.num_clients)} | own

    def _known(self, name: str) -> str:
        if self.labels:
            return did_you_mean(name, self.labels)
        return f"; clients are numbered 0 to {self.num_clients - 1}"
