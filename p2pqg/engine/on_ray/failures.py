"""Why actors did not return what was asked, as an error of ours.

When one dies the others stumble over what it no longer sends, so the first error that reaches us
need not be the cause. And Ray itself has many ways to say that it has ended, or says it to nobody.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from p2pqg.base.errors import ClusterError, P2pqgError, RunError
from p2pqg.engine.on_ray.actors import MissedStepError
from p2pqg.engine.on_ray.private_ray import id_of
from p2pqg.engine.on_ray.pulse import what_ended

PATIENCE = 2
"""Seconds within which whoever is idle answers."""

SECONDS_BETWEEN_LOOKS = 2.0
"""How often it is seen whether Ray is there, while its actors compute."""


@contextmanager
def told_if_ray_ends(node: Any) -> Iterator[None]:
    """Raises ClusterError if the Ray of a node has ended, or does while inside."""
    _check_ray_is_there(node)
    try:
        yield
    except Exception:
        _check_ray_is_there(node)
        raise


def _check_ray_is_there(node: Any) -> None:
    if gone := what_ended(node):
        raise ClusterError(f"Ray is gone: {gone}") from None


def wait_for(references: list[ray.ObjectRef[Any]], node: Any) -> None:
    """Wait until an actor has what it was sent; if it died, who asks next for results is told.

    Raises:
        ClusterError: Ray has ended.
    """
    while not ray.wait(references, timeout=SECONDS_BETWEEN_LOOKS)[0]:
        _check_ray_is_there(node)


def received(
    references: list[ray.ObjectRef[Any]],
    actors: Sequence[Any],
    bounds: Sequence[int],
    node: Any,
    waiting: Callable[[float], None],
) -> list[Any]:
    """What actors returned.

    Args:
        references: to what they were asked for.
        actors: all of them.
        bounds: clients bounds[i] .. bounds[i + 1] - 1 live in actor i.
        node: of the Ray that has them.
        waiting: told now and then for how many seconds nothing has come.

    Raises:
        ClusterError: one of them died, or Ray has ended.
        RunError: one of them cannot start, nor could another in its place.
        P2pqgError: what one of them raised; where several did, the cause of the others.
    """
    try:
        return _come_in(references, node, waiting)
    except ray.exceptions.RayTaskError as error:
        if death := _obituary(actors, bounds):
            raise ClusterError(death) from None
        error = _first_to_fail(references) or error
        if isinstance(error.cause, P2pqgError):
            raise error.cause from None
        if isinstance(error.cause, Exception):  # its traceback, pages of it, is for --debug
            raise error.cause from error
        raise error.as_instanceof_cause() from None
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        told = _obituary(actors, bounds) or _out_of_reach(error, actors, bounds)
        raise ClusterError(told or f"Ray failed: {first}") from None


def _come_in(
    references: list[ray.ObjectRef[Any]], node: Any, waiting: Callable[[float], None]
) -> list[Any]:
    """The values; until all are here it is looked every few seconds whether Ray is there.

    A `ray.get` that times out takes back what it asked other machines for: what needs longer than
    that to come over would begin anew for ever. `ray.wait` lets it come.
    """
    found: dict[Any, Any] = {}
    left, heard = references, time.monotonic()
    while left:
        here, left = ray.wait(left, num_returns=len(left), timeout=SECONDS_BETWEEN_LOOKS)
        found |= zip(here, ray.get(here), strict=True)
        if left:
            _check_ray_is_there(node)
            heard = time.monotonic() if here else heard
            waiting(time.monotonic() - heard)
    return [found[reference] for reference in references]


def _obituary(actors: Sequence[Any], bounds: Sequence[int]) -> str | None:
    """Which actor died, as far as Ray can tell; None: none.

    Raises:
        RunError: it did not die but failed to start, for a reason that stays.
    """
    for index, actor in enumerate(actors):
        try:
            ray.get(actor.__ray_ready__.remote(), timeout=PATIENCE)
        except ray.exceptions.GetTimeoutError:
            continue  # it is busy, and so alive
        except ray.exceptions.RayError as gone:
            if isinstance(gone, ray.exceptions.OutOfMemoryError):  # which has a page to say
                used = re.search(r" was (\S+ used / \S+ limit)", str(gone))
                more = f" ({used[1]})" if used else ""
                return f"{_named(index, bounds)} died: its machine ran low on memory{more}"
            told = str(gone).strip().splitlines() or ["no reason"]
            reason = told[-1].partition(" Worker exit detail")[0].strip()
            who = _named(index, bounds)
            if getattr(gone, "actor_init_failed", False) and "ray.exceptions" not in reason:
                # Not its process died: what it ran into would meet the next one, too.
                raise RunError(f"{who} cannot start: {reason}") from None
            return f"{who} died: {reason}"
    return None


def _out_of_reach(error: Exception, actors: Sequence[Any], bounds: Sequence[int]) -> str | None:
    """Which actor does not answer, long before Ray holds it for dead; None: another error."""
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        for index, actor in enumerate(actors):
            if id_of(actor) == error.actor_id:
                return f"{_named(index, bounds)} cannot be reached; its machine may be gone"
    return None


def _named(index: int, bounds: Sequence[int]) -> str:
    return f"actor {index} (clients {bounds[index]} to {bounds[index + 1] - 1})"


def _first_to_fail(references: list[ray.ObjectRef[Any]]) -> ray.exceptions.RayTaskError | None:
    """The error that is not the consequence of another one's, if any can be told by now."""
    there, _ = ray.wait(
        references, num_returns=len(references), timeout=PATIENCE, fetch_local=False
    )
    for reference in there:
        try:
            ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, MissedStepError):
                return error
        except ray.exceptions.RayError:
            continue
    return None
