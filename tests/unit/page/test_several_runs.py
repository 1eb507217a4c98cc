"""Runs side by side keep their names, colors and order; seeds of one setting are one curve."""

import math
import re

import pytest
from pages import algorithm, with_summary

from p2pqg.page.runs import gather, labels, runs_in
from p2pqg.page.seeds import Seeds, by_setting
from p2pqg.results.seeds import write as write_seeds


def test_a_run_has_one_color_everywhere(recorded, page_of):
    runs = [recorded("a", **algorithm("dsgd")), recorded("b", last=0.7, **algorithm("dsgdm"))]
    page = page_of(*runs)
    colors = {"dsgd": "s0", "dsgdm": "s1"}
    for found, _ in page.all("path"):
        assert re.fullmatch(r"(?!.*s[2-6]).*", found["class"])
    dots = [(a["class"], t) for a, t in page.all("path") if t]
    assert dots
    for kind, text in dots:
        assert colors[text.partition(",")[0]] in kind.split()


def test_runs_are_named_by_what_sets_them_apart(recorded):
    runs = [
        recorded("a", lr=0.1, **algorithm("dsgd")),
        recorded("b", lr=0.2, **algorithm("dsgd")),
        recorded("c", lr=0.2, **algorithm("dsgdm")),
    ]
    assert labels(gather([r.path for r in runs])) == [
        "dsgd, lr 0.1",
        "dsgd, lr 0.2",
        "dsgdm, lr 0.2",
    ]


def test_runs_that_differ_in_nothing_are_named_by_their_directories(recorded):
    runs = [recorded("first"), recorded("second")]
    assert labels(gather([run.path for run in runs])) == ["first", "second"]


def test_runs_keep_the_order_in_which_they_are_named_and_count_once(recorded, tmp_path):
    b, a = recorded("b"), recorded("a")
    found = gather([b.path, a.path, tmp_path])
    assert [one.run.path.name for one in found] == ["b", "a"]


def test_settings_that_differ_are_told_and_no_others(recorded, page_of):
    page = page_of(recorded("a", lr=0.1, seed=1), recorded("b", lr=0.2, seed=2))
    told = {
        a["data-name"]: t for a, t in page.all("td") if a["data-name"] in ("lr", "seed", "alpha")
    }
    assert told == {"lr": "0.2", "seed": "2"}
    assert "They differ in lr and seed." in page.said


def test_the_best_of_a_column_is_marked_unless_all_read_the_same(recorded, page_of):
    page = page_of(recorded("a", last=0.9, lr=0.1), recorded("b", last=0.7, lr=0.2))
    best = [float(a["value"]) for a, _ in page.all("data", class_="best")]
    assert best == [0.9, pytest.approx(0.85)]  # accuracy, worst client; averaged models are alike


def test_a_run_that_was_stopped_is_never_the_best(recorded, page_of):
    page = page_of(recorded("a", last=0.99, lr=0.1, rounds_done=5), recorded("b", last=0.7, lr=0.2))
    assert "0.99" not in [a["value"] for a, _ in page.all("data", class_="best")]


def test_of_more_runs_than_can_be_told_apart_the_best_are_drawn(recorded, page_of):
    rates = [0.01 * (k + 1) for k in range(23)]
    page = page_of(*(recorded(f"{k}", rows=2, last=0.5 + r, lr=r) for k, r in enumerate(rates)))
    assert len(page.all("th", scope="row")) == 2 * 23  # results, and where they differ
    assert page.data("names") == [f"lr {r:g}" for r in sorted(rates, reverse=True)[:21]]
    assert "Drawn below are the 21 with the highest accuracy." in page.said


def test_seeds_of_one_setting_are_one_curve_with_a_band(recorded, page_of):
    ends = {"dsgd": (0.6, 0.7, 0.8), "dsgdm": (0.5, 0.5, 0.5), "qg-dsgdm": (0.88, 0.9, 0.92)}
    runs = [
        recorded(f"{name}-{rate}-{seed}", seed=seed, lr=rate, last=end, **algorithm(name))
        for name, three in ends.items()
        for rate in (0.1, 0.2)
        for seed, end in enumerate(three)
    ]
    page = page_of(*runs)
    assert len(page.all("th", scope="row")) == 6 + 6  # results, and where they differ
    cells = [text for a, text in page.all("td") if a["data-name"] == "accuracy"]
    assert cells[0] == "70.00 % ± 10.00 %"
    assert cells[2] == "50.00 %"
    assert page.data("points")["test_accuracy"][0]["test_accuracy"][-1] == pytest.approx(0.7)
    assert "18 runs of 6 settings: " in page.said
    assert "seeds 0, 1 and 2" in page.said
    assert "They differ in algorithm and lr." in page.said


