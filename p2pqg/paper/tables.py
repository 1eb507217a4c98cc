"""Cells of `p2pqg.results.cells` -> tables in the layout of the paper's: Markdown, LaTeX, CSV.

What stands where is in `layout.py`; here it is written down. A number of the paper stands in square
brackets behind ours.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import groupby

import pandas as pd

from p2pqg.base.wording import markdown_table
from p2pqg.paper.layout import Cell, Table, layout, placed
from p2pqg.paper.published import Published
from p2pqg.results.cells import BLOCK
from p2pqg.results.columns import column, say
from p2pqg.results.run_frames import MEASURED


def table(
    found: pd.DataFrame,
    style: str = "markdown",
    *,
    paper: Published | None = None,
    show_lr: bool = False,
    show_costs: bool = False,
    max_width: int | None = None,
) -> str:
    """Cells in the layout of the paper: methods down, topology x alpha across, unless it differs.

    Args:
        found: from `cells`.
        style: "markdown" or "latex" (booktabs), one table per data set and model, the best of a
            column in bold; "csv": a line per cell. What a user's metrics measured is in a second
            table in Markdown, and in columns of its own in CSV.
        paper: the table that stands beside, and gives the order of methods.
        show_lr: say which learning rate was the best, and what finding it cost.
        show_costs: gradients of a client and bytes sent by all, two more columns per network.
        max_width: characters; a wider Markdown table becomes one per topology.
    """
    if style == "csv":
        return _csv(found, paper)
    write = {"markdown": _markdown, "latex": _latex}[style]
    texts = []
    for _, block in found.groupby(BLOCK, sort=False):
        made = layout(block, paper, show_lr=show_lr, show_costs=show_costs)
        if paper and paper.table == 2:
            made = made.transposed()
        text = write(made)
        if style == "markdown" and max_width and max(map(len, text.splitlines())) > max_width:
            groups = groupby(made.columns, key=lambda column: column[0])
            parts = [_markdown_rows(replace(made, columns=list(group))) for _, group in groups]
            text = "\n\n".join([made.caption, *parts, *made.notes]) + "\n"
        if style == "markdown" and (lines := _measured(block)):
            text += "\n" + "\n".join(lines) + "\n"
        texts.append(text)
    return "\n".join(texts)


def _measured(block: pd.DataFrame) -> list[str]:
    """A row per cell with what a user's metrics measured; nothing without any."""
    keys = _metrics(block)
    if not keys:
        return []
    rows = []
    for cell in placed(block, None).to_dict("records"):
        told = [_told(key, *cell["measured"].get(key, (math.nan, math.nan))) for key in keys]
        rows.append([cell["row"], ", ".join(filter(None, cell["column"])), *told])
    return markdown_table(["method", "network", *(column(key).title for key in keys)], rows)


def _metrics(found: pd.DataFrame) -> list[str]:
    """What a user's metrics are called."""
    return list(dict.fromkeys(key for one in found.get("measured", ()) for key in one))


def _told(key: str, mean: float, std: float) -> str:
    if math.isnan(mean):
        return "-"
    return say(key, mean) + ("" if math.isnan(std) else f" ± {say(key, std)}")


def _pair(mean: float, std: float) -> str:
    if math.isnan(mean):
        return "failed"
    return f"{mean:.2f}" + ("" if math.isnan(std) else f" ± {std:.2f}")


def _markdown(made: Table) -> str:
    notes = "".join(f"\n{note}\n" for note in made.notes)
    return f"{made.caption}\n\n{_markdown_rows(made)}\n{notes}"


def _markdown_rows(made: Table) -> str:
    rows = [["method", *(", ".join(filter(None, column)) for column in made.columns)]]
    for row in made.rows:
        rows.append([row, *(_in_markdown(made.cells.get((row, c), "")) for c in made.columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = [
        " | ".join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(f"| {line} |" for line in lines)


def _in_markdown(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    text = _pair(cell.mean, cell.std)
    text = f"**{text}**" if cell.best else text
    return text + cell.marks.replace("*", r"\*") + _remarks(cell)


def _remarks(cell: Cell) -> str:
    lr = "" if cell.lr is None or math.isnan(cell.lr) else f" (lr {cell.lr:g})"
    return lr + (f" [{_pair(*cell.beside)}]" if cell.beside else "")


def _latex(made: Table) -> str:
    heads, rules, first = [], [], 2
    for network, same in groupby(made.columns, key=lambda column: column[0]):
        count = len(list(same))
        heads.append(rf"\multicolumn{{{count}}}{{c}}{{{_escaped(network)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    splits = [
        re.sub(r"^alpha (.*)", r"$\\alpha = \1$", _escaped(split)) for _, split in made.columns
    ]
    lines = [
        _in_comment(made.caption),
        rf"\begin{{tabular}}{{l{'c' * len(made.columns)}}}",
        r"\toprule",
        " & ".join(["", *heads]) + r" \\",
        " ".join(rules),
        " & ".join(["method", *splits]) + r" \\",
        r"\midrule",
    ]
    for row in made.rows:
        texts = [_in_latex(made.cells.get((row, column), "")) for column in made.columns]
        lines.append(" & ".join([_escaped(row), *texts]) + r" \\")
    notes = [_in_comment(note) for note in made.notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes, ""])


LATEX = {
    **{c: f"\\{c}" for c in "_%&#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\n": " ",
}
"""Characters that mean something to LaTeX, and how they are only shown."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes a cell for a formula by."""


def _escaped(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in text)


def _in_comment(text: str) -> str:
    """A comment of LaTeX ends with its line."""
    return "% " + " ".join(text.splitlines())


def _harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """A table for a spreadsheet: a text that looks like a formula gets an apostrophe before it."""

    def told(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

    return frame.map(told)


def _in_latex(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return _escaped(cell)
    text = _pair(cell.mean, cell.std)
    if text != "failed":
        text = text.replace("±", r"\pm")
        text = rf"$\mathbf{{{text}}}$" if cell.best else f"${text}$"
    marks = "".join({"†": r"\dagger", "*": r"\ast"}[mark] for mark in cell.marks)
    return text + (f"$^{{{marks}}}$" if marks else "") + _remarks(cell).replace("±", r"$\pm$")


def _csv(found: pd.DataFrame, paper: Published | None) -> str:
    """A line per cell, fractions; with a paper, where it stands there, its numbers, our marks."""
    for key in _metrics(found):
        pairs = [one.get(key, (math.nan, math.nan)) for one in found["measured"]]
        name = key if key not in found else f"{MEASURED}{key}"  # one may be called `mean`
        found = found.assign(
            **{name: [mean for mean, _ in pairs], f"{name}_std": [s for _, s in pairs]}
        )
    plain = found.drop(columns=["measured", "settings", "paths"], errors="ignore")
    if not paper:
        return _harmless(plain).to_csv(index=False)
    lines = []
    for _, block in found.groupby(BLOCK, sort=False):
        shown = layout(block, paper).cells
        for cell in placed(block, paper).to_dict("records"):
            mine = shown[cell["row"], cell["column"]]
            assert isinstance(mine, Cell)  # texts are only where costs are shown
            mean, std = mine.beside or (float("nan"), float("nan"))
            place = {"paper_row": cell["row"], "paper_column": ", ".join(cell["column"])}
            numbers = {"paper_mean": mean / 100, "paper_std": std / 100, "marks": mine.marks}
            lines.append({key: cell[key] for key in plain} | place | numbers)
    return _harmless(pd.DataFrame(lines)).to_csv(index=False)
