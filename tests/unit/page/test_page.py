"""The page says what the files say, needs nothing from elsewhere, and takes no text for HTML."""

import base64
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from p2pqg.cli import main
from p2pqg.page import charts, maps, scene, write_page
from p2pqg.page.charts import Scale
from p2pqg.page.runs import gather, labels
from p2pqg.page.seeds import Seeds
from p2pqg.recipe.own_files import FOLDER
from p2pqg.recipe.settings import read_config
from p2pqg.results.records import (
    CLIENT_COLUMNS,
    LINK_COLUMNS,
    LOCK,
    ROUND_COLUMNS,
    TIMING_COLUMNS,
    Run,
    RunDirectory,
    being_written,
    write_parquet,
)
from p2pqg.simulation.build import build

VOID = {"meta", "br", "input", "link", "img", "hr"}


class Page(HTMLParser):
    """Elements as (tag, attributes, text inside), in order of their start."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open[-1][0]}"

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for element in self._open:
            element[2].append(data)

    def all(self, tag, **attributes):
        """(attributes, text) of the elements with that tag and those attributes."""
        return [
            (found, " ".join("".join(texts).split()))
            for name, found, texts in self.elements
            if name == tag and all(found.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]

    def data(self, id):
        (found,) = ("".join(t) for n, a, t in self.elements if n == "script" and a.get("id") == id)
        return json.loads(found)

    @property
    def values(self):
        """Every number of the results, as recorded."""
        return [float(found["value"]) for found, _ in self.all("data")]

    @property
    def said(self):
        """All that can be read."""
        return self.all("body")[0][1]

    @property
    def notes(self):
        return [text for _, text in self.all("p", class_="note")]


@pytest.fixture
def recorded(fake_run):
    """A run with rows: (name, rows=, clients=, evaluate=, columns=, last=, as of fake_run)."""

    def make(name, *, rows=10, clients=16, evaluate=2, columns=None, last=0.9, **settings):
        run = fake_run(name, last, **{"rounds_done": rows, "clients": clients} | settings)
        rounds, people = [], []
        for t in range(rows):
            row = {
                "round": t,
                "epoch": (t + 1) / 4,
                "lr": 0.1,
                "train_loss": 2.5 / (t + 1),
                "consensus_distance": 0.5 ** (t + 1),
                "bytes_sent": 200_000 * (t + 1),
                "wall_seconds": 2.0 + t / 8,
            }
            if (t + 1) % evaluate == 0 or t == rows - 1:
                mean = last * (t + 1) / rows
                spread = 0.05 * np.linspace(-1, 1, clients)
                row |= {
                    "test_accuracy": mean,
                    "test_accuracy_std": float(spread.std()),
                    "test_accuracy_min": mean - 0.05,
                    "averaged_model_accuracy": mean + 0.03,
                    "test_loss": 1.0,
                }
                people += [
                    {"round": t, "client": i, "test_accuracy": mean + spread[i], "num_samples": 9}
                    for i in range(clients)
                ]
            rounds.append(row)
        kept = {k: v for k, v in ROUND_COLUMNS.items() if columns is None or k in columns}
        write_parquet(run.path / "rounds.parquet", rounds, kept)
        write_parquet(run.path / "clients.parquet", people, CLIENT_COLUMNS)
        return Run(run.path)

    return make


@pytest.fixture
def page_of(tmp_path):
    def make(*runs):
        path = write_page([run.path for run in runs], tmp_path / "page.html")
        return Page(path.read_text(encoding="utf-8"))

    return make


def algorithm(name):
    return {"algorithm": {"name": name}}


# ---- the numbers


def test_the_numbers_of_a_run_are_those_of_its_files(recorded, page_of):
    run = recorded("a")
    page = page_of(run)
    last = run.rounds.iloc[-1]
    for key in ("test_accuracy", "test_accuracy_std", "averaged_model_accuracy"):
        assert run.summary[key] in page.values
    for key in ("test_accuracy_min", "train_loss"):
        assert last[key] in page.values
    assert ({"value": "0.9"}, "90.00 %") in page.all("data")


def test_every_point_of_every_curve_is_one_that_was_recorded(recorded, page_of):
    runs = [recorded("a", **algorithm("dsgd")), recorded("b", last=0.7, **algorithm("dsgdm"))]
    points = page_of(*runs).data("points")
    for measure in ("test_accuracy", "train_loss", "consensus_distance"):
        for run, found in zip(runs, points[measure], strict=True):
            rows = run.rounds.dropna(subset=measure)
            assert found["round"] == rows["round"].tolist()
            assert found["bytes_sent"] == rows["bytes_sent"].tolist()
            np.testing.assert_allclose(found["wall_seconds"], rows["wall_seconds"], rtol=1e-5)
            np.testing.assert_allclose(found[measure], rows[measure], rtol=1e-5)


def test_every_client_is_told_with_its_own_accuracy(recorded, page_of):
    run = recorded("a")
    told = [text for _, text in page_of(run).all("title") if text.startswith("client ")]
    last = run.clients[run.clients["round"] == 9]
    assert len(told) == 16
    for text, accuracy in zip(told, last["test_accuracy"], strict=True):
        assert f"accuracy {100 * accuracy:.2f} %" in text


def test_clients_are_ranked_from_worst_to_best(recorded, page_of):
    page = page_of(recorded("a"))
    told = [text for _, text in page.all("title") if text.startswith("dsgd, client")]
    assert [int(re.search(r"client (\d+)", text)[1]) for text in told] == list(range(16))


def test_a_curve_ends_where_its_last_value_is(recorded):
    (shown,) = gather([recorded("a").path])
    from p2pqg.page.curves import ACCURACY, chart

    plot = chart([shown], ["a"], ACCURACY).plots[0]
    (line,) = [mark.path for mark in plot.marks if mark.kind == "line"]
    numbers = np.array(re.findall(r"-?\d+", line), dtype=float).reshape(-1, 2)
    x, y = numbers.sum(axis=0)  # a start and steps from point to point
    assert x == pytest.approx(charts.SIZE * 9 / 10, abs=1)  # of ten rounds the last is 9
    assert y == pytest.approx(charts.SIZE * (1 - plot.y.shares(0.9)), abs=1)


# ---- shards and networks


def test_the_shards_are_those_of_the_run(recorded):
    (shown,) = gather([recorded("a").path])
    ((counts, why),) = maps.shards_of([shown])
    experiment = build(read_config(shown.config))
    assert why == ""
    assert counts.sum(axis=1).tolist() == [len(part) for part in experiment.parts]
    labels_of_3 = experiment.arrays.train_y[experiment.parts[3]]
    assert counts[3].tolist() == np.bincount(labels_of_3, minlength=10).tolist()


@pytest.mark.parametrize("dataset", ["cifar10", "ag-news"])
def test_a_page_fetches_no_data_and_says_that_shards_are_missing(
    recorded, monkeypatch, tmp_path, dataset
):
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("p2pqg.base.hub.urlopen", None)
    model = {"cifar10": "resnet20-gn", "ag-news": "distilbert"}[dataset]
    run = recorded("a", dataset={"name": dataset}, model={"name": model})
    text = write_page([run.path]).read_text()
    assert "Shards are not shown: " in text
    assert "downloads are not allowed here" in text
    assert not (tmp_path / "cache").exists()


def test_parameters_of_different_methods_are_no_difference_of_their_own(recorded):
    tau = {"slowmo": 12, "qg-dsgdm": 1}
    paths = [recorded(n, algorithm={"name": n, "tau": t}).path for n, t in tau.items()]
    assert labels(gather(paths)) == ["slowmo", "qg-dsgdm"]
    paths.append(recorded("third", algorithm={"name": "slowmo", "tau": 6}).path)
    assert labels(gather(paths)) == ["slowmo, tau 12", "qg-dsgdm, tau 1", "slowmo, tau 6"]


def test_the_network_is_that_of_the_run_when_its_file_has_gone(recorded):
    run = recorded("a", topology="gone.csv", clients=3)
    (shown,) = gather([run.path])
    assert maps.network_of(shown) is None
    (run.path / FOLDER).mkdir()
    (run.path / FOLDER / "gone.csv").write_text("source,target\n0,1\n1,2\n")
    assert sorted(maps.network_of(shown).graph(0).edges) == [(0, 1), (1, 2)]


def test_bars_have_heights_in_proportion_and_stand_in_the_place_of_their_class():
    path = maps.bars(np.array([0, 6, 0, 3]), most=6)
    assert path == "M8 18v-18h7.2v18zM24 18v-9h7.2v9z"


def test_neighboring_classes_share_a_bar_where_there_are_many():
    counts = np.arange(200).reshape(2, 100)
    assert maps.grouped(counts).tolist() == counts.reshape(2, 20, 5).sum(axis=2).tolist()


def test_without_its_data_a_run_is_shown_without_bars_and_says_so(recorded, page_of):
    run = recorded("a", dataset={"name": "cifar10"}, data_dir="nowhere", model={"name": "lenet"})
    page = page_of(run)
    assert "Shards are not shown: data_dir must be an existing folder, got 'nowhere'" in page.said
    assert page.all("circle")
    assert not page.all("path", class_="bars")


def test_a_network_that_is_gone_is_said_not_drawn(recorded, page_of):
    page = page_of(recorded("a", topology="gone.yaml"))
    assert "The network gone.yaml cannot be built here." in page.said
    assert not page.all("circle")


def test_too_many_clients_are_not_drawn(recorded, page_of):
    page = page_of(recorded("a", topology="ring201", clients=201))
    assert "Too many clients to draw." in page.said
    assert len(page.text) < 200_000


def test_boxes_that_overlap_are_pushed_apart_and_others_left_alone():
    box = np.array([10.0, 6.0])
    far = np.array([[0.0, 0.0], [50.0, 0.0]])
    np.testing.assert_array_equal(maps.apart(far, box), far)
    crowd = np.random.default_rng(0).uniform(0, 40, (30, 2))
    crowd[1] = crowd[0]
    placed = maps.apart(crowd, box)
    gap = np.abs(placed[:, None] - placed[None])
    overlap = ((gap < box - 1e-9).all(axis=-1)) & ~np.eye(30, dtype=bool)
    assert not overlap.any()


def test_colors_go_from_end_to_end_and_are_written_on_readably():
    assert maps.color(0.0) == ("#440154", "#fff")
    assert maps.color(1.0) == ("#fde725", "#000")
    assert maps.color(1 / 7)[0] == "#46327e"


def test_what_is_nearly_alike_does_not_look_unlike(recorded):
    (shown,) = gather([recorded("a", clients=1).path])
    low, high = maps.accuracy_range([shown])
    assert high - low == pytest.approx(maps.SMALLEST_RANGE)


# ---- nothing from elsewhere, nothing of a user's as HTML


def test_nothing_is_loaded_from_elsewhere(recorded, page_of):
    page = page_of(recorded("a"), recorded("b", lr=0.2))
    for _, attributes, _ in page.elements:
        assert not {"src", "srcset", "poster", "background", "action"} & attributes.keys()
        assert attributes.get("href", "data:").startswith("data:")
    assert not page.all("link")
    style = page.all("style")[0][1]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for a, _ in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_what_a_user_wrote_stays_text(recorded, page_of, tmp_path):
    evil = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    runs = [
        recorded(f"{i} <b>", lr=lr, folder=tmp_path / "<i>", **algorithm(f"{evil}{i}"))
        for i, lr in enumerate((0.1, 0.2))
    ]
    page = page_of(*runs)
    assert len(page.all("script")) == 5  # ours: data and code, of the page and of its slider
    assert not page.all("img")
    assert not any(text for _, text in page.all("i"))
    assert page.data("names") == labels(gather([run.path for run in runs]))
    recipes = [text for _, text in page.all("code")]
    assert any("alert(1)" in text for text in recipes)


def test_the_recipe_repeats_the_run(recorded, page_of):
    run = recorded("a b")
    page = page_of(run)
    command = page.all("code")[0][1]
    assert command == f"p2pqg run '{run.path}/config.yaml' --name 'a b-again'"
    recipe = next(a["data-copy"] for a, _ in page.all("button") if "topology:" in a["data-copy"])
    assert yaml.safe_load(recipe) == run.config | {"out": run.path.parent.name}


def test_the_page_does_not_say_where_the_sender_keeps_files(
    recorded, page_of, tmp_path, monkeypatch
):
    ring, photos = tmp_path / "office.csv", str(tmp_path / "photos")
    ring.write_text("source,target\n" + "".join(f"{i},{(i + 1) % 16}\n" for i in range(16)))
    runs = [recorded("a", topology=str(ring), data_dir=photos), recorded("b", lr=0.3, data_dir="d")]
    monkeypatch.chdir(tmp_path)
    for shown in (runs, runs[:1]):
        page = page_of(*shown)
        assert str(tmp_path) not in page.text
        links = [a["href"] for a, _ in page.all("a") if a.get("download")]
        recipe = base64.b64decode(links[0].partition("base64,")[2]).decode()
        assert recipe.startswith("# without the folders of the machine it ran on: ")
        assert yaml.safe_load(recipe)["topology"] == "office.csv"
        assert yaml.safe_load(recipe)["data_dir"] == "photos"
        assert "office.csv: 16 clients, degree 2" in page.text  # for that the file was read


# ---- several runs


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
        for rate in (0.1, 0.2, 0.4)
        for seed, end in enumerate(three)
    ]
    page = page_of(*runs)
    assert len(page.all("th", scope="row")) == 9 + 9  # results, and where they differ
    cells = [text for a, text in page.all("td") if a["data-name"] == "accuracy"]
    assert cells[0] == "70.00 % ± 10.00 %"
    assert cells[3] == "50.00 %"
    assert page.data("points")["test_accuracy"][0]["test_accuracy"][-1] == pytest.approx(0.7)
    assert "27 runs of 9 settings: " in page.said
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


def test_a_seed_that_failed_is_told_of_and_not_in_the_mean(recorded, fake_run, page_of):
    runs = [recorded(f"{k}", seed=k, last=0.6 + k / 10) for k in range(2)]
    failed = fake_run("failed", failure="no memory", seed=2)
    for name in ("rounds.parquet", "summary.json"):
        (failed.path / name).unlink()
    page = page_of(*runs, failed, recorded("other", lr=0.5))
    assert page.notes == ["lr 0.1 seed 2: failed: no memory"]
    cells = [text for a, text in page.all("td") if a["data-name"] == "accuracy"]
    assert cells == ["65.00 % ± 7.07 %", "90.00 %"]


def test_three_runs_of_32_clients_and_100_rows_stay_small(recorded, page_of):
    runs = [
        recorded(name, rows=100, clients=32, topology="social32", rounds=100, **algorithm(name))
        for name in ("dsgd", "dsgdm-n", "qg-dsgdm-n")
    ]
    assert len(page_of(*runs).text.encode()) < 350_000


# ---- how runs ended


def test_a_run_that_was_stopped_says_when(recorded, page_of):
    page = page_of(recorded("a", rows=4))
    assert page.notes == ["stopped after 4 rounds of 10"]


def test_a_stopped_run_with_a_checkpoint_says_how_to_go_on(recorded, page_of):
    run = recorded("a", rows=4)
    (run.path / "checkpoints").mkdir()
    assert page_of(run).notes[0].endswith(f"`p2pqg resume {run.path}` goes on")


def test_a_run_that_diverged_says_why(recorded, page_of):
    run = recorded("a", rows=4, failure="round 4: client 1 has a non-finite loss")
    assert page_of(run).notes == ["diverged: round 4: client 1 has a non-finite loss"]


def test_a_failed_run_without_rows_is_still_a_line_beside_others(fake_run, recorded, page_of):
    failed = fake_run("failed", failure="no memory", lr=7.0)
    for name in ("rounds.parquet", "summary.json"):
        (failed.path / name).unlink()
    page = page_of(recorded("a"), failed)
    assert page.notes == ["lr 7 failed: no memory"]


def test_a_loss_that_grew_is_pointed_out(recorded, page_of):
    run = recorded("a")
    rows = [{"round": t, "train_loss": 2.0 * 100**t} for t in range(3)]
    write_parquet(run.path / "rounds.parquet", rows, ROUND_COLUMNS)
    assert "diverging: its training loss grew from 2 to 2e+04" in page_of(run).notes


def test_a_run_whose_process_lives_is_still_going(recorded, page_of):
    run = recorded("a", rows=4)
    (run.path / "summary.json").unlink()
    assert page_of(run).notes == ["broken off after 4 rounds of 10, no end on record"]
    with RunDirectory.reopen(run.path) as directory:
        directory.reserve()
        assert being_written(run.path)
        assert page_of(run).notes == ["still going: 4 rounds of 10 so far"]
    (run.path / LOCK).touch()  # what a killed process leaves
    assert not being_written(run.path)


def test_what_was_done_to_a_run_is_told_in_order(recorded, page_of):
    run = recorded("a")
    told = {
        "events": [{"round": 6, "sim_seconds": 0.0, "what": "drop_clients <7>"}],
        "restarts": ["round 5: actor 1 died; going on from round 4"],
    }
    (run.path / "summary.json").write_text(json.dumps(run.summary | told))
    page = page_of(run)
    events = [text for _, text in page.all("li") if text.startswith("after round")]
    assert events == [
        "after round 5 actor 1 died; going on from round 4",
        "after round 6 drop_clients <7>",
    ]


def test_what_was_done_to_all_runs_is_told_once(recorded, page_of):
    runs = [recorded("a", lr=0.1), recorded("b", lr=0.2)]
    for run, more in zip(runs, ([], [{"round": 8, "what": "set_lr 0.3"}]), strict=True):
        told = {"events": [{"round": 6, "what": "drop_links 0-1"}, *more]}
        (run.path / "summary.json").write_text(json.dumps(run.summary | told))
    page = page_of(*runs)
    events = [text for _, text in page.all("li") if text.startswith("after round")]
    assert events == ["after round 6 drop_links 0-1", "after round 8 set_lr 0.3"]


# ---- little or nothing recorded


def test_a_run_of_one_row_is_a_page(recorded, page_of):
    page = page_of(recorded("a", rows=1, rounds=1))
    assert page.data("points")["train_loss"][0]["train_loss"] == [2.5]
    assert not page.notes


def test_a_run_that_was_never_evaluated_has_its_other_curves(recorded, page_of):
    run = recorded("a")
    rows = [{"round": t, "train_loss": 1.0, "consensus_distance": 0.0} for t in range(4)]
    write_parquet(run.path / "rounds.parquet", rows, ROUND_COLUMNS)
    (run.path / "clients.parquet").unlink()
    page = page_of(run)
    assert page.data("points")["test_accuracy"] == [{"round": [], "test_accuracy": []}]
    assert "not evaluated" in page.said
    assert not page.all("h2", id="h-clients")
    assert page.all("h2", id="h-curves")


@pytest.mark.parametrize(
    "gone", ["train_loss", "bytes_sent", "test_accuracy", "averaged_model_accuracy"]
)
def test_a_column_that_is_missing_takes_nothing_else_along(recorded, page_of, gone):
    run = recorded("a", columns=set(ROUND_COLUMNS) - {gone})
    points = page_of(run).data("points")
    for measure in {"test_accuracy", "train_loss", "consensus_distance"} - {gone}:
        assert points[measure][0]["round"]


def test_there_is_simulated_time_to_choose_where_a_clock_was_simulated(recorded, page_of):
    plain = recorded("a")
    assert not page_of(plain).all("input", id="by-sim_seconds")
    rows = [{"round": t, "train_loss": 1.0, "sim_seconds": 60.0 * t} for t in range(4)]
    write_parquet(plain.path / "rounds.parquet", rows, ROUND_COLUMNS | TIMING_COLUMNS)
    page = page_of(plain)
    assert page.all("input", id="by-sim_seconds")
    assert page.data("points")["train_loss"][0]["sim_seconds"] == [0, 60, 120, 180]


# ---- bad input


def report(*words):
    return CliRunner().invoke(main, ["report", *map(str, words)])


def test_the_page_goes_beside_the_run_and_its_path_is_told(recorded):
    run = recorded("a")
    done = report(run.path)
    assert done.output == f"report: {run.path / 'report.html'}\n"
    assert (run.path / "report.html").exists()


def test_the_page_on_several_runs_goes_where_they_all_are(recorded, tmp_path):
    runs = [recorded("a"), recorded("b")]
    assert report(*(run.path for run in runs)).output == f"report: {tmp_path / 'report.html'}\n"


def broken(name, content=b"PAR1 and no more"):
    def spoil(run):
        (run.path / name).write_bytes(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken("rounds.parquet"), "rounds.parquet: cannot be read"),
        (broken("clients.parquet"), "clients.parquet: cannot be read"),
        (broken("summary.json"), "summary.json: cannot be read"),
        (broken("summary.json", b"[]"), "summary.json: must be a mapping"),
        (broken("failed.json"), "failed.json: cannot be read"),
        (broken("config.yaml", b"a: [b"), "config.yaml: cannot be read"),
        (broken("config.yaml", b"lr: 1"), "config.yaml is not that of a run: topology is missing"),
        (
            lambda run: write_parquet(run.path / "rounds.parquet", [], ROUND_COLUMNS),
            "nothing was recorded",
        ),
        (
            lambda run: write_parquet(
                run.path / "rounds.parquet", [{"lr": 1.0}], {"lr": "float64"}
            ),
            "the column round is missing",
        ),
    ],
)
def test_what_cannot_be_read_is_one_clear_line_and_no_page(recorded, spoil, message):
    run = recorded("a")
    spoil(run)
    before = set(run.path.iterdir())
    done = report(run.path)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.startswith("ConfigError: ")
    assert done.stderr.count("\n") == 1
    assert set(run.path.iterdir()) == before


def test_a_place_without_runs_is_one_clear_line(tmp_path):
    for path, message in ((tmp_path / "no", "no such run directory"), (tmp_path, "no run in")):
        done = report(path)
        assert done.exit_code == 2
        assert message in done.stderr


def test_a_file_that_cannot_be_written_leaves_nothing_behind(recorded, tmp_path):
    run = recorded("a")
    for out, message in (
        (tmp_path, "must be a file"),
        (tmp_path / "no" / "x", "cannot be written"),
    ):
        done = report(run.path, "--out", out)
        assert done.exit_code == 2
        assert message in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


# ---- geometry


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.1, 0.92), (0.951, 0.958), (3.0, 3.0), (0.0, 0.0), (-2.0, 7e9), (1e-9, 2e-9)],
)
def test_a_scale_holds_its_values_and_ends_at_its_ticks(low, high):
    scale = Scale.over(np.array([low, high]), log=False)
    shares = scale.shares(np.array([low, high]))
    assert (shares >= -1e-9).all()
    assert (shares <= 1 + 1e-9).all()
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    np.testing.assert_allclose([ticks[0], ticks[-1]], [scale.low, scale.high])
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0])


def test_what_spans_more_than_two_orders_of_magnitude_is_logarithmic():
    assert Scale.over(np.array([1.0, 101.0])).log
    assert not Scale.over(np.array([1.0, 99.0])).log
    assert not Scale.over(np.array([0.0])).log
    decades = Scale.over(np.array([1e-4, 1e-3, 1e3]))
    assert decades.shares(np.array([np.sqrt(1e-4 * 1e3)])) == pytest.approx(0.5)
    assert charts.tick_texts(decades.ticks(), log=True)[0] == "10⁻⁴"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0, 0.25, 0.5], ["0", "0.25", "0.5"]),
        ([0.1 * 3, 12000.0], ["0.3", "12,000"]),
        ([0, 2e6], ["0", "2e+06"]),
    ],
)
def test_ticks_read_well(values, texts):
    assert charts.tick_texts(values) == texts


def test_thinning_keeps_both_ends_and_the_extremes_of_every_stretch():
    y = np.zeros(10_000)
    y[1234], y[4321] = 5.0, -5.0
    kept = charts.thinned(y)
    assert len(kept) <= charts.MOST_POINTS
    assert {0, 1234, 4321, 9999} <= set(kept.tolist())
    assert charts.thinned(y[:500]).tolist() == list(range(500))


def test_labels_keep_their_distance_and_move_no_more_than_they_must():
    assert charts.spread_out([10.0, 50.0], 5) == [10.0, 50.0]
    assert charts.spread_out([50.0, 50.0, 50.0], 5) == [50.0, 55.0, 60.0]
    assert charts.spread_out([99.0, 100.0], 5) == [95.0, 100.0]


# ---- what went wrong, and when things are true


def with_summary(run, **more):
    (run.path / "summary.json").write_text(json.dumps(run.summary | more))
    return Run(run.path)


def test_what_goes_wrong_by_design_is_in_the_text(recorded, page_of):
    run = recorded(
        "a",
        impairments={"loss": 0.1, "delay": [1, 3]},
        network={"links": "wan", "compute": {"seconds": 0.05, "stragglers": {"share": 0.25}}},
        scenario=[{"at": "round 3", "drop_links": [[3, 4], "5-6"]}, {"churn": "trace.csv"}],
        rule={"name": "clipped", "tau": 2.0},
    )
    told = [text for _, text in page_of(run).all("p", class_="hardship")]
    assert told == [
        "What goes wrong in every round: 0.1 of the messages lost, delay 1 to 3 rounds.",
        "A clock is simulated: links wan; compute (seconds 0.05, stragglers (share 0.25)).",
        "The scenario: at round 3, drop links 3-4, 5-6; churn trace.csv.",
        "Clients mix what they hear by the rule clipped (tau 2).",
    ]


def test_what_goes_wrong_in_some_runs_only_is_told_of_those(recorded, page_of):
    runs = [recorded("a"), recorded("b", impairments={"loss": 0.5})]
    ((_, told),) = page_of(*runs).all("p", class_="hardship")
    assert told.endswith("What goes wrong in every round: 0.5 of the messages lost.")
    assert not page_of(recorded("c")).all("p", class_="hardship")


def test_a_warning_stands_behind_its_cause_and_is_nothing_that_was_done(recorded, page_of):
    told = [
        {"round": 6, "what": "drop_links 0-1"},
        {"round": 6, "what": "a warning that comes first by its letters"},
        {"round": 6, "what": "set_lr 0.2"},
    ]
    page = page_of(with_summary(recorded("a"), events=told))
    assert [text for _, text in page.all("li", class_="warning")] == [told[1]["what"]]
    text = page.said[page.said.index("What happened on the way") :]
    places = [text.index(event["what"]) for event in told]
    assert places == sorted(places)


def test_an_accuracy_that_is_older_than_the_run_says_of_when_it_is(recorded, page_of):
    run = recorded("a", rows=8)
    assert not page_of(run).all("small")
    older = with_summary(run, rounds=10, evaluated_rounds=8)
    texts = [text for _, text in page_of(older).all("small")]
    assert texts == ["after 8 rounds"] * 4  # the loss is as it was recorded, no accuracy


def test_a_scenario_in_a_table_is_words(recorded, page_of):
    scenario = [{"at": "round 3", "drop_clients": [7, 12]}]
    page = page_of(recorded("a", scenario=scenario), recorded("b", scenario=[]))
    cells = [text for a, text in page.all("td") if a["data-name"] == "scenario"]
    assert cells == ["at round 3, drop clients 7, 12", "none"]


# ---- curves and their ends


def test_the_end_of_a_curve_says_whose_it_is_and_a_line_leads_there(recorded, page_of):
    runs = [recorded(n, last=0.9, **algorithm(n)) for n in ("dsgd", "dsgdm", "qg-dsgdm")]
    from p2pqg.page.curves import ACCURACY, chart

    shown = gather([run.path for run in runs])
    ends = chart(shown, labels(shown), ACCURACY).plots[0].ends
    assert [end.name for end in ends] == ["dsgd", "dsgdm", "qg-dsgdm"]
    assert len({end.height for end in ends}) == 1  # all end at one height,
    assert np.diff(sorted(end.at for end in ends)).min() > 5  # and their texts do not collide
    page = page_of(*runs)
    assert {"dsgd 90.00 %", "dsgdm 90.00 %"} < {text for _, text in page.all("span")}


def test_the_y_axis_can_zoom_to_where_runs_differ(recorded, page_of):
    runs = [recorded(n, last=a, **algorithm(n)) for n, a in (("dsgd", 0.9), ("dsgdm", 0.92))]
    runs.append(recorded("diverged", last=0.1, **algorithm("qg-dsgdm")))
    from p2pqg.page.curves import ACCURACY, chart

    shown = gather([run.path for run in runs])
    whole, close = chart(shown, labels(shown), ACCURACY).plots[:2]
    assert (whole.zoomed, close.zoomed) == (False, True)
    assert whole.y.low <= 0.1
    late = [0.9 * 6 / 10, 0.92]  # of the second half, without the run that came to nothing
    assert late[0] - 0.1 < close.y.low <= late[0]  # round ends
    assert late[1] <= close.y.high < late[1] + 0.1
    assert page_of(*runs).all("input", id="closer")
    assert not page_of(runs[0]).all("input", id="closer")


# ---- the network as it became


def test_links_that_are_down_and_clients_that_left_are_drawn_as_that(recorded, page_of):
    became = {"links_down": [[0, 1], [1, 0]], "clients_absent": [7]}
    run = with_summary(
        recorded("a"), events=[{"round": 6, "what": "drop_links 0-1"}], network=became
    )
    page = page_of(run)
    ((cut, _),) = page.all("path", class_="links cut")
    assert cut["d"].count("M") == 1  # one line, both ways
    ((loose, _),) = page.all("path", class_="links loose")
    assert loose["d"].count("M") == 2  # to both neighbors of 7
    assert len(page.all("circle", class_="away")) == 1
    assert "At the end: 1 link down (0-1), 1 client absent (7); drawn like that." in page.said
    ((kept, _),) = page.all("path", class_="links")
    assert kept["d"].count("M") == 16 - 3


def test_what_became_of_an_older_run_is_not_guessed(recorded, page_of):
    page = page_of(with_summary(recorded("a"), events=[{"round": 6, "what": "drop_links 0-1"}]))
    assert "Drawn as it was at the start." in page.said
    assert not page.all("path", class_="links cut")


def test_another_network_is_drawn_from_what_is_on_record(recorded):
    links = [[0, 1], [1, 0], [1, 2], [2, 1]]
    became = {"topology": "mine+1", "clients": 3, "labels": ["Ada", "Bob", "new-2"], "links": links}
    (shown,) = gather([with_summary(recorded("a", clients=2), network=became).path])
    network, is_now = maps.network_now(shown)
    assert is_now
    assert sorted(network.base.graph(0).edges) == [(0, 1), (1, 2)]
    assert [maps.called(network, client) for client in range(4)] == ["Ada", "Bob", "new-2", "3"]


def test_a_link_is_drawn_as_wide_as_its_bytes(recorded):
    run = recorded("a", topology="ring4", clients=4)
    sent = {(0, 1): 100, (1, 0): 200, (1, 2): 150, (2, 3): 0, (0, 3): 300}
    rows = [{"sender": a, "receiver": b, "bytes": n, "messages": 1} for (a, b), n in sent.items()]
    write_parquet(run.path / "links.parquet", rows, LINK_COLUMNS)
    (shown,) = gather([run.path])
    traffic = maps.traffic_of(shown)
    assert traffic == {(0, 1): 300, (1, 2): 150, (2, 3): 0, (0, 3): 300}
    drawing = maps.draw(shown, maps.network_now(shown)[0], None, None, traffic)
    assert [(path.count("M"), round(width - 0.6)) for path, width in drawing.traffic] == [
        (1, 0),
        (1, maps.WIDTHS / 2),
        (2, maps.WIDTHS),
    ]
    assert drawing.links == ""


def test_clients_have_their_names_wherever_they_are(recorded, page_of):
    run = recorded("a", topology="mine.csv", clients=3)
    (run.path / FOLDER).mkdir()
    (run.path / FOLDER / "mine.csv").write_text("source,target\nAlice,Bob\nBob,<b>Eve\n")
    page = page_of(run)
    assert [text for _, text in page.all("text", class_="label")] == ["Alice", "Bob", "<b>Eve"]
    dots = [text for _, text in page.all("title") if text.startswith("dsgd, client")]
    assert [text.split(":")[0] for text in dots] == [
        "dsgd, client Alice",
        "dsgd, client Bob",
        "dsgd, client <b>Eve",
    ]
    assert "mine.csv: 3 clients" in page.said  # not the path of the copy


def test_dots_of_runs_that_are_alike_do_not_cover_each_other(recorded):
    from p2pqg.page.curves import ranking

    shown = gather([recorded("a", lr=0.1).path, recorded("b", lr=0.2).path])
    paths = [dot.path for dot in ranking(shown, labels(shown)).dots]
    assert len(set(paths)) == len(paths) == 32


def test_names_of_metrics_and_warnings_stay_text(recorded, page_of):
    evil = "<img src=x onerror=alert(1)>"
    run = recorded("a", attacks=[{"who": [3], "how": evil}])
    row = {"round": 0, "train_loss": 1.0, "test_accuracy": 0.5, "test_loss": 1.0, evil: 0.25}
    write_parquet(run.path / "rounds.parquet", [row], ROUND_COLUMNS | {evil: "float64"})
    events = [{"round": 1, "what": "set_lr 0.1"}, {"round": 1, "what": evil}]
    page = page_of(with_summary(run, events=events, restarts=[f"round 2: {evil}"]))
    assert not page.all("img")
    assert page.said.count(evil) >= 4  # who lies, a metric's number, a warning, an actor's death
    assert evil in page.data("points")


def test_traffic_is_that_of_both_ways_of_the_links_that_are_drawn():
    table = {"sender": [0, 1, 2, 1], "receiver": [1, 0, 1, 3], "bytes": [100.0, 30.0, 0.5, 7.0]}
    assert scene.traffic([[1, 0], [1, 2], [0, 3]], table) == [130, 0.5, 0]
    assert scene.traffic([], table) == []
    assert scene.traffic([[0, 1]], {name: [] for name in table}) == [0]
