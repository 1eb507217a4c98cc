"""Cells as Markdown, LaTeX and CSV."""

import io

import pandas as pd
import pytest

from p2pqg.report import BLOCK, COLUMN
from p2pqg.tables import table


def cell(method, mean, std=0.01, *, topology="ring16", alpha=0.1, lr=0.1, seeds=3, **other):
    row = dict.fromkeys([*BLOCK, "method", *COLUMN])
    row |= {"dataset": "digits", "model": "mlp", "partition": "qg-dirichlet", "method": method}
    return row | dict(
        topology=topology, alpha=alpha, lr=lr, mean=mean, std=std, seeds=seeds, **other
    )


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[text.strip() for text in line.strip("|").split("|")] for line in lines]


def test_methods_go_down_and_topologies_and_falling_alphas_across():
    found = pd.DataFrame(
        [
            cell(method, 0.5, topology=topology, alpha=alpha)
            for method in ("qg-dsgdm-n", "dsgd")
            for topology in ("social32", "ring16")
            for alpha in (0.1, 1.0, 10.0)
        ]
    )
    header, _, first, second = rows_of(table(found))
    splits = ["alpha 10", "alpha 1", "alpha 0.1"]
    networks = ["ring16", "social32"]
    assert header == ["method", *(f"{name}, {split}" for name in networks for split in splits)]
    assert [first[0], second[0]] == ["dsgd", "qg-dsgdm-n"]


def test_the_best_of_each_column_is_bold_and_so_is_what_reads_the_same():
    found = pd.DataFrame([cell("a", 0.91), cell("b", 0.90), cell("c", 0.910001)])
    _, _, *rows = rows_of(table(found))
    assert rows == [["a", "**91.00 ± 1.00**"], ["b", "90.00 ± 1.00"], ["c", "**91.00 ± 1.00**"]]


def test_one_seed_has_no_deviation_and_an_absent_cell_is_empty():
    nan = float("nan")
    found = pd.DataFrame([cell("a", 0.5, nan, seeds=1), cell("b", 0.5, nan, seeds=1, alpha=1.0)])
    text = table(found)
    assert rows_of(text)[2:] == [["a", "", "**50.00**"], ["b", "**50.00**", ""]]
    assert "mean over 1 seed." in text


def test_a_cell_that_failed_says_so_and_is_never_bold():
    found = pd.DataFrame([cell("a", float("nan"), float("nan"), lr=float("nan"))])
    assert rows_of(table(found, show_lr=True))[2] == ["a", "failed"]


def test_the_learning_rate_is_shown_on_request():
    assert "(lr 0.05)" in table(pd.DataFrame([cell("a", 0.5, lr=0.05)]), show_lr=True)
    assert "lr" not in table(pd.DataFrame([cell("a", 0.5, lr=0.05)]))


def test_every_data_set_and_model_has_a_table_of_its_own():
    found = pd.DataFrame([cell("a", 0.5), cell("a", 0.6, model="logistic")])
    text = table(found)
    assert text.count("Test accuracy (%)") == 2
    assert text.count("**") == 4


def test_other_splits_are_called_by_their_names():
    found = pd.DataFrame(
        [
            cell("a", 0.5, partition="iid", alpha=float("nan")),
            cell("a", 0.5, partition="dirichlet", alpha=0.1),
        ]
    )
    assert set(rows_of(table(found))[0]) == {"method", "ring16, iid", "ring16, dirichlet 0.1"}


def test_latex_groups_the_alphas_of_a_topology_under_one_head():
    found = pd.DataFrame(
        [cell("a_b", 0.9), cell("a_b", 0.8, alpha=1.0), cell("a_b", 0.7, topology="social32")]
    )
    text = table(found, "latex")
    assert r"\multicolumn{2}{c}{ring16} & \multicolumn{1}{c}{social32} \\" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}" in text
    assert r"method & $\alpha = 1$ & $\alpha = 0.1$ & $\alpha = 0.1$ \\" in text
    assert r"a\_b & $\mathbf{80.00 \pm 1.00}$" in text


@pytest.mark.parametrize("style", ["markdown", "latex"])
def test_all_rows_have_as_many_columns(style):
    found = pd.DataFrame([cell("a", 0.9), cell("b", 0.8, alpha=1.0)])
    separator = "|" if style == "markdown" else "&"
    lines = [line for line in table(found, style).splitlines() if separator in line]
    counts = {line.count(separator) for line in lines if "multicolumn" not in line}
    assert len(counts) == 1


def test_csv_can_be_read_back():
    found = pd.DataFrame([cell("a", 0.9), cell("b", 0.8)])
    again = pd.read_csv(io.StringIO(table(found, "csv")))
    assert again["mean"].tolist() == [0.9, 0.8]


def test_a_table_too_wide_for_the_screen_becomes_one_per_topology():
    found = pd.DataFrame(
        [cell("a", 0.9, topology=name) for name in ("ring4", "ring5", "ring6", "ring7")]
    )
    narrow = table(found, max_width=70)
    assert max(map(len, narrow.splitlines())) <= 70
    assert narrow.count("| method") == 4
    assert table(found, max_width=200).count("| method") == 1
