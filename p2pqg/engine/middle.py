"""Means of the values in the middle, entry by entry, by as few comparisons as we know.

The comparisons are those of Batcher's odd-even merge sort (AFIPS 1968) without those that cannot
change which values are in the middle: 10 operations for the median of 5 values, 30 for that of 9.
Where few are left out, these are sought one after the other instead, if that takes fewer. Each
operation takes two whole rows. That the rest suffices is tried on all rows of zeros and ones,
as Knuth's 0-1 principle allows (The Art of Computer Programming 3, 5.3.4).

With Numba (`pip install 'p2pqg[fast]'`) the CPU takes the same operations in one call, to the same
bits (`engine.compiled`). No zero of a mean is negative: which of two a minimum takes is not said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

COMPARED_UP_TO = 256
"""Values that are sorted by comparing rows; more are by torch."""

TRIED_UP_TO = 13
"""Values for which all rows of zeros and ones are tried."""

ENTRIES_AT_ONCE = 2**15
"""Entries of a row at a time: many, for a call costs something; few, to stay in the cache."""

SORTED_FROM = 9
SORTED_UP_TO = 2**20
"""So many values of rows of at most so many entries a card sorts: there each operation of the many
that comparing takes is over sooner than the next one has begun."""

Comparators = Sequence[tuple[int, int]]


class Plan(NamedTuple):
    """How to come to the mean.

    Attributes:
        steps: (operation, one, other, to, also): 0 minimum, 1 maximum, 2 sum, 3 minimum and also
            maximum. Places 0 .. n - 1 are the values, which are not written to; then come spare
            ones. The minimum is never written where a maximum is still to be read; nothing that is
            read in a step is written to in it if the plan is `apart`. The last step writes the
            result, to the last place.
        num_spare: places besides.
        num_kept: values whose sum the result is.
    """

    steps: tuple[tuple[int, int, int, int, int], ...]
    num_spare: int
    num_kept: int


@lru_cache
def plan(n: int, left_out: int, apart: bool = False) -> Plan:
    """The plan of n values, without so many of the smallest and of the largest."""
    ways = [(_batcher(n), list(range(left_out, n - left_out))), _outside_in(n, left_out)]
    ways = [(_fewer(n, some, left_out, kept), kept) for some, kept in ways]
    comparators, kept = min(ways, key=lambda way: _num_operations(*way))
    steps, value, made = list[tuple[int, int, int, int, int]](), list(range(n)), n
    for (low, high), (small, large) in zip(comparators, _wanted(comparators, kept), strict=True):
        one, other = value[low], value[high]
        if small and large:
            steps.append((3, one, other, made, made + 1))
            value[low], value[high] = made, made + 1
        else:
            steps.append((0 if small else 1, one, other, made, made))
            value[low if small else high] = made
        made = steps[-1][-1] + 1
    total = value[kept[0]]
    for place in kept[1:]:
        steps.append((2, total, value[place], made, made))
        total, made = made, made + 1
    return _placed(steps, n, len(kept), apart)


def _placed(
    steps: Sequence[tuple[int, int, int, int, int]], n: int, num_kept: int, apart: bool
) -> Plan:
    """With places that are used again as soon as nobody needs what is there."""
    last = {v: at for at, (_, *read, _, _) in enumerate(steps) for v in read}
    place, free, top = {v: v for v in range(n)}, list[int](), n
    placed = []
    for at, (operation, one, other, *to) in enumerate(steps):
        read = place[one], place[other]
        done = [place[v] for v in (one, other) if v >= n and last[v] == at]
        written = to[:1] if to[0] == to[1] else to
        for v in written:
            if not apart and v == written[-1]:
                free += done
            if at == len(steps) - 1:
                place[v] = top
            elif free:
                place[v] = free.pop()
            else:
                place[v], top = top, top + 1
        if apart:
            free += done
        placed.append((operation, *read, place[to[0]], place[to[1]]))
    return Plan(tuple(placed), top + 1 - n, num_kept)


def _batcher(n: int) -> list[tuple[int, int]]:
    """Comparators (small goes to, large goes to) that sort n values."""
    found, size = list[tuple[int, int]](), 1
    while size < n:
        gap = size
        while gap:
            for j in range(gap % size, n - gap, 2 * gap):
                for i in range(j, min(j + gap, n - gap)):
                    if i // (2 * size) == (i + gap) // (2 * size):
                        found.append((i, i + gap))
            gap //= 2
        size *= 2
    return found


def _outside_in(n: int, left_out: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Comparators that set aside the smallest and largest so many times, and what is left."""
    found, left = list[tuple[int, int]](), list(range(n))
    for _ in range(left_out):
        odd = left[-1:] * (len(left) % 2)
        pairs = list(zip(left[::2], left[1::2], strict=False))
        low, high = [a for a, _ in pairs] + odd, [b for _, b in pairs] + odd
        found += pairs
        found += [(low[0], other) for other in low[1:]]
        found += [(one, high[-1]) for one in high[:-1]]
        left = [place for place in left if place not in (low[0], high[-1])]
    return found, left


