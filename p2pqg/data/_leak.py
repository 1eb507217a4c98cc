"""Test samples that are training samples, too: what is measured on them is no test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from p2pqg.base.wording import counted

WORTH_TELLING = 0.01
"""Share of the test samples; fewer may be alike by chance, and change little."""
FEWEST = 20
"""Test samples; what is measured on fewer is no test anyway."""
ROWS_AT_ONCE = 4096


def leaked(train_x: np.ndarray, test_x: np.ndarray, what: str) -> Iterator[str]:
    """A line if inputs of the test are among those of the training, of [samples, ...] each.

    Of floats of 4 and of 8 bytes, the shorter ones say whether two are alike.
    """
    kinds = {train_x.dtype, test_x.dtype}
    if train_x.shape[1:] != test_x.shape[1:] or len(test_x) < FEWEST:
        return
    if len(kinds) > 1 and {kind.kind for kind in kinds} != {"f"}:
        return
    kind = min(kinds, key=lambda one: one.itemsize)
    known = set(_hashes(train_x, kind))
    count = sum(one in known for one in _hashes(test_x, kind))
    if count >= WORTH_TELLING * len(test_x):
        yield (
            f"{what}: {count:,} of {counted(len(test_x), 'test sample')} are training samples, too"
        )


def _hashes(x: np.ndarray, kind: np.dtype) -> Iterator[int]:
    """A hash of the bytes of each sample, of numbers of that kind."""
    for first in range(0, len(x), ROWS_AT_ONCE):
        rows = np.ascontiguousarray(x[first : first + ROWS_AT_ONCE], kind).reshape(-1, x[0].size)
        yield from map(hash, rows.view(f"V{rows[:1].nbytes}").ravel().tolist())
