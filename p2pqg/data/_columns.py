"""Columns beside the samples, such as the hospital or the user each came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.data._inputs import array_of

CLIENT = "client"
"""The column of data that come client by client."""


@dataclass(frozen=True, eq=False)
class Column:
    """Whom or what each training sample belongs to.

    Attributes:
        codes: int64 [samples], positions in names.
        names: the different values in their order, numbers by size.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Any, what: str) -> Column:
        """A column of numbers or texts.

        Raises:
            DataError: something else, or empty cells.
        """
        found = array_of(values, what)
        if found.ndim != 1:
            raise DataError(
                f"{what} must have one value for each sample, its shape is {found.shape}"
            )
        if found.dtype.kind == "f":
            if not np.isfinite(found).all():
                raise DataError(f"{what} has empty cells; fill them, or leave the rows out")
            if (found == np.floor(found)).all():  # whole numbers that pandas made floats
                found = found.astype(np.int64)
        if found.dtype.kind in "UT" and (found == "").any():
            raise DataError(f"{what} has empty cells; fill them, or leave the rows out")
        names, codes = np.unique(found, return_inverse=True)
        return cls(codes.astype(np.int64), tuple(map(str, names.tolist())))

    def __len__(self) -> int:
        return len(self.codes)

    def groups(self) -> list[np.ndarray]:
        """Positions of the samples of each name, in their order."""
        order = np.argsort(self.codes, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.codes, minlength=len(self.names)))[:-1])

    def at(self, rows: np.ndarray) -> Column:
        """This column for some samples only; names that are left without any are gone."""
        kept, codes = np.unique(self.codes[rows], return_inverse=True)
        return Column(codes.astype(np.int64), tuple(self.names[i] for i in kept))


def of_clients(sizes: Sequence[int]) -> Column:
    """The column of data that come client by client, so many samples each."""
    codes = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    return Column(codes, tuple(map(str, range(len(sizes)))))
