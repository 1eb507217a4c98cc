"""Runs side by side: what differs, what is better, and when."""

import json
from dataclasses import replace

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.cli import main
from p2pqg.page.runs import read
from p2pqg.page.tables import headline
from p2pqg.results.alike import by_seed
from p2pqg.results.cells import cells
from p2pqg.results.comparison import Comparison
from p2pqg.results.parquet import write_parquet
from p2pqg.results.run import Run
from p2pqg.results.run_frames import read_runs
from p2pqg.results.schemas import CLIENT_COLUMNS, ROUND_COLUMNS, TIMING_COLUMNS
from p2pqg.results.seeds import write as write_seeds
from p2pqg.results.standing import Standing
from p2pqg.running.told import outcome

TINY = {"topology": "ring4", "engine": "local", "rounds": 20, "eval_every": 5, "alpha": 1.0}


@pytest.fixture
def fake(fake_run):
    """Make a run with an evaluation every ten rounds: (name, accuracies, clock=seconds a round)."""

    def make(name, accuracies, clock=None, **settings):
        done = 10 * len(accuracies)
        run = fake_run(name, accuracies[-1], rounds_done=done, **{"rounds": done} | settings)
        rows = [
            {
                "round": 10 * k + 9,
                "epoch": k + 1,
                "test_accuracy": accuracy,
                "test_accuracy_min": accuracy - 0.1,
                "bytes_sent": 1000 * (k + 1),
                "wall_seconds": 2.0 * (k + 1),
                "sim_seconds": clock and clock * 10 * (k + 1),
            }
            for k, accuracy in enumerate(accuracies)
        ]
        columns = ROUND_COLUMNS | (TIMING_COLUMNS if clock else {})
        write_parquet(run.path / "rounds.parquet", rows, columns)
        clients = [
            {"round": row["round"], "client": client, "test_accuracy": row["test_accuracy"] + off}
            for row in rows
            for client, off in enumerate([-0.01, 0.01])
        ]
        write_parquet(run.path / "clients.parquet", clients, CLIENT_COLUMNS)
        if clock:
            summary = json.loads((run.path / "summary.json").read_text())
            summary["sim_seconds"] = clock * done
            (run.path / "summary.json").write_text(json.dumps(summary))
        return Run(run.path)

    return make


def test_the_settings_that_differ_come_first_and_no_others(fake):
    table = p2pqg.compare(fake("a", [0.9], lr=0.1), fake("b", [0.7], lr=0.2)).table
    assert list(table.columns[:2]) == ["lr", "rounds"]
    assert table["lr"].tolist() == [0.1, 0.2]
    assert table["test_accuracy"].tolist() == [0.9, 0.7]


def test_accuracy_is_the_last_the_best_on_the_way_and_that_after_equally_many_rounds(fake):
    table = p2pqg.compare(fake("a", [0.5, 0.8, 0.7]), fake("b", [0.4, 0.6])).table
    assert table["test_accuracy"].tolist() == [0.7, 0.6]
    assert table["best_accuracy"].tolist() == [0.8, 0.6]
    assert table["accuracy_after_20_rounds"].tolist() == [0.8, 0.6]
    assert table["test_accuracy_min"].tolist() == pytest.approx([0.6, 0.5])


def test_runs_of_equal_length_need_no_column_for_equal_rounds(fake):
    assert "accuracy_after_10_rounds" not in p2pqg.compare(fake("a", [0.5]), fake("b", [0.4])).table


def test_the_first_evaluation_at_an_accuracy_counts_even_if_it_is_lost_again(fake):
    table = p2pqg.compare(fake("a", [0.5, 0.8, 0.7]), to_accuracy=[0.5, 0.75, 0.9, 1]).table
    assert table["rounds_to_0.5"].tolist() == [10]  # reached, exactly
    assert table["rounds_to_0.75"].tolist() == pytest.approx([10 + 10 * 0.25 / 0.3])
    assert table["bytes_to_0.75"].tolist() == pytest.approx([1000 + 1000 * 0.25 / 0.3])
    assert table["wall_seconds_to_0.75"].tolist() == pytest.approx([2 + 2 * 0.25 / 0.3])
    assert table[["rounds_to_0.9", "rounds_to_1"]].isna().all(axis=None)  # never


