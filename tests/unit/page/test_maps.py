"""Networks and shards are drawn as they are, and as they became."""

import numpy as np
import pytest
from pages import with_summary

from p2pqg.page import maps, networks, scene, write_page
from p2pqg.page.runs import gather, labels
from p2pqg.recipe.own_files import FOLDER
from p2pqg.recipe.settings import read_config
from p2pqg.results.parquet import write_parquet
from p2pqg.results.schemas import LINK_COLUMNS, ROUND_COLUMNS
from p2pqg.simulation.build import build


def test_the_shards_are_those_of_the_run(recorded):
    (shown,) = gather([recorded("a").path])
    ((counts, why),) = networks.shards_of([shown])
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
    assert networks.network_of(shown) is None
    (run.path / FOLDER).mkdir()
    (run.path / FOLDER / "gone.csv").write_text("source,target\n0,1\n1,2\n")
    assert sorted(networks.network_of(shown).graph(0).edges) == [(0, 1), (1, 2)]


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
    network, is_now = networks.network_now(shown)
    assert is_now
    assert sorted(network.base.graph(0).edges) == [(0, 1), (1, 2)]
    assert [networks.called(network, client) for client in range(4)] == ["Ada", "Bob", "new-2", "3"]


def test_another_network_of_a_known_name_is_told_as_what_it_is(recorded, page_of):
    """Not as the union of its rounds, with other weights."""

    def said(topology, links):
        became = {"topology": topology, "clients": 8, "labels": [], "links": links}
        return page_of(with_summary(recorded(topology.strip("+")), network=became)).said

    hops = [[i, (i + hop) % 8] for i in range(8) for hop in (1, 2, 4)]
    ring = [[i, (i + way) % 8] for i in range(8) for way in (1, -1)]
    one_peer = "onepeer-exponential8: 8 clients, out-degree 1, spectral gap 1 over its 3 rounds."
    assert one_peer in said("onepeer-exponential8", hops)
    gap = (1 - (1 + 2 * np.cos(2 * np.pi / 8)) / 3) / 2  # lazy: half of it
    assert f"degree 2, spectral gap {gap:.3g}." in said("ring8:mixing=lazy", ring)
    assert f"ring8+: 8 clients, {networks.ONLY_LINKS}." in said("ring8+", ring)


def test_a_link_is_drawn_as_wide_as_its_bytes(recorded):
    run = recorded("a", topology="ring4", clients=4)
    sent = {(0, 1): 100, (1, 0): 200, (1, 2): 150, (2, 3): 0, (0, 3): 300}
    rows = [{"sender": a, "receiver": b, "bytes": n, "messages": 1} for (a, b), n in sent.items()]
    write_parquet(run.path / "links.parquet", rows, LINK_COLUMNS)
    (shown,) = gather([run.path])
    traffic = networks.traffic_of(shown)
    assert traffic == {(0, 1): 300, (1, 2): 150, (2, 3): 0, (0, 3): 300}
    drawing = maps.draw(shown, networks.network_now(shown)[0], None, None, traffic)
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
    from p2pqg.page.ranking import by_accuracy

    shown = gather([recorded("a", lr=0.1).path, recorded("b", lr=0.2).path])
    paths = [dot.path for dot in by_accuracy(shown, labels(shown)).dots]
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