def _wanted(comparators: Comparators, kept: Sequence[int]) -> list[tuple[bool, bool]]:
    """Whether the small and the large one that each puts out are of use."""
    needed, found = set(kept), list[tuple[bool, bool]]()
    for low, high in reversed(comparators):
        found.append((low in needed, high in needed))
        if any(found[-1]):
            needed |= {low, high}
    return found[::-1]


def _num_operations(comparators: Comparators, kept: Sequence[int]) -> int:
    return sum(a + b for a, b in _wanted(comparators, kept))


def _fewer(
    n: int, comparators: list[tuple[int, int]], left_out: int, kept: Sequence[int]
) -> list[tuple[int, int]]:
    """Without those that are not needed for the values in the middle, in whatever order."""

    def useful() -> list[tuple[int, int]]:
        wanted = _wanted(comparators, kept)
        return [pair for pair, some in zip(comparators, wanted, strict=True) if any(some)]

    comparators = useful()
    if n > TRIED_UP_TO:
        return comparators
    numbers = np.arange(2**n, dtype=np.uint32)
    bits = [(numbers >> i & 1).astype(np.uint8) for i in range(n)]
    middle = np.clip(np.sum(bits, 0, dtype=np.int64) - left_out, 0, n - 2 * left_out)
    packed = [np.packbits(row) for row in bits]

    def suffices(some: list[tuple[int, int]]) -> bool:
        value = list(packed)
        for low, high in some:
            value[low], value[high] = value[low] & value[high], value[low] | value[high]
        rows = [np.unpackbits(value[place], count=2**n) for place in kept]
        return np.array_equal(np.sum(rows, 0, dtype=np.int64), middle)

    for at in reversed(range(len(comparators))):
        without = comparators[:at] + comparators[at + 1 :]
        if suffices(without):
            comparators = without
    return useful()


def mean_of_the_middle(values: Tensor, left_out: int) -> Tensor:
    """The mean of tensors [n, ...], entry by entry, without so many of the smallest and largest.

    The values of others that lie far away cost it no digits.
    """
    n, mixed = len(values), torch.empty_like(values[0])
    on_card = not mixed.is_cpu and n >= SORTED_FROM and mixed.numel() <= SORTED_UP_TO
    if on_card or n > COMPARED_UP_TO:
        return values.sort(0).values[left_out : n - left_out].mean(0).add_(0)
    means_of_the_middle([v.flatten() for v in values], [(range(n), mixed.view(-1), left_out)])
    return mixed


def means_of_the_middle(
    rows: Sequence[Tensor], wanted: Iterable[tuple[Sequence[int], Tensor, int]]
) -> None:
    """Several of them, of some of certain rows each.

    Args:
        rows: [params] each; they may be views.
        wanted: which of the rows, at most COMPARED_UP_TO; what the mean is written to, [params];
            how many are left out at either end.
    """
    if not rows[0].is_cpu:
        for which, out, left_out in wanted:
            _run(plan(len(which), left_out), [rows[one] for one in which], out, torch)
        return
    arrays = [row.detach().numpy() for row in rows]  # NumPy's calls cost a third of torch's
    with np.errstate(all="ignore"):
        for which, out, left_out in wanted:
            made = plan(len(which), left_out)
            _run(made, [arrays[one] for one in which], out.numpy(), np)


def _run(made: Plan, rows: Sequence[Any], out: Any, of: Any) -> None:
    """Some entries after the others; `of` is the library that the rows are of."""
    operations = of.minimum, of.maximum, of.add
    if not made.steps:
        of.add(rows[0], 0, out=out)
        return
    size = len(out)
    parts = -(-size // ENTRIES_AT_ONCE) if of is np else 1  # a card has other caches
    at_once = -(-size // max(1, parts))  # in equal parts
    spare = [of.empty_like(out[:at_once]) for _ in range(made.num_spare - 1)]
    for start in range(0, size, at_once):
        part = slice(start, start + at_once)
        result = out[part]
        if len(result) < at_once:
            spare = [row[: len(result)] for row in spare]
        places = [*(row[part] for row in rows), *spare, result]
        for operation, one, other, to, also in made.steps:
            x, y = places[one], places[other]
            operations[operation % 3](x, y, out=places[to])
            if operation == 3:
                of.maximum(x, y, out=places[also])
        if made.num_kept > 1:
            of.divide(result, made.num_kept, out=result)
        of.add(result, 0, out=result)