def test_an_evaluation_without_an_accuracy_is_none(fake):
    runs = p2pqg.compare(fake("a", [0.4, np.nan, 0.6]), to_accuracy=np.float32(0.5))
    assert runs.table["rounds_to_0.5"].tolist() == [20.0]  # half way from 10 to 30
    assert runs.spread["rounds_to_0.5"].tolist() == [10.0]


def test_when_an_accuracy_was_reached_says_how_far_it_is_to_be_trusted(fake):
    runs = p2pqg.compare(fake("a", [0.4, 0.8]), to_accuracy=0.5)
    assert runs.spread["rounds_to_0.5"].tolist() == [5.0]  # half of ten rounds between evaluations
    assert "12 ± 5" in repr(runs)
    seeds = [fake(f"s{k}", [0.0, one], seed=k) for k, one in enumerate([0.5, 1.0])]
    runs = p2pqg.compare(seeds, to_accuracy=0.5)  # at 20 and at 15, which are 3.5 apart
    assert runs.table["rounds_to_0.5"].tolist() == [17.5]
    assert runs.spread["rounds_to_0.5"].tolist() == [5.0]


def test_seconds_to_an_accuracy_are_those_of_the_simulated_clock_where_there_is_one(fake):
    runs = p2pqg.compare(fake("a", [0.5, 0.8], 3.0), fake("b", [0.8, 0.9], 7.0), to_accuracy=0.8)
    assert runs.table["sim_seconds_to_0.8"].tolist() == [60.0, 70.0]
    assert runs.table["sim_seconds"].tolist() == [60.0, 140.0]
    assert "wall_seconds_to_0.8" not in runs.table
    runs = p2pqg.compare(fake("c", [0.5, 0.8]), fake("d", [0.8, 0.9], 7.0), to_accuracy=0.8)
    assert np.array_equal(runs.table["sim_seconds_to_0.8"], [np.nan, 70], equal_nan=True)


def test_a_list_is_one_row_its_mean_and_its_sample_deviation(fake):
    seeds = [fake(f"s{k}", [0.2, accuracy], seed=k) for k, accuracy in enumerate([0.5, 0.7, 0.9])]
    other = fake("other", [0.2, 0.6], lr=0.3, seed=1)
    runs = p2pqg.compare(seeds, other, to_accuracy=0.7)
    assert runs.table["test_accuracy"].tolist() == pytest.approx([0.7, 0.6])
    assert runs.spread["test_accuracy"].tolist() == pytest.approx([0.2, np.nan], nan_ok=True)
    assert np.isnan(runs.table["rounds_to_0.7"]).all()  # one of the seeds never got there
    assert "seed" not in runs.settings
    assert runs.names == ["lr 0.1", "lr 0.3"]


def test_which_seeds_a_row_has_is_no_setting(fake):
    runs = [[fake(f"{lr}-{seed}", [0.9], lr=lr, seed=seed) for seed in seeds]
            for lr, seeds in ((0.1, (1, 2)), (0.2, (3, 4)))]  # fmt: skip
    assert list(p2pqg.compare(*runs).settings) == ["lr"]


def test_a_network_that_cannot_be_built_any_more_takes_nothing_but_its_picture(fake):
    here = fake("here", [0.9], topology="office-wan8", clients=8)
    gone = fake("gone", [0.8], topology="gone.yaml", clients=8)
    both = p2pqg.compare(here, gone, names=["here", "gone"])
    assert [group[0].network is None for group in both.groups] == [False, True]
    assert both.clients.index.tolist() == ["berlin-1", "berlin-2"]
    sized = Standing.of(fake("sized", [0.8], topology="ring", clients=5))
    assert sized.network.num_clients == 5
    assert both.clients["difference"]["gone"].tolist() == pytest.approx([-0.1, -0.1])
    with pytest.raises(ConfigError, match="gone: its network cannot be built here"):
        both.draw_network("gone")


def test_clients_are_compared_with_the_first_run_in_the_last_round_that_all_have(fake):
    runs = p2pqg.compare(fake("a", [0.5, 0.8]), fake("b", [0.4]), names=["a", "b"])
    assert runs.round == 9
    assert runs.clients["test_accuracy"].to_numpy() == pytest.approx(
        np.array([[0.49, 0.39], [0.51, 0.41]])
    )
    assert runs.clients["difference"]["b"].tolist() == pytest.approx([-0.1, -0.1])


