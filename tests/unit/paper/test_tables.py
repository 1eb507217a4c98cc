"""Cells as Markdown, LaTeX and CSV."""

import io

import pandas as pd
import pytest

from p2pqg.paper.published import published
from p2pqg.paper.tables import table
from p2pqg.results.cells import BLOCK, COLUMN


def cell(method, mean, std=0.01, *, topology="ring16", alpha=0.1, lr=0.1, seeds=3, **other):
    row = dict.fromkeys([*BLOCK, "method", *COLUMN])
    row |= {"dataset": "digits", "model": "mlp", "partition": "qg-dirichlet", "method": method}
    row |= {
        "rates": 1,
        "chosen_by": "test_accuracy",
        "runs": seeds,
        "failed": 0,
        "gradients": 1500.0,
        "bytes": 2e6,
        "epochs": 300.0,
    }
    row |= {"topology": topology, "alpha": alpha, "lr": lr, "mean": mean, "std": std}
    return row | {"seeds": seeds, "settings": {"algorithm": method}} | other


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
    found = pd.DataFrame([cell("a", float("nan"), float("nan"), lr=float("nan"), failed=1)])
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
    told = [cell("a", 0.9, measured={"mean": (7.0, 0.5), "f1": (0.6, 0.1)})]  # a user's metrics
    again = pd.read_csv(io.StringIO(table(pd.DataFrame(told), "csv"))).iloc[0]
    keys = ["mean", "measured.mean", "measured.mean_std", "f1", "f1_std"]
    assert again[keys].tolist() == [0.9, 7.0, 0.5, 0.6, 0.1]


def test_a_name_that_is_a_formula_is_a_text_to_a_spreadsheet():
    for name in ("=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1"):
        for text in (
            table(pd.DataFrame([cell(name, 0.9)]), "csv"),
            beside(cell("dsgd", 0.9), cell(name, 0.9), style="csv"),
        ):
            again = pd.read_csv(io.StringIO(text))
            assert f"'{name}" in again["method"].tolist()
            assert set(again["mean"]) == {0.9}  # numbers stay numbers


def test_what_latex_would_obey_in_a_name_is_only_shown():
    text = table(pd.DataFrame([cell(r"\input{/etc/passwd}", 0.9), cell("$x^2~%", 0.8)]), "latex")
    assert r"\textbackslash{}input\{/etc/passwd\} & " in text
    assert r"\$x\textasciicircum{}2\textasciitilde{}\% & " in text
    several = table(pd.DataFrame([cell("a", 0.9, dataset="x\n\\input{y}")]), "latex")
    assert not any(line.startswith(r"\input") for line in several.splitlines())


def test_a_table_too_wide_for_the_screen_becomes_one_per_topology():
    found = pd.DataFrame(
        [cell("a", 0.9, topology=name) for name in ("ring4", "ring5", "ring6", "ring7")]
    )
    narrow = table(found, max_width=70)
    assert max(map(len, narrow.splitlines())) <= 70
    assert narrow.count("| method") == 4
    assert table(found, max_width=200).count("| method") == 1


def beside(*found, name="table1", **shown):
    return table(pd.DataFrame(found), paper=published(name), **shown)


def test_the_papers_numbers_stand_beside_ours_in_its_order_and_with_its_names():
    text = beside(cell("my-own", 0.5), cell("qg-dsgdm-n", 0.4), cell("dsgd", 0.3))
    assert rows_of(text)[2:] == [
        ["DSGD", "30.00 ± 1.00 [74.55 ± 2.07]"],
        ["QG-DSGDm-N", "40.00 ± 1.00 [82.20 ± 1.27]"],
        ["my-own", "**50.00 ± 1.00**"],
    ]
    assert "Lin et al., ICML 2021, Table 1, ResNet-EvoNorm-20. Ours is scaled down" in text
    assert "No method in another order than in the paper" in text


@pytest.mark.parametrize(("std", "marked"), [(0.01, True), (0.05, False), (float("nan"), False)])
def test_methods_in_another_order_than_in_the_paper_are_marked_beyond_their_spread(std, marked):
    # 3 points apart; the spread of the difference is sqrt(2) std: 1.4 or 7.1 points, or unknown.
    text = beside(cell("qg-dsgdm-n", 0.40, std), cell("dsgdm-n", 0.43, std), cell("dsgd", 0.2, std))
    lines = dict(rows_of(text)[2:])
    assert ["†" in lines[m] for m in ("DSGD", "DSGDm-N", "QG-DSGDm-N")] == [False, marked, marked]
    note = "† ring16, alpha 0.1: DSGDm-N above QG-DSGDm-N. The paper has them the other way."
    assert (note in text) == marked


