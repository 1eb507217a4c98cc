"""Whether steps are captured and replayed, as a host is told; it takes no torch to say so."""

from __future__ import annotations

from typing import NamedTuple


class Capture(NamedTuple):
    """Whether steps are captured, and under what circumstances; see `models.stacked.choosing`.

    Attributes:
        mode: "auto": on GPUs, where it is right and faster; "off"; "rehearse": everywhere, but
            without graphs.
        share: of a card that this process may take.
        session: of a user's own model or loss, whose code may change: this run, for which alone
            what was found out holds; "": they are p2pqg's.
    """

    mode: str = "off"
    share: float = 1.0
    session: str = ""

    def concerns(self, device: str) -> bool:
        """Whether there is something to choose on that device."""
        return self.mode == "rehearse" or (self.mode == "auto" and device.startswith("cuda"))


OFF = Capture()