def test_a_fork_left_alone_does_not_differ_at_all():
    with p2pqg.Simulation(**TINY) as sim:
        sim.advance(5)
        branch = sim.fork()
        for one in (sim, branch):
            one.advance(10)
        runs = p2pqg.compare(sim, branch)
    assert (runs.table.iloc[0] == runs.table.iloc[1]).all()
    assert (runs.clients["difference"] == 0).all(axis=None)
    assert runs.names == ["left alone (1)", "left alone (2)"]


def test_forks_are_called_by_what_was_done_to_them_and_not_to_their_parent():
    with p2pqg.Simulation(**TINY) as sim:
        sim.set_lr(0.05)
        branch, other = sim.fork(), sim.fork()
        branch.drop_links(["0-1"])
        other.drop_clients([2])
        runs = p2pqg.compare(sim, branch, other)
    assert runs.names == ["left alone", "drop_links 0-1", "drop_clients 2"]


def test_what_was_not_done_to_all_seeds_of_a_row_is_told_and_its_gaps_are_no_means(fake):
    first, second = fake("s1", [0.2, 0.8], seed=1), fake("s2", [0.4, 0.6], seed=2)
    summary = json.loads((second.path / "summary.json").read_text())
    told = ("set_lr 0.05", "drop_clients 1", "client 0 is alone")
    events = [{"round": 12, "what": what} for what in told]
    for run, known in ((first, events[:1]), (second, events)):
        (run.path / "summary.json").write_text(json.dumps(summary | {"events": known}))
    clients = [
        {"round": 19, "client": 0, "test_accuracy": 0.59},
        {"round": 9, "client": 1, "test_accuracy": 0.41},
    ]
    write_parquet(second.path / "clients.parquet", clients, CLIENT_COLUMNS)
    runs = p2pqg.compare([Run(first.path), Run(second.path)])
    assert [note.partition(": ")[2] for note in runs.notes] == [
        "drop_clients 1 was done to 1 of 2 seeds, the mean is over all"
    ]
    assert runs.names == ["drop_clients 1"]  # not as if it had been left alone
    left = runs.clients["test_accuracy"]["drop_clients 1"].tolist()
    assert left == pytest.approx([(0.79 + 0.59) / 2, np.nan], nan_ok=True)


def test_what_a_simulation_does_later_changes_no_comparison():
    with p2pqg.Simulation(**TINY) as sim:
        sim.advance(5)
        runs = p2pqg.compare(sim)
        sim.advance(5)
    assert runs.table["rounds"].tolist() == [5]
    assert runs.round == 4


def test_what_was_never_measured_is_no_column_and_nothing_to_fall_over():
    with p2pqg.Simulation(**TINY) as sim:
        twin = sim.fork()
    twin.close()
    runs = p2pqg.compare(sim, twin, to_accuracy=0.5)  # closed: nobody can evaluate them now
    assert "test_accuracy" not in runs.table
    assert runs.table["rounds_to_0.5"].isna().all()
    assert len(runs.clients) == 0
    assert "left alone" in runs._repr_html_()


def test_wall_seconds_of_live_simulations_are_left_out():
    # Between two cells the clock on the wall goes on.
    with p2pqg.Simulation(**TINY) as sim:
        sim.advance(5)
        assert not any("seconds" in key for key in p2pqg.compare(sim, to_accuracy=0.01).table)


def test_names_of_the_clients_are_those_of_the_network():
    with p2pqg.Simulation(**TINY | {"topology": "florentine15"}) as sim:
        sim.advance(5)
        runs = p2pqg.compare(sim)
    assert runs.clients.index[10] == "Pazzi"


@pytest.mark.parametrize(
    ("mean", "deviation", "text"),
    [
        (0.955, 0.0123, "95.50 ± 1.23 %"),
        (0.955, 0.0, "95.50 %"),
        (0.955, np.nan, "95.50 %"),
        (np.nan, 0.0123, "-"),
    ],
)
def test_a_spread_is_told_with_one_unit_or_not_at_all(fake, mean, deviation, text):
    runs = Comparison([[Standing.of(fake("a", [0.9]))]], ["a"])
    vars(runs)["_means"] = runs.table.assign(test_accuracy=mean)
    vars(runs)["spread"] = runs.spread.assign(test_accuracy=deviation)
    header, (row,) = runs.texts()
    assert row[header.index("accuracy")] == text


