"""Means of the values in the middle in one compiled call: what the extra `fast` (Numba) is for.

The operations are those of `engine.middle.plan` in the same order, so the bits are those of the way
without Numba. But all receivers of a tile take them on some columns before the next columns are
looked at: the rows at work stay in the cache that is nearest, a comparison that yields both values
reads them once, and nothing is called from Python in between.

Import this module by `engine.trimming.compiled`: it needs Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from p2pqg.base.alone import alone
from p2pqg.base.forked import OfProcess
from p2pqg.engine.middle import Plan

ROWS_AT_ONCE = 64
"""Rows that the receivers of a tile take their values from, unless one needs more by itself."""

CACHED = 2**18
"""Bytes at work."""

COLUMNS_AT_ONCE = 1024
"""Columns of a step, at most: so many cost little more than their arithmetic."""

ALONE_UP_TO = 2**19
"""Values out of so many inboxes that one thread is done before others have begun."""

U = np.uintp  # Numba reckons with indices that may be negative, and then takes one at a time


def _kernel(function: Callable[..., Any]) -> Any:
    """Compiled at its first call, once for each dtype; kept on disk where there is a place.

    Numba numbers what it keeps: two processes that keep something at the same time may take one
    number for two dtypes, and whoever reads that has the code of the wrong one. So one compiles at
    a time, and another that wants the same reads what the first has kept.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside the source, nor in the user's cache, nor where told
        return numba.njit(**options)(function)
    lock = Path(kernel.stats.cache_path) / f"{function.__name__}.lock"
    compiled = set[tuple[np.dtype | None, ...]]()

    @wraps(function)
    def called(*given: Any) -> Any:
        dtypes = tuple(getattr(one, "dtype", None) for one in given)
        with nullcontext() if dtypes in compiled else alone(lock):
            try:
                result = kernel(*given)
            except OSError:  # there was no room to keep it, say; but it is compiled
                result = kernel(*given)
        compiled.add(dtypes)
        return result

    return called


class Program(NamedTuple):
    """What is to be done, for tiles of receivers one after the other; all arrays of `uintp`.

    Attributes:
        tiles: [tiles + 1], where the receivers of each begin.
        used_from, used: [tiles + 1], where its rows begin; the rows that it needs.
        to: [receivers], the row of the result.
        values_from, values: [receivers + 1], where the values begin; places among the tile's rows.
        plans: [receivers], which plan.
        steps_from, steps: [plans + 1], where the steps begin; [steps, 5], as of `Plan`.
        spare: [plans], places besides the values; the last one is that of the result.
    """

    tiles: np.ndarray
    used_from: np.ndarray
    used: np.ndarray
    to: np.ndarray
    values_from: np.ndarray
    values: np.ndarray
    plans: np.ndarray
    steps_from: np.ndarray
    steps: np.ndarray
    spare: np.ndarray


@_kernel
def _run(
    program: Program,
    num_kept: np.ndarray,
    rows: np.ndarray,
    out: np.ndarray,
    work: np.ndarray,
    first: int,
    last: int,
    at_once: int,
) -> bool:
    """Columns from first to last, so many at once; whether all values that it took are finite.

    Args:
        program: what to do.
        num_kept: [plans], of the rows' dtype: how many values each sums.
        rows: [rows, params].
        out: [clients, params].
        work: [(places + 1) * at_once]; the last place is for what is not finite.
        first: as `uintp`.
        last: likewise.
        at_once: likewise.
    """
    width, zero = U(rows.shape[1]), work.dtype.type(0)
    source, result = rows.ravel(), out.ravel()
    steps, check = program.steps, U(len(work)) - at_once
    for j in range(at_once):
        work[check + j] = zero
    for tile in range(U(len(program.tiles) - 1)):
        used_from = program.used_from[tile]
        num_used = program.used_from[tile + U(1)] - used_from
        start = first
        while start < last:
            m = min(at_once, last - start)
            for place in range(num_used):
                x, z = program.used[used_from + place] * width + start, place * at_once
                for j in range(m):
                    work[z + j] = source[x + j]
                    work[check + j] += source[x + j] - source[x + j]  # 0, or not a number
            for receiver in range(program.tiles[tile], program.tiles[tile + U(1)]):
                values = program.values_from[receiver]
                n = program.values_from[receiver + U(1)] - values
                plan = program.plans[receiver]
                for step in range(program.steps_from[plan], program.steps_from[plan + U(1)]):
                    operation, x, y = steps[step, 0], steps[step, 1], steps[step, 2]
                    x = (program.values[values + x] if x < n else x - n + num_used) * at_once
                    y = (program.values[values + y] if y < n else y - n + num_used) * at_once
                    z = (steps[step, 3] - n + num_used) * at_once
                    if operation == 0:
                        for j in range(m):
                            a, b = work[x + j], work[y + j]
                            work[z + j] = a if a < b else b
                    elif operation == 1:
                        for j in range(m):
                            a, b = work[x + j], work[y + j]
                            work[z + j] = a if a > b else b
                    elif operation == 2:
                        for j in range(m):
                            work[z + j] = work[x + j] + work[y + j]
                    else:
                        w = (steps[step, 4] - n + num_used) * at_once
                        for j in range(m):
                            a, b = work[x + j], work[y + j]
                            work[z + j] = a if a < b else b
                            work[w + j] = a if a > b else b
                x = (num_used + program.spare[plan] - U(1)) * at_once
                z = program.to[receiver] * width + start
                for j in range(m):
                    result[z + j] = work[x + j] / num_kept[plan] + zero
            start += at_once
    finite = True
    for j in range(at_once):
        finite = finite and work[check + j] == zero
    return finite