def test_a_band_goes_from_the_lowest_seed_to_the_highest(recorded):
    paths = [recorded(f"{k}", seed=k, last=end).path for k, end in enumerate((0.5, 0.7, 0.9))]
    one = Seeds.of_runs(gather(paths))
    span = one.range_of("test_accuracy")
    assert span["min"].iloc[-1] == pytest.approx(0.5)
    assert span["max"].iloc[-1] == pytest.approx(0.9)
    assert one.final["test_accuracy"] == pytest.approx(0.7)
    assert one.deviation["test_accuracy"] == pytest.approx(0.2)


def test_seeds_that_ended_apart_are_told_as_they_were_together(recorded):
    whole = recorded("0", seed=0, last=0.9)  # 0.9 / 10 a round
    short = recorded("1", seed=1, last=0.2, rows=4)  # 0.05 a round
    one = Seeds.of_runs(gather([whole.path, short.path]))
    assert one.rounds_done == 4
    assert one.final["round"] == 3
    assert one.final["test_accuracy"] == pytest.approx((0.36 + 0.2) / 2)
    assert one.final["bytes_sent"] == 800_000
    assert one.deviation["test_accuracy"] == pytest.approx(0.16 / math.sqrt(2))
    with_summary(whole, rounds=12)
    assert Seeds.of_runs(gather([whole.path, short.path])).age_of_clients == "after 10 rounds"


def test_seeds_that_ended_themselves_are_told_as_they_ended(recorded, page_of):
    rows = {0: 4, 1: 6, 2: 8}  # 0.9 at each end
    runs = [
        with_summary(recorded(f"{seed}", seed=seed, rows=n), stopped="time", bytes_sent=200_000 * n)
        for seed, n in rows.items()
    ]
    page = page_of(*runs, recorded("other", lr=0.5, rows=4, rounds=4))
    told = {a["data-name"]: text for a, text in page.all("td")[:8]}
    assert told["rounds"] == "6 ± 2"
    assert told["accuracy"] == "90.00 %"
    assert told["sent"] == "1.2 MB ± 400.0 kB"
    assert not any("rounds" in text for _, text in page.all("small"))
    assert not page.all("data", class_="best")  # the cheapest were not equally long
    assert "; 4 rounds" not in page.said  # which the first one did


def test_runs_whose_directories_are_called_alike_are_named_by_what_leads_to_them(
    recorded, tmp_path
):
    for folder, loss in (("a", "x" * 40), ("b", "y" * 40)):  # too long for a name
        for seed in (0, 1):
            recorded(f"seed{seed}", folder=tmp_path / folder, seed=seed, loss=loss)
        write_seeds(tmp_path / folder, [0, 1], {})
    shown = gather([tmp_path])
    called = ["a/seed0", "a/seed1", "b/seed0", "b/seed1"]
    assert labels(shown) == called
    assert labels(by_setting(shown)) == ["a", "b"]


def test_a_seed_that_failed_is_told_of_and_not_in_the_mean(recorded, fake_run, page_of):
    runs = [recorded(f"{k}", seed=k, last=0.6 + k / 10) for k in range(2)]
    runs = [with_summary(run, rounds=12, evaluated_rounds=12) for run in runs]
    failed = fake_run("failed", failure="no memory", seed=2)
    for name in ("rounds.parquet", "summary.json"):
        (failed.path / name).unlink()
    page = page_of(*runs, failed, recorded("other", lr=0.5))
    assert page.notes == ["lr 0.1 seed 2: failed: no memory; means are over 2 of 3 seeds"]
    cells = [text for a, text in page.all("td") if a["data-name"] == "accuracy"]
    assert cells == ["65.00 % ± 7.07 %", "90.00 %"]
    assert Seeds.of_runs(gather([run.path for run in (*runs, failed)])).evaluated_rounds == 12
    (failed.path / "failed.json").unlink()  # a run that has only begun, where no lock can be had
    assert [run.path for run in runs_in([failed.path])] == [failed.path]


def test_three_runs_of_32_clients_and_100_rows_stay_small(recorded, page_of):
    runs = [
        recorded(name, rows=100, clients=32, topology="social32", rounds=100, **algorithm(name))
        for name in ("dsgd", "dsgdm-n", "qg-dsgdm-n")
    ]
    assert len(page_of(*runs).text.encode()) < 350_000


def test_parameters_of_different_methods_are_no_difference_of_their_own(recorded):
    tau = {"slowmo": 12, "qg-dsgdm": 1}
    paths = [recorded(n, algorithm={"name": n, "tau": t}).path for n, t in tau.items()]
    assert labels(gather(paths)) == ["slowmo", "qg-dsgdm"]
    paths.append(recorded("third", algorithm={"name": "slowmo", "tau": 6}).path)
    assert labels(gather(paths)) == ["slowmo, tau 12", "qg-dsgdm, tau 1", "slowmo, tau 6"]