def test_the_command_prints_the_same_table(fake):
    a, b = fake("a", [0.5, 0.9], lr=0.1), fake("b", [0.95], lr=0.2)
    told = CliRunner().invoke(main, ["compare", str(a.path), str(b.path), "--to-accuracy", "0.9"])
    assert told.output.splitlines() == str(p2pqg.compare(a, b, to_accuracy=0.9)).splitlines()
    assert "rounds to 90 %" in told.output
    assert told.output.splitlines()[1].endswith(str(a.path))


def test_html_is_escaped_and_turned_where_it_would_be_too_wide(fake):
    run = fake("a", [0.9])
    narrow = p2pqg.compare(run, names=["<b>"])._repr_html_()
    assert "&lt;b&gt;" in narrow
    assert narrow.count("<tr>") == 2
    wide = p2pqg.compare(run, names=["x" * 100])._repr_html_()
    assert wide.count("<tr>") == 1 + len(p2pqg.compare(run).table.columns)


def test_curves_show_where_something_was_done():
    with p2pqg.Simulation(**TINY) as sim:
        sim.advance(5)
        branch = sim.fork()
        branch.drop_links(["0-1"])
        branch.advance(10)
        other = sim.fork()
        sim.drop_links(["1-2"])
        other.drop_links(["1-2"])
        runs = p2pqg.compare(sim, other, branch)
    assert not [line for line in runs.draw(x="epoch").axes[0].lines if line.get_linestyle() == ":"]
    picture = runs.draw()
    (ax,) = picture.axes
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [5]
    assert [text.get_text() for text in ax.texts][:1] == ["drop_links 1-2; drop_links 0-1"]
    assert [line.get_xdata().tolist() for line in ax.lines[:3]] == [[5], [5], [5, 10, 15]]


def test_the_network_is_drawn_as_it_is_with_its_clients_accuracies():
    with p2pqg.Simulation(**TINY) as sim:
        branch = sim.fork()
        branch.drop_clients([3])
        for one in (sim, branch):
            one.advance(5)
        runs = p2pqg.compare(sim, branch, names=["all", "without 3"])
    dots = runs.draw_network("without 3").axes[0].collections[-2]
    colored, known = dots.get_array(), runs.clients["test_accuracy"]
    assert dots.get_clim() == (known.min(axis=None), known.max(axis=None))  # of both networks
    there = sim.clients["test_accuracy"], branch.clients["test_accuracy"]
    assert colored.tolist() == there[1].tolist()
    assert len(colored) == 3
    with pytest.raises(ConfigError, match="no row 'without'; did you mean without 3"):
        runs.draw_network("without")
    with p2pqg.Simulation(**TINY) as sim:  # one that is absent everywhere has no row at all
        sim.drop_clients([1])
        sim.advance(5)
        runs = p2pqg.compare(sim)
        there = sim.clients["test_accuracy"]
    assert runs.clients.index.tolist() == [0, 2, 3]
    drawn = runs.draw_network().axes[0].collections[-2]
    assert drawn.get_array().tolist() == there.tolist()


def test_a_network_of_runs_that_no_round_has_in_common_is_drawn_in_gray(fake):
    runs = p2pqg.compare(fake("a", [0.5]), fake("b", [0.4]))
    vars(runs)["round"] = None
    (ax,) = runs.draw_network().axes
    assert ax.get_xlabel() == "test accuracy: not measured"
    longer = p2pqg.compare(fake("c", [0.5, 0.8, 0.7]), fake("d", [0.4, 0.6]))
    assert longer.draw_network().axes[1].get_ylabel() == "test accuracy after 20 rounds"
    assert longer.draw_clients().axes[0].get_xlabel() == "test accuracy after 20 rounds (%)"
    for draw in (longer.draw_clients, longer.draw_network):
        with pytest.raises(ConfigError, match="no column 'test_acc' of clients; did you mean test"):
            draw(what="test_acc")
    with pytest.raises(ConfigError, match="the first has no difference to itself; name another"):
        longer.draw_network(longer.names[0], "difference")