def test_at_the_papers_own_scale_numbers_far_from_its_own_are_marked():
    own = {"dataset": "cifar10", "model": "resnet20-evonorm-official"}
    # The paper: 74.55 ± 2.07 and 82.20 ± 1.27.
    text = beside(cell("dsgd", 0.76, **own), cell("qg-dsgdm-n", 0.86, **own))
    assert rows_of(text)[2:] == [
        ["DSGD", "76.00 ± 1.00 [74.55 ± 2.07]"],
        ["QG-DSGDm-N", r"**86.00 ± 1.00**\* [82.20 ± 1.27]"],
    ]
    assert "scaled down" not in text
    fewer = beside(cell("qg-dsgdm-n", 0.86, **own | {"epochs": 30.0}))
    assert "*[" not in fewer
    assert "scaled down" in fewer


def test_the_centralized_method_stands_in_every_column_of_as_many_clients():
    sgd = cell("sgdm-n", 0.9, topology="complete16", partition="iid", alpha=float("nan"))
    ring = [cell("dsgd", 0.5, alpha=alpha) for alpha in (10.0, 0.1)]
    header, _, central, dsgd = rows_of(beside(sgd, *ring))
    assert header == ["method", "ring16, alpha 10", "ring16, alpha 0.1"]
    assert central == ["SGDm-N (centralized)", *["90.00 ± 1.00 [92.18 ± 0.19]"] * 2]
    assert [text[:9] for text in dsgd[1:]] == ["**50.00 ±"] * 2  # the best of those that compete


def test_methods_that_the_paper_would_call_the_same_keep_their_own_names():
    dmsgd = {"settings": {"algorithm": "dmsgd", "algorithm.option": 1}}
    found = [cell(f"dmsgd mu={mu}", mu, **dmsgd) for mu in (0.5, 0.7)]
    assert [row[0] for row in rows_of(beside(*found, name="table5"))[2:]] == [
        "dmsgd mu=0.5, ring16",
        "dmsgd mu=0.7, ring16",
    ]


def test_table_2_has_methods_across_and_table_5_networks_in_its_rows():
    pair = [cell("dsgdm-n", 0.4), cell("d2", 0.3)]
    assert rows_of(beside(*pair, name="table2"))[::2] == [
        ["method", "DSGDm-N", "D2"],
        ["ring16, alpha 0.1", "**40.00 ± 1.00** [77.48 ± 2.67]", "30.00 ± 1.00 [49.80]"],
    ]
    pair = [cell("dsgdm-n", 0.4), cell("dsgdm-n", 0.6, topology="complete16")]
    assert rows_of(beside(*pair, name="table5"))[2:] == [
        ["DSGDm-N, complete16", "**60.00 ± 1.00** [71.24 ± 3.08]"],
        ["DSGDm-N, ring16", "40.00 ± 1.00 [77.48 ± 2.67]"],
    ]


def test_a_number_of_the_paper_that_is_in_doubt_is_said_to_be_and_not_compared():
    pair = [cell("dsgdm-n", 0.4), cell("dsgdm-n", 0.6, topology="complete16")]
    text = beside(*pair, name="table5")
    assert "In doubt, and not compared: the paper's 71.24 (implausibly below" in text
    assert "†" not in text  # the paper has them the other way


def test_costs_are_two_columns_for_each_network():
    found = [cell("dsgd", 0.5, alpha=alpha, gradients=g) for alpha, g in ((1.0, 1e3), (0.1, 2e3))]
    header, _, row = rows_of(table(pd.DataFrame(found), show_costs=True))
    assert header[3:] == ["ring16, gradients", "ring16, sent"]
    assert row[3:] == ["1,500", "2.0 MB"]


def test_what_tuning_cost_is_said_with_the_rates():
    found = [cell("a", 0.5, rates=4, runs=12), cell("b", 0.5, rates=5, runs=15, failed=2)]
    text = table(pd.DataFrame(found), show_lr=True)
    assert "of 4 to 5 rates: 27 runs (a 12, b 15), 2 failed." in text
    assert "deviation, on the test samples themselves, of" in text
    held_out = [one | {"chosen_by": "validation_accuracy"} for one in found]
    assert "deviation, on samples held out, of" in table(pd.DataFrame(held_out), show_lr=True)
    assert "where there are any" in table(pd.DataFrame([found[0], held_out[1]]), show_lr=True)


def test_latex_has_the_marks_and_the_papers_numbers_too():
    text = beside(cell("qg-dsgdm-n", 0.40), cell("dsgdm-n", 0.43), style="latex")
    assert r"DSGDm-N & $\mathbf{43.00 \pm 1.00}$$^{\dagger}$ [77.48 $\pm$ 2.67] \\" in text
    assert "% † ring16, alpha 0.1: DSGDm-N above QG-DSGDm-N." in text


def test_csv_has_the_papers_numbers_as_fractions():
    again = pd.read_csv(io.StringIO(beside(cell("dsgd", 0.9), cell("x", 0.8), style="csv")))
    assert again["paper_row"].tolist() == ["DSGD", "x"]
    assert again["paper_mean"][0] == pytest.approx(0.7455)
    assert again["paper_mean"].isna()[1]
    assert "settings" not in again
