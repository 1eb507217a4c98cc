"""Where a table has which number, and what is said about it; a table of the paper may stand beside.

What disagrees with the paper is marked:
    †  in another order than in the paper with a method that ours is further from than the spread
    *  at the paper's own scale: further from the paper's number than the spread
The spread of a difference is sqrt(std^2 + std^2). One seed has none, and nothing is marked.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations, groupby
from typing import Any

import pandas as pd

from p2pqg.base.wording import counted, human_bytes, missing, plain_text
from p2pqg.paper.published import CENTRALIZED, SOURCE, Published, method_of, same_scale
from p2pqg.results.cells import BLOCK

Column = tuple[str, str]
"""(network, split of the data): the two lines of a column's head."""


@dataclass(frozen=True)
class Cell:
    """One number with all that is said about it.

    Attributes:
        mean, std: of ours, in percent; NaN where all runs failed.
        best: whether no other of its column reads better.
        lr: the learning rate, if it is to be shown.
        beside: (mean, std) of the paper, in percent.
        marks: † and *.
    """

    mean: float
    std: float
    best: bool = False
    lr: float | None = None
    beside: tuple[float, float] | None = None
    marks: str = ""


@dataclass(frozen=True)
class Table:
    """What all styles write.

    Attributes:
        caption: a sentence.
        columns: left to right; rows: top to bottom.
        cells: (row, column) -> cell, or a text; absent ones are empty.
        notes: below, a line each.
    """

    caption: str
    columns: list[Column]
    rows: list[str]
    cells: dict[tuple[str, Column], Cell | str]
    notes: list[str] = field(default_factory=list)

    def transposed(self) -> Table:
        """Rows as columns, without a first line in their heads."""
        return replace(
            self,
            columns=[("", row) for row in self.rows],
            rows=[", ".join(column) for column in self.columns],
            cells={(", ".join(col), ("", row)): cell for (row, col), cell in self.cells.items()},
        )


def layout(
    block: pd.DataFrame,
    paper: Published | None = None,
    *,
    show_lr: bool = False,
    show_costs: bool = False,
) -> Table:
    """The cells of one data set and model, where a table has them."""
    dataset, model = block.iloc[0][BLOCK]
    ours = placed(block, paper)
    columns = list(dict.fromkeys(ours["column"]))
    rows = sorted(set(ours["row"]))
    published: dict[tuple[str, Column], tuple[float, float]] = {}
    if paper:
        theirs = paper.beside(dataset, model)
        order = {row: at for at, row in enumerate(dict.fromkeys(theirs["row"]))}
        rows.sort(key=lambda row: (order.get(row, len(order)), row))
        published = {(t.row, _column_of(t)): (t.mean, t.std) for t in theirs.itertuples()}
    cells: dict[tuple[str, Column], Cell] = {}
    blank: dict[tuple[str, Column], str] = {}
    for column, same in ours.groupby("column", sort=False):
        rivals = same.loc[same["row"] != CENTRALIZED, "mean"]  # that one is a bound, and no rival
        best = f"{100 * rivals.max():.2f}"  # what reads the same is equally good
        for cell in same.itertuples():
            if not cell.failed and math.isnan(cell.mean):
                blank[cell.row, column] = "-"  # it has no accuracy
                continue
            cells[cell.row, column] = Cell(
                mean=100 * cell.mean,
                std=100 * cell.std,
                best=cell.Index in rivals.index and f"{100 * cell.mean:.2f}" == best != "nan",
                lr=cell.lr if show_lr else None,
                beside=published.get((cell.row, column)),
            )
    notes = _tuning(block) if show_lr else []
    if paper:
        scaled = not same_scale(theirs, dataset, model, block["epochs"].max())
        notes += _about_paper(paper, theirs, scaled)
        doubts = {
            (t.row, _column_of(t)): f"{t.mean:.2f} ({t.doubt.strip()})"
            for t in theirs[theirs["doubt"].notna()].itertuples()
        }
        doubts = {place: doubt for place, doubt in doubts.items() if place in cells}
        notes += [f"In doubt, and not compared: the paper's {d}." for d in doubts.values()]
        notes += _mark_disagreement(cells, rows, columns, scaled, set(doubts))
    shown: dict[tuple[str, Column], Cell | str] = {**cells, **blank}
    if show_costs:
        columns = _with_costs(shown, columns, ours)
    return Table(_caption(block), columns, rows, shown, notes)


def _column_of(published: Any) -> Column:
    """Where a number of the paper stands."""
    return published.network, f"alpha {plain_text(published.alpha)}"


def placed(block: pd.DataFrame, paper: Published | None) -> pd.DataFrame:
    """The cells with their row and column, in the order of the columns."""
    size = block["topology"].str.extract(r"(\d+)", expand=False).astype(float)
    block = block.assign(size=size, topology=block["topology"].astype(str)).sort_values(
        ["size", "topology", "partition", "alpha"], ascending=[True, True, True, False]
    )
    names = _names(block) if paper else {}
    found = []
    for cell in block.to_dict("records"):
        row, network = cell["method"], cell["topology"]
        if paper:
            row, network = paper.place(names[row], network)
        usual = cell["partition"] == "qg-dirichlet"
        alpha = "" if pd.isna(cell["alpha"]) else f" {plain_text(cell['alpha'])}"
        column = (network, ("alpha" if usual else cell["partition"]) + alpha)
        found.append(cell | {"row": row, "column": column})
    return pd.DataFrame(_spread_centralized(found) if paper else found)


