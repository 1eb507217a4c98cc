"""What the page knows of a run's network: as it is, as it became, or that it is not known."""

import json

import numpy as np
import pytest
from pages import with_summary

import p2pqg
from p2pqg.network import Network
from p2pqg.network.stored import fingerprint
from p2pqg.page import networks, write_page
from p2pqg.page.runs import gather
from p2pqg.recipe.own_files import FOLDER
from p2pqg.recipe.settings import read_config
from p2pqg.results.changes import arcs_of
from p2pqg.simulation.build import build
from p2pqg.simulation.summary import network_now
from p2pqg.topology import build as build_topology


def test_the_shards_are_those_of_the_run(recorded):
    shown = gather(
        [
            recorded("a").path,
            recorded("held-out", validation=0.2).path,
            recorded("b", lr=0.5).path,
        ]
    )
    found = networks.shards_of(shown)
    for one, (counts, why) in zip(shown, found, strict=True):
        experiment = build(read_config(one.config))
        assert why == ""
        assert counts.sum(axis=1).tolist() == [len(part) for part in experiment.parts]
        labels_of_3 = experiment.arrays.train_y[experiment.parts[3]]
        assert counts[3].tolist() == np.bincount(labels_of_3, minlength=10).tolist()
    assert found[0][0] is found[2][0] is not found[1][0]


def test_shards_that_a_function_makes_are_those_of_the_code_that_each_run_kept(recorded):
    code = "def split(labels, clients, rng):\n    return [range(k, k + {}) for k in range(clients)]"
    runs = [recorded(str(k), partition={"name": "my.py:split"}) for k in (2, 3)]
    for run, size in zip(runs, (2, 3), strict=True):
        (run.path / FOLDER).mkdir()
        (run.path / FOLDER / "my.py").write_text(code.format(size))
    found = networks.shards_of(gather([run.path for run in runs]))
    assert [counts.sum(axis=1).tolist() for counts, _ in found] == [[2] * 16, [3] * 16]


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


def test_the_network_is_that_of_the_run_when_its_file_has_gone(recorded):
    run = recorded("a", topology="gone.csv", clients=3)
    (shown,) = gather([run.path])
    assert networks.network_of(shown) is None
    (run.path / FOLDER).mkdir()
    (run.path / FOLDER / "gone.csv").write_text("source,target\n0,1\n1,2\n")
    assert sorted(networks.network_of(shown).graph(0).edges) == [(0, 1), (1, 2)]


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


@pytest.mark.parametrize(("mark", "shown"), [("0123456789abcdef", False), (None, True)])
def test_a_network_that_an_older_version_drew_otherwise_is_said_not_drawn(
    recorded, page_of, mark, shown
):
    """That of now was drawn, with its degrees and spectral gap, under the same name."""
    run = recorded("a", topology="base6:k=3", clients=6)
    header = run.path / "checkpoints/round-000000010/checkpoint.json"
    header.parent.mkdir(parents=True)
    mark = mark or fingerprint(build_topology("base6:k=3"))
    network = {"topology": {"name": "base6:k=3", "fingerprint": mark}}
    header.write_text(json.dumps({"network": network}))
    page = page_of(run)
    told = "An older version drew the network base6:k=3 otherwise; it is not shown."
    assert (told in page.said) is not shown
    assert bool(page.all("circle")) is shown
    assert (p2pqg.compare(run).groups[0][0].network is not None) is shown


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


@pytest.mark.parametrize(
    ("verb", "change"),
    [
        ("add_links", lambda network: network.add_links([[0, 4]])),
        ("add_clients", lambda network: network.add_clients(1, [[8, 0]])),
        ("set_topology", lambda network: network.with_topology("complete8")),
    ],
)
def test_whatever_lays_other_links_is_drawn_with_them(recorded, verb, change):
    """Those of add_links were missing, and nothing said so."""
    now = change(Network(build_topology("ring8"))).drop_links([[0, 1]])
    events = [{"round": 3, "what": f"{verb} 0"}, {"round": 4, "what": "drop_links 0-1"}]
    run = with_summary(
        recorded("a", topology="ring8"), events=events, network=network_now(now, events)
    )
    network, is_now = networks.network_now(*gather([run.path]))
    assert is_now
    assert arcs_of(network.base) == arcs_of(now.base)
    assert network.cut == now.cut
    # As older versions left it:
    run = with_summary(run, events=events, network={"links_down": [[0, 1]], "clients_absent": []})
    assert not networks.network_now(*gather([run.path]))[1]


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