def test_a_network_is_drawn_with_its_own_names_whatever_others_are_called():
    office = TINY | {"topology": "office-wan8"}
    with p2pqg.Simulation(**TINY) as ring, p2pqg.Simulation(**office) as named:
        runs = p2pqg.compare(ring, named, names=["ring", "office"])
    assert runs.clients.index.tolist()[:1] == ["berlin-1"]  # of the one that has names
    texts = {
        name: {text.get_text() for text in runs.draw_network(name).axes[0].texts}
        for name in ("ring", "office")
    }
    assert texts["ring"] >= {"0", "1", "2", "3"}
    assert texts["office"] >= {"berlin-1", "lisbon-4"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"names": ["a"]}, "names must be one for each of 2 runs, all different, got"),
        ({"names": ["a", "a"]}, "all different"),
        ({"names": ["a", "b", "b"]}, "all different"),
        ({"names": [1, "1"]}, "all different"),
        ({"to_accuracy": 90}, r"to_accuracy must be a share in \(0, 1\], e.g. 0.9, got 90"),
        ({"to_accuracy": [0.5, 0]}, "to_accuracy must be"),
        ({"to_accuracy": 1.5}, "to_accuracy must be"),
        ({"to_accuracy": "0.9"}, "to_accuracy must be .*, got '0.9'"),
        ({"to_accuracy": [None]}, "to_accuracy must be .*, got None"),
    ],
)
def test_wrong_settings_are_said(fake, settings, problem):
    with pytest.raises(ConfigError, match=problem):
        p2pqg.compare(fake("a", [0.5]), fake("b", [0.6]), **settings)


@pytest.mark.parametrize("nothing", [(), ([],), ("there", [])])
def test_nothing_cannot_be_compared(nothing):
    with pytest.raises(ConfigError, match="compare needs at least one run, got none"):
        p2pqg.compare(*nothing)


def test_only_runs_can_be_compared(tmp_path):
    with pytest.raises(ConfigError, match="takes simulations, runs and their directories, got Da"):
        p2pqg.compare(pd.DataFrame())
    with pytest.raises(ConfigError, match="no finished run here"):
        p2pqg.compare(tmp_path)


def test_a_list_of_unlike_runs_has_no_mean(fake):
    unlike = [fake("a", [0.5], lr=0.1, seed=1), fake("b", [0.7], lr=0.2, seed=2)]
    with pytest.raises(ConfigError, match="seeds of one setting, these differ in lr; give them"):
        p2pqg.compare(unlike)
    with pytest.raises(ConfigError, match="must have a seed each, 2 have 1; give them one by one"):
        p2pqg.compare([unlike[0], unlike[0]])
    assert p2pqg.compare(*unlike).table["test_accuracy"].tolist() == [0.5, 0.7]


def test_a_seed_that_did_not_come_to_its_end_leaves_no_mean_and_is_told_of(fake):
    seeds = [fake("s1", [0.2, 0.8], seed=1), fake("s2", [0.4], seed=2, rounds=20)]
    runs = p2pqg.compare(seeds, fake("other", [0.1, 0.6], lr=0.3))
    assert runs.table["test_accuracy"].tolist() == pytest.approx([np.nan, 0.6], nan_ok=True)
    assert runs.table["accuracy_after_10_rounds"].tolist() == pytest.approx([0.3, 0.1])
    assert runs.notes == [f"{seeds[1].path}: stopped after 10 rounds of 20"]
    assert repr(runs).splitlines()[-1] == runs.notes[0]
    assert runs.notes[0] in runs._repr_html_()
    alone = p2pqg.compare(*seeds)  # then each is told as far as it came
    assert alone.table["test_accuracy"].tolist() == [0.8, 0.4]
    assert alone.table["rounds"].tolist() == [20, 10]


