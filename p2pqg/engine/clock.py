"""Where the time of a round goes: spans of named work, as a table and as a Chrome trace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from p2pqg.base.steady import now

KINDS = (
    "compute",
    "update",
    "mixing",
    "exchange",
    "planning",
    "waiting",
    "evaluation",
    "recording",
)
"""compute: batches and gradients; update: the algorithm's own arithmetic; mixing: W times rows;
exchange: packing and unpacking rows for other actors; planning: working out when clients that do
not wait make their steps; waiting: an actor with nothing to do, the driver waiting for news;
evaluation: test sets; recording: distances, losses, files, and whoever is told of rows: sinks,
screens, callbacks."""


class Span(NamedTuple):
    """One piece of work, in seconds since the epoch, which all processes have in common."""

    kind: str
    start: float
    seconds: float


class Clock:
    """Notes spans while it is on; costs next to nothing while it is off.

    Spans do not nest: what is started inside another ends the outer one for that long, so that
    the seconds of all kinds add up to the time that passed.

    Args:
        on: whether it notes anything.
        settle: waits until a GPU has done what it was sent, which else would count as later work.
    """

    def __init__(self, on: bool, settle: Callable[[], None] | None = None) -> None:
        self.on, self.settle = on, settle
        self.spans: list[Span] = []
        self._kind = "waiting"
        self._since = now()

    def __call__(self, kind: str) -> AbstractContextManager[None]:
        """Context manager: what happens inside is of this kind."""
        return self._inside(kind) if self.on and kind != self._kind else _OFF

    @contextmanager
    def _inside(self, kind: str) -> Iterator[None]:
        outer = self._switch(kind)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, kind: str) -> str:
        if self.settle is not None:
            self.settle()
        at, before = now(), self._kind
        self.spans.append(Span(before, self._since, at - self._since))
        self._kind, self._since = kind, at
        return before

    def take(self) -> list[Span]:
        """The spans noted since the last call."""
        spans, self.spans = self.spans, []
        return spans


class _Off:
    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


_OFF = _Off()


def totals(spans: list[Span]) -> dict[str, float]:
    """Seconds of each kind."""
    seconds: dict[str, float] = defaultdict(float)
    for span in spans:
        seconds[span.kind] += span.seconds
    return {kind: seconds[kind] for kind in KINDS if kind in seconds}


def chrome_trace(spans: dict[str, list[Span]]) -> dict[str, Any]:
    """Spans of each process in the form that chrome://tracing and Perfetto read."""
    events: list[dict[str, Any]] = []
    for number, (process, its_spans) in enumerate(spans.items()):
        events.append({"ph": "M", "name": "process_name", "pid": number, "args": {"name": process}})
        events += [
            {
                "ph": "X",
                "name": span.kind,
                "pid": number,
                "tid": 0,
                "ts": 1e6 * span.start,
                "dur": 1e6 * span.seconds,
            }
            for span in its_spans
            if span.kind != "waiting"
        ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}