def _names(block: pd.DataFrame) -> dict[str, str]:
    """Our methods -> the paper's; two that it would call the same keep their own names."""
    first = block.drop_duplicates("method")
    theirs = {cell.method: method_of(cell.settings) for cell in first.itertuples()}
    counts = Counter(theirs.values())
    return {own: name if name and counts[name] == 1 else own for own, name in theirs.items()}


def _spread_centralized(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The centralized method in every column of its network: it does not depend on alpha."""
    others = [cell for cell in found if cell["row"] != CENTRALIZED]
    columns = dict.fromkeys(cell["column"] for cell in others)
    spread = []
    for cell in found:
        mine = [column for column in columns if column[0] == cell["column"][0]]
        if cell["row"] == CENTRALIZED and mine:
            spread += [cell | {"column": column} for column in mine]
    kept = {cell["column"][0] for cell in spread}
    alone = [c for c in found if c["row"] == CENTRALIZED and c["column"][0] not in kept]
    return others + spread + alone


def _caption(block: pd.DataFrame) -> str:
    dataset, model = block.iloc[0][BLOCK]
    low, high = block["seeds"].min(), block["seeds"].max()
    seeds = counted(high, "seed") if low == high else f"{low} to {high} seeds"
    spread = " ± std (n - 1)" if high > 1 else ""
    return f"Test accuracy (%) on {dataset}, {model}: mean{spread} over {seeds}."


def _tuning(block: pd.DataFrame) -> list[str]:
    """How many learning rates were tried, and in how many runs."""
    low, high = block["rates"].min(), block["rates"].max()
    if high == 1:
        return []
    rates = f"{low}" if low == high else f"{low} to {high}"
    methods = block.groupby("method")["runs"].sum()
    costs = ", ".join(f"{method} {runs}" for method, runs in methods.items())
    failed = block["failed"].sum()
    by = {text.removesuffix("_accuracy") for text in block["chosen_by"]}
    on = {"test": "the test samples themselves", "validation": "samples held out"}.get(
        "".join(by), "samples held out, where there are any"
    )
    return [
        "Learning rate chosen for each cell by the mean over seeds minus their deviation, "
        f"on {on}, of {rates} rates: "
        f"{counted(methods.sum(), 'run')} ({costs}){f', {failed} failed' if failed else ''}."
    ]


def _about_paper(paper: Published, theirs: pd.DataFrame, scaled: bool) -> list[str]:
    arch = theirs["arch"].iloc[0]
    note = f"In brackets: {SOURCE}, Table {paper.table}, {arch}."
    if scaled:
        note += " Ours is scaled down: compare the order of the methods, not the level."
    return [note]


def _mark_disagreement(
    cells: dict[tuple[str, Column], Cell],
    rows: list[str],
    columns: list[Column],
    scaled: bool,
    in_doubt: set[tuple[str, Column]],
) -> list[str]:
    """Mark cells in place; what the marks mean, a line for each column that has any."""
    notes = []
    shared = {
        place: cell
        for place, cell in cells.items()
        if cell.beside
        and place not in in_doubt
        and not any(map(math.isnan, (cell.mean, cell.std, cell.beside[0])))
    }
    for column in columns:
        both = {row: shared[row, column] for row in rows if (row, column) in shared}
        swapped: dict[str, list[str]] = {}  # method -> those below it here and above it there
        for one, two in combinations(both, 2):
            if _reversed(both[one], both[two]):
                lower, higher = sorted((one, two), key=lambda row: both[row].mean)
                swapped.setdefault(higher, []).append(lower)
        involved = {*swapped, *(row for below in swapped.values() for row in below)}
        for row, cell in both.items():
            far = not scaled and cell.beside and _apart((cell.mean, cell.std), cell.beside)
            marks = ("†" if row in involved else "") + ("*" if far else "")
            cells[row, column] = replace(cell, marks=marks)
        if swapped:
            pairs = "; ".join(f"{row} above {', '.join(below)}" for row, below in swapped.items())
            notes.append(f"† {', '.join(column)}: {pairs}. The paper has them the other way.")
    if any("*" in cell.marks for cell in cells.values()):
        notes.append("* further from the paper's number than the spread of the difference.")
    if not shared:
        return ["Nothing to compare with the paper beyond a spread: that takes two seeds or more."]
    return notes or ["No method in another order than in the paper, beyond the spreads."]


def _apart(one: tuple[float, float], two: tuple[float, float]) -> bool:
    """Whether two (mean, std) are further apart than their spread; no std counts as 0."""
    spread = math.hypot(*(0 if math.isnan(std) else std for _, std in (one, two)))
    return abs(one[0] - two[0]) > spread


def _reversed(one: Cell, two: Cell) -> bool:
    """Whether ours are clearly apart, and the paper has them in the other order."""
    assert one.beside is not None
    assert two.beside is not None
    ours, theirs = one.mean - two.mean, one.beside[0] - two.beside[0]
    return ours * theirs < 0 and _apart((one.mean, one.std), (two.mean, two.std))


def _with_costs(
    cells: dict[tuple[str, Column], Cell | str], columns: list[Column], ours: pd.DataFrame
) -> list[Column]:
    """Add each client's gradients and the bytes sent to the cells; the columns with theirs."""
    wider = []
    for network, same in groupby(columns, key=lambda column: column[0]):
        wider += [*same, (network, "gradients"), (network, "sent")]
        here = ours[[column[0] == network for column in ours["column"]]]
        for row, costs in here.groupby("row")[["gradients", "bytes"]].mean().iterrows():
            count = costs["gradients"]
            cells[row, (network, "gradients")] = "-" if missing(count) else f"{count:,.0f}"
            cells[row, (network, "sent")] = human_bytes(costs["bytes"])
    return wider