def test_of_seeds_of_which_one_failed_before_it_had_results_there_is_no_mean_anywhere(
    tmp_path, fake
):
    for seed in (1, 2):
        fake(f"seed{seed}", [0.5], seed=seed, folder=tmp_path / "seeds")
    for name in ("rounds.parquet", "clients.parquet", "summary.json"):
        (tmp_path / "seeds" / "seed2" / name).unlink()
    (tmp_path / "seeds" / "seed2" / "failed.json").write_text('{"message": "no samples"}')
    write_seeds(tmp_path / "seeds", [1, 2], {})
    for given in (tmp_path / "seeds", p2pqg.load(tmp_path / "seeds")):
        found = p2pqg.compare(given)
        assert found.table[["test_accuracy", "rounds"]].isna().all(axis=None)
        assert found.notes == [f"{tmp_path / 'seeds' / 'seed2'}: failed: no samples"]
    assert p2pqg.load(tmp_path / "seeds").summary.isna().all(axis=None)
    assert cells(read_runs([tmp_path]))["mean"].isna().all()
    result = CliRunner().invoke(main, ["compare", str(tmp_path)])
    assert result.output.splitlines()[1].endswith("(2 seeds)")
    assert not result.stderr


def test_a_run_that_went_on_and_was_killed_is_not_told_as_it_was_before(fake):
    run = fake("a", [0.3, 0.5, 0.7], rounds=40)
    summary = json.loads((run.path / "summary.json").read_text())
    before = summary | {"rounds": 10, "test_accuracy": 0.3, "bytes_sent": 1000}
    (run.path / "summary.json").write_text(json.dumps(before))
    found = p2pqg.compare(run.path)
    told = found.table.iloc[0]
    assert told["rounds"] == 30
    assert (told["test_accuracy"], told["bytes_sent"]) == (0.7, 3000)
    assert found.notes[0].endswith("broken off after 30 rounds of 40, no end on record")


def test_seeds_for_each_of_which_a_function_drew_a_split_are_one_setting(tmp_path):
    def split(labels, clients, rng):
        return np.array_split(rng.permutation(len(labels)), clients)

    x = np.random.default_rng(0).normal(size=(80, 2)).astype("float32")
    given = {"dataset": (x, (x[:, 0] > 0).astype(int)), "partition": split}
    tiny = {"topology": "ring2", "engine": "local", "rounds": 1, "out": str(tmp_path)}
    together = p2pqg.run(seed=[1, 2], name="together", **given, **tiny)
    contents = {run.config["partition"]["content"] for run in together}
    assert len(contents) == 2  # else there is nothing to see here
    assert len(by_seed(list(together))) == 1  # as report shows them, and table
    assert len(p2pqg.compare(together).table) == 1
    alone = p2pqg.run(seed=3, name="alone", **given, **tiny)
    assert len(p2pqg.compare([*together, alone]).table) == 1


def test_accuracies_that_are_asked_for_have_a_column_each(fake):
    header, (row,) = p2pqg.compare(fake("a", [0.5, 0.9, 1.0]), to_accuracy=[0.941, 0.944]).texts()
    columns = dict(zip(header, row, strict=True))
    assert [columns[f"rounds to {share} %"][:2] for share in ("94.1", "94.4")] == ["24", "24"]


def test_the_time_a_run_was_given_and_the_time_it_took_are_a_column_each(fake):
    ends = {"a": "10 s", "b": "20 s"}
    runs = [fake(name, [0.9], clock=1.0, time=end) for name, end in ends.items()]
    header, rows = p2pqg.compare(*runs).texts()
    at = [k for k, title in enumerate(header) if title == "time"]
    assert [[row[k] for k in at] for row in rows] == [
        ["10 s", "1 min 15 s"],
        ["20 s", "1 min 15 s"],
    ]


def test_a_metric_of_the_users_may_be_called_like_a_question(fake):
    run = fake("a", [0.5])
    metrics = {"distance_to_optimum": 0.25, "accuracy_after_dropout": 0.5, "steps_to_0": 7.0}
    rows = [{"round": 9, "test_accuracy": 0.5} | metrics]
    columns = ROUND_COLUMNS | dict.fromkeys(metrics, "float64")
    write_parquet(run.path / "rounds.parquet", rows, columns)
    header, (row,) = p2pqg.compare(p2pqg.load(run.path), to_accuracy=0.5).texts()
    told = dict(zip(header, row, strict=True))
    assert told["distance to optimum"] == "0.25"
    assert told["accuracy after dropout"] == "0.5"
    assert told["steps to 0"] == "7"
    assert told["rounds to 50 %"] == "10 ± 5"


