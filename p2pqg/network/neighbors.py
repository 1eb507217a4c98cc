"""Who talks to whom, in any round of a network."""

from __future__ import annotations

from collections.abc import Iterator

from p2pqg.topology import Mixing, Schedule
from p2pqg.topology.schedule import ROUNDS_SEEN


def rounds_of(schedule: Schedule) -> Iterator[Mixing]:
    """W of all rounds that differ; of the first 16 where there is no period."""
    return (schedule.mixing(round) for round in schedule.rounds(ROUNDS_SEEN))


def has_link(schedule: Schedule, sender: int, receiver: int) -> bool:
    """Whether there is a link in some round; a network without a period may have any."""
    if schedule.period is None:
        return True
    return any(
        ((W.senders == sender) & (W.receivers == receiver)).any() for W in rounds_of(schedule)
    )


def senders_to(schedule: Schedule, client: int) -> list[int]:
    """Whom a client hears of in any round."""
    found = (W.senders[W.receivers == client].tolist() for W in rounds_of(schedule))
    return sorted({sender for some in found for sender in some} - {client})


def receivers_of(schedule: Schedule, client: int) -> list[int]:
    """Who hears of a client in any round."""
    found = (W.receivers[W.senders == client].tolist() for W in rounds_of(schedule))
    return sorted({receiver for some in found for receiver in some} - {client})
