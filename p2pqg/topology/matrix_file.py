"""Networks as matrices of numbers, .npy or .csv: W itself, or who is joined to whom.

Rows or columns that sum to 1 are W, W[receiver, sender]; zeros and ones are an adjacency matrix,
A[i, j] = 1 where i sends to j, as networkx has it. Where it could be either, the user says.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from p2pqg.base.csv_file import NUMBER, lines_of
from p2pqg.base.errors import TopologyError
from p2pqg.base.memory import check_room
from p2pqg.topology._edges import Wanted, file_schedule
from p2pqg.topology.checks import TOLERANCE
from p2pqg.topology.labels import in_order
from p2pqg.topology.mixing_rules import Arcs
from p2pqg.topology.schedule import Rounds, Schedule, in_turn, schedule_of_arrays

SAY_WHICH = (
    "Say :mixing=given if they are weights, W[receiver, sender]; or :mixing=metropolis_hastings if "
    "they say who is joined to whom"
)


def read_npy(path: Path, wanted: Wanted) -> Schedule:
    """The network in a file of numpy, [clients, clients] or [rounds, clients, clients].

    Raises:
        TopologyError: it is none, or no matrix of numbers.
    """
    try:  # a map of the file: nothing is read before its shape is known
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TopologyError(
            f"{path}: is not an array that numpy can read ({error}). Write it with numpy.save."
        ) from None
    if found.ndim not in (2, 3) or found.shape[-1] != found.shape[-2] or 0 in found.shape:
        raise TopologyError(
            f"{path}: must be [clients, clients] or [rounds, clients, clients], got shape "
            f"{list(found.shape)}"
        )
    if found.dtype.kind not in "biuf":
        raise TopologyError(f"{path}: must hold real numbers, got {found.dtype}")
    check_room(
        32 * found.size, f"{path}: {list(found.shape)}", "use a list of edges", TopologyError
    )
    return matrix_schedule(np.array(found, dtype=np.float64), (), path, wanted)


def matrix_in(path: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The matrix in a CSV file, [clients, clients], and the names on its margins.

    Returns:
        (None, ()) where the file holds something else.
    """
    lines = [cells for _, cells in lines_of(path)]
    names: list[str] = []
    if not all(map(_is_number, lines[0])):  # names above, perhaps in front, too
        names, *lines = lines
        if len(names) == len(lines) + 1 and [cells[0] for cells in lines] == names[1:]:
            names, lines = names[1:], [cells[1:] for cells in lines]
    if not lines or {len(cells) for cells in [*lines, *([names] if names else [])]} != {len(lines)}:
        return None, ()
    if not all(_is_number(cell) for cells in lines for cell in cells):
        return None, ()
    return np.array(lines, dtype=np.float64), tuple(names)


def _is_number(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell)) or cell.lower() in ("nan", "inf", "-inf")


def matrix_schedule(
    matrix: np.ndarray, names: tuple[str, ...], path: Path, wanted: Wanted
) -> Schedule:
    """The network that a matrix says; arguments as of `matrix_in`, perhaps one for each round.

    Raises:
        TopologyError: it is not clear what the numbers mean.
    """
    if not np.isfinite(matrix).all():
        raise TopologyError(f"{path}: has entries that are no finite numbers. Correct them.")
    labels = in_order(names)
    if len(labels) < len(names) or list(labels.values()) != [*dict.fromkeys(labels.values())]:
        raise TopologyError(f"{path}: has two clients of one name. Rename one.")
    rule = wanted.rule
    if rule is None:
        sums = [np.abs(matrix.sum(axis=axis) - 1).max() <= TOLERANCE for axis in (-1, -2)]
        plain = np.isin(matrix, (0, 1)).all()
        if plain == any(sums) and not (plain and matrix.shape[-1] == 1):  # of one it is all one
            what = (
                "zeros and ones whose rows or columns sum to 1"
                if plain
                else ("neither zeros and ones nor weights whose rows or columns sum to 1")
            )
            edges = "; if each line is an edge, begin with a line source,target"
            raise TopologyError(
                f"{path}: holds {what}. {SAY_WHICH}{edges if path.suffix == '.csv' else ''}."
            )
        rule = "given" if any(sums) else None
    about = {"labels": tuple(names)}
    if rule == "given":
        return schedule_of_arrays(matrix, str(path), **about)
    joined = matrix != 0
    directed = wanted.directed
    if directed is None:
        directed = bool((joined != np.swapaxes(joined, -1, -2)).any())
    n = matrix.shape[-1]
    graphs = [
        Arcs.of(n, np.argwhere(one), directed) for one in (joined if joined.ndim == 3 else [joined])
    ]
    network = graphs[0] if len(graphs) == 1 else Rounds(partial(in_turn, graphs), len(graphs))
    return file_schedule(network, path, rule, wanted.label_counts, **about)