def test_a_metric_of_the_users_may_be_called_like_a_setting(fake):
    runs = [fake(name, [0.5], loss=name) for name in ("mse", "cross-entropy")]
    for run, value in zip(runs, (0.25, 0.75), strict=True):
        row = {"round": 9, "test_accuracy": 0.5, "loss": value}
        write_parquet(run.path / "rounds.parquet", [row], ROUND_COLUMNS | {"loss": "float64"})
    both = p2pqg.compare(*[p2pqg.load(run.path) for run in runs])
    assert both.table["setting.loss"].tolist() == ["mse", "cross-entropy"]
    assert both.table["loss"].tolist() == [0.25, 0.75]
    header, first, _ = repr(both).splitlines()
    assert header.split().count("loss") == 2
    assert first.split()[0] == "mse"
    assert "0.25" in first.split()


def test_numbers_that_are_older_than_a_run_are_told_of(fake):
    """A run ends itself between two evaluations; a simulation is closed between two rows."""
    run = fake("s1", [0.2, 0.8], rounds=30)
    known = {"rounds": 25, "stopped": "enough", "evaluated_rounds": 10, "recorded_rounds": 20}
    (run.path / "summary.json").write_text(json.dumps(run.summary | known))
    run = p2pqg.load(run.path)
    with p2pqg.Simulation(**TINY, record_every=3, network={"links": "wan"}) as sim:
        sim.advance(11)
        assert p2pqg.compare(sim).notes == []
    aged = "accuracies are after {}, {} after {}"
    clock = "consensus, bytes and simulated time"  # of the simulation alone, which has a clock
    assert p2pqg.compare(run, sim, names=["a", "b"]).notes == [
        f"{run.path}: ended after 25 rounds of 30: enough; "
        f"{aged.format('20 rounds', 'consensus and bytes', 20)}",
        f"b: {aged.format('10 rounds', clock, 10)}",
    ]
    told = dict(outcome(run))
    assert told["test accuracy"].endswith(", after round 10 of 25")
    assert told["consensus distance"] == "0.0123, after round 20 of 25"
    assert told["sent"] == "2.0 MB, after round 20 of 25"


def drawn(seed, samples=80, features=2):
    """Data that a user draws for each seed."""
    x = np.random.default_rng(seed).normal(size=(samples, features)).astype("float32")
    return x, (x[:, 0] > 0).astype(int)


