"""A user's own partition: index arrays, or a function `(labels, clients, rng) -> list`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.base.draws import keyed
from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.base.signature import check_takes, params_of
from p2pqg.base.source import blamed
from p2pqg.data._arrays import Arrays
from p2pqg.data._files import located
from p2pqg.data._stored import fetch_parts
from p2pqg.data.partition import PARTITIONS, only

GIVEN, ALPHA = ("labels", "clients", "rng"), "alpha"
"""What a function is told, in this order and under any names; and what it may ask for."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    path: str = ""
    """The file that the run kept."""
    content: str = ""
    """Digest of what was given; another partition is refused."""


def kept(
    labels: np.ndarray, num_clients: int, alpha: None, seed: int, params: Params
) -> list[np.ndarray]:
    """Your own index arrays, as a run kept them that was given them as objects."""
    path = located(params.path, None, "given")
    return checked_parts(fetch_parts(path, params.content), len(labels), num_clients, str(path))


def parts_of(
    value: Any, arrays: Arrays, clients: int, seed: int = 0, rows: np.ndarray | None = None
) -> list[np.ndarray]:
    """Index arrays from what a user gives as `partition=`.

    Args:
        value: a list of index arrays, one for each client; or a function
            `(labels, clients, rng) -> list` of such.
        arrays: the data set; the function gets its training labels, or targets.
        clients: how many.
        seed: the run's; the function's generator is rng(seed, "partition").
        rows: the samples to divide, in order; None: all. A function sees no others; of a list,
            others are left out.

    Raises:
        DataError: not one array for each client, indices outside, twice or none; a list where the
            test samples were drawn, so that its indices are others; or the function failed.
    """
    if not callable(value):
        repair = "take a function (labels, clients, rng) as partition"
        check_numbered_as_given(arrays, "partition", repair)
        return only(checked_parts(value, len(arrays.train_y), clients, "partition"), rows, "it")
    what = f"partition {getattr(value, '__name__', 'function')}"
    check_takes(value, GIVEN, what, DataError)
    targets = arrays.train_y if rows is None else arrays.train_y[rows]
    made = _called(value, (targets, clients, seed), {}, what)
    parts = checked_parts(made, len(targets), clients, what)
    return parts if rows is None else [rows[part] for part in parts]


def check_numbered_as_given(arrays: Arrays, what: str, repair: str) -> None:
    """DataError where training samples have other numbers than they came with."""
    if arrays.drawn:
        raise DataError(
            f"{what} names training samples by number, but {arrays.drawn:,} of them are drawn for "
            f"a test, which numbers the others anew; give a test part, or {repair}"
        )


def checked_parts(value: Any, num_samples: int, clients: int, what: str) -> list[np.ndarray]:
    """Index arrays that can be used: one for each client, none empty, no index twice in one.

    A sample may belong to several clients.

    Raises:
        DataError: they cannot.
    """
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str):
        raise DataError(
            f"{what} must be a list of index arrays, one for each client, got "
            f"{type(value).__name__}"
        )
    if len(value) != clients:
        raise DataError(
            f"{what} has parts for {len(value)} clients, the network has {clients}; make them agree"
        )
    return [_indices(own, num_samples, f"{what}: client {i}") for i, own in enumerate(value)]


def _indices(value: Any, num_samples: int, what: str) -> np.ndarray:
    if np.ma.is_masked(value):
        raise DataError(f"{what} has indices that are masked; give those that are meant")
    own = np.asarray(value.tolist() if hasattr(value, "detach") else value)
    if own.dtype == bool and own.shape == (num_samples,):
        own = np.flatnonzero(own)
    if own.ndim == 1 and not len(own):
        raise DataError(f"{what} has no samples; give it some, or use fewer clients")
    if own.ndim != 1 or own.dtype.kind not in "iu":
        raise DataError(
            f"{what} must have a row of whole numbers, got {own.dtype} of shape {own.shape}"
        )
    if own.min() < 0 or own.max() >= num_samples:
        raise DataError(
            f"{what}: indices must be 0 .. {num_samples - 1}, found {own.min()} .. {own.max()}"
        )
    if len(np.unique(own)) < len(own):
        values, counts = np.unique(own, return_counts=True)
        raise DataError(f"{what} has sample {values[counts > 1][0]} twice; leave it out once")
    return own.astype(np.int64)


def _called(
    function: Callable[..., Any], given: tuple[Any, ...], settings: dict[str, Any], what: str
) -> Any:
    """What it returns for (labels, clients, seed)."""
    targets, clients, seed = given
    try:
        with keyed(int(rng(seed, "partition of their own").integers(2**63))):
            return function(targets.copy(), clients, rng(seed, "partition"), **settings)
    except ConfigError:
        raise
    except Exception as error:  # of the user's own code
        raise DataError(blamed(error, what)) from error


def _from_file(function: Callable[..., Any], name: str) -> Entry:
    """A partition made of a function of a user's file."""
    what = f"partition {name}"
    asked = list(inspect.signature(function).parameters)
    if len(asked) < len(GIVEN):
        check_takes(function, GIVEN, what)
    with_alpha = ALPHA in asked[len(GIVEN) :]

    @functools.wraps(function)
    def build(
        labels: np.ndarray, num_clients: int, alpha: float | None, seed: int, params: Any
    ) -> list[np.ndarray]:
        ours = labels, num_clients, seed
        settings = vars(params) | ({ALPHA: alpha} if with_alpha else {})
        made = _called(function, ours, settings, what)
        return checked_parts(made, len(labels), num_clients, what)

    params = params_of(function, [*asked[: len(GIVEN)], ALPHA])
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return Entry(name, build, params, summary, "yours", {"uses_alpha": with_alpha, "own": True})


PARTITIONS.wrap = _from_file
PARTITIONS.unlisted["given"] = Entry(
    "given",
    kept,
    Params,
    source="yours: kept by a run",
    traits={"uses_alpha": False, "own": True, "whole": True},
)
