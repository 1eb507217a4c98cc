"""What a simulation shows of itself in a notebook."""

import re

import pytest

import p2pqg
from p2pqg.simulation.card import RED, card

TINY = {"topology": "florentine15", "engine": "local", "rounds": 20, "eval_every": 5, "alpha": 1.0}


@pytest.fixture
def sim():
    with p2pqg.Simulation(**TINY) as sim:
        yield sim


def test_the_card_has_a_disk_and_a_shard_for_each_client(sim):
    html = sim._repr_html_()
    assert html.count("<circle") == 15
    assert html.count("<rect") == 15
    assert "15 clients, all is well" in html
    assert "0 of 20" in html
    assert repr(sim) == "<Simulation: qg-dsgdm-n on florentine15, round 0 of 20>"


def test_the_card_says_where_the_simulation_stands(sim):
    sim.advance(5)
    html, last = card(sim), sim.history.iloc[-1]
    assert f"{100 * last['test_accuracy']:.2f} %, clients from" in html
    assert f"{100 * last['averaged_model_accuracy']:.2f} %" in html
    assert "linear-gradient" in html  # the scale of the clients' colors
    sim.close()
    assert "5 of 20, closed" in card(sim)


def test_the_card_shows_what_is_down(sim):
    whole = card(sim)
    sim.drop_links(["Medici-Salviati"])
    sim.drop_clients(["Pazzi"])
    html = card(sim)
    assert "stroke-dasharray:5 4" in html
    (cut,) = re.findall(rf'd="([^"]*)" style="stroke:{re.escape(RED)};', html)
    assert cut.count("L") == 1  # one line, both ways
    assert html.count(f"stroke:{RED};stroke-width:1.5") == 1
    assert whole.count(f"stroke:{RED};stroke-width:1.5") == 0
    assert "1 link down (Medici-Salviati), 1 client absent (Pazzi), in 2 pieces" in html
    assert "drop_links Medici-Salviati" in html


def test_of_many_events_the_card_tells_the_last(sim):
    for k in range(6):
        sim.set_lr(0.1 * (k + 1))
    html = card(sim)
    assert "2 earlier events" in html
    assert "set_lr 0.6" in html
    assert "set_lr 0.1<" not in html


@pytest.mark.parametrize(("clients", "disks", "tiles"), [(60, 60, 60), (210, 0, 100)])
def test_networks_too_large_for_bars_have_their_shards_below(clients, disks, tiles):
    with p2pqg.Simulation(topology=f"ring{clients}", engine="local", rounds=1) as sim:
        html = card(sim)
    assert html.count("<circle") == disks
    assert html.count('viewBox="0 0 32 18"') == tiles
    assert ("first 100 of 210 clients" in html) == (clients > 100)


def test_the_card_is_dark_where_the_notebook_is(sim):
    html = card(sim)
    assert html.count("<style>") == 1
    for place in (
        "prefers-color-scheme:dark",
        '[data-jp-theme-light="false"] .p2pqg',
        ".vscode-dark",
    ):
        assert place in html
    assert "background:#fff" not in html  # every color has two
    assert not re.findall(r'(?:fill|stroke)="#', html)


def test_the_summary_says_what_became_of_the_network(sim):
    assert "network" not in sim.summary()
    sim.drop_links(["Medici-Salviati"])
    sim.drop_clients(["Pazzi"])
    names = sim.network.base.labels
    found = sim.summary()["network"]
    a, b, gone = (names.index(name) for name in ("Medici", "Salviati", "Pazzi"))
    assert found == {"links_down": sorted([[a, b], [b, a]]), "clients_absent": [gone]}
    sim.set_topology("ring15")
    found = sim.summary()["network"]
    assert found["topology"] == "ring15"
    assert [0, 1] in found["links"]
    assert found["labels"] == list(names)


def test_names_of_clients_and_files_stay_text_on_the_card(tmp_path):
    network = tmp_path / "<i>net.csv"
    network.write_text("source,target\n<b>Al</b>,Bob\nBob,<b>Cy</b>\n")
    with p2pqg.Simulation(topology=str(network), engine="local", rounds=1) as sim:
        sim.drop_clients(["<b>Cy</b>"])
        html = card(sim)
    assert "<b>" not in html
    assert "&lt;b&gt;Al&lt;/b&gt;" in html
    assert "<i>" not in html