def net(seed, width=4):
    """A model that a user makes anew for each seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251  of the fork
        return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))


def test_seeds_with_objects_drawn_for_each_are_one_setting_and_it_is_told(tmp_path):
    tiny = {"topology": "ring2", "engine": "local", "rounds": 1}
    given = {
        "data": lambda seed: {"dataset": drawn(seed)},
        "start weights": lambda seed: {"dataset": drawn(0), "model": net(seed)},
    }
    for what, make in given.items():
        runs = [
            p2pqg.run(**make(seed), seed=seed, name=f"{what[:4]}{seed}", out=str(tmp_path), **tiny)
            for seed in (1, 2)
        ]
        live = [p2pqg.Simulation(**make(seed), seed=seed, **tiny) for seed in (1, 2)]
        for one in live:
            one.advance(1)
        for group, name in ((runs, f"{tmp_path} (2 seeds)"), (live, "left alone")):
            found = p2pqg.compare(group)
            means = [one.summary["test_accuracy"] for one in runs]
            assert found.table["test_accuracy"].tolist() == pytest.approx([np.mean(means)])
            told = f"{name}: each seed has {what} of its own, over which the mean is, too"
            assert found.notes == [told]
        for one in live:
            one.close()
    assert p2pqg.compare(runs[0], runs[1]).notes == []


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        ({"dataset": drawn(1)}, {"dataset": drawn(2, 90)}, "dataset.path, dataset.content"),
        ({"dataset": drawn(1)}, {"dataset": drawn(2, 80, 3)}, "dataset.path, dataset.content"),
        ({"model": net(1)}, {"model": net(2, 5)}, "own_model.py"),
        (
            {"topology": nx.path_graph(3)},
            {"topology": nx.complete_graph(3)},
            "own_topology.graphml",
        ),
    ],
)
def test_objects_of_another_form_are_no_draws_of_one_thing(one, other, keys):
    usual = {"dataset": drawn(0), "topology": "ring2", "engine": "local", "rounds": 1}
    sims = [p2pqg.Simulation(**usual | given, seed=s) for s, given in enumerate((one, other))]
    with pytest.raises(ConfigError, match=f"these differ in {keys}"):
        p2pqg.compare(sims)
    for sim in sims:
        sim.close()


def test_the_honest_are_compared_where_somebody_lies(tmp_path):
    lying = {"attacks": {"who": [1], "how": "label-flip"}, "out": str(tmp_path)}
    one, other = p2pqg.run(**TINY, **lying), p2pqg.run(**TINY, out=str(tmp_path))
    last = one.clients[one.clients["round"] == 19]
    honest = last[last["client"] != 1]["test_accuracy"].mean()
    assert last["test_accuracy"].mean() != honest
    both = p2pqg.compare(one, other).table["honest_test_accuracy"].tolist()
    assert both == pytest.approx([honest, np.nan], nan_ok=True)
    assert "honest_test_accuracy" not in p2pqg.compare(other).table
    (cell,) = [c for c in headline(read(one)) if c.name == "of the honest"]
    assert cell.value == pytest.approx(honest)


def test_the_best_accuracy_is_chosen_on_samples_that_are_held_out_where_there_are_any(fake):
    one = Standing.of(fake("s1", [0.2, 0.8, 0.6, 0.7]))
    assert one.results["best_accuracy"] == 0.8
    rounds = one.rounds.assign(validation_accuracy=[0.1, 0.5, 0.9, 0.8])
    assert replace(one, rounds=rounds).results["best_accuracy"] == 0.6


def test_objects_that_no_run_could_keep_may_not_have_been_the_same_and_it_is_told(fake):
    lost = {"lr_schedule": {"function": "given:<lambda>"}}
    alone = [fake(f"s{seed}", [0.5], seed=seed, **lost) for seed in (1, 2)]
    (line,) = p2pqg.compare(alone, names=["mine"]).notes
    assert line.startswith("mine: lr_schedule.function was an object that its runs could not keep")
    assert p2pqg.compare(*alone).notes == []  # of which nothing is averaged
    home = alone[0].path.parent
    (home / "seeds.json").write_text(json.dumps({"seeds": [1, 2]}))  # one command made them
    assert p2pqg.compare(alone, names=["mine"]).notes == []


def test_functions_of_one_name_that_no_run_could_keep_are_told_apart_by_what_they_do(tmp_path):
    """Two lambdas as learning rates were one setting, over which tables took a mean."""
    settings = {**TINY, "rounds": 2, "eval_every": 2, "model": "logistic", "out": str(tmp_path)}

    def rate(lr):
        return lambda round: lr

    def run(seed, lr):
        return p2pqg.run(**settings, seed=seed, lr=rate(lr), callbacks=[lambda sim, row: None])

    one, two, other = run(1, 0.1), run(2, 0.1), run(2, 0.2)
    assert p2pqg.compare([one, two], names=["mine"]).notes == []  # they are known to be the same
    assert by_seed([one, two, other]) == [[one, two], [other]]
    assert list(p2pqg.compare(two, other).settings) == ["lr_schedule.function"]
    with pytest.raises(ConfigError, match=r"these differ in lr_schedule\.function; "):
        p2pqg.compare([one, other])
    with pytest.raises(ConfigError, match=r"lr was an object of Python \(<lambda>\)"):
        p2pqg.resume(one.path, rounds=3)


def test_a_function_given_again_to_go_on_that_is_another_is_told(tmp_path, capsys):
    settings = {**TINY, "rounds": 2, "eval_every": 2, "model": "logistic", "out": str(tmp_path)}
    run = p2pqg.run(**settings, lr=lambda round: 0.1)
    p2pqg.resume(run.path, rounds=3, lr=lambda round: 0.1, quiet=False)
    assert "is another" not in capsys.readouterr().out
    p2pqg.resume(run.path, rounds=4, lr=lambda round: 0.2, quiet=False)
    told = "note: lr_schedule.function that was given again is not what the run began with"
    assert told in capsys.readouterr().out