class Middles:
    """Means of the middle of several sets of rows."""

    def __init__(self, sets: Sequence[tuple[np.ndarray, np.ndarray, Plan]]) -> None:
        """Say which.

        Args:
            sets: int64 [k], the rows of the results; int64 [k, n], where the values are; how, by
                plans that are `apart`: what is written where it is read is not vectorised.
        """
        wanted = [
            (to, row, number)
            for number, (clients, values, _) in enumerate(sets)
            for to, row in zip(clients.tolist(), values.tolist(), strict=True)
        ]
        wanted.sort(key=lambda one: one[0])  # neighbors in number often are in the network, too
        tiles, used_from, used = [0], [0], list[int]()
        place, places = dict[int, int](), list[int]()
        for receiver, (_, row, _) in enumerate(wanted):
            new = set(row).difference(place)
            if place and len(place) + len(new) > ROWS_AT_ONCE:
                tiles.append(receiver)
                used_from.append(len(used))
                place, new = {}, set(row)
            for one in sorted(new):
                place[one] = len(place)
                used.append(one)
            places += [place[one] for one in row]
        plans = [plan for *_, plan in sets]
        steps = [step for plan in plans for step in plan.steps]
        self.program = Program(
            _array([*tiles, len(wanted)]),
            _array([*used_from, len(used)]),
            _array(used),
            _array([to for to, *_ in wanted]),
            _array(np.cumsum([0, *(len(row) for _, row, _ in wanted)])),
            _array(places),
            _array([number for *_, number in wanted]),
            _array(np.cumsum([0, *(len(plan.steps) for plan in plans)])),
            _array(steps).reshape(-1, 5),
            _array([plan.num_spare for plan in plans]),
        )
        self.num_kept = np.array([plan.num_kept for plan in plans])
        most = int(np.diff(self.program.used_from.astype(np.int64)).max())
        self.num_places = most + max(plan.num_spare for plan in plans)
        self._work: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray, out: np.ndarray, threads: int) -> bool:
        """Mix rows [rows, params] to out [clients, params], both in order, by so many threads.

        Returns:
            Whether all values are finite; if not, what is in `out` means nothing.
        """
        width = rows.shape[1]
        if len(self.program.values) * width <= ALONE_UP_TO:
            threads = 1
        # An odd number of cache lines: else rows at work were in each other's place in the cache.
        fitting = CACHED // ((self.num_places + 1) * rows.itemsize)
        at_once = max(min(fitting, COLUMNS_AT_ONCE, width + 31) // 32 * 32, 64) - 16
        size = (self.num_places + 1) * at_once
        if [(w.size, w.dtype) for w in self._work] != [(size, rows.dtype)] * threads:
            self._work = [_aligned(size, rows.dtype) for _ in range(threads)]
        num_kept = self.num_kept.astype(rows.dtype)
        bounds = [width * part // threads // 16 * 16 for part in range(threads)] + [width]

        def run(part: int) -> bool:
            ends = U(bounds[part]), U(bounds[part + 1])
            return _run(self.program, num_kept, rows, out, self._work[part], *ends, U(at_once))

        return run(0) if threads == 1 else all(list(_pools()(threads).map(run, range(threads))))


def _aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """Not initialised, from the beginning of a cache line on."""
    room = np.empty(size + 64, dtype)
    return room[-room.ctypes.data % 64 // room.itemsize :][:size]


@OfProcess
def _pools() -> Callable[[int], ThreadPoolExecutor]:
    """Threads -> so many."""
    return lru_cache(1)(lambda threads: ThreadPoolExecutor(threads, "middles"))


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.int64).astype(U)
