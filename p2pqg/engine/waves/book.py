"""Keeping the books of clients that do not wait: who stepped how often, how old the news was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from p2pqg.engine.bookkeeping import Bookkeeper
from p2pqg.engine.spec import Measurement, Report
from p2pqg.engine.waves.journal import Journal

PERCENTILE = 95


class WaveBookkeeper(Bookkeeper):
    """Keeps the logbook of clients that do not wait."""

    def _traffic(self, reports: Sequence[Report]) -> list[Any]:
        """Journals, which every host keeps alike."""
        return reports[0].traffic

    def _pass(self, losses: np.ndarray, traffic: Sequence[Any], first: int, until: int) -> None:
        """Rounds up to `until` are over: their mean losses, steps, news and messages."""
        log = self.log
        for journal in traffic:
            assert isinstance(journal, Journal)
            if not log.round <= journal.first < journal.last <= until:
                continue  # it has been told, or is yet to come, or diverged halfway
            part = losses[journal.first - first : journal.last - first]
            made = journal.steps.sum(1)
            self.taken_part += int(made.sum())
            log.losses += ((part * journal.steps).sum(1)[made > 0] / made[made > 0]).tolist()
            log.ready = np.full(losses.shape[1], journal.seconds[-1])
            steps = journal.steps.sum(0)
            log.steps = steps if log.steps is None else log.steps + steps
            log.behind.append(journal.behind)
            log.age.append(journal.age)
            if log.ledger is not None:
                log.ledger.messages(
                    journal.senders, journal.receivers, journal.messages, journal.message_bytes
                )
            log.round = journal.last
        log.round = until

    def seen(self, seen: Sequence[Measurement]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What the other bookkeeper tells, and how old the news was since the last row."""
        row, clients = super().seen(seen)
        del row["mean_drift"]  # of which nobody takes note
        row["epoch"] = row["gradients"] / self.steps_per_epoch  # the clock may end amid a round
        for name, parts in (("", self.log.behind), ("_seconds", self.log.age)):
            values = np.concatenate(parts) if parts else np.empty(0)
            if len(values):
                row[f"staleness{name}_mean"] = float(values.mean())
                row[f"staleness{name}_95"] = float(np.percentile(values, PERCENTILE))
                row[f"staleness{name}_max"] = float(values.max())
        for client in clients:
            client["steps"] = 0 if self.log.steps is None else int(self.log.steps[client["client"]])
        return row, clients
