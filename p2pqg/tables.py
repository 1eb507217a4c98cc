"""Cells of `p2pqg.report` -> tables in the layout of the paper's Table 1: Markdown, LaTeX, CSV."""

from __future__ import annotations

import re
from itertools import groupby

import pandas as pd

from p2pqg.report import BLOCK, COLUMN


def table(
    found: pd.DataFrame,
    style: str = "markdown",
    *,
    show_lr: bool = False,
    max_width: int | None = None,
) -> str:
    """Cells in the layout of the paper's Table 1: methods down, topology x alpha across.

    Args:
        found: from `cells`.
        style: "markdown" or "latex" (booktabs), one table per data set and model, the best of a
            column in bold; "csv": a line per cell.
        show_lr: say which learning rate was the best.
        max_width: characters; a wider Markdown table becomes one per topology.
    """
    if style == "csv":
        return found.to_csv(index=False)
    write = {"markdown": _markdown, "latex": _latex}[style]
    texts = []
    for _, block in found.groupby(BLOCK, sort=False):
        columns, grid = _grid(block, show_lr)
        text = write(_caption(block), columns, grid)
        if style == "markdown" and max_width and max(map(len, text.splitlines())) > max_width:
            groups = groupby(columns, key=lambda column: column[0])
            parts = [_markdown("", list(group), grid).strip() for _, group in groups]
            text = "\n\n".join([_caption(block), *parts]) + "\n"
        texts.append(text)
    return "\n".join(texts)


Column = tuple[str, str]
Cell = tuple[str, str, bool]
"""(mean ± std in percent, remark, whether it is the best of its column)."""


def _caption(block: pd.DataFrame) -> str:
    dataset, model = block.iloc[0][BLOCK]
    low, high = block["seeds"].min(), block["seeds"].max()
    seeds = f"{high} seed{'s' if high > 1 else ''}" if low == high else f"{low} to {high} seeds"
    spread = " ± std (n - 1)" if high > 1 else ""
    return f"Test accuracy (%) on {dataset}, {model}: mean{spread} over {seeds}."


def _grid(block: pd.DataFrame, show_lr: bool) -> tuple[list[Column], dict[str, dict[Column, Cell]]]:
    """(columns: topology and split, in the paper's order; method -> column -> cell)."""
    size = block["topology"].str.extract(r"(\d+)", expand=False).astype(float)
    block = block.assign(size=size, topology=block["topology"].astype(str)).sort_values(
        ["size", "topology", "partition", "alpha"], ascending=[True, True, True, False]
    )
    grid: dict[str, dict[Column, Cell]] = {method: {} for method in sorted(set(block["method"]))}
    columns: list[Column] = []
    for _, same in block.groupby(COLUMN, sort=False, dropna=False):
        first = same.iloc[0]
        usual = first["partition"] == "qg-dirichlet"
        alpha = "" if pd.isna(first["alpha"]) else f" {first['alpha']:g}"
        column = (first["topology"], ("alpha" if usual else first["partition"]) + alpha)
        columns.append(column)
        best = f"{100 * same['mean'].max():.2f}"  # what reads the same is equally good
        for _, row in same.iterrows():
            grid[row["method"]][column] = _cell(row, best, show_lr)
    return columns, grid


def _cell(row: pd.Series, best: str, show_lr: bool) -> Cell:
    if pd.isna(row["mean"]):
        return "failed", "", False
    mean = f"{100 * row['mean']:.2f}"
    spread = "" if pd.isna(row["std"]) else f" ± {100 * row['std']:.2f}"
    return mean + spread, f" (lr {row['lr']:g})" if show_lr else "", mean == best


def _markdown(caption: str, columns: list[Column], grid: dict[str, dict[Column, Cell]]) -> str:
    rows = [["method", *(f"{topology}, {split}" for topology, split in columns)]]
    for method, row in grid.items():
        marked = [row.get(column, ("", "", False)) for column in columns]
        rows.append([method, *(f"**{t}**{r}" if best else t + r for t, r, best in marked)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = [
        " | ".join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return f"{caption}\n\n" + "".join(f"| {line} |\n" for line in lines)


def _latex(caption: str, columns: list[Column], grid: dict[str, dict[Column, Cell]]) -> str:
    def escaped(text: str) -> str:
        return "".join(f"\\{c}" if c in "_%&#" else c for c in text)

    heads, rules, first = [], [], 2
    for topology, same in groupby(columns, key=lambda column: column[0]):
        count = len(list(same))
        heads.append(rf"\multicolumn{{{count}}}{{c}}{{{escaped(topology)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    splits = [re.sub(r"^alpha (.*)", r"$\\alpha = \1$", escaped(split)) for _, split in columns]
    lines = [
        f"% {caption}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *heads]) + r" \\",
        " ".join(rules),
        " & ".join(["method", *splits]) + r" \\",
        r"\midrule",
    ]
    for method, row in grid.items():
        texts = []
        for column in columns:
            text, remark, best = row.get(column, ("", "", False))
            if text not in ("", "failed"):
                text = text.replace("±", r"\pm")
                text = rf"$\mathbf{{{text}}}$" if best else f"${text}$"
            texts.append(text + remark)
        lines.append(" & ".join([escaped(method), *texts]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
