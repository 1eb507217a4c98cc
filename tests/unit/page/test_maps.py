"""The drawing of a network: its clients, their shards, links and colors."""

import numpy as np
import pytest
from pages import with_summary

from p2pqg.page import maps, networks
from p2pqg.page.runs import gather
from p2pqg.recipe.own_files import FOLDER
from p2pqg.results.parquet import write_parquet
from p2pqg.results.schemas import LINK_COLUMNS


def test_bars_have_heights_in_proportion_and_stand_in_the_place_of_their_class():
    path = maps.bars(np.array([0, 6, 0, 3]), most=6)
    assert path == "M8 18v-18h7.2v18zM24 18v-9h7.2v9z"


def test_neighboring_classes_share_a_bar_where_there_are_many():
    counts = np.arange(200).reshape(2, 100)
    assert maps.grouped(counts).tolist() == counts.reshape(2, 20, 5).sum(axis=2).tolist()


def test_too_many_clients_are_not_drawn(recorded, page_of):
    run = recorded("a", topology="ring201", clients=201)
    page = page_of(run)
    assert "Too many clients to draw." in page.said
    assert "at the start" not in page.said
    assert len(page.text) < 200_000
    # Its links are on no record when it becomes another one.
    become = {"links_down": [], "clients_absent": []}
    events = [{"round": 3, "what": "set_topology star201"}]
    page = page_of(with_summary(run, events=events, network=become))
    assert "Too many clients to draw. Told as it was at the start." in page.said


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
