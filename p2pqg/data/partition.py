"""Who holds which training samples: (labels, alpha) -> one array of indices per client.

Shares of a partition are disjoint. `qg-dirichlet`, the paper's, is in qg_dirichlet.py.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from p2pqg.base import config
from p2pqg.base.errors import ConfigError, DataError, did_you_mean
from p2pqg.base.ranges import whole_number
from p2pqg.base.registry import Entry, NoParams
from p2pqg.base.seeding import rng
from p2pqg.base.user_code import FileRegistry
from p2pqg.base.wording import counted
from p2pqg.data._arrays import Arrays
from p2pqg.data.skew import labels_of

LEAST_ALPHA = 1e-100
"""From here down all draws are those of the limit; numpy's own fail below 1e-290 or so."""

COLUMN = "column:"
OF_NO_CLASSES = ("iid", "quantity")
"""Partitions that do not look at labels."""


class Partitions(FileRegistry):
    """The partitions, those of a user's file, and `column:NAME`, one client for each of its values.

    Entries are (labels, num_clients, alpha, seed, params) -> index arrays; trait `uses_alpha`.
    """

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name; ConfigError if there is none."""
        if isinstance(name, str) and name.startswith(COLUMN):
            column = name.removeprefix(COLUMN)
            return Entry(name, _needs_arrays, traits={"uses_alpha": False, "column": column})
        return super().__getitem__(name)


PARTITIONS = Partitions("partition")


def partition(
    name: str,
    labels: Sequence[int] | np.ndarray,
    clients: int,
    alpha: float | None = None,
    seed: int = 0,
    **params: Any,
) -> list[np.ndarray]:
    """Divide samples over clients.

    Args:
        name: a key of PARTITIONS.
        labels: [samples], integers >= 0.
        clients: how many, from 1 to the number of samples.
        alpha: Dirichlet concentration, > 0. Small: clients see few classes (`quantity`: some are
            much bigger than others); large: nearly alike. `iid` and `shards` ignore it.
        seed: 0 .. 2**32 - 1.
        params: what the partition lets one set, e.g. shards_per_client.

    Returns:
        One int64 array of positions in `labels` per client; disjoint, none of them empty.

    Raises:
        ConfigError: unknown name or params, or a value out of its range.
        DataError: too few samples for that many clients, or labels of another kind.
    """
    entry = PARTITIONS.named(name)
    settings: Any = config.made(entry.params, params, where=name)
    if np.ma.is_masked(labels):
        raise DataError("labels are masked in places; fill them, or leave the samples out")
    labels = np.asarray(labels)
    own = entry.traits.get("own", False)  # may look at targets of any kind
    if not own and (labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels < 0).any()):
        raise DataError(
            "labels must be a one-dimensional array of integers >= 0, "
            f"got shape {labels.shape} of {labels.dtype}"
        )
    if not whole_number(clients, 1):
        raise ConfigError(f"clients must be a whole number >= 1, got {clients!r}")
    if not whole_number(seed, 0) or seed >= 2**32:
        raise ConfigError(f"seed must be a whole number, 0 .. 2**32 - 1, got {seed!r}")
    if clients > len(labels):
        raise DataError(
            f"{clients} clients cannot share {len(labels)} samples; use at most {len(labels)}"
        )
    if entry.traits["uses_alpha"]:
        # A concentration near the largest float would overflow inside the Dirichlet draw.
        if not (isinstance(alpha, numbers.Real) and 0 < float(alpha) < 1e100):
            raise ConfigError(f"alpha must be a number > 0 for partition {name}, got {alpha!r}")
        alpha = max(alpha, LEAST_ALPHA)
    labels = labels if own else labels.astype(np.int64)
    return entry.build(labels, int(clients), alpha, int(seed), settings)


def split(
    name: str,
    arrays: Arrays,
    clients: int,
    alpha: float | None = None,
    seed: int = 0,
    rows: np.ndarray | None = None,
    **params: Any,
) -> list[np.ndarray]:
    """Divide the training samples of a data set over clients.

    Args:
        name: as in `partition`; or `column:NAME`: those of one hospital, user, ... make a client,
            in the order of their names.
        arrays: the data set.
        clients: how many.
        alpha: see `partition`.
        seed: see `partition`.
        rows: the samples to divide, in order; None: all. Others are left out.
        params: what the partition lets one set.

    Returns:
        One int64 array of positions in the training samples per client.

    Raises:
        ConfigError: see `partition`.
        DataError: see `partition`; or there is no such column, or of other than so many values.
    """
    traits = PARTITIONS.named(name).traits
    if "column" in traits:
        return only(_by_column(arrays, traits["column"], clients), rows, f"partition {name}")
    shapeless = arrays.task == "own" and (arrays.train_y.ndim > 1 or arrays.train_y.dtype != int)
    if shapeless and not (traits.get("own") or name in OF_NO_CLASSES):
        raise ConfigError(
            f"partition {name} goes by classes, and targets are for a loss of yours (task: own); "
            f"take {' or '.join(OF_NO_CLASSES)}, column:NAME or a function of yours"
        )
    targets = arrays.train_y if traits.get("own") else labels_of(arrays.train_y)
    if traits.get("whole"):  # positions that were found before anybody held some out
        return only(partition(name, targets, clients, alpha, seed, **params), rows, "partition")
    if rows is None:
        return partition(name, targets, clients, alpha, seed, **params)
    return [rows[own] for own in partition(name, targets[rows], clients, alpha, seed, **params)]


def only(parts: Sequence[np.ndarray], rows: np.ndarray | None, what: str) -> list[np.ndarray]:
    """The positions of every client that are among `rows`; None: all.

    Raises:
        DataError: a client has none.
    """
    if rows is None:
        return list(parts)
    kept = [part[np.isin(part, rows)] for part in parts]
    for client, part in enumerate(kept):
        if not len(part):
            raise DataError(
                f"{what}: client {client} has no samples but those that are held out for "
                "validation; hold fewer out"
            )
    return kept


def columns_of(name: str) -> tuple[str, ...]:
    """The columns that a partition needs, for `load`."""
    return (name.removeprefix(COLUMN),) if name.startswith(COLUMN) else ()


def _by_column(arrays: Arrays, name: str, clients: int) -> list[np.ndarray]:
    if name not in arrays.columns:
        known = did_you_mean(name, arrays.columns) or "; it has none"
        raise DataError(f"partition {COLUMN}{name}: the data have no such column{known}")
    column = arrays.columns[name]
    if len(column.names) != clients:
        raise DataError(
            f"partition {COLUMN}{name}: the column has {counted(len(column.names), 'value')}, and "
            f"the network {counted(clients, 'client')}; use a network of {len(column.names)}"
        )
    return column.groups()


def _needs_arrays(*_: Any) -> list[np.ndarray]:
    raise ConfigError(f"partition {COLUMN}NAME needs a table with that column, not labels alone")


@dataclass(frozen=True, kw_only=True)
class MinSize:
    min_size: Annotated[int, ">= 1"] = 1
    """Samples that every client gets at least, >= 1."""


@PARTITIONS.register("iid", uses_alpha=False, source="a random permutation")
def iid(
    labels: np.ndarray, num_clients: int, alpha: None, seed: int, params: NoParams
) -> list[np.ndarray]:
    """Shuffle and deal out; sizes differ by at most one."""
    return np.array_split(rng(seed, "partition").permutation(len(labels)), num_clients)


DIRICHLET_TRIES = 1000


@PARTITIONS.register(
    "dirichlet", params=MinSize, uses_alpha=True, source="Yurochkin et al., ICML 2019"
)
def dirichlet(
    labels: np.ndarray, num_clients: int, alpha: float, seed: int, params: MinSize
) -> list[np.ndarray]:
    """Per class, draw shares over all clients from Dir(alpha); sizes differ, often by a lot.

    Drawn anew while a client has fewer than `min_size` samples, DIRICHLET_TRIES times at most.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    for attempt in range(DIRICHLET_TRIES):
        random = rng(seed, "partition", attempt)
        shares = random.dirichlet(np.full(num_clients, alpha), size=len(classes))
        cuts = (np.cumsum(shares, axis=1) * sizes[:, None]).astype(np.int64)[:, :-1]
        counts = np.diff(cuts, axis=1, prepend=0, append=sizes[:, None])  # [classes, clients]
        if counts.sum(axis=0).min() >= params.min_size:
            break
    else:
        raise DataError(
            f"partition dirichlet: in {DIRICHLET_TRIES} draws, always a client with fewer than "
            f"{params.min_size} samples ({num_clients} clients, alpha {alpha}); use fewer clients, "
            "a larger alpha, or partition qg-dirichlet"
        )
    pieces = [
        np.split(random.permutation(np.flatnonzero(labels == label)), cut)
        for label, cut in zip(classes, cuts, strict=True)
    ]
    return [np.concatenate(own) for own in zip(*pieces, strict=True)]


@dataclass(frozen=True, kw_only=True)
class ShardParams:
    shards_per_client: Annotated[int, ">= 1"] = 2
    """Shards that every client gets, >= 1. 1: mostly a single class; many: nearly alike."""


@PARTITIONS.register(
    "shards", params=ShardParams, uses_alpha=False, source="McMahan et al., AISTATS 2017"
)
def shards(
    labels: np.ndarray, num_clients: int, alpha: None, seed: int, params: ShardParams
) -> list[np.ndarray]:
    """Sort by label, cut into equal shards, and give each client some of them at random."""
    num_shards = num_clients * params.shards_per_client
    if num_shards > len(labels):
        raise DataError(
            f"partition shards: {num_shards} shards need as many samples, there are {len(labels)}; "
            "use fewer clients or shards_per_client"
        )
    pieces = np.array_split(np.argsort(labels, kind="stable"), num_shards)
    hands = rng(seed, "partition").permutation(num_shards).reshape(num_clients, -1)
    return [np.concatenate([pieces[shard] for shard in hand]) for hand in hands]


@PARTITIONS.register(
    "per-client-dirichlet", uses_alpha=True, source="Hsu, Qi, Brown, arXiv:1909.06335"
)
def per_client_dirichlet(
    labels: np.ndarray, num_clients: int, alpha: float, seed: int, params: NoParams
) -> list[np.ndarray]:
    """Per client, draw a mix of classes from Dir(alpha x class shares); all sizes are equal.

    Client after client samples its mix without replacement. A class that is used up is drawn no
    more, so the last clients are left with what there is. The remainder of samples / clients is
    dropped. The concentrations sum to alpha: at equal alpha more skewed than `dirichlet`.
    """
    random = rng(seed, "partition")
    classes, left = np.unique(labels, return_counts=True)
    pools = [random.permutation(np.flatnonzero(labels == label)) for label in classes]
    concentration = alpha * left / len(labels)
    size = len(labels) // num_clients
    parts = []
    for _ in range(num_clients):
        mix = random.dirichlet(concentration)
        before = left.copy()
        while missing := size - (before - left).sum():
            is_left = left > 0
            open_mix = mix * is_left
            if not open_mix.sum() > 0:
                # All that this client wanted is used up, and its other shares underflowed to 0.
                # Given that some classes are gone, the shares of the rest are Dirichlet again.
                open_mix[is_left] = mix[is_left] = random.dirichlet(concentration[is_left])
            # Draws beyond the end of a class are repeated among the classes that are left.
            left = left - np.minimum(random.multinomial(missing, open_mix / open_mix.sum()), left)
        taken = zip(pools, left, before, strict=True)
        parts.append(np.concatenate([pool[start:stop] for pool, start, stop in taken]))
    return parts


@PARTITIONS.register(
    "quantity", params=MinSize, uses_alpha=True, source="size skew as in Li et al., ICDE 2022"
)
def quantity(
    labels: np.ndarray, num_clients: int, alpha: float, seed: int, params: MinSize
) -> list[np.ndarray]:
    """Sizes from Dir(alpha), labels iid: `min_size` samples each, the rest by the drawn shares."""
    free = len(labels) - num_clients * params.min_size
    if free < 0:
        raise DataError(
            f"partition quantity: {num_clients} clients with min_size {params.min_size} need "
            f"{num_clients * params.min_size} samples, there are {len(labels)}"
        )
    random = rng(seed, "partition")
    shares = random.dirichlet(np.full(num_clients, alpha))
    cuts = (np.cumsum(shares) * free).astype(np.int64)[:-1]
    cuts += params.min_size * np.arange(1, num_clients)
    return np.split(random.permutation(len(labels)), cuts)
